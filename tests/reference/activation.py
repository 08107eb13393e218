"""Activations: y = f(x) element by element, and dx = dy f'(x).

`relu(x)` and `relu_backward(dy, x)` of each name in FORMULAS, with its settings by position.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
erf = np.vectorize(math.erf, otypes=[float])
where, log_sum = np.where, np.logaddexp
ROOT, SELU_SCALE, SELU_ALPHA = math.sqrt(2 / math.pi), 1.0507009873554805, 1.6732632423543772

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


def sigmoid(x: Array) -> Array:
    """1 / (1 + np.exp(-x)), with the exponential of a negative number on both sides: it cannot overflow."""
    e = np.exp(-np.abs(x))
    return where(x >= 0, 1, e) / (1 + e)


def _normal(x: Array) -> Array:
    """The probability that a standard normal variable is below x."""
    return 0.5 * (1 + erf(x / math.sqrt(2)))


def _below(x: Array, alpha: float) -> Array:
    """x above 0, and a curve towards -alpha below it."""
    return where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _gelu_tanh(x: Array) -> tuple[Array, Array]:
    t = np.tanh(ROOT * (x + 0.044715 * x**3))
    return 0.5 * x * (1 + t), 0.5 * (1 + t + x * (1 - t**2) * ROOT * (1 + 3 * 0.044715 * x**2))


# f(x) and f'(x)
FORMULAS: dict[str, Callable[..., tuple[Any, Any]]] = {
    "relu": lambda x: (np.maximum(x, 0), x > 0),
    "leaky_relu": lambda x, slope=0.01: (where(x > 0, x, slope * x), where(x > 0, 1, slope)),
    "elu": lambda x, alpha=1.0: (_below(x, alpha), where(x > 0, 1, alpha * np.exp(np.minimum(x, 0)))),
    "celu": lambda x, alpha=1.0: (
        where(x > 0, x, _below(x / alpha, 1) * alpha),
        where(x > 0, 1, np.exp(np.minimum(x, 0) / alpha)),
    ),
    "selu": lambda x: (
        SELU_SCALE * _below(x, SELU_ALPHA),
        SELU_SCALE * where(x > 0, 1, SELU_ALPHA * np.exp(np.minimum(x, 0))),
    ),
    "sigmoid": lambda x: (sigmoid(x), sigmoid(x) * sigmoid(-x)),
    "tanh": lambda x: (np.tanh(x), 1 - np.tanh(x) ** 2),
    "gelu": lambda x: (x * _normal(x), _normal(x) + x * np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)),
    "gelu_tanh": _gelu_tanh,
    "silu": lambda x: (x * sigmoid(x), sigmoid(x) * (1 + x * sigmoid(-x))),
    # a smooth relu, and x itself where beta x > threshold
    "softplus": lambda x, beta=1.0, threshold=20.0: (
        where(beta * x > threshold, x, log_sum(0, beta * x) / beta),
        where(beta * x > threshold, 1, sigmoid(beta * x)),
    ),
    "heaviside": lambda x, values=0.0: (where(x == 0, values, x > 0).astype(x.dtype), 0 * x),
    "hardtanh": lambda x, low=-1.0, high=1.0: (np.clip(x, low, high), (x > low) & (x < high)),
    "relu6": lambda x: (np.clip(x, 0, 6), (x > 0) & (x < 6)),
    "mish": lambda x: (
        x * np.tanh(log_sum(0, x)),
        np.tanh(log_sum(0, x)) + x * (1 - np.tanh(log_sum(0, x)) ** 2) * sigmoid(x),
    ),
    # a line through (0, 1/2) of slope 1/6, limited to [0, 1]
    "hardsigmoid": lambda x: (np.clip(x + 3, 0, 6) / 6, ((x > -3) & (x < 3)) / 6),
    "hardswish": lambda x: (
        x * np.clip(x + 3, 0, 6) / 6,
        np.clip(x + 3, 0, 6) / 6 + x * ((x > -3) & (x < 3)) / 6,
    ),
    "logsigmoid": lambda x: (-log_sum(0, -x), sigmoid(-x)),
    "softsign": lambda x: (x / (1 + np.abs(x)), 1 / (1 + np.abs(x)) ** 2),
    "tanhshrink": lambda x: (x - np.tanh(x), np.tanh(x) ** 2),
    # x moved towards 0 by least, at most to 0
    "softshrink": lambda x, least=0.5: (np.sign(x) * np.maximum(np.abs(x) - least, 0), np.abs(x) > least),
    "hardshrink": lambda x, least=0.5: (where(np.abs(x) > least, x, 0), np.abs(x) > least),
}


def _value(name: str, x: Array, *settings: float) -> Array:
    return FORMULAS[name](x, *settings)[0]


def _gradient(name: str, dy: Array, x: Array, *settings: float) -> Array:
    return dy * FORMULAS[name](x, *settings)[1]


for _name in FORMULAS:
    globals().setdefault(_name, functools.partial(_value, _name))
    globals()[f"{_name}_backward"] = functools.partial(_gradient, _name)


def prelu(x: Array, weight: Array) -> Array:
    """weight (C,) is the slope below 0 of each channel of x (N, C, ...); weight (1,) that of all."""
    return where(x > 0, x, _by_channel(weight, x) * x)


def prelu_backward(dy: Array, x: Array, weight: Array) -> tuple[Array, Array]:
    dx = where(x > 0, dy, _by_channel(weight, x) * dy)
    of_slope = where(x > 0, 0, x * dy)
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


# The rows of tanh, from y = tanh(x) and those of x: at most three Taylor coefficients, or with weights first
# derivatives and a Laplacian. Backward by complex steps, which are exact.

STEP = 1e-30


def jet(saved, t, function, weights=None):
    assert function == "tanh"
    y = saved
    s = [1 - y * y, -2 * y * (1 - y * y), (1 - y * y) * (6 * y * y - 2)]
    if weights is not None:
        squares = np.tensordot(weights, t[:-1] ** 2, 1)
        return np.concatenate([s[0] * t[:-1], (s[0] * t[-1] + s[1] * squares)[None]])
    a, b, c = [*t, *[0 * y] * 3][:3]
    rows = [s[0] * a, s[0] * b + s[1] * a**2 / 2, s[0] * c + s[1] * a * b + s[2] * a**3 / 6]
    return np.stack(rows[: len(t)])


def jet_backward(dy, saved, t, function, weights=None):
    def slope(y, t):
        return (dy * jet(y, t, function, weights).imag / STEP).sum(0)

    dx = slope(saved + 1j * STEP * (1 - saved**2), t)
    places = np.eye(len(t)).reshape(len(t), len(t), *(1,) * saved.ndim)
    return dx, np.stack([slope(saved, t + 1j * STEP * place) for place in places])
