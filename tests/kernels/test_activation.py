"""The activation kernels on raw arrays: memory orders and errors; sizes: tests/ops."""

import numpy as np
import pytest
from ranvier import _core


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_dense_layouts_are_kept(axes):
    x = np.ones((2, 3, 4, 5), "float32").transpose(axes)
    assert _core.relu(x).strides == x.strides
    assert _core.relu_backward(np.ones_like(x, order="C"), x).strides == x.strides
