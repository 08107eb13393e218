"""Handlers of the functions that take slices of a tensor."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, key_of_axes
from ranvier.onnx.patching import Original, handles, has_size
from ranvier.onnx.sizes import Size, greatest, smallest
from ranvier.onnx.symbolic_functions.common import axis_from_front, call_on, is_dynamic, recorded, section

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace
    from ranvier.tensors.types import Index

_BASIC = (int, np.integer, Size, slice, type(None), type(Ellipsis))
"""What is in a key that picks no single elements."""


@handles("__getitem__")
def _getitem(trace: Trace, call: Original, x: Tensor, key: Index | tuple[Index, ...]) -> Any:
    if not has_size(key):
        return NotImplemented
    entries = key if isinstance(key, tuple) else (key,)
    if any(map(_is_list_with_size, entries)):
        return x[tuple(map(_list_as_tensor, entries))]
    if all(isinstance(entry, _BASIC) for entry in entries):
        return recorded(trace, call(x, entries), "Getitem", None, (x,), key=entries)
    # sizes first, then the tensors and lists of the key
    by_size: list[Any] = []
    others: list[Any] = []
    for entry in key_of_axes(key, x.ndim):
        is_by_size = has_size(entry)
        if entry is not None:
            by_size.append(entry if is_by_size else slice(None))
        others.append(slice(None) if is_by_size else entry)
    if any(isinstance(entry, Size) for entry in by_size):  # it drops an axis, which `others` counts
        return NotImplemented
    first = recorded(trace, call(x, tuple(by_size)), "Getitem", None, (x,), key=tuple(by_size))
    return first[tuple(others)]


def _is_list_with_size(entry: Index) -> bool:
    return isinstance(entry, list) and has_size(entry)


def _list_as_tensor(entry: Index) -> Index:
    if isinstance(entry, list):
        return rv.tensor(entry)
    return entry


@handles("narrow")
def _narrow(trace: Trace, call: Original, x: Tensor, dim: int, start: Dim | Tensor, length: Dim) -> Any:
    if not has_size((start, length)) or isinstance(start, Tensor):
        return NotImplemented
    call(x, dim, start, length)  # checks the arguments
    return section(x, dim, start, start + length)


@handles("select")
def _select(trace: Trace, call: Original, x: Tensor, dim: int, index: Dim) -> Any:
    if not has_size(index):
        return NotImplemented
    before = (slice(None),) * axis_from_front(dim, x.ndim)
    key = (*before, index)
    return x[key]


def _sections(x: Tensor, dim: int, bounds: list[Any]) -> tuple[Tensor, ...]:
    """The slices of x along an axis between each two bounds."""
    return tuple(section(x, dim, start, stop) for start, stop in pairwise(bounds))


@handles("split")
def _split(
    trace: Trace,
    call: Original,
    x: Tensor,
    sections: Dim | list[Dim] | tuple[Dim, ...] | Tensor | None = None,
    dim: int = 0,
    **how: Any,
) -> Any:
    size: Any = sections
    for name in ("split_size", "split_size_or_sections"):
        size = how.get(name, size)
    if call.inside or isinstance(size, Tensor) or not isinstance(x, Tensor):
        return NotImplemented
    n = trace.dims(x)[axis_from_front(dim, x.ndim)]
    if not isinstance(n, Size) and not has_size(size):
        return NotImplemented
    if isinstance(size, (tuple, list)):
        if sum(size) != n:
            call(x, size, dim)  # raises its error
        return _sections(x, dim, list(accumulate(size, initial=0)))
    pieces = -(-n // size)
    if isinstance(pieces, Size):
        trace.refuse_number(pieces, "the number of pieces of split")
    return _sections(x, dim, [i * size for i in range(pieces + 1)])


@handles("chunk")
def _chunk(trace: Trace, call: Original, x: Tensor, chunks: Dim, dim: int = 0) -> Any:
    """Pieces of ceil(n / chunks). A small n has less of them; all sizes up to chunks^2 are compared."""
    n = trace.dims(x)[axis_from_front(dim, x.ndim)]
    if not isinstance(n, Size) and not has_size(chunks):
        return NotImplemented
    if isinstance(chunks, Size):
        trace.refuse_number(chunks, "the number of chunks")
    pieces = call(x, chunks, dim)
    if len(pieces) != chunks:
        trace.refuse_call(f"gives {len(pieces)} of {chunks} pieces for this size; expected a larger example")
    trace.compares_up_to(chunks * chunks)
    size = -(-n // chunks)
    return _sections(x, dim, [i * size for i in range(chunks + 1)])


@handles("tensor_split")
def _tensor_split(
    trace: Trace,
    call: Original,
    x: Tensor,
    parts: Dim | list[Dim] | tuple[Dim, ...] | None = None,
    dim: int = 0,
    **how: Any,
) -> Any:
    n = trace.dims(x)[axis_from_front(dim, x.ndim)]
    if how or not isinstance(n, Size):
        return NotImplemented
    if isinstance(parts, (tuple, list)):
        return _sections(x, dim, [0, *parts, n])
    if not isinstance(parts, int) or has_size(parts):
        return NotImplemented
    size = n // parts
    longer = n % parts
    # the first `longer` pieces have one element more than the others
    bounds = [i * size + smallest(i, longer) for i in range(parts + 1)]
    return _sections(x, dim, bounds)


@handles("diagonal")
def _diagonal(trace: Trace, call: Original, x: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Any:
    """Every (columns + 1)-th element of each matrix in C order, cut to the length of the diagonal."""
    if not is_dynamic(trace, x):
        return NotImplemented
    first = axis_from_front(dim1, x.ndim)
    second = axis_from_front(dim2, x.ndim)
    dims = trace.dims(x)
    rows = dims[first]
    columns = dims[second]
    length = greatest(smallest(rows + min(offset, 0), columns - max(offset, 0)), 0)
    others = [axis for axis in range(x.ndim) if axis not in (first, second)]
    flat = rv.flatten(rv.permute(x, (*others, first, second)), -2)
    start = greatest(offset, -offset * columns)
    every = (..., slice(start, None, columns + 1))
    picked = recorded(
        trace, call_on(trace, Tensor.__getitem__, flat, every), "Getitem", None, (flat,), key=every
    )
    to_length = (..., slice(None, length))
    y = call_on(trace, Tensor.__getitem__, picked, to_length)
    lead = tuple(dims[axis] for axis in others)
    return recorded(trace, y, "Getitem", (*lead, length), (picked,), key=to_length)
