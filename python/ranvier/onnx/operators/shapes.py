"""Computes operators that rearrange, repeat or crop elements, that read shapes, and that make constants."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

import ranvier as rv
import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, Dims, broadcast, completed
from ranvier.onnx.patching import has_size
from ranvier.onnx.registry import operator
from ranvier.onnx.sizes import Size
from ranvier.onnx.values import (
    Array,
    Value,
    array_of,
    axis_of,
    dtype_of,
    in_float,
    ints,
    raw,
    shape_of,
    tensor_of,
)


def _reshaped(x: Value, target: tuple[int, ...], allowzero: bool) -> Any:
    """x in another shape.

    In target -1 follows from the other sizes; 0 copies a size of x unless allowzero.
    """
    shape = shape_of(x)
    wrong = f"[onnx Reshape] got shape {target} for a value of shape {shape}"
    if not allowzero and any(n == 0 for n in target[len(shape) :]):
        raise ValueError(wrong)
    sizes = list(target)
    for i, n in enumerate(target):
        if n == 0 and not allowzero:
            sizes[i] = shape[i]
    if has_size((shape, sizes)):
        return _shaped(x, completed(shape, tuple(sizes)))
    others = math.prod(n for n in sizes if n != -1)
    if sizes.count(-1) > 1 or any(n < -1 for n in sizes) or (-1 in sizes and not others):
        raise ValueError(wrong)
    if -1 in sizes:
        sizes[sizes.index(-1)] = math.prod(shape) // others
    if math.prod(sizes) != math.prod(shape):
        raise ValueError(f"{wrong}; expected as many elements")
    return _shaped(x, tuple(sizes))


def _shaped(x: Value, sizes: Dims) -> Any:
    return ops.reshape(tensor_of(x), sizes)


@operator("Flatten")
def flatten(x: Value, *, axis: int = 1) -> Any:
    shape = shape_of(x)
    if not -len(shape) <= axis <= len(shape):
        raise ValueError(f"[onnx Flatten] got axis {axis} for a value of shape {shape}")
    at = axis
    if axis < 0:
        at = axis + len(shape)
    return _shaped(x, (math.prod(shape[:at]), math.prod(shape[at:])))


@operator("Transpose")
def transpose(x: Value, *, perm: Any = None) -> Any:
    if perm is not None:
        order = tuple(perm)
    else:
        order = tuple(range(raw(x).ndim))[::-1]
    if sorted(order) != list(range(raw(x).ndim)):
        raise ValueError(f"[onnx Transpose] got perm {order} for {raw(x).ndim} dimensions")
    return ops.permute(tensor_of(x), order)


def _squeezed(x: Value, axes: tuple[int, ...] | None) -> Any:
    shape = shape_of(x)
    if axes is None:
        dropped = {i for i, n in enumerate(shape) if n == 1}
    else:
        dropped = {axis_of("Squeeze", a, len(shape)) for a in axes}
    if any(shape[i] != 1 for i in dropped):
        raise ValueError(f"[onnx Squeeze] got axes {axes} for a value of shape {shape}; expected sizes of 1")
    return _shaped(x, tuple(n for i, n in enumerate(shape) if i not in dropped))


def _unsqueezed(x: Value, axes: tuple[int, ...]) -> Any:
    ndim = raw(x).ndim + len(axes)
    new = {axis_of("Unsqueeze", a, ndim) for a in axes}
    if len(new) != len(axes):
        raise ValueError(f"[onnx Unsqueeze] got axes {tuple(axes)}; expected each once")
    sizes = list(shape_of(x))
    for at in sorted(new):
        sizes.insert(at, 1)
    return _shaped(x, tuple(sizes))


@operator("Concat")
def concat(*values: Value, axis: int = 1) -> Any:
    return ops.cat([tensor_of(v) for v in values], axis)


def _split(x: Value, sizes: Sequence[int] | None, axis: int, count: int, num_outputs: int | None) -> Any:
    """x split along an axis into sections of these sizes, or into `count` equal ones.

    With num_outputs the last parts may be smaller.
    """
    if num_outputs not in (None, count):
        raise ValueError(f"[onnx Split] got num_outputs {num_outputs} for {count} results")
    at = axis_of("Split", axis, raw(x).ndim)
    n = shape_of(x)[at]
    if isinstance(n, Size):
        if sizes is None:
            each = -(-n // count)
            bounds = [i * each for i in range(count + 1)]
        else:
            bounds = [*accumulate(sizes, initial=0)]
        lead = (slice(None),) * at
        keys = [(*lead, slice(a, b)) for a, b in pairwise(bounds)]
        return tuple([tensor_of(x)[key] for key in keys])
    if sizes is None:
        if n % count and num_outputs is None:
            raise ValueError(
                f"[onnx Split] got {count} results of an axis of length {n}; expected equal sizes"
            )
        each = -(-n // count)
        sizes = [max(0, min(each, n - i * each)) for i in range(count)]
    if sum(sizes) != n or min(sizes, default=0) < 0:
        raise ValueError(f"[onnx Split] got sizes {tuple(sizes)} for an axis of length {n}")
    return ops.split(tensor_of(x), list(sizes), at)


def _sliced(
    x: Value,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int] | None,
    steps: Sequence[int] | None,
) -> Any:
    shape = shape_of(x)
    if axes is None:
        axes = range(len(starts))
    if steps is None:
        steps = [1] * len(starts)
    if has_size((shape, starts, ends, steps)):
        return _sliced_by_sizes(tensor_of(x), shape, starts, ends, axes, steps)
    key = [slice(None)] * len(shape)
    flipped = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis_of("Slice", axis, len(shape))
        n = shape[at]
        if step < 0:  # the same elements as a slice with a positive step, which is flipped at the end
            first = max(start, -n)
            if end < -n:
                chosen = range(n)[first::step]
            else:
                chosen = range(n)[first:end:step]
            flipped.append(at)
            key[at] = slice(0, 0)
            if len(chosen):
                key[at] = slice(chosen[-1], chosen[0] + 1, -step)
        else:
            key[at] = slice(*slice(start, end, step).indices(n))
    y = tensor_of(x)[tuple(key)]
    if flipped:
        return ops.flip(y, tuple(flipped))
    return y


def _sliced_by_sizes(
    x: Tensor,
    shape: Dims,
    starts: Sequence[int],
    ends: Sequence[int],
    axes: Sequence[int],
    steps: Sequence[int],
) -> Any:
    """`_sliced` where sizes are symbols: Python's slices have the same bounds."""
    parts = [slice(None)] * len(shape)
    flipped = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis_of("Slice", axis, len(shape))
        # exporters write a number far below every axis for an end before the first element
        is_whole = not has_size((start, end, step)) and (start, step) == (-1, -1) and end < -(2**31)
        if is_whole:  # the whole axis, backwards
            flipped.append(at)
            continue
        parts[at] = slice(start, end, step)
    y = x[tuple(parts)]
    if flipped:
        return ops.flip(y, tuple(flipped))
    return y


