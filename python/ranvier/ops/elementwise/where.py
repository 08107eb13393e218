"""where, masked_fill: a choice by a bool tensor."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.memory import in_dtype
from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.arithmetic import OfNumber
from ranvier.ops.elementwise.dtypes import (
    F32,
    F64,
    Array,
    as_number,
    as_operand,
    as_tensor,
    cast,
    require_no_gradient,
    result_dtype,
    unbroadcast,
)

__all__ = ["masked_fill", "where"]
METHODS = ["masked_fill", "masked_fill_"]


class Where(Function):
    """y = condition ? a : b"""

    def forward(self, condition: Array, a: Array, b: Array) -> Array:
        self.condition, self.shapes = condition, (a.shape, b.shape)
        return _core.where(condition, a, b, None)

    def backward(self, dy: Array) -> tuple[None, Array | None, Array | None]:
        da = db = None
        if self.needs[1]:
            da = unbroadcast(_core.where(self.condition, dy, 0, None), self.shapes[0])
        if self.needs[2]:
            db = unbroadcast(_core.where(self.condition, 0, dy, None), self.shapes[1])
        return None, da, db


class MaskedFill(OfNumber):
    """y = mask ? number : x"""

    def forward(self, x: Array, mask: Array) -> Array:
        self.mask, self.shape = mask, x.shape
        return _core.where(mask, self.number, x, None)

    def backward(self, dy: Array) -> tuple[Array, None]:
        return unbroadcast(_core.where(self.mask, 0, dy, None), self.shape), None


def where(condition: Any, input: Any = None, other: Any = None) -> Any:
    """a where the condition is true, else b; all three broadcast.

    With the condition alone: the indices of its true elements, a tuple of one int64 tensor for each
    dimension. Raises TypeError if the condition is not bool, ValueError where the shapes do not broadcast.

    >>> import ranvier as rv
    >>> x = rv.tensor([-1.0, 2.0])
    >>> rv.where(x > 0, x, 0.1 * x)
    tensor([-0.1000,  2.0000])
    """
    condition = as_tensor("where", condition)
    if input is None and other is None:
        chosen = condition._read("where with a condition alone")
        return tuple(wrap(index) for index in np.nonzero(chosen))
    input, other = as_operand("where", input), as_operand("where", other)
    dtype = result_dtype(input, other)
    if dtype in (F32, F64):
        return Where().apply(condition, cast(input, dtype), cast(other, dtype))
    require_no_gradient("where", input, other)
    raw = [
        in_dtype(x._array, dtype) if isinstance(x, Tensor) else as_number("where", x, dtype)
        for x in (input, other)
    ]
    return by_numpy(np.where, condition._array, *raw)


def masked_fill(input: Any, mask: Any, value: Any) -> Tensor:
    """x with every element at which the mask is true replaced by the number, in the dtype of x.

    x and mask broadcast. value is a number, or a tensor without dimensions, which gets the sum of the
    gradients where the mask is true. Raises TypeError if the mask is not bool, ValueError where the shapes do
    not broadcast or the dtype of x cannot hold the number.

    >>> import ranvier as rv
    >>> rv.masked_fill(rv.tensor([1.0, 2.0]), rv.tensor([True, False]), float("-inf"))
    tensor([-inf, 2.])
    """
    input, mask = as_tensor("masked_fill", input), as_tensor("masked_fill", mask)
    if mask._array.dtype.kind != "b":
        raise TypeError(f"[masked_fill] got mask of dtype {mask._array.dtype}; expected bool")
    value = as_operand("masked_fill", value)
    if isinstance(value, Tensor):
        if value._array.ndim:
            raise ValueError(
                f"[masked_fill] got value of shape {value.shape}; expected a number, or a tensor of shape ()"
            )
        if input._array.dtype in (F32, F64):
            return Where().apply(mask, cast(value, input._array.dtype), input)
    if input._array.dtype in (F32, F64):
        return MaskedFill(float(value)).apply(input, mask)
    require_no_gradient("masked_fill", input)
    number = value._array if isinstance(value, Tensor) else value
    return by_numpy(_filled, mask._array, number, input._array)


def _filled(mask: Array, number: Any, x: Array) -> Array:
    number = number.item() if isinstance(number, np.ndarray) else number
    return np.where(mask, as_number("masked_fill", number, x.dtype), x)
