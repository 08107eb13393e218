"""Writes calls that change shapes, index, join and pad.

A writer gets a `site.Site` (s), which is one call of a Function in all runs of the model, adds nodes, and
returns the result's name. Sizes that differ between the runs are written as nodes (`Site.shape`,
`Site.number`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.onnx.registry import writes
from ranvier.onnx.site import Site

_FAR = 2**62  # a bound of a slice beyond every axis


@writes("Reshape")
def reshape(s: Site) -> str:
    return s.reshaped(s.input(0), s.shapes(0), s.results())


@writes("Permute")
def permute(s: Site) -> str:
    n = s.ndim()
    return s.node("Transpose", s.input(0), perm=[d % n for d in s.get("dims")] or None)


@writes("Expand")
def expand(s: Site) -> str:
    results, shapes = s.results(), s.shapes(0)
    if any(0 in result for result in results) and not any(0 in shape for shape in shapes):
        # onnxruntime expands a size of 1 to 1, not to 0; an empty result needs no elements of the operand
        none = s.w.onnx.numpy_helper.from_array(np.zeros(1, s.dtype()))
        return s.node("ConstantOfShape", s.shape(results, s.input(0), shapes), value=none)
    lead = len(results[0]) - len(shapes[0])
    kept = [  # Expand leaves an axis whose target is 1 as it is
        tuple(1 if i >= lead and n == shape[i - lead] else n for i, n in enumerate(result))
        for result, shape in zip(results, shapes, strict=True)
    ]
    return s.node("Expand", s.input(0), s.shape(kept))


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
    keys = [_whole(call.settings["key"], shape) for call, shape in zip(s.calls, s.shapes(0), strict=True)]
    kinds = [[type(part) for part in key] for key in keys]
    if any(k != kinds[0] for k in kinds):
        raise s.depends("the index")
    starts, ends, steps, axes, dropped, new = [], [], [], [], [], []
    axis, at = 0, 0  # of the operand, and of the result
    for parts in map(list, zip(*keys, strict=True)):
        if parts[0] is None:
            new.append(at)
            at += 1
            continue
        if isinstance(parts[0], slice):
            at += 1
        else:
            dropped.append(axis)
            parts = [slice(int(p), int(p) + 1 or None, 1) for p in parts]
        sizes = tuple(shape[axis] for shape in s.shapes(0))
        step = 1 if parts[0].step is None else int(parts[0].step)
        if any(p.step != parts[0].step for p in parts):
            raise s.depends("the step of an index")
        if (parts[0].start, parts[0].stop, step) != (None, None, 1):
            starts.append(_bound(s, [p.start for p in parts], 0 if step > 0 else _FAR, sizes))
            ends.append(_bound(s, [p.stop for p in parts], _FAR if step > 0 else -_FAR, sizes))
            steps.append(step)
            axes.append(axis)
        axis += 1
    y = s.input(0)
    if axes:
        more = [s.w.ints(*axes)] + ([s.w.ints(*steps)] if set(steps) != {1} else [])
        y = s.node("Slice", y, s.joined(starts), s.joined(ends), *more)
    if dropped:
        y = s.node("Squeeze", y, s.w.ints(*dropped))
    return s.node("Unsqueeze", y, s.w.ints(*new)) if new else y if axes else s.node("Identity", y)


def _whole(key: Any, shape: tuple[int, ...]) -> list[Any]:
    """The key of an index as a list: a part for each dimension of the operand, and None for each new axis."""
    key_of_axes = list(key) if isinstance(key, tuple) else [key]
    missing = len(shape) - sum(p is not None and p is not Ellipsis for p in key_of_axes)
    at = next((i for i, p in enumerate(key_of_axes) if p is Ellipsis), None)
    if at is None:
        return key_of_axes + [slice(None)] * missing
    return key_of_axes[:at] + [slice(None)] * missing + key_of_axes[at + 1 :]


def _bound(s: Site, values: list[Any], default: int, sizes: tuple[int, ...]) -> Any:
    """The start or stop of a slice: a number, or the name of a vector of one element that depends on a size.

    values: the bound in each run, with None for `default`. sizes: the size of the axis in each run.
    """
    bounds = tuple(default if v is None else int(v) for v in values)
    if len(set(bounds)) == 1:
        return bounds[0]
    if bounds == sizes:
        return _FAR
    return s.number(bounds, s.input(0), s.shapes(0))


@writes("Pick")
def pick(s: Site) -> str:
    """x[..., index, ...] with arrays of indices along the axes `axes`: Gather for one axis, else GatherND.

    For GatherND these axes are moved to the front; if they are adjacent, the result's axes are moved back to
    their place.
    """
    axes, rank, x = s.get("axes"), len(s.calls[0].settings["shape"]), s.input(0)
    if len(axes) == 1:
        return s.node("Gather", x, s.index(1), axis=axes[0])
    shapes = [call.settings["shape"] for call in s.calls]
    parts = []
    for i in range(1, len(axes) + 1):
        index = s.index(i, ("int64",))
        if s.shapes(i) != shapes:
            index = s.node("Expand", index, s.shape(shapes, index, s.shapes(i)))
        parts.append(s.node("Unsqueeze", index, s.w.ints(rank)))
    others = [d for d in range(s.ndim()) if d not in axes]
    order = [*axes, *others]
    x = x if order == sorted(order) else s.node("Transpose", x, perm=order)
    y = s.node("GatherND", x, s.node("Concat", *parts, axis=rank))
    first = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    back = [*range(rank, rank + first), *range(rank), *range(rank + first, rank + len(others))]
    return s.node("Transpose", y, perm=back) if first else y


@writes("Unfold")
def unfold(s: Site) -> str:
    at, size, step = s.get("place")
    counts = {shape[at] for shape in s.results()}
    if len(counts) > 1:
        raise s.depends("the number of windows")
    places = np.arange(counts.pop())[:, None] * step + np.arange(size)
    y = s.node("Gather", s.input(0), s.w.constant(places), axis=at)
    order = [*(d for d in range(s.ndim() + 1) if d != at + 1), at + 1]
    return s.node("Transpose", y, perm=order)


@writes("one_hot")
def one_hot(s: Site) -> str:
    return s.node("OneHot", s.index(0, ("int64",)), s.w.constant(np.int64(s.get("classes"))), s.w.ints(0, 1))


@writes("Gather")
def gather(s: Site) -> str:
    x, index = s.input(0), s.index(1)
    axis, sizes, wanted = s.get("axis"), s.shapes(0), s.shapes(1)
    pairs = list(zip(sizes, wanted, strict=True))
    less = [d for d in range(s.ndim()) if d != axis and any(a[d] != b[d] for a, b in pairs)]
    if less:
        ends = [s.number(tuple(shape[d] for shape in wanted), index, wanted) for d in less]
        starts = s.w.ints(*[0] * len(less))
        x = s.node("Slice", x, starts, s.node("Concat", *ends, axis=0), s.w.ints(*less))
    return s.node("GatherElements", x, index, axis=axis)


@writes("Scatter")
def scatter(s: Site) -> str:
    if s.shapes(1) != s.shapes(2):
        raise s.refuse("an index smaller than src has no counterpart", "slice src to its size")
    if s.get("add") and s.w.opset < 16:
        raise s.refuse("sums need a later version of the operator set", "pass opset_version=16")
    reduction = "add" if s.get("add") else None
    return s.node("ScatterElements", *s.inputs(), axis=s.get("axis"), reduction=reduction)


@writes("Pad")
def pad(s: Site) -> str:
    sizes, mode, ndim = [int(n) for n in s.get("sizes")], s.get("mode"), s.ndim()
    pads = np.zeros(2 * ndim, np.int64)
    for i in range(len(sizes) // 2):
        pads[ndim - 1 - i], pads[2 * ndim - 1 - i] = sizes[2 * i], sizes[2 * i + 1]
    names = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    if mode == "circular" and s.w.opset < 19:
        raise s.refuse("mode 'circular' needs a later version of the operator set", "pass opset_version=19")
    value = [s.scalar(s.get("value"))] if mode == "constant" and s.get("value") else []
    if mode in ("constant", "circular") or pads.min() >= 0:
        return s.node("Pad", s.input(0), s.w.constant(pads), *value, mode=names[mode])
    wide = s.node("Pad", s.input(0), s.w.constant(pads.clip(min=0)), mode=names[mode])
    # negative pads crop after the elements of the whole x were repeated
    return s.node("Pad", wide, s.w.constant(pads.clip(max=0)))
