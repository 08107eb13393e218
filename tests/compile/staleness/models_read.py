"""Models that another one replaces, and models whose forward reads settings of many kinds."""

import copy
import types

import ranvier as rv
from compile.staleness.judge import Case, add, labelled, scenario
from compile.staleness.models import sgd
from compile.staleness.rows import function, row, table
from compile.staleness.small import classifies, descends, network, squares
from ranvier import nn
from ranvier.nn import functional as F

# where the model is: (made, read, replaced by `new`)
PLACES = {
    "in_a_cell": ("v", "o", "o = new"),
    "in_a_global": ("globals().update(G=v)", "G", "globals().update(G=new)"),
    "in_a_dict": ("{'model': v}", "o['model']", "o.update(model=new)"),
    "in_an_attribute": ("Plain(v)", "o.value", "o.value = new"),
    "in_a_list": ("[v]", "o[0]", "o[0] = new"),
}


def rebound(texts):
    def build(patch):
        first, second = network(seed=1), network(seed=2)
        get, put, *_ = row(*texts)(first, patch, None)
        optimizers = {id(first): sgd(first), id(second): sgd(second)}

        def step(x, y):
            model = get()
            return classifies(model, optimizers[id(model)])(x, y)

        return Case(step, lambda n: put(n, second if n % 2 else first), [first, second], labelled)

    return build


def rebound_for_predictions(texts):
    def build(patch):
        get, put, *_ = row(*texts)(network(seed=1), patch, None)
        others = [network(seed=seed) for seed in (2, 3, 4)]
        return Case(lambda x: get()(x) * 1.0, lambda n: put(n, others[n - 1]))

    return build


def rebound_without_a_tape(texts):
    def build(patch):
        case = rebound_for_predictions(texts)(patch)
        return Case(rv.no_grad()(case.step), case.change)

    return build


for name, texts in PLACES.items():
    for make in (rebound, rebound_for_predictions, rebound_without_a_tape):
        add(f"models/{make.__name__}_{name}", make(texts))


looked_up, namespace_of, copied, COUNT = getattr, vars, copy.copy, "count"


class OwnDropout(nn.Dropout):
    pass


class OwnNorm(nn.BatchNorm1d):
    pass


class Reads(nn.Module):
    """A model with settings of many kinds; `forward` uses one of them."""

    def __init__(self, use):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3) for _ in range(3)])
        self.index, self.active, self.order, self.kind = 0, {"a"}, ["a"], "tanh"
        self.named = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
        self.start, self.stop, self.count, self.skip = 0, 1, 1, False
        self.options, self.table, self.cache = {"p": 0.5}, {"scale": 1.0}, {}
        self.activation, self.functions = F.relu, [F.relu]
        self._use, self.own, self.norm = use, OwnDropout(0.3), OwnNorm(3)
        self.epoch, self.own.epoch, self.own.count = 0, 0, 1

    def forward(self, x):
        return self._use(self, x)


