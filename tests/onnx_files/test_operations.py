"""Functions whose graph depends on sizes, at other sizes in onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn

pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_networks import drawn, flat, session, tokens

ROWS, IMAGES = drawn(3, 6), drawn(3, 4, 6, 6)
EDGES = rv.tensor(drawn(11, 2))
OF_ROWS = {
    "kinds of numbers": lambda x: (rv.isnan(x / 0), rv.isinf(x / x.round()), rv.isfinite(x / x.round())),
    "rounding": lambda x: (
        rv.floor(3 * x), rv.ceil(3 * x), (3 * x).round(), rv.div(x, 0.4 * rv.ones(6), rounding_mode="floor"),
        rv.div(x, 0.4, rounding_mode="trunc"), rv.div((9 * x).long(), 2, rounding_mode="trunc"),
        rv.div((9 * x).long(), -2, rounding_mode="floor"),
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
    "windows": lambda x: (x.unfold(1, 3, 2), x.unsqueeze(1).unfold(2, 2, 1)),
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
    "in place": lambda x: (lambda y: y.mul_(2).add_(1).clamp_(0, 2))(x * 1.0),
}  # fmt: skip
OF_IMAGES = {
    "pools without windows that begin in the padding": lambda x: (
        F.max_pool2d(x, 3, 4, 1, ceil_mode=True), F.max_pool2d(x[:, :, :5], (2, 3), 2, 1, ceil_mode=True),
        F.max_pool2d(x[:, :, :5], 2, (2, 3), 1, (2, 1), ceil_mode=True),
        F.avg_pool2d(x[:, :, :5], 2, 2, 1, ceil_mode=True),
        F.avg_pool2d(x, (2, 3), None, 1, ceil_mode=True, count_include_pad=False),
        F.max_pool1d(x.flatten(2)[:, :, :35], 2, 2, 1, ceil_mode=True),
    ),
    "adaptive pools": lambda x: (
        F.adaptive_avg_pool1d(x.flatten(2), 5), F.adaptive_avg_pool2d(x, (4, 5)), F.adaptive_avg_pool2d(x, 1),
        F.adaptive_avg_pool2d(x, (2, 3)), F.adaptive_max_pool2d(x, 3), F.adaptive_avg_pool1d(x.flatten(2), 4),
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
OF_STEPS = {
    "lstm": nn.LSTM(6, 4, num_layers=2, bidirectional=True),
    "gru": nn.GRU(6, 4, bias=False),
    "rnn": nn.RNN(6, 4, nonlinearity="relu", bidirectional=True),
    "encoder": nn.TransformerEncoderLayer(6, 2, 8, activation="gelu", norm_first=True),
    "attention": lambda x: ATTENTION(x, x, x * 2),
    "weights": lambda x: ATTENTION(x, x, x, is_causal=True),
}
CASES = {
    **{f"rows: {name}": (f, ROWS, (ROWS[:1], drawn(8, 6))) for name, f in OF_ROWS.items()},
    **{f"images: {name}": (f, IMAGES, (IMAGES[:1], drawn(5, 4, 6, 6))) for name, f in OF_IMAGES.items()},
    **{
        f"steps: {name}": (f, drawn(3, 2, 6), (drawn(1, 2, 6), drawn(7, 2, 6)))
        for name, f in OF_STEPS.items()
    },
    "edges": (  # of a graph of 11 nodes
        lambda ids: (
            rv.zeros(11, 2).index_add(0, ids[:, 1], EDGES.index_select(0, ids[:, 0])),
            EDGES[ids[:, 1]],
        ),
        tokens(3, 2), (tokens(1, 2), tokens(5, 2)),
    ),
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
