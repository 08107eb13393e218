"""Errors in units of the last place, and the exact values of the elementary functions."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from ranvier import _core
from reference.activation import sigmoid

Array = np.ndarray[Any, Any]
BOUND = 2.0  # ulp, of every function below, at every ISA level

_erf = np.vectorize(math.erf, otypes=[np.float64])


def ulp_error(got: Array, exact: Array) -> Array:
    """|got - exact| in units of the last place of ``exact`` in the dtype of ``got``; infinity where a NaN, an
    infinity or the sign of a zero is wrong. ``exact`` has a wider dtype."""
    info = np.finfo(got.dtype)
    wide = exact.dtype.type
    overflow = np.ldexp(wide(1), info.maxexp)  # in place of infinity: one unit above the largest number
    _, exponent = np.frexp(exact)
    unit = np.ldexp(wide(1), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))
    clipped = np.clip(exact, -overflow, overflow)
    error = np.abs(np.clip(got.astype(wide), -overflow, overflow) - clipped) / unit
    error = np.where(np.abs(clipped) == overflow, np.abs(got) != np.inf, error)
    error = np.where(exact == 0, (got != 0) | (np.signbit(got) != np.signbit(exact)), error)
    wrong = (np.isnan(got) != np.isnan(exact)) | (
        (error == 1) & ((exact == 0) | (np.abs(clipped) == overflow))
    )
    return np.where(wrong, np.inf, np.where(np.isnan(exact), 0, error))


def erf(x: Array) -> Array:
    """In float64; beyond 6 it is 1, below 1e-9 it is 2 x / sqrt(pi)."""
    y = np.where(np.abs(x) < 1e-9, x * (2 / math.sqrt(math.pi)), np.sign(x)).astype(np.float64)
    middle = (np.abs(x) >= 1e-9) & (np.abs(x) <= 6)
    y[middle] = _erf(x[middle].astype(np.float64))
    return np.where(np.isnan(x), np.nan, np.copysign(y, x))


# name -> (our kernel, the exact function in a wider dtype)
FUNCTIONS: dict[str, tuple[Callable[[Array, None], Array], Callable[[Array], Array]]] = {
    "exp": (_core.exp, np.exp),
    "expm1": (_core.expm1, np.expm1),
    "log": (_core.log, np.log),
    "log1p": (_core.log1p, np.log1p),
    "tanh": (_core.tanh, np.tanh),
    "sigmoid": (_core.sigmoid, sigmoid),
    "erf": (_core.erf, erf),
    "sin": (_core.sin, np.sin),
    "cos": (_core.cos, np.cos),
}
