"""Activations: values and slopes at infinity, NaN and corners, arguments, in place; softmax without a
dimension, which PyTorch judges. Formulas: tests/properties. A test with the fixture `isa` runs at each ISA
level (instruction set).
"""

import inspect

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from ranvier.ops.activation import piecewise, smooth  # noqa: F401  # fill the table
from ranvier.ops.activation.table import TABLE
from support.refused import refused


def test_heaviside_at_zero_of_a_tensor():
    """PyTorch has no gradient of it; here the one of values arrives where x = 0."""
    x = rv.tensor([[-1.0, 0.0, float("nan")], [2.0, -0.0, 0.0]], requires_grad=True)
    values = rv.tensor([3.0, 4.0, 5.0], requires_grad=True)
    y = x.heaviside(values)
    np.testing.assert_array_equal(y.detach(), [[0, 4, 0], [1, 4, 5]])
    y.sum().backward()
    np.testing.assert_array_equal(x.grad, np.zeros((2, 3)))
    np.testing.assert_array_equal(values.grad, [0, 2, 1])


def test_heaviside_of_integers_and_bools():
    found = rv.heaviside(rv.tensor([-1, 0, 7]), rv.tensor([5]))
    assert (found.tolist(), found.dtype) == ([0, 5, 1], np.dtype(np.int64))
    assert rv.heaviside(rv.tensor([True, False]), rv.tensor([True])).tolist() == [True, True]
    assert rv.heaviside(rv.tensor([0, 3]), 0.5).tolist() == [0.5, 1.0]  # as integers and a float add


@pytest.mark.parametrize("name", [*TABLE, "gelu of tanh"])
def test_nan_and_infinity(name, isa):
    """NaN stays NaN; at the infinities the limit, not inf * 0, and the slope that there is far from 0."""
    name, *settings = ("gelu", "tanh") if name == "gelu of tanh" else (name,)
    x, far = (rv.tensor([np.nan, at, -at], requires_grad=True) for at in (np.inf, 1e6))
    y = getattr(ops, name)(x, *settings)
    np.testing.assert_array_equal(y.detach().numpy(), [np.nan, *np.float32(TABLE[name].limits)])
    y.sum().backward()
    getattr(ops, name)(far, *settings).sum().backward()
    np.testing.assert_allclose(x.grad.numpy()[1:], far.grad.numpy()[1:], rtol=0, atol=1e-6)


def test_arguments_are_checked():
    x = rv.zeros(2)
    refused(ValueError, "[hardtanh] got min_val=1.5 and max_val=1.0; expected min", ops.hardtanh, x, 1.5, 1.0)
    refused(TypeError, "[silu] got x of dtype int64; expected float32 or float64", ops.silu, np.arange(3))
    refused(ValueError, "[softshrink] got lambd -1.0; expected at least 0", ops.softshrink, x, -1.0)
    refused(ValueError, "[celu] got alpha 0; expected another number", ops.celu, x, 0)


def test_softshrink_by_nothing():
    x = rv.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    y = ops.softshrink(x, 0)
    y.sum().backward()
    assert (y.tolist(), x.grad.tolist()) == ([-1, 0, 2], [1, 0, 1])


F = rv.nn.functional
IN_PLACE = {name: () for name in TABLE if "inplace" in inspect.signature(getattr(ops, name)).parameters}
IN_PLACE |= {"threshold": (0.1, -2.0), "rrelu": (0.1, 0.4)}
CHANGES = [(name, function) for name in IN_PLACE for function in (name, f"{name}_") if hasattr(F, function)]


@pytest.mark.parametrize(("name", "changing"), CHANGES)
def test_in_place(name, changing):
    """By an argument, and under PyTorch's name with an underscore."""
    settings = {} if changing.endswith("_") else {"inplace": True}

    def function(x):
        return getattr(F, name)(x, *IN_PLACE[name])

    def change(x):
        return getattr(F, changing)(x, *IN_PLACE[name], **settings)

    data = np.linspace(-4, 4, 9, dtype=np.float32)
    expected = function(data).numpy()
    x = rv.tensor(data)
    assert change(x) is x
    np.testing.assert_array_equal(x.numpy(), expected)
    w, v = (rv.tensor(data, requires_grad=True) for _ in range(2))
    h = w * 2.0
    address, version = h.data_ptr(), h._version
    assert change(h) is h
    assert (h.data_ptr(), h._version) == (address, version + 1)
    h.sum().backward()
    function(v * 2.0).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), v.grad.numpy())
    refused(RuntimeError, "a leaf Variable that requires grad", change, w)
    if settings:
        change(data)
        np.testing.assert_array_equal(data, np.linspace(-4, 4, 9, dtype=np.float32))


def test_layers_in_place_leave_the_callers_array_alone():
    data = np.linspace(-4, 4, 8, dtype=np.float32)
    model = rv.nn.Sequential(rv.nn.Unflatten(0, (2, 4)), rv.nn.ReLU(inplace=True), rv.nn.Dropout(0.5, True))
    model(data)
    np.testing.assert_array_equal(data, np.linspace(-4, 4, 8, dtype=np.float32))
    x = rv.tensor(data)
    rv.nn.ReLU(inplace=True)(x)
    assert x.tolist() == np.maximum(data, 0).tolist()


def test_gradients_at_the_corners_of_hardswish():
    x = rv.tensor([-3.0, 3.0]).requires_grad_()
    ops.hardswish(x).sum().backward()
    assert x.grad.tolist() == [0.0, 1.0]


@pytest.mark.filterwarnings("ignore:.*got no dim", "ignore:Implicit dimension")
def test_without_dim_as_pytorch(rng, torch):
    """The dimension that PyTorch chooses, and a warning where it is not the last."""
    for shape in ((), (4,), (2, 3), (2, 3, 4), (2, 3, 4, 2), (2, 2, 3, 2, 2)):
        x = rng.normal(size=shape)
        for name in ("softmax", "log_softmax"):
            want = getattr(torch.nn.functional, name)(torch.tensor(x)).numpy()
            np.testing.assert_allclose(getattr(F, name)(rv.tensor(x)).numpy(), want, rtol=1e-12)
    with pytest.warns(UserWarning, match=r"\[softmax\] got no dim for 3 dimensions; dim=0 is used"):
        rv.nn.Softmax()(rv.ones(2, 3, 4))
