"""Dropout layers: they act while training; after ``eval()`` they return x as it is."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module
from ranvier.ops.neural.dropout import probability

__all__ = ["AlphaDropout", "Dropout", "Dropout1d", "Dropout2d"]


class _Dropout(Module):
    """A layer with a probability; ``inplace=True`` changes x itself, as in PyTorch."""

    op: str
    _shown = ("p", "inplace")

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = float(probability(type(self).__name__.lower(), "p", p))  # of NumPy's numbers, too
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        return getattr(ops, self.op)(input, self.p, self.training, self.inplace)


class Dropout(_Dropout):
    """Zeroes elements with probability p while training; see :func:`ranvier.dropout`.

    >>> import ranvier as rv
    >>> layer = rv.nn.Dropout(0.2).eval()
    >>> layer(rv.ones(3))
    tensor([1., 1., 1.])
    """

    op = "dropout"


class Dropout1d(_Dropout):
    """Zeroes channels of x (N, C, L) with probability p while training.

    >>> import ranvier as rv
    >>> rv.nn.Dropout1d(1.0)(rv.ones(1, 1, 3))
    tensor([[[0., 0., 0.]]])
    """

    op = "dropout1d"


class Dropout2d(_Dropout):
    """Zeroes channels of x (N, C, H, W) with probability p while training.

    >>> import ranvier as rv
    >>> rv.nn.Dropout2d(1.0)(rv.ones(1, 1, 1, 3))
    tensor([[[[0., 0., 0.]]]])
    """

    op = "dropout2d"


class AlphaDropout(_Dropout):
    """Sets elements to the lower limit of selu with probability p while training, keeping mean and variance.

    >>> import ranvier as rv
    >>> rv.nn.AlphaDropout(0.2).eval()(rv.ones(3))
    tensor([1., 1., 1.])
    """

    op = "alpha_dropout"
