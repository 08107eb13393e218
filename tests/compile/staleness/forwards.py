"""Models of the user, whose forward reads settings of many kinds, in training steps and in Trainer.fit."""

from compile.staleness.models import FITS
from compile.staleness.rows import tables, texts

ONE = {"": texts(more="m = Reads(read)", step="descends(squares(m), sgd(m, 0.05))")}
MADE = "m = Reads(read); o = sgd(m); t = trainer(compiled, m, o)"
BOTH = {
    **ONE,
    "alone": ONE[""] | texts(step="compile_step(m, alone=True)"),
    "fit": FITS["fit_by_data"] | texts(make="None", more=MADE),
}

ROWS = r"""
== forwards: change -> read @ BOTH
. takes: m, x
. watch: m
m.index = n % 3 -> m.layers[m.index](x)
m.stop = n % 3 + 1 -> for layer in m.layers[m.start : m.stop]: x = layer(x)\nreturn x
m.order.append('b') if n < 3 else m.order.reverse() -> for name in m.order: x = m.named[name](x)\nreturn x
m.active.append('b') if n % 2 else m.active.remove('b') ->
    for layer in [l for name, l in m.named.items() if name in m.active]: x = layer(x)\nreturn x
m.kind = ('relu', 'sigmoid', 'exp')[n - 1] -> !fit!getattr(rv, m.kind)(m.layers[0](x))
m.kind = 'gelu' * n -> m.layers[0](x) * (2.0 if m.kind == 'tanh' else 3.0)
    !m.layers[0](x) * len('{0.kind}'.format(m))
m.count = n % 3 + 1 -> for i in range(m.count): x = m.layers[i](x)\nreturn x
    h = lambda o: o.count\nreturn m.layers[0](x) * h(m); !m.layers[0](x) * vars(m)['count']
    !fit!m.layers[0](x) * m.__dict__['count']; m.layers[0](x) * copy.copy(m).count
    !fit!m.layers[0](x) * getattr(m, ''.join(['cou', 'nt'])); !m.layers[0](x) * looked_up(m, COUNT)
m.count = n % 2 ->
    match m:\n    case nn.Module(count=1): return m.layers[0](x)\n    case _: return m.layers[1](x)
m.epoch = m.start = n; m.count = n + 1 -> m.layers[0](x) * m.count
m.own.count = n + 1 -> m.layers[0](x) * m.own.count
patch(Reads, 'shared', 1.0 + n) -> m.layers[0](x) * m.shared
m.layers[0].weight.requires_grad_(n % 2 == 0) ->
    m.layers[0](x) * (2.0 if m.layers[0].weight.requires_grad else 1.0)
m.config = type(m.config)(factor=1.0 + n) -> m.layers[0](x) * m.config.factor
m.skip = n % 2 == 1 -> m.layers[0](x) + (x if m.skip else 0)
m.skip = True; m.count = n + 1 -> m.layers[0](x) * (m.count if m.skip else 1.0)
m.options.update(p=0.2 * n) -> F.dropout(m.layers[0](x), **m.options)
m.options.update(training=n % 2 == 0) -> F.dropout(m.layers[0](x), **m.options)
m.activation = (F.tanh, F.gelu, F.silu)[n - 1] -> m.activation(m.layers[0](x))
m.functions.append((F.tanh, F.gelu, F.silu)[n - 1]) -> for f in m.functions: x = f(m.layers[0](x))\nreturn x
m.table.update(scale=1.0 + n); m.cache.clear() ->
    !fit!m.cache or m.cache.update({4: rv.ones(1, 1) * m.table['scale']})\nreturn m.layers[0](x) * m.cache[4]
m.table.setdefault('more', []).append(nn.Linear(3, 3)) ->
    for f in m.table.get('more', ()): x = f(x)\nreturn m.layers[0](x)
m.layers = nn.ModuleList([*m.layers][::-1]) -> m.layers[0](x) + m.layers[1](x) * 2
m.layers.append(nn.Linear(3, 3)) -> m.layers[0](x) * len(m.layers)
m.layers[1] = nn.Identity() if n % 2 else nn.Linear(3, 3) ->
    m.layers[0](x) * (2.0 if isinstance(m.layers[1], nn.Identity) else 1.0)
m.late = 1.0 + n -> !fit!m.layers[0](x) * getattr(m, 'late', 1.0)
    try: return m.layers[0](x) * m.late\nexcept AttributeError: return m.layers[1](x)
vars(m).pop('index', None) -> !fit!m.layers[0](x) * (1.0 if hasattr(m, 'index') else 2.0)
setattr(m, f'more{n}', nn.Identity()) -> m.layers[0](x) * len(list(m.children()))
    !m.layers[0](x) * len(vars(m))
setattr(m, f'w{n}', nn.Parameter(rv.ones(1))) -> m.layers[0](x) * len(list(m.parameters()))
m.register_buffer(f'b{n}', rv.ones(1)) -> m.layers[0](x) * (1 + len(list(m.buffers())))
m.children = lambda: [1] * n -> m.layers[0](x) * len(list(m.children()))
m.forward = lambda x: m.layers[n - 1](x) -> !alone!m.layers[0](x)
m.register_forward_hook(lambda m, a, y: y * (1.0 + n)) -> m.layers[0](x)
m.own.register_forward_hook(lambda m, a, y: y * (1.0 + n)) -> !alone!m.own(m.layers[0](x))
m.own.p = 0.2 * n -> m.own(m.layers[0](x))
m.norm.weight = nn.Parameter(rv.full((3,), 1.0 + n)) -> m.norm(m.layers[0](x))
m.norm.eps = 0.1 * n -> m.norm(m.layers[0](x))
m.norm.running_mean = rv.full((3,), 1.0 + n) -> m.norm(m.layers[0](x))
== forwards: change -> read @ ONE
. takes: m, x
. watch: m
m.train(n % 2 == 0) -> m.layers[0](x) * (2.0 if m.training else 1.0); m.own(m.layers[0](x))
m.layers[1].train(n % 2 == 0) -> m.layers[0](x) * (2.0 if m.layers[1].training else 1.0)
m.own.train(n % 2 == 0) -> m.own(m.layers[0](x))
!m.limit = 9 -> m.calls.append(1)\nreturn m.layers[0](x) * (2.0 if len(m.calls) > m.limit else 1.0)
== unread: change -> read @ ONE
. flags: neutral
. takes: m, x
. watch: m
m.epoch = n -> m.layers[0](x)
m.count, m.epoch, m.start = n, n, 5.0 -> m.own(m.layers[0](x))
"""
tables(ROWS, ONE=ONE, BOTH=BOTH)
