"""Dropout layers."""

from __future__ import annotations

from typing import Any

from ranvier import ops
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module


class Dropout(Module):
    """Zeroes elements with probability p while training; see :func:`ranvier.dropout`.

    After ``eval()`` it returns x as it is.

    >>> import ranvier as rv
    >>> layer = rv.nn.Dropout(0.2).eval()
    >>> layer(rv.ones(3))
    tensor([1., 1., 1.])
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"[dropout] got p {p}; expected a probability, 0 <= p <= 1")
        self.p = p
        self.inplace = inplace

    def forward(self, x: Any) -> Tensor:
        return ops.dropout(x, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, inplace={self.inplace}"
