"""Activations in NumPy: y = f(x) element by element, and dx = dy f'(x).

For each activation `f` there are two functions, `f(x, *settings)` and `f_backward(dy, x, *settings)`, whose
settings have the order and the defaults of the op. Tests and benchmarks look them up by the op's name.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
erf = np.vectorize(math.erf, otypes=[float])
GELU_TANH_SCALE = math.sqrt(2 / math.pi)
GELU_TANH_CUBIC = 0.044715
SELU_SCALE = 1.0507009873554805
SELU_ALPHA = 1.6732632423543772

# Settings with which the tests call an activation beside its defaults, by position.
SETTINGS: dict[str, list[tuple[float, ...]]] = {
    "leaky_relu": [(0.3,)],
    "elu": [(0.5,)],
    "celu": [(0.5,), (2.0,)],
    "softplus": [(2.0, 3.0)],
    "hardtanh": [(0.5, 2.0)],
    "softshrink": [(1.5,), (0.0,)],
    "hardshrink": [(1.5,), (0.0,)],
}


# --- relu and its relatives: a line above 0, and less below


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def relu_backward(dy: Array, x: Array) -> Array:
    return dy * (x > 0)


def relu6(x: Array) -> Array:
    return np.clip(x, 0, 6)


def relu6_backward(dy: Array, x: Array) -> Array:
    return dy * ((x > 0) & (x < 6))


def leaky_relu(x: Array, slope: float = 0.01) -> Array:
    return np.where(x > 0, x, slope * x)


def leaky_relu_backward(dy: Array, x: Array, slope: float = 0.01) -> Array:
    return dy * np.where(x > 0, 1, slope)


def prelu(x: Array, weight: Array) -> Array:
    """weight (C,) is the slope below 0 of each channel of x (N, C, ...); weight (1,) that of all."""
    if weight.size > 1:
        slope = weight.reshape(-1, *(1,) * (x.ndim - 2))
    else:
        slope = weight.reshape(())
    return np.where(x > 0, x, slope * x)


def elu(x: Array, alpha: float = 1.0) -> Array:
    """x above 0, and a curve towards -alpha below it."""
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(dy: Array, x: Array, alpha: float = 1.0) -> Array:
    return dy * np.where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))


def celu(x: Array, alpha: float = 1.0) -> Array:
    """elu with a slope that has no jump at 0."""
    return np.where(x > 0, x, elu(x / alpha) * alpha)


def celu_backward(dy: Array, x: Array, alpha: float = 1.0) -> Array:
    return dy * np.where(x > 0, 1, np.exp(np.minimum(x, 0) / alpha))


def selu(x: Array) -> Array:
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_backward(dy: Array, x: Array) -> Array:
    return dy * (SELU_SCALE * np.where(x > 0, 1, SELU_ALPHA * np.exp(np.minimum(x, 0))))


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """A smooth relu, log(1 + exp(beta x)) / beta, and x itself where beta x > threshold."""
    return np.where(beta * x > threshold, x, np.logaddexp(0, beta * x) / beta)


def softplus_backward(dy: Array, x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    return dy * np.where(beta * x > threshold, 1, sigmoid(beta * x))


# --- sigmoid, tanh and others that are bounded


def sigmoid(x: Array) -> Array:
    """1 / (1 + np.exp(-x)), with the exponential of a negative number on both sides: it cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(dy: Array, x: Array) -> Array:
    return dy * (sigmoid(x) * sigmoid(-x))


def logsigmoid(x: Array) -> Array:
    return -np.logaddexp(0, -x)


def logsigmoid_backward(dy: Array, x: Array) -> Array:
    return dy * sigmoid(-x)


def hardsigmoid(x: Array) -> Array:
    """A line through (0, 1/2) of slope 1/6, limited to [0, 1]."""
    return np.clip(x + 3, 0, 6) / 6


def hardsigmoid_backward(dy: Array, x: Array) -> Array:
    return dy * (((x > -3) & (x < 3)) / 6)


def tanh(x: Array) -> Array:
    return np.tanh(x)


def tanh_backward(dy: Array, x: Array) -> Array:
    return dy * (1 - np.tanh(x) ** 2)


def hardtanh(x: Array, low: float = -1.0, high: float = 1.0) -> Array:
    return np.clip(x, low, high)


def hardtanh_backward(dy: Array, x: Array, low: float = -1.0, high: float = 1.0) -> Array:
    return dy * ((x > low) & (x < high))


def softsign(x: Array) -> Array:
    return x / (1 + np.abs(x))


def softsign_backward(dy: Array, x: Array) -> Array:
    return dy * (1 / (1 + np.abs(x)) ** 2)


