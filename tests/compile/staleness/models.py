"""Models changed between two calls: layers, parameters, buffers, hooks; tensors and arrays outside them."""

import functools
import types

import numpy as np
import ranvier as rv
from compile.staleness.judge import Case, add, labelled, scenario
from compile.staleness.rows import add_rows, column, function, table
from compile.staleness.small import Small, classifies, descends, network
from ranvier import nn, optim


def sgd(model, lr=0.1, momentum=0.0):
    return optim.SGD(model.parameters(), lr=lr, momentum=momentum)


def norm():
    return nn.BatchNorm1d(4)


def trained(text, *more):
    """A scenario of a classifier in training; the text changes the model `m` or its optimizer `o`."""

    def build():
        model = network(*[make() for make in more])
        optimizer, change = sgd(model), function("m, o, n", text)
        step = classifies(model, optimizer)
        return Case(step, lambda n: change(model, optimizer, n), [model, optimizer], labelled)

    return build


HOOKS = column(r"""
forward_hook | m[0].register_forward_hook(lambda mod, args, y: y * (1.0 + n))
forward_hook_on_the_whole | m.register_forward_hook(lambda mod, args, y: y * (1.0 + n))
forward_hook_on_an_activation | m[1].register_forward_hook(lambda mod, args, y: y * (1.0 + n))
forward_pre_hook | m[0].register_forward_pre_hook(lambda mod, args: (args[0] * (1.0 + n),))
full_backward_hook
  | m[2].register_full_backward_hook(lambda mod, gi, go: tuple(g if g is None else g * (1.0 + n) for g in gi))
full_backward_pre_hook
  | m[2].register_full_backward_pre_hook(lambda mod, go: tuple(g * (1.0 + n) for g in go))
tensor_hook | m[0].weight.register_hook(lambda g: g * (1.0 + n))
post_accumulate_hook | m[0].weight.register_post_accumulate_grad_hook(lambda p: p.grad.mul_(1.0 + n))
""")
CHANGES = {
    "sequential_append": "m.append(nn.Tanh())",
    "sequential_append_parameters": "m.append(nn.Linear(3, 3))",
    "sequential_insert": "m.insert(1, nn.ReLU())",
    "sequential_insert_parameters": "m.insert(2, nn.Linear(4, 4))",
    "sequential_delete": "if n == 1: del m[1]\nelse: m.insert(1, (nn.ReLU(), nn.SiLU())[n - 2])",
    "sequential_replace": "m[1] = (nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n - 1]",
    "sequential_replace_parameters": "m[2] = nn.Linear(4, 3)",
    "sequential_extend": "m.extend([nn.Tanh(), nn.Linear(3, 3)])",
    "attribute_replaced": "setattr(m, '1', (nn.ReLU(), nn.Sigmoid(), nn.Tanh())[n - 1])",
    "identity_inserted": "m[1] = nn.Identity() if n % 2 else nn.Tanh()",
    "freeze_one": "m[0].weight.requires_grad_(n % 2 == 0)",
    "freeze_all_but_the_last": "m[:-1].requires_grad_(n % 2 == 0)",
    "freeze_by_attribute": "m[0].bias.requires_grad = n % 2 == 0",
    "data_replaced": "m[0].weight.data = rv.full((4, 3), 0.1 * n)",
    "data_written": "m[0].weight.data.mul_(1.0 + n)",
    "data_written_by_numpy": "m[0].weight.data.numpy()[:] *= 1.0 + n",
    "copied_in_place": "with rv.no_grad(): m[0].weight.copy_(rv.full((4, 3), 0.1 * n))",
    "state_loaded": "m.load_state_dict({name: v * (1.0 + n) for name, v in m.state_dict().items()})",
    "initialised_anew": "m.apply(lambda l: type(l) is nn.Linear and nn.init.constant_(l.weight, 0.1 * n))",
    "reset_parameters": "m[0].reset_parameters()",
    "bias_replaced": "m[2].bias = m[0].weight_alias = nn.Parameter(rv.full((3,), float(n)))",
    "parameter_replaced": "m[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n))",
    "parameter_replaced_in_optimizer_too": (
        "m[0].weight = nn.Parameter(rv.full((4, 3), 0.1 * n)); "
        "o.param_groups[0]['params'] = list(m.parameters())"
    ),
    "bias_dropped": (
        "if n == 1: m[0].register_parameter('bias', None)\nelse: m[0].bias = nn.Parameter(rv.ones(4) * n)"
    ),
    "weights_tied": "m[2].weight = nn.Parameter(m[0].weight.detach().T.clone())",
}
NEUTRAL = {
    "grad_cleared": "m.zero_grad()",
    "gc_collect": "gc.collect()",
    "state_dict_taken": "m.state_dict()",
    "deep_copied": "copy.deepcopy(m)",
    "used_eagerly": "m(rv.ones(2, 3)).sum().backward()",
    "eval_and_back": "m.eval().train()",
}
BUFFERS = {
    "buffer_replaced": "m[2].running_mean = rv.full((4,), float(n))",
    "buffer_written": "m[2].running_mean.add_(float(n))",
    "buffer_written_by_numpy": "m[2].running_mean.numpy()[:] += float(n)",
    "buffer_data_replaced": "m[2].running_mean.data = rv.full((4,), float(n))",
    "statistics_reset": "m[2].reset_running_stats()",
    "norm_to_eval": "m[2].train(n % 2 == 0)",
    "model_to_eval": "m.train(n % 2 == 0)",
    "norm_replaced": "m[2] = nn.LayerNorm(4) if n % 2 else nn.BatchNorm1d(4)",
    "norm_weight_written": "m[2].weight.data.fill_(float(n))",
}
for name, text in {**CHANGES, **HOOKS, **NEUTRAL}.items():
    add(f"models/{name}", trained(text), name in NEUTRAL)
