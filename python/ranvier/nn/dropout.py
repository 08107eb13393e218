"""Dropout layers: in training mode they set random elements to zero; after ``eval()`` they return x.

The base `Module` reads ``_shown``, the settings that repr shows.
"""

from __future__ import annotations

from typing import ClassVar

import ranvier.nn.functional as F
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.neural.dropout import probability
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["dropout"]


class _Dropout(Module):
    """A layer with a probability; ``inplace=True`` changes x itself, as in PyTorch."""

    _op: ClassVar[str] = "dropout"  # the name in errors
    _shown = ("p", "inplace")

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = float(probability(self._op, "p", p))  # NumPy's numbers become floats of Python, too.
        self.inplace = inplace


class Dropout(_Dropout):
    """Zeroes elements with probability p while training; see :func:`ranvier.dropout`.

    >>> import ranvier as rv
    >>> rv.nn.Dropout(0.2).eval()(rv.ones(3))
    tensor([1., 1., 1.])
    """

    _op = "dropout"

    def forward(self, input: TensorLike) -> Tensor:
        return F.dropout(input, self.p, self.training, self.inplace)


class Dropout1d(_Dropout):
    """Zeroes channels of x (N, C, L) or (C, L) with probability p while training.

    >>> import ranvier as rv
    >>> rv.nn.Dropout1d(1.0)(rv.ones(1, 1, 3))
    tensor([[[0., 0., 0.]]])
    """

    _op = "dropout1d"

    def forward(self, input: TensorLike) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Zeroes channels of x (N, C, H, W) with probability p while training.

    >>> import ranvier as rv
    >>> rv.nn.Dropout2d(1.0)(rv.ones(1, 1, 1, 3))
    tensor([[[[0., 0., 0.]]]])
    """

    _op = "dropout2d"

    def forward(self, input: TensorLike) -> Tensor:
        return F.dropout2d(input, self.p, self.training, self.inplace)


class AlphaDropout(_Dropout):
    """Sets elements to the lower limit of selu with probability p while training, keeping mean and variance.

    >>> import ranvier as rv
    >>> rv.nn.AlphaDropout(0.2).eval()(rv.ones(3))
    tensor([1., 1., 1.])
    """

    _op = "alpha_dropout"

    def forward(self, input: TensorLike) -> Tensor:
        return F.alpha_dropout(input, self.p, self.training, self.inplace)


class FeatureAlphaDropout(_Dropout):
    """:class:`AlphaDropout` of whole channels of x (N, C, ...).

    >>> import ranvier as rv
    >>> rv.nn.FeatureAlphaDropout(0.2).eval()(rv.ones(1, 1, 3))
    tensor([[[1., 1., 1.]]])
    """

    _op = "feature_alpha_dropout"

    def forward(self, input: TensorLike) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
