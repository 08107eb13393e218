"""Upsample: PyTorch's signatures and text, and the op that it calls."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

LAYERS = [
    (nn.Upsample(scale_factor=2), {"scale_factor": 2}),
    (nn.Upsample((7, 9), mode="bilinear"), {"size": (7, 9), "mode": "bilinear"}),
    (
        nn.Upsample(scale_factor=(1.5, 2), mode="bicubic", align_corners=True),
        {"scale_factor": (1.5, 2), "mode": "bicubic", "align_corners": True},
    ),
    (nn.UpsamplingNearest2d(size=8), {"size": 8}),
    (nn.UpsamplingBilinear2d(scale_factor=3), {"scale_factor": 3, "mode": "bilinear", "align_corners": True}),
]


@pytest.mark.parametrize(("layer", "settings"), LAYERS)
def test_layers_are_the_op(rng, layer, settings, tmp_path, capsys):
    x = rng.standard_normal((2, 3, 5, 6)).astype(np.float32)
    expected = rv.interpolate(x, **settings).numpy()
    np.testing.assert_array_equal(layer(x).numpy(), expected)
    rv.save(nn.Sequential(layer), tmp_path / "layer.safetensors")
    back = rv.load(tmp_path / "layer.safetensors")[0]
    assert repr(back) == repr(layer)
    np.testing.assert_array_equal(back(x).numpy(), expected)
    (row,) = rv.summary(layer, x.shape[1:]).layers
    assert row.output_shape == ("N", *expected.shape[1:])


def test_text():
    assert [repr(layer) for layer, _ in LAYERS] == [
        "Upsample(scale_factor=2.0, mode='nearest')",
        "Upsample(size=(7, 9), mode='bilinear')",
        "Upsample(scale_factor=(1.5, 2.0), mode='bicubic')",
        "UpsamplingNearest2d(size=8, mode='nearest')",
        "UpsamplingBilinear2d(scale_factor=3.0, mode='bilinear')",
    ]
