"""Models changed between two calls: layers, parameters, buffers, hooks, gradients asked for, rebound names."""

from __future__ import annotations

import copy
import gc
import types

import numpy as np
import ranvier as rv
from program.staleness.judge import Case, add, labelled, scenario
from program.staleness.small import Small, classifies, network
from ranvier import nn, optim
from ranvier.nn import functional as F


def sgd(model, lr=0.1, momentum=0.0):
    return optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def trained(change, *more, watch=None, expects="works", inputs=labelled, neutral=False):
    """A scenario of a classifier in training that `change(model, optimizer, n)` changes."""

    def build():
        model = network(*[make() for make in more])
        optimizer = sgd(model)
        step = classifies(model, optimizer)
        return Case(step, lambda n: change(model, optimizer, n), [model, optimizer], inputs)

    return build


def hook_scale(n):
    return lambda module, args, y: y * (1.0 + n)


def pre_scale(n):
    return lambda module, args: (args[0] * (1.0 + n),)


def backward_scale(n):
    return lambda module, grad_input, grad_output: tuple(
        g if g is None else g * (1.0 + n) for g in grad_input
    )


def backward_pre_scale(n):
    return lambda module, grad_output: tuple(g * (1.0 + n) for g in grad_output)


def add_module(model, place, n):
    model.insert(place, nn.Linear(4, 4))


def freeze(model, optimizer, n):
    model[0].weight.requires_grad_(n % 2 == 0)


def freeze_all_but_the_last(model, optimizer, n):
    for p in model[:-1].parameters():
        p.requires_grad_(n % 2 == 0)


def set_data(model, optimizer, n):
    model[0].weight.data = rv.full((4, 3), 0.1 * n)


def write_data(model, optimizer, n):
    model[0].weight.data.mul_(1.0 + n)


def write_numpy(model, optimizer, n):
    model[0].weight.data.numpy()[:] *= 1.0 + n


def copy_in(model, optimizer, n):
    with rv.no_grad():
        model[0].weight.copy_(rv.full((4, 3), 0.1 * n))


def load(model, optimizer, n):
    model.load_state_dict({name: v * (1.0 + n) for name, v in model.state_dict().items()})


def apply_init(model, optimizer, n):
    model.apply(lambda m: nn.init.constant_(m.weight, 0.1 * n) if isinstance(m, nn.Linear) else None)


def tie(model, optimizer, n):
    model[2].bias = model[0].weight_alias = nn.Parameter(rv.full((3,), float(n)))


def replace_parameter(model, optimizer, n):
    model[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n))


def replace_parameter_in_optimizer_too(model, optimizer, n):
    replace_parameter(model, optimizer, n)
    optimizer.param_groups[0]["params"] = list(model.parameters())


def cast_up(model, optimizer, n):
    for p in model.parameters():
        p.grad = None
    model.double() if n % 2 else model.float()


