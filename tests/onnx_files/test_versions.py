"""Versions of the operator set: operators that an earlier one lacks, and that a later one has."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from ranvier.onnx.exporter import VERSIONS  # noqa: E402
from support.onnx_models import model_of  # noqa: E402
from support.onnx_networks import drawn, flat, session  # noqa: E402

ROWS = drawn(3, 6)


def test_what_an_old_version_lacks():
    for model, message in (
        (F.celu, "opset_version 11, which has no Celu; expected a later version"),
        (lambda x: x.softmax(0), "another axis than the last .* pass opset_version=13"),
        (lambda x: rv.scatter_add(x, 1, x.argmin(1, keepdim=True), x), "pass opset_version=16|slice src"),
        (lambda x: rv.maximum(x.long(), 2), "the graph of the model is not valid: .*tensor.int64"),
    ):
        with pytest.raises(ValueError, match=message):
            rv.onnx.export(model, ROWS, opset_version=11)


@pytest.mark.parametrize("version", [19, 20, 23, VERSIONS[-1]])
def test_versions(version, tmp_path):
    """Later versions have other operators for some operations."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

    def model(x):
        y = F.pad(F.gelu(x).unsqueeze(0), (1, 1), "circular")
        return F.gelu(x, "tanh"), y, F.group_norm(x, 2), x.std(1)

    rv.onnx.export(model, ROWS, tmp_path / "m.onnx", opset_version=version, dynamic_axes={"x": [0]})
    given = drawn(5, 6)
    found = flat(rv.onnx.load(tmp_path / "m.onnx")(given))
    for y, z in zip(found, flat(model(rv.tensor(given))), strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)
    if version < VERSIONS[-1]:  # onnxruntime may not have the newest
        for y, z in zip(session(tmp_path / "m.onnx")(given), found, strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)


def test_running_product():
    for version, is_one in ((18, False), (26, True)):
        proto = rv.onnx.export(lambda x: x.cumprod(0), ROWS, opset_version=version)
        assert ("CumProd" in [node.op_type for node in proto.graph.node]) == is_one


def by_version(op, version, inputs, settings, results=1):
    """The results of one operator; the first input is the graph's, the others are constants."""
    first, *more = inputs
    names = ["x", *(f"i{k}" if a is not None else "" for k, a in enumerate(more))]
    outputs = [f"y{k}" for k in range(results)]
    constants = {name: a for name, a in zip(names[1:], more, strict=True) if name}
    nodes = [onnx.helper.make_node(op, names, outputs, name="n", **settings)]
    loaded = rv.onnx.load(model_of(nodes, constants, None, first.dtype, outputs, version))
    return [np.asarray(y) for y in flat(loaded(first))]


def f32(*numbers):
    return np.array(numbers, np.float32)


