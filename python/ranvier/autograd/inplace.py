"""Changes of a Tensor in place, and what the tape has to know of them.

Off the tape the memory is written and the version counter raised. On the tape the tensor takes over the
result of the ordinary operation and its history: see rebase.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.autograd.keys import index_error, numbers_first
from ranvier.autograd.memory import picked, put, write
from ranvier.autograd.mode import mode
from ranvier.autograd.operators import Operators
from ranvier.autograd.rebase import take_over
from ranvier.autograd.views import BORROWED, FLAG, before_writing, bump, refuse_leaf

if TYPE_CHECKING:
    from ranvier.autograd.tensor import Tensor


def assign(tensor: Any, result: Any, name: str) -> Any:
    """Makes tensor hold the value of result (and, on the tape, its history)."""
    recorded = mode.enabled and result._requires_grad
    array, value = tensor._array, result._array
    if array.shape != value.shape:
        raise RuntimeError(
            f"[{name}] got a result of shape {value.shape} for a tensor of shape {array.shape}; expected that"
        )
    if value.dtype is not array.dtype and not np.can_cast(value.dtype, array.dtype, "same_kind"):
        raise RuntimeError(
            f"[{name}] got a result of dtype {value.dtype} for a tensor of {array.dtype}; "
            "expected a dtype that it can hold"
        )
    if recorded:
        if value.dtype != array.dtype:
            result = result.to(array.dtype)
        take_over(tensor, result, name)
    elif result is not tensor:
        store(tensor, value, name)
    return tensor


def store(tensor: Any, value: Any, name: str) -> None:
    """Writes a number or array to the memory of a tensor, off the tape."""
    array = tensor._array
    if tensor._view is not None or tensor._cell[FLAG] & BORROWED or 0 in array.strides:
        before_writing(tensor, name, array if np.size(value) != 1 and value is not array else None)
    write(tensor._array, value)
    bump(tensor)


def _passes_gradients(value: Any, tensor: Any) -> bool:
    """True where a value that requires gradients is put into floats: none flows through integers."""
    return getattr(value, "requires_grad", False) and tensor._array.dtype.kind == "f"


def check_leaf(tensor: Any, name: str) -> None:
    """Refuses to change a leaf that requires gradients, or a view of one, while they are recorded."""
    if not (tensor._requires_grad and mode.enabled):
        return
    view = tensor._view
    if tensor._grad_fn is None or (view is not None and not view[2] and view[0]._grad_fn is None):
        refuse_leaf(name, "a leaf Variable" if tensor._grad_fn is None else "a view of a leaf Variable")


def raw_index(key: Any) -> Any:
    """An index in which Tensors have become arrays."""
    if isinstance(key, tuple):
        return tuple(raw_index(part) for part in key)
    return getattr(key, "_array", key)


class InPlace(Operators):
    """The part of Tensor that changes it: every method returns the tensor itself."""

    __slots__ = ()

    def __setitem__(self, key: Any, value: Any) -> None:
        check_leaf(self, "setitem")
        try:
            self._set(key, raw_index(key), value)
        except IndexError as error:
            raise index_error("setitem", raw_index(key), self._array.shape, error) from None

    def _set(self, given: Any, key: Any, value: Any) -> None:
        recorded = self._requires_grad or _passes_gradients(value, self)
        if not (recorded and mode.enabled):
            value = getattr(value, "_array", value)
            keys = numbers_first(key, self._array.shape)
            places = None
            if 0 in self._array.strides and np.size(value) != 1:
                places = picked(self._array, keys)
            before_writing(self, "setitem", places)
            put(self._array, keys, value)
            bump(self)
            return
        from ranvier.autograd.copies import SetItem
        from ranvier.autograd.function import watched

        assign(self, watched(SetItem(key).apply(self, value), given), "setitem")

    def fill_(self, value: Any) -> Tensor:
        """Every element becomes the number."""
        return self._put(value, "fill_")

    def zero_(self) -> Tensor:
        return self._put(0, "zero_")

    def copy_(self, source: Any) -> Tensor:
        """Takes the values of another tensor or array, cast and broadcast."""
        return self._put(source, "copy_")

    def _put(self, value: Any, name: str) -> Tensor:
        check_leaf(self, name)
        recorded = self._requires_grad or _passes_gradients(value, self)
        if recorded and mode.enabled:
            from ranvier.autograd.copies import Put

            return assign(self, Put().apply(self, value), name)
        store(self, getattr(value, "_array", value), name)
        return self  # type: ignore[return-value]

    def add_(self, other: Any, *, alpha: float = 1) -> Tensor:
        """self += alpha * other"""
        check_leaf(self, "add_")
        return assign(self, self + (other if alpha == 1 else other * alpha), "add_")

    def sub_(self, other: Any, *, alpha: float = 1) -> Tensor:
        """self -= alpha * other"""
        check_leaf(self, "sub_")
        return assign(self, self - (other if alpha == 1 else other * alpha), "sub_")

    def mul_(self, other: Any) -> Tensor:
        check_leaf(self, "mul_")
        return assign(self, self * other, "mul_")

    def div_(self, other: Any, *, rounding_mode: str | None = None) -> Tensor:
        check_leaf(self, "div_")
        if rounding_mode is not None:
            return assign(self, self.div(other, rounding_mode=rounding_mode), "div_")
        return assign(self, self / other, "div_")

    def pow_(self, exponent: Any) -> Tensor:
        check_leaf(self, "pow_")
        return assign(self, self**exponent, "pow_")

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        check_leaf(self, "clamp_")
        return assign(self, self.clamp(min, max), "clamp_")

    def relu_(self) -> Tensor:
        check_leaf(self, "relu_")
        return assign(self, self.relu(), "relu_")

    def neg_(self) -> Tensor:
        check_leaf(self, "neg_")
        return assign(self, -self, "neg_")

    def exp_(self) -> Tensor:
        check_leaf(self, "exp_")
        return assign(self, self.exp(), "exp_")

    def sqrt_(self) -> Tensor:
        check_leaf(self, "sqrt_")
        return assign(self, self.sqrt(), "sqrt_")

    def sigmoid_(self) -> Tensor:
        check_leaf(self, "sigmoid_")
        return assign(self, self.sigmoid(), "sigmoid_")

    def tanh_(self) -> Tensor:
        check_leaf(self, "tanh_")
        return assign(self, self.tanh(), "tanh_")

    def masked_fill_(self, mask: Any, value: Any) -> Tensor:
        """The value where the mask is true."""
        check_leaf(self, "masked_fill_")
        return assign(self, self.masked_fill(mask, value), "masked_fill_")

    def __iadd__(self, other: Any) -> Tensor:
        return self.add_(other)

    def __isub__(self, other: Any) -> Tensor:
        return self.sub_(other)

    def __imul__(self, other: Any) -> Tensor:
        return self.mul_(other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self.div_(other)

    def __ipow__(self, other: Any) -> Tensor:
        return self.pow_(other)
