"""Computes operators that choose or replace elements by index: Gather, Scatter, OneHot, NonZero and others.

An index that is a Tensor goes to functions of the library where they have the case, so that a captured step
holds for other indices. The other paths read its numbers (`values.array_of`), which such a step refuses.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np

import ranvier as rv
import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator
from ranvier.onnx.sizes import Size
from ranvier.onnx.values import (
    Array,
    Value,
    array_of,
    axis_of,
    cast,
    in_float,
    ints,
    raw,
    shape_of,
    tensor_of,
)
from ranvier.ops.shape.index import gathered


def _places(index: Value) -> Tensor:
    """The index as int64."""
    return cast(tensor_of(index), np.dtype(np.int64))


@operator("Gather")
def gather(x: Value, index: Value, *, axis: int = 0) -> Any:
    """x[.., index, ..]: the dimensions of index take the place of the axis."""
    at = axis_of("Gather", axis, raw(x).ndim)
    if not isinstance(index, Tensor) and index.ndim == 0:
        return ops.select(tensor_of(x), at, int(index))
    return tensor_of(x)[((slice(None),) * at + (_places(index),))]


def _parts(index: Value) -> tuple[Tensor, ...]:
    """The columns of an index that is computed: its last axis holds a place in each of the first axes."""
    places = _places(index)
    return tuple(places[..., i] for i in range(raw(places).shape[-1]))


@operator("GatherElements")
def gather_elements(x: Value, index: Value, *, axis: int = 0) -> Any:
    at = axis_of("GatherElements", axis, raw(x).ndim)
    return gathered(tensor_of(x), at, _places(index), from_0=False)


@operator("GatherND")
def gather_nd(x: Value, index: Value, *, batch_dims: int = 0) -> Any:
    """The last axis of index holds indices into the axes of x after batch_dims, which are shared."""
    if isinstance(index, Tensor) and batch_dims == 0 and index.ndim:
        return tensor_of(x)[_parts(index)]
    indices = array_of(index)
    shape = shape_of(x)
    depth = indices.shape[-1] if indices.ndim else 0
    fits = indices.ndim > batch_dims >= 0 and batch_dims + depth <= len(shape)
    if not fits or indices.shape[:batch_dims] != shape[:batch_dims]:
        raise ValueError(f"[onnx GatherND] got indices of shape {indices.shape} for a value of shape {shape}")
    if batch_dims:
        lead = np.indices(indices.shape[:batch_dims], sparse=True)
    else:
        lead = ()
    extra = (1,) * (indices.ndim - 1 - batch_dims)
    before = tuple(i.reshape(i.shape + extra) for i in lead)
    key = (*before, *(indices[..., i] for i in range(depth)))
    return tensor_of(x)[tuple(map(tensor_of, key))]


@operator("Scatter")
@operator("ScatterElements")
def scatter_elements(
    x: Value, index: Value, updates: Value, *, axis: int = 0, reduction: str = "none"
) -> Any:
    """x, where each element of updates is written at its own place, but along `axis` at that in index."""
    at = axis_of("ScatterElements", axis, raw(x).ndim)
    if isinstance(index, Tensor) and reduction in _SCATTERS and raw(index).shape == raw(updates).shape:
        return _scattered(x, at, _places(index), updates, _SCATTERS[reduction])
    places = array_of(index).astype(np.int64)
    if places.shape != shape_of(updates):
        raise ValueError(
            f"[onnx ScatterElements] got indices of shape {places.shape} and updates of shape "
            f"{shape_of(updates)}; expected the same shape"
        )
    places = np.where(places < 0, places + shape_of(x)[at], places)
    key: list[Any] = list(np.indices(places.shape, sparse=True))
    key[at] = places
    return _put(x, tuple(key), updates, reduction)


def _scattered(x: Value, at: int, places: Tensor, updates: Value, reduction: str) -> Any:
    """`scatter_elements` at places that are computed. Negative ones count from the end."""
    from_0 = rv.where(places < 0, places + shape_of(tensor_of(x))[at], places)

    def of_tensors(x: Tensor, updates: Tensor) -> Any:
        if reduction:
            return rv.scatter_reduce(x, at, from_0, updates, reduction)
        return rv.scatter(x, at, from_0, updates)

    return in_float(of_tensors, x, updates)


@operator("ScatterND")
def scatter_nd(x: Value, index: Value, updates: Value, *, reduction: str = "none") -> Any:
    """x with updates written at the places that the last axis of index holds."""
    is_computed = isinstance(index, Tensor) and reduction in ("none", "add")
    if is_computed and _fits(raw(x), raw(index), raw(updates)):
        is_sum = reduction == "add"

        def written(x: Tensor, updates: Tensor) -> Tensor:
            return rv.index_put(x, _parts(index), updates, is_sum)

        return in_float(written, x, updates)
    indices = array_of(index)
    depth = indices.shape[-1] if indices.ndim else 0
    shape = shape_of(x)
    if depth > len(shape) or shape_of(updates) != indices.shape[:-1] + shape[depth:]:
        raise ValueError(
            f"[onnx ScatterND] got indices of shape {indices.shape} and updates of shape {shape_of(updates)} "
            f"for a value of shape {shape}"
        )
    key = tuple(indices[..., i] for i in range(depth))
    return _put(x, key, updates, reduction)


def _fits(x: Array, index: Array, updates: Array) -> bool:
    """True where updates have the shape of the places of x that the index names."""
    return index.ndim > 0 and updates.shape == index.shape[:-1] + x.shape[index.shape[-1] :]


_REDUCTIONS = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
"""ONNX's name of a reduction -> the name in `ops.scatter_reduce`."""
_SCATTERS = {"none": ""} | _REDUCTIONS


