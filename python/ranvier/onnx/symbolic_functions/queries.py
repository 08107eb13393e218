"""Handlers of the methods that return sizes, and of those that need a number of slices.

`from_library(2)` asks for the caller beyond the handler and its wrapper (`patching.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import count
from ranvier.onnx.patching import Original, from_library, handles
from ranvier.onnx.sizes import Size
from ranvier.onnx.symbolic_functions.common import axis_from_front, is_dynamic

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


@handles("size")
def _size(trace: Trace, call: Original, x: Tensor, dim: int | None = None) -> Any:
    if from_library(2):
        return NotImplemented
    dims = trace.dims(x)
    if dim is None:
        return rv.Size(dims)
    return dims[dim]


@handles("numel", "nelement")
def _numel(trace: Trace, call: Original, x: Tensor) -> Any:
    if from_library(2):
        return NotImplemented
    return count(trace.dims(x))


@handles("__len__")
def _length(trace: Trace, call: Original, x: Tensor) -> Any:
    dims = trace.dims(x)
    if dims and isinstance(dims[0], Size) and not from_library(2):
        trace.refuse_number(dims[0], "a length that Python takes as a plain number")
    return NotImplemented


@handles("stride")
def _stride(trace: Trace, call: Original, x: Tensor, dim: int | None = None) -> Any:
    if is_dynamic(trace, x) and not from_library(2):
        trace.refuse_number(count(trace.dims(x)), "a factor of a stride")
    return NotImplemented


@handles("unbind")
def _unbind(trace: Trace, call: Original, x: Tensor, dim: int = 0, *, axis: int | None = None) -> Any:
    place = dim if axis is None else axis
    n = trace.dims(x)[axis_from_front(place, x.ndim)]
    if isinstance(n, Size):
        trace.refuse_number(n, "the number of slices (unbind, or a loop over a tensor)")
    return NotImplemented


@handles("__iter__")
def _iterate(trace: Trace, call: Original, x: Tensor) -> Any:
    dims = trace.dims(x)
    if dims and isinstance(dims[0], Size):
        trace.refuse_number(dims[0], "the number of slices (unbind, or a loop over a tensor)")
    return NotImplemented
