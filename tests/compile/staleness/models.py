"""Models in training steps, Trainer.fit, evaluate and predict: layers, parameters, hooks, settings."""

from compile.staleness.rows import tables, texts

# where a classifier `m` with its optimizer `o` is used, perhaps by a Trainer `t`
MADE = "m = network(<layer>); o = <optimizer>; t = SimpleNamespace(loss=nn.CrossEntropyLoss())"
STEP = texts(make=MADE, step="classifies(m, o, t)", inputs="labelled(n)", watch="[m, o]")
IN_TRAINER = "m = network(<layer>); o = <optimizer>; t = trainer(compiled, m, o, None<settings>)"
TRAINER = texts(settings="", make=IN_TRAINER, watch="[m, o]")
FITS = {
    f"fit_by_{by}": TRAINER | texts(step=f"lambda: fitted(t, '{by}', put)", inputs="()", flags="within once")
    for by in ("callback", "epochs", "data")
}
CALLS = {
    way: TRAINER | texts(step=f"lambda number: used(t, '{way}', number)", inputs="(n,)")
    for way in ("fit", "evaluate", "predict", "all_in_turn")
}
ONE = {"": STEP}
TRAINED = {**ONE, **FITS}
PREDICTS = texts(make="m = network(<layer>).eval()", watch="m")
PREDICTED = {
    "predicted": PREDICTS | texts(step="rv.no_grad()(compile_step(m))"),
    "alone": PREDICTS | texts(step="compile_step(m, alone=True)"),
}
ALL = {**TRAINED, **CALLS, **PREDICTED}
SHOWN = {way: CALLS[way] for way in ("fit", "evaluate")}
FITTED = {way: CALLS[way] for way in ("fit", "all_in_turn")}
SETTINGS = {name: fit | texts(settings=", <more_settings>") for name, fit in FITS.items()}
# hooks with a factor <f>: added, two removed, from the start with a factor that changes or counts calls
ADDED = texts(f="(1.0 + n)", change="<hook>")
MORE = MADE + "; k = [1.0]; seen = []; "
TWO_HOOKS = MORE + "handles = [(lambda n: <hook>)(n) for n in (1, 2)]"
ONE_REMOVED = "handles.append(<hook>) if n == 3 else handles.pop().remove()"
HOOKED = {
    "added": STEP | ADDED,
    "removed": STEP | texts(f="(1.0 + n)", make=TWO_HOOKS, change=ONE_REMOVED),
    "reads": STEP | texts(f="k[0]", make=MORE + "<hook>", change="k[0] = new"),
    "counts": STEP | texts(f="len(seen + [seen.append(1)])", make=MORE + "<hook>", watch="[m, o, seen]"),
    **{name: fit | ADDED for name, fit in FITS.items()},
}
TWO = texts(values="*[(m, sgd(m)) for m in networks(1, 2)] * 2,", watch="list(_values)")
REBOUND = {
    "trained": TWO | texts(step="lambda x, y: classifies(*read())(x, y)", inputs="labelled(n)"),
    "taped": TWO | texts(step="lambda x: read()[0](x) * 1.0"),
    "predicted": TWO | texts(step="rv.no_grad()(lambda x: read()[0](x) * 1.0)"),
}

