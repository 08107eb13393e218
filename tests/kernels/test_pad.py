"""The pad kernels on arrays: values as they are, crops, wrong input; sizes: tests/ops."""

import numpy as np
import pytest
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


@pytest.mark.parametrize(
    ("shape", "sizes", "mode", "error", "text"),
    [
        ((3, 4), 1, "constant", TypeError, "got pad 1; expected a tuple of whole numbers"),
        ((3, 4), (1,), "constant", ValueError, "got pad with 1 numbers for 2 dimensions; expected a pair"),
        ((4,), (1, 1, 1, 1), "constant", ValueError, "got pad with 4 numbers for 1 dimensions; expected a"),
        ((4,), (1, 1.5), "constant", TypeError, "got pad 1.5; expected a whole number"),
        ((4,), (1, 2**40), "constant", ValueError, r"expected numbers below 2\*\*31"),
        ((4,), (-3, -2), "constant", ValueError, "of which pad would leave -1 along dimension 0"),
        ((1, 4), (1, 1), "mirror", ValueError, "got mode 'mirror'; expected 'constant', 'reflect', 'repl"),
        (
            (4,),
            (1, 1),
            "reflect",
            ValueError,
            "got mode 'reflect' with 2 numbers for 1 dimensions; expected 2",
        ),
        ((1, 2, 4), (4, 1), "reflect", ValueError, "a pad of 4 around an axis of 4; expected at most 3"),
        ((1, 2, 4), (1, 5), "circular", ValueError, "a pad of 5 around an axis of 4; expected at most 4"),
        ((1, 2, 0), (1, 1), "replicate", ValueError, "got an axis of 0, padded to 2; expected sizes from 1"),
        ((1, 2, 4), (-2, -2), "replicate", ValueError, "got an axis of 4, padded to 0; expected sizes from"),
    ],
)
def test_wrong_input(shape, sizes, mode, error, text):
    with pytest.raises(error, match=r"\[pad\] .*" + text):
        kernels.pad(np.zeros(shape, np.float32), sizes, mode)


def test_wrong_gradient():
    dy = np.zeros((1, 2, 4), np.float32)
    with pytest.raises(ValueError, match=r"\[pad_backward\] got an axis of 0, padded to 4; expected sizes"):
        kernels.pad_backward(dy, (2, 2), "reflect")
    with pytest.raises(ValueError, match=r"\[pad_backward\] .*pad would leave -1 along dimension 2"):
        kernels.pad_backward(dy, (2, 3))
    with pytest.raises(TypeError, match=r"\[pad\] got x of dtype int64; expected float32 or float64"):
        kernels.pad(np.zeros((2, 2), int), (1, 1))
