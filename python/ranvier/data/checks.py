"""Checks of arguments of transforms, counts of pixels and ranges of numbers, which raise TypeError or
ValueError; the place of a number that is not finite; arrays of Tensors, and Tensors of arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.tensors.errors import number, whole
from ranvier.tensors.memory import Array, plain

if TYPE_CHECKING:
    import numpy.typing as npt


def pair(name: str, argument: str, value: int | Sequence[int], least: int = 1) -> tuple[int, int]:
    """Counts of pixels, (height, width): of one number or a sequence of one for both, or of two."""
    counts = _counts(name, argument, value, least)
    if len(counts) > 2:
        raise ValueError(f"[{name}] got {argument} {value!r}; expected a count of pixels, or (height, width)")
    return counts[0], counts[-1]


def sides(name: str, padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """The padding (left, top, right, bottom) from one number for all, a pair (across, down), or all four."""
    counts = _counts(name, "padding", padding, 0)
    if len(counts) not in (1, 2, 4):
        raise ValueError(f"[{name}] got padding {padding!r}; expected 1, 2 or 4 counts of pixels")
    left, top, right, bottom = counts * (4 // len(counts))
    return left, top, right, bottom


def _counts(name: str, argument: str, value: Any, least: int) -> tuple[int, ...]:
    numbers = value if np.ndim(value) else (value,)
    counts = tuple(whole(name, argument, n) for n in numbers)
    if min(counts, default=-1) < least:
        raise ValueError(f"[{name}] got {argument} {value!r}; expected at least {least}")
    return counts


def span(
    name: str,
    argument: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    above: bool = False,
    symmetric: bool = False,
) -> tuple[float, float]:
    """A pair of finite numbers in order, both as `number` takes them.

    `symmetric`: one number means (-number, number).
    """
    if symmetric and isinstance(value, Real):
        most = float(number(name, argument, value, 0.0, high))
        return -most, most
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"[{name}] got {argument} {value!r}; expected {'a number or ' * symmetric}a pair")
    first, last = (float(number(name, argument, end, low, high, above=above)) for end in value)
    if not -math.inf < first <= last < math.inf:
        raise ValueError(f"[{name}] got {argument} {value!r}; expected (low, high)")
    return first, last


def first_not_finite(array: Array) -> tuple[tuple[int, ...], str]:
    """The index of the first NaN or infinity of an array, and its place as text."""
    at = tuple(int(i) for i in np.unravel_index(int((~np.isfinite(array)).argmax()), array.shape))
    if len(at) == 1:
        return at, f"row {at[0]}"
    if len(at) == 2:
        rest = f"column {at[1]}"
    else:
        rest = f"position ({', '.join(map(str, at[1:]))})"
    return at, f"row {at[0]}, {rest}"


def raw(value: Tensor | npt.ArrayLike) -> Array:
    """The array of a Tensor or of an array-like object. Raises TypeError for a masked array."""
    if isinstance(value, Tensor):
        return value._array
    return np.asarray(plain("data", value))


def like(original: object, y: Array) -> Any:
    """y as a Tensor if `original` is one, else y itself."""
    if isinstance(original, Tensor):
        return wrap(y)
    return y