def _expanded(x: Value, sizes: tuple[int, ...]) -> Any:
    shape = shape_of(x)
    if has_size((shape, sizes)):
        target = broadcast(shape, sizes)
        if None in target:
            raise ValueError(
                f"[onnx Expand] got shape {sizes} for a value of shape {shape}; expected one dynamic axis in "
                "both, or a size of 1"
            )
        return ops.expand(tensor_of(x), target)
    try:
        target = np.broadcast_shapes(shape, sizes)
    except ValueError:
        raise ValueError(f"[onnx Expand] got shape {sizes} for a value of shape {shape}") from None
    return ops.expand(tensor_of(x), target)


def _tiled(x: Value, counts: tuple[int, ...]) -> Any:
    if len(counts) != raw(x).ndim or any(n < 0 for n in counts):
        raise ValueError(f"[onnx Tile] got repeats {counts} for a value of shape {shape_of(x)}")
    return rv.tile(tensor_of(x), counts)


_CONSTANTS = {"value_float": "f4", "value_floats": "f4", "value_int": "i8", "value_ints": "i8"}


@operator("Constant", more=("value", *_CONSTANTS))
def constant(**given: Any) -> Any:
    for name, value in given.items():
        if name in _CONSTANTS or isinstance(value, np.ndarray):
            return np.asarray(value, _CONSTANTS.get(name))
    raise ValueError("[onnx Constant] got no value of numbers")