MODEL_CHANGES = {
    "sequential_append": lambda m, o, n: m.append(nn.Tanh()),
    "sequential_append_parameters": lambda m, o, n: m.append(nn.Linear(3, 3)),
    "sequential_insert": lambda m, o, n: m.insert(1, nn.ReLU()),
    "sequential_insert_parameters": lambda m, o, n: m.insert(2, nn.Linear(4, 4)),
    "sequential_delete": lambda m, o, n: m.__delitem__(1) if n == 1 else m.insert(1, (None, None, nn.ReLU(), nn.SiLU())[n]),
    "sequential_replace": lambda m, o, n: m.__setitem__(1, (None, nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n]),
    "sequential_replace_parameters": lambda m, o, n: m.__setitem__(2, nn.Linear(4, 3)),
    "sequential_extend": lambda m, o, n: m.extend([nn.Tanh(), nn.Linear(3, 3)]),
    "attribute_replaced": lambda m, o, n: setattr(m, "1", (None, nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n]),
    "identity_inserted": lambda m, o, n: m.__setitem__(1, nn.Identity()) if n % 2 else m.__setitem__(1, nn.Tanh()),
    "freeze_one": freeze,
    "freeze_all_but_the_last": freeze_all_but_the_last,
    "freeze_all": lambda m, o, n: m[0].requires_grad_(n % 2 == 0),
    "freeze_by_attribute": lambda m, o, n: setattr(m[0].bias, "requires_grad", n % 2 == 0),
    "data_replaced": set_data,
    "data_written": write_data,
    "data_written_by_numpy": write_numpy,
    "copied_in_place": copy_in,
    "state_loaded": load,
    "initialised_anew": apply_init,
    "reset_parameters": lambda m, o, n: m[0].reset_parameters(),
    "bias_replaced": tie,
    "parameter_replaced": replace_parameter,
    "parameter_replaced_in_optimizer_too": replace_parameter_in_optimizer_too,
    "bias_dropped": lambda m, o, n: m[0].register_parameter("bias", None) if n == 1 else setattr(m[0], "bias", nn.Parameter(rv.ones(4) * n)),
    "weights_tied": lambda m, o, n: setattr(m[2], "weight", m[0].weight if n == 9 else nn.Parameter(m[0].weight.detach().T.clone())),
    "grad_cleared": lambda m, o, n: m.zero_grad(),
    "gc_collect": lambda m, o, n: gc.collect(),
    "state_dict_taken": lambda m, o, n: m.state_dict(),
    "deep_copied": lambda m, o, n: copy.deepcopy(m),
    "used_eagerly": lambda m, o, n: m(rv.ones(2, 3)).sum().backward(),
    "eval_and_back": lambda m, o, n: m.eval().train(),
    "forward_hook": lambda m, o, n: m[0].register_forward_hook(hook_scale(n)),
    "forward_hook_on_the_whole": lambda m, o, n: m.register_forward_hook(hook_scale(n)),
    "forward_hook_on_an_activation": lambda m, o, n: m[1].register_forward_hook(hook_scale(n)),
    "forward_pre_hook": lambda m, o, n: m[0].register_forward_pre_hook(pre_scale(n)),
    "full_backward_hook": lambda m, o, n: m[2].register_full_backward_hook(backward_scale(n)),
    "full_backward_pre_hook": lambda m, o, n: m[2].register_full_backward_pre_hook(backward_pre_scale(n)),
    "tensor_hook": lambda m, o, n: m[0].weight.register_hook(lambda g: g * (1.0 + n)),
    "post_accumulate_hook": lambda m, o, n: m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(1.0 + n)),
}  # fmt: skip
NEUTRAL = ("grad_cleared", "gc_collect", "state_dict_taken", "deep_copied", "used_eagerly", "eval_and_back")
for name, change in MODEL_CHANGES.items():
    hooked = "hook" in name  # a hook's Python may do anything: eager's values, or a refusal
    neutral = name in NEUTRAL and name != "used_eagerly"
    add(f"models/{name}", trained(change), "either" if hooked else "works", neutral or name == "used_eagerly")

NORM = (nn.BatchNorm1d, lambda: nn.BatchNorm1d(4))
BUFFER_CHANGES = {
    "buffer_replaced": lambda m, o, n: setattr(m[2], "running_mean", rv.full((4,), float(n))),
    "buffer_written": lambda m, o, n: m[2].running_mean.add_(float(n)),
    "buffer_written_by_numpy": lambda m, o, n: m[2].running_mean.numpy().__iadd__(float(n)),
    "buffer_data_replaced": lambda m, o, n: setattr(m[2].running_mean, "data", rv.full((4,), float(n))),
    "statistics_reset": lambda m, o, n: m[2].reset_running_stats(),
    "norm_to_eval": lambda m, o, n: m[2].train(n % 2 == 0),
    "model_to_eval": lambda m, o, n: m.train(n % 2 == 0),
    "norm_replaced": lambda m, o, n: m.__setitem__(2, nn.LayerNorm(4)) if n % 2 else m.__setitem__(2, nn.BatchNorm1d(4)),
    "norm_weight_written": lambda m, o, n: m[2].weight.data.fill_(float(n)),
}  # fmt: skip
for name, change in BUFFER_CHANGES.items():
    add(f"models/{name}", trained(change, NORM[1]))