def heaviside(x: Array, values: float = 0.0) -> Array:
    """1 above 0, 0 below it, and `values` at 0."""
    return np.where(x == 0, values, x > 0).astype(x.dtype)


def heaviside_backward(dy: Array, x: Array, values: float = 0.0) -> Array:
    return dy * (0 * x)


# --- x times a gate between 0 and 1


def _normal_probability(x: Array) -> Array:
    """The probability that a standard normal variable is below x."""
    return 0.5 * (1 + erf(x / math.sqrt(2)))


def gelu(x: Array) -> Array:
    return x * _normal_probability(x)


def gelu_backward(dy: Array, x: Array) -> Array:
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dy * (_normal_probability(x) + x * density)


def gelu_tanh(x: Array) -> Array:
    """gelu with an approximation of the probability by tanh."""
    t = np.tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBIC * x**3))
    return 0.5 * x * (1 + t)


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    t = np.tanh(GELU_TANH_SCALE * (x + GELU_TANH_CUBIC * x**3))
    slope_inside = GELU_TANH_SCALE * (1 + 3 * GELU_TANH_CUBIC * x**2)
    return dy * (0.5 * (1 + t + x * (1 - t**2) * slope_inside))


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def silu_backward(dy: Array, x: Array) -> Array:
    return dy * (sigmoid(x) * (1 + x * sigmoid(-x)))


def mish(x: Array) -> Array:
    return x * np.tanh(np.logaddexp(0, x))


def mish_backward(dy: Array, x: Array) -> Array:
    gate = np.tanh(np.logaddexp(0, x))
    return dy * (gate + x * (1 - gate**2) * sigmoid(x))


def hardswish(x: Array) -> Array:
    return x * np.clip(x + 3, 0, 6) / 6


def hardswish_backward(dy: Array, x: Array) -> Array:
    return dy * (np.clip(x + 3, 0, 6) / 6 + x * ((x > -3) & (x < 3)) / 6)


def glu(x: Array, dim: int = -1) -> Array:
    """The first half of x along dim, each element times the sigmoid of its partner in the second."""
    a, b = np.split(x, 2, dim)
    return a * sigmoid(b)


# --- nearly nothing around 0


def tanhshrink(x: Array) -> Array:
    return x - np.tanh(x)


def tanhshrink_backward(dy: Array, x: Array) -> Array:
    return dy * np.tanh(x) ** 2


def softshrink(x: Array, least: float = 0.5) -> Array:
    """x moved towards 0 by least, at most to 0."""
    return np.sign(x) * np.maximum(np.abs(x) - least, 0)


def softshrink_backward(dy: Array, x: Array, least: float = 0.5) -> Array:
    return dy * (np.abs(x) > least)


def hardshrink(x: Array, least: float = 0.5) -> Array:
    return np.where(np.abs(x) > least, x, 0)


def hardshrink_backward(dy: Array, x: Array, least: float = 0.5) -> Array:
    return dy * (np.abs(x) > least)


# --- Taylor coefficients of tanh(x(t)), which tests of forward mode compare (`_core.jet`)
#
# The arguments: y = tanh(x); t, the rows of coefficients of x, first, second and third. With weights, t has
# first derivatives by several variables and in its last row a Laplacian, the sum of weights times second
# derivatives. The result has the same rows of y.

COMPLEX_STEP = 1e-30  # f(x + i step).imag / step is f'(x) without a difference, and so without its rounding


def jet(saved, t, function, weights=None):
    assert function == "tanh"
    y = saved
    first = 1 - y * y
    second = -2 * y * (1 - y * y)
    third = (1 - y * y) * (6 * y * y - 2)
    if weights is not None:
        squares = np.tensordot(weights, t[:-1] ** 2, 1)
        laplacian = first * t[-1] + second * squares
        return np.concatenate([first * t[:-1], laplacian[None]])
    missing = [0 * y] * (3 - len(t))
    a, b, c = [*t, *missing]
    rows = [
        first * a,
        first * b + second * a**2 / 2,
        first * c + second * a * b + third * a**3 / 6,
    ]
    return np.stack(rows[: len(t)])


def jet_backward(dy, saved, t, function, weights=None):
    """The gradients by x and by t, each by a complex step."""

    def slope(y, t):
        return (dy * jet(y, t, function, weights).imag / COMPLEX_STEP).sum(0)

    dx = slope(saved + 1j * COMPLEX_STEP * (1 - saved**2), t)
    one_row_each = np.eye(len(t)).reshape(len(t), len(t), *(1,) * saved.ndim)
    dt = [slope(saved, t + 1j * COMPLEX_STEP * row) for row in one_row_each]
    return dx, np.stack(dt)
