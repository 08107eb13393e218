"""conv1d and the transposed convolutions on arrays: channels around the vector width, layouts."""

import numpy as np
import pytest
from ranvier import kernels
from reference import conv2d as reference
from reference import conv2d as reference_1d
from support.grouped import grouped
from support.layouts import in_layout
from support.tolerance import tolerance

GEOMETRY = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "groups": 1, "dilation": (1, 2)}


def check(found, expected, dtype, terms):
    for got, want in zip(found, expected, strict=True):
        assert got.dtype == dtype
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, terms, 1.0))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("channels", [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 65])
def test_every_width(rng, isa, dtype, channels):
    """Input and output channels one less, equal to and one more than a vector of every level."""
    for c, k in ((channels, 5), (5, channels)):
        x = rng.uniform(-1, 1, (2, c, 4, 5)).astype(dtype)
        w = rng.uniform(-1, 1, (c, k, 3, 2)).astype(dtype)
        bias = rng.uniform(-1, 1, 2 * k).astype(dtype)[::2]
        exact = [a.astype(float) for a in (x, w, bias)]
        y = kernels.conv_transpose2d(x, w, bias, **GEOMETRY)
        dy = rng.uniform(-1, 1, y.shape).astype(dtype)
        check([y], [reference.conv_transpose2d(*exact, **GEOMETRY)], dtype, 6 * c + 1)
        found = kernels.conv_transpose2d_backward(dy, x, w, **GEOMETRY)
        expected = reference.conv_transpose2d_backward(dy.astype(float), *exact[:2], **GEOMETRY)
        check(found, expected, dtype, max(6 * k, dy[:, 0].size))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("channels", [1, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 65])
def test_every_width_of_signals(rng, isa, dtype, channels):
    x = rng.uniform(-1, 1, (2, channels, 9)).astype(dtype)
    w = rng.uniform(-1, 1, (5, channels, 3)).astype(dtype)
    exact = [a.astype(float) for a in (x, w)]
    y = kernels.conv1d(x, w, None, 2, 1)
    dy = rng.uniform(-1, 1, y.shape).astype(dtype)
    check([y], [reference_1d.conv1d(*exact, None, 2, 1)], dtype, 3 * channels)
    found = kernels.conv1d_backward(dy, x, w, 2, 1)
    check(found, reference_1d.conv1d_backward(dy.astype(float), *exact, 2, 1), dtype, 15 + channels)


def test_layouts(rng):
    """Any memory order gives the same bits, since other ones are copied to channels-last first."""
    x, w = rng.uniform(-1, 1, (2, 7, 4, 5)), rng.uniform(-1, 1, (7, 6, 3, 3))
    expected = kernels.conv_transpose2d(x, w, stride=2)
    for layout in ("strided", "transposed", "reversed", "channels_last"):
        found = kernels.conv_transpose2d(in_layout(x, layout), in_layout(w, layout), stride=2)
        np.testing.assert_array_equal(found, expected)


def test_a_bias_of_nothing_else():
    """Pixels that no tap reaches are the bias; without input channels, all are."""
    y = kernels.conv_transpose2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 1, 1)), np.array([5.0]), 2)
    np.testing.assert_array_equal(y[0, 0], [[6, 5, 6], [5, 5, 5], [6, 5, 6]])
