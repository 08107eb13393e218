"""Every operation and layer that is written, at other sizes in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn

pytest.importorskip("onnx", reason="onnx is not installed")

from ranvier.onnx.registry import WRITERS
from ranvier.onnx.runs import Modules, run
from samples import layer_samples
from support.onnx_networks import drawn, flat, session, tokens

ROWS, IMAGES = drawn(3, 6), drawn(3, 4, 6, 6)
EDGES = rv.tensor(drawn(11, 2))
ELEMENTWISE = {
    "arithmetic": lambda x: (
        x + x * x - x / 3 + x / (x * x + 1) + 2 - (x - 1), 1 - x, 2 / (x + 9), -x, x + 1, 3 * x,
    ),
    "powers": lambda x: (
        x.abs() ** 1.5, 2.0**x, x.abs() ** x, x.square(), rv.reciprocal(x), rv.sqrt(x.abs()),
    ),
    "functions": lambda x: (
        x.exp(), x.abs().log(), rv.sin(x), rv.cos(x), rv.expm1(x), rv.log1p(x.abs()), x.sign(),
    ),
    "angles": lambda x: (
        *(
            f(0.3 * x)
            for f in (rv.acos, rv.asin, rv.atan, rv.asinh, rv.atanh, rv.sinh, rv.cosh, rv.tan, rv.erf)
        ),
        rv.acosh(x.abs() + 1),
    ),
    "rounding": lambda x: (
        rv.floor(3 * x), rv.ceil(3 * x), (3 * x).round(), rv.div(x, 0.4 * rv.ones(6), rounding_mode="floor"),
        rv.div(x, 0.4, rounding_mode="trunc"), rv.div((9 * x).long(), 2, rounding_mode="trunc"),
        rv.div((9 * x).long(), -2, rounding_mode="floor"),
    ),
    "compare": lambda x: (
        x > 0, x < 0.5, x >= 0, x <= x.mean(), x == x, x != 0, (x > 0) == (x > 1), rv.isnan(x), rv.isinf(x),
        rv.isfinite(x / x.round()), rv.isin((3 * x).round(), rv.tensor([0.0, 1.0])),
        rv.isin((3 * x).long(), rv.tensor([1, 2]), invert=True),
    ),
    "logic": lambda x: ((x > 0) & (x < 1), (x > 0) | (x > 1), (x > 0) ^ (x > 1), ~(x > 0)),
    "choose": lambda x: (
        rv.where(x > 0, x, 0.5), x.masked_fill(x > 0, -1.0), rv.maximum(x, x.mean()), rv.minimum(x, -x),
    ),
    "limits": lambda x: (
        x.clamp(-1, 1), x.clamp(min=0.1), rv.clamp(x, -rv.ones(6), rv.ones(6)), rv.clamp(x, rv.zeros(6)),
        rv.clamp(x, max=rv.zeros(6)),
    ),
    "casts": lambda x: (x.double(), (x > 0).float(), (2 * x).long(), (x.double() + 1).float()),
    "activations": lambda x: (
        F.relu(x), F.sigmoid(x), F.tanh(x), F.elu(x, 0.5), F.selu(x), F.celu(x, 2.0), F.leaky_relu(x, 0.2),
    ),
    "more activations": lambda x: (
        F.gelu(x), F.gelu(x, "tanh"), F.silu(x), F.mish(x), F.softplus(x, 2.0), F.softplus(x, 2.0, 0.5),
        F.softsign(x), F.logsigmoid(x),
    ),
    "piecewise": lambda x: (
        F.relu6(x), F.hardtanh(x), F.hardsigmoid(x), F.hardswish(x), F.softshrink(x), F.hardshrink(x),
        F.tanhshrink(x),
    ),
    "slopes": lambda x: (
        F.prelu(x, rv.tensor([0.2])), F.prelu(x, rv.arange(6) * 0.1), F.glu(x), nn.Heaviside(0.5)(x),
    ),
    "sums": lambda x: (
        x.sum(), x.mean(1), x.sum(0, keepdim=True), x.prod(1), x.logsumexp(1), x.amax(0), x.amin((0, 1)),
    ),
    "sums of integers": lambda x: (
        (3 * x).long().sum(1), (x > 0).sum(0, keepdim=True), (x > 0).any(1), (x > 0).all(), x.any(), x.all(1),
        (3 * x).long().prod(1), (3 * x).int().amax(1), (x > 0).amin(1), (3 * x).to(rv.int8).max(),
        (x > 0).cumsum(1), rv.count_nonzero(x, 1), *(3 * x).long().max(1), (3 * x).int().argmax(1),
        *(3 * x).long().sort(1), *(3 * x).to(rv.int16).topk(2, 1), (x > 0).long().argmin(),
    ),
    "whole numbers": lambda x: (
        (lambda i: (
            i // 4, i % 4, rv.fmod(i, 4), i**2, abs(i), -i, i.sign(), i.square(), i & 3, i | 3, i ^ 3, ~i,
            i.clamp(-1, 2), rv.where(i > 1, i, 0), i.masked_fill(i > 1, -1), i.to(rv.uint8) + 200,
            (i > 0) + (i < 9), (i > 0) * (i < 1),
        ))((9 * x).long())
    ),
    "places": lambda x: (
        rv.bucketize(x, rv.tensor([-0.5, 0.0, 0.5])), F.one_hot(x.argmax(1), 6),
        rv.searchsorted(rv.arange(18.0).reshape(3, 6)[0], 9 * x, right=True), x.take(x.argsort(1)),
        rv.bucketize(x / x, rv.tensor([0.0, 2.0])),
    ),
    "distances": lambda x: (
        rv.cdist(x, x[:1]), rv.cdist(x, x.flip(0), 1.0), F.pdist(x[:1].reshape(3, 2), 3.0), x.norm(0, 1),
        x.norm(3, 1),
    ),
    "windows": lambda x: (x.unfold(1, 3, 2), x.unsqueeze(1).unfold(2, 2, 1)),
    "extremes": lambda x: (*x.max(1), *x.min(0), x.argmax(1), x.argmin(), x.argmax(0, keepdim=True)),
    "variance": lambda x: (x.var(0), x.std(1), x.var(1, unbiased=False), x.std()),
    "norms": lambda x: (x.norm(), x.norm(1, 1), x.norm(float("inf"), 0), x.norm(-float("inf"), 1, True)),
    "softmax": lambda x: (x.softmax(-1), x.log_softmax(0)),
    "order": lambda x: (*x.sort(0), *x.topk(2, 1), *x.sort(1, descending=True), x.cumsum(0)),
    "products": lambda x: (
        x @ x.T, F.linear(x, rv.ones(2, 6), rv.ones(2)), F.linear(x.unsqueeze(0), rv.ones(2, 6), rv.ones(2)),
    ),
    "einsum": lambda x: rv.einsum("ij,kj->ik", x, x),
    "shapes": lambda x: (
        x.view(-1, 2, 3), x.flatten(), x.T, x.unsqueeze(1).expand(-1, 4, 6), x.repeat(2, 3), x.flip(1),
        x.clone(),
    ),
    "slices": lambda x: (x[:, 1], x[1:, ::2], x[-1], x[..., None, 2:4], x[: x.shape[0] // 2], x[:, -3:-1]),
    "picks": lambda x: (
        x[rv.tensor([0, -1])], x[:, [2, 0]], x.index_select(1, rv.tensor([1, 1])),
        rv.gather(x, 1, x.argmax(1, keepdim=True).expand(-1, 6)), rv.gather(x, 1, x.argmax(1, keepdim=True)),
        x[:, x.argsort(1)[0]], x[rv.arange(len(x)), x.argmax(1)], x[:, :, None][:, x.argmax(1)[:1], 0],
        x.argsort(1)[0, x.argmax(1)], x[:, x.argmax(1)[0]], x[0][x.argsort(1)],
        x.reshape(-1, 2, 3)[:, rv.tensor([[True, False, True], [False] * 3])],
        x.reshape(-1, 2, 3).transpose(0, 1)[x.argmax(1) % 2, :, x.argmin(1) % 3],
    ),
    "constants": lambda x: (
        x * rv.from_numpy(np.hanning(6).astype(np.float32)), x + rv.as_tensor(np.arange(6)),
        x * rv.repeat_interleave(rv.tensor([1.0, 2.0]), rv.tensor([2, 4])),
    ),
    "joins": lambda x: (
        rv.cat([x, x], 1), rv.stack([x, 2 * x]), *x.split(4, 1), *x.unbind(1), *x.chunk(3, 1),
    ),
    "masks": lambda x: (
        (x @ x.T) + nn.Transformer.generate_square_subsequent_mask(len(x)),
        (x @ x.T) * rv.tensor(np.tri(len(x), k=-1, dtype=np.float32)),
    ),
    "made inside": lambda x: (
        x + rv.arange(x.shape[0]).unsqueeze(1), rv.cat([x, rv.zeros(x.shape[0], 1)], 1),
        x * rv.full((x.shape[0], 1), 3.0),
    ),
    "triangles": lambda x: (
        rv.tril(x), rv.triu(x @ x.T, 1),
        (x @ x.T).masked_fill(rv.triu(rv.ones(x.shape[0], x.shape[0]), 1) == 1, -1.0),
        rv.triu(x @ x.T > 0), rv.tril(x @ x.T > 0, -1),
    ),
    "scatter": lambda x: (
        x.scatter(1, x.argmax(1, keepdim=True).expand(-1, 6), x),
        rv.scatter_add(x, 1, x.argmin(1, keepdim=True).expand(-1, 6), x),
    ),
    "pads": lambda x: (
        F.pad(x, (1, 2), value=3.0), F.pad(x, (0, 1, 1, 0)), F.pad(x, (-1, 0)),
        F.pad(x.unsqueeze(0), (2, 1), "reflect"), F.pad(x.unsqueeze(0), (2, 1), "replicate"),
    ),
    "in place": lambda x: (lambda y: y.mul_(2).add_(1).clamp_(0, 2))(x * 1.0),
    "attention": lambda x: (
        F.scaled_dot_product_attention(x, x, x), F.scaled_dot_product_attention(x, x, x, is_causal=True),
        F.scaled_dot_product_attention(x, x, x, attn_mask=(x @ x.T) > 0),
    ),
    "rms norm": lambda x: (F.rms_norm(x, (6,)), F.rms_norm(x, (6,), rv.ones(6))),
    "layer norm": lambda x: (
        F.layer_norm(x, (6,)), F.layer_norm(x, (6,), rv.ones(6), rv.ones(6)), F.group_norm(x, 2),
    ),
}  # fmt: skip
ON_IMAGES = {
    "convolutions": nn.Sequential(
        nn.Conv2d(4, 6, 3, 2, 1, groups=2), nn.Conv2d(6, 4, (3, 2), padding="same", dilation=2),
    ),
    "transposed": nn.ConvTranspose2d(4, 2, 3, 2, 1, output_padding=1),
    "signals": nn.Sequential(
        nn.Flatten(2), nn.Conv1d(4, 6, 3), nn.MaxPool1d(2), nn.AvgPool1d(3, 2, 1),
        nn.ConvTranspose1d(6, 2, 3), nn.AdaptiveMaxPool1d(1),
    ),
    "max pools": nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, 1, dilation=2)),
    "pools without windows that begin in the padding": lambda x: (
        F.max_pool2d(x, 3, 4, 1, ceil_mode=True), F.max_pool2d(x[:, :, :5], (2, 3), 2, 1, ceil_mode=True),
        F.max_pool2d(x[:, :, :5], 2, (2, 3), 1, (2, 1), ceil_mode=True),
        F.avg_pool2d(x[:, :, :5], 2, 2, 1, ceil_mode=True),
        F.avg_pool2d(x, (2, 3), None, 1, ceil_mode=True, count_include_pad=False),
        F.max_pool1d(x.flatten(2)[:, :, :35], 2, 2, 1, ceil_mode=True),
    ),
    "mean pools": nn.Sequential(nn.AvgPool2d(3, 2, 1, count_include_pad=False), nn.AvgPool2d(2, 1, 1)),
    "similarity": lambda x: F.cosine_similarity(x, x.flip(0)),
    "adaptive pools": lambda x: (
        F.adaptive_avg_pool1d(x.flatten(2), 5), F.adaptive_avg_pool2d(x, (4, 5)), F.adaptive_avg_pool2d(x, 1),
        F.adaptive_avg_pool2d(x, (2, 3)), F.adaptive_max_pool2d(x, 3), F.adaptive_avg_pool1d(x.flatten(2), 4),
    ),
    "norms": nn.Sequential(
        nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm(6),
        nn.BatchNorm2d(4, affine=False),
    ),
    "sizes": lambda x: (
        F.interpolate(x, scale_factor=2), F.interpolate(x, size=(4, 9), mode="bilinear"),
        F.interpolate(x, scale_factor=1.5, mode="bicubic"),
        F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=True),
        F.interpolate(x, scale_factor=1.4, mode="bilinear", align_corners=True),
        F.interpolate(x, scale_factor=(0.7, 2), mode="bicubic", align_corners=True),
        F.interpolate(x, size=8, mode="nearest-exact"),
    ),
    "one image": lambda x: F.max_pool2d(F.conv2d(x[0], rv.ones(2, 4, 3, 3)), 2),
    "heads": lambda x: (
        x.flatten(2).transpose(1, 2).reshape(x.shape[0], 6, 6, 2, 2).permute(0, 3, 1, 2, 4).flatten(3)
    ),
}  # fmt: skip
ATTENTION = nn.MultiheadAttention(6, 2)
ON_STEPS = {
    "lstm": nn.LSTM(6, 4, num_layers=2, bidirectional=True),
    "gru": nn.GRU(6, 4, bias=False),
    "rnn": nn.RNN(6, 4, nonlinearity="relu", bidirectional=True),
    "encoder": nn.TransformerEncoderLayer(6, 2, 8, activation="gelu", norm_first=True),
    "attention": lambda x: ATTENTION(x, x, x * 2),
    "weights": lambda x: ATTENTION(x, x, x, is_causal=True),
}
CASES = {
    **{f"rows: {name}": (f, ROWS, (ROWS[:1], drawn(8, 6))) for name, f in ELEMENTWISE.items()},
    **{f"images: {name}": (f, IMAGES, (IMAGES[:1], drawn(5, 4, 6, 6))) for name, f in ON_IMAGES.items()},
    **{
        f"steps: {name}": (f, drawn(3, 2, 6), (drawn(1, 2, 6), drawn(7, 2, 6)))
        for name, f in ON_STEPS.items()
    },
    "integers": (
        lambda ids: (
            ids + 1, 2 * ids - ids, rv.maximum(ids, 3), ids < 2.5, ids == 2, ids > ids.float() - 0.5,
        ),
        tokens(3, 2), (tokens(1, 2), tokens(5, 2)),
    ),
    "edges": (  # of a graph of 11 nodes
        lambda ids: (
            rv.zeros(11, 2).index_add(0, ids[:, 1], EDGES.index_select(0, ids[:, 0])),
            EDGES[ids[:, 1]],
        ),
        tokens(3, 2), (tokens(1, 2), tokens(5, 2)),
    ),
    "embedding": (nn.Embedding(11, 4), tokens(3, 2), (tokens(1, 2), tokens(5, 2))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_every_operation(name, tmp_path):
    model, x, others = CASES[name]
    if isinstance(model, nn.Module):
        model.eval()
    path = tmp_path / "m.onnx"
    rv.onnx.export(model, x, path, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    again = rv.onnx.load(path)
    try:
        computed = session(path)
    except ImportError:
        computed = None
    with rv.no_grad():
        for given in (x, *others):
            wanted = flat(model(rv.tensor(given)))
            for found in (flat(again(given)), *([computed(given)] if computed else [])):
                for y, z in zip(found, wanted, strict=True):
                    assert (y.dtype, y.shape) == (z.dtype, z.shape)
                    np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)


BY_NUMPY = ("EmbeddingBag", "MaxUnpool1d", "MaxUnpool2d")  # from the values of their indices


def is_written(layer):
    """Losses are part of training, but for those that are formulas; the others are named in docs/onnx.md."""
    name = type(layer).__name__
    if name in (
        "CosineEmbeddingLoss",
        "GaussianNLLLoss",
        "MarginRankingLoss",
        "PoissonNLLLoss",
        "TripletMarginLoss",
    ):
        return True
    if name.endswith("Loss") or name in BY_NUMPY:
        return False
    uneven = name in ("AdaptiveMaxPool1d", "AdaptiveMaxPool2d")
    return not uneven and (name[:9] != "BatchNorm" or layer.track_running_stats)


@pytest.mark.parametrize("sample", layer_samples(), ids=str)
def test_every_layer(sample, tmp_path):
    """In onnxruntime, in evaluation."""
    module, *inputs = sample.tensors(rv.float32, records=False).args
    module.eval()
    inputs = [x.numpy() for x in inputs]
    version = 19 if "Circular" in sample.op.name else 18
    settings = {
        "input_names": [f"x{i}" for i in range(len(inputs))],
        "dynamic_axes": {"x0": [0]} if len(inputs) == 1 else {},
        "opset_version": version,
    }
    if not is_written(module):
        with pytest.raises(ValueError, match=r"no counterpart|without a counterpart|reads a value"):
            rv.onnx.export(module, tuple(inputs), **settings)
        return
    rv.onnx.export(module, tuple(inputs), tmp_path / "m.onnx", **settings)
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    wanted = flat(module(*map(rv.tensor, inputs)))
    for y, z in zip(session(tmp_path / "m.onnx")(*inputs), wanted, strict=True):
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)


def test_every_writer_has_a_case():
    kinds = set()
    for model, x, _ in CASES.values():
        kinds |= {call.kind for call in run(model, Modules(model, 20), (x,), [x]).trace.calls}
    elsewhere = {"Diagonal", "CumProd", "cumprod"}  # refused, and in a later version
    assert WRITERS.keys() - kinds == elsewhere


OLDER = (
    "powers", "piecewise", "sums", "extremes", "variance", "norms", "shapes", "slices", "joins", "layer norm",
)  # fmt: skip


@pytest.mark.parametrize("name", [*(f"rows: {name}" for name in OLDER), "images: sizes", "steps: encoder"])
def test_an_old_version(name, tmp_path):
    """Version 11 has attributes for some inputs, and lacks some operators."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    model, x, others = CASES[name]
    if isinstance(model, nn.Module):
        model.eval()
    path = tmp_path / "m.onnx"
    rv.onnx.export(model, x, path, input_names=["x"], dynamic_axes={"x": {0: "n"}}, opset_version=11)
    for given in (x, *others):
        for y, z in zip(session(path)(given), flat(model(rv.tensor(given))), strict=True):
            np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-5)
