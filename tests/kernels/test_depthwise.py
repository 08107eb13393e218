"""Depthwise convolutions: the edges of their tiles, blocks of channels, passes and parts."""

import numpy as np
import pytest
from ranvier import kernels
from support.convolution import check, random_arrays
from support.grouped import grouped


def depthwise_arrays(rng, n, c, h, w, r, s, dtype="float32"):
    return random_arrays(rng, dtype, n, c, h, w, c, r, s, groups=c)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("c", [2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 49])
def test_channels(c, dtype, isa, rng):
    """Vectors of each level, one channel more and less; an overlapping last block."""
    check(*depthwise_arrays(rng, 2, c, 5, 4, 3, 3, dtype), padding=1, groups=c)


@pytest.mark.parametrize("stride", [1, 2, 3])
@grouped("taps", [1, 2, 3, 4, 5, 6, 7])
def test_widths(taps, stride, isa, rng):
    """Tiles inside the image, at its edges, ragged ones, and images narrower than the kernel."""
    for width in (1, 2, 5, 7, 8, 9, 15, 16, 17, 18, 19, 26, 35, 53):
        arrays = depthwise_arrays(rng, 1, 17, 4, width, 2, taps)
        check(*arrays, stride=stride, padding=(0, taps // 2), groups=17)
        if width >= taps:
            check(*arrays, stride=(1, stride), groups=17)


@pytest.mark.parametrize("taps", [3, 5])
def test_float64(taps, isa, rng):
    for stride in (1, 2):
        arrays = depthwise_arrays(rng, 1, 9, 6, 37, 3, taps, "float64")
        check(*arrays, stride=stride, padding=1, groups=9)


@pytest.mark.parametrize("geometry", [{"dilation": 2}, {"dilation": (1, 3), "stride": 2}, {"padding": 7}])
def test_any_taps(geometry, isa, rng):
    check(*depthwise_arrays(rng, 2, 18, 9, 31, 3, 3), groups=18, **geometry)


def test_wide_rows_in_chunks(isa, rng):
    check(*depthwise_arrays(rng, 1, 70, 4, 400, 3, 3), padding=1, groups=70)


@pytest.mark.parametrize("stride", [1, 2])
def test_large_images(stride, isa, rng):
    """Large enough that the next row is fetched ahead, in parts for the gradient to the weight."""
    check(*depthwise_arrays(rng, 2, 33, 130, 130, 3, 3), stride=stride, padding=1, groups=33)


@pytest.mark.parametrize("taps", [3, 5])
def test_large_results(taps, isa, rng):
    """Past the caches where vectors are cache lines, with the bits of smaller ones."""
    x, w, bias = depthwise_arrays(rng, 1, 32, 362, 363, taps, taps)
    settings = {"padding": taps // 2, "groups": 32}
    y = kernels.conv2d(x, w, bias, activation="relu", **settings)
    assert y.nbytes >= 16 << 20
    first = kernels.conv2d(x[:, :, :9], w, bias, activation="relu", **settings)
    np.testing.assert_array_equal(y[:, :, :7], first[:, :, :7])
    dy = y[:, :, :181, :182]
    dx, _, _ = kernels.conv2d_backward(dy, x, w, stride=2, **settings)
    first, _, _ = kernels.conv2d_backward(dy[:, :, :5], x[:, :, :9], w, stride=2, **settings)
    np.testing.assert_array_equal(dx[:, :, :7], first[:, :, :7])


@pytest.mark.parametrize("padding", range(6))
@pytest.mark.parametrize("taps", [3, 5])
def test_both_phases(taps, padding, isa, rng):
    """Gradients to the input of stride 2, whose tiles begin at an even or at an odd column."""
    for width in (1, 2, 7, 8, 9, 16, 17, 30, 33):
        for c in (3, 8, 16, 17):
            if width + 2 * padding >= taps:
                arrays = depthwise_arrays(rng, 2, c, 5, width, 2, taps)
                check(*arrays, stride=(1, 2), padding=(0, padding), groups=c)


def test_padding_is_skipped_not_multiplied(isa):
    """Infinite weights that meet padding, and pixels that a tap does not meet, leave no NaN."""
    w = np.zeros((20, 1, 3, 3), np.float32)
    w[:, :, 0, 0] = np.inf
    y = kernels.conv2d(np.ones((1, 20, 2, 2), np.float32), w, padding=1, groups=20)
    np.testing.assert_array_equal(y[0, 19], [[0, 0], [0, np.inf]])
    x = np.ones((1, 20, 1, 3), np.float32)
    x[..., 2] = np.inf
    _, dw, _ = kernels.conv2d_backward(np.ones_like(x), x, w, padding=1, groups=20)
    np.testing.assert_array_equal(dw[19, 0], [[0, 0, 0], [2, np.inf, np.inf], [0, 0, 0]])
