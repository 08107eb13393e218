"""Functions on arrays that compute in one pass what the ops compute in several, with the same rounding.

They take the arguments of the op and `out`. For arguments that they cannot compute they return NotImplemented
or raise an error; then Python computes the op. The core calls them for ops in place (`attach.py`).
"""

from __future__ import annotations

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array
from ranvier.tensors.memory import fill_number


def added(a: Array, b: Array | float, out: Array | None = None, *, alpha: float) -> Array:
    """a + alpha b"""
    return _core.addcmul(a, b, alpha, 1.0, out)


def subtracted(a: Array, b: Array | float, out: Array | None = None, *, alpha: float) -> Array:
    """a - alpha b"""
    return _core.addcmul(a, b, -alpha, 1.0, out)


def addcmul(x: Array, a: Array, b: Array, out: Array | None = None, *, value: float = 1) -> Array:
    """x + value a b"""
    return _core.addcmul(x, a, b, value, out)


def addcdiv(x: Array, a: Array, b: Array, out: Array | None = None, *, value: float = 1) -> Array:
    """x + value a / b"""
    return _core.addcdiv(x, a, b, value, out)


def lerp(start: Array, end: Array, weight: float, out: Array | None = None) -> Array:
    """start + weight (end - start), from the nearer end"""
    if not isinstance(weight, (float, int)):
        return NotImplemented
    if -0.5 < weight < 0.5:
        return _core.lerp(start, start, end, weight, out)
    return _core.lerp(end, start, end, weight - 1, out)


def masked_fill(x: Array, mask: Array, value: float, out: Array | None = None) -> Array:
    """value where the mask is true, else x"""
    if type(value) in (float, int) and not -65504 <= value <= 65504:  # float16 may not hold it
        value = fill_number("masked_fill", value, x.dtype)
    return _core.where(mask, value, x, out)


# The functions of the ops in place: called without keyword settings, and with them.
FUSED = {
    "addcdiv": addcdiv,
    "addcmul": addcmul,
    "clamp": _core.clip,
    "clip": _core.clip,
    "lerp": lerp,
    "masked_fill": masked_fill,
}
SCALED = {"add": added, "addcdiv": addcdiv, "addcmul": addcmul, "sub": subtracted}
