"""The memory order of arrays, and new arrays for gradients."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import filled

__all__ = ["fill_part", "filled", "is_channels_last", "zeros"]

Array = np.ndarray[Any, Any]

_ZERO = {np.dtype(kind): np.zeros((), kind) for kind in (np.float32, np.float64)}


def is_channels_last(x: Array) -> bool:
    """True for (N, C, H, W) with C innermost in memory, and not also in C order."""
    return x.ndim == 4 and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous


def fill_part(part: Array, values: Array) -> None:
    """part[...] = values, of the same shape and dtype."""
    if values.dtype.char in "fd":
        _core.copy(values, False, part)
    else:
        part[...] = values


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], channels_last: bool = False) -> Array:
    """Zeros, of float32 and float64 in the core's memory."""
    zero = _ZERO.get(dtype.newbyteorder("="))
    if zero is None:  # half floats
        return filled(0, shape, dtype)
    return _core.expand(zero, shape, None, 1.0, channels_last)