INF, MOST = np.inf, float(np.finfo(np.float32).max)
ROW, TWO = f32([1, 2, 3, 4]), np.arange(1, 9, dtype=np.float32).reshape(1, 1, 2, 4)
SIGNS = f32(-INF, -1, np.nan, 1, INF)
IDS = np.array([-3, -1, 0, 1, 2])
GROUPS = drawn(2, 4, 3, seed=1)
NORMED = GROUPS.reshape(2, 2, 6)
NORMED = (NORMED - NORMED.mean(2, keepdims=True)) / np.sqrt(NORMED.var(2, keepdims=True) + 1e-5)
EARLIER = {  # operator, version, inputs, settings; the result as the text of that version has it
    "add with axis": ("Add", 6, [np.zeros((2, 3, 2), "f"), f32(1, 2, 3)], {"broadcast": 1, "axis": 1},
                      [[[1, 1], [2, 2], [3, 3]]] * 2),
    "greater with axis": ("Greater", 1, [np.ones((2, 2, 1), "f"), f32(0, 2)], {"broadcast": 1, "axis": 0},
                          [[[True], [True]], [[False], [False]]]),
    "concat 1": ("Concat", 1, [ROW, -ROW], {}, [[1, 2, 3, 4, -1, -2, -3, -4]]),
    "reshape 1": ("Reshape", 1, [TWO], {"shape": [0, -1, 2]}, TWO.reshape(1, 4, 2)),
    "reshape 14": ("Reshape", 14, [np.zeros((0, 3), "f"), np.int64([3, 0])], {"allowzero": 1},
                   np.zeros((3, 0))),
    "tile 1": ("Tile", 1, [ROW, np.array(2), np.array(0)], {}, np.repeat(ROW, 2, 0)),
    "pad 2": ("Pad", 2, [ROW], {"pads": [0, 1, 0, -2], "value": 7.0}, [[7, 1, 2]]),
    "slice 1": ("Slice", 1, [ROW], {"starts": [-3], "ends": [99], "axes": [1]}, [[2, 3, 4]]),
    "sum of rows 1": ("ReduceSum", 1, [ROW], {"axes": [1], "keepdims": 0}, [10]),
    "gemm 6": ("Gemm", 6, [ROW, np.eye(4, dtype="f"), ROW[0]], {"broadcast": 1, "beta": 2.0}, 3 * ROW),
    "prelu 6": ("PRelu", 6, [-TWO.reshape(1, 2, 2, 2), f32(1, 10)], {},
                -TWO.reshape(1, 2, 2, 2) * f32(1, 10).reshape(1, 2, 1, 1)),
    "batch norm 1": ("BatchNormalization", 1, [TWO, f32(2), f32(1), f32(3), f32(4)],
                     {"consumed_inputs": [0, 0, 0, 1, 1], "is_test": 1, "epsilon": 0.0}, TWO - 2),
    "dropout 1": ("Dropout", 1, [ROW], {"ratio": 0.9, "is_test": 1}, ROW),
    "cast 1": ("Cast", 1, [f32(1.5, -1.5)], {"to": "INT32"}, [1, -1]),
    "clip 1": ("Clip", 1, [SIGNS], {"min": 0.0}, [0, 0, np.nan, 1, INF]),
    "clip 6": ("Clip", 6, [SIGNS], {"min": 0.0}, [0, 0, np.nan, 1, MOST]),
    "clip 6 without bounds": ("Clip", 6, [SIGNS], {}, [-MOST, -1, np.nan, 1, MOST]),
    "clip 13": ("Clip", 13, [SIGNS, None, f32(0)[0]], {}, [-MOST, -1, np.nan, 0, 0]),
    "clip of half floats": ("Clip", 13, [np.float16([INF, 1])], {}, [65504, 1]),
    "clip of integers": ("Clip", 12, [np.int64([-5, 5]), np.array(0)], {}, [0, 5]),
    "one-hot 9": ("OneHot", 9, [IDS, np.array(2), f32(0, 1)], {}, [[0, 0], [0, 0], [1, 0], [0, 1], [0, 0]]),
    "one-hot 11": ("OneHot", 11, [IDS, np.array(2), f32(0, 1)], {}, [[0, 0], [0, 1], [1, 0], [0, 1], [0, 0]]),
    "one-hot of floats": ("OneHot", 11, [f32(-0.6, 1.6), f32(2.5)[0], f32(0, 1)], {}, [[1, 0], [0, 1]]),
    "slice back from before the start": (
        "Slice", 13, [ROW[0], np.int64([-9]), np.int64([-99]), np.int64([0]), np.int64([-1])], {}, [1]),
    "group norm 18": ("GroupNormalization", 18, [GROUPS, f32(1, 2), f32(3, 4)], {"num_groups": 2},
                      (NORMED * f32([[1], [2]]) + f32([[3], [4]])).reshape(2, 4, 3)),
    "group norm 21": ("GroupNormalization", 21, [GROUPS, f32(1, 1, 2, 2), f32(3, 3, 4, 4)], {"num_groups": 2},
                      (NORMED * f32([[1], [2]]) + f32([[3], [4]])).reshape(2, 4, 3)),
    "softmax 12": ("Softmax", 12, [np.zeros((2, 2, 2), "f")], {}, np.full((2, 2, 2), 0.25)),
    "softmax 12 of no rows": ("Softmax", 12, [np.zeros((0, 2), "f")], {}, np.zeros((0, 2))),
    "softmax 13": ("Softmax", 13, [np.zeros((2, 2, 2), "f")], {}, np.full((2, 2, 2), 0.5)),
    "upsample 1": ("Upsample", 1, [TWO], {"height_scale": 1.0, "width_scale": 1.5, "mode": "bilinear"},
                   [[[np.interp(np.arange(6) / 1.5, range(4), r) for r in TWO[0, 0]]]]),
    "upsample 7": ("Upsample", 7, [ROW], {"scales": [1.0, 1.5]}, [[1, 1, 2, 3, 3, 4]]),
    "resize 10 down": ("Resize", 10, [TWO, f32(1, 1, 0.6, 0.6)], {}, [[[[1, 3]]]]),
    "resize 10 down, linear": (
        "Resize", 10, [TWO, f32(1, 1, 0.6, 0.6)], {"mode": "linear"}, [[[[1, 8 / 3]]]]),
    "resize 10 up": ("Resize", 10, [ROW, f32(1, 1.5)], {}, [[1, 1, 2, 3, 3, 4]]),
    "resize 10: 5 times 2.6": ("Resize", 10, [np.zeros((1, 5), "f"), f32(1, 2.6)], {}, np.zeros((1, 13))),
    "resize 13, halfway": ("Resize", 13, [ROW, None, f32(1, 0.6)], {}, [[1, 3]]),
    "resize 13, halfway by sizes": (
        "Resize", 13, [np.arange(20, dtype=np.float32), None, None, np.int64([6])],
        {"nearest_mode": "round_prefer_ceil"}, [1, 5, 8, 11, 15, 18]),
    "resize 13, one result": (
        "Resize", 13, [f32([1, 3]), None, f32(1, 0.5)],
        {"mode": "cubic", "coordinate_transformation_mode": "pytorch_half_pixel"}, [[1]]),
    "mean of single elements": ("AveragePool", 22, [TWO], {"kernel_shape": [1, 1], "dilations": [2, 2]}, TWO),
    **{f"{op} of no volumes": (
        op, 22, [np.zeros((0, 1, 2, 2, 2), "f"), np.ones((1, 1, 2, 2, 2), "f")], {}, np.zeros((0, 1, *size)))
        for op, size in (("Conv", (1, 1, 1)), ("ConvTranspose", (3, 3, 3)))},
    "mod": ("Mod", 13, [f32(1e9, -7, 5, 1e38), f32(3, 4, INF, 7)], {"fmod": 1},
            np.fmod(f32(1e9, -7, 5, 1e38), f32(3, 4, INF, 7))),
    "pad, cropped": ("Pad", 19, [ROW[0], np.int64([2, -1])], {"mode": "wrap"}, [2, 3, 1, 2, 3]),
    "threshold": ("ThresholdedRelu", 10, [SIGNS], {}, [0, 0, 0, 0, INF]),
    "shrink": ("Shrink", 9, [SIGNS], {}, [-INF, -1, 0, 1, INF]),
    **{op: (op, 13, [f32(-INF, -1.5, 89, INF)], {}, f(f32(-INF, -1.5, 89, INF))) for op, f in (
        ("Floor", np.floor), ("Ceil", np.ceil), ("Sinh", np.sinh), ("Cosh", np.cosh), ("Asinh", np.arcsinh))},
    "acosh": ("Acosh", 9, [f32(1e38, -1e38, 1)], {}, [np.arccosh(1e38), np.nan, 0]),
    "transposed 10": ("ConvTranspose", 10, [f32([[1, 2, 3]]), f32([[1, 10, 100]])],
                      {"strides": [2], "output_shape": [6]}, [[[1, 10, 102, 20, 203, 30]]]),
    "transposed 11": ("ConvTranspose", 11, [f32([[1, 2, 3]]), f32([[1, 10, 100]])],
                      {"strides": [2], "output_shape": [6]}, [[[10, 102, 20, 203, 30, 300]]]),
}  # fmt: skip


