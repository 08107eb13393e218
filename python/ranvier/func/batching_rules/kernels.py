"""Batching rules of kernels, and of functions of NumPy, that ops call outside of Functions: on integers and
bools, for comparisons, for indices. Loaded with the first call of vmap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier.func.batched_changes  # noqa: F401  # tells tape/inplace.py of changes of batched Tensors
from ranvier.func.batching import kernel_rule, level_of, shifted, stacked_array
from ranvier.tensors.batched import (
    NUMPY_RULES,
    BatchedArray,
    Level,
    batched_array,
    broadcast_arrays,
    on_each_slice,
)
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import wrap


@kernel_rule(
    """
    abs add div eq exp floor ge gt le log logical_and logical_not logical_or logical_xor lt maximum minimum
    mul ne neg pow sign sqrt square sub where isfinite isinf isnan
    """
)
def _element_wise(kernel: Callable[..., Any], level: Level, *operands: Any) -> Any:
    *inputs, out = operands
    if out is not None:
        inputs.append(out)

        def into_out(*aligned: Any) -> Any:
            return kernel(*aligned)

        return broadcast_arrays(into_out, level, *inputs)

    def without_out(*aligned: Any) -> Any:
        return kernel(*aligned, None)

    return broadcast_arrays(without_out, level, *inputs)


@kernel_rule("argmax argmin")
def _along_axis(kernel: Callable[..., Any], level: Level, x: BatchedArray, axis: Any, keepdims: bool) -> Any:
    y = kernel(x.value._array, shifted(axis, x.ndim), keepdims)
    return batched_array(wrap(y), level)


@kernel_rule("sum prod max min any all mean std var amax amin count_nonzero", rules=NUMPY_RULES)
def _reduction(
    function: Callable[..., Any], level: Level, x: Any, axis: Any = None, *more: Any, **settings: Any
) -> Any:
    if level_of(x) is not level:
        return on_each_slice("a reduction", function, (x, axis, *more), settings)
    y = function(x.value._array, shifted(axis, x.ndim), *more, **settings)
    return batched_array(wrap(y), level)


@kernel_rule("argmax argmin", rules=NUMPY_RULES)
def _place_of_extreme(
    function: Callable[..., Any], level: Level, x: BatchedArray, axis: int | None = None, **settings: Any
) -> Any:
    values = x.value._array
    if axis is not None and x.ndim:
        y = function(values, shifted(axis, x.ndim), **settings)
    else:
        y = function(values.reshape((level.size, x.size)), 1)
        if settings.get("keepdims"):
            y = y.reshape((level.size, *(1,) * x.ndim))
    return batched_array(wrap(y), level)


@kernel_rule("sort argsort", rules=NUMPY_RULES)
def _order(
    function: Callable[..., Any], level: Level, x: BatchedArray, axis: int | None = -1, **settings: Any
) -> Any:
    values = x.value._array
    if axis is None:
        y = function(values.reshape((level.size, x.size)), 1, **settings)
    else:
        y = function(values, shifted(axis, x.ndim), **settings)
    return batched_array(wrap(y), level)


@kernel_rule("take_along_axis", rules=NUMPY_RULES)
def _take_along_axis(function: Callable[..., Any], level: Level, x: Any, index: Any, axis: int = -1) -> Any:
    y = function(stacked_array(x, level), stacked_array(index, level), shifted(axis, x.ndim))
    return batched_array(wrap(y), level)


@kernel_rule("matmul matmul.__call__", rules=NUMPY_RULES)
def _matmul(function: Callable[..., Any], level: Level, a: Any, b: Any) -> Any:
    if a.ndim == 0 or b.ndim == 0:
        return function(np.empty(a.shape), np.empty(b.shape))  # raises an error
    ndim = max(a.ndim, b.ndim, 2)
    rows = _matrices(a, level, ndim, is_row=True)
    columns = _matrices(b, level, ndim, is_row=False)
    y = function(rows, columns)
    shape = list(y.shape)
    if b.ndim == 1:
        del shape[-1]
    if a.ndim == 1:
        del shape[ndim - 1]
    return batched_array(wrap(y.reshape(tuple(shape))), level)


def _matrices(x: Any, level: Level, ndim: int, is_row: bool) -> Any:
    """The values of matrices, or of a vector as a matrix of one row or column, in `ndim` dimensions after
    that of the slices."""
    shape = x.shape
    if x.ndim == 1:
        shape = (1, *shape) if is_row else (*shape, 1)
    shape = (1,) * (ndim - len(shape)) + tuple(shape)
    if level_of(x) is level:
        return x.value._array.reshape((level.size, *shape))
    return x.reshape((1, *shape))


@kernel_rule("isin", rules=NUMPY_RULES)
def _isin(
    function: Callable[..., Any], level: Level, x: Any, elements: Any, is_unique: bool, invert: bool
) -> Any:
    if level_of(elements) is not level:
        y = function(x.value._array, elements, is_unique, invert)
    else:
        y = host(_isin_of_slices, stacked_array(x, level), stacked_array(elements, level), invert)
    return batched_array(wrap(y), level)


def _isin_of_slices(x: Any, elements: Any, invert: bool) -> Any:
    """np.isin for each slice. Each value has a number; with the number of the slice it makes a key."""
    size = len(x)
    values = np.concatenate([x.reshape(-1), elements.reshape(-1)])
    _, numbers = np.unique(values, return_inverse=True, equal_nan=False)
    slices = np.arange(size)[:, None] * (values.size + 1)
    keys = numbers[: x.size].reshape(size, -1) + slices
    keys_of_elements = numbers[x.size :].reshape(size, -1) + slices
    return np.isin(keys, keys_of_elements, False, invert).reshape(x.shape)


@kernel_rule("concatenate")
def _concatenate(kernel: Callable[..., Any], level: Level, arrays: Sequence[Any], axis: int) -> Any:
    stacked = [stacked_array(x, level) for x in arrays]
    return batched_array(wrap(kernel(stacked, shifted(axis, arrays[0].ndim))), level)


@kernel_rule("cast")
def _cast(kernel: Callable[..., Any], level: Level, x: Any, dtype: Any, out: Any) -> Any:
    if out is not None:
        return on_each_slice("cast", kernel, (x, dtype, out), {})
    return batched_array(wrap(kernel(x.value._array, dtype, None)), level)


@kernel_rule("inside")
def _inside(kernel: Callable[..., Any], level: Level, x: BatchedArray, *limits: Any) -> bool:
    """Whether all elements are between the limits: a check of an argument, of all slices."""
    result: bool = kernel(x.value._array, *limits)
    return result


@kernel_rule("full_like")
def _like(kernel: Callable[..., Any], level: Level, x: BatchedArray, *settings: Any) -> Any:
    """Of x only the shape, the dtype and the memory order are read: the result is the same for all slices."""
    return kernel(np.ndarray.view(x, np.ndarray), *settings)


@kernel_rule("random_normal random_uniform")
def _random(
    kernel: Callable[..., Any], level: Level, shape: Any, dtype: Any, a: float, b: float, key: BatchedArray
) -> Any:
    """Other numbers for each slice: those of all slices are drawn with one key."""
    sizes = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    y = kernel((level.size, *sizes), dtype, a, b, key.value._array[0])
    return batched_array(wrap(y), level)


@kernel_rule("cumsum cumprod", rules=NUMPY_RULES)
def _scan(
    function: Callable[..., Any], level: Level, x: BatchedArray, axis: int, *settings: Any, **named: Any
) -> Any:
    y = function(x.value._array, shifted(axis, x.ndim), *settings, **named)
    return batched_array(wrap(y), level)


@kernel_rule("broadcast_to", rules=NUMPY_RULES)
def _broadcast_to(
    function: Callable[..., Any], level: Level, x: BatchedArray, shape: Any, **settings: Any
) -> Any:
    missing = len(shape) - x.ndim
    values = x.value._array.reshape(level.size, *(1,) * missing, *x.shape)
    return batched_array(wrap(function(values, (level.size, *shape), **settings)), level)


@kernel_rule("where", rules=NUMPY_RULES)
def _where(function: Callable[..., Any], level: Level, *operands: Any) -> Any:
    return broadcast_arrays(function, level, *operands)


@kernel_rule("ravel_multi_index", rules=NUMPY_RULES)
def _joined_index(
    function: Callable[..., Any], level: Level, indices: Sequence[Any], sizes: Sequence[int]
) -> Any:
    def of_arrays(*arrays: Any) -> Any:
        return function(arrays, sizes)

    return broadcast_arrays(of_arrays, level, *indices)


@kernel_rule("_det _lu _slogdet small_det small_eigh small_lu small_slogdet")
def _stacks_of_matrices(kernel: Callable[..., Any], level: Level, A: BatchedArray, *settings: Any) -> Any:
    results = kernel(A.value._array, *settings)
    if not isinstance(results, tuple):
        return batched_array(wrap(results), level)
    of_slices = []
    for array in results:
        of_slices.append(None if array is None else batched_array(wrap(array), level))
    return tuple(of_slices)
