"""`rv.quantize` of modules that `rv.onnx.load` gives: numbers, files, which nodes, what is refused."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

OF_FORM = pytest.mark.parametrize(
    ("dtype", "group", "most"), [("int8", None, 0.03), ("int8", 32, 0.03), ("int4", 32, 0.3)]
)


class Language(nn.Module):
    def __init__(self, is_tied):
        super().__init__()
        self.table = nn.Embedding(40, 64)
        self.head = nn.Linear(64, 40, bias=False)
        self.block = nn.TransformerEncoderLayer(64, 4, 96, batch_first=True)
        if is_tied:
            self.head.weight = self.table.weight

    def forward(self, index):
        return self.head(self.block(self.table(index)))


MODELS = {
    "mlp": (lambda: nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 10)), rv.ones(3, 64)),
    "language": (lambda: Language(False), rv.tensor([[3, 1, 39], [0, 5, 9]])),
    "tied": (lambda: Language(True), rv.tensor([[3, 1, 39], [0, 5, 9]])),
    "images": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 48)),
        rv.ones(2, 3, 6, 6),
    ),
}


def loaded(model, x, path):
    rv.onnx.export(model.eval(), x, path)
    return rv.onnx.load(path)


def distance(y, expected):
    return float((y - expected).detach().norm() / expected.detach().norm())


@OF_FORM
@pytest.mark.parametrize("name", MODELS)
def test_numbers_and_copies(name, dtype, group, most, tmp_path):
    make, x = MODELS[name]
    module = loaded(make(), x, tmp_path / "model.onnx")
    small, report = rv.quantize(module, dtype, group=group, report=x)
    y = small(x)
    expected = module(x)
    assert 0 < distance(y, expected) < most
    assert report.model == pytest.approx(distance(y, expected), rel=1e-4)
    assert [row.layer for row in report.left] == ["OnnxModule"]
    assert not any(parameter.requires_grad for parameter in small.parameters())
    assert not [key for key, parameter in small.named_parameters() if parameter.ndim == 2]
    other = rv.quantize(module, dtype, group=group)
    other.load_state_dict(small.state_dict())
    for same in (copy.deepcopy(small), pickle.loads(pickle.dumps(small)), other):
        np.testing.assert_array_equal(same(x).detach().numpy(), y.detach().numpy())
    again = loaded(small, x, tmp_path / "small.onnx")
    assert distance(again(x), y) < 1e-5
    refused(ValueError, "have few bits already", rv.quantize, small)


def test_in_another_model_and_with_its_present_values(tmp_path):
    make, x = MODELS["mlp"]
    module = loaded(make(), x, tmp_path / "model.onnx")
    with rv.no_grad():
        for parameter in module.parameters():
            parameter.mul_(3.0)
    small = rv.quantize(nn.Sequential(module, nn.ReLU()))
    assert distance(small(x), module(x).relu()) < 0.03
    plain = loaded(nn.Sequential(nn.Conv2d(3, 4, 3)), rv.ones(1, 3, 5, 5), tmp_path / "plain.onnx")
    refused(ValueError, "no layer is chosen", rv.quantize, plain)
    both = rv.quantize(nn.ModuleList([plain, nn.Linear(64, 64)]))
    assert type(both[1]) is nn.quantized.Linear
    assert len([*both[0].named_buffers()]) == 0


def graph(nodes, inputs, outputs, arrays):
    """A loaded module of these nodes."""
    value = onnx.helper.make_tensor_value_info
    made = onnx.helper.make_graph(
        nodes,
        "graph",
        [value(name, kind, shape) for name, kind, shape in inputs],
        [value(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    return rv.onnx.load(onnx.helper.make_model(made, opset_imports=opset, ir_version=9))


X = ("x", onnx.TensorProto.FLOAT, ["n", 64])
INDEX = ("index", onnx.TensorProto.INT64, ["n"])


@pytest.mark.parametrize("bias", [None, (48,), (1, 48), ()])
@pytest.mark.parametrize("turned", [False, True])
def test_gemm(turned, bias, rng):
    arrays = {"w": rng.standard_normal((48, 64) if turned else (64, 48)).astype(np.float32)}
    if bias is not None:
        arrays["c"] = rng.standard_normal(bias).astype(np.float32)
    node = onnx.helper.make_node("Gemm", ["x", *arrays], ["y"], transB=int(turned))
    module = graph([node], [X], ["y"], arrays)
    x = rv.randn(5, 64)
    small = rv.quantize(module)
    assert [node.op for node in small.nodes] == ["QuantizedMatrix"]
    assert distance(small(x), module(x)) < 0.02


@pytest.mark.parametrize("settings", [{"alpha": 2.0}, {"beta": 0.5}, {"transA": 1}])
def test_gemm_with_other_settings_stays(settings, rng):
    array = rng.standard_normal((64, 64)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Gemm", ["x", "w"], ["h"], **settings),
        onnx.helper.make_node("MatMul", ["h", "v"], ["y"]),
    ]
    module = graph(nodes, [("x", onnx.TensorProto.FLOAT, [64, 64])], ["y"], {"w": array, "v": array[:, :5]})
    small = rv.quantize(module, where=lambda name, layer: True)
    x = rv.randn(64, 64)
    assert [node.op for node in small.nodes] == ["Gemm", "QuantizedMatrix"]
    assert distance(small(x), module(x)) < 0.02


def test_rows_counted_from_the_end(rng):
    node = onnx.helper.make_node("Gather", ["w", "index"], ["y"])
    module = graph([node], [INDEX], ["y"], {"w": rng.standard_normal((20, 64)).astype(np.float32)})
    small = rv.quantize(module)
    index = rv.tensor([-1, 3, -20, 19])
    assert [node.op for node in small.nodes] == ["QuantizedTable"]
    assert distance(small(index), module(index)) < 0.02
    refused(ValueError, "QuantizedTable", small, rv.tensor([20]))


def test_a_matrix_that_is_used_in_two_ways_stays(rng):
    array = rng.standard_normal((64, 64)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("MatMul", ["x", "w"], ["h"]),
        onnx.helper.make_node("Transpose", ["w"], ["t"], perm=[1, 0]),
        onnx.helper.make_node("MatMul", ["h", "t"], ["g"]),
        onnx.helper.make_node("Add", ["v", "v"], ["twice"]),
        onnx.helper.make_node("MatMul", ["g", "v"], ["a"]),
        onnx.helper.make_node("MatMul", ["a", "u"], ["b"]),
        onnx.helper.make_node("MatMul", ["b", "twice"], ["y"]),
    ]
    module = graph(nodes, [X], ["y"], {"w": array, "v": array + 1, "u": array - 1})
    with pytest.warns(UserWarning, match=r"OnnxModule \(1\) 66.7%"):
        small = rv.quantize(module)
    x = rv.randn(5, 64)
    assert [key for key, _ in small.named_buffers()] == ["u.panels"]
    assert {key for key, _ in small.named_parameters()} == {"v", "w"}
    assert distance(small(x), module(x)) < 0.02


def test_a_module_with_a_hooked_part_is_refused(tmp_path):
    make, x = MODELS["language"]
    module = loaded(make(), x, tmp_path / "model.onnx")
    module.block.register_forward_hook(lambda part, args, y: None)
    refused(ValueError, "[quantize] got an OnnxModule of which a part is hooked", rv.quantize, module)


def test_no_file_has_the_nodes_of_few_bits():
    node = onnx.helper.make_node("QuantizedMatrix", ["x", "w"], ["y"])
    refused(ValueError, "QuantizedMatrix", graph, [node], [X], ["y"], {"w": np.ones((4, 4), np.uint8)})
