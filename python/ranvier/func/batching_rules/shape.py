"""Batching rules of ops that move elements: the dimensions of a slice come after that of the slices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.func.batching import (
    Operand,
    batching_rule,
    host_rule,
    kernel_rule,
    level_of,
    run_on_slices,
    shifted,
    stacked_array,
)
from ranvier.ops.elementwise.choice import where
from ranvier.ops.making.creation import arange
from ranvier.ops.shape.arrange import AsStrided, Unfold
from ranvier.ops.shape.index import Gather, Pick, TakeRows, index_select
from ranvier.ops.shape.join import Concatenate, Unbind
from ranvier.ops.shape.repeat import Diagonal, Repeat
from ranvier.ops.shape.reshape import Expand, Flip, Getitem, Permute, Reshape
from ranvier.ops.shape.scatter import Scatter
from ranvier.ops.shape.write import ScatterReduce, _in_range
from ranvier.tensors.batched import NUMPY_RULES, AxisOutOfRangeError, Level, batched_array, broadcast_arrays
from ranvier.tensors.failures import OpIndexError
from ranvier.tensors.memory import all_slices, in_dtype, is_batched
from ranvier.tensors.picks import Picks
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap

_ALL = slice(None)
_MOST_DIMENSIONS = 8  # of the arrays that kernels take


@batching_rule(Reshape)
def _reshape(node: Reshape, x: Operand) -> Tensor:
    node.target = (x.level.size, *node.target)
    return node.apply(x.value)


@batching_rule(Permute)
def _permute(node: Permute, x: Operand) -> Tensor:
    node.dims = (0, *[dim % x.ndim + 1 for dim in node.dims])
    return node.apply(x.value)


@batching_rule(Expand)
def _expand(node: Expand, x: Operand) -> Tensor:
    aligned = x.aligned(len(node.target))
    node.target = (x.level.size, *node.target)
    return node.apply(aligned)


@batching_rule(Getitem)
def _getitem(node: Getitem, x: Operand) -> Tensor:
    key = node.key if isinstance(node.key, tuple) else (node.key,)
    node.key = (_ALL, *key)
    return node.apply(x.value)


@batching_rule(Flip)
def _flip(node: Flip, x: Operand) -> Tensor:
    node.dims = shifted(node.dims, x.ndim)
    return node.apply(x.value)


@batching_rule(Diagonal)
def _diagonal(node: Diagonal, x: Operand) -> Tensor:
    offset, dim1, dim2 = node.place
    node.place = (offset, shifted(dim1, x.ndim), shifted(dim2, x.ndim))
    return node.apply(x.value)


@batching_rule(Unfold)
def _unfold(node: Unfold, x: Operand) -> Tensor:
    dim, size, step = node.place
    node.place = (shifted(dim, x.ndim), size, step)
    return node.apply(x.value)


@batching_rule(AsStrided)
def _as_strided(node: AsStrided, x: Operand) -> Tensor:
    """The places are counted in the memory of the first slice. Slice i begins i steps of the slices later."""
    node.size = (x.level.size, *node.size)
    node.stride = (x.value.stride(0), *node.stride)
    return node.apply(x.value)


@batching_rule(Repeat)
def _repeat(node: Repeat, x: Operand) -> Tensor:
    size = x.level.size
    if len(node.wide) == _MOST_DIMENSIONS:
        return run_on_slices(node, [x.tensor()], x.level)
    node.split = (size, *node.split)
    node.wide = (size, *node.wide)
    node.final = (size, *node.final)
    return node.apply(x.value)


@batching_rule(Concatenate)
def _concatenate(node: Concatenate, *parts: Operand) -> Tensor:
    whole = max(parts, key=_ndim)
    if whole.ndim == 0:
        raise AxisOutOfRangeError
    node.axis = shifted(node.axis, whole.ndim)
    arrays = []
    for x in parts:
        stacked = x.stacked()
        if x.ndim < whole.ndim and x.shape == (0,):  # as PyTorch allows beside arrays of any shape
            shape = [x.level.size, *whole.shape]
            shape[node.axis] = 0
            stacked = stacked.reshape(shape)
        arrays.append(stacked)
    return node.apply(*arrays)


def _ndim(x: Operand) -> int:
    return x.ndim


@batching_rule(Unbind)
def _unbind(node: Unbind, x: Operand) -> Any:
    node.before = (_ALL, *node.before)
    return node.apply(x.value)


# --- elements at indices


@batching_rule(Gather)
def _gather(node: Gather, x: Operand, index: Operand) -> Tensor:
    node.axis = shifted(node.axis, x.ndim)
    return node.apply(x.stacked(), index.stacked())


@batching_rule(Scatter)
def _scatter(node: Scatter, x: Operand, index: Operand, src: Operand) -> Tensor:
    node.axis = 1 + node.axis
    y = node.apply(_with_dimension(x), _with_dimension(index), _with_dimension(src))
    return y.reshape(x.level.size, *x.shape)


@batching_rule(ScatterReduce)
def _scatter_reduce(node: ScatterReduce, x: Operand, index: Operand, src: Operand) -> Tensor:
    node.at = 1 + node.at
    y = node.apply(_with_dimension(x), _with_dimension(index), _with_dimension(src))
    return y.reshape(x.level.size, *x.shape)


def _with_dimension(x: Operand) -> Tensor:
    """The Tensor of all slices, whose shape is at least (1,)."""
    stacked = x.stacked()
    if x.ndim:
        return stacked
    return stacked.reshape(x.level.size, 1)


@kernel_rule("_scattered", rules=NUMPY_RULES)
def _scattered(
    function: Callable[..., Any], level: Level, combine: str | None, x: Any, at: int, places: Any, src: Any
) -> Any:
    """Scatter for integers and bools."""
    arrays = [_array_with_dimension(array, level) for array in (x, places, src)]
    y = function(combine, arrays[0], at + 1, *arrays[1:])
    return batched_array(wrap(y.reshape(level.size, *x.shape)), level)


@kernel_rule("_reduced", rules=NUMPY_RULES)
def _reduced(
    function: Callable[..., Any], level: Level, x: Any, at: int, places: Any, src: Any, *settings: Any
) -> Any:
    """ScatterReduce for integers and bools."""
    arrays = [_array_with_dimension(array, level) for array in (x, places, src)]
    y = function(arrays[0], at + 1, *arrays[1:], *settings)
    return batched_array(wrap(y.reshape(level.size, *x.shape)), level)


def _array_with_dimension(x: Any, level: Level) -> Any:
    """The array of all slices, whose shape is at least (1,)."""
    array = stacked_array(x, level)
    if x.ndim:
        return array
    return array.reshape(level.size, 1)


@batching_rule(TakeRows)
def _take_rows(node: TakeRows, x: Operand) -> Tensor:
    index = node.index
    if level_of(index) is x.level:
        rows = Operand(wrap(index), x.level)
        taken = _rows_of_slices(x, rows.value.reshape(x.level.size, -1), x.shape[0], from_0=False)
    else:
        taken = index_select_any(x.value, index.reshape(-1))
    return taken.reshape(x.level.size, *index.shape, *x.shape[1:])


def index_select_any(x: Tensor, rows: Any) -> Tensor:
    """x[:, rows], negative ones counted from the end."""
    picks = Picks((_ALL,) * x.ndim, (1,), rows, rows.shape, (rows,))
    return Pick(picks).apply(x)


@batching_rule(Pick)
def _pick(node: Pick, x: Operand) -> Tensor:
    picks = node.picks
    if level_of(picks.rows) is x.level:
        return _pick_by_slices(node, x)
    basic = (_ALL, *picks.basic)
    axes = tuple([axis + 1 for axis in picks.axes])
    node.picks = picks._replace(basic=basic, axes=axes)
    y = node.apply(x.value)
    if _are_neighbours(picks.axes):
        return y
    return y.movedim(len(picks.shape), 0)  # the picked dimensions came first


def _are_neighbours(axes: tuple[int, ...]) -> bool:
    return axes[-1] - axes[0] == len(axes) - 1


def place_of_picked(picks: Picks) -> int:
    """The dimension of x[key] at which the picked dimensions begin. An index of one number counts as an
    integer, and takes away its dimension."""
    several = [axis for axis, array in zip(picks.axes, picks.arrays, strict=True) if array.ndim]
    if not several:
        return 0
    numbers = [axis for axis, array in zip(picks.axes, picks.arrays, strict=True) if not array.ndim]
    first, last = several[0], several[-1]
    between = [axis for axis in picks.axes if first <= axis <= last]
    if len(between) != last - first + 1:
        return 0
    return first - sum(axis < first for axis in numbers)


def _pick_by_slices(node: Pick, x: Operand) -> Tensor:
    """x[key] for a key with arrays that differ from slice to slice."""
    picks = node.picks
    size = x.level.size
    if x.is_batched:
        basic = (_ALL, *picks.basic)
        view = x.value[basic]
        shape = view.shape[1:]
    else:
        view = x.value[picks.basic]
        shape = view.shape
    others = [axis for axis in range(len(shape)) if axis not in picks.axes]
    order = (*picks.axes, *others)
    length = math.prod([shape[axis] for axis in picks.axes])
    rest = [shape[axis] for axis in others]
    if x.is_batched:
        lines = view.permute(0, *[axis + 1 for axis in order]).reshape(size, length, *rest)
    else:
        lines = view.permute(order).reshape(length, *rest)
    joined: Any = picks.rows
    rows = joined.value.reshape(size, -1)
    taken = _rows_of_slices(Operand.of(lines, x), rows, length, node.from_0)
    y = taken.reshape(size, *picks.shape, *rest)
    place = place_of_picked(picks)
    if place == 0:
        return y
    picked = range(1, 1 + len(picks.shape))
    return y.movedim(tuple(picked), tuple([dim + place for dim in picked]))


def _rows_of_slices(x: Operand, rows: Tensor, length: int, from_0: bool) -> Tensor:
    """y[i, j] = x[i, rows[i, j]]: x (slices, length, ...), or (length, ...) for all slices."""
    places = counted_from_0(rows, length, from_0)
    if not x.is_batched:
        flat = wrap(places).reshape(-1)
        taken = index_select(x.value, 0, flat)
        return taken.reshape(*places.shape, *x.shape[1:])
    size = x.level.size
    lines = x.value.reshape(size * length, *x.shape[1:])
    if is_batched(places):  # by an outer level
        begin = arange(size).reshape(size, 1) * length
        numbers: Any = wrap(places) + begin
    else:
        numbers = host(_among_all, places, length)
    taken = index_select(lines, 0, numbers.reshape(-1))
    return taken.reshape(*places.shape, *x.shape[1:])


def _among_all(places: Any, length: int) -> Any:
    """Indices into an axis of this length of each slice, as indices into these axes, joined."""
    return places + np.arange(len(places)).reshape(-1, 1) * length


def counted_from_0(rows: Tensor, length: int, from_0: bool = False) -> Any:
    """A copy of indices into an axis of this length, in int64, with negative ones counted from 0. from_0:
    negative ones raise IndexError."""
    least = 0 if from_0 else -length
    values = in_dtype(all_slices(rows._array), np.dtype(np.int64))
    if not _core.inside(values, least, length - 1):
        wrong = values.max() if values.max() >= length else values.min()
        raise OpIndexError(
            f"[getitem] got index {wrong} for an axis of length {length}; expected {least} to {length - 1}"
        )
    if not is_batched(rows._array):
        return host(_from_0, values, length)
    places = rows.to(np.int64)
    return where(places < 0, places + length, places)._array


def _from_0(index: Any, length: int) -> Any:
    return np.where(index < 0, index + length, index)


@host_rule(_in_range)
def _places_in_range(run: Callable[..., Any], level: Level, name: str, index: Any, size: int) -> Any:
    return broadcast_arrays(run, level, name, index, size)