def hooks_removed(register):
    """Two hooks from the start; the first change removes one, the second the other, the third adds one."""

    def build():
        model = network()
        optimizer = sgd(model)
        handles = [register(model, n) for n in (1, 2)]

        def change(n):
            handles.append(register(model, 3)) if n == 3 else handles.pop().remove()

        return Case(classifies(model, optimizer), change, [model, optimizer], labelled)

    return build


REGISTER = {
    "forward_hook": lambda m, n: m[0].register_forward_hook(hook_scale(n)),
    "forward_pre_hook": lambda m, n: m[0].register_forward_pre_hook(pre_scale(n)),
    "full_backward_hook": lambda m, n: m[2].register_full_backward_hook(backward_scale(n)),
    "full_backward_pre_hook": lambda m, n: m[2].register_full_backward_pre_hook(backward_pre_scale(n)),
    "tensor_hook": lambda m, n: m[0].weight.register_hook(lambda g: g * (1.0 + n)),
    "post_accumulate_hook": lambda m, n: m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(1.0 + n)),
}  # fmt: skip
for name, register in REGISTER.items():
    add(f"models/{name}_removed", hooks_removed(register), "either")


def hook_that_reads(register_with):
    """A hook that reads a factor which changes."""

    def build():
        model, state = network(), types.SimpleNamespace(factor=1.0)
        optimizer = sgd(model)
        register_with(model, state)
        change = lambda n: setattr(state, "factor", 1.0 + n)  # noqa: E731
        return Case(classifies(model, optimizer), change, [model, optimizer], labelled)

    return build


READS = {
    "forward_hook": lambda m, s: m[0].register_forward_hook(lambda mod, args, y: y * s.factor),
    "forward_pre_hook": lambda m, s: m[0].register_forward_pre_hook(lambda mod, args: (args[0] * s.factor,)),
    "full_backward_hook": lambda m, s: m[2].register_full_backward_hook(
        lambda mod, gi, go: tuple(g if g is None else g * s.factor for g in gi)
    ),
    "tensor_hook": lambda m, s: m[0].weight.register_hook(lambda g: g * s.factor),
    "post_accumulate_hook": lambda m, s: m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(s.factor)),
}  # fmt: skip
for name, register in READS.items():
    add(f"models/{name}_reads_a_factor", hook_that_reads(register), "either")


def hook_that_counts(register_with):
    """A hook that only looks: it is called at every eager step."""

    def build():
        model, seen = network(), []
        optimizer = sgd(model)
        register_with(model, seen)
        return Case(classifies(model, optimizer), None, [model, optimizer, seen], labelled)

    return build


COUNTS = {
    "forward_hook": lambda m, s: m[0].register_forward_hook(lambda *_: s.append(1)),
    "forward_pre_hook": lambda m, s: m[0].register_forward_pre_hook(lambda *_: s.append(1)),
    "full_backward_hook": lambda m, s: m[2].register_full_backward_hook(lambda *_: s.append(1)),
    "tensor_hook": lambda m, s: m[0].weight.register_hook(lambda g: s.append(1)),
    "post_accumulate_hook": lambda m, s: m[0].weight.register_post_accumulate_grad_hook(
        lambda p: s.append(1)
    ),
}
for name, register in COUNTS.items():
    add(f"models/{name}_counts", hook_that_counts(register), "either")


# --- models that are used in other ways than by calling them


def used(forward):
    """`forward(model, x)` uses a model of two linear layers, whose layers and parameters are replaced."""

    def build():
        rv.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        optimizer = sgd(model)

        def step(x):
            optimizer.zero_grad()
            loss = (forward(model, x) ** 2).mean() + (model[2].weight ** 2).sum()
            loss.backward()
            optimizer.step()
            return loss

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
    """Another model takes the place of the first one, in what `keep` gives: (get, set)."""

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
    def build(capture):
        get, put = keep()
        put(network(seed=1))
        step = capture(lambda x: get()(x) * 1.0)
        others = [network(seed=seed) for seed in (2, 3, 4)]
        return Case(step, lambda n: put(others[n - 1]))

    return build


for keep in (in_a_cell, in_a_global, in_a_dict, in_an_attribute, in_a_list):
    add(f"models/rebound_for_predictions_{keep.__name__}", rebound_inference(keep))


# --- tensors outside modules


