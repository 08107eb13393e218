"""Pooling layers: PyTorch's signatures and text, and the ops behind them."""

from __future__ import annotations

import numpy as np
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
