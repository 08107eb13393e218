"""Elementwise arithmetic and functions, with broadcasting, in plain NumPy.

Operands are repeated to a common shape as NumPy does; the gradient of a repeated operand is the sum over its
repetitions. `mul_backward(dy, a, b)` of each name in SLOPES returns one gradient for each operand that has a
slope there.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# The functions themselves are NumPy's; below are their gradients.
add, sub, mul, div, pow, neg = np.add, np.subtract, np.multiply, np.divide, np.power, np.negative
maximum, minimum, where, clip = np.maximum, np.minimum, np.where, np.clip
abs, sign, round, square, reciprocal, sqrt = np.abs, np.sign, np.round, np.square, np.reciprocal, np.sqrt
exp, expm1, log, log1p, sin, cos = np.exp, np.expm1, np.log, np.log1p, np.sin, np.cos


def masked_fill(x: Array, mask: Array, value: float) -> Array:
    return np.where(mask, value, x)


# Of maximum and minimum: where both are equal, half to each; where one is NaN, all to both.
SLOPES: dict[str, Callable[..., tuple[Any, ...]]] = {
    "add": lambda a, b: (1, 1),
    "sub": lambda a, b: (1, -1),
    "mul": lambda a, b: (b, a),
    "div": lambda a, b: (1 / b, -a / b**2),
    "pow": lambda a, b: (b * a ** (b - 1), a**b * np.log(a)),  # for a > 0
    "maximum": lambda a, b: (where(a == b, 0.5, ~(a < b)), where(a == b, 0.5, ~(a > b))),
    "minimum": lambda a, b: (where(a == b, 0.5, ~(a > b)), where(a == b, 0.5, ~(a < b))),
    "where": lambda condition, a, b: (condition, ~condition),
    "masked_fill": lambda x, mask, value: (~mask,),
    # within the bounds or equal to one
    "clip": lambda x, low=None, high=None: (np.clip(x, low, high) == x,),
    "neg": lambda x: (-1,),
    "abs": lambda x: (np.sign(x),),
    "sign": lambda x: (0,),
    "round": lambda x: (0,),
    "square": lambda x: (2 * x,),
    "reciprocal": lambda x: (-1 / x**2,),
    "sqrt": lambda x: (1 / (2 * np.sqrt(x)),),
    "exp": lambda x: (np.exp(x),),
    "expm1": lambda x: (np.exp(x),),
    "log": lambda x: (1 / x,),
    "log1p": lambda x: (1 / (1 + x),),
    "sin": lambda x: (np.cos(x),),
    "cos": lambda x: (-np.sin(x),),
}


def unbroadcast(dy: Array, x: Array) -> Array:
    """dy (of the common shape) summed over the axes along which x was repeated."""
    dy = np.asarray(dy)
    dy = dy.sum(tuple(range(dy.ndim - x.ndim)))
    return dy.sum(tuple(d for d, n in enumerate(x.shape) if n == 1), keepdims=True)


def _gradients(name: str, dy: Array, *given: Any) -> Any:
    slopes = SLOPES[name](*given)
    operands = given[1:] if name == "where" else given
    found = tuple(unbroadcast(dy * slope, x) for slope, x in zip(slopes, operands, strict=False))
    return found if len(found) > 1 else found[0]


for _name in SLOPES:
    globals()[f"{_name}_backward"] = functools.partial(_gradients, _name)
