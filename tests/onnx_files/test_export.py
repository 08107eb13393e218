"""Which models are refused, names, and what export leaves as it was."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from ranvier.observe import observers
from ranvier.onnx import exporter

pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_networks import drawn, flat
from support.python import printed
from support.refused import refused
from support.threads import beside

ROWS = drawn(3, 6)


def in_place_of_a_view(x):
    y = x * 1.0
    y[0].mul_(2)
    return y


def old_value(x):
    y = x * 1.0
    row = y[1]
    y.mul_(2)
    return y + row


class Doubled(rv.autograd.Function):
    def forward(self, x):
        return 2 * x


counted = []


def stateful(x):
    counted.append(1)
    return x if len(counted) % 2 else x * 2


def factor_or_twice(x):
    try:
        return rv.linalg.cholesky(x)
    except ValueError:
        return x * 2


REFUSED = {
    "caught": (lambda x: factor_or_twice(x[:, :3]), "catches an error of Cholesky"),
    "item": (lambda x: x * x.max().item(), "item.. reads a value"),
    "all": (lambda x: x if (x > 0).all() else -x, "a condition reads a value"),
    "count": (lambda x: x * x.count_nonzero().item(), "item.. reads a value"),
    "equal": (lambda x: x if rv.equal(x, x.abs()) else -x, "equal reads a value"),
    "bools": (lambda x: x if x.bool().any() else -x, "a condition reads a value"),
    "branch": (lambda x: x if x.sum() > 0 else -x, "a condition reads a value"),
    "numpy": (lambda x: rv.tensor(np.sin(x.numpy())), "numpy.. reads a value"),
    "array": (lambda x: rv.tensor(np.asarray(x) * 2), "numpy.. reads a value"),
    "mask as index": (lambda x: x[x > 0], "an index by a mask reads a value"),
    "view in place": (in_place_of_a_view, "changed in place by an assignment or a view; expected"),
    "view of the old value": (old_value, "changed in place"),
    "median": (lambda x: x.median(1), "without a counterpart: Median .at .*; expected those of docs/onnx.md"),
    "several": (lambda x: (x.cummax(0)[0], x.median()), "counterpart: RunningExtreme .*, MedianOfAll "),
    "own function": (lambda x: Doubled().apply(x), r"without a counterpart: \S*test_export.Doubled"),
    "random numbers": (lambda x: x + rv.rand(6), "depends on the inputs, and that random_fill .*rv.rand.6."),
    "random bools": (lambda x: x * (rv.rand(()) < 2), "random_fill"),
    "dropout in evaluation": (lambda x: F.dropout(x, 0.5, True), "without a counterpart: Dropout"),
    "as many classes as there are": (lambda x: F.one_hot(x.argmax(1)), "one_hot without num_classes reads"),
    "counts of NumPy": (
        lambda x: rv.bincount(rv.tensor([0, 1, 1]), x[:3, 0]),
        "test_export.py:.*and that NumPy has made",
    ),
    "made of Tensors": (lambda x: rv.tensor([x.sum(), x.mean()]), "and that NumPy has made"),
    "state": (stateful, "computes other operations|does not compute what the model does"),
    "another rank for one row": (
        lambda x: x.squeeze() * 2,
        "squeeze at .*test_export.py.* depends on the condition n == 1, .* leave it out of dynamic_axes",
    ),
    "another rank for other sizes": (lambda x: x[: len(x) - 2].squeeze() + 1, "depends on the condition"),
    "another rank for one size": (
        lambda x: x[2:].squeeze(0) if len(x) == 3 else x[2:],
        "the model at .* depends on the condition n == 3",
    ),
    "a size as an int": (
        lambda x: x[: int(len(x) ** 0.5)],
        r"takes the size n \*\* 0.5 of .* as a plain number",
    ),
    "pooled indices": (
        lambda x: F.max_pool1d(x, 2, return_indices=True),
        "return_indices has no counterpart",
    ),
    "uneven windows": (lambda x: F.adaptive_max_pool1d(x, 4), "unevenly into"),
    "bits": (lambda x: x.long() << 1, "bitwise_left_shift of integers has no counterpart"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    model, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        rv.onnx.export(model, ROWS, input_names=["x"], dynamic_axes={"x": {0: "n"}})


def test_wrong_settings():
    def wrong(text, error=ValueError, **settings):
        refused(error, text, rv.onnx.export, nn.Linear(6, 2), ROWS, **settings)

    wrong("got opset_version 10; expected 11 to", opset_version=10)
    wrong("got export_params False", export_params=False)
    wrong("got input_names ['a', 'b']; expected 1 different names", input_names=["a", "b"])
    wrong("got output_names", output_names=[""])
    wrong("got dynamic_axes [0]; expected a dict", TypeError, dynamic_axes=[0])
    wrong("got dynamic_axes of 'z'; expected the inputs x", dynamic_axes={"z": [0]})
    wrong("got dynamic axis 5 of 'x', which has 2 dimensions", dynamic_axes={"x": [5]})
    wrong("got sizes 3 and 6 of the axis 'n'", dynamic_axes={"x": {0: "n", 1: "n"}})
    with pytest.raises(ValueError, match=r"got the name 'weight' twice .* pass other input_names"):
        rv.onnx.export(nn.Linear(6, 2), ROWS, input_names=["weight"])


def test_wrong_arguments():
    refused(TypeError, "got no tensor among args", rv.onnx.export, nn.Linear(6, 2), ())
    refused(TypeError, "got int; expected a Module or a function", rv.onnx.export, 3, ROWS)
    foreign = type("Linear", (), {"__module__": "torch.nn", "__call__": lambda self, x: x})
    refused(TypeError, "got a model of PyTorch (", rv.onnx.export, type("Mine", (foreign,), {})(), ROWS)
    refused(TypeError, "got a result of type float", rv.onnx.export, lambda x: 1.0, ROWS)
    with pytest.raises(ValueError, match=r"fails for inputs of sizes .*'k'"):
        rv.onnx.export(nn.Linear(6, 2), ROWS, dynamic_axes={"x": {1: "k"}})


def test_states_and_fixed_arguments(tmp_path):
    """Tensors in tuples are inputs; other arguments are fixed."""
    lstm, h = nn.LSTM(6, 4), drawn(1, 2, 4)
    x = drawn(5, 2, 6)
    proto = rv.onnx.export(lstm, (x, (h, h)), tmp_path / "m.onnx", output_names=["y", "h", "c"])
    assert [i.name for i in proto.graph.input] == ["input", "hx_0", "hx_1"]
    assert [o.name for o in proto.graph.output] == ["y", "h", "c"]
    found = rv.onnx.load(tmp_path / "m.onnx")(x, h, h)
    for y, z in zip(flat(found), flat(lstm(rv.tensor(x), (rv.tensor(h), rv.tensor(h)))), strict=True):
        np.testing.assert_allclose(y, z, 1e-5, 1e-6)
    proto = rv.onnx.export(lambda x, k, flag: x * k if flag else x, (x, 3.0, True))
    assert [i.name for i in proto.graph.input] == ["x"]


def test_names_of_the_state_dict_and_dropout():
    model = nn.Sequential(nn.Linear(6, 4), nn.Dropout(0.3), nn.Linear(4, 2))
    proto = rv.onnx.export(model, ROWS, dynamic_axes={"x": [0]})
    assert [n.op_type for n in proto.graph.node if n.op_type != "Constant"] == ["Gemm", "Dropout", "Gemm"]
    assert [w.name for w in proto.graph.initializer] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    again = rv.onnx.load(proto)
    assert not bool((again.train()(ROWS) == again.eval()(ROWS)).all())


def test_shared_weights_and_unused_ones():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(self.a(x))

    proto = rv.onnx.export(Tied(), ROWS)
    assert [w.name for w in proto.graph.initializer] == ["a.weight", "a.bias", "b.bias"]


def test_a_function_of_two_modules():
    """The modules of a captured prediction program are found when they are called, in evaluation mode."""
    first, second = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)), nn.Linear(4, 2)
    mean = first[1].running_mean.clone()

    @rv.compile
    def predict(x):
        return second(first(x)).softmax(-1)

    proto = rv.onnx.export(predict, ROWS, dynamic_axes={"x": [0]})
    names = [w.name for w in proto.graph.initializer]
    assert names[:2] == ["0.weight", "0.bias"]
    assert names[-2:] == ["linear1.weight", "linear1.bias"]
    assert bool((first[1].running_mean == mean).all())
    assert first.training


def test_a_compiled_part():
    """A compiled module inside another one is run eagerly, not replayed."""
    layer = nn.Linear(6, 2)
    fast = rv.compile(layer)
    with rv.no_grad():
        for _ in range(3):
            fast(ROWS)
    proto = rv.onnx.export(lambda x: fast(x) + 1, ROWS)
    assert [n.op_type for n in proto.graph.node] == ["Gemm", "Constant", "Add"]


def test_results_of_other_kinds(tmp_path):
    """An input, a parameter, a constant and the same tensor twice, in a dict."""
    weight = nn.Parameter(rv.ones(3))

    def model(x):
        return {"a": (x, weight), "b": [rv.zeros(2), x + 1, x]}

    proto = rv.onnx.export(
        model, ROWS, tmp_path / "m.onnx", output_names=list("abcde"), dynamic_axes={"e": [0]}
    )
    assert [o.name for o in proto.graph.output] == list("abcde")
    for y, z in zip(rv.onnx.load(proto)(ROWS), (ROWS, np.ones(3), np.zeros(2), ROWS + 1, ROWS), strict=True):
        np.testing.assert_array_equal(y.detach().numpy(), z)


def test_other_threads():
    """They compute while a model is exported, and are no part of it."""
    layer, other = nn.Linear(6, 6), nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    running = threading.Event()

    def work():
        other(ROWS)
        running.set()

    with beside(work):
        running.wait(10)
        for _ in range(5):
            proto = rv.onnx.export(layer, ROWS)
            assert [n.op_type for n in proto.graph.node] == ["Gemm"]
            assert other.training


def test_the_model_is_as_before():
    """No gradient, mode or statistic changes, also after an error."""
    model = nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4))
    before = {name: value.numpy().copy() for name, value in model.state_dict().items()}
    rv.onnx.export(model, ROWS, dynamic_axes={"input": [0]}, input_names=["input"])
    refused(ValueError, "reads a value", rv.onnx.export, lambda x: model(x).sum().item(), ROWS)
    assert not observers
    assert model.training
    assert rv.is_grad_enabled()
    assert all((model.state_dict()[name].numpy() == value).all() for name, value in before.items())


def test_lazy_and_without_the_package():
    code = """