def leaf(change, expects="works"):
    def build():
        rv.manual_seed(0)
        leaves = [rv.ones(3).requires_grad_(), rv.full((3,), 0.5).requires_grad_()]

        def step(x):
            for leaf in leaves:
                leaf.grad = None
            loss = (x * leaves[0] * leaves[-1]).sum()
            if any(leaf.requires_grad for leaf in leaves):
                loss.backward()
            return loss

        return Case(step, lambda n: change(leaves, n), lambda: leaves)

    return build


LEAVES = {
    "data_replaced": lambda v, n: setattr(v[0], "data", rv.full((3,), 1.0 + n)),
    "data_multiplied": lambda v, n: v[0].data.mul_(1.0 + n),
    "written_under_no_grad": lambda v, n: rv.no_grad()(lambda: v[0].add_(float(n)))(),
    "no_longer_requires_grad": lambda v, n: v[0].requires_grad_(n % 2 == 0),
    "replaced_in_the_list": lambda v, n: v.__setitem__(0, rv.full((3,), 1.0 + n).requires_grad_()),
    "appended_to_the_list": lambda v, n: v.append(rv.full((3,), 1.0 + n).requires_grad_()),
    "swapped": lambda v, n: v.reverse(),
    "detached_in_place": lambda v, n: v[0].detach_() if n == 1 else v[1].data.mul_(2.0),
    "grad_hook": lambda v, n: v[0].register_hook(lambda g: g * 2),
    "of_another_dtype": lambda v, n: v.__setitem__(
        0, rv.full((3,), 1.0 + n, dtype=rv.float64).requires_grad_()
    ),
    "of_another_shape": lambda v, n: v.__setitem__(0, rv.full((1,), 1.0 + n).requires_grad_()),
    "data_of_another_shape": lambda v, n: setattr(v[0], "data", rv.full((1,), 1.0 + n)),
}
for name, change in LEAVES.items():
    add(f"models/leaf_{name}", leaf(change), "either" if "hook" in name else "works")


def plain_tensor(change):
    """A tensor without gradients that the step closes over."""

    def build():
        small, held = Small(), types.SimpleNamespace(mask=rv.tensor([1.0, 2.0, 3.0]))

        def step(x):
            return small.train(x * held.mask, 1.5)

        return Case(step, lambda n: change(held, n), [*small.watch, held])

    return build


TENSORS = {
    "written": lambda h, n: h.mask.mul_(2.0),
    "item_written": lambda h, n: h.mask.__setitem__(0, 5.0 + n),
    "replaced": lambda h, n: setattr(h, "mask", rv.full((3,), 1.0 + n)),
    "data_replaced": lambda h, n: setattr(h.mask, "data", rv.full((3,), 1.0 + n)),
    "written_by_numpy": lambda h, n: h.mask.numpy().__imul__(2.0),
    "of_another_shape": lambda h, n: setattr(h, "mask", rv.full((4, 3), 1.0 + n)),
    "of_another_dtype": lambda h, n: setattr(h, "mask", rv.full((3,), 1.0 + n, dtype=rv.float64)),
    "gets_gradients": lambda h, n: h.mask.requires_grad_(n % 2 == 1),
    "view_of_another": lambda h, n: setattr(h, "mask", rv.arange(6.0)[n : n + 3]),
    "resized_by_data": lambda h, n: setattr(h.mask, "data", rv.full((1,), 1.0 + n)),
}
for name, change in TENSORS.items():
    add(f"models/tensor_{name}", plain_tensor(change))


# --- NumPy arrays closed over


def array(use, change, expects="either"):
    def build():
        small, held = Small(), types.SimpleNamespace(a=np.array([1.0, 2.0, 3.0], np.float32))

        def step(x):
            return small.train(use(x, held.a), 1.5)

        return Case(step, lambda n: change(held, n), small.watch)

    return build


