"""The setters of Tensor's attributes grad, requires_grad and data."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.memory import plain
from ranvier.autograd.recording import current, recordings
from ranvier.autograd.views import FIRST, FLAG, UNWATCHED, begin_gradients


def set_grad(tensor: Any, value: Any) -> None:
    if value is not None:
        _check_grad(tensor, value)
    if recordings and (recording := current()) is not None:
        recording.sets_gradient(tensor)
    tensor._grad = value


def _check_grad(tensor: Any, value: Any) -> None:
    if not hasattr(value, "_cell"):
        raise TypeError(f"[grad] got {type(value).__name__}; expected a Tensor or None")
    array, own = value._array, tensor._array
    if value is tensor:
        raise RuntimeError("[grad] got the tensor itself; expected another Tensor")
    if array.shape != own.shape:
        raise RuntimeError(f"[grad] got a gradient of shape {array.shape}; expected {own.shape}")
    if array.dtype != own.dtype:
        raise RuntimeError(f"[grad] got a gradient of dtype {array.dtype}; expected {own.dtype}")


def set_requires_grad(tensor: Any, value: bool, name: str = "requires_grad") -> None:
    if type(value) is not bool:
        raise TypeError(f"[{name}] got {value!r}; expected True or False")
    if tensor._grad_fn is not None:
        raise RuntimeError(
            f"[{name}] got {value} for a tensor that an operation has made; expected a leaf: you can only "
            "change requires_grad flags of leaf variables; detach() gives a tensor that needs no gradient"
        )
    if value and tensor._array.dtype.kind != "f":
        raise RuntimeError(
            f"[{name}] got a tensor of {tensor._array.dtype}; expected floats: only Tensors of floating "
            "point dtype can require gradients"
        )
    begins = value and not tensor._requires_grad
    tensor._requires_grad = value
    if begins and len(tensor._cell) > FIRST:
        begin_gradients(tensor)


def set_data(tensor: Any, value: Any) -> None:
    """Gives the tensor the memory of a value; tensors that shared its old memory keep that."""
    given = hasattr(value, "_cell")
    array = value._array if given else np.asarray(plain("data", value))
    if tensor._requires_grad and array.dtype.kind != "f":
        raise RuntimeError(
            f"[data] got dtype {array.dtype} for a tensor that requires gradients; expected floats"
        )
    if given:
        value._cell[FLAG] |= UNWATCHED
    tensor._array, tensor._view = array, None
    tensor._cell = [tensor._cell[0], None, UNWATCHED]
