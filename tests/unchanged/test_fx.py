"""torch.fx, and functions that are compositions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch.functions import linalg, methods, torch_functions
from ranvier.torch.fx import jit
from ranvier.torch.installation.finder import homes_of, value_of
from ranvier.torch.training import optimizers
from ranvier.torch.utils import weak_dictionaries
from support.python import answers, in_mode
from support.refused import refused

_START = """
import copy, io, math, operator, pickle
import torch, torch.fx as fx, torch.nn as nn

def traced(f, **s): return fx.symbolic_trace(f, **s).code.split("\\n", 1)[1].strip()
def nodes(g): return [(n.op, n.name) for n in g.graph.nodes]

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.scale = nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Parameter(torch.ones(3))
        self.register_buffer("shift", torch.ones(3))
    def forward(self, input):
        a, b = (self.body(input) * self.scale + self.shift).chunk(2)
        return {"y": torch.cat([a, b], dim=1), "n": (a.shape[0], b[1:, None])}

x = torch.arange(12.0).reshape(4, 3)
net = Net()
graph = fx.symbolic_trace(net)
"""
_RUNS = {
    # what is done with a proxy, and its code
    "traced(lambda x: 2 - x)": "sub = 2 - x;  x = None\n    return sub",
    "traced(lambda x: -x)": "neg = -x;  x = None\n    return neg",
    "traced(lambda x: abs(x) @ x)": (
        "abs_1 = _operator_abs(x)\n    matmul = abs_1 @ x;  abs_1 = x = None\n    return matmul"
    ),
    "traced(lambda x: x.shape)": "getattr_1 = x.shape;  x = None\n    return getattr_1",
    "traced(lambda x: nn.functional.relu(x, inplace=False))": (
        "relu = torch.nn.functional.relu(x, inplace = False);  x = None\n    return relu"
    ),
    "traced(lambda x: torch.ones(2) + x)": (
        "_tensor_constant0 = self._tensor_constant0\n    add = _tensor_constant0.add(x);  "
        "_tensor_constant0 = x = None\n    return add"
    ),
    "traced(lambda x: math.floor(x))": "floor = math_floor(x);  x = None\n    return floor",
    'traced(lambda x, flag: x + 1 if flag else x, concrete_args={"flag": True})': (
        "add = x + 1;  x = None\n    return add"
    ),
    'fx.symbolic_trace(lambda x, k=2, *a, **b: x * k).code.split("\\n")[0]': (
        "def forward(self, x, k = 2, *a, **b):"
    ),
    # a module: leaves, parameters, names, results
    "nodes(graph)[1:6]": (
        "[('call_module', 'body_0'), ('call_module', 'body_1'), ('get_attr', 'scale'), "
        "('call_function', 'mul'), ('get_attr', 'shift')]"
    ),
    'str(graph.graph).split("\\n")[1:3]': (
        "['    %input_1 : [num_users=1] = placeholder[target=input]', "
        "'    %body_0 : [num_users=1] = call_module[target=body.0](args = (%input_1,), kwargs = {})']"
    ),
    'torch.equal(graph(input=x)["y"], net(x)["y"]), graph(x)["n"][0]': "(True, 2)",
    "graph.scale is net.scale, [name for name, _ in graph.named_parameters()]": (
        "(True, ['scale', 'body.0.weight', 'body.0.bias'])"
    ),
    'graph(x)["y"].sum().backward() or net.scale.grad is not None': "True",
    'torch.equal(fx.Interpreter(graph).run(x)["y"], net(x)["y"])': "True",
    'torch.equal(copy.deepcopy(graph)(x)["y"], net(x)["y"])': "True",
    'torch.equal(pickle.loads(pickle.dumps(graph))(x)["y"], net(x)["y"])': "True",
    "graph.graph.eliminate_dead_code(), graph.graph.lint()": "(False, None)",
    'len(graph.graph.nodes), graph.graph.find_nodes(op="call_function", target=torch.cat)': "(15, [cat])",
}


def test_what_is_traced_is_the_code_of_pytorch() -> None:
    assert answers(_START, _RUNS, "str") == _RUNS


_REFUSED = """
for f in (lambda x: 1 if x else 2, lambda x: [y for y in x], lambda x: len(x), lambda x: x + object()):
    try: fx.symbolic_trace(f)
    except Exception as error: print(type(error).__name__, str(error)[:40])
try: graph.graph.erase_node(next(iter(graph.graph.nodes)))
except RuntimeError as error: print(str(error)[:43])
"""


def test_what_a_trace_cannot_know_is_refused() -> None:
    lines = in_mode(_START + _REFUSED).splitlines()
    assert [line.split()[0] for line in lines] == [
        "TraceError",
        "TraceError",
        "RuntimeError",
        "NotImplementedError",
        "Tried",
    ]
    assert "Proxy object cannot be iterated" in lines[1]


_CHANGED = """
class Tracer(fx.Tracer):
    def is_leaf_module(self, m, path): return isinstance(m, nn.Sequential)

