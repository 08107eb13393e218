"""The interpolate kernels on arrays: blocks, large results, wrong input; sizes: tests/ops."""

import numpy as np
import pytest
from ranvier import kernels
from support.layouts import in_layout
from support.tolerance import tolerance


def test_nearest_copies(isa):
    """Signs of zero and NaN are moved as they are."""
    x = np.array([[[-0.0, np.nan]]], np.float32)
    y = kernels.interpolate(x, 4)
    np.testing.assert_array_equal(y.view("int32"), np.repeat(x, 2, -1).view("int32"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [2, 40, 3000])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_rows_in_blocks(rng, isa, dtype, channels, mode):
    """A row of many channels is made a few pixels at a time: the values are those of fewer channels."""
    x = in_layout(rng.standard_normal((1, channels, 3, 31)).astype(dtype), "channels_last")
    y = kernels.interpolate(x, (5, 53), None, mode)
    dx = kernels.interpolate_backward(y, x.shape, None, mode)
    for c in (0, channels - 1):
        one = kernels.interpolate(x[:, c : c + 1], (5, 53), None, mode)
        limit = tolerance(dtype, 16, 16.0)
        np.testing.assert_allclose(y[:, c : c + 1], one, rtol=0, atol=limit)
        back = kernels.interpolate_backward(one, one.shape[:2] + x.shape[2:], None, mode)
        np.testing.assert_allclose(dx[:, c : c + 1], back, rtol=0, atol=limit)


@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize("corners", [False, True])
def test_large_results(rng, isa, threads, channels, corners):
    """Results of 16 MB and more are stored past the caches: the values are those of the images one by one."""
    x = in_layout(rng.standard_normal((9, channels, 90, 91)).astype(np.float32), "channels_last")
    size = (179, 181)  # with aligned corners every second row and column is a copy
    for count in (1, 2):
        threads(count)
        y = kernels.interpolate(x, size, None, "bilinear", corners)
        assert y.nbytes >= 16 << 20
        for image in range(0, 9, 4):
            one = kernels.interpolate(x[image : image + 1], size, None, "bilinear", corners)
            np.testing.assert_array_equal(y[image], one[0])
