"""Activations: y = f(x) element by element, and dx = dy f'(x).

Each function is followed by its derivative. Where f'(x) is simplest in terms of y = f(x), the backward
function takes y.
"""

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

erf = np.vectorize(math.erf, otypes=[float])

# settings to test beside the defaults, by position
SETTINGS: dict[str, list[tuple[float, ...]]] = {
    "leaky_relu": [(0.3,)],
    "elu": [(0.5,)],
    "celu": [(0.5,), (2.0,)],
    "softplus": [(2.0, 3.0)],
    "hardtanh": [(0.5, 2.0)],
    "softshrink": [(1.5,), (0.0,)],
    "hardshrink": [(1.5,), (0.0,)],
}


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def relu_backward(dy: Array, y: Array) -> Array:
    return np.where(y > 0, dy, 0)


def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    return np.where(x > 0, x, negative_slope * x)


def leaky_relu_backward(dy: Array, x: Array, negative_slope: float = 0.01) -> Array:
    return np.where(x > 0, dy, negative_slope * dy)


def elu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def elu_backward(dy: Array, x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, dy, dy * alpha * np.exp(np.minimum(x, 0)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), with the exponential of a negative number on both sides: it cannot overflow."""
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    return dy * y * (1 - y)


def tanh(x: Array) -> Array:
    return np.tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    return dy * (1 - y**2)


def _normal_cdf(x: Array) -> Array:
    return 0.5 * (1 + erf(x / math.sqrt(2)))


def gelu(x: Array) -> Array:
    """x times the probability that a standard normal variable is below x."""
    return x * _normal_cdf(x)


def gelu_backward(dy: Array, x: Array) -> Array:
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return dy * (_normal_cdf(x) + x * density)


def gelu_tanh(x: Array) -> Array:
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(u))


def gelu_tanh_backward(dy: Array, x: Array) -> Array:
    u = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x**2)
    t = np.tanh(u)
    return dy * (0.5 * (1 + t) + 0.5 * x * (1 - t**2) * du)


def silu(x: Array) -> Array:
    return x * sigmoid(x)


def silu_backward(dy: Array, x: Array) -> Array:
    s = sigmoid(x)
    return dy * (s + x * s * (1 - s))


def softplus(x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    """log(1 + exp(beta x)) / beta, a smooth relu; x itself where beta x > threshold."""
    z = beta * x
    return np.where(z > threshold, x, np.logaddexp(0, z) / beta)


def softplus_backward(dy: Array, x: Array, beta: float = 1.0, threshold: float = 20.0) -> Array:
    z = beta * x
    return np.where(z > threshold, dy, dy * sigmoid(z))


def heaviside(x: Array, values: float = 0.0) -> Array:
    return np.where(x == 0, values, np.where(x > 0, 1.0, 0.0)).astype(x.dtype)


def heaviside_backward(dy: Array, x: Array, values: float = 0.0) -> Array:
    return np.zeros_like(x)


def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    return np.clip(x, min_val, max_val)


def hardtanh_backward(dy: Array, x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    return np.where((x > min_val) & (x < max_val), dy, 0)


def relu6(x: Array) -> Array:
    return hardtanh(x, 0, 6)


def relu6_backward(dy: Array, x: Array) -> Array:
    return hardtanh_backward(dy, x, 0, 6)


SELU_SCALE, SELU_ALPHA = 1.0507009873554805, 1.6732632423543772


def selu(x: Array) -> Array:
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_backward(dy: Array, x: Array) -> Array:
    return elu_backward(SELU_SCALE * dy, x, SELU_ALPHA)


def celu(x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def celu_backward(dy: Array, x: Array, alpha: float = 1.0) -> Array:
    return np.where(x > 0, dy, dy * np.exp(np.minimum(x, 0) / alpha))


def mish(x: Array) -> Array:
    return x * np.tanh(softplus(x))


def mish_backward(dy: Array, x: Array) -> Array:
    t = np.tanh(softplus(x))
    return dy * (t + x * (1 - t**2) * sigmoid(x))


def hardsigmoid(x: Array) -> Array:
    """A line through (0, 1/2) of slope 1/6, limited to [0, 1]."""
    return np.clip(x + 3, 0, 6) / 6


def hardsigmoid_backward(dy: Array, x: Array) -> Array:
    return np.where((x > -3) & (x < 3), dy / 6, 0)


def hardswish(x: Array) -> Array:
    return x * hardsigmoid(x)


def hardswish_backward(dy: Array, x: Array) -> Array:
    return dy * hardsigmoid(x) + x * hardsigmoid_backward(dy, x)


def logsigmoid(x: Array) -> Array:
    return -np.logaddexp(0, -x)


def logsigmoid_backward(dy: Array, x: Array) -> Array:
    return dy * sigmoid(-x)


def softsign(x: Array) -> Array:
    return x / (1 + np.abs(x))


def softsign_backward(dy: Array, x: Array) -> Array:
    return dy / (1 + np.abs(x)) ** 2


def tanhshrink(x: Array) -> Array:
    return x - np.tanh(x)


def tanhshrink_backward(dy: Array, x: Array) -> Array:
    return dy * np.tanh(x) ** 2


def softshrink(x: Array, lambd: float = 0.5) -> Array:
    """x moved towards 0 by lambd, at most to 0."""
    return np.sign(x) * np.maximum(np.abs(x) - lambd, 0)


def softshrink_backward(dy: Array, x: Array, lambd: float = 0.5) -> Array:
    return np.where(np.abs(x) > lambd, dy, 0)


def hardshrink(x: Array, lambd: float = 0.5) -> Array:
    return np.where(np.abs(x) > lambd, x, 0)


def hardshrink_backward(dy: Array, x: Array, lambd: float = 0.5) -> Array:
    return np.where(np.abs(x) > lambd, dy, 0)


def prelu(x: Array, weight: Array) -> Array:
    """weight (C,) is the slope below 0 of each channel of x (N, C, ...); weight (1,) that of all."""
    return np.where(x > 0, x, _by_channel(weight, x) * x)


def prelu_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    dx = np.where(x > 0, dy, _by_channel(weight, x) * dy)
    of_slope = np.where(x > 0, 0, x * dy)
    if weight.size == 1:
        return dx, of_slope.sum().reshape(weight.shape)
    return dx, of_slope.sum(tuple(d for d in range(x.ndim) if d != 1))


def _by_channel(weight: Array, x: Array) -> Array:
    return weight.reshape(-1, *(1,) * (x.ndim - 2)) if weight.size > 1 else weight.reshape(())


def glu(x: Array, dim: int = -1) -> Array:
    """The first half of x along dim, each element times the sigmoid of its partner in the second."""
    a, b = np.split(x, 2, dim)
    return a * sigmoid(b)


def glu_backward(dy: Array, x: Array, dim: int = -1) -> Array:
    a, b = np.split(x, 2, dim)
    s = sigmoid(b)
    return np.concatenate([dy * s, dy * a * s * (1 - s)], dim)