for name, text in BUFFERS.items():
    add(f"models/{name}", trained(text, norm))


def hooked(text, how):
    """A hook from the start: "removed", "reads_a_factor" that changes, or "counts" its calls."""

    def build():
        model, seen, state = network(), [], types.SimpleNamespace(factor=1.0)
        optimizer, register = sgd(model), function("m, n, seen", text)
        if how == "removed":  # the first change removes one of two, the second the other, the third adds one
            handles = [register(model, n, seen) for n in (1, 2)]
            change = lambda n: (  # noqa: E731
                handles.append(register(model, 3, seen)) if n == 3 else handles.pop().remove()
            )
        else:
            register(model, state, seen)
            change = (lambda n: setattr(state, "factor", 1.0 + n)) if how == "reads_a_factor" else None
        return Case(classifies(model, optimizer), change, [model, optimizer, seen], labelled)

    return build


COUNTS = {
    "forward_hook": "m[0].register_forward_hook(lambda *_: seen.append(1))",
    "forward_pre_hook": "m[0].register_forward_pre_hook(lambda *_: seen.append(1))",
    "full_backward_hook": "m[2].register_full_backward_hook(lambda *_: seen.append(1))",
    "tensor_hook": "m[0].weight.register_hook(lambda g: seen.append(1))",
    "post_accumulate_hook": "m[0].weight.register_post_accumulate_grad_hook(lambda p: seen.append(1))",
}
for name, text in HOOKS.items():
    if "_on_" not in name:
        add(f"models/{name}_removed", hooked(text, "removed"))
        add(f"models/{name}_reads_a_factor", hooked(text.replace("1.0 + n", "n.factor"), "reads_a_factor"))
for name, text in COUNTS.items():
    add(f"models/{name}_counts", hooked(text, "counts"))