@operator("ConstantOfShape")
def constant_of_shape(shape: Value, *, value: Any = None) -> Any:
    sizes = ints(shape)
    if min(sizes, default=0) < 0 or math.prod(sizes) > 2**40:
        raise ValueError(f"[onnx ConstantOfShape] got shape {sizes}; expected sizes of 0 to 2^40 elements")
    if value is None:
        number = np.zeros((), np.float32)
    else:
        number = np.asarray(value).reshape(())
    return np.broadcast_to(number, sizes)  # all elements share the memory of one


@operator("Range")
def range_(start: Value, limit: Value, delta: Value) -> Any:
    first, last, step = (array_of(v).reshape(()) for v in (start, limit, delta))
    if step:
        steps = (last.item() - first.item()) / step.item()
    else:
        steps = math.inf
    if not steps < 2**40:
        raise ValueError(f"[onnx Range] got start {first}, limit {last} and delta {step}")
    count = max(0, math.ceil(steps))
    return tensor_of((first + np.arange(count) * step).astype(first.dtype))


@operator("EyeLike")
def eye_like(x: Value, *, dtype: int | None = None, k: int = 0) -> Any:
    shape = shape_of(x)
    if len(shape) != 2:
        raise ValueError(f"[onnx EyeLike] got a value of shape {shape}; expected two dimensions")
    rows, columns = shape
    if dtype is None:
        return np.eye(rows, columns, k, dtype=raw(x).dtype)
    return np.eye(rows, columns, k, dtype=dtype_of(dtype))


@operator("Trilu")
def trilu(x: Value, k: Value | None = None, *, upper: int = 1) -> Any:
    shift: Any = 0 if k is None else array_of(k).reshape(()).item()
    if not isinstance(shift, Size):
        shift = max(-(2**31), min(2**31, shift))
    triangle = rv.triu if upper else rv.tril
    return triangle(tensor_of(x), shift)


def _blocks(name: str, x: Value, blocksize: int) -> tuple[int, int, int, int]:
    shape = shape_of(x)
    if len(shape) != 4 or blocksize < 1:
        raise ValueError(f"[onnx {name}] got a value of shape {shape} and blocksize {blocksize}")
    n, c, h, w = shape
    return n, c, h, w


@operator("DepthToSpace")
def depth_to_space(x: Value, *, blocksize: int, mode: str = "DCR") -> Any:
    n, c, h, w = _blocks("DepthToSpace", x, blocksize)
    b = blocksize
    rest = c // blocksize**2
    split = (n, b, b, rest, h, w)
    order = (0, 3, 4, 1, 5, 2)
    if mode == "CRD":
        split = (n, rest, b, b, h, w)
        order = (0, 1, 4, 2, 5, 3)
    return _reshaped(transpose(_reshaped(x, split, True), perm=order), (n, rest, h * b, w * b), False)


