"""Padding layers: PyTorch's signatures and text, and the op that they call."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

LAYERS = [
    (nn.ConstantPad1d(2, 7.5), "constant", (2, 2), 7.5),
    (nn.ConstantPad2d((1, 2, 0, 1), -1.0), "constant", (1, 2, 0, 1), -1.0),
    (nn.ZeroPad1d((0, 3)), "constant", (0, 3), 0.0),
    (nn.ZeroPad2d(1), "constant", (1, 1, 1, 1), 0.0),
    (nn.ReflectionPad1d(2), "reflect", (2, 2), None),
    (nn.ReflectionPad2d((1, 0, 2, 1)), "reflect", (1, 0, 2, 1), None),
    (nn.ReplicationPad1d((1, 0)), "replicate", (1, 0), None),
    (nn.ReplicationPad2d(2), "replicate", (2, 2, 2, 2), None),
    (nn.CircularPad1d(1), "circular", (1, 1), None),
    (nn.CircularPad2d((1, 2, 3, 0)), "circular", (1, 2, 3, 0), None),
]


@pytest.mark.parametrize(("layer", "mode", "sizes", "value"), LAYERS, ids=lambda v: type(v).__name__)
def test_layers_are_the_op(rng, layer, mode, sizes, value, tmp_path, capsys):
    x = rng.standard_normal((2, 3, 5, 6)[: 2 + layer.axes]).astype(np.float32)
    expected = rv.pad(x, sizes, mode, value).numpy()
    np.testing.assert_array_equal(layer(x).numpy(), expected)
    rv.save(nn.Sequential(layer), tmp_path / "layer.safetensors")
    back = rv.load(tmp_path / "layer.safetensors")[0]
    assert repr(back) == repr(layer)
    np.testing.assert_array_equal(back(x).numpy(), expected)
    (row,) = rv.summary(layer, x.shape[1:]).layers
    assert row.output_shape == ("N", *expected.shape[1:])


def test_text():
    assert [repr(layer) for layer, *_ in LAYERS[:4]] == [
        "ConstantPad1d(padding=(2, 2), value=7.5)",
        "ConstantPad2d(padding=(1, 2, 0, 1), value=-1.0)",
        "ZeroPad1d((0, 3))",
        "ZeroPad2d((1, 1, 1, 1))",
    ]


@pytest.mark.parametrize("padding", [1.5, (1, 2), "same", None, (1, 2, 3, True)])
def test_wrong_settings(padding):
    with pytest.raises(ValueError, match=r"\[pad\] got padding .*; expected a whole number or 4 of them"):
        nn.ReflectionPad2d(padding)
