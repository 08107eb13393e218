"""Settings of layers, state of the library, compiled methods, steps within others, what steps keep."""

from compile.staleness.rows import tables, texts

MADE = "o = <layer>; w = nn.Parameter(rv.full((1,), 1.5))"
INPUTS = texts(inputs="layer_inputs('<shape>', n)")
TRAINING = {"": INPUTS | texts(make=MADE, step="layered(o, w)", watch="[w, o]")}
PREDICTS = "o = <layer>.eval(); fast = rv.no_grad()(compile_step(o))"
MODES = {**TRAINING, "inference": INPUTS | texts(make=PREDICTS, step="fast", watch="o")}

ROWS = r"""
# --- settings of layers and losses: layer | input -> attribute = the three values that it gets
== layers: layer | shape -> set @ TRAINING
. change: o.<set>[n - 1]
nn.Dropout(0.5) | 4, 6 -> p = (1.0, 0.5, 0.9)
nn.BatchNorm1d(6) | 4, 6 -> momentum = (0.5, 0.1, 0.0); momentum = (None, 0.1, None)
    track_running_stats = (False, True, False); training = (False, True, False)
nn.Embedding(5, 3) | words -> padding_idx = (1, 2, None)
nn.Flatten() | 2, 4, 6, 6 -> start_dim = (2, 0, 1)
== layers: layer | shape -> set @ MODES
. change: o.<set>[n - 1]
nn.LeakyReLU(0.1) | 4, 6 -> negative_slope = (0.2, 0.0, 0.5)
nn.GELU() | 4, 6 -> approximate = ('tanh', 'none', 'tanh')
nn.GLU() | 4, 6 -> dim = (0, 1, 0)
nn.RMSNorm(6, eps=1e-05) | 4, 6 -> eps = (0.01, None, 1.0)
nn.GroupNorm(2, 4) | 2, 4, 8 -> num_groups = (4, 1, 2)
nn.Conv1d(4, 2, 3) | 2, 4, 8 -> stride = ((2,), (1,), (3,))
nn.Conv2d(4, 2, 3) | 2, 4, 6, 6 -> padding = ((1, 1), 'same', (0, 0))
nn.Conv2d(4, 2, 3, padding=1) | 2, 4, 6, 6 -> padding_mode = ('reflect', 'zeros', 'replicate')
nn.ConvTranspose2d(4, 2, 3, stride=2) | 2, 4, 6, 6 -> output_padding = ((1, 1), (0, 0), (0, 1))
nn.MaxPool1d(2) | 2, 4, 8 -> __dict__ = [vars(nn.MaxPool1d(k)) for k in (2, 3, 4)]
nn.MaxPool2d(4) | 2, 4, 6, 6 -> ceil_mode = (True, False, True)
nn.AvgPool2d(2) | 2, 4, 6, 6 -> divisor_override = (3, 5, None)
nn.Upsample(size=(7, 7)) | 2, 4, 6, 6 -> mode = ('bilinear', 'nearest', 'bilinear')
# --- what a step reads from the library's objects: made | changed -> read
== library: make | change -> read
nn.Linear(1, 1) | o.train(n % 2 == 0) -> 2.0 if o.training else 3.0
nn.Parameter(rv.ones(1)) | o.requires_grad_(n % 2 == 0) -> 2.0 if o.requires_grad else 3.0
nn.Parameter(rv.ones(1)) | o.grad = rv.ones(1) if n % 2 else None -> 2.0 if o.grad is None else 3.0
Plain(rv.ones(1)) | o.value = rv.ones(1 + n) -> float(o.value.shape[0]); float(len(o.value))
rv.ones(1) | o.data = rv.ones(1 + n) -> float(o.shape[0])
Plain(rv.ones(1)) | o.value = rv.ones(1, dtype=rv.float64 if n % 2 else rv.float32) ->
    2.0 if o.value.dtype == rv.float64 else 3.0
type('Own', (rv.Tensor,), {'gain': 1.0})(rv.ones(3)) |
    o.__class__ = type('Other', (rv.Tensor,), {'gain': 1.0 + n}) -> o.gain
o = nn.Parameter(rv.ones(3)); t = o * 2.0 | t[0].mul_(2.0) ->
    o.grad = None\n(x * t).sum().backward(retain_graph=True)\nreturn x * o.grad
nn.Sequential(nn.Linear(1, 1)) | o[0] = nn.Linear(1, 1 + n) -> float(o[0].out_features)
nn.Sequential(nn.ReLU()) | o[0] = nn.Tanh() if n % 2 else nn.ReLU() ->
    2.0 if isinstance(o[0], nn.ReLU) else 3.0
nn.Sequential(nn.Linear(1, 1)) | o.append(nn.Linear(1, 1)) ->
    float(len([name for name, _ in o.named_parameters() if 'weight' in name]))
    float(sum(p.numel() for p in o.parameters())); !len(repr(o)) / 10; 1.0 + len(o)
nn.Sequential() | vars(o).pop('head') if n == 2 else setattr(o, 'head', nn.Identity()) ->
    2.0 if hasattr(o, 'head') else 3.0
nn.CrossEntropyLoss() | o.label_smoothing = 0.1 * n -> 1.0 + o.label_smoothing
rv | rv.set_num_threads(1 + n % 2) -> float(rv.get_num_threads())
Plain(v); of_later_calls = lambda: o.value | o.value = new ->
    1.0 if small.w.grad is None else of_later_calls()
undone(patch, lambda: rv.set_default_dtype(rv.float32)) |
    rv.set_default_dtype((rv.float32, rv.float64)[n % 2]) -> rv.arange(3) * 0.5 + rv.tensor([0.1, 0.2, 0.3])
rv | rv.set_winograd(n % 2 == 0) -> 2.0 if rv.get_winograd() else 1.0
undone(patch, lambda: rv.set_float32_matmul_precision('highest')) |
    rv.set_float32_matmul_precision(('highest', 'high', 'medium', 'high')[n]) ->
    len(rv.get_float32_matmul_precision())
distributions.Normal(rv.zeros(1), rv.ones(1), validate_args=False) | o.loc = rv.ones(1) * n ->
    o.log_prob(rv.ones(1)).exp()
distributions.AffineTransform(0.0, 1.0) | o.scale = new -> o(rv.ones(1))
# state of the library; a step with random numbers and no other change
== unread: kind -> change
. flags: neutral
. make: m = network(nn.Dropout(0.3)); o = sgd(m, 0.1, 0.5)
. step: classifies(m, o)
. inputs: labelled(n)
. watch: [m, o]
neutral -> rv.set_num_threads((1, 2, 1, 2)[n]); rv.set_rng_state(rv.get_rng_state()); rv.empty_cache()
    another_program(); (small.w * 2).sum().backward(); rv.set_winograd(n % 2 == 0)
== compiled: make | change -> read
. scales: small.f = v; fast = compile_step(lambda x: small.train(x, small.f))
. inner: small.f = v; inner = compile_step(lambda x: x * small.f)
.. s = compile_step(lambda x: small.train(inner(x), 1.5))
. flags: whole
. watch: [small, o]
fast = compile_step(lambda x: small.loss(x)); k = [True] | k[0] = n % 2 == 0 ->
    with rv.set_grad_enabled(k[0]): return fast(x); fast(x) if k[0] else rv.no_grad()(fast)(x)
    before = rv.is_grad_enabled()\nrv.set_grad_enabled(k[0])\nresult = fast(x)\nrv.set_grad_enabled(before)\n
    return result
o = learner_of(compile_step)() | o.factor = new -> o.step(x)
kind = learner_of(compile_step); o = [kind(1), kind(2)] | o[n % 2].factor += 1.0 -> [one.step(x) for one in o]
kind = learner_of(compile_step); o = kind() | o = kind(1 + n) -> o.step(x)
kind = learner_of(compile_step); other = type('Other', (kind,), {'factor': 2.0}); o = [kind(), other()] |
    other.factor = new -> [one.step(x) for one in o]
Constructed(compile_step) | o.factor = new -> o.step(x)
<scales>; o = type('Learner', (), {'step': staticmethod(fast)}) | small.f = new -> o.step(x)
s = compile_step(lambda k, x: small.train(x, k.f)); o = type('Learner', (), {'f': v, 's': classmethod(s)}) |
    o.f = new -> o.s(x)
o = type('Own', (Net,), {'score': compile_step(Net.score)})() | o.factor = 1.0 + n -> !o.score(x)
    rv.no_grad()(o.score)(x)
o = Net(); fast = compile_step(o.eval()) | o.factor = 1.0 + n -> fast(x)
<inner> | small.f = new -> (inner(x), s(inner(x)), inner(x)); s(inner(x)); (s(x), small.train(x, small.f))
small.f = v; s = lambda x: small.train(x, small.f); a, b = compile_step(s), compile_step(s) | small.f = new ->
    a(x), b(x)
fast = compile_step(functools.partial(lambda f, x: small.train(x, f), 1.5)) |
    small.optimizer.param_groups[0].update(lr=0.1 * n) -> fast(x)
o = Learner(); fast = compile_step(o) | o.factor = new -> fast(x)
<scales> | small.f = new -> in_a_thread(fast, x)
<scales> | in_a_thread(setattr, small, 'f', new) -> fast(x)
k = [v]; a = compile_step(lambda x: gradient(small.w, (x * small.w * k[0]).sum()))
    b = compile_step(small.loss) | k[0] = new -> a(x), b(x)
small.f = v; s = lambda x: small.train(x, small.f); fast = compile_step(s)
    calls = itertools.cycle([fast, fast, s]) | small.f = new -> next(calls)(x)
itertools.count() | - ->
    f = next(o) * 1.0\ns = compile_step(lambda x: small.train(x, 1.0 + f))\nreturn [s(x) for _ in range(3)]
small.f = v; s = lambda x: x * small.w * small.f; a = rv.no_grad()(compile_step(s))
    b = compile_step(rv.no_grad()(s)) | small.f = new -> a(x), b(x), small.train(x, 1.0)
k = [1]; step = compile_step(lambda x, d=0: small.train(x, 1.5) if d == k[0] else step(x * 0.5, d + 1)) |
    k[0] = 1 + n -> step(x)
o = network(seed=3).eval(); k = [1.0]; fast = compile_step(lambda x: o(x).detach() * k[0]) | k[0] = 1.0 + n ->
    at_once(fast, x)
o = network(seed=3).eval(); k = [1.0]; fast = compile_step(rv.no_grad()(lambda x: o(x) * k[0])) |
    k[0] = 1.0 + n -> at_once(fast, x)
== compiled: make | change -> read
. inputs: labelled(n)
. watch: o
o = network(nn.Dropout(0.4)); s = compile_step(classifies(compile_step(o), sgd(o))) | o.train(n % 2 == 0) ->
    =s
o = network(nn.Dropout(0.4)); fast = compile_step(o); s = compile_step(classifies(o, sgd(o))) |
    o[2].p = 0.1 * n -> =in_both_modes(o, s, fast)
!o = network(nn.BatchNorm1d(4)); s = classifies(compile_step(o), sgd(o)) | o[2].eps = 0.1 * n -> =s
== keeps: make | change -> read
. net: o = nn.Linear(3, 3); o.hidden = o.made = None; o.calls = 0; o.register_buffer('mean', rv.zeros(3))
. pair: o = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)]); a, b = o
. flags: whole
. watch: [small, o]
nn.Parameter(rv.ones(3)) | o.data.mul_(2.0) -> rv.autograd.grad((x * o * o).sum(), [o])
[None] | small.w.data.mul_(1.5) -> o[0] = small.w\nreturn small.train(x, 1.5)
<pair>; s = descends(lambda x: ((a(x) - b(x).detach()) ** 2).mean(), sgd(a)) |
    b.load_state_dict(a.state_dict()) ->
    loss = s(x)\nb.weight.data.mul_(0.9).add_(a.weight.detach() * 0.1)\nreturn loss
!<pair> | a.weight.data.mul_(1.5) ->
    b.weight.data = (a.weight + b.weight).detach() * 0.5\nreturn (a(x) - b(x)).sum()
!nn.Parameter(rv.ones(3)) | o.data.mul_(1.5) -> o.grad = x.mean(0) * 2.0\nreturn o.sum()
o = nn.Parameter(rv.ones(3)); k = [True] | k[0] = n % 2 == 0 ->
    o.requires_grad_(k[0])\nreturn gradient(o, (x * o).sum())
o = nn.Sequential(nn.Dropout(0.5)); k = [True] | k[0] = n % 2 == 0 -> o.train(k[0])\nreturn o(x) * 1.0
!o = nn.Linear(3, 3); k = [2.0] | k[0] = new ->
    h = o.register_forward_hook(lambda m, a, y: y * k[0])\ny = o(x).sum()\nh.remove()\nreturn y
![] | o.clear() -> o.append(1)\nreturn small.train(x, 1.0 + 0.1 * len(o))
rv.zeros(3) | o.zero_() ->
    with rv.no_grad(): o.mul_(0.9).add_(x.mean(0) * 0.1)\nreturn small.train(x - o, 1.5)
{} | o[4].mul_(2.0) ->
    if len(x) not in o: o[len(x)] = rv.ones(len(x), 1) * 2.0\nreturn small.train(x * o[len(x)], 1.5)
[False] | o[0] = n % 2 == 1 ->
    with rv.set_grad_enabled(o[0]): y = (small.w ** 2).sum()\n
    return gradient(small.w, (x * small.w).sum() + y)
patch.after(lambda: rv.set_grad_enabled(True)) | - ->
    y = small.train(x, 1.5)\nrv.set_grad_enabled(True)\nreturn y
!Plain(False) | o.value = n % 2 == 1 ->
    loss, y = small.train(x, 1.5)\nreturn y * (loss.item() if o.value else 1.0)
!<net> | - -> y = o(x) if o.hidden is None else o(x) + o.hidden\no.hidden = y.detach()\nreturn y.detach()
    o.mean = o.mean * 0.9 + x.mean(0) * 0.1\nreturn x - o.mean; o.calls += 1\nreturn o(x).detach()
    if o.made is None: rv.manual_seed(3)\no.made = o.made or nn.Linear(3, 3)\nreturn o.made(x).detach()
    o.calls += 1\nreturn o(x).detach() * (2.0 if o.calls > 5 else 1.0)
def o(x): return small.train(x, 1.5) | o.__code__ = (lambda x: small.train(x, 2.5)).__code__ -> =o
def o(x, factor=2.0): return small.train(x, factor) | o.__defaults__ = (new,) -> =o
functools.partial(lambda x, factor: small.train(x, factor), factor=1.5) | o.keywords.update(factor=1.5 + n) ->
    =o
o = F.mse_loss; step = descends(lambda x: o(x * small.w, x * 2), small.optimizer) |
    o = (F.l1_loss, F.smooth_l1_loss, F.mse_loss)[n - 1] -> =step
# what the caller does after each call
== in_turn: make | read -> act
. more: def act(n):
..     <act>
. each: act(n)
Plain(1.0) | o.value -> o.value = 1.0 + n % 5; o.value = 1.0 + n % 2
Plain(rv.ones(3)) | x * o.value -> o.value = rv.full((3,), n * 1.0)
Plain(abs) | o.value(x) -> o.value = closure(n * 1.0)
Plain({'a': [1.0, 2.0]}) | o.value['a'][1] -> o.value = {'a': [1.0, 2.0]}
== in_turn: make -> each
. step: classifies(m, o)
. inputs: labelled(n)
. watch: [m, o]
m = network(nn.Dropout(0.5), nn.BatchNorm1d(4)); o = sgd(m) -> m.train(n % 2 == 0); rv.manual_seed(n)
    rv.randn(n)
m = network(); o = optim.Adam(m.parameters(), lr=0.05); saved = [] -> saved_and_loaded(m, o, saved, n)
== in_turn: make | each -> read
. flags: whole
. watch: m
!m = network(nn.Dropout(0.5), nn.BatchNorm1d(4)) | m.train(n % 2 == 0) -> (m(x) * small.w.sum()).sum()
== in_turn: make -> change
. step: classifies(m, sgd(m))
. inputs: labelled(n)
. watch: m
kind = nn.Tanh; m = network(doubled(kind)) -> patch(kind, 'forward', lambda self, x: x * n)
== unread: make | change -> read
. flags: whole neutral
!Plain(True) | o.value = n == 2 -> loss, y = small.train(x, 1.5)\nif o.value: loss.item()\nreturn y
"""
tables(ROWS, TRAINING=TRAINING, MODES=MODES)
