"""The activation kernels on raw arrays: every width, memory order, out=, errors."""

import numpy as np
import pytest
from ranvier import _core
from reference import activation as reference
from support.grouped import grouped
from support.refused import refused
from support.tolerance import tolerance

ACTIVATIONS = [name for name in reference.FORMULAS if hasattr(_core, f"{name}_backward")]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("name", ACTIVATIONS)
def test_every_width(name, dtype, isa, rng):
    """1 to 2 vectors and a bit; the element after the last is not touched, and an element's bits do not
    depend on its place."""
    x = rng.uniform(-4, 4, 40).astype(dtype)
    dy = rng.uniform(-1, 1, 40).astype(dtype)
    forward, backward = getattr(_core, name), getattr(_core, f"{name}_backward")
    whole, whole_back = forward(x), backward(dy, x)
    expected = getattr(reference, name)(x.astype(np.float64))
    np.testing.assert_allclose(whole, expected, rtol=0, atol=tolerance(dtype, 1, 4))
    for n in range(1, 39):
        out = np.full(n + 1, 7, dtype)
        assert forward(x[:n], out=out[:n]).base is out
        np.testing.assert_array_equal(out, [*whole[:n], 7])
        assert forward(x[1 : n + 1]).tobytes() == whole[1 : n + 1].tobytes()
        out = np.full(n + 1, 7, dtype)
        backward(dy[:n], x[:n], out=out[:n])
        np.testing.assert_array_equal(out, [*whole_back[:n], 7])


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_dense_layouts_are_kept(axes):
    x = np.ones((2, 3, 4, 5), "float32").transpose(axes)
    assert _core.relu(x).strides == x.strides
    assert _core.relu_backward(np.ones_like(x, order="C"), x).strides == x.strides


def test_in_place():
    x = np.linspace(-1, 1, 1001, dtype="float32")
    want = _core.tanh(x)
    assert _core.tanh(x, out=x) is x
    np.testing.assert_array_equal(x, want)


def test_one_element_and_none():
    assert _core.relu(np.array(-3.0, "float32")).shape == ()
    assert _core.relu(np.array(3.0, "float32")) == 3
    assert _core.relu(np.ones((1, 1, 1), "float64")).shape == (1, 1, 1)
    assert _core.sigmoid(np.zeros((3, 0, 2), "float32")).shape == (3, 0, 2)
    assert _core.sigmoid_backward(np.zeros((0,), "float32"), np.zeros((0,), "float32")).shape == (0,)


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