import sys, ranvier
assert not any(m.split(".")[0] == "onnx" or m.startswith("ranvier.onnx") for m in sys.modules)
sys.modules["onnx"] = None
layer, x = ranvier.nn.Linear(2, 2), ranvier.ones(1, 2)
for call in (lambda: ranvier.onnx.load("x.onnx"), lambda: ranvier.onnx.export(layer, x)):
    try:
        call()
    except ImportError as error:
        print(error)
"""
    assert printed("-c", code).count("ONNX files need onnx: pip install 'ranvier[onnx]'") == 2


# --- half floats
HALF_MODELS = {
    "Linear": lambda: nn.Linear(8, 4),
    "GELU": lambda: nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)),
    "deep": lambda: nn.Sequential(*[nn.Sequential(nn.Linear(8, 8), nn.Tanh()) for _ in range(6)]),
    "norm": lambda: nn.Sequential(nn.LayerNorm(8), nn.Linear(8, 4), nn.Softmax(-1)),
    "encoder": lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
}


@pytest.mark.parametrize("name", HALF_MODELS)
def test_half_networks(name):
    """Each node of the file rounds to 16 bits: results are within an epsilon for each of float32's."""
    rv.manual_seed(0)
    model = HALF_MODELS[name]().eval()
    x = rv.tensor(drawn(2, 3, 8) if name == "encoder" else drawn(2, 8))
    with rv.no_grad():
        wanted = model(x).numpy()
    model = model.half()
    x = x.half()
    file = rv.onnx.export(model, x)
    got = rv.onnx.load(file)(x)
    assert got.dtype == rv.float16
    eps = rv.finfo(rv.float16).eps
    np.testing.assert_allclose(got.float().numpy(force=True), wanted, rtol=0, atol=eps * len(file.graph.node))


