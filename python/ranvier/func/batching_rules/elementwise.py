"""Batching rules of element-wise ops, beside the general one (`broadcast_operands`), which needs no entry:
those that NumPy computes, of integers and bools."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ranvier.func.batching import host_rule
from ranvier.ops.elementwise.choice import _filled
from ranvier.ops.elementwise.compute import _of_integers
from ranvier.ops.elementwise.dtypes import Array, as_number
from ranvier.ops.elementwise.elementary import _signbit, _without_nan
from ranvier.ops.elementwise.logic import _isclose
from ranvier.tensors.batched import BatchedArray, Level, broadcast_arrays
from ranvier.tensors.recording import host


@host_rule(_isclose, _of_integers, _signbit, _without_nan)
def _element_by_element(run: Callable[..., Array], level: Level, *operands: Any) -> Any:
    return broadcast_arrays(run, level, *operands)


@host_rule(_filled)
def _masked_fill(run: Callable[..., Array], level: Level, mask: Array, number: Any, x: Array) -> Any:
    if not isinstance(number, BatchedArray):
        return broadcast_arrays(_filled_with(run, number), level, mask, x)
    numbers = number.value._array
    for extreme in (numbers.min(), numbers.max()):
        as_number("masked_fill", extreme.item(), x.dtype)  # raises an error if the dtype cannot hold it
    return broadcast_arrays(partial(host, np.where), level, mask, number.astype(x.dtype), x)


def _filled_with(run: Callable[..., Array], number: Any) -> Callable[..., Array]:
    def filled(mask: Array, x: Array) -> Array:
        return run(mask, number, x)

    return filled