def _put(x: Value, key: tuple[Any, ...], updates: Value, reduction: str) -> Any:
    """x with updates written at x[key], or combined with the elements there by the reduction."""
    if reduction != "none" and reduction not in _REDUCTIONS:
        expected = ", ".join(_REDUCTIONS)
        raise ValueError(f"[onnx Scatter] got reduction {reduction!r}; expected none, {expected}")
    shape = shape_of(x)
    # the positions of x[key] in the flattened x
    flat = tensor_of(np.arange(math.prod(shape)).reshape(shape)[key].reshape(-1))

    def of_tensors(x: Tensor, updates: Tensor) -> Any:
        whole = ops.reshape(x, -1)
        values = ops.reshape(updates, -1)
        if reduction == "none":
            return ops.reshape(ops.scatter(whole, 0, flat, values), shape)
        return ops.reshape(ops.scatter_reduce(whole, 0, flat, values, _REDUCTIONS[reduction]), shape)

    return in_float(of_tensors, x, updates)


def _depth(depth: Value) -> list[Any]:
    """The one number in an array: a size while the model is written again (`sizes.py`)."""
    array = array_of(depth).reshape(-1)
    return list(array if array.dtype == object else array.astype(np.int64).tolist())


def _one_hot(negative: bool, index: Value, depth: Value, values: Value, /, *, axis: int = -1) -> Any:
    """A new axis of length depth, with values[1] at the index and values[0] elsewhere.

    negative: a negative index counts from the end, as from version 11 of the operator set on. Before, and for
    other indices out of range, all elements are values[0].
    """
    (count,) = _depth(depth)
    if not isinstance(count, Size) and (count < 0 or count > 2**31):
        raise ValueError(f"[onnx OneHot] got depth {count}")
    at = axis_of("OneHot", axis, raw(index).ndim + 1)

    places = ops.unsqueeze(tensor_of(index), at).to(np.int64)
    aligned = [1] * places.ndim
    aligned[at] = -1
    steps = rv.arange(count).reshape(aligned)
    hot = places.eq(steps)
    if negative:
        hot = hot | (places + count).eq(steps)
    on_off = tensor_of(values)
    return ops.where(hot, on_off[1], on_off[0])


operator("OneHot")(partial(_one_hot, False))
operator("OneHot", since=11)(partial(_one_hot, True))


@operator("NonZero")
def nonzero(x: Value) -> Any:
    return tensor_of(np.array(np.nonzero(np.atleast_1d(array_of(x))), np.int64))


@operator("Compress")
def compress(x: Value, condition: Value, *, axis: int | None = None) -> Any:
    if axis is None:
        value = ops.reshape(tensor_of(x), -1)
    else:
        value = tensor_of(x)
    at = axis_of("Compress", axis or 0, value.ndim)
    return ops.index_select(value, at, tensor_of(np.flatnonzero(array_of(condition))))


@operator("ReverseSequence")
def reverse_sequence(x: Value, lengths: Value, *, batch_axis: int = 1, time_axis: int = 0) -> Any:
    """x, in which the first lengths[n] steps of sequence n are reversed."""
    shape = shape_of(x)
    counts = np.array(ints(lengths))
    if {batch_axis, time_axis} != {0, 1} or len(shape) < 2 or len(counts) != shape[batch_axis]:
        raise ValueError(
            f"[onnx ReverseSequence] got lengths of shape {counts.shape} for a value of shape {shape}"
        )
    if counts.size and not 0 <= counts.min() <= counts.max() <= shape[time_axis]:
        raise ValueError(f"[onnx ReverseSequence] got lengths {counts.tolist()} for {shape[time_axis]} steps")
    steps = np.arange(shape[time_axis])
    order = np.where(steps < counts[:, None], counts[:, None] - 1 - steps, steps)  # (batch, time)
    rows = np.arange(shape[batch_axis])[:, None]
    key = (rows, order) if batch_axis == 0 else (order.T, rows.T)
    return tensor_of(x)[tuple(map(tensor_of, key))]


@operator("TensorScatter")
def tensor_scatter(
    x: Value, update: Value, start: Value | None = None, *, axis: int = -2, mode: str = "linear"
) -> Any:
    """x with update written along an axis from start[n] on, for each sample n of the batch.

    mode "circular": indices beyond the end go on at the beginning.
    """
    shape = shape_of(x)
    new = shape_of(update)
    at = axis_of("TensorScatter", axis, len(shape))
    if start is None:
        first = np.zeros(shape[0], np.int64)
    else:
        first = array_of(start)
    places = first[:, None] + np.arange(new[at])
    if mode == "circular":
        places %= shape[at]
    elif places.size and not 0 <= places.min() <= places.max() < shape[at]:
        raise ValueError(f"[onnx TensorScatter] got places up to {places.max()} for an axis of {shape[at]}")
    key: list[Any] = list(np.indices(new, sparse=True))
    aligned = [len(first), *(1,) * (len(shape) - 1)]
    aligned[at] = new[at]
    key[at] = places.reshape(aligned)
    return _put(x, tuple(np.broadcast_arrays(*key)), update, "none")


@operator("Unique")
def unique(x: Value, *, axis: int | None = None, sorted: int = 1) -> Any:
    array = array_of(x)
    values, first, inverse, counts = np.unique(
        array, return_index=True, return_inverse=True, return_counts=True, axis=axis
    )
    inverse = inverse.reshape(-1)
    if not sorted:
        order = np.argsort(first, kind="stable")
        values = np.take(values, order, 0 if axis is None else axis)
        first = first[order]
        inverse = np.argsort(order)[inverse]
        counts = counts[order]
    return tuple(map(tensor_of, (values, first, inverse, counts)))
