"""The module that load returns, and files that are refused."""

from __future__ import annotations

import copy
import os
import pickle

import numpy as np
import pytest
import ranvier as rv

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx import helper, numpy_helper  # noqa: E402
from onnx.helper import make_node as node  # noqa: E402
from support.onnx_models import model_of  # noqa: E402
from support.refused import refused  # noqa: E402

FLOAT = onnx.TensorProto.FLOAT
ROWS = np.arange(6, dtype=np.float32).reshape(2, 3)


def model(nodes, constants=None, shape=(None, 3), **settings):
    return model_of(nodes, constants, shape, **settings)


def shaped(op, sizes, **settings):
    return model([node(op, ["x", "s"], ["y"], **settings)], {"s": sizes})


ADD = model([node("Add", ["x", "b"], ["y"])], {"b": np.ones(3, np.float32)})


def test_parameters_have_the_names_of_initializers():
    """Dots lead to modules inside; other characters stay; settings, numbers and integers are constants."""
    names = ["layer.0.weight", "onnx::MatMul_7", "/fc/Weight:0", "layer..x", "layer", "training", "a.b", "a"]
    nodes, last = [], "x"
    for i, name in enumerate([*names, "half"]):
        nodes.append(node("Mul", [last, name], [f"m{i}"]))
        last = f"m{i}"
    nodes += [node("Clip", [last, "low"], ["c"]), node("Reshape", ["c", "shape"], ["y"])]
    weights = {name: np.full(3, 1 + i / 8, np.float32) for i, name in enumerate(names)}
    settings = {"half": np.float32(0.5), "low": np.float32(0), "shape": [-1, 3]}
    found = rv.onnx.load(model(nodes, weights | settings))
    assert [name for name, _ in found.named_parameters()] == [
        "onnx::MatMul_7",
        "/fc/Weight:0",
        "layer__x",
        "layer_",
        "training_",
        "a_",
        "layer.0.weight",
        "a.b",
    ]
    assert not list(found.buffers())
    y = found(rv.tensor(ROWS))
    np.testing.assert_allclose(y.detach().numpy(), ROWS * 0.5 * np.prod([1 + i / 8 for i in range(8)]), 1e-5)
    y.sum().backward()
    assert all(p.grad is not None for p in found.parameters())


def test_statistics_are_buffers():
    names = ("scale", "bias", "mean", "var")
    weights = {name: np.full(3, i + 1, np.float32) for i, name in enumerate(names)}
    found = rv.onnx.load(model([node("BatchNormalization", ["x", *names], ["y"], momentum=0.75)], weights))
    assert [n for n, _ in found.named_parameters()] == ["scale", "bias"]
    assert [n for n, _ in found.named_buffers()] == ["mean", "var"]
    wanted = rv.nn.BatchNorm1d(3, momentum=0.25)
    state = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}
    given = {ours: found.state_dict()[theirs].numpy().copy() for ours, theirs in state.items()}
    wanted.load_state_dict({**given, "num_batches_tracked": np.array(0)})
    for mode in (False, True, False):
        y, z = found.train(mode)(rv.tensor(ROWS)), wanted.train(mode)(rv.tensor(ROWS))
        np.testing.assert_allclose(y.detach().numpy(), z.detach().numpy(), 1e-5, 1e-5)
    np.testing.assert_allclose(found.state_dict()["var"].numpy(), wanted.running_var.numpy(), 1e-6)


def test_copies_and_text():
    found = rv.onnx.load(ADD)
    for again in (copy.deepcopy(found), pickle.loads(pickle.dumps(found))):
        assert bool((again(ROWS) == found(ROWS)).all())
        assert again.b is not found.b
    assert repr(found) == "OnnxModule(x -> y; 1 Add)"
    assert (found.input_names, found.output_names) == (["x"], ["y"])


def test_state_dict_and_precision():
    found = rv.onnx.load(ADD)
    found.load_state_dict({"b": np.array([1.0, 2.0, 3.0])})
    assert found(ROWS).tolist() == (ROWS + np.array([1, 2, 3])).tolist()
    assert found.double()(ROWS.astype(np.float64)).dtype == np.float64


def test_saved_weights(tmp_path):
    found = rv.onnx.load(ADD)
    with rv.no_grad():
        found.b.mul_(3)
    rv.save(found, tmp_path / "weights.safetensors")
    again = rv.load(tmp_path / "weights.safetensors", into=rv.onnx.load(ADD))
    assert again(ROWS).tolist() == (ROWS + 3).tolist()


