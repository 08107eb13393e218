"""Ops that one kernel computes where the ops that they are made of would take several passes.

Each gives (kernel, operands ...) for the op's arguments, or None where the kernel is not enough. It rounds as
the separate ops do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ranvier._core as _core
from ranvier.autograd.tensor import Tensor

Call = tuple[Any, ...] | None


def _is_number(x: Any) -> bool:
    return (type(x) is float or type(x) is int) and -math.inf <= x <= math.inf


def _scaled(sign: int) -> Callable[..., Call]:
    def call(a: Any, *args: Any, **settings: Any) -> Call:
        """a +- alpha b"""
        alpha = settings.get("alpha", "")
        if len(args) == len(settings) == 1 and _is_number(alpha):
            return _core.addcmul, a, args[0], sign * alpha, 1.0
        return None

    return call


def _joined(kernel: Any) -> Callable[..., Call]:
    def call(x: Any, *args: Any, **settings: Any) -> Call:
        """x + value a b, or x + value a / b"""
        value = settings.get("value", 1)
        if len(args) != 2 or len(settings) != ("value" in settings) or not _is_number(value):
            return None
        return (
            (kernel, x, *args, value) if isinstance(args[0], Tensor) and isinstance(args[1], Tensor) else None
        )

    return call


def _lerp(start: Any, *args: Any, **settings: Any) -> Call:
    """start + weight (end - start), from the nearer end"""
    if settings or len(args) != 2 or not _is_number(args[1]) or not isinstance(args[0], Tensor):
        return None
    end, weight = args
    near = -0.5 < weight < 0.5
    return _core.lerp, (start if near else end), start, end, (weight if near else weight - 1)


def _masked_fill(x: Any, *args: Any, **settings: Any) -> Call:
    """value where the mask is true, else x"""
    if settings or len(args) != 2 or not _is_number(args[1]) or not isinstance(args[0], Tensor):
        return None
    return _core.where, args[0], args[1], x


def _clip(x: Any, *limits: Any, **settings: Any) -> Call:
    """x, at least the first and at most the second limit"""
    if settings or len(limits) != 2 or not (_is_number(limits[0]) and _is_number(limits[1])):
        return None
    return _core.clip, x, *limits


FUSED: dict[str, Callable[..., Call]] = {
    "add": _scaled(1),
    "addcdiv": _joined(_core.addcdiv),
    "addcmul": _joined(_core.addcmul),
    "lerp": _lerp,
    "clamp": _clip,
    "clip": _clip,
    "masked_fill": _masked_fill,
    "sub": _scaled(-1),
}
