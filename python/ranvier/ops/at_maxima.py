"""The gradient of a max-pool in the form that ReLU and convolution before it can use: dy and the places."""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.autograd.deferred import Deferred


class AtMaxima(Deferred):
    """The gradient to the input of a max-pool over windows side by side: dy at each window's maximum.

    A ReLU before the pool cuts it off where the maximum is not positive, which is a mask of dy; and the sums
    of a convolution before that look at the maxima only (`_core.conv2d_pool_backward`).
    """

    __slots__ = ("dy", "pool", "where", "windows")

    def __init__(self, dy: Any, where: Any, windows: tuple[int, ...], pool: tuple[Any, ...]) -> None:
        self.dy, self.where, self.windows, self.pool = dy, where, windows, pool  # arrays are batches

    def array(self) -> Any:
        _, backward, shape, arguments, single = self.pool
        dx = backward(self.dy, self.where, shape, *arguments)
        return dx[0] if single else dx

    def behind_relu(self, y: Any) -> AtMaxima:
        """The gradient to x of y = relu(x), which went into the pool."""
        forward, _, _, arguments, single = self.pool
        maxima = forward(y[None] if single else y, *arguments)[0]
        return AtMaxima(_core.relu_backward(self.dy, maxima), self.where, self.windows, self.pool)
