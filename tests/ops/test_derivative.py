"""derivative: every activation's slope against central differences."""

import math
import re

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd.grad import numeric_gradients
from ranvier.ops.activation import piecewise, smooth
from ranvier.ops.activation.slope import ACTIVATIONS, LINE_ACTIVATIONS, activation_named
from support.refused import refused
from support.tolerance import tolerance

# off every corner (0, 0.5, 1, 3, 6; softplus is x itself from 20) by more than the differences below reach
X = np.concatenate([np.arange(-7, 7, 0.1) + 0.04, [-15.04, 15.04]])


def test_every_activation_is_here():
    names = {*ACTIVATIONS, *LINE_ACTIVATIONS}
    assert {*piecewise.__all__, *smooth.__all__} - names == {"glu"}  # a gate of two arguments
    with pytest.raises(ValueError, match="expected one of") as error:
        rv.derivative("nothing")
    assert names == set(re.findall(r"\w+", str(error.value).partition("expected one of")[2]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_central_differences(name):
    f = activation_named("test", name)
    numeric = numeric_gradients(lambda x: f(rv.tensor(x)).numpy(), [X], [np.ones_like(X)])[0]
    # the differences' own error: h^4 = 1e-12 of the fifth derivative, eps / h = 2e-13 of the values,
    # which for the largest x is a sum of 142 of them
    np.testing.assert_allclose(rv.derivative(name, X).numpy(), numeric, rtol=0, atol=1e-9)
    found = rv.derivative(name, X.astype(np.float32))
    assert (found.dtype, found.shape) == (np.float32, X.shape)
    # a few roundings of numbers up to 20
    np.testing.assert_allclose(found.numpy(), numeric, rtol=0, atol=tolerance("float32", 3, 20.0))


def test_settings_and_shapes():
    assert rv.derivative("elu", [-1.0], alpha=2.0).item() == pytest.approx(2 / math.e, rel=1e-6)
    assert rv.derivative("softplus", [0.5], beta=2.0).item() == pytest.approx(
        1 / (1 + math.exp(-1)), rel=1e-6
    )
    assert rv.derivative("gelu", 0.0, approximate="tanh").item() == 0.5
    slope = rv.derivative("leaky_relu", negative_slope=0.5)
    assert slope(rv.tensor([[-1.0], [1.0]])).tolist() == [[0.5], [1.0]]
    assert rv.derivative("relu", 0.0).item() == 0
    x = rv.tensor([1.0], requires_grad=True)
    assert not rv.derivative("relu", x).requires_grad
    assert x.grad is None
    with rv.no_grad():
        assert rv.derivative("tanh", 0.0).item() == 1


def test_a_function_of_the_user():
    slope = rv.derivative(lambda t: t**2 + 3 * t + 2)
    assert slope([-2.0, -1.0, 0.0, 1.0, 2.0]).tolist() == [-1, 1, 3, 5, 7]
    assert rv.derivative(rv.tanh)(0.0).item() == 1
    assert rv.derivative(lambda t: rv.ones(2), [1.0, 2.0]).tolist() == [0, 0]


@pytest.mark.parametrize("name", LINE_ACTIVATIONS)
def test_jacobians(name):
    x = np.random.default_rng(0).uniform(-2, 2, (2, 3, 4))
    found = rv.derivative(name, x).numpy()
    assert found.shape == (2, 3, 4, 4)
    p = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    eye = np.eye(4)
    if name == "softmin":
        p = np.exp(-x) / np.exp(-x).sum(-1, keepdims=True)
    expected = p[..., :, None] * (eye - p[..., None, :])
    expected = {"softmax": expected, "softmin": -expected, "log_softmax": eye - p[..., None, :]}[name]
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance("float64", 4, 1.0))


def test_wrong_calls():
    with pytest.raises(ValueError, match=r"\[derivative\] got activation 'rely'; expected one of celu, elu"):
        rv.derivative("rely", [1.0])
    with pytest.raises(ValueError, match="rely"):
        rv.derivative("rely")  # before it is called
    refused(TypeError, "[derivative] got x of dtype int64", rv.derivative, "relu", [1, 2])
    refused(ValueError, "makes shape () of x of shape (2,)", rv.derivative, lambda t: t.sum(), [1.0, 2.0])
    refused(ValueError, "got a single number; expected a line", rv.derivative, "softmax", 1.0)
    refused(TypeError, "[derivative] got int; expected a name or a function", rv.derivative, 3)
    refused(TypeError, "dim", rv.derivative, "softmax", [1.0], dim=0)
