"""Activations: y = f(x) element by element, and dx = dy f'(x).

Each function stands beside its derivative. Where f'(x) is simplest in terms of y = f(x), the backward
function takes y.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

erf = np.vectorize(math.erf, otypes=[float])


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


def step(x: Array) -> Array:
    return np.where(x > 0, 1.0, 0.0).astype(x.dtype)


def step_backward(dy: Array, x: Array) -> Array:
    return np.zeros_like(x)


def hardtanh(x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    return np.clip(x, min_val, max_val)


def hardtanh_backward(dy: Array, x: Array, min_val: float = -1.0, max_val: float = 1.0) -> Array:
    return np.where((x > min_val) & (x < max_val), dy, 0)