graph = fx.GraphModule(net, Tracer().trace(net))
for node in graph.graph.nodes:
    if node.target == "body":
        with graph.graph.inserting_after(node):
            new = graph.graph.call_function(torch.tanh, (node,))
        node.replace_all_uses_with(new, lambda user: user is not new)
    if node.target == operator.mul:
        node.target = operator.add
graph.recompile()
print(torch.allclose(graph(x)["y"], torch.cat((net.body(x).tanh() + 2).chunk(2), 1)))
print(new.args, list(new.users), new.prev, new.next, graph.graph.output_node().all_input_nodes)
for node in reversed(graph.graph.nodes):
    if node.op == "output":
        node.args = (new,)
graph.graph.eliminate_dead_code()
graph.delete_all_unused_submodules()
print(graph.recompile().src)
with torch.no_grad():
    print(torch.equal(graph(x), net.body(x).tanh()))

def alone(y): return int(y)
fx.wrap("alone")
print(traced(lambda x: alone(x) + alone(3)))
"""


def test_graphs_are_changed() -> None:
    assert in_mode(_START + _CHANGED).splitlines() == [
        "True",
        "(body,) [mul] body scale [cat, getitem_2, getitem_3]",
        "def forward(self, input):",
        "    input_1 = input",
        "    body = self.body(input_1);  input_1 = None",
        "    tanh = torch.tanh(body);  body = None",
        "    return tanh",
        "",
        "True",
        "alone = __main___alone(x);  x = None",
        "    add = alone + 3;  alone = None",
        "    return add",
    ]


_SCRIPTS = """
layer, file = nn.Sequential(nn.Linear(3, 3), nn.Dropout()), io.BytesIO()
script = torch.jit.script(layer)
print([isinstance(m, torch.jit.ScriptModule) for m in (script, layer)], hasattr(layer, "save"))
print(script[0].weight is layer[0].weight, script.eval().training, layer.training)
for module in (script, torch.jit.script(graph)):
    module.save(file)
    again = torch.jit.load(io.BytesIO(file.getvalue()))
    print(isinstance(again, torch.jit.ScriptModule), type(again).__name__)
    file = io.BytesIO()
print(torch.equal(again(x)["y"], graph(x)["y"]))
class Asks(nn.Module):
    def forward(self):
        return torch.jit.is_scripting()
