"""Optimizers: each setting of each class, groups, states, gradients, schedules."""

from compile.staleness.rows import tables, texts

TWO = "t = Two(optim.<kind>, <given>); o = t.optimizer; s = lr_scheduler.<of>"
NET = "m = network(nn.Dropout(0.2)); o = optim.<kind>(m.parameters(), lr=0.1, <given>); s = lr_scheduler.<of>"
FIT = texts(more="t = trainer(compiled, m, o)", step="lambda: fitted(t, 'callback', put)", inputs="()")
SCHEDULED = {
    "": texts(make=TWO, step="lambda x: t.step(x)", watch="t.watch"),
    "fit": FIT | texts(make=NET, watch="[m, o]", flags="within once"),
}

ROWS = r"""
# class | settings -> changed setting
== settings: kind | given -> setting
. change: t.groups[0].update(<setting>)
. make: t = Two(optim.<kind>, <given>)
. step: lambda x: t.step(x)
. watch: t.watch
% COMMON
    lr=(0.1, 0.02, 0.0)[n - 1]; weight_decay=(0.1, 0.0, 0.5)[n - 1]; maximize=n % 2 == 1
% ADAM
    betas=((0.5, 0.9), (0.8, 0.999), (0.0, 0.9))[n - 1]; eps=(1e-1, 1e-8, 1.0)[n - 1]
SGD | -> <COMMON>; momentum=(0.9, 0.5, 0.0)[n - 1]
SGD | momentum=0.9 -> <COMMON>; momentum=(0.5, 0.0, 0.9)[n - 1]; dampening=(0.5, 0.0, 0.9)[n - 1]
    nesterov=n % 2 == 1
Adam | -> <COMMON>; <ADAM>; amsgrad=n % 2 == 1
Adam | weight_decay=0.1 -> decoupled_weight_decay=n % 2 == 1
AdamW | -> <COMMON>; <ADAM>; amsgrad=n % 2 == 1
Adadelta | lr=1.0 -> <COMMON>; rho=(0.5, 0.9, 0.1)[n - 1]; eps=(1e-2, 1e-6, 1e-1)[n - 1]
Adagrad | -> <COMMON>; lr_decay=(0.5, 0.0, 1.0)[n - 1]; eps=(1e-1, 1e-10, 1.0)[n - 1]
Adamax | -> <COMMON>; <ADAM>
Rprop | -> maximize=n % 2 == 1; etas=((0.3, 1.5), (0.5, 1.2), (0.1, 2.0))[n - 1]
    step_sizes=(1e-6 * n, 0.01 * n)
ASGD | -> <COMMON>; lambd=(0.5, 1e-4, 0.9)[n - 1]; alpha=(2.0, 0.75, 9.0)[n - 1]; t0=(0, 1e6, 2)[n - 1]
NAdam | -> <COMMON>; <ADAM>; momentum_decay=(0.1, 4e-3, 1.0)[n - 1]
NAdam | weight_decay=0.1 -> decoupled_weight_decay=n % 2 == 1
RAdam | betas=(0.9, 0.5) -> <COMMON>; betas=((0.5, 0.6), (0.8, 0.5), (0.0, 0.5))[n - 1]
    eps=(1e-1, 1e-8, 1.0)[n - 1]
RAdam | betas=(0.9, 0.5), weight_decay=0.1 -> decoupled_weight_decay=n % 2 == 1
RMSprop | -> <COMMON>; alpha=(0.5, 0.99, 0.1)[n - 1]; eps=(1e-1, 1e-8, 1.0)[n - 1]; momentum=0.3 * n
    centered=n % 2 == 1
== optimizers: kind | given -> change
. make: t = Two(optim.<kind>, <given>)
. step: lambda x: t.step(x)
. watch: t.watch
% CHANGES
    add_group(t, n); t.groups[0] = {**t.groups[0], 'lr': 0.1 * n}; t.groups.clear(); t.optimizer.state.clear()
    t.optimizer.param_groups = [{**t.groups[0], 'lr': 0.1 * n}]; t.groups[0]['params'].reverse()
    t.state.clear(); t.a = nn.Parameter(rv.ones(3) * n)\nt.groups[0]['params'][0] = t.a
    t.optimizer.state.pop(t.a, None); t.groups[0].update(params=[t.a] if n % 2 else [t.a, t.b])
    load_state(t, n); t.optimizer.step()
    t.optimizer.load_state_dict(type(t.optimizer)([t.a, t.b], lr=0.1 * n).state_dict())
    t.optimizer = (optim.SGD, optim.AdamW, optim.RMSprop)[n - 1]([t.a, t.b], lr=0.03)
    t.optimizer = type(t.optimizer)([t.a, t.b], lr=0.05)
    t.groups[0].update(lr=0.1 * n, weight_decay=0.1, eps=0.1); t.groups[0].update(lr=np.float64(0.1 * n))
    t.a.requires_grad_(n % 2 == 0)
Adam | -> <CHANGES>
SGD | momentum=0.9 -> <CHANGES>; if n < 3: t.groups[0]['params'].pop(); t.groups[0].update(lr=n)
RMSprop | centered=True -> <CHANGES>
== optimizers: kind | given -> change
. make: t = Two(optim.<kind>, <given>)
. step: lambda x: t.step(x)
. watch: t.watch
Adam | groups=True -> t.groups.pop() if n < 3 else None; t.groups.reverse(); t.groups[1].update(lr=0.1 * n)
    t.groups[1].update(betas=(0.1 * n, 0.9))
Adam | -> t.state['exp_avg'].fill_(0); t.state.update(exp_avg=np.full(3, 0.1 * n, np.float32))
    t.state['step'].fill_(0); t.state.update(step=np.array(0.0))
== unread: kind | given -> change
. flags: neutral
. make: t = Two(optim.<kind>, <given>)
. step: lambda x: t.step(x)
. watch: t.watch
Adam | -> t.optimizer.defaults.update(lr=0.1 * n); t.optimizer.zero_grad()
# --- gradients that are added up over calls, that the step drops or does not compute
== carried: step -> change
. make: t = Two(optim.SGD, momentum=0.9)
. watch: t.watch
% CARRIED
    t.optimizer.zero_grad(); t.optimizer.zero_grad(set_to_none=False); t.a.grad = None
    t.a.grad = rv.full((3,), n * 1.0); t.a.grad.zero_(); t.a.grad = t.a.grad * 0.5
    nn.utils.clip_grad_norm_([t.a, t.b], 0.1); t.a.grad = rv.from_numpy(np.ones(3, np.float32) * n)
t.accumulated(False) -> <CARRIED>; (t.a * 2).sum().backward()
t.accumulated(True) -> t.a.grad = rv.full((3,), n * 1.0); (t.a * 2).sum().backward()
    for p in (t.a, t.b): p.grad = rv.ones(*p.shape)
t.without_a() -> <CARRIED>
== separately: kind -> act
. make: t = Two(optim.<kind>); due = []
. more: backward = compile_step(lambda x: t.loss(x).backward()); update = compile_step(t.optimizer.step)
.. def act(n):
..     <act>
.. def step(x):
..     t.optimizer.zero_grad()
..     backward(x)
..     while due: act(due.pop())
..     update()
. step: step
. change: due.append(n)
. watch: t.watch
SGD -> t.a.grad = t.a.grad * 2.0; t.a.grad = t.a.grad.clone().zero_(); t.a.grad.mul_(2.0); t.a.grad = None
Adam -> t.a.grad = t.a.grad * 2.0; t.a.grad = t.a.grad.clone().zero_(); t.a.grad.mul_(2.0); t.a.grad = None
== schedules: kind | given -> of @ SCHEDULED
. change: s.step()
% ALL
    StepLR(o, 1, 0.5); LambdaLR(o, lambda e: 1 / (e + 1)); CyclicLR(o, 0.01, 0.1, 2); OneCycleLR(o, 0.1, 20)
SGD | momentum=0.9 -> <ALL>
Adam | -> <ALL>
# how a step reads the rate, or other things of its optimizer `o` and its schedule `s`: made | changed -> read
== optimizers: make | change -> read
o = small.optimizer; s = lr_scheduler.ExponentialLR(o, 0.5) | s.step() -> s.get_lr()[0]; s.get_last_lr()[0]
    o.param_groups[0]['lr']; sum(group['lr'] for group in o.param_groups)
    o.defaults['lr'] + s.get_last_lr()[0]; getattr(o, 'param_groups')[0]['lr']
    !vars(o)['param_groups'][0]['lr']; o.state_dict()['param_groups'][0]['lr']; !float(len(repr(o)))
    !float(len(f'{o}')); 1.0 + s.last_epoch
small.optimizer | o.param_groups[0].update(momentum=0.1 * (n % 2)) ->
    2.0 if o.param_groups[0]['momentum'] else 1.0
small.optimizer | o.defaults.update(lr=0.05 + 0.01 * n) -> o.defaults['lr']
    ![d['lr'] for d in vars(o).values() if type(d) is dict and 'lr' in d][0]
small.optimizer; which = ['param_groups'] | o.param_groups[0].update(lr=0.01 * n) ->
    getattr(o, which[0])[0]['lr']
optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1) | o.add_param_group({'params': [nn.Parameter(rv.ones(1))]}) ->
    float(len(o.param_groups))
optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1) | o.state.update({n: {}}) -> 1.0 + len(o.state)
optim.SGD([nn.Parameter(rv.ones(1))], lr=0.1) | o.__class__ = optim.Adam if n % 2 else optim.SGD ->
    2.0 if isinstance(o, optim.SGD) else 3.0
type('Own', (optim.SGD,), {})([nn.Parameter(rv.ones(1))], lr=0.1); o.gain = v | o.gain = new -> o.gain
type('Own', (optim.SGD,), {}); small.optimizer = o([small.w], lr=0.1) | o.step = own_step -> 1.5
optim.SGD | patch(o, 'step', lambda self, closure=None: None) -> 1.5
small.optimizer | o.step = lambda: own_step(o) -> 1.5
small.optimizer | o.zero_grad = lambda: None -> 1.5
# made | change -> the step
== steps: make | change -> read
. line: o = nn.Linear(3, 3); opt = optim.SGD(o.parameters(), 0.1); k = [0.1]
. flags: whole
. watch: [small, o]
!Two(); s = lr_scheduler.ExponentialLR(o.optimizer, 0.5) | - -> loss = o.step(x)\ns.step()\nreturn loss
Two(groups=True); k = [0.1] | k[0] = 0.1 * new -> o.groups[0]['lr'] = k[0]\nreturn o.step(x)
    for group in o.groups: group['lr'] = k[0]\nreturn o.step(x)
t = Two(); o = [t, rv.zeros(3)]; k = [1.0] | k[0] = new ->
    loss = t.step(x)\no[1].mul_(0.9).add_(t.a.detach() * k[0])\nreturn loss
<line>; average = swa_utils.AveragedModel(o) | - ->
    loss = descends(squares(o), opt)(x)\naverage.update_parameters(o)\nreturn loss
t = Two(); w = nn.Parameter(rv.ones(3)); s = optim.SGD([w], lr=0.1); o = [t, w, s] |
    s.param_groups[0].update(momentum=0.3 * n) -> t.step(x), descends(lambda x: (x * w).sum(), s)(x)
<line>; clip = lambda: nn.utils.clip_grad_norm_(o.parameters(), k[0]) | k[0] = new ->
    descends(squares(o), opt, clip)(x)
<line>; c = [o.weight]; clip = lambda: nn.utils.clip_grad_value_(c, 0.01) |
    c.append(o.bias) if n == 1 else c.pop() -> descends(squares(o), opt, clip)(x)
nn.Parameter(rv.ones(3)); k = [0.1] | k[0] = 0.1 / n ->
    loss = gradient(o, (x * o).sum() ** 2)\nrv.no_grad()(o.sub_)(o.grad * k[0])\nreturn loss
nn.Parameter(rv.ones(3)) | - -> loss = (x * o).sum()\nloss.backward()\no.grad = o.grad * 2\nreturn loss
t = Two(momentum=0.5); o = [t, 0] | - -> o[1] += 1\nreturn t.accumulate(x, o[1] % 2 == 0)
!<line>; opt = optim.LBFGS(o.parameters(), lr=0.1, max_iter=3) | opt.param_groups[0].update(lr=0.1 * n) ->
    opt.step(lambda: gradients(opt, squares(o)(x)))
Two(); ahead = Ahead(o.optimizer) | ahead.pull = 0.1 * n -> descends(o.loss, ahead)(x)
first, second = o = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 1)]); k = [1.0]
    s, t = sgd(first), sgd(second) | k[0] = new ->
    descends(lambda x: second(first(x).detach()).sum() * k[0], t)(x), descends(lambda x: first(x).sum(), s)(x)
== callers: make | step | inputs | watch -> each
t = Two(momentum=0.5) | t.accumulate | (tensor(n), n % 2 == 0) | t.watch -> 0
t = Two(); s = lr_scheduler.ReduceLROnPlateau(t.optimizer, patience=0) | t.step | default_inputs(n) |
    t.watch -> s.step(n * 1.0)
m = nn.Linear(3, 3); a = swa_utils.AveragedModel(m) | descends(squares(m), sgd(m)) | default_inputs(n) |
    [m, a] -> a.update_parameters(m)
t = Two(optim.Adam) | (lambda: t.optimizer.step()) | graded(t, n) | t.watch -> 0
t = Two() | (lambda x: x * t.a.grad) | (*graded(t, n), tensor(n)) | t.watch -> 0; t.a.grad.mul_(2.0)
t = Two() | (lambda x: (x * t.a.grad, t.optimizer.zero_grad())[0]) | (*graded(t, n), tensor(n)) | t.watch -> 0
"""
tables(ROWS, SCHEDULED=SCHEDULED)