@pytest.mark.parametrize("name", EARLIER)
def test_an_operator_by_the_text_of_its_version(name):
    op, version, inputs, settings, wanted = EARLIER[name]
    (found,) = by_version(op, version, inputs, settings)
    np.testing.assert_allclose(found, np.asarray(wanted), rtol=3e-6, atol=1e-6, strict=False)


@pytest.mark.parametrize(
    ("op", "version", "inputs", "settings", "message"),
    [
        ("Split", 13, [ROW[0]], {"axis": 0}, "node 'n' of type Split: .* 3 results .* 4; .*operator set 13"),
        ("Softmax", 9, [ROW[0]], {}, "node 'n' of type Softmax: .*axis 1 for 1 dimensions .*operator set 9"),
        ("Pad", 1, [ROW[0]], {"paddings": [0, 1]}, "Pad with paddings; .*operator set 1, nodes 'n'"),
        ("Det", 13, [ROW], {}, r"onnx.load\] got Det; .*operator set 13, nodes 'n'"),
    ],
)
def test_what_is_refused_names_node_and_version(op, version, inputs, settings, message):
    with pytest.raises(ValueError, match=message):
        by_version(op, version, inputs, settings, 3 if op == "Split" else 1)


def test_an_active_dropout_without_a_seed_gives_its_mask():
    """The mask has the share of ones that is kept, and the result is x where it is true, scaled."""
    x = np.ones((100, 100), np.float32)
    node = onnx.helper.make_node("Dropout", ["x", "ratio"], ["y0", "y1"])
    model = model_of([node], {"ratio": np.float32(0.25)}, None, np.float32, ["y0", "y1"], 13)
    result, mask = (np.asarray(y) for y in rv.onnx.load(model).train()(x))
    np.testing.assert_allclose(result, mask / np.float32(0.75), rtol=1e-6)
    assert abs(mask.mean() - 0.75) < 0.03  # seven standard deviations


