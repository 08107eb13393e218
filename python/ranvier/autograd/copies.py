"""Functions that move values without arithmetic: Clone, Cast, SetItem, Put."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.keys import numbers_first

Array = np.ndarray[Any, Any]


class Clone(Function):
    """y = x in memory of its own; order 'K' keeps the layout (channels-last stays so)."""

    def __init__(self, order: Any = "K") -> None:
        self.order = order

    def forward(self, x: Array) -> Array:
        return x.copy(order=self.order)

    def backward(self, dy: Array) -> Array:
        return dy


class Cast(Function):
    """y = x in another dtype; the gradient comes back in the dtype of x."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self.differentiable = dtype.kind == "f"

    def forward(self, x: Array) -> Array:
        self.source = x.dtype
        return x.astype(self.dtype)

    def backward(self, dy: Array) -> Array:
        return dy.astype(self.source)


class SetItem(Function):
    """y = x with y[key] = value."""

    def __init__(self, key: Any) -> None:
        self.key = key

    def forward(self, x: Array, value: Array) -> Array:
        self.value_shape = value.shape
        y = x.copy(order="K")
        self.keys = numbers_first(self.key, x.shape)
        part = y if len(self.keys) == 1 else y[self.keys[0]]
        part[self.keys[-1]] = value
        return y

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        dx = dvalue = None
        if self.needs[0]:
            dx = dy.copy(order="K")
            part = dx if len(self.keys) == 1 else dx[self.keys[0]]
            part[self.keys[-1]] = 0
        if self.needs[1]:
            part = dy if len(self.keys) == 1 else dy[self.keys[0]]
            dvalue = _sum_to(part[self.keys[-1]], self.value_shape)
        return dx, dvalue


class Put(Function):
    """y = value, in the shape of x, which it replaces (``x.copy_(value)``)."""

    def forward(self, x: Array, value: Array) -> Array:
        self.value_shape, self.value_dtype = value.shape, value.dtype
        y = np.empty_like(x)
        y[...] = value
        return y

    def backward(self, dy: Array) -> tuple[Array, Array]:
        return np.zeros_like(dy), _sum_to(dy, self.value_shape).astype(self.value_dtype, copy=False)


def _sum_to(dy: Array, shape: tuple[int, ...]) -> Array:
    """Sums dy over the axes along which a value of this shape was repeated."""
    lead = dy.ndim - len(shape)
    axes = tuple(range(lead)) + tuple(
        lead + i for i, n in enumerate(shape) if n == 1 and dy.shape[lead + i] != 1
    )
    return dy.sum(axes, keepdims=True).reshape(shape) if axes else np.array(dy.reshape(shape))
