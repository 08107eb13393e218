"""Layers of 8 and 4 bits in ONNX files: their numbers in onnxruntime, and files that it has quantized."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

from ranvier.onnx.exporter import Tolerance, _is_equal
from support.grouped import grouped
from support.onnx_networks import drawn, flat, session, tokens
from support.refused import refused

FORMS = {"int8": ("int8", None), "q8_0": ("int8", 32), "q4_0": ("int4", 32)}
OF_KIND = pytest.mark.parametrize("kind", FORMS)


def quantized(model, kind):
    dtype, group = FORMS[kind]
    return rv.quantize(model.eval(), dtype, group=group)


class Mixer(nn.Module):
    """All layers that are quantized; the head has the embedding's weight. Cross-attention takes the
    projections apart."""

    def __init__(self, width):
        super().__init__()
        self.table, self.head = nn.Embedding(50, width), nn.Linear(width, 50, bias=False)
        self.head.weight = self.table.weight
        self.block = nn.TransformerEncoderLayer(width, 2, 2 * width, batch_first=True)
        self.cross = nn.MultiheadAttention(width, 2, batch_first=True)

    def forward(self, ids):
        x = self.block(self.table(ids))
        return self.head(self.cross(x, x.flip(1), x)[0])


def check(y, layer, x):
    """Within the roundings of float32 for each term of a sum; sums of integers of int8 are exact."""
    wanted, bias = layer(rv.tensor(x)).numpy(), layer.bias.numpy()
    sizes, roundings = abs(wanted - bias), 8
    if layer.kind != "int8":
        sizes = (abs(x) + abs(x).max(-1, keepdims=True) / 254) @ abs(layer.weight.numpy()).T
        roundings += 2 * x.shape[-1]
    assert (abs(y - wanted) <= roundings * 2.0**-24 * (sizes + abs(bias))).all()


@OF_KIND
@pytest.mark.parametrize("opset", [11, 18, 21])
@pytest.mark.parametrize("shape", [(5, 64), (40,), (2, 3, 33), (1, 2, 2, 96)])
def test_linear(kind, opset, shape, tmp_path):
    layer, x = quantized(nn.Linear(shape[-1], 21), kind), drawn(*shape)
    axes = {"x": {0: "n"}} if len(shape) > 1 else None
    rv.onnx.export(layer, x, tmp_path / "m.onnx", input_names=["x"], dynamic_axes=axes, opset_version=opset)
    more = np.concatenate([x, 3 * x, 0 * x]) if axes else x
    for run in (session(tmp_path / "m.onnx"), rv.onnx.load(tmp_path / "m.onnx")):
        check(flat(run(more))[0], layer, more)


@OF_KIND
@pytest.mark.parametrize("opset", [18, 21])
def test_rows_that_are_not_finite(kind, opset, tmp_path):
    layer, x = quantized(nn.Linear(64, 5), kind), drawn(4, 64)
    rv.onnx.export(layer, x, tmp_path / "m.onnx", opset_version=opset)
    x[1, 3], x[2, 5] = np.nan, np.inf
    for run in (session(tmp_path / "m.onnx"), rv.onnx.load(tmp_path / "m.onnx")):
        y = flat(run(x))[0]
        assert np.isnan(y[1]).all()
        assert not np.isfinite(y[2]).any()
        check(y[::3], layer, x[::3])


@OF_KIND
@pytest.mark.parametrize("opset", [11, 21])
def test_embedding(kind, opset, tmp_path):
    layer, ids = quantized(nn.Embedding(11, 40), kind), tokens(2, 3)
    rv.onnx.export(layer, ids, tmp_path / "m.onnx", opset_version=opset)
    for run in (session(tmp_path / "m.onnx"), rv.onnx.load(tmp_path / "m.onnx")):
        np.testing.assert_array_equal(flat(run(ids))[0], layer(rv.tensor(ids)).numpy())


@OF_KIND
@pytest.mark.parametrize(("width", "opset"), [(128, 21), (72, 18)])
def test_networks(kind, width, opset, tmp_path):
    model, ids = quantized(Mixer(width), kind), tokens(2, 5)
    axes = {"ids": {0: "n", 1: "steps"}}
    proto = rv.onnx.export(
        model, ids, tmp_path / "m.onnx", input_names=["ids"], dynamic_axes=axes, opset_version=opset
    )
    # no number is there as a float, or twice
    kept = sum(x.nbytes for x in (*model.parameters(), *model.buffers()))
    assert sum(len(x.raw_data) for x in proto.graph.initializer) <= kept
    assert proto.ByteSize() <= kept + 60_000
    for given in (ids, tokens(3, 7)):
        wanted = model(rv.tensor(given)).detach().numpy()
        for run in (session(tmp_path / "m.onnx"), rv.onnx.load(tmp_path / "m.onnx")):
            # an activation that rounds to another integer moves what follows by a part of a step
            assert np.linalg.norm(flat(run(given))[0] - wanted) < 0.02 * np.linalg.norm(wanted)


def test_steps_of_activations_are_no_other_result():
    y = drawn(20, 30)
    y[0, 0] = np.nan
    moved = y + 0.02 * drawn(20, 30, seed=1)
    exact = Tolerance(norm=0.0, largest=0.0)
    of_integers = Tolerance(norm=0.1, largest=0.0)
    assert _is_equal(moved, y, of_integers)
    assert not _is_equal(moved, y, exact)
    assert not _is_equal(1.2 * y, y, of_integers)
    moved[0, 0] = 1.0
    assert not _is_equal(moved, y, of_integers)


def test_sums_that_leave_int32():
    layer = quantized(nn.Linear(2**18, 1), "int8")
    refused(ValueError, "sums of 262144 products", rv.onnx.export, layer, rv.zeros(1, 2**18))


@pytest.mark.parametrize("signed", [True, False])
def test_files_that_onnxruntime_has_quantized(signed, tmp_path):
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model, ids = Mixer(32).eval(), tokens(2, 5)
    proto = rv.onnx.export(model, ids, tmp_path / "f.onnx")
    # all weights as constants of products, but for the table's and those that are taken apart; none twice
    sizes = {x.name: [*x.dims] for x in proto.graph.initializer}
    assert (sizes["block.linear1.weight"], sizes["table.weight"]) == ([32, 64], [50, 32])
    assert sum(len(x.raw_data) for x in proto.graph.initializer) == sum(x.nbytes for x in model.parameters())
    again = rv.onnx.load(proto).state_dict()
    assert all(
        np.array_equal(again[name], x) for name, x in model.state_dict().items() if name != "head.weight"
    )
    expected = model(rv.tensor(ids)).detach().numpy()
    np.testing.assert_allclose(session(tmp_path / "f.onnx")(ids)[0], expected, rtol=0, atol=1e-5)
    kind = QuantType.QInt8 if signed else QuantType.QUInt8
    # reduce_range: without VNNI, onnxruntime saturates sums of two products of uint8 and int8 at 16 bits, so
    # signed weights must have 7 bits (its advice for such processors)
    quantize_dynamic(
        tmp_path / "f.onnx", tmp_path / "m.onnx", weight_type=kind, per_channel=signed, reduce_range=signed
    )
    integers = [node for node in onnx.load(tmp_path / "m.onnx").graph.node if node.op_type == "MatMulInteger"]
    assert len(integers) == 5
    y, wanted = flat(rv.onnx.load(tmp_path / "m.onnx")(ids))[0], session(tmp_path / "m.onnx")(ids)[0]
    assert np.linalg.norm(y - wanted) < 0.02 * np.linalg.norm(wanted)


def of_bits(n, k, inputs, **settings):
    """A file of one MatMulNBits, whose inputs after x are initializers, by their names."""
    import onnx
    from onnx import helper

    names = ["x", "b", "scales", "zero", "order", "bias"]
    names = [name if name == "x" or name in inputs else "" for name in names]
    node = helper.make_node("MatMulNBits", names, ["y"], domain="com.microsoft", K=k, N=n, **settings)
    kind = helper.np_dtype_to_tensor_dtype(inputs["scales"].dtype)
    x, y = (helper.make_tensor_value_info(name, kind, ["n", size]) for name, size in (("x", k), ("y", n)))
    stored = [onnx.numpy_helper.from_array(array, name) for name, array in inputs.items()]
    sets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(
        helper.make_graph([node], "g", [x], [y], stored), opset_imports=sets, ir_version=8
    )


@grouped("form", [(4, 32, 96), (4, 16, 100), (4, 128, 100), (8, 32, 64), (2, 64, 130)])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_products_of_bits_of_onnxruntime(form, dtype, rng, tmp_path):
    bits, block, k = form
    n, blocks, x = 5, -(-k // block), drawn(3, k).astype(dtype)
    inputs = {
        "b": rng.integers(0, 256, (n, blocks, block * bits // 8), np.uint8),
        "scales": rng.random(n * blocks).astype(dtype),
    }
    packed = {"zero": rng.integers(0, 256, (n, -(-blocks * bits // 8)), np.uint8)}
    floats = {"zero": (15 * rng.random((n, blocks))).astype(dtype)} if bits == 4 else {}
    for more in ({}, packed, {**floats, "bias": rng.random(n).astype(dtype)}):
        proto = of_bits(n, k, {**inputs, **more}, bits=bits, block_size=block)
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        y, wanted = flat(rv.onnx.load(proto)(x))[0], session(tmp_path / "m.onnx")(x)[0]
        # k terms, of a number of x, a code and a scale
        limit = (k + 2) * np.finfo(dtype).eps * 2**bits * abs(x).sum(-1, keepdims=True)
        assert (abs(y - wanted) <= limit).all()


def test_products_of_other_bits():
    b, scales = np.zeros((2, 1, 16), np.uint8), np.ones(2, np.float32)
    for given, settings, said in [
        ({"b": b}, {"bits": 3}, "got 3 bits; expected 2, 4 or 8 bits without g_idx"),
        ({"b": b, "order": np.arange(32, dtype=np.int32)}, {}, "got g_idx"),
        ({"b": b[:1]}, {}, "got 16 bytes and 2 scales for a matrix (2, 32) in blocks of 32"),
    ]:
        proto = of_bits(2, 32, {"scales": scales, **given}, block_size=32, **settings)
        refused(ValueError, said, rv.onnx.load(proto), drawn(1, 32))
