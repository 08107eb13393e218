"""Changes of a Tensor in place.

Off the tape, the memory is written and the count of changes increased. On the tape, the tensor takes the
result of the ordinary operation, and its history: see rebase.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.attributes import set_data
from ranvier.autograd.copies import Put, SetItem
from ranvier.autograd.data import shape_of
from ranvier.autograd.function import watched
from ranvier.autograd.keys import index_error, numbers_first
from ranvier.autograd.memory import picked, put, write
from ranvier.autograd.mode import mode
from ranvier.autograd.rebase import take_over
from ranvier.autograd.recording import refuse
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import BORROWED, FLAG, before_writing, bump, refuse_leaf, sharing


def assign(tensor: Any, result: Any, name: str) -> Any:
    """Gives the tensor the value of the result and, on the tape, its history."""
    if result is tensor:
        return tensor
    recorded = (tensor._requires_grad or result._requires_grad) and mode.enabled
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
        if not result._requires_grad:  # a comparison, a random draw: the old values have no gradient any more
            result = Put().apply(tensor, result)
        if result.dtype != array.dtype:
            result = result.to(array.dtype)
        take_over(tensor, result, name)
    else:
        store(tensor, value, name)
    return tensor


def written(name: str, out: Any, result: Any) -> Any:
    """PyTorch's out=: the result in the memory of another tensor of its shape, off the tape."""
    if not isinstance(out, Tensor) or out.shape != result.shape:
        got = f"shape {out.shape}" if isinstance(out, Tensor) else type(out).__name__
        raise ValueError(f"[{name}] got out of {got}; expected a Tensor of shape {result.shape}")
    if (out._requires_grad or result._requires_grad) and mode.enabled:
        raise RuntimeError(f"[{name}] got out and tensors that require gradients; expected none of them")
    return assign(out, result, name)


def store(tensor: Any, value: Any, name: str) -> None:
    """Writes a number or an array to the memory of a tensor, off the tape."""
    array = tensor._array
    if tensor._view is not None or tensor._cell[FLAG] & BORROWED or 0 in array.strides:
        before_writing(tensor, name, array if np.size(value) != 1 and value is not array else None)
    write(tensor._array, value)
    bump(tensor)


def _passes_gradients(value: Any, tensor: Any) -> bool:
    """Whether the value requires gradients and goes into floats; integers have none."""
    return getattr(value, "requires_grad", False) and tensor._array.dtype.kind == "f"


def check_leaf(tensor: Any, name: str) -> None:
    """Refuses to change a leaf that requires gradients, or a view of one, while they are recorded."""
    if not (tensor._requires_grad and mode.enabled):
        return
    view = tensor._view
    if tensor._grad_fn is None or (view is not None and not view[2] and view[0]._grad_fn is None):
        refuse_leaf(name, "a leaf Variable" if tensor._grad_fn is None else "a view of a leaf Variable")


def raw_index(key: Any) -> Any:
    """The index, with arrays in place of Tensors: a Tensor of uint8 is a mask, as in PyTorch."""
    if isinstance(key, tuple):
        return tuple(raw_index(part) for part in key)
    array = getattr(key, "_array", key)
    return array != 0 if array is not key and array.dtype == np.uint8 else array


def setitem(x: Tensor, key: Any, value: Any) -> None:
    """x[key] = value"""
    check_leaf(x, "setitem")
    raw = raw_index(key)
    try:
        if (x._requires_grad or _passes_gradients(value, x)) and mode.enabled:
            assign(x, watched(SetItem(raw).apply(x, value), key), "setitem")
        else:
            _write_places(x, numbers_first(raw, x._array.shape), getattr(value, "_array", value))
    except IndexError as error:
        raise index_error("setitem", raw, x._array.shape, error) from None


def _write_places(x: Tensor, keys: tuple[Any, ...], value: Any) -> None:
    places = picked(x._array, keys) if 0 in x._array.strides and np.size(value) != 1 else None
    before_writing(x, "setitem", places)
    put(x._array, keys, value)
    bump(x)


def fill_(x: Tensor, value: Any) -> Tensor:
    """Every element becomes the number."""
    return _replace_all(x, value, "fill_")


def zero_(x: Tensor) -> Tensor:
    """Every element becomes 0."""
    return _replace_all(x, 0, "zero_")


def copy_(x: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Takes the values of another tensor or array, cast and broadcast; non_blocking has no effect."""
    return _replace_all(x, src, "copy_")


def _replace_all(x: Tensor, value: Any, name: str) -> Tensor:
    check_leaf(x, name)
    if (x._requires_grad or _passes_gradients(value, x)) and mode.enabled:
        return assign(x, Put().apply(x, value), name)
    store(x, getattr(value, "_array", value), name)
    return x


def resize_(x: Tensor, *size: Any, memory_format: Any = None) -> Tensor:
    """Another shape in place: the elements in their order, then zeros.

    Raises RuntimeError for a tensor that requires gradients, or shares its memory with another Tensor.
    """
    refuse("resize_", "make the tensor before the step")
    shape = shape_of(size, "resize_")
    if x._requires_grad:
        raise RuntimeError("[resize_] got a tensor that requires gradients; expected one that does not")
    if x._view is not None or sharing(x):
        raise RuntimeError("[resize_] got a tensor that shares its memory; expected clone() of it")
    array, flat = np.zeros(shape, x._array.dtype), x._array.reshape(-1)
    kept = min(array.size, flat.size)
    array.reshape(-1)[:kept] = flat[:kept]
    set_data(x, array)
    return x


def resize_as_(x: Tensor, the_template: Any, memory_format: Any = None) -> Tensor:
    """The shape of another tensor, in place: see :func:`resize_`."""
    return resize_(x, the_template.shape)


METHODS: dict[str, Callable[..., Any]] = {
    "__setitem__": setitem,
    "fill_": fill_,
    "zero_": zero_,
    "copy_": copy_,
    "resize_": resize_,
    "resize_as_": resize_as_,
}
