"""Writes interpolation: as Resize, and as Gather where the coordinates of Resize round to another element.

Runtimes divide by out / in in float32, the library multiplies by in / out as PyTorch does. Where a coordinate
is a whole number, mode 'nearest' then takes the element before it: 2 / (4 / 14) is 6.9999995.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from ranvier.onnx.dims import Dim, same_size
from ranvier.onnx.registry import writes
from ranvier.onnx.sizes import Real, Size, exact_quotient
from ranvier.onnx.traced_call import TracedCall


class _Axis(NamedTuple):
    """An axis of the image: its size before and after; factor: None where the new size is given.

    may_copy: True if the library takes 1 in place of a factor with which a size stays, and that may be so for
    some sizes of a dynamic axis.
    """

    size: Dim
    out: Dim
    factor: float | None
    may_copy: bool


@writes("Interpolate")
def interpolate(call: TracedCall) -> str:
    size, _, mode, corners = call.get("arguments")
    axes = _axes(call)
    is_nearest = mode in ("nearest", "nearest-exact")
    if is_nearest and not all(map(_is_exact, axes)):
        return _taken(call, axes, 0.5 if mode == "nearest-exact" else 0.0)
    if mode == "bicubic" and all(map(_may_stay, axes)):
        raise call.refuse("runtimes copy where no size changes", "use recompute_scale_factor=True")
    how: dict[str, Any] = {"coordinate_transformation_mode": "align_corners" if corners else "half_pixel"}
    if mode == "nearest":
        how = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}
    elif mode == "nearest-exact":
        how["nearest_mode"] = "round_prefer_ceil"
    elif mode == "bicubic":
        how["cubic_coeff_a"] = -0.75
    kind = {"bicubic": "cubic", "linear": "linear", "bilinear": "linear"}.get(mode, "nearest")
    # an input that is left out
    if call.graph.opset < 13:
        none = call.graph.constant(np.zeros(0, np.float32))
    else:
        none = ""
    # with align_corners and factors that are not whole, runtimes differ: then the sizes are written
    has_fraction = any(axis.factor is not None and axis.factor != int(axis.factor) for axis in axes)
    if size is None and not (corners and has_fraction):
        return call.node("Resize", call.input(0), none, _scales(call, axes), mode=kind, **how)
    # The name of a vector with the result's shape: a constant, or computed from the sizes of the input.
    wanted = call.shape(call.result_dims())
    return call.node("Resize", call.input(0), none, none, wanted, mode=kind, **how)


def _axes(call: TracedCall) -> list[_Axis]:
    size, scale, mode, _ = call.get("arguments")
    count = call.ndim() - 2
    if isinstance(scale, (tuple, list)):
        given = scale
    else:
        given = [scale] * count
    # as in `ops.interpolate`, which takes 1 as the factor of an axis whose size stays
    copies = mode in ("linear", "bilinear") or (mode == "nearest" and count == 2)
    found = []
    for n, out, factor in zip(call.dims(0)[2:], call.result_dims()[2:], given, strict=True):
        if size is not None:
            found.append(_Axis(n, out, None, False))
            continue
        factor = float(factor)
        is_dynamic = isinstance(n, Size)
        stays = copies and not is_dynamic and n <= n * factor < n + 1
        # from 2 on the factor changes every size, even 1
        found.append(_Axis(n, out, 1.0 if stays else factor, copies and is_dynamic and 1 < factor < 2))
    return found


def _may_stay(axis: _Axis) -> bool:
    """True if a factor may leave a size of more than one element as it is."""
    if axis.factor is None or not 1 < axis.factor < 1.5:
        return False
    return isinstance(axis.size, Size) or axis.size * axis.factor < axis.size + 1


def _scales(call: TracedCall, axes: list[_Axis]) -> str:
    """The name of the vector of factors."""
    if not any(axis.may_copy for axis in axes):
        return call.graph.constant(np.array([1, 1, *(axis.factor for axis in axes)], np.float32))
    lead = call.graph.constant(np.ones(2, np.float32))
    return call.node("Concat", lead, *(_factor(call, axis, axis.factor) for axis in axes), axis=0)


def _factor(call: TracedCall, axis: _Axis, factor: Any) -> str:
    """The name of a vector with the factor of an axis, or 1 where its size stays."""
    given = call.graph.constant(np.array([factor], np.float32))
    if not axis.may_copy:
        return given
    stays = call.node("Equal", call.number(axis.out), call.number(axis.size))
    return call.node("Where", stays, call.graph.constant(np.ones(1, np.float32)), given)


def _is_exact(axis: _Axis) -> bool:
    """True if Resize takes the same elements: for whole factors, and for sizes divided by a power of two."""
    if axis.may_copy:
        return False
    if axis.factor is not None:
        up: Any = axis.factor
        down: Any = 1 / axis.factor
    else:
        up = exact_quotient(axis.out, axis.size)
        down = exact_quotient(axis.size, axis.out)
    if _is_whole(up):
        return float(np.float32(1 / up)) * up >= 1  # k times it is not below a whole number
    return _is_whole(down) and math.log2(down).is_integer()


def _is_whole(n: Any) -> bool:
    return n is not None and not isinstance(n, Size) and n >= 1 and float(n).is_integer()


def _taken(call: TracedCall, axes: list[_Axis], middle: float) -> str:
    """x at the elements floor((o + middle) in / out) of each axis."""
    y = call.input(0)
    for at, axis in enumerate(axes, 2):
        stays = same_size(axis.size, axis.out) and axis.factor in (None, 1.0)
        if not stays:
            y = call.node("Gather", y, _places(call, axis, middle), axis=at)
    return y


def _places(call: TracedCall, axis: _Axis, middle: float) -> str:
    """The name of the vector of elements, computed in float32 as the library does."""
    if not isinstance(axis.size, Size) and not isinstance(axis.out, Size):
        if axis.factor is None:
            step = axis.size / axis.out
        else:
            step = 1 / axis.factor
        at = (np.arange(axis.out, dtype=np.float32) + np.float32(middle)) * np.float32(step)
        return call.graph.constant(np.minimum(np.floor(at).astype(np.int64), axis.size - 1))
    zero, one = (call.graph.constant(np.int64(n)) for n in (0, 1))
    at_o = call.graph.cast(call.node("Range", zero, call.scalar_size(axis.out), one), np.float32)
    if middle:
        at_o = call.node("Add", at_o, call.graph.constant(np.float32(middle)))
    if axis.factor is None:
        step_name = call.graph.cast(
            call.scalar_size(Real.compute("truediv", axis.size, axis.out)), np.float32
        )
    else:
        step_name = _factor(call, axis, 1 / axis.factor)
    places = call.graph.cast(call.node("Floor", call.node("Mul", at_o, step_name)), np.int64)
    last = call.number(axis.size - 1)
    return call.node("Where", call.node("Less", places, last), places, last)
