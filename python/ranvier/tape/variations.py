"""Makes other values of a model's inputs, for the exporters (ONNX, C).

Before a model is written in another form, it runs again with such values, and the file must give the same
results.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

__all__ = ["FAILURES", "accepted", "other_values"]

Array = np.ndarray[Any, Any]
# The errors with which a model refuses values.
FAILURES = (ArithmeticError, LookupError, TypeError, ValueError, RuntimeError)
# A width is how far values are from those of the example: from 0, near them, to 3, which includes negative
# ones.
_WIDTHS = 4


def other_values(array: Array, seed: int, width: int = 0) -> Array:
    """Other numbers of the same dtype; width: from 0, near those of the array, to 3, farthest from them."""
    rng = np.random.default_rng(seed)
    if not array.size:
        return array
    drawn = rng.choice(array.reshape(-1), array.shape)
    if array.dtype.kind == "f":
        if width == 0:
            if not array.any():
                drawn = np.asarray(rng.random(array.shape))
            drawn = np.asarray(drawn * rng.uniform(0.5, 1.0, array.shape))
        else:
            finite = array[np.isfinite(array)]
            size = float(np.abs(finite).max(initial=0)) or 1.0
            drawn = rng.normal(0, size, array.shape) * (rng.random(array.shape) < 0.9)  # a tenth are zeros
    elif array.dtype.kind == "b":
        if width > 0:
            drawn = rng.random(array.shape) < 0.5
    elif width > 0:
        drawn = _integers(rng, array, width)
    return np.asarray(drawn).astype(array.dtype)


def _integers(rng: np.random.Generator, array: Array, width: int) -> Array:
    """Integers in a range that is wider than that of the array, if the width is 2 or 3."""
    top = int(array.max())
    if width == 1:
        low, high = 0, top
    elif width == 2:
        low, high = 0, 2 * top + 3
    else:
        low, high = -3, 2 * top + 3
    limits = np.iinfo(array.dtype)
    low = max(low, limits.min)
    high = min(max(high, low), limits.max)
    return np.asarray(rng.integers(low, high, array.shape, endpoint=True))


def accepted(attempt: Callable[[list[int]], Any], near: list[int]) -> list[int]:
    """For each input the greatest width with which attempt(widths) raises no error of FAILURES.

    near: for each input the least width, which is known to succeed.
    """
    widths = [*near]
    for i in range(len(near)):
        for width in range(_WIDTHS - 1, 0, -1):
            with suppress(*FAILURES):
                attempt([*widths[:i], width, *near[i + 1 :]])
                widths[i] = width
                break
    return widths
