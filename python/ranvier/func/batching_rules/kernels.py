"""Batching rules of kernels, and of functions of NumPy, that ops call outside of Functions: on integers and
bools, for comparisons, for indices. Loaded with the first call of vmap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier.func.batched_changes  # noqa: F401  # tells tape/inplace.py of changes of batched Tensors
from ranvier.func.batching import kernel_rule, shifted
from ranvier.tensors.batched import (
    NUMPY_RULES,
    BatchedArray,
    Level,
    batched_array,
    broadcast_arrays,
    on_each_slice,
)
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


@kernel_rule("sum prod max min any all", rules=NUMPY_RULES)
def _reduction(
    function: Callable[..., Any], level: Level, x: BatchedArray, axis: Any = None, **settings: Any
) -> Any:
    y = function(x.value._array, axis=shifted(axis, x.ndim), **settings)
    return batched_array(wrap(y), level)


@kernel_rule("cast")
def _cast(kernel: Callable[..., Any], level: Level, x: Any, dtype: Any, out: Any) -> Any:
    if out is not None:
        return on_each_slice("cast", kernel, (x, dtype, out), {})
    return batched_array(wrap(kernel(x.value._array, dtype, None)), level)


@kernel_rule("full_like")
def _like(kernel: Callable[..., Any], level: Level, x: BatchedArray, *settings: Any) -> Any:
    """Of x only the shape, the dtype and the memory order are read: the result is the same for all slices."""
    return kernel(x.view(np.ndarray), *settings)


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
