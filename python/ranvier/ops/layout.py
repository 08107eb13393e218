"""Gradients in memory: the order of their axes, arrays of zeros, a max-pool's gradient at its maxima only."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Deferred
from ranvier.autograd.memory import filled

__all__ = ["fill_part", "filled", "is_channels_last", "zeros"]

Array = np.ndarray[Any, Any]

# What `_core.expand` repeats to arrays of zeros.
_ZERO = {np.dtype(kind): np.zeros((), kind) for kind in (np.float32, np.float64)}


def is_channels_last(x: Array) -> bool:
    """True for (N, C, H, W) with C innermost in memory. False if it is in C order as well (C = 1)."""
    return x.ndim == 4 and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous


def fill_part(part: Array, values: Array) -> None:
    """part[...] = values, of the same shape and dtype."""
    if values.dtype.char in "fd":
        _core.copy(values, False, part)
    else:
        part[...] = values


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], channels_last: bool = False) -> Array:
    """Zeros, of float32 and float64 in the core's memory."""
    zero = _ZERO.get(dtype.newbyteorder("="))
    if zero is None:  # a dtype that the core has no zeros of, as float16
        return filled(0, shape, dtype)
    return _core.expand(zero, shape, None, 1.0, channels_last)


class AtMaxima(Deferred):
    """The gradient of the input of a max-pool over windows that do not overlap: dy at each window's maximum.

    A ReLU before the pool masks dy where the maximum is not positive. The sums of a convolution before that
    use the maxima only (`_core.conv2d_pool_backward`).
    """

    __slots__ = ("dy", "pool", "where", "windows")

    def __init__(self, dy: Any, where: Any, windows: tuple[int, ...], pool: tuple[Any, ...]) -> None:
        """dy, where (a maximum's offset in its window): of the shape of the pool's output with a batch axis.

        windows: sizes of a window. pool: (forward, backward, x's shape, arguments, whether x is one sample).
        """
        self.dy, self.where, self.windows, self.pool = dy, where, windows, pool

    def array(self) -> Any:
        _, backward, shape, arguments, single = self.pool
        dx = backward(self.dy, self.where, shape, *arguments)
        return dx[0] if single else dx

    def behind_relu(self, y: Any) -> AtMaxima:
        """The gradient of x for y = relu(x), the pool's input: dy where the maximum is positive."""
        forward, _, _, arguments, single = self.pool
        maxima = forward(y[None] if single else y, *arguments)[0]
        return AtMaxima(_core.relu_backward(self.dy, maxima), self.where, self.windows, self.pool)
