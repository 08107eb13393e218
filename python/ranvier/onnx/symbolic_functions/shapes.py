"""Handlers of the functions that change a shape, and repeat what is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, broadcast, completed, count
from ranvier.onnx.patching import Original, handles, has_size
from ranvier.onnx.sizes import Size
from ranvier.onnx.symbolic_functions.common import (
    SizesLike,
    axis_from_front,
    call_on,
    is_dynamic,
    listed,
    recorded,
    recorded_expand,
    recorded_reshape,
)

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


# --- reshape
@handles("reshape", "view")
def _reshape(trace: Trace, call: Original, x: Tensor, *sizes: SizesLike, **how: Any) -> Any:
    if call.inside or not isinstance(x, Tensor):
        return NotImplemented
    target = listed(sizes, how.get("shape", how.get("size")))
    are_sizes = all(isinstance(n, (int, np.integer, Size)) for n in target)
    if not are_sizes or how.get("dtype") is not None:  # a view as another dtype
        return NotImplemented
    if not is_dynamic(trace, x) and not has_size(target):
        return NotImplemented
    return recorded_reshape(trace, call(x, *sizes, **how), x, completed(trace.dims(x), target))


@handles("view_as", "reshape_as")
def _reshape_as(trace: Trace, call: Original, x: Tensor, other: Tensor) -> Any:
    if not is_dynamic(trace, x) and not is_dynamic(trace, other):
        return NotImplemented
    return recorded_reshape(trace, call(x, other), x, trace.dims(other))


@handles("flatten")
def _flatten(trace: Trace, call: Original, x: Tensor, start_dim: int = 0, end_dim: int = -1) -> Any:
    if not is_dynamic(trace, x):
        return NotImplemented
    dims = trace.dims(x)
    first = axis_from_front(start_dim, len(dims))
    last = axis_from_front(end_dim, len(dims))
    flat = count(dims[first : last + 1])
    return recorded_reshape(trace, call(x, start_dim, end_dim), x, (*dims[:first], flat, *dims[last + 1 :]))


@handles("ravel")
def _ravel(trace: Trace, call: Original, x: Tensor) -> Any:
    if is_dynamic(trace, x):
        return rv.flatten(x)
    return NotImplemented


@handles("unflatten")
def _unflatten(trace: Trace, call: Original, x: Tensor, dim: int, sizes: SizesLike) -> Any:
    if not has_size(sizes) and (call.inside or not is_dynamic(trace, x)):
        return NotImplemented
    dims = trace.dims(x)
    at = axis_from_front(dim, len(dims))
    divided = completed((dims[at],), listed((sizes,)))
    return recorded_reshape(trace, call(x, dim, sizes), x, (*dims[:at], *divided, *dims[at + 1 :]))


@handles("unsqueeze")
def _unsqueeze(
    trace: Trace, call: Original, x: Tensor, dim: int | None = None, *, axis: int | None = None
) -> Any:
    if not is_dynamic(trace, x):
        return NotImplemented
    place: Any = dim if axis is None else axis
    dims = list(trace.dims(x))
    dims.insert(axis_from_front(place, len(dims) + 1), 1)
    return recorded_reshape(trace, call(x, place), x, tuple(dims))


@handles("squeeze")
def _squeeze(
    trace: Trace,
    call: Original,
    x: Tensor,
    dim: int | tuple[int, ...] | None = None,
    *more: int,
    axis: int | tuple[int, ...] | None = None,
) -> Any:
    if not is_dynamic(trace, x):
        return NotImplemented
    dims = trace.dims(x)
    named = dim if axis is None else axis
    chosen = tuple(range(len(dims)))
    if named is not None:
        chosen = (*listed((named,)), *more)
    axes = [axis_from_front(d, len(dims)) for d in chosen]
    removed = [at for at in axes if dims[at] == 1]
    if not removed:
        return x
    remaining = tuple(n for at, n in enumerate(dims) if at not in removed)
    return recorded_reshape(trace, call(x, tuple(removed)), x, remaining)


# --- expand
@handles("expand", "broadcast_to")
def _expand(trace: Trace, call: Original, x: Tensor, *sizes: SizesLike, size: SizesLike | None = None) -> Any:
    target = listed(sizes, size)
    if call.inside or not (is_dynamic(trace, x) or has_size(target)):
        return NotImplemented
    dims = trace.dims(x)
    new_axes = len(target) - len(dims)
    made = list(target)
    for i, n in enumerate(target):
        if not isinstance(n, Size) and n == -1:
            made[i] = dims[i - new_axes]
    return recorded_expand(trace, call(x, target), x, tuple(made))


@handles("expand_as")
def _expand_as(trace: Trace, call: Original, x: Tensor, other: Tensor) -> Any:
    if not is_dynamic(trace, x) and not is_dynamic(trace, other):
        return NotImplemented
    return recorded_expand(trace, call(x, other), x, trace.dims(other))


@handles("broadcast_tensors")
def _broadcast_tensors(trace: Trace, call: Original, *tensors: Tensor) -> Any:
    if not any(is_dynamic(trace, x) for x in tensors):
        return NotImplemented
    dims: Any = broadcast(*map(trace.dims, tensors))
    if None in dims:
        return trace.refuse_call("got two dynamic axes; expected axes of one name")
    return tuple(recorded_expand(trace, rv.broadcast_to(x, dims), x, dims) for x in tensors)


@handles("meshgrid")
def _meshgrid(trace: Trace, call: Original, *tensors: Tensor, indexing: str = "ij") -> Any:
    vectors = listed(tensors)  # type: ignore[arg-type]
    if not any(is_dynamic(trace, x) for x in vectors):
        return NotImplemented
    order = list(range(len(vectors)))  # of the vectors along the axes of the results
    if indexing == "xy":
        order[:2] = order[:2][::-1]  # the first two change places
    target = tuple(trace.dims(vectors[i])[0] for i in order)
    made = []
    for i, x in enumerate(vectors):
        shape: list[Dim] = [1] * len(vectors)
        shape[order.index(i)] = trace.dims(x)[0]
        column = recorded_reshape(trace, call_on(trace, rv.reshape, x, shape), x, tuple(shape))
        made.append(rv.expand(column, target))
    return tuple(made)


# --- repeat
@handles("repeat", "tile")
def _repeat(trace: Trace, call: Original, x: Tensor, *times: SizesLike, **how: Any) -> Any:
    named = next(iter(how.values()), None)  # the only keyword, whose name differs in repeat and tile
    counts = listed(times, named)
    if call.inside or not (is_dynamic(trace, x) or has_size(counts)):
        return NotImplemented
    dims = trace.dims(x)
    # the shorter of both gets ones in front
    counts = (1,) * (len(dims) - len(counts)) + counts
    dims = (1,) * (len(counts) - len(dims)) + dims
    made = tuple(n * times_of_axis for n, times_of_axis in zip(dims, counts, strict=True))
    return recorded(trace, call(x, *times, **how), "Tile", made, (x,), counts=counts)


@handles("repeat_interleave")
def _repeat_interleave(
    trace: Trace,
    call: Original,
    x: Tensor,
    repeats: Dim | Tensor | None = None,
    dim: int | None = None,
    **how: Any,
) -> Any:
    if not isinstance(repeats, (int, Size)) or how or call.inside:
        return NotImplemented
    if not is_dynamic(trace, x) and not has_size(repeats):
        return NotImplemented
    if dim is None:
        x = rv.flatten(x)
        dim = 0
    dims = trace.dims(x)
    at = axis_from_front(dim, len(dims))
    # a new axis of `repeats` elements after the repeated one; both become one axis
    repeated = rv.expand(rv.unsqueeze(x, at + 1), (*dims[: at + 1], repeats, *dims[at + 1 :]))
    target = (*dims[:at], dims[at] * repeats, *dims[at + 1 :])
    return recorded_reshape(trace, call_on(trace, rv.reshape, repeated, target), repeated, target)
