"""The gradient of a max-pool as dy and the places of the maxima."""

from __future__ import annotations

from typing import Any

import ranvier._core as _core
from ranvier.autograd.deferred import Deferred


class AtMaxima(Deferred):
    """The gradient of the input of a max-pool over windows that do not overlap: dy at each window's maximum.

    A ReLU before the pool masks dy where the maximum is not positive. The sums of a convolution before that
    use the maxima only (`_core.conv2d_pool_backward`).
    """

    __slots__ = ("dy", "pool", "where", "windows")

    def __init__(self, dy: Any, where: Any, windows: tuple[int, ...], pool: tuple[Any, ...]) -> None:
        self.dy, self.where, self.windows, self.pool = dy, where, windows, pool  # the arrays are batches

    def array(self) -> Any:
        _, backward, shape, arguments, single = self.pool
        dx = backward(self.dy, self.where, shape, *arguments)
        return dx[0] if single else dx

    def behind_relu(self, y: Any) -> AtMaxima:
        """The gradient of x for y = relu(x), the input of the pool."""
        forward, _, _, arguments, single = self.pool
        maxima = forward(y[None] if single else y, *arguments)[0]
        return AtMaxima(_core.relu_backward(self.dy, maxima), self.where, self.windows, self.pool)
