"""Batching rules of reductions, sorts and scans: the axes of a slice come after that of the slices."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.func.batching import Operand, batching_rule, host_rule, level_of, shifted, stacked_array
from ranvier.ops.reduction.norms import Logsumexp, Norm, Prod
from ranvier.ops.reduction.quantiles import MedianOfRows, _places, _places_of, lower_medians
from ranvier.ops.reduction.reduce import Extreme, ExtremeAlong, Sum, _reduced
from ranvier.ops.reduction.sort import Cumprod, Cumsum, Median, MedianOfAll, Sort, _middle, in_order
from ranvier.ops.reduction.statistics import RunningExtreme, _extremes
from ranvier.ops.reduction.variance import Var
from ranvier.tensors.batched import BatchedArray, Level, batched_array
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap


@batching_rule(Prod)
def _prod(node: Prod, x: Operand) -> Tensor:
    if isinstance(node.axes, int):
        return _over_axes(node, x)
    keepdims = node.keepdims
    node.axes = 1
    node.keepdims = False
    y: Tensor = node.apply(x.value.reshape(x.level.size, math.prod(x.shape)))
    return y.reshape(len(y), *(1,) * x.ndim) if keepdims else y


@batching_rule(Extreme, Logsumexp, Norm, Sum, Var)
def _over_axes(node: Any, x: Operand) -> Any:
    node.axes = shifted(node.axes, x.ndim)
    return node.apply(x.value)


@batching_rule(Cumprod, Cumsum, ExtremeAlong, Median, RunningExtreme, Sort)
def _along_axis(node: Any, x: Operand) -> Any:
    node.axis = shifted(node.axis, x.ndim)
    return node.apply(x.value)


@batching_rule(MedianOfAll)
def _median_of_all(node: MedianOfAll, x: Operand) -> Tensor:
    y: Tensor = MedianOfRows(lower_medians).apply(x.value)
    return y


# --- integers and bools


@host_rule(_reduced)
def _reduce_integers(
    run: Callable[..., Array],
    level: Level,
    function: Callable[..., Any],
    x: BatchedArray,
    axes: Any,
    keepdims: bool,
) -> Any:
    values = x.value._array
    is_flat = x.ndim == 0 or (axes is None and function in (np.argmax, np.argmin))
    if is_flat:  # these functions take one axis or all
        y = run(function, values.reshape(level.size, math.prod(x.shape)), 1, False)
        if keepdims:
            y = y.reshape((level.size, *(1,) * x.ndim))
    else:
        y = run(function, values, shifted(axes, x.ndim), keepdims)
    return batched_array(wrap(y), level)


@host_rule(_middle)
def _median_of_integers(run: Callable[..., Array], level: Level, x: BatchedArray) -> Any:
    return batched_array(wrap(host(lower_medians, x.value._array)), level)


@host_rule(in_order)
def _in_order(
    run: Callable[..., Any], level: Level, x: BatchedArray, axis: int, *settings: Any
) -> tuple[Any, ...]:
    values, indices = run(x.value._array, shifted(axis, x.ndim), *settings)
    return batched_array(wrap(values), level), batched_array(wrap(indices), level)


@host_rule(_extremes)
def _running_extremes(
    run: Callable[..., Any], level: Level, x: BatchedArray, at: int, extreme: np.ufunc
) -> tuple[Any, ...]:
    values, indices = run(x.value._array, shifted(at, x.ndim), extreme)
    return batched_array(wrap(values), level), batched_array(wrap(indices), level)


@host_rule(_places_of)
def _search(run: Callable[..., Any], level: Level, sequence: Array, v: Array, side: str) -> Any:
    is_shared = sequence.ndim == 1 and level_of(sequence) is not level
    if is_shared:
        y = run(sequence, v.value._array, side)  # type: ignore[attr-defined]
        return batched_array(wrap(y), level)
    if sequence.ndim == 0 or (sequence.ndim > 1 and sequence.shape[:-1] != v.shape[:-1]):
        return run(np.empty(sequence.shape), np.empty(v.shape), side)  # raises
    rows = stacked_array(sequence, level)
    values = stacked_array(v, level)
    if sequence.ndim == 1:
        values = values.reshape(level.size, math.prod(v.shape))
    places: Tensor = _places(wrap(rows), wrap(values), side == "right")
    return batched_array(wrap(places._array.reshape((level.size, *v.shape))), level)