# --- tensors outside modules: leaves `v` of a graph, and a tensor `h.mask` without gradients
LEAVES = {
    "data_replaced": "v[0].data = rv.full((3,), 1.0 + n)",
    "data_multiplied": "v[0].data.mul_(1.0 + n)",
    "written_under_no_grad": "with rv.no_grad(): v[0].add_(float(n))",
    "no_longer_requires_grad": "v[0].requires_grad_(n % 2 == 0)",
    "replaced_in_the_list": "v[0] = rv.full((3,), 1.0 + n).requires_grad_()",
    "appended_to_the_list": "v.append(rv.full((3,), 1.0 + n).requires_grad_())",
    "swapped": "v.reverse()",
    "detached_in_place": "v[0].detach_() if n == 1 else v[1].data.mul_(2.0)",
    "grad_hook": "v[0].register_hook(lambda g: g * 2)",
    "of_another_dtype": "v[0] = rv.full((3,), 1.0 + n, dtype=rv.float64).requires_grad_()",
    "of_another_shape": "v[0] = rv.full((1,), 1.0 + n).requires_grad_()",
    "data_of_another_shape": "v[0].data = rv.full((1,), 1.0 + n)",
    "on_a_tape": "v[0] = (rv.full((3,), 1.0 + n).requires_grad_() * 2.0) if n % 2 else rv.ones(3)",
}
TENSORS = {
    "written": "h.mask.mul_(2.0)",
    "item_written": "h.mask[0] = 5.0 + n",
    "replaced": "h.mask = rv.full((3,), 1.0 + n)",
    "data_replaced": "h.mask.data = rv.full((3,), 1.0 + n)",
    "written_by_numpy": "h.mask.numpy()[:] *= 2.0",
    "of_another_shape": "h.mask = rv.full((4, 3), 1.0 + n)",
    "of_another_dtype": "h.mask = rv.full((3,), 1.0 + n, dtype=rv.float64)",
    "gets_gradients": "h.mask.requires_grad_(n % 2 == 1)",
    "view_of_another": "h.mask = rv.arange(6.0)[n : n + 3]",
    "resized_by_data": "h.mask.data = rv.full((1,), 1.0 + n)",
    "of_another_class": "h.mask = type('Own', (rv.Tensor,), {'__mul__': None, '__rmul__': half})(h.mask)",
}


def leaf(text):
    def build():
        leaves = [rv.ones(3).requires_grad_(), rv.full((3,), 0.5).requires_grad_()]
        change = function("v, n", text)

        def step(x):
            for leaf in leaves:
                leaf.grad = None
            loss = (x * leaves[0] * leaves[-1]).sum()
            if any(leaf.requires_grad for leaf in leaves):
                loss.backward()
            return loss

        return Case(step, lambda n: change(leaves, n), lambda: leaves)

    return build


def masked(text):
    def build():
        small, held = Small(), types.SimpleNamespace(mask=rv.tensor([1.0, 2.0, 3.0]))
        change = function("h, n", text)
        return Case(
            lambda x: small.train(x * held.mask, 1.5), lambda n: change(held, n), [*small.watch, held]
        )

    return build


for name, text in LEAVES.items():
    add(f"models/leaf_{name}", leaf(text))
for name, text in TENSORS.items():
    add(f"models/tensor_{name}", masked(text))

# --- NumPy arrays closed over
USES = {
    "operand": "x * o.value",
    "tensor_of": "x * rv.tensor(o.value)",
    "float_tensor_of": "x * rv.FloatTensor(o.value)",
    "from_numpy": "x * rv.from_numpy(o.value)",
    "as_tensor": "x * rv.as_tensor(o.value)",
    "constant": "x * rv.constant(o.value)",
    "view": "x * rv.from_numpy(o.value[:2][:1])",
    "element": "x * float(o.value[0])",
    "sum": "x * float(o.value.sum())",
    "condition": "x if o.value[0] > 3 else x * 2",
    "index": "x[:, o.value.astype(np.int64) % 3]",
}
THREE = "Plain(np.array([1.0, 2.0, 3.0], np.float32))"
WRITES = {
    "in_place": "o.value *= 2.0",
    "replaced": "o.value = np.arange(3, dtype=np.float32) + 10 * n + 1",
    "item": "o.value[0] = 4.0 + n",
}
for name, use in USES.items():
    add_rows("models", {f"array_{name}-{how}": (THREE, use, write) for how, write in WRITES.items()})
ARRAYS = table(
    r"""
array_length-replaced | <THREE> | x * len(o.value) | o.value = np.ones(3 + n, np.float32)
array_view_changed_through_its_base | o = np.ones(6, np.float32); a = o[1:4] | x * a | o += 1.0
tensor_over_numpy_memory | o = np.ones(6, np.float32); t = rv.from_numpy(o)[1:4] | x * t | o += 1.0
""",
    THREE=THREE,
)
add_rows("models", ARRAYS)


@scenario()
def parameter_over_numpy_memory():
    base = np.ones(3, np.float32)
    w = nn.Parameter(rv.from_numpy(base))
    step = descends(lambda x: (x * w * w).sum(), optim.SGD([w], lr=0.0))
    return Case(step, lambda n: base.__iadd__(1.0), [w])