KINDS = "(F.tanh, F.gelu, F.silu)[n - 1]"
FORWARDS = table(
    r"""
index | m.layers[m.index](x) | m.index = n % 3
slice | for layer in m.layers[m.start : m.stop]: x = layer(x)\nreturn x | m.stop = n % 3 + 1
order | for name in m.order: x = m.named[name](x)\nreturn x
  | m.order.append('b') if n < 3 else m.order.reverse()
active | for layer in [l for name, l in m.named.items() if name in m.active]: x = layer(x)\nreturn x
  | m.active.add('b') if n % 2 else m.active.discard('b')
getattr | getattr(rv, m.kind)(m.layers[0](x)) | m.kind = ('relu', 'sigmoid', 'exp')[n - 1]
count | for i in range(m.count): x = m.layers[i](x)\nreturn x | m.count = n % 3 + 1
skip | m.layers[0](x) + (x if m.skip else 0) | m.skip = n % 2 == 1
options | F.dropout(m.layers[0](x), **m.options) | m.options.update(p=0.2 * n)
options_grow | F.dropout(m.layers[0](x), **m.options) | m.options.update(training=n % 2 == 0)
activation | m.activation(m.layers[0](x)) | m.activation = <KINDS>
functions | for f in m.functions: x = f(m.layers[0](x))\nreturn x | m.functions.append(<KINDS>)
cache_cleared
  | m.cache or m.cache.update({4: rv.ones(4, 1) * m.table['scale']}); return m.layers[0](x) * m.cache[4]
  | m.table.update(scale=1.0 + n); m.cache.clear()
layers_reversed | m.layers[0](x) + m.layers[1](x) * 2 | m.layers = nn.ModuleList([*m.layers][::-1])
length_of_layers | m.layers[0](x) * len(m.layers) | m.layers.append(nn.Linear(3, 3))
isinstance_of_a_layer | m.layers[0](x) * (2.0 if isinstance(m.layers[1], nn.Identity) else 1.0)
  | m.layers[1] = nn.Identity() if n % 2 else nn.Linear(3, 3)
training_flag | m.layers[0](x) * (2.0 if m.training else 1.0) | m.train(n % 2 == 0)
training_flag_of_a_child | m.layers[0](x) * (2.0 if m.layers[1].training else 1.0)
  | m.layers[1].train(n % 2 == 0)
number_of_children | m.layers[0](x) * len(list(m.children())) | setattr(m, f'more{n}', nn.Identity())
number_of_parameters | m.layers[0](x) * len(list(m.parameters()))
  | setattr(m, f'w{n}', nn.Parameter(rv.ones(1)))
number_of_buffers | m.layers[0](x) * (1 + len(list(m.buffers()))) | m.register_buffer(f'b{n}', rv.ones(1))
hook_on_itself | m.layers[0](x) | m.register_forward_hook(lambda m, a, y: y * (1.0 + n))
hook_on_an_own_layer | m.own(m.layers[0](x)) | m.own.register_forward_hook(lambda m, a, y: y * (1.0 + n))
mode_of_an_own_layer | m.own(m.layers[0](x)) | m.own.train(n % 2 == 0)
parameter_of_an_own_norm | m.norm(m.layers[0](x)) | m.norm.weight = nn.Parameter(rv.full((3,), 1.0 + n))
statistics_of_an_own_norm | m.norm(m.layers[0](x)) | m.norm.running_mean = rv.full((3,), 1.0 + n)
probability_of_an_own_layer | m.own(m.layers[0](x)) | m.own.p = 0.2 * n
eps_of_an_own_norm | m.norm(m.layers[0](x)) | m.norm.eps = 0.1 * n
list_of_layers | for layer in m.table.get('more', ()): x = layer(x)\nreturn m.layers[0](x)
  | m.table.setdefault('more', []).append(nn.Linear(3, 3))
attribute_in_a_helper | h = lambda o: o.count; return m.layers[0](x) * h(m) | m.count = n + 1
attribute_in_the_namespace | m.layers[0](x) * vars(m)['count'] | m.count = n + 1
attribute_in_its_dict | m.layers[0](x) * m.__dict__['count'] | m.count = n + 1
attribute_of_a_computed_name | m.layers[0](x) * getattr(m, ''.join(['cou', 'nt'])) | m.count = n + 1
attribute_in_a_format | m.layers[0](x) * len('{0.kind}'.format(m)) | m.kind = 'x' * n
attribute_of_another_getter | m.layers[0](x) * looked_up(m, COUNT) | m.count = n + 1
attributes_of_another_getter | m.layers[0](x) * namespace_of(m)[COUNT] | m.count = n + 1
attribute_of_a_copy | m.layers[0](x) * copied(m).count | m.count = n + 1
attribute_of_a_later_branch | m.layers[0](x) * (m.count if m.skip else 1.0) | m.skip = True; m.count = n + 1
attribute_of_a_pattern
  | match m:\n case nn.Module(count=1): return m.layers[0](x)\n case _: return m.layers[1](x)
  | m.count = n % 2
attribute_after_others | m.layers[0](x) * m.count | m.epoch = n; m.start = n; m.count = n + 1
attribute_of_a_child | m.layers[0](x) * m.own.count | m.own.count = n + 1
attribute_added | m.layers[0](x) * getattr(m, 'late', 1.0) | m.late = 1.0 + n
attribute_added_and_tried | try: return m.layers[0](x) * m.late\nexcept AttributeError: return m.layers[1](x)
  | m.late = 1.0 + n
attribute_removed | m.layers[0](x) * (1.0 if hasattr(m, 'index') else 2.0) | vars(m).pop('index', None)
number_of_attributes | m.layers[0](x) * len(vars(m)) | setattr(m, f'x{n}', n)
method_replaced | m.layers[0](x) * len(list(m.children())) | m.children = lambda: [1] * n
forward_replaced | m.layers[0](x) | m.forward = lambda x: m.layers[n - 1](x)
text_of_a_setting | m.layers[0](x) * (2.0 if m.kind == 'tanh' else 3.0) | m.kind = 'gelu'
not_read | m.layers[0](x) | m.epoch = n
of_many_not_read | m.own(m.layers[0](x)) | m.count, m.epoch, m.start = n, n, 5.0
""",
    KINDS=KINDS,
)


def forwarding(use, text):
    def build():
        model = Reads(function("m, x", use, {**globals()}))
        change = function("m, n", text, {**globals()})
        step = descends(squares(model), rv.optim.SGD(model.parameters(), lr=0.05))
        return Case(step, lambda n: change(model, n), model)

    return build


for name, (use, text) in FORWARDS.items():
    add(f"configs/forward_{name}", forwarding(use, text), neutral=name.endswith("not_read"))


@scenario()
def parameters_that_share_memory():
    a, b = nn.Parameter(rv.ones(3)), nn.Parameter(rv.full((3,), 2.0))
    step = descends(lambda x: (x * a).sum() + (x * b).sum() ** 2 * 0.1, rv.optim.SGD([a, b], lr=0.05))

    def change(n):
        if n == 1:
            a.data = b.data
        elif n == 2:
            a.data = b.data.clone() * 2.0
        else:
            a.data, b.data = b.data, a.data

    return Case(step, change, [a, b])


@scenario()
def parameter_becomes_a_view_of_another():
    a, b = nn.Parameter(rv.ones(3)), nn.Parameter(rv.full((2, 3), 2.0))

    def step(x):
        a.grad = b.grad = None
        loss = (x * a).sum() + (x @ b.T).sum()
        loss.backward()
        with rv.no_grad():
            b.sub_(b.grad * 0.05)
        return loss

    def change(n):
        a.data = b.data[n % 2]

    return Case(step, change, [a, b])


@scenario()
def two_networks_in_turn():
    """A generator and a discriminator, with different kinds of steps in one function."""
    first, second = nn.Linear(3, 3), nn.Linear(3, 1)
    state = types.SimpleNamespace(weight=1.0)
    one, two = rv.optim.Adam(first.parameters(), lr=0.05), rv.optim.SGD(second.parameters(), lr=0.05)
    critic = descends(lambda x: (F.softplus(-second(x)) + F.softplus(second(first(x).detach()))).mean(), two)
    maker = descends(lambda x: F.softplus(-second(first(x))).mean() * state.weight, one)
    change = lambda n: setattr(state, "weight", 1.0 + n)  # noqa: E731
    return Case(lambda x: (critic(x), maker(x)), change, [first, second, one, two])