@operator("SpaceToDepth")
def space_to_depth(x: Value, *, blocksize: int, mode: str = "DCR") -> Any:
    n, c, h, w = _blocks("SpaceToDepth", x, blocksize)
    b = blocksize
    y = _reshaped(x, (n, c, h // b, b, w // b, b), True)
    order = (0, 3, 5, 1, 2, 4) if mode == "DCR" else (0, 1, 3, 5, 2, 4)
    return _reshaped(transpose(y, perm=order), (n, c * b * b, h // b, w // b), False)


@operator("Pad")
def pad(
    x: Value, pads: Value, value: Value | None = None, axes: Value | None = None, *, mode: str = "constant"
) -> Any:
    sizes = ints(pads)
    ndim = raw(x).ndim
    if axes is not None:
        chosen = [axis_of("Pad", a, ndim) for a in ints(axes)]
        spread = [0] * (2 * ndim)
        for i, a in enumerate(chosen):
            spread[a] = sizes[i]
            spread[a + ndim] = sizes[i + len(chosen)]
        sizes = tuple(spread)
    number = 0 if value is None else array_of(value).reshape(()).item()
    return padded(x, sizes, mode, number)


def padded(x: Value, pads: tuple[int, ...], mode: str = "constant", value: float = 0) -> Any:
    """x with elements added around it.

    pads: how many before each axis, then how many after. Negative ones crop.
    """
    shape = shape_of(x)
    ndim = len(shape)
    if len(pads) != 2 * ndim or mode not in ("constant", "reflect", "edge", "wrap"):
        raise ValueError(f"[onnx Pad] got pads {pads} and mode {mode!r} for a value of shape {shape}")
    pairs = list(zip(pads[:ndim], pads[ndim:], strict=True))
    if has_size(pads) and mode == "constant":
        return in_float(partial(rv.pad, pad=_last_axis_first(pairs), mode="constant", value=value), x)
    if has_size((shape, pads)) and mode != "constant":
        return _padded_by_sizes(x, pairs, mode)
    if not any(pads):
        return x
    if not has_size(shape) and any(n + a + b < 0 for n, (a, b) in zip(shape, pairs, strict=True)):
        raise ValueError(f"[onnx Pad] got pads {pads} for a value of shape {shape}")
    if mode == "constant":
        return in_float(partial(ops.pad, pad=_last_axis_first(pairs), mode="constant", value=value), x)
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            x = _repeated(x, axis, before, after, mode)
    return x


_MODES = {"reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def _padded_by_sizes(x: Value, pairs: list[tuple[Any, Any]], mode: str) -> Any:
    """x with its own elements added around it, where sizes are symbols; negative sizes crop."""
    while pairs and not has_size(pairs[0]) and not any(pairs[0]):
        pairs = pairs[1:]  # the first axes stay as they are
    if not pairs:
        return x
    return in_float(partial(rv.pad, pad=_last_axis_first(pairs), mode=_MODES[mode]), x)


def _last_axis_first(pairs: list[tuple[Any, Any]]) -> list[Any]:
    """Numbers of elements before and after each axis, in the order of the op `pad`."""
    sizes = []
    for before, after in reversed(pairs):
        sizes += [before, after]
    return sizes


def _repeated(x: Value, axis: int, before: int, after: int, mode: str) -> Any:
    """x with its own elements added at the ends of an axis, as mode says; negative sizes crop first."""
    first = max(-before, 0)
    last = shape_of(x)[axis] - max(-after, 0)
    n = last - first
    places = np.arange(-max(before, 0), n + max(after, 0))
    if n == 0 < len(places):
        raise ValueError(f"[onnx Pad] got mode {mode!r} for an empty axis")
    if mode == "edge":
        places = places.clip(0, n - 1)
    elif mode == "wrap":
        places %= n
    else:
        period = max(2 * n - 2, 1)
        if n > 1:
            places = np.abs((places + n - 1) % period - (n - 1))
        else:
            places = places * 0
    return ops.index_select(tensor_of(x), axis, tensor_of(places + first))


def _whole_numbers(sizes: Dim | list[Dim]) -> Array:
    """Sizes as an array: of objects if one of them depends on a dynamic axis (`operators/sizes.py`)."""
    if has_size(sizes):
        return np.array(sizes, object)
    return np.array(sizes, np.int64)


def _ints(value: Value | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    return ints(value)


@operator("Reshape")
def reshape(x: Value, shape: Value, *, allowzero: int = 0) -> Any:
    return _reshaped(x, ints(shape), bool(allowzero))


@operator("Squeeze")
def squeeze(x: Value, axes: Value | None = None) -> Any:
    return _squeezed(x, _ints(axes))


@operator("Unsqueeze")
def unsqueeze(x: Value, axes: Value) -> Any:
    return _unsqueezed(x, ints(axes))


@operator("Split")
def split(
    x: Value,
    sizes: Value | None = None,
    *,
    axis: int = 0,
    num_outputs: int | None = None,
    outputs: int = 1,
) -> Any:
    return _split(x, _ints(sizes), axis, outputs, num_outputs)


@operator("Slice")
def slice_(
    x: Value, starts: Value, ends: Value, axes: Value | None = None, steps: Value | None = None
) -> Any:
    return _sliced(x, ints(starts), ints(ends), _ints(axes), _ints(steps))


@operator("Expand")
def expand(x: Value, shape: Value) -> Any:
    return _expanded(x, ints(shape))


@operator("Tile")
def tile_along(x: Value, tiles: Value, axis: Value) -> Any:
    """Up to version 5 along one axis."""
    counts = [1] * raw(x).ndim
    counts[ints(axis)[0]] = ints(tiles)[0]
    return _tiled(x, tuple(counts))


@operator("Tile", since=6)
def tile(x: Value, repeats: Value) -> Any:
    return _tiled(x, ints(repeats))


@operator("Shape")
def shape(x: Value, *, start: int = 0, end: int | None = None) -> Array:
    return _whole_numbers(list(shape_of(x)[start:end]))


@operator("Size")
def size(x: Value) -> Array:
    return _whole_numbers(math.prod(shape_of(x)))
