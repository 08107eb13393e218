"""Handlers of the functions that move, order or mask elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim
from ranvier.onnx.patching import Original, handles, has_size
from ranvier.onnx.sizes import number
from ranvier.onnx.symbolic_functions.common import (
    SizesLike,
    axis_from_front,
    is_dynamic,
    listed,
    recorded,
    section,
)

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


@handles("diff")
def _diff(trace: Trace, call: Original, x: Tensor, n: int = 1, dim: int = -1, **how: Any) -> Any:
    if not is_dynamic(trace, x) or x._array.dtype == np.bool_ or how.keys() - {"prepend", "append"}:
        return NotImplemented
    if how:
        operands = [how.get("prepend"), x, how.get("append")]
        x = rv.cat([operand for operand in operands if operand is not None], dim)
    for _ in range(n):
        x = section(x, dim, 1, None) - section(x, dim, 0, -1)
    return x


@handles("roll")
def _roll(
    trace: Trace, call: Original, x: Tensor, shifts: SizesLike, dims: int | tuple[int, ...] | None = None
) -> Any:
    if not is_dynamic(trace, x) and not has_size(shifts):
        return NotImplemented
    if dims is None:
        count: Any = shifts  # a Size of the trace stands for a number
        return rv.roll(rv.flatten(x), count, 0).view_as(x)
    for shift, dim in zip(listed((shifts,)), listed((dims,)), strict=True):
        n = trace.dims(x)[axis_from_front(dim, x.ndim)]
        at = n - shift % n
        x = rv.cat([section(x, dim, at, None), section(x, dim, None, at)], dim)
    return x


@handles("topk")
def _topk(trace: Trace, call: Original, x: Tensor, k: Dim, *args: Any, **how: Any) -> Any:
    if not has_size(k):
        return NotImplemented
    with trace.replaced(last=k):
        return call.function(x, number(k), *args, **how)


@handles("sort", "argsort", "msort")
def _sort(trace: Trace, call: Original, x: Tensor, *args: Any, **how: Any) -> Any:
    if not is_dynamic(trace, x):
        return NotImplemented
    with trace.replaced(last=None):
        return call.function(x, *args, **how)


@handles("tril", "triu")
def _triangle(trace: Trace, call: Original, x: Tensor, diagonal: Dim = 0) -> Any:
    if not is_dynamic(trace, x) and not has_size(diagonal):
        return NotImplemented
    is_upper = call.name == "triu"
    return recorded(trace, call(x, diagonal), "Trilu", trace.dims(x), (x,), upper=is_upper, k=diagonal)


@handles("pad")
def _pad(
    trace: Trace,
    call: Original,
    x: Tensor,
    pad: Sequence[Dim],
    mode: str = "constant",
    value: float | None = None,
) -> Any:
    has_integers = isinstance(x, Tensor) and x._array.dtype.kind in "iu" and mode == "constant"
    if not has_size(pad) and not (has_integers and is_dynamic(trace, x)):
        return NotImplemented
    y = call(x, pad, mode, value)
    if value is None:
        value = 0.0
    return recorded(trace, y, "Pad", None, (x,), sizes=tuple(pad), mode=str(mode), value=value)
