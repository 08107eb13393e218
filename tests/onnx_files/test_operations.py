"""Functions of several operations whose graph depends on sizes, at other sizes in onnxruntime.

Single operations: tests/properties/test_onnx.py.
"""

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
    "whole numbers": lambda x: (
        (9 * x).long().to(rv.uint8) + 200, (x > 0) + (x < 9), (x > 0) * (x < 1), rv.fmod((9 * x).long(), 4),
    ),
    "places": lambda x: (
        rv.bucketize(x, rv.tensor([-0.5, 0.0, 0.5])), F.one_hot(x.argmax(1), 6), x.take(x.argsort(1)),
        rv.searchsorted(rv.arange(18.0).reshape(3, 6)[0], 9 * x, right=True),
        rv.bucketize(x / x, rv.tensor([0.0, 2.0])),
    ),
    "picks": lambda x: (
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
        (x @ x.T) * rv.ones(len(x), len(x)).tril(-1),
    ),
    "quotients and steps": lambda x: (
        x[: (x.shape[0] + 1) // 2], x[x.shape[0] // 3 :], x[rv.arange(x.shape[0] - 1, -1, -1)],
        x + rv.arange(2, 2 * x.shape[0] + 2, 2).unsqueeze(1), x.flatten()[: 2 * x.shape[0] - 1],
    ),
    "made inside": lambda x: (
        x + rv.arange(x.shape[0]).unsqueeze(1), rv.cat([x, rv.zeros(x.shape[0], 1)], 1),
        x * rv.full((x.shape[0], 1), 3.0), x[: x.shape[0] // 2],
    ),
    "triangles": lambda x: (
        rv.triu(x @ x.T, 1), rv.triu(x @ x.T > 0), rv.tril(x @ x.T > 0, -1),
        (x @ x.T).masked_fill(rv.triu(rv.ones(x.shape[0], x.shape[0]), 1) == 1, -1.0),
    ),
    "in place": lambda x: (lambda y: y.mul_(2).add_(1).clamp_(0, 2))(x * 1.0),
}  # fmt: skip
OF_IMAGES = {
    "pools with uneven ends": lambda x: (
        F.max_pool2d(x[:, :, :5], 2, (2, 3), 1, (2, 1), ceil_mode=True),
        F.avg_pool2d(x, (2, 3), None, 1, ceil_mode=True, count_include_pad=False),
    ),
    "one image": lambda x: F.max_pool2d(F.conv2d(x[0], rv.ones(2, 4, 3, 3)), 2),
    "heads": lambda x: (
        x.flatten(2).transpose(1, 2).reshape(x.shape[0], 6, 6, 2, 2).permute(0, 3, 1, 2, 4).flatten(3)
    ),
}  # fmt: skip
CASES = {
    **{f"rows: {name}": (f, ROWS, (ROWS[:1], drawn(8, 6))) for name, f in OF_ROWS.items()},
    **{f"images: {name}": (f, IMAGES, (IMAGES[:1], drawn(5, 4, 6, 6))) for name, f in OF_IMAGES.items()},
    "edges": (  # a graph of 11 nodes
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
