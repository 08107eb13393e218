"""Writes calls that change shapes, index, join and pad.

A writer gets a `site.Site` (s), which is one call of a Function in all runs of the model, adds nodes, and
returns the result's name. Sizes of dynamic axes are written as nodes (`Site.shape`, `Site.number`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.onnx.dims import Dim, broadcast, key_of_axes, same_dims, same_size
from ranvier.onnx.registry import writes
from ranvier.onnx.site import Site
from ranvier.onnx.sizes import Size, greatest, lower_bound, smallest
from ranvier.onnx.writers.arithmetic import wide

_FAR = 2**62  # a bound of a slice beyond every axis


@writes("Reshape")
def reshape(s: Site) -> str:
    return s.reshaped(s.input(0), s.dims(0), s.result_dims())


@writes("Permute")
def permute(s: Site) -> str:
    n = s.ndim()
    return s.node("Transpose", s.input(0), perm=[d % n for d in s.get("dims")] or None)


@writes("Expand")
def expand(s: Site) -> str:
    dims = s.dims(0)
    wanted = s.result_dims()
    if any(same_size(n, 0) for n in wanted) and not any(same_size(n, 0) for n in dims):
        # onnxruntime expands a size of 1 to 1, not to 0; an empty result needs no elements of the operand
        none = s.w.onnx.numpy_helper.from_array(np.zeros(1, s.dtype()))
        return s.node("ConstantOfShape", s.shape(wanted), value=none)
    lead = len(wanted) - len(dims)
    kept = [  # Expand leaves an axis whose target is 1 as it is
        1 if i >= lead and same_size(n, dims[i - lead]) else n for i, n in enumerate(wanted)
    ]
    return s.node("Expand", s.input(0), s.shape(tuple(kept)))


@writes("Tile")
def tile(s: Site) -> str:
    x = s.input(0)
    lead = len(s.get("counts")) - s.ndim()
    if lead:
        x = s.node("Unsqueeze", x, s.w.ints(*range(lead)))
    return s.node("Tile", x, s.shape(s.get("counts")))


@writes("Trilu")
def triangle(s: Site) -> str:
    x = s.input(0)
    dtype = s.dtype()
    y = s.node("Trilu", _wide(s, x), s.scalar_size(s.get("k")), upper=int(s.get("upper")))
    if dtype == wide(dtype):
        return y
    return s.w.cast(y, dtype)


def _wide(s: Site, x: str) -> str:
    if s.dtype() == wide(s.dtype()):
        return x
    return s.w.cast(x, wide(s.dtype()))


@writes("Flip")
def flip(s: Site) -> str:
    dims = s.get("dims")
    dims = tuple(dims) if isinstance(dims, (tuple, list)) else (dims,)
    ones = [-1] * len(dims)
    return s.node(
        "Slice", s.input(0), s.w.ints(*ones), s.w.ints(*[-_FAR] * len(dims)), s.w.ints(*dims), s.w.ints(*ones)
    )


@writes("Concatenate")
def concatenate(s: Site) -> str:
    ndim = max(s.ndim(i) for i in range(len(s.calls[0].inputs)))
    kept = [s.input(i) for i in range(len(s.calls[0].inputs)) if s.ndim(i) == ndim]
    return s.node("Concat", *kept, axis=s.get("axis"))


@writes("Getitem")
def getitem(s: Site) -> str:
    starts = []
    ends = []
    steps = []
    axes = []
    dropped = []
    new = []
    by_size: list[tuple[int, Size]] = []  # axes that are picked at an index that depends on a size
    axis = 0  # of the operand
    at = 0  # of the result
    for part in key_of_axes(s.get("key"), s.ndim()):
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
        step = 1 if part.step is None else part.step
        if isinstance(step, Size) and lower_bound(step) <= 0:
            raise s.depends("the step of an index")
        if not (part.start is None and part.stop is None and same_size(step, 1)):
            starts.append(_bound(s, part.start, 0 if lower_bound(step) > 0 else _FAR))
            ends.append(_bound(s, part.stop, _FAR if lower_bound(step) > 0 else -_FAR))
            steps.append(s.number(step) if isinstance(step, Size) else int(step))
            axes.append(axis)
        axis += 1
    y = s.input(0)
    if axes:
        more = [s.w.ints(*axes)] + ([s.joined(steps)] if set(steps) != {1} else [])
        y = s.node("Slice", y, s.joined(starts), s.joined(ends), *more)
    for axis, index in reversed(by_size):  # a vector of one index leaves the axis, for Squeeze
        y = s.node("Gather", y, s.number(index), axis=axis)
        dropped.append(axis)
    if dropped:
        y = s.node("Squeeze", y, s.w.ints(*sorted(dropped)))
    if new:
        return s.node("Unsqueeze", y, s.w.ints(*new))
    if axes or dropped:
        return y
    return s.node("Identity", y)


def _bound(s: Site, at: Any, default: int) -> int | str:
    """The start or stop of a slice: a number, or the name of a vector of one element."""
    if at is None:
        return default
    if isinstance(at, Size):
        return s.number(at)
    return int(at)


@writes("Pick")
def pick(s: Site) -> str:
    """x[..., index, ...] with arrays of indices along the axes `axes`: Gather for one axis, else GatherND.

    For GatherND these axes are moved to the front; if they are adjacent, the result's axes are moved back to
    their place.
    """
    axes = s.get("axes")
    rank = len(s.calls[0].settings["shape"])
    x = s.input(0)
    if len(axes) == 1:
        return s.node("Gather", x, s.index(1), axis=axes[0])
    wanted: Any = broadcast(*[s.dims(i) for i in range(1, len(axes) + 1)])
    if None in wanted:
        raise s.depends("the shape of the indices")
    parts = []
    for i in range(1, len(axes) + 1):
        index = s.index(i, ("int64",))
        if not same_dims(s.dims(i), wanted):
            index = s.node("Expand", index, s.shape(wanted))
        parts.append(s.node("Unsqueeze", index, s.w.ints(rank)))
    others = [d for d in range(s.ndim()) if d not in axes]
    order = [*axes, *others]
    if order != sorted(order):
        x = s.node("Transpose", x, perm=order)
    y = s.node("GatherND", x, s.node("Concat", *parts, axis=rank))
    first = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    back = [*range(rank, rank + first), *range(rank), *range(rank + first, rank + len(others))]
    if first:
        return s.node("Transpose", y, perm=back)
    return y


@writes("Unfold")
def unfold(s: Site) -> str:
    at, size, step = s.get("place")
    windows = s.result_dims()[at]
    if isinstance(windows, Size):
        zero, one = (s.w.constant(np.int64(n)) for n in (0, 1))
        starts = s.node("Mul", s.node("Range", zero, s.scalar_size(windows), one), s.w.ints(step))
        places = s.node("Add", s.node("Unsqueeze", starts, s.w.ints(1)), s.w.constant(np.arange(size)))
    else:
        places = s.w.constant(np.arange(windows)[:, None] * step + np.arange(size))
    y = s.node("Gather", s.input(0), places, axis=at)
    order = [*(d for d in range(s.ndim() + 1) if d != at + 1), at + 1]
    return s.node("Transpose", y, perm=order)


@writes("one_hot")
def one_hot(s: Site) -> str:
    return s.node("OneHot", s.index(0, ("int64",)), s.scalar_size(s.get("classes")), s.w.ints(0, 1))


@writes("Gather")
def gather(s: Site) -> str:
    x = s.input(0)
    index = s.index(1)
    axis = s.get("axis")
    sizes = s.dims(0)
    wanted = s.dims(1)
    less = [d for d in range(s.ndim()) if d != axis and not same_size(sizes[d], wanted[d])]
    if less:
        ends = [s.number(wanted[d]) for d in less]
        starts = s.w.ints(*[0] * len(less))
        x = s.node("Slice", x, starts, s.node("Concat", *ends, axis=0), s.w.ints(*less))
    return s.node("GatherElements", x, index, axis=axis)


@writes("Scatter")
def scatter(s: Site) -> str:
    if not same_dims(s.dims(1), s.dims(2)):
        raise s.refuse("an index smaller than src has no counterpart", "slice src to its size")
    if s.get("add") and s.w.opset < 16:
        raise s.refuse("sums need a later version of the operator set", "pass opset_version=16")
    reduction = "add" if s.get("add") else None
    return s.node("ScatterElements", *s.inputs(), axis=s.get("axis"), reduction=reduction)


@writes("ScatterReduce")
def scatter_reduce(s: Site) -> str:
    kind = {"amax": "max", "amin": "min", "prod": "mul"}[s.get("reduce")]
    if not s.get("include_self"):
        raise s.refuse("include_self=False has no counterpart", "give x the neutral element of the reduction")
    if not same_dims(s.dims(1), s.dims(2)):
        raise s.refuse("an index smaller than src has no counterpart", "slice src to its size")
    if s.w.opset < (16 if kind == "mul" else 18):
        raise s.refuse("reductions need a later version of the operator set", "pass opset_version=18")
    return s.node("ScatterElements", *s.inputs(), axis=s.get("at"), reduction=kind)


@writes("Pad")
def pad(s: Site) -> str:
    sizes = s.get("sizes")
    mode = s.get("mode")
    ndim = s.ndim()
    pads: list[Dim] = [0] * (2 * ndim)
    for i in range(len(sizes) // 2):
        pads[ndim - 1 - i], pads[2 * ndim - 1 - i] = sizes[2 * i], sizes[2 * i + 1]
    pads = [n if isinstance(n, Size) else int(n) for n in pads]
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode == "circular" and s.w.opset < 19:
        raise s.refuse("mode 'circular' needs a later version of the operator set", "pass opset_version=19")
    if mode == "constant" and s.get("value"):
        value = [s.scalar(s.get("value"))]
    else:
        value = []
    if mode in ("constant", "circular") or all(lower_bound(n) >= 0 for n in pads):
        return s.node("Pad", s.input(0), s.shape(tuple(pads)), *value, mode=names[mode])
    added, cropped = (tuple(f(n, 0) for n in pads) for f in (greatest, smallest))
    wide = s.node("Pad", s.input(0), s.shape(added), mode=names[mode])
    # negative pads crop after the elements of the whole x were repeated
    return s.node("Pad", wide, s.shape(cropped))
