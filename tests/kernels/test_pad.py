"""The pad kernels on arrays: values as they are, crops, wrong input; sizes: tests/ops."""

import numpy as np
from ranvier import kernels

MODES = ("constant", "reflect", "replicate", "circular")


def test_nothing_but_x_s_values(isa):
    """Signs of zero, NaN and infinities are moved as they are."""
    x = np.array([[[-0.0, np.nan, np.inf, -0.0]]], np.float32)
    for mode in MODES:
        y = kernels.pad(x, (2, 2), mode)
        np.testing.assert_array_equal(y[..., 2:6].view("int32"), x.view("int32"))
    np.testing.assert_array_equal(
        kernels.pad(x, (0, 1), "replicate")[..., -1:].view("int32"), x[..., -1:].view("int32")
    )


def test_all_is_cropped_or_frame():
    x = np.ones((2, 3), np.float32)
    assert kernels.pad(x, (-1, -2)).shape == (2, 0)
    np.testing.assert_array_equal(kernels.pad(x, (-4, 3), value=2.0), np.full((2, 2), 2, np.float32))
    np.testing.assert_array_equal(kernels.pad(x[:, :0], (1, 1), value=2.0), np.full((2, 2), 2, np.float32))
    np.testing.assert_array_equal(kernels.pad(x[0, 0, ...], (), value=2.0), x[0, 0])
