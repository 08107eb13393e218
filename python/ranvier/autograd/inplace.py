"""Changes of a Tensor in place, and what the tape has to know of them.

Off the tape the memory is written and the version counter raised. On the tape the tensor takes over the
result of the ordinary operation, memory and history, so that what earlier Functions saved stays right;
only where somebody else sees the memory is it written, and backward then raises if it was saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.autograd.capture import captures, current
from ranvier.autograd.keys import numbers_first
from ranvier.autograd.memory import put, write
from ranvier.autograd.mode import mode
from ranvier.autograd.operators import Operators

if TYPE_CHECKING:
    from ranvier.autograd.tensor import Tensor


def bump(tensor: Any) -> None:
    """Records a change in place: call it after writing to the memory of ``tensor._array``."""
    cell = tensor._cell
    cell[0] += 1
    if captures and (capture := current()) is not None:
        capture.changes(tensor)
    array = tensor._array
    if cell[1] is None:
        cell[1] = array
    elif cell[1] is not array:  # several views were changed: remember the memory they share
        while isinstance(array.base, np.ndarray):
            array = array.base
        cell[1] = array


def assign(tensor: Any, result: Any, name: str) -> Any:
    """Makes tensor hold the value of result (and, on the tape, its history)."""
    recorded = mode.enabled and result.requires_grad
    array, value = tensor._array, result._array
    if array.shape != value.shape:
        raise RuntimeError(
            f"[{name}] the result of shape {value.shape} does not fit the tensor of shape {array.shape}"
        )
    if not np.can_cast(value.dtype, array.dtype, "same_kind"):
        raise RuntimeError(
            f"[{name}] a result of dtype {value.dtype} cannot be stored in a {array.dtype} tensor"
        )
    if not recorded:
        write(array, value)
        bump(tensor)
        return tensor
    if value.dtype != array.dtype:
        result = result.to(array.dtype)
    shared = tensor._cell[2] & 3
    if shared & 2 or (shared and tensor.grad_fn is not None and tensor.grad_fn.is_view):
        raise RuntimeError(
            f"[{name}] a view and its base cannot be changed in place while gradients are recorded: clone()"
        )
    if shared:
        write(array, result._array)
        bump(tensor)
    else:
        tensor._array, tensor._cell = result._array, result._cell
    tensor.grad_fn, tensor.requires_grad = result.grad_fn, True
    return tensor


def check_leaf(tensor: Any, name: str) -> None:
    if tensor.requires_grad and tensor.grad_fn is None and mode.enabled:
        raise RuntimeError(
            f"[{name}] a leaf Variable that requires grad is being used in an in-place operation."
        )


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
        key = raw_index(key)
        recorded = self.requires_grad or getattr(value, "requires_grad", False)
        if not (recorded and mode.enabled):
            put(self._array, numbers_first(key, self._array.shape), getattr(value, "_array", value))
            bump(self)
            return
        from ranvier.autograd.copies import SetItem

        assign(self, SetItem(key).apply(self, value), "setitem")

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
        recorded = self.requires_grad or getattr(value, "requires_grad", False)
        if recorded and mode.enabled:
            from ranvier.autograd.copies import Put

            return assign(self, Put().apply(self, value), name)
        write(self._array, getattr(value, "_array", value))
        bump(self)
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

    def div_(self, other: Any) -> Tensor:
        check_leaf(self, "div_")
        return assign(self, self / other, "div_")

    def pow_(self, exponent: Any) -> Tensor:
        check_leaf(self, "pow_")
        return assign(self, self**exponent, "pow_")

    def clamp_(self, min: Any = None, max: Any = None) -> Tensor:
        check_leaf(self, "clamp_")
        return assign(self, self.clamp(min, max), "clamp_")

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
