"""Writes calls that change shapes, index, join and pad.

A writer gets one call of a Function in all traced runs of the model (`TracedCall`), adds nodes, and returns
the name of the result. Sizes of dynamic axes are written as nodes (`TracedCall.shape`, `number`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.onnx.dims import Dim, broadcast, key_of_axes, same_dims, same_size
from ranvier.onnx.registry import writes
from ranvier.onnx.sizes import Size, greatest, lower_bound, smallest
from ranvier.onnx.traced_call import TracedCall
from ranvier.onnx.writers.arithmetic import wide

_FAR = 2**62  # a bound of a slice beyond every axis


@writes("Reshape")
def reshape(call: TracedCall) -> str:
    return call.reshaped(call.input(0), call.dims(0), call.result_dims())


@writes("Permute")
def permute(call: TracedCall) -> str:
    n = call.ndim()
    return call.node("Transpose", call.input(0), perm=[d % n for d in call.get("dims")] or None)


@writes("Expand")
def expand(call: TracedCall) -> str:
    dims = call.dims(0)
    wanted = call.result_dims()
    if any(same_size(n, 0) for n in wanted) and not any(same_size(n, 0) for n in dims):
        # onnxruntime expands a size of 1 to 1, not to 0; an empty result needs no elements of the operand
        none = call.graph.onnx.numpy_helper.from_array(np.zeros(1, call.dtype()))
        return call.node("ConstantOfShape", call.shape(wanted), value=none)
    lead = len(wanted) - len(dims)
    target: list[Dim] = []
    for axis, n in enumerate(wanted):
        if axis >= lead and same_size(n, dims[axis - lead]):
            target.append(1)  # Expand leaves an axis whose target is 1 as it is
        else:
            target.append(n)
    return call.node("Expand", call.input(0), call.shape(tuple(target)))


@writes("Tile")
def tile(call: TracedCall) -> str:
    x = call.input(0)
    lead = len(call.get("counts")) - call.ndim()
    if lead:
        x = call.node("Unsqueeze", x, call.graph.ints(*range(lead)))
    return call.node("Tile", x, call.shape(call.get("counts")))


@writes("Trilu")
def triangle(call: TracedCall) -> str:
    x = call.input(0)
    dtype = call.dtype()
    y = call.node("Trilu", _wide(call, x), call.scalar_size(call.get("k")), upper=int(call.get("upper")))
    if dtype == wide(dtype):
        return y
    return call.graph.cast(y, dtype)


def _wide(call: TracedCall, x: str) -> str:
    if call.dtype() == wide(call.dtype()):
        return x
    return call.graph.cast(x, wide(call.dtype()))


@writes("Flip")
def flip(call: TracedCall) -> str:
    dims = call.get("dims")
    dims = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    ones = [-1] * len(dims)
    return call.node(
        "Slice",
        call.input(0),
        call.graph.ints(*ones),
        call.graph.ints(*[-_FAR] * len(dims)),
        call.graph.ints(*dims),
        call.graph.ints(*ones),
    )


@writes("Concatenate")
def concatenate(call: TracedCall) -> str:
    ndim = max(call.ndim(i) for i in range(len(call.calls[0].inputs)))
    kept = [call.input(i) for i in range(len(call.calls[0].inputs)) if call.ndim(i) == ndim]
    return call.node("Concat", *kept, axis=call.get("axis"))


@writes("Getitem")
def getitem(call: TracedCall) -> str:
    starts = []
    ends = []
    steps = []
    axes = []
    dropped = []
    new = []
    by_size: list[tuple[int, Size]] = []  # axes that are picked at an index that depends on a size
    axis = 0  # of the operand
    at = 0  # of the result
    for part in key_of_axes(call.get("key"), call.ndim()):
        if part is None:
            new.append(at)
            at += 1
            continue
        if isinstance(part, Size):
            by_size.append((axis, part))
            axis += 1
            continue
        if isinstance(part, slice):
            at += 1
        else:
            dropped.append(axis)
            part = slice(int(part), int(part) + 1 or None, 1)
        step: Any = 1
        if part.step is not None:
            step = part.step
        if isinstance(step, Size) and lower_bound(step) <= 0:
            raise call.depends("the step of an index")
        if not (part.start is None and part.stop is None and same_size(step, 1)):
            is_forwards = lower_bound(step) > 0
            first = 0 if is_forwards else _FAR
            last = _FAR if is_forwards else -_FAR
            starts.append(_bound(call, part.start, default=first))
            ends.append(_bound(call, part.stop, default=last))
            steps.append(_bound(call, step, default=1))
            axes.append(axis)
        axis += 1
    y = call.input(0)
    if axes:
        operands = [call.graph.ints(*axes)]
        if set(steps) != {1}:
            operands.append(call.joined(steps))
        y = call.node("Slice", y, call.joined(starts), call.joined(ends), *operands)
    for axis, index in reversed(by_size):  # a vector of one index leaves the axis, for Squeeze
        y = call.node("Gather", y, call.number(index), axis=axis)
        dropped.append(axis)
    if dropped:
        y = call.node("Squeeze", y, call.graph.ints(*sorted(dropped)))
    if new:
        return call.node("Unsqueeze", y, call.graph.ints(*new))
    if axes or dropped:
        return y
    return call.node("Identity", y)


def _bound(call: TracedCall, at: Dim | None, default: int) -> int | str:
    """The start or stop of a slice: a number, or the name of a vector of one element."""
    if at is None:
        return default
    if isinstance(at, Size):
        return call.number(at)
    return int(at)


@writes("Pick")
def pick(call: TracedCall) -> str:
    """x[..., index, ...] with arrays of indices along the axes `axes`: Gather for one axis, else GatherND.

    For GatherND these axes are moved to the front; if they are adjacent, the result's axes are moved back to
    their place.
    """
    axes = call.get("axes")
    rank = len(call.calls[0].settings["shape"])  # of the indices after they are broadcast
    x = call.input(0)
    if len(axes) == 1:
        return call.node("Gather", x, call.index(1), axis=axes[0])
    wanted: Any = broadcast(*[call.dims(i) for i in range(1, len(axes) + 1)])
    if None in wanted:
        raise call.depends("the shape of the indices")
    parts = []
    for i in range(1, len(axes) + 1):
        index = call.index(i, ("int64",))
        if not same_dims(call.dims(i), wanted):
            index = call.node("Expand", index, call.shape(wanted))
        parts.append(call.node("Unsqueeze", index, call.graph.ints(rank)))
    others = [d for d in range(call.ndim()) if d not in axes]
    order = [*axes, *others]
    if order != sorted(order):
        x = call.node("Transpose", x, perm=order)
    y = call.node("GatherND", x, call.node("Concat", *parts, axis=rank))
    first = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    back = [*range(rank, rank + first), *range(rank), *range(rank + first, rank + len(others))]
    if first:
        return call.node("Transpose", y, perm=back)
    return y


@writes("Unfold")
def unfold(call: TracedCall) -> str:
    at, size, step = call.get("place")
    windows = call.result_dims()[at]
    if isinstance(windows, Size):
        zero, one = (call.graph.constant(np.int64(n)) for n in (0, 1))
        starts = call.node(
            "Mul", call.node("Range", zero, call.scalar_size(windows), one), call.graph.ints(step)
        )
        places = call.node(
            "Add", call.node("Unsqueeze", starts, call.graph.ints(1)), call.graph.constant(np.arange(size))
        )
    else:
        places = call.graph.constant(np.arange(windows)[:, None] * step + np.arange(size))
    y = call.node("Gather", call.input(0), places, axis=at)
    order = [*(d for d in range(call.ndim() + 1) if d != at + 1), at + 1]
    return call.node("Transpose", y, perm=order)


@writes("one_hot")
def one_hot(call: TracedCall) -> str:
    return call.node(
        "OneHot", call.index(0, ("int64",)), call.scalar_size(call.get("classes")), call.graph.ints(0, 1)
    )


@writes("Gather")
def gather(call: TracedCall) -> str:
    x = call.input(0)
    index = call.index(1)
    axis = call.get("axis")
    sizes = call.dims(0)
    wanted = call.dims(1)
    # axes along which the index is smaller than x, as gather allows
    less = [d for d in range(call.ndim()) if d != axis and not same_size(sizes[d], wanted[d])]
    if less:
        ends = [call.number(wanted[d]) for d in less]
        starts = call.graph.ints(*[0] * len(less))
        x = call.node("Slice", x, starts, call.node("Concat", *ends, axis=0), call.graph.ints(*less))
    return call.node("GatherElements", x, index, axis=axis)


@writes("Scatter")
def scatter(call: TracedCall) -> str:
    if not same_dims(call.dims(1), call.dims(2)):
        raise call.refuse("an index smaller than src has no counterpart", "slice src to its size")
    if call.get("add") and call.graph.opset < 16:
        raise call.refuse("sums need a later version of the operator set", "pass opset_version=16")
    reduction = "add" if call.get("add") else None
    return call.node("ScatterElements", *call.inputs(), axis=call.get("axis"), reduction=reduction)


@writes("ScatterReduce")
def scatter_reduce(call: TracedCall) -> str:
    kind = {"amax": "max", "amin": "min", "prod": "mul"}[call.get("reduce")]
    if not call.get("include_self"):
        raise call.refuse(
            "include_self=False has no counterpart", "give x the neutral element of the reduction"
        )
    if not same_dims(call.dims(1), call.dims(2)):
        raise call.refuse("an index smaller than src has no counterpart", "slice src to its size")
    least_version = 16 if kind == "mul" else 18
    if call.graph.opset < least_version:
        raise call.refuse("reductions need a later version of the operator set", "pass opset_version=18")
    return call.node("ScatterElements", *call.inputs(), axis=call.get("at"), reduction=kind)


def _whole(n: Dim | float) -> Dim:
    """A number of elements as an int, or as a Size."""
    if isinstance(n, Size):
        return n
    return int(n)


@writes("Pad")
def pad(call: TracedCall) -> str:
    sizes = call.get("sizes")
    mode = call.get("mode")
    ndim = call.ndim()
    pads: list[Dim] = [0] * (2 * ndim)
    for i in range(len(sizes) // 2):
        axis = ndim - 1 - i  # `sizes` begins with the last axis; ONNX has all starts, then all ends
        pads[axis] = _whole(sizes[2 * i])
        pads[ndim + axis] = _whole(sizes[2 * i + 1])
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode == "circular" and call.graph.opset < 19:
        raise call.refuse(
            "mode 'circular' needs a later version of the operator set", "pass opset_version=19"
        )
    if mode == "constant" and call.get("value"):
        value = [call.scalar(call.get("value"))]
    else:
        value = []
    if mode in ("constant", "circular") or all(lower_bound(n) >= 0 for n in pads):
        return call.node("Pad", call.input(0), call.shape(tuple(pads)), *value, mode=names[mode])
    added = tuple([greatest(n, 0) for n in pads])
    cropped = tuple([smallest(n, 0) for n in pads])
    wide = call.node("Pad", call.input(0), call.shape(added), mode=names[mode])
    # negative pads crop after the elements of the whole x were repeated
    return call.node("Pad", wide, call.shape(cropped))