ROWS = r"""
# layer in the middle -> changes that all of these show
== models: layer -> change @ ALL
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
nn.Identity() -> m.append(nn.Tanh()); m.append(nn.Linear(3, 3)); m.insert(1, nn.ReLU())
    m.insert(2, nn.Linear(4, 4)); m[1] = nn.ReLU6()
    if n == 1: del m[1]\nelse: m.insert(1, (nn.ReLU(), nn.SiLU())[n - 2])
    m[1] = (nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n - 1]; m[3] = nn.Linear(4, 3)
    m.extend([nn.Tanh(), nn.Linear(3, 3)]); m[1] = nn.Identity() if n % 2 else nn.Tanh()
    setattr(m, '1', (nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n - 1]); m[0].weight.data = rv.full((4, 3), 0.1 * n)
    m[0].weight.data.mul_(1.0 + n); m[0].weight.data.numpy()[:] *= 1.0 + n
    m[3].bias = nn.Parameter(rv.full((3,), n * 1.0))
    with rv.no_grad(): m[0].weight.copy_(rv.full((4, 3), 0.1 * n))
    with rv.no_grad(): m[0].weight[0] = 0.3 * n
    m[0].weight.detach()[0].mul_(1.0 + n); copy.copy(m[0].weight.detach()).mul_(1.0 + n)
    descends(squares(m), sgd(m, 0.5))(rv.ones(4, 3)); m[3].bias.data.add_(1.0)
    rv.compile(descends(squares(m), optim.Adam(m.parameters(), lr=0.1)))(rv.ones(4, 3))
    m[3].weight = nn.Parameter(m[0].weight.detach().T.clone())
    m.load_state_dict({name: w * (1.0 + n) for name, w in m.state_dict().items()}); m[0].reset_parameters()
    m.apply(lambda l: type(l) is nn.Linear and nn.init.constant_(l.weight, 0.1 * n))
    !alone!m[1].forward = lambda x: x * (1.0 + n); m[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n))
    m[0].weight = m[0].alias = nn.Parameter(rv.full((4, 3), 0.2 * n))
    !alone!patch(nn.Linear, 'forward', lambda self, x, f=nn.Linear.forward: f(self, x) * (1.0 + n))
    !patch(nn.Linear, '__call__', lambda self, x, f=nn.Linear.__call__: f(self, x) * (1.0 + n))
    !alone!patch(nn.Sequential, 'forward', lambda self, x, f=nn.Sequential.forward: f(self, x) * (1.0 + n))
    !patch(nn.Sequential, '__call__', lambda self, x, f=nn.Sequential.__call__: f(self, x) * (1.0 + n))
    !patch(nn.Module, '__call__', lambda self, *a, f=nn.Module.__call__: f(self, *a) * (1.0 + n))
    !alone!m.forward = lambda x: nn.Sequential.forward(m, x) * (1.0 + n)
    if n == 1: m[0].register_parameter('bias', None)\nelse: m[0].bias = nn.Parameter(rv.ones(4) * n)
nn.BatchNorm1d(4) -> m[2].weight.data.fill_(n * 1.0); m[2] = nn.LayerNorm(4) if n % 2 else nn.BatchNorm1d(4)
    m[2].eps = 0.3 * n; m[2].running_mean = rv.full((4,), n * 1.0); m[2].running_mean.add_(n * 1.0)
    m[2].running_mean.numpy()[:] += n * 1.0; m[2].running_mean.data = rv.full((4,), n * 1.0)
    m.state_dict()['2.running_mean'].add_(n * 1.0)
nn.LeakyReLU(0.1) -> m[2].negative_slope = 0.2 * n
# parameters and buffers in memory that has another name, too, under which it is changed
== shared: share -> change @ PREDICTED
. layer: nn.BatchNorm1d(4)
. more: <share>
memory = in_one_vector(m) -> memory.add_(1.0)
memory = in_memory_of(m, network(nn.BatchNorm1d(4))) -> memory.add_(1.0)
memory = rv.randn(4, 3); m[0].weight = nn.Parameter(memory) -> memory.add_(1.0)
memory = np.zeros(4, np.float32); m[2].running_mean = rv.from_numpy(memory) -> memory.__iadd__(1.0)
# those that training shows
== models: layer -> change @ TRAINED
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
nn.Identity() -> m[0].weight.requires_grad_(n % 2 == 0); m[:-1].requires_grad_(n % 2 == 0)
    m[0].bias.requires_grad = n % 2 == 0
    m[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n))\no.param_groups[0]['params'] = list(m.parameters())
    o.param_groups[0].update(lr=0.2 / n); o.param_groups[0].update(momentum=0.2 * n); o.state.clear()
    o.param_groups.clear(); o.param_groups[0].update(momentum=0.0 if n % 2 else 0.5)
    o.param_groups[0].update(weight_decay=0.2 * n); o.param_groups[0].update(nesterov=n % 2 == 1)
    o.param_groups[0].update(maximize=n % 2 == 1); o.param_groups[0]['params'].pop()
    t.loss.label_smoothing = 0.1 * n; t.loss.weight = rv.tensor([1.0 + n, 1.0, 1.0])
    o.load_state_dict(optim.SGD(m.parameters(), lr=0.3, momentum=0.1 * n).state_dict())
    t.loss.ignore_index = n % 3
    o.param_groups.append({**o.param_groups[0], 'params': []})\no.param_groups[0].update(lr=0.3 / n)
    t.loss.forward = lambda output, y: F.cross_entropy(output, y) * (1.0 + n)
nn.Dropout(0.5) -> m[2].p = 0.1 * n; m[2].p = 0.0 if n % 2 else 0.3
nn.BatchNorm1d(4) -> m[2].momentum = 0.2 * n; m[2].reset_running_stats()
== models: layer -> change @ ONE
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
nn.BatchNorm1d(4) -> m[2].train(n % 2 == 0); m.train(n % 2 == 0)
== models: layer -> change @ SHOWN
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
nn.Identity() -> t.loss = nn.CrossEntropyLoss(label_smoothing=0.2 * n); t.l2 = 0.1 * n
    m[0].register_forward_hook(lambda m, args, out: out * (1.0 + n))
== models: layer -> change @ FITTED
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
nn.Identity() -> t.optimizer = optim.Adam(m.parameters(), lr=0.01 * n); t.clip_grad_norm = 0.01 * n
    t.clip_grad_value = 0.01 * n
    t.accumulate = 1 + n % 2; o.zero_grad()\nm(rv.tensor(X[:4])).sum().backward()\no.step()
    t.model = nn.Sequential(*m, nn.Tanh())
== unread: layer -> change @ TRAINED
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
. flags: neutral
nn.Identity() -> pass; gc.collect(); m.state_dict(); copy.deepcopy(m); m(rv.ones(2, 3)).sum().backward()
    m.eval().train()
== models: optimizer -> change @ TRAINED
. layer: nn.Identity()
optim.Adam(m.parameters(), lr=0.05) -> o.param_groups[0].update(betas=(0.3 * n, 0.9))
    o.param_groups[0].update(eps=0.1 * n); o.state.clear(); o.param_groups[0].update(amsgrad=n % 2 == 1)
    for s in o.state.values(): s['exp_avg'].fill_(0)
== models: more_settings -> change @ SETTINGS
. layer: nn.Dropout(0.5)
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
% CHANGES
    o.param_groups[0].update(lr=0.2 / n); m[2].p = 0.1 * n; m[0].requires_grad_(n % 2 == 0)
    m[0].weight.data.mul_(1.5); m[1] = (nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n - 1]
    o.param_groups[0].update(momentum=0.0 if n % 2 else 0.5)
accumulate=2 -> <CHANGES>
clip_grad_norm=0.1 -> <CHANGES>
l1=0.01, l2=0.01 -> <CHANGES>
metrics=['accuracy'] -> <CHANGES>
# --- hooks with a factor <f>
== hooks: kind -> hook @ HOOKED
. layer: nn.Identity()
. optimizer: optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
model -> !counts!m[0].register_forward_hook(lambda mod, args, y: y * <f>)
    !counts!m.register_forward_hook(lambda mod, args, y: y * <f>)
    !counts!m[1].register_forward_hook(lambda mod, args, y: y * <f>)
    !counts!m[0].weight.register_hook(lambda g: g * <f>)
    !counts!m[0].register_forward_pre_hook(lambda mod, args: (args[0] * <f>,))
    !counts!m[3].register_full_backward_hook(halved(lambda: <f>))
    !counts!m[3].register_full_backward_pre_hook(lambda mod, go: (go[0] * <f>,))
    !counts!m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(<f>))
# --- models and tensors outside of modules that another one replaces. made | replaced -> read
== rebound: make | change -> read @ REBOUND
v | o = new -> !taped!o
globals().update(G=v) | globals().update(G=new) -> !taped!G
{'model': v} | o.update(model=new) -> !taped!o['model']
Plain(v) | o.value = new -> !taped!o.value
[v] | o[0] = new -> !taped!o[0]
== leaves: make -> change
. step: of_leaves(o)
. watch: o
[rv.ones(3).requires_grad_(), rv.full((3,), 0.5).requires_grad_()] -> o[0].data = rv.full((3,), 1.0 + n)
    o[0].data.mul_(1.0 + n); with rv.no_grad(): o[0].add_(n * 1.0); o.reverse()
    o[0].requires_grad_(n % 2 == 0); o[0] = rv.full((3,), 1.0 + n).requires_grad_()
    o[0].register_hook(lambda g: g * 2); o.append(rv.full((3,), 1.0 + n).requires_grad_())
    o[0].detach_() if n == 1 else o[1].data.mul_(2.0)
    o[0] = rv.full((3,), 1.0 + n, dtype=rv.float64).requires_grad_()
    o[0] = rv.full((1,), 1.0 + n).requires_grad_(); o[0].data = rv.full((1,), 1.0 + n)
    o[0] = (rv.full((3,), 1.0 + n).requires_grad_() * 2.0) if n % 2 else rv.ones(3)
== tensors: make -> change
. read: x * o.value
. watch: [small.watch, o.value]
Plain(rv.tensor([1.0, 2.0, 3.0])) -> o.value.mul_(2.0); o.value[0] = 5.0 + n; o.value = rv.full((3,), 1.0 + n)
    o.value.data = rv.full((3,), 1.0 + n); o.value.numpy()[:] *= 2.0; o.value = rv.full((4, 3), 1.0 + n)
    o.value = rv.full((3,), 1.0 + n, dtype=rv.float64); o.value.requires_grad_(n % 2 == 1)
    o.value = rv.arange(6.0)[n : n + 3]; o.value.data = rv.full((1,), 1.0 + n)
    o.value = type('Own', (rv.Tensor,), {'__mul__': None, '__rmul__': lambda self, o: o * 0.5})(o.value)
== arrays: change -> read
. make: Plain(np.array([1.0, 2.0, 3.0], np.float32))
% USES
    x * o.value; x * rv.tensor(o.value); x * rv.FloatTensor(o.value); x * rv.from_numpy(o.value)
    x * rv.as_tensor(o.value); x * rv.constant(o.value); x * rv.from_numpy(o.value[:2][:1])
    x * float(o.value[0]); x * float(o.value.sum()); x if o.value[0] > 3 else x * 2
    x[:, o.value.astype(np.int64) % 3]
!o.value *= 2.0 -> <USES>
!o.value = np.arange(3, dtype=np.float32) + 10 * n + 1 -> <USES>
!o.value[0] = 4.0 + n -> <USES>
== memory: make | change -> read
. watch: [small.watch, o]
!o = np.ones(6, np.float32); a = o[1:4] | o += 1.0 -> x * a
o = np.ones(6, np.float32); t = rv.from_numpy(o)[1:4] | o += 1.0 -> x * t
o = np.ones(3, np.float32); w = nn.Parameter(rv.from_numpy(o))
    s = descends(lambda x: (x * w * w).sum(), optim.SGD([w], 0.0)) | o += 1.0 -> =s
view = small.w.detach().numpy() | view *= np.float32(1.5) -> x
o = t, u = nn.Parameter(rv.ones(3)), nn.Parameter(rv.full((3,), 2.0))
    s = descends(lambda x: loss_of_two(x, t, u), optim.SGD(o, 0.05)) | shared_memory(t, u, n) -> =s
o = t, u = nn.Parameter(rv.ones(3)), nn.Parameter(rv.full((3, 3), 2.0))
    s = descends(lambda x: loss_of_two(x, t, u), optim.SGD([u], 0.05)) | t.data = u.data[n % 2] -> =s
# --- models that are used in other ways than by calling them
== used: change -> read
. make: m = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)); o = sgd(m)
. step: descends(lambda x: (read(x) ** 2).mean() + (m[2].weight ** 2).sum(), o)
. watch: [m, o]
m[0] = (nn.Linear(3, 3), m[0].requires_grad_(False), nn.Linear(3, 3))[n - 1] -> x @ m[0].weight
    F.linear(x, m[0].weight, m[0].bias); m[0].forward(x); m.forward(x); x @ m.get_parameter('0.weight')
    m.get_submodule('0')(x); sum((p * p).sum() for p in m.parameters()) * x.mean()
    x @ dict(m.named_parameters())['0.weight']; x @ next(iter(m.parameters()))
    for layer in m.children(): x = layer(x)\nreturn x; m[:1](x); m[-1](m[0](x))
    for l in [l for l in m.modules() if isinstance(l, nn.Linear)]: x = l(x)\nreturn x
    nn.Linear.forward(m[0], x); !vars(m)['0'](x) if '0' in vars(m) else m[0](x); x @ m[0].weight.T
    x[:, :2] @ m[0].weight[:2]; m(x) + (m[0].weight ** 2).sum()
    m(x) * (m.state_dict()['0.weight'] ** 2).sum()
== used: layers | change -> read
. make: m = <layers>
. step: descends(lambda x: (read(x) * small.w).sum(), small.optimizer)
nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]) | if n < 3: m.append(nn.Linear(3, 3))\nelse: del m[0] ->
    for layer in m: x = layer(x).tanh()\nreturn x
nn.ModuleDict({'a': nn.Linear(3, 3), 'b': nn.Linear(3, 3)}) |
    m['a'] = (m['b'], nn.Identity(), nn.Linear(3, 3))[n - 1] -> m['a'](x)
nn.ParameterList([rv.ones(3), rv.ones(3)]) |
    m.append(rv.full((3,), 2.0)) if n == 1 else setattr(m, '0', nn.Parameter(rv.ones(3) * n)) ->
    for p in m: x = x * p\nreturn x
nn.ParameterDict({'a': rv.ones(3)}) | m['a'] = nn.Parameter(rv.full((3,), 3.0 + n)) -> x * m['a']
[nn.Linear(3, 3), nn.Linear(3, 3)] | m.append(nn.Linear(3, 3)) if n < 3 else m.pop(0) ->
    for layer in m: x = layer(x)\nreturn x
"""
tables(
    ROWS,
    ONE=ONE,
    TRAINED=TRAINED,
    ALL=ALL,
    PREDICTED=PREDICTED,
    SHOWN=SHOWN,
    FITTED=FITTED,
    SETTINGS=SETTINGS,
    HOOKED=HOOKED,
    REBOUND=REBOUND,
)