ARRAY_USES = {
    "operand": lambda x, a: x * a,
    "tensor_of": lambda x, a: x * rv.tensor(a),
    "from_numpy": lambda x, a: x * rv.from_numpy(a),
    "as_tensor": lambda x, a: x * rv.as_tensor(a),
    "constant": lambda x, a: x * rv.constant(a),
    "view": lambda x, a: x * rv.from_numpy(a[:2][:1]),
    "element": lambda x, a: x * float(a[0]),
    "sum": lambda x, a: x * float(a.sum()),
    "condition": lambda x, a: x if a[0] > 3 else x * 2,
    "length": lambda x, a: x * len(a),
    "index": lambda x, a: x[:, a.astype(np.int64) % 3],
}
ARRAY_CHANGES = {
    "in_place": lambda h, n: h.a.__imul__(2.0),
    "replaced": lambda h, n: setattr(h, "a", np.arange(3, dtype=np.float32) + 10 * n + 1),
    "item": lambda h, n: h.a.__setitem__(0, 4.0 + n),
}
for name, use in ARRAY_USES.items():
    for how, change in ARRAY_CHANGES.items():
        if name == "length":
            change = lambda h, n: setattr(h, "a", np.ones(3 + n, np.float32))  # noqa: E731
            if how != "replaced":
                continue
        add(f"models/array_{name}-{how}", array(use, change), "either")


@scenario("either")
def array_view_changed_through_its_base():
    small, base = Small(), np.arange(6, dtype=np.float32)
    view = base[1:4]

    def step(x):
        return small.train(x * view, 1.5)

    return Case(step, lambda n: base.__iadd__(1.0), small.watch)


@scenario()
def tensor_over_numpy_memory():
    small, base = Small(), np.arange(6, dtype=np.float32)
    mask = rv.from_numpy(base)[1:4]

    def step(x):
        return small.train(x * mask, 1.5)

    return Case(step, lambda n: base.__iadd__(1.0), small.watch)


@scenario()
def parameter_over_numpy_memory():
    base = np.ones(3, np.float32)
    w = nn.Parameter(rv.from_numpy(base))

    def step(x):
        w.grad = None
        loss = (x * w * w).sum()
        loss.backward()
        return loss

    return Case(step, lambda n: base.__iadd__(1.0), [w])


# --- predictions with prepared weights

PREPARED_CHANGES = {
    "weight_written": lambda m, n: rv.no_grad()(lambda: m[0].weight.mul_(1.0 + n))(),
    "weight_data_written": lambda m, n: m[0].weight.data.mul_(1.0 + n),
    "weight_data_replaced": lambda m, n: setattr(m[0].weight, "data", m[0].weight.detach() * (1.0 + n)),
    "weight_replaced": lambda m, n: setattr(m[0], "weight", nn.Parameter(m[0].weight.detach() * (1.0 + n))),
    "weight_view_written": lambda m, n: m[0].weight.detach()[0].mul_(1.0 + n),
    "weight_by_numpy": lambda m, n: m[0].weight.detach().numpy().__imul__(1.0 + n),
    "bias_written": lambda m, n: m[0].bias.data.fill_(float(n)),
    "layer_replaced": lambda m, n: m.__setitem__(2, nn.Linear(4, 3)),
    "activation_replaced": lambda m, n: m.__setitem__(1, (None, nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n]),
    "state_loaded": lambda m, n: m.load_state_dict({k: v * (1.0 + n) for k, v in m.state_dict().items()}),
    "layer_appended": lambda m, n: m.append(nn.Tanh()),
    "layer_deleted": lambda m, n: m.__delitem__(1) if n == 1 else m.append(nn.Tanh()),
    "forward_hook": lambda m, n: m[0].register_forward_hook(hook_scale(n)),
    "forward_replaced": lambda m, n: setattr(m[1], "forward", lambda x: x * (1.0 + n)),
    "trained_eagerly": lambda m, n: train_eagerly(m),
}


def train_eagerly(model):
    optimizer = sgd(model)
    model(rv.ones(2, 3)).sum().backward()
    optimizer.step()


def prediction(change, mode):
    def build(capture):
        model = network().eval()
        fast = capture(model)

        def call(x):
            if mode == "no_grad":
                with rv.no_grad():
                    return fast(x)
            return fast(x)

        return Case(call, lambda n: change(model, n), model)

    return build


for name, change in PREPARED_CHANGES.items():
    for mode in ("eval", "no_grad"):
        add(
            f"models/predicts-{name}-{mode}",
            prediction(change, mode),
            "either" if "hook" in name else "works",
        )