W, B, SCALE = np.ones((4, 3), np.float32), np.ones(4, np.float32), np.full(3, 2, np.float32)
STATISTICS = {"s": SCALE, "t": SCALE, "m": np.zeros(3, np.float32), "v": SCALE}
CONSTANTS = {  # as PaddlePaddle's exporter and spox write them
    "a layer": ([node("Gemm", ["x", "w", "b"], ["y"], transB=1)], {"w": W, "b": B}),
    "a product and a sum": (
        [node("Transpose", ["w"], ["k"]), node("MatMul", ["x", "k"], ["m"]), node("Add", ["b", "m"], ["y"])],
        {"w": W, "b": B},
    ),
    "another shape and dtype": (
        [
            node("Identity", ["w"], ["v"]),
            node("Reshape", ["v", "n"], ["k"]),
            node("Cast", ["k"], ["c"], to=FLOAT),
            node("MatMul", ["x", "c"], ["y"]),
        ],
        {"w": W.reshape(-1), "n": np.array([3, 4])},
    ),
    "statistics": ([node("BatchNormalization", ["x", *STATISTICS], ["y"])], STATISTICS),
    "statistics by another name": (
        [
            node("Identity", ["m"], ["m1"]),
            node("Identity", ["v"], ["v1"]),
            node("BatchNormalization", ["x", "s", "t", "m1", "v1"], ["y"]),
        ],
        STATISTICS,
    ),
    "a norm in steps": (
        [
            node("ReduceMean", ["x"], ["e"], axes=[1]),
            node("Sub", ["x", "e"], ["d"]),
            node("Add", ["e", "one"], ["k"]),
            node("Div", ["d", "k"], ["q"]),
            node("Mul", ["q", "s"], ["p"]),
            node("Add", ["p", "t"], ["y"]),
        ],
        {"s": SCALE, "t": SCALE, "one": np.float32(1)},
    ),
    "no weights": (
        [node("Clip", ["x", "l"], ["c"]), node("Sub", ["c", "t"], ["d"]), node("Gather", ["d", "i"], ["y"])],
        {"l": np.float32(0), "t": SCALE, "i": np.array([0, 1])},
    ),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_at_places_of_weights_are_as_initializers(name):
    nodes, constants = CONSTANTS[name]
    tensors = [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()]
    written = [node("Constant", [], [t.name], value=t) for t in tensors]
    results = []
    for proto in (model(nodes, constants, opset=17), model([*written, *nodes], opset=17)):
        found = rv.onnx.load(proto).train()
        y = found(rv.tensor(ROWS))
        names = [sorted(n for n, _ in of) for of in (found.named_parameters(), found.named_buffers())]
        if any(names):
            y.sum().backward()
        results.append((*names, y.tolist(), [b.tolist() for _, b in sorted(found.named_buffers())]))
        assert all(p.grad is not None for p in found.parameters())
    if name == "no weights":
        assert results[1][:2] == ([], [])
    else:
        assert results[0] == results[1]


def test_captured_predictions():
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Slice", ["s", "zero", "one"], ["n"]),
        node("Concat", ["n", "minus"], ["t"], axis=0),
        node("MatMul", ["x", "w"], ["m"]),
        node("Reshape", ["m", "t"], ["y"]),
    ]
    constants = {"zero": [0], "one": [1], "minus": [-1], "w": np.ones((3, 4), np.float32)}
    found = rv.onnx.load(model(nodes, constants))
    fast = rv.compile(found)
    for rows in (2, 2, 2, 5, 5, 5):
        x = np.ones((rows, 3), np.float32)
        assert bool((fast(x) == found(x)).all())
    assert len(fast.programs) == 2


def test_wrong_inputs():
    model = rv.onnx.load(ADD)
    refused(TypeError, "got 0 inputs; expected 1: x", model)
    refused(TypeError, "got 2 inputs; expected 1: x", model, ROWS, ROWS)
    refused(ValueError, "got input 'x' of shape (3, 2); expected (any, 3)", model, ROWS.reshape(3, 2))
    refused(ValueError, "got input 'x' of shape (1, 2, 3)", model, ROWS.reshape(1, 2, 3))
    refused(TypeError, "got input 'x' of dtype int64; expected float32", model, ROWS.astype(np.int64))


def test_unsupported_operators_are_named_at_once():
    nodes = [
        node("Det", ["x"], ["d"]),
        node("DFT", ["d"], ["e"]),
        node("Fused", ["e"], ["y"], domain="com.x"),
    ]
    with pytest.raises(ValueError, match=r"\[onnx.load\] got DFT, Det, com.x.Fused; expected operators of"):
        rv.onnx.load(model(nodes, domains=["com.x"]))