def test_the_limits_of_a_comparison():
    """They grow with the nodes that round to 16 bits: a result that differs by a tenth is found."""
    for dtype, nodes, error, equal in (
        (rv.float16, 1, 2e-3, False), (rv.float16, 4, 2e-3, True), (rv.float16, 4, 0.1, False),
        (rv.float32, 4, 2e-3, False), (rv.float32, 4, 1e-5, True), (rv.float64, 4, 2e-3, False),
    ):  # fmt: skip
        x = rv.ones(2, 3, dtype=dtype)
        proto = SimpleNamespace(graph=SimpleNamespace(node=[None] * nodes))
        value = SimpleNamespace(array=x.numpy())
        call = SimpleNamespace(inputs=[value, None], outputs=[value])
        tolerance = exporter.Tolerance(norm=0.0, largest=exporter._rounding(proto, [call]))
        assert exporter._is_equal((x * (1 + error)).numpy(), x.numpy(), tolerance) == equal


# --- models that make a table at their first call
class Table(nn.Module):
    def __init__(self):
        super().__init__()
        self.table = None

    def forward(self, x):
        if self.table is None:
            self.table = rv.arange(64.0).sin()
        return x + self.table[: x.shape[1], None]


class Masks(nn.Module):
    def __init__(self):
        super().__init__()
        self.masks = {}

    def forward(self, x):
        n = x.shape[1]
        if n not in self.masks:
            self.masks[n] = rv.ones(n, n).tril()
        return self.masks[n] @ x


class Scale(nn.Module):
    """Its layer is made at the first call, as lazy ones are."""

    def forward(self, x):
        if not hasattr(self, "layer"):
            self.layer = nn.Linear(x.shape[-1], 2)
        return self.layer(x)


@pytest.mark.parametrize("kind", [Table, Masks, Scale])
def test_what_the_first_call_makes(kind):
    rv.manual_seed(0)
    model = kind()
    file = rv.onnx.export(model, drawn(2, 5, 3))
    other = drawn(2, 5, 3) * 3 - 1
    wanted = model(rv.tensor(other)).numpy(force=True)
    np.testing.assert_allclose(rv.onnx.load(file)(other).numpy(force=True), wanted, rtol=1e-5, atol=1e-5)


def test_a_table_of_the_first_call_at_other_sizes():
    file = rv.onnx.export(Table(), drawn(2, 5, 3), dynamic_axes={"x": {1: "n"}})
    for n in (1, 4, 37):
        x = drawn(2, n, 3)
        np.testing.assert_allclose(rv.onnx.load(file)(x).numpy(), Table()(rv.tensor(x)).numpy(), atol=1e-6)
    refused(
        ValueError, "as a key of a dict", rv.onnx.export, Masks(), ROWS[None], dynamic_axes={"x": {1: "n"}}
    )