def transposed(x, w, strides, dilations, extra):
    """For one channel: every element of x adds itself times w around its place; zeros at the end."""
    kernel = w.shape
    full = [
        (n - 1) * s + d * (k - 1) + 1 + e
        for n, s, d, k, e in zip(x.shape, strides, dilations, kernel, extra, strict=True)
    ]
    y = np.zeros(full)
    for place in np.ndindex(x.shape):
        for tap in np.ndindex(kernel):
            y[tuple(p * s + t * d for p, s, t, d in zip(place, strides, tap, dilations, strict=True))] += (
                x[place] * w[tap]
            )
    return y


@pytest.mark.parametrize("version", [10, 11, 22])
def test_transposed_convolutions_of_a_size(version):
    """output_shape of all settings: total // 2 or the rest of the padding is cut from the start."""
    draw = np.random.default_rng(version)
    for _ in range(60):
        axes = int(draw.integers(1, 3))
        x, w = (draw.standard_normal(draw.integers(2, 5, axes)).astype(np.float32) for _ in range(2))
        strides, dilations = draw.integers(1, 4, axes), draw.integers(1, 3, axes)
        extra = [int(draw.integers(0, s)) for s in strides]
        full = transposed(x, w, strides, dilations, extra)
        size = [int(max(1, n - draw.integers(0, 5))) for n in full.shape]
        how = str(draw.choice(["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]))
        halved = ("SAME_UPPER", *(("NOTSET", "VALID") if version < 11 else ()))
        cut = [n - m for n, m in zip(full.shape, size, strict=True)]
        starts = [t // 2 if how in halved else t - t // 2 for t in cut]
        wanted = full[tuple(slice(a, a + m) for a, m in zip(starts, size, strict=True))]
        settings = {"strides": strides.tolist(), "dilations": dilations.tolist(), "output_padding": extra}
        inputs = [x[None, None], w[None, None]]
        settings |= {"output_shape": size} | ({"auto_pad": how} if how != "NOTSET" else {})
        (found,) = by_version("ConvTranspose", version, inputs, settings)
        np.testing.assert_allclose(found[0, 0], wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axes", [1, 2, 3])
@pytest.mark.parametrize("column_major", [0, 1])
def test_indices_of_windows_with_uneven_padding(axes, column_major):
    x = drawn(2, 2, *(5, 4, 3)[:axes], seed=axes)
    settings = {"kernel_shape": [2] * axes, "pads": [1] * axes + [0] * axes, "storage_order": column_major}
    y, where = by_version("MaxPool", 12, [x], settings, 2)
    for n, c in np.ndindex(2, 2):
        image = x[n, c].ravel(order="F" if column_major else "C")
        offset = (n * 2 + c) * image.size
        np.testing.assert_array_equal(image[where[n, c] - offset], y[n, c])


@pytest.mark.parametrize("given", ["no shape", "no type of the result", "sizes of -1", "before versions"])
def test_what_files_leave_out(given, tmp_path):
    proto = rv.onnx.export(lambda x: F.relu(x), ROWS, input_names=["x"], dynamic_axes={"x": [0]})
    x, y = proto.graph.input[0], proto.graph.output[0]
    if given == "no shape":
        x.type.tensor_type.ClearField("shape")
        y.type.tensor_type.ClearField("shape")
    elif given == "no type of the result":
        y.ClearField("type")
    elif given == "sizes of -1":
        x.type.tensor_type.shape.dim[0].dim_value = -1
    else:
        del proto.opset_import[:]
        proto.ir_version = 2
    before = proto.SerializeToString()
    (tmp_path / "m.onnx").write_bytes(before)
    for source in (proto, tmp_path / "m.onnx"):
        loaded = rv.onnx.load(source)
        assert np.array_equal(loaded(drawn(5, 6)).numpy(), np.maximum(drawn(5, 6), 0))
        assert loaded.nodes[0].version == (1 if given == "before versions" else 18)
    assert proto.SerializeToString() == before
