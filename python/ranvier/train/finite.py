"""NaN and infinite values in what a Trainer is given: found before the first step, with row and column."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.data.datasets.samples import first_not_finite
from ranvier.train.arrays import column_names

__all__ = ["MODES", "require_finite"]

Array = npt.NDArray[Any]
MODES = ("raise", "warn", "ignore")


def require_finite(name: str, argument: str, array: Array, given: Any, mode: str = "raise") -> None:
    """Raise ValueError (mode "warn": warn) at a value that is NaN or infinite.

    Args:
        name, argument: the method and the argument that the error names.
        array: after conversion, samples along axis 0.
        given: before conversion, where a number may have been finite.
    """
    if mode == "ignore" or array.dtype.kind != "f" or _is_finite(array):
        return
    text = f"[{name}] got {argument} with {_found(array, given)}"
    if mode == "raise":
        raise ValueError(text)
    warnings.warn(text, stacklevel=5)


def _is_finite(array: Array) -> bool:
    """By the sum, which takes half the time; it may be infinite of large numbers too."""
    if array.dtype.char in "fd" and math.isfinite(_core.sum(array).item()):
        return True
    return bool(np.isfinite(array).all())


def _found(array: Array, given: Any) -> str:
    wrong = ~np.isfinite(array)
    at, place = first_not_finite(array)
    names = column_names(given)
    if names is not None and len(at) == 2:
        place = f"row {at[0]}, column '{names[at[1]]}'"
    count, rows = int(wrong.sum()), int(wrong.reshape(len(array), -1).any(axis=1).sum())
    more = "" if count == 1 else f" ({count} such values in {rows} row{'s' * (rows > 1)})"
    raw = np.asarray(getattr(given, "_array", given))
    before = raw[at] if raw.shape == array.shape else None
    if isinstance(before, (int, float, np.number)) and np.isfinite(before):
        limit = f"{np.finfo(array.dtype).max:.3g}"
        return f"{before:g} at {place}{more}; expected numbers of at most {limit}, which {array.dtype} holds"
    return (
        f"{array[at]:g} at {place}{more}; expected finite numbers: fill them in, or leave the rows out "
        "(on_nonfinite='ignore' takes them as they are)"
    )