# --- models that are used in other ways than by calling them, and whose layers and parameters are replaced
USED = {
    "weight_alone": "x @ m[0].weight",
    "functional_linear": "F.linear(x, m[0].weight, m[0].bias)",
    "forward_without_call": "m[0].forward(x)",
    "forward_of_the_whole": "m.forward(x)",
    "get_parameter": "x @ m.get_parameter('0.weight')",
    "get_submodule": "m.get_submodule('0')(x)",
    "parameters_list": "sum((p * p).sum() for p in m.parameters()) * x.mean()",
    "named_parameters": "x @ dict(m.named_parameters())['0.weight']",
    "next_parameter": "x @ next(iter(m.parameters()))",
    "children_loop": "for layer in m.children(): x = layer(x)\nreturn x",
    "modules_loop": "for l in [l for l in m.modules() if isinstance(l, nn.Linear)]: x = l(x)\nreturn x",
    "slice": "m[:1](x)",
    "index_from_the_end": "m[-1](m[0](x))",
    "vars_of_modules": "vars(m)['0'](x) if '0' in vars(m) else m[0](x)",
    "functional_call_by_class": "nn.Linear.forward(m[0], x)",
    "weight_transposed": "x @ m[0].weight.T",
    "weight_slice": "x[:, :2] @ m[0].weight[:2]",
    "weight_norm_penalty": "m(x) + (m[0].weight ** 2).sum()",
    "state_dict_weight": "m(x) * (m.state_dict()['0.weight'] ** 2).sum()",
}
REPLACED = """
if n == 1: m[0].weight = nn.Parameter(rv.full((3, 3), 0.3))
elif n == 2: m[0] = nn.Linear(3, 3)
else: m[0].weight.requires_grad_(False)
"""


def used(text):
    def build():
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3))
        forward, change = function("m, x", text), function("m, n", REPLACED)
        loss = lambda x: (forward(model, x) ** 2).mean() + (model[2].weight ** 2).sum()  # noqa: E731
        optimizer = sgd(model)
        return Case(descends(loss, optimizer), lambda n: change(model, n), [model, optimizer])

    return build


for name, text in USED.items():
    add(f"models/used_by_{name}", used(text))

# containers of layers and parameters `m`, which a step with a weight `w` uses; (made, forward, change)
LAYERS = table(r"""
module_list | nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
  | for layer in m: x = layer(x).tanh()\nreturn x | if n < 3: m.append(nn.Linear(3, 3))\nelse: del m[0]
module_dict | nn.ModuleDict({'a': nn.Linear(3, 3), 'b': nn.Linear(3, 3)}) | m['a'](x)
  | m['a'] = (m['b'], nn.Identity(), nn.Linear(3, 3))[n - 1]
parameter_list | nn.ParameterList([rv.ones(3), rv.ones(3)]) | for p in m: x = x * p\nreturn x
  | if n == 1: m.append(rv.full((3,), 2.0))\nelse: m[0] = nn.Parameter(rv.full((3,), 4.0 + n))
parameter_dict | nn.ParameterDict({'a': rv.ones(3)}) | x * m['a']
  | m['a'] = nn.Parameter(rv.full((3,), 3.0 + n))
python_list | [nn.Linear(3, 3), nn.Linear(3, 3)] | for layer in m: x = layer(x)\nreturn x
  | m.append(nn.Linear(3, 3)) if n < 3 else m.pop(0)
""")


def of_layers(make, forward, change):
    def build():
        layers, w = function("", make)(), nn.Parameter(rv.ones(3))
        use, put = function("m, x", forward), function("m, n", change)
        step = descends(lambda x: (use(layers, x) * w).sum(), optim.SGD([w], lr=0.1))
        return Case(step, lambda n: put(layers, n), [w])

    return build


for name, texts in LAYERS.items():
    add(f"models/{name}", of_layers(*texts))


@scenario()
def python_list_of_layers():
    layers = [nn.Linear(3, 3), nn.Linear(3, 3)]
    step = lambda x: functools.reduce(lambda y, layer: layer(y), layers, x).sum()  # noqa: E731
    return Case(step, lambda n: layers.append(nn.Linear(3, 3)) if n < 3 else layers.pop(0))
