"""Pooling layers: PyTorch's signatures and text, and the ops that they call."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn


def test_layers_are_the_ops(rng):
    x = rng.standard_normal((2, 3, 9, 8)).astype(np.float32)
    for layer, y in (
        (nn.MaxPool2d(3, 2, 1), rv.max_pool2d(x, 3, 2, 1)),
        (nn.MaxPool2d((2, 1), dilation=2), rv.max_pool2d(x, (2, 1), dilation=2)),
        (nn.AvgPool2d(2, ceil_mode=True), rv.avg_pool2d(x, 2, ceil_mode=True)),
        (nn.AdaptiveAvgPool2d((None, 2)), rv.adaptive_avg_pool2d(x, (None, 2))),
    ):
        np.testing.assert_array_equal(layer(x).numpy(), y.numpy())


def test_text():
    layers = (nn.MaxPool2d(2), nn.AvgPool2d(3, 2), nn.AdaptiveAvgPool2d((1, None)))
    assert [repr(layer) for layer in layers] == [
        "MaxPool2d(kernel_size=2, stride=2, padding=0, dilation=1, ceil_mode=False)",
        "AvgPool2d(kernel_size=3, stride=2, padding=0)",
        "AdaptiveAvgPool2d(output_size=(1, None))",
    ]


def test_signals_and_indices(rng):
    x = rng.standard_normal((2, 3, 9)).astype(np.float32)
    for layer, y in (
        (nn.MaxPool1d(3, 2, 1), rv.max_pool1d(x, 3, 2, 1)),
        (nn.AvgPool1d(2, ceil_mode=True), rv.avg_pool1d(x, 2, ceil_mode=True)),
        (nn.AdaptiveAvgPool1d(4), rv.adaptive_avg_pool1d(x, 4)),
        (nn.AdaptiveMaxPool1d(4), rv.adaptive_max_pool1d(x, 4)),
        (nn.AdaptiveMaxPool2d((2, None)), rv.adaptive_max_pool2d(x, (2, None))),
    ):
        np.testing.assert_array_equal(layer(x).numpy(), y.numpy())
    y, indices = nn.MaxPool1d(3, return_indices=True)(x)
    np.testing.assert_array_equal(np.take_along_axis(x, indices.numpy(), -1), y.numpy())


@pytest.mark.parametrize(
    "layer",
    [
        nn.MaxPool1d(2),
        nn.MaxPool2d(3, 2, 1, return_indices=False, ceil_mode=True),
        nn.AvgPool1d(2, padding=1, count_include_pad=False),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool1d(3),
        nn.AdaptiveMaxPool1d(3),
        nn.AdaptiveMaxPool2d((2, None)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_saved_and_summarised(rng, layer, tmp_path, capsys):
    x = rng.standard_normal((1, 4, 8, 8) if type(layer).__name__.endswith("2d") else (1, 4, 8))
    rv.save(nn.Sequential(layer), tmp_path / "layer.safetensors")
    back = rv.load(tmp_path / "layer.safetensors")[0]
    assert repr(back) == repr(layer)
    np.testing.assert_array_equal(back(x).numpy(), layer(x).numpy())
    (row,) = rv.summary(layer, x.shape[1:]).layers
    assert row.output_shape == ("N", *layer(x).shape[1:])
