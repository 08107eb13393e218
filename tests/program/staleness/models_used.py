"""Models used in other ways than by calling them, or rebound."""

import types

import ranvier as rv
from program.staleness.judge import Case, add, labelled, scenario
from program.staleness.models_changed import sgd
from program.staleness.small import descends, network
from ranvier import nn
from ranvier.nn import functional as F

# --- models that are used in other ways than by calling them


def used(forward):
    """`forward(model, x)` uses a model of two linear layers, whose layers and parameters are replaced."""

    def build():
        rv.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        optimizer = sgd(model)

        step = descends(lambda x: (forward(model, x) ** 2).mean() + (model[2].weight ** 2).sum(), optimizer)

        def change(n):
            if n == 1:
                model[0].weight = nn.Parameter(rv.full((3, 3), 0.3))
            elif n == 2:
                model[0] = nn.Linear(3, 3)
            else:
                model[0].weight.requires_grad_(False)

        return Case(step, change, [model, optimizer])

    return build


USES = {
    "weight_alone": lambda m, x: x @ m[0].weight,
    "functional_linear": lambda m, x: F.linear(x, m[0].weight, m[0].bias),
    "forward_without_call": lambda m, x: m[0].forward(x),
    "forward_of_the_whole": lambda m, x: m.forward(x),
    "get_parameter": lambda m, x: x @ m.get_parameter("0.weight"),
    "get_submodule": lambda m, x: m.get_submodule("0")(x),
    "parameters_list": lambda m, x: sum((p * p).sum() for p in m.parameters()) * x.mean(),
    "named_parameters": lambda m, x: x @ dict(m.named_parameters())["0.weight"],
    "next_parameter": lambda m, x: x @ next(iter(m.parameters())),
    "children_loop": lambda m, x: [x := layer(x) for layer in m.children()][-1],
    "modules_loop": lambda m, x: [x := layer(x) for layer in m.modules() if isinstance(layer, nn.Linear)][-1],
    "slice": lambda m, x: m[:1](x),
    "index_from_the_end": lambda m, x: m[-1](m[0](x)),
    "vars_of_modules": lambda m, x: vars(m)["0"](x) if "0" in vars(m) else m[0](x),
    "functional_call_by_class": lambda m, x: nn.Linear.forward(m[0], x),
    "weight_transposed": lambda m, x: x @ m[0].weight.T,
    "weight_slice": lambda m, x: x[:, :2] @ m[0].weight[:2],
    "weight_norm_penalty": lambda m, x: m(x) + (m[0].weight ** 2).sum(),
    "state_dict_weight": lambda m, x: m(x) * (m.state_dict()["0.weight"] ** 2).sum(),
}
for name, forward in USES.items():
    add(f"models/used_by_{name}", used(forward), "either" if name == "vars_of_modules" else "works")


@scenario()
def module_list():
    rv.manual_seed(0)
    layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
    w = nn.Parameter(rv.ones(3))

    def step(x):
        for layer in layers:
            x = layer(x).tanh()
        loss = (x * w).sum()
        w.grad = None
        loss.backward()
        return loss

    return Case(step, lambda n: layers.append(nn.Linear(3, 3)) if n < 3 else layers.__delitem__(0), [w])


@scenario()
def module_dict():
    rv.manual_seed(0)
    layers = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    w = nn.Parameter(rv.ones(3))

    def step(x):
        w.grad = None
        loss = (layers["a"](x) * w).sum()
        loss.backward()
        return loss

    def change(n):
        layers["a"] = (None, layers["b"], nn.Identity(), nn.Linear(3, 3))[n]

    return Case(step, change, [w])


@scenario()
def parameter_list_and_dict():
    rv.manual_seed(0)
    values, named = nn.ParameterList([rv.ones(3), rv.ones(3)]), nn.ParameterDict({"a": rv.ones(3)})

    def step(x):
        for p in values:
            p.grad = None
            x = x * p
        loss = (x * named["a"]).sum()
        loss.backward()
        return loss

    def change(n):
        if n == 1:
            values.append(rv.full((3,), 2.0))
        elif n == 2:
            named["a"] = nn.Parameter(rv.full((3,), 3.0))
        else:
            values[0] = nn.Parameter(rv.full((3,), 4.0))

    return Case(step, change, lambda: [*values, named["a"]])


@scenario()
def python_list_of_layers():
    rv.manual_seed(0)
    layers = [nn.Linear(3, 3), nn.Linear(3, 3)]

    def step(x):
        for layer in layers:
            x = layer(x)
        return x.sum()

    return Case(step, lambda n: layers.append(nn.Linear(3, 3)) if n < 3 else layers.pop(0))


def rebound(keep):
    """Another model replaces the first one, through the (get, set) that `keep` returns."""

    def build():
        get, put = keep()
        first, second = network(seed=1), network(seed=2)
        put(first)
        optimizers = {id(first): sgd(first), id(second): sgd(second)}

        def step(x, y):
            model = get()
            optimizer = optimizers[id(model)]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        return Case(step, lambda n: put(second if n % 2 else first), [first, second], labelled)

    return build


def in_a_cell():
    model = None

    def put(new):
        nonlocal model
        model = new

    return lambda: model, put


MODEL = None


def in_a_global():
    def put(new):
        global MODEL
        MODEL = new

    return lambda: MODEL, put


def in_a_dict():
    models = {}
    return lambda: models["model"], lambda new: models.update(model=new)


def in_an_attribute():
    holder = types.SimpleNamespace()
    return lambda: holder.model, lambda new: setattr(holder, "model", new)


def in_a_list():
    models = [None]
    return lambda: models[0], lambda new: models.__setitem__(0, new)


for keep in (in_a_cell, in_a_global, in_a_dict, in_an_attribute, in_a_list):
    add(f"models/rebound_{keep.__name__}", rebound(keep), "either")  # id() of an object chooses the optimizer


def rebound_inference(keep):
    def build(compile_step):
        get, put = keep()
        put(network(seed=1))
        step = compile_step(lambda x: get()(x) * 1.0)
        others = [network(seed=seed) for seed in (2, 3, 4)]
        return Case(step, lambda n: put(others[n - 1]))

    return build


for keep in (in_a_cell, in_a_global, in_a_dict, in_an_attribute, in_a_list):
    add(f"models/rebound_for_predictions_{keep.__name__}", rebound_inference(keep))
