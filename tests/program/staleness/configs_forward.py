"""Models whose forward reads settings of many kinds, the environment, memory that becomes shared."""

import functools
import os
import types

import ranvier as rv
from program.staleness.judge import Case, add, scenario
from program.staleness.small import Small, descends, reading, squares, trains
from ranvier import nn
from ranvier.nn import functional as F

# --- models by what their forward reads


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
        self._use = use

    def forward(self, x):
        return self._use(self, x)


def by_names(model, x):
    for name in model.order:
        x = model.named[name](x)
    return x


def by_getattr(model, x):
    return getattr(rv, model.kind)(model.layers[0](x))


def by_members(model, x):
    for name, layer in model.named.items():
        if name in model.active:
            x = layer(x)
    return x


def by_cache(model, x):
    n = x.shape[0]
    if n not in model.cache:
        model.cache[n] = rv.ones(n, 1) * model.table["scale"]
    return model.layers[0](x) * model.cache[n]


def by_functions(model, x):
    for function in model.functions:
        x = function(model.layers[0](x))
    return x


FORWARDS = {
    "index": (lambda m, x: m.layers[m.index](x), lambda m, n: setattr(m, "index", n % 3)),
    "slice": (
        lambda m, x: functools.reduce(lambda y, layer: layer(y), m.layers[m.start : m.stop], x),
        lambda m, n: setattr(m, "stop", n % 3 + 1),
    ),
    "order": (by_names, lambda m, n: m.order.append("b") if n < 3 else m.order.reverse()),
    "active": (by_members, lambda m, n: m.active.add("b") if n % 2 else m.active.discard("b")),
    "getattr": (by_getattr, lambda m, n: setattr(m, "kind", (None, "relu", "sigmoid", "exp")[n])),
    "count": (
        lambda m, x: [x := m.layers[i](x) for i in range(m.count)][-1],
        lambda m, n: setattr(m, "count", n % 3 + 1),
    ),
    "skip": (lambda m, x: m.layers[0](x) + (x if m.skip else 0), lambda m, n: setattr(m, "skip", n % 2 == 1)),
    "options": (
        lambda m, x: F.dropout(m.layers[0](x), **m.options),
        lambda m, n: m.options.update(p=0.2 * n),
    ),
    "options_grow": (
        lambda m, x: F.dropout(m.layers[0](x), **m.options),
        lambda m, n: m.options.update(training=n % 2 == 0),
    ),
    "activation": (
        lambda m, x: m.activation(m.layers[0](x)),
        lambda m, n: setattr(m, "activation", (None, F.tanh, F.gelu, F.silu)[n]),
    ),
    "functions": (by_functions, lambda m, n: m.functions.append((None, F.tanh, F.gelu, F.silu)[n])),
    "cache_cleared": (by_cache, lambda m, n: (m.table.update(scale=1.0 + n), m.cache.clear())),
    "layers_reversed": (
        lambda m, x: m.layers[0](x) + m.layers[1](x) * 2,
        lambda m, n: setattr(m, "layers", nn.ModuleList([*m.layers][::-1])),
    ),
    "length_of_layers": (
        lambda m, x: m.layers[0](x) * len(m.layers),
        lambda m, n: m.layers.append(nn.Linear(3, 3)),
    ),
    "isinstance_of_a_layer": (
        lambda m, x: m.layers[0](x) * (2.0 if isinstance(m.layers[1], nn.Identity) else 1.0),
        lambda m, n: m.layers.__setitem__(1, nn.Identity() if n % 2 else nn.Linear(3, 3)),
    ),
    "training_flag": (
        lambda m, x: m.layers[0](x) * (2.0 if m.training else 1.0),
        lambda m, n: m.train(n % 2 == 0),
    ),
    "training_flag_of_a_child": (
        lambda m, x: m.layers[0](x) * (2.0 if m.layers[1].training else 1.0),
        lambda m, n: m.layers[1].train(n % 2 == 0),
    ),
}


def forwarding(use, change):
    def build():
        model = Reads(use)
        step = descends(squares(model), rv.optim.SGD(model.parameters(), lr=0.05))
        return Case(step, lambda n: change(model, n), model)

    return build


for name, (use, change) in FORWARDS.items():
    add(f"configs/forward_{name}", forwarding(use, change), "either" if "cache" in name else "works")


# --- the environment, and memory that becomes shared


def variable(read, write):
    def build(patch):
        patch.item(os.environ, "STALENESS", "1")
        patch.after(
            lambda: [os.environ.pop(name) for name in list(os.environ) if name.startswith("STALENESS_")]
        )
        return reading(read, write)

    return build


VARIABLES = {
    "missing": (
        lambda: float(os.environ.get("STALENESS", "7")),
        lambda n: os.environ.pop("STALENESS", None) if n % 2 else os.environ.update(STALENESS="3"),
    ),
    "member": (
        lambda: 2.0 if "STALENESS" in os.environ else 3.0,
        lambda n: os.environ.pop("STALENESS", None) if n % 2 else os.environ.update(STALENESS="3"),
    ),
    "putenv": (lambda: float(os.environ["STALENESS"]), lambda n: os.environ.update(STALENESS=str(n + 1))),
    "number": (lambda: float(len(os.environ)), lambda n: os.environ.__setitem__(f"STALENESS_{n}", "1")),
}
for name, (read, write) in VARIABLES.items():
    add(f"configs/environment_{name}", variable(read, write), "either" if name == "number" else "works")


@scenario("either")
def cached_mask_by_size():
    """A mask that is made at the first call of a size, and kept."""
    masks = {}

    def mask(n):
        if n not in masks:
            masks[n] = rv.ones(n, 1) * 2.0
        return masks[n]

    return trains(lambda x: (x * mask(x.shape[0]), 1.5), lambda n: masks[4].mul_(2.0))


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
def decorated_without_gradients(compile_step):
    small, state = Small(), types.SimpleNamespace(factor=1.0)

    @rv.no_grad()
    @compile_step
    def outside(x):
        return x * small.w * state.factor

    @compile_step
    @rv.no_grad()
    def inside(x):
        return x * small.w * state.factor

    def call(x):
        return outside(x), inside(x), small.train(x, 1.0)

    return Case(call, lambda n: setattr(state, "factor", 1.0 + n), small.watch)


@scenario()
def two_networks_in_turn():
    """A generator and a discriminator, with different kinds of steps in one function."""
    first, second = nn.Linear(3, 3), nn.Linear(3, 1)
    state = types.SimpleNamespace(weight=1.0)
    one, two = rv.optim.Adam(first.parameters(), lr=0.05), rv.optim.SGD(second.parameters(), lr=0.05)

    def step(x):
        two.zero_grad()
        loss = F.softplus(-second(x)).mean() + F.softplus(second(first(x).detach())).mean()
        loss.backward()
        two.step()
        one.zero_grad()
        other = F.softplus(-second(first(x))).mean() * state.weight
        other.backward()
        one.step()
        return loss, other

    return Case(step, lambda n: setattr(state, "weight", 1.0 + n), [first, second, one, two])
