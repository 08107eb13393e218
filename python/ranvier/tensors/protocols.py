"""What the modules below `tensors/tensor.py` know of a Tensor. They import this file for annotations only."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

import ranvier._core as _core


class TensorSlots(Protocol):
    """The attributes in which a Tensor has its data and its history.

    _array: the elements.
    _cell: what is known of the memory, shared by all Tensors on it (`tensors/views.py`).
    _view: what the Tensor is a view of, or None (`tensors/views.py`).
    _grad: the gradient, a Tensor or None.
    _grad_fn: the Function that made the Tensor, or one of its outputs; None for a leaf.
    """

    _array: np.ndarray[Any, Any]
    _cell: _core._Cell
    _grad: Any
    _grad_fn: Any
    _requires_grad: bool
    _view: Any

    @property
    def grad(self) -> Any: ...
    @property
    def grad_fn(self) -> Any: ...
    @property
    def requires_grad(self) -> bool: ...
    @property
    def is_meta(self) -> bool: ...

    def numpy(self, *, force: bool = False) -> np.ndarray[Any, Any]: ...
    def _read(self, how: str) -> np.ndarray[Any, Any]: ...