print([m() for m in (Asks(), torch.jit.script(Asks()), Asks())])
"""


def test_scripted_modules_are_saved_and_loaded() -> None:
    assert in_mode(_START + _SCRIPTS).splitlines() == [
        "[True, False] False",
        "True False True",
        "True Sequential",
        "True Net",
        "True",
        "[False, True, False]",
    ]


# Functions and methods that are compositions, where PyTorch has no samples: tests/differential/opinfo


X = [[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]]
V, W, I = [1.0, 2.0, 3.0], [1.0, -1.0], [[4, 6], [8, 9]]
NAN = float("nan")


def _given(x):
    """Lists as tensors, within tuples, too."""
    return rv.tensor(x) if isinstance(x, list) else tuple(map(_given, x)) if isinstance(x, tuple) else x


def _value(result):
    if isinstance(result, rv.Tensor):
        return result.tolist()
    return tuple(map(_value, result)) if isinstance(result, (tuple, list)) else result


@pytest.mark.parametrize(
    ("name", "arguments", "settings", "value"),
    [
        ("addmv", ([NAN, NAN], X, V), {"beta": 0}, [6.0, -4.0]),
        ("addr", ([[True, False]], [True], [True, False]), {"beta": False}, [[True, False]]),
        ("adjoint", (X,), {}, [[1.0, 4.0], [-2.0, 5.0], [3.0, -6.0]]),
        ("dim_order", (X,), {}, (0, 1)),
        ("is_nonzero", ([2.0],), {}, True),
        ("lcm_", (I, [[3, 4], [5, 6]]), {}, [[12, 12], [40, 18]]),
        ("swapdims_", (X, 0, 1), {}, [[1.0, 4.0], [-2.0, 5.0], [3.0, -6.0]]),
        ("hardshrink", (X, 2.5), {}, [[0.0, 0.0, 3.0], [4.0, 5.0, -6.0]]),
        ("range", (0, 1, 0.5), {}, [0.0, 0.5, 1.0]),
        ("split_copy", (V, 2), {}, ([1.0, 2.0], [3.0])),
        ("threshold", (W, 0, 9), {}, [1.0, 9.0]),
        ("_shape_as_tensor", (X,), {}, [2, 3]),
        ("typename", (V,), {}, "torch.FloatTensor"),
    ],
)
def test_a_composition(name, arguments, settings, value):
    function = value_of("torch", "", name, homes_of("torch", ""))
    assert _value(function(*map(_given, arguments), **settings)) == value


@pytest.mark.parametrize("edge_order", [1, 2])
@pytest.mark.parametrize("spacing", [1.0, 0.5, [0.0, 0.5, 2.0, 2.5, 4.0]])
def test_slopes(edge_order, spacing):
    x = np.random.default_rng(0).normal(size=(5, 5))
    given = [rv.tensor(spacing, dtype=rv.float64)] * 2 if isinstance(spacing, list) else spacing
    for dims in (None, (1,)):
        axis = (0, 1) if dims is None else dims
        points = given[: len(axis)] if isinstance(given, list) else given
        found = torch_functions.gradient(rv.from_numpy(x), spacing=points, dim=dims, edge_order=edge_order)
        expected = [np.gradient(x, spacing, axis=at, edge_order=edge_order) for at in axis]
        for slope, wanted in zip(found, expected, strict=True):
            np.testing.assert_allclose(slope.numpy(), wanted, rtol=1e-12, atol=1e-12)


def test_slopes_that_are_refused():
    refused(RuntimeError, "expected 1 or 2, and more values", torch_functions.gradient, rv.ones(1))
    refused(
        RuntimeError, "one for each dim", torch_functions.gradient, rv.ones(3, 3), spacing=[1.0], dim=None
    )


def test_results_have_the_dtype_and_the_memory_order_of_pytorch():
    assert methods.gcd(rv.tensor([4], dtype=rv.int8), rv.tensor(6)).dtype == rv.int8
    x = methods.as_strided_scatter(rv.zeros(2, 2).T, rv.tensor(W), (2,), (1,))
    assert x.tolist() == [[1.0, 0.0], [-1.0, 0.0]]


def test_checks_raise_what_their_names_say():
    refused(RuntimeError, "float64", methods.float_power_, rv.ones(2), 2)
    refused(RuntimeError, "floating-point", methods.frexp, rv.tensor([1]))
    refused(RuntimeError, "more dimensions", methods.dsplit, rv.ones(2, 2), 1)
    refused(IndexError, "range", methods.slice_scatter, rv.ones(2), rv.ones(2), 1)
    refused(AssertionError, "no", torch_functions._assert, False, "no")
    refused(RuntimeError, "nonzero", torch_functions._assert_async, rv.tensor(False))
    refused(IndexError, "text", torch_functions._check_index, False, lambda: "text")
    refused(RuntimeError, "True", torch_functions._check_tensor_all, rv.tensor([True, False]))
    torch_functions._check(True), torch_functions._check_tensor_all_with(ValueError, rv.ones(2) > 0)


def test_matrices_that_are_singular():
    solved = linalg.solve_ex(rv.ones(2, 2), rv.ones(2, 1))
    assert solved.info.item() == 2  # the place of the pivot that is 0, as in PyTorch
    assert solved.result.isnan().all()
    assert linalg.cond(rv.zeros(2, 2), 1).item() == math.inf


def test_dictionaries_by_identity():
    x, kept = rv.ones(2), weak_dictionaries.WeakIdKeyDictionary()
    kept[x] = 1
    assert (x in kept, rv.ones(2) in kept, kept.pop(x), len(kept)) == (True, False, 1, 0)
    assert (
        weak_dictionaries.WeakIdRef(x)
        == weak_dictionaries.WeakIdRef(x)
        != weak_dictionaries.WeakIdRef(rv.ones(2))
    )


@pytest.mark.parametrize(
    ("value", "kind", "right"),
    [
        ([1], list[int], True),
        ([1, "a"], list[int], False),
        ({"a": 1.0}, dict[str, float], True),
        ((1, "a"), tuple[int, str], True),
        ((1, 2), tuple[int], False),
        ((1, 2), tuple[int, ...], True),
        (None, int | None, True),
        (2.0, (int, float), True),
    ],
)
def test_types_of_values(value, kind, right):
    assert jit.isinstance(value, kind) is right


def test_steps_of_optimizers():
    class Own(rv.optim.Optimizer):
        @optimizers._use_grad_for_differentiable
        def step(self, closure=None):
            return rv.is_grad_enabled(), closure

    layer = rv.nn.Linear(1, 1)
    assert Own(layer.parameters(), {}).step(1) == (False, 1)
    assert Own(layer.parameters(), {"differentiable": True}).step() == (True, None)
    assert optimizers._dispatch_sqrt(4.0) == optimizers._get_value(rv.tensor(2.0)) == 2.0
    assert rv.Generator().device == rv.device("cpu")
