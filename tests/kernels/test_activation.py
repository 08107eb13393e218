"""The activation kernels on raw arrays: memory orders and errors; sizes: tests/ops."""

import numpy as np
import pytest
from ranvier import _core
from support.refused import refused


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_dense_layouts_are_kept(axes):
    x = np.ones((2, 3, 4, 5), "float32").transpose(axes)
    assert _core.relu(x).strides == x.strides
    assert _core.relu_backward(np.ones_like(x, order="C"), x).strides == x.strides


def test_errors():
    x = np.ones((2, 3), "float32")
    refused(TypeError, "[silu] got x of type list; expected a NumPy array", _core.silu, [1.0])
    with pytest.raises(
        ValueError, match=r"\[silu\] got dy of shape \(3,\) and x of shape \(2, 3\); expected equal shapes"
    ):
        _core.silu_backward(np.ones(3, "float32"), x)
    with pytest.raises(TypeError, match=r"\[tanh\] got dy of dtype float64 and y of dtype float32"):
        _core.tanh_backward(np.ones((2, 3)), x)
    with pytest.raises(ValueError, match=r"\[relu\] got out of shape \(3, 2\); expected \(2, 3\)"):
        _core.relu(x, out=np.ones((3, 2), "float32"))
