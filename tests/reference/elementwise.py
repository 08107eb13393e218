"""Elementwise arithmetic and functions, with broadcasting, in plain NumPy.

Operands are repeated to a common shape as NumPy does; the gradient of a repeated operand is the sum over its
repetitions. Every backward takes dy, the gradient of the output, and the inputs, and returns one gradient for
each input.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Pair = tuple[Array, Array]

# The functions themselves are NumPy's; below are their gradients.
add, sub, mul, div, pow, neg = np.add, np.subtract, np.multiply, np.divide, np.power, np.negative
maximum, minimum, where, clip = np.maximum, np.minimum, np.where, np.clip
abs, sign, round, square, reciprocal, sqrt = np.abs, np.sign, np.round, np.square, np.reciprocal, np.sqrt
exp, expm1, log, log1p, sin, cos = np.exp, np.expm1, np.log, np.log1p, np.sin, np.cos


def unbroadcast(dy: Array, x: Array) -> Array:
    """dy (of the common shape) summed over the axes along which x was repeated."""
    dy = np.asarray(dy)
    dy = dy.sum(tuple(range(dy.ndim - x.ndim)))
    return dy.sum(tuple(d for d, n in enumerate(x.shape) if n == 1), keepdims=True)


def add_backward(dy: Array, a: Array, b: Array) -> Pair:
    return unbroadcast(dy, a), unbroadcast(dy, b)


def sub_backward(dy: Array, a: Array, b: Array) -> Pair:
    return unbroadcast(dy, a), unbroadcast(-dy, b)


def mul_backward(dy: Array, a: Array, b: Array) -> Pair:
    return unbroadcast(dy * b, a), unbroadcast(dy * a, b)


def div_backward(dy: Array, a: Array, b: Array) -> Pair:
    return unbroadcast(dy / b, a), unbroadcast(-dy * a / b**2, b)


def pow_backward(dy: Array, a: Array, b: Array) -> Pair:
    """For a > 0."""
    return unbroadcast(dy * b * a ** (b - 1), a), unbroadcast(dy * a**b * np.log(a), b)


def maximum_backward(dy: Array, a: Array, b: Array) -> Pair:
    """The gradient goes to the greater one; where both are equal, half to each; where one is NaN, to both."""
    dy = dy * (1 - 0.5 * (a == b))
    return unbroadcast(np.where(a < b, 0, dy), a), unbroadcast(np.where(a > b, 0, dy), b)


def minimum_backward(dy: Array, a: Array, b: Array) -> Pair:
    dy = dy * (1 - 0.5 * (a == b))
    return unbroadcast(np.where(a > b, 0, dy), a), unbroadcast(np.where(a < b, 0, dy), b)


def where_backward(dy: Array, condition: Array, a: Array, b: Array) -> Pair:
    return unbroadcast(np.where(condition, dy, 0), a), unbroadcast(np.where(condition, 0, dy), b)


def clip_backward(dy: Array, x: Array, low: float | None = None, high: float | None = None) -> Array:
    """dy where x is within the bounds or equal to one, else 0."""
    return dy * (np.clip(x, low, high) == x)


def masked_fill(x: Array, mask: Array, value: float) -> Array:
    return np.where(mask, value, x)


def masked_fill_backward(dy: Array, x: Array, mask: Array, value: float) -> Array:
    return np.where(mask, 0, dy)


def neg_backward(dy: Array, x: Array) -> Array:
    return -dy


def abs_backward(dy: Array, x: Array) -> Array:
    return dy * np.sign(x)


def sign_backward(dy: Array, x: Array) -> Array:
    return np.zeros_like(x)


def round_backward(dy: Array, x: Array) -> Array:
    return np.zeros_like(x)


def square_backward(dy: Array, x: Array) -> Array:
    return 2 * dy * x


def reciprocal_backward(dy: Array, x: Array) -> Array:
    return -dy / x**2


def sqrt_backward(dy: Array, x: Array) -> Array:
    return dy / (2 * np.sqrt(x))


def exp_backward(dy: Array, x: Array) -> Array:
    return dy * np.exp(x)


def expm1_backward(dy: Array, x: Array) -> Array:
    return dy * np.exp(x)


def log_backward(dy: Array, x: Array) -> Array:
    return dy / x


def log1p_backward(dy: Array, x: Array) -> Array:
    return dy / (1 + x)


def sin_backward(dy: Array, x: Array) -> Array:
    return dy * np.cos(x)


def cos_backward(dy: Array, x: Array) -> Array:
    return -dy * np.sin(x)