def test_functions_are_replaced_by_their_operators():
    """Functions of the file, and those that ONNX defines itself."""
    twice = helper.make_function(
        "mine", "Twice", ["a"], ["b"], [node("Add", ["a", "a"], ["b"])], [helper.make_opsetid("", 18)]
    )
    nodes = [
        node("Twice", ["x"], ["t"], domain="mine"),
        node("MeanVarianceNormalization", ["t"], ["y"], axes=[0]),
    ]
    found = rv.onnx.load(model(nodes, domains=["mine"], functions=[twice]))
    assert found(ROWS)[:, 0].tolist() == pytest.approx([-1, 1], abs=1e-5)
    cropped = rv.onnx.load(shaped("CenterCropPad", [2, 1]))
    assert cropped(ROWS).tolist() == [[1], [4]]


def broken_tensor(dims, data=b"1234"):
    tensor = onnx.TensorProto(name="b", data_type=FLOAT, raw_data=data)
    tensor.dims.extend(dims)
    return tensor


CALL_ADD = [node("Add", ["x", "b"], ["y"])]
FILES = {
    "cut off": (ADD.SerializeToString()[:-5], "is not an ONNX file, or is damaged"),
    "text": (b"hello world", "is text that begins 'hello world'"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS"),
    "empty": (b"", "is not a valid model"),
    "cycle": (
        model([node("Add", ["x", "z"], ["y"]), node("Relu", ["y"], ["z"])]),
        "is not a valid model: .*sorted",
    ),
    "unknown value": (model(CALL_ADD), "is not a valid model"),
    "missing operand": (model([node("Add", ["x"], ["y"])]), "has input size 1"),
    "missing result": (model([node("Relu", ["x"], ["z"])]), "is not a valid model"),
    "huge tensor": (model(CALL_ADD, {"b": broken_tensor([2**40, 2**20])}), "expected 0 to 2.40 elements"),
    "large tensor": (
        model(CALL_ADD, {"b": broken_tensor([2**36])}),
        r"tensor 'b' of shape .* cannot be read",
    ),
    "negative size": (model(CALL_ADD, {"b": broken_tensor([-3])}), "Negative dimension"),
    "new version": (model(CALL_ADD, {"b": np.ones(3, np.float32)}, opset=99), "got version 99"),
    "a name that is no text": (
        model([node("LayerNormalization", ["x", "w"], ["y"], epsilon=0.5)], {"w": ROWS[0]})
        .SerializeToString()
        .replace(b"epsilon", b"e\xfasilon"),
        r"got LayerNormalization with b'e\\xfasilon'; expected operators",
    ),
    "control codes": (model([node("Re\x1b[2Jlu", ["x"], ["y"])]), r"No Op registered for Re\\x1b\[2Jlu"),
    "a long name": (model([node("R" * 10**5, ["x"], ["y"])]), r"R{1400,2000} \.\.\. \("),
    "text for a number": (model([node("Softmax", ["x"], ["y"], axis="a")]), "Mismatched attribute type"),
}


@pytest.mark.parametrize("name", FILES)
def test_broken_files(name, tmp_path):
    content, message = FILES[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(content if isinstance(content, bytes) else content.SerializeToString())
    with pytest.raises(ValueError, match=r"^\[onnx.load\].*" + message):
        rv.onnx.load(path)


def test_a_file_for_the_other_load(tmp_path):
    (tmp_path / "m.onnx").write_bytes(ADD.SerializeToString())
    with pytest.raises(ValueError, match=r"is an ONNX file; rv.onnx.load reads ONNX files"):
        rv.load(tmp_path / "m.onnx")


def test_no_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        rv.onnx.load(tmp_path / "none.onnx")
    with pytest.raises(IsADirectoryError):
        rv.onnx.load(tmp_path)


NODES = {
    "reshape": (shaped("Reshape", [-5, 3]), "got shape .-5, 3. for a value of shape"),
    "reshape of more": (shaped("Reshape", [0, 0, 0]), "got shape"),
    "negative fill": (model([node("ConstantOfShape", ["s"], ["y"])], {"s": [-2]}), "expected sizes of 0"),
    "expand": (shaped("Expand", [4, 4]), "got shape"),
    "tile": (shaped("Tile", [-1, 1]), "got repeats"),
    "pad": (shaped("Pad", [2**50, 0, 0, 0]), "node of type Pad"),
    "crop": (shaped("Pad", [-9, 0, 0, 0]), "got pads"),
    "gather": (shaped("Gather", [5]), "got index 5 for an axis of length 2"),
    "topk": (model([node("TopK", ["x", "s"], ["y", "z"])], {"s": [2**40]}), "got k"),
    "axis": (model([node("Softmax", ["x"], ["y"], axis=9)]), "got axis 9"),
    "perm": (model([node("Transpose", ["x"], ["y"], perm=[0, 0])]), "got perm"),
    "squeeze": (shaped("Squeeze", [1]), "expected sizes of 1"),
    "flatten": (model([node("Flatten", ["x"], ["y"], axis=9)]), "got axis 9"),
    "split": (model([node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": [5, -2]}), "got sizes"),
    "conv": (
        model([node("Conv", ["x", "s"], ["y"])], {"s": np.ones((1, 1, 2, 2), np.float32)}),
        "expected a number for each axis",
    ),
    "pool": (
        model([node("MaxPool", ["x"], ["y"], kernel_shape=[2**40])], shape=(1, 1, 4)),
        "node of type MaxPool",
    ),
    "steps": (
        model([node("LSTM", ["x", "s", "s"], ["y"], hidden_size=5)], {"s": np.ones((1, 20, 3), np.float32)}),
        "node of type LSTM",
    ),
    "equation": (model([node("Einsum", ["x"], ["y"], equation="ij->kk")]), "node of type Einsum"),
}


@pytest.mark.parametrize("name", NODES)
def test_hostile_settings(name):
    proto, message = NODES[name]
    found = rv.onnx.load(proto)
    x = np.ones((1, 1, 4), np.float32) if name == "pool" else ROWS
    with pytest.raises(ValueError, match=r"^\[onnx\] .*" + message):
        found(x)


def test_external_data(tmp_path):
    path, data = tmp_path / "m.onnx", tmp_path / "m.bin"
    onnx.save(copy.deepcopy(ADD), path, save_as_external_data=True, location="m.bin", size_threshold=0)
    assert data.exists()
    assert rv.onnx.load(path)(ROWS).tolist() == (ROWS + 1).tolist()
    data.write_bytes(b"12")
    with pytest.raises(ValueError, match=r"\[onnx.load\] .*damaged"):
        rv.onnx.load(path)
    os.remove(data)
    with pytest.raises(ValueError, match=r"\[onnx.load\] .*damaged"):
        rv.onnx.load(path)
    proto = onnx.load(path, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../../outside.bin"
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(ValueError, match=r"\[onnx.load\] .*outside"):
        rv.onnx.load(path)


def test_marks_of_the_library_that_are_broken():
    """The list of buffers that export writes is only a hint."""
    for text in ("", "{", "[]", '{"buffers": 3}', '{"buffers": [3]}'):
        proto = copy.deepcopy(ADD)
        helper.set_model_props(proto, {"ranvier": text})
        assert [n for n, _ in rv.onnx.load(proto).named_parameters()] == ["b"]
    helper.set_model_props(proto, {"ranvier": '{"buffers": ["b"]}'})
    assert [n for n, _ in rv.onnx.load(proto).named_buffers()] == ["b"]


@pytest.mark.parametrize("op", ["ScatterElements", "ScatterND", "GatherND"])
def test_computed_places_in_a_captured_step(op):
    """Places that follow from the inputs are no constants of a step; negative ones count from the end."""
    place = node("ArgMax", ["x"], ["found"], axis=1)
    last = node("Sub", ["found", "three"], ["place"])
    if op == "ScatterElements":
        rest = [node(op, ["x", "place", "zero"], ["y"], axis=1)]
    elif op == "ScatterND":
        rest = [
            node("Concat", ["row", "place"], ["pair"], axis=1),
            node("Squeeze", ["zero", "one"], ["zeros"]),
            node(op, ["x", "pair", "zeros"], ["y"]),
        ]
    else:
        rest = [node("Concat", ["row", "place"], ["pair"], axis=1), node(op, ["x", "pair"], ["y"])]
    constants = {
        "three": np.array([[3]]),
        "zero": np.zeros((2, 1), np.float32),
        "row": np.array([[0], [1]]),
        "one": np.array([1]),
    }
    loaded = rv.onnx.load(model([place, last, *rest], constants, (2, 3)))
    captured = rv.compile(loaded)
    for x in ([[1.0, 5, 2], [7, 0, 3]], [[9.0, 5, 2], [1, 0, 3]], [[1.0, 5, 8], [1, 4, 3]]):
        x = np.array(x, np.float32)
        highest = x.max(1)
        wanted = highest if op == "GatherND" else np.where(x == highest[:, None], 0, x)
        for one in (loaded, captured):
            np.testing.assert_array_equal(one(x).numpy(force=True), wanted)
