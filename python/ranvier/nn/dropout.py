"""Dropout layers: in training mode they set random elements to zero; after ``eval()`` they return x."""

from __future__ import annotations

from typing import Any

import ranvier.nn.functional as F
from ranvier.nn.layer import Layer
from ranvier.nn.table import LAYERS
from ranvier.ops.neural.dropout import probability
from ranvier.tensors.tensor import Tensor

__all__ = LAYERS["dropout"]


class _Dropout(Layer):
    """A layer with a probability; ``inplace=True`` changes x itself, as in PyTorch."""

    _shown = ("p", "inplace")
    p: float = 0.5
    inplace: bool = False

    def _set(self, settings: dict[str, Any]) -> None:
        # NumPy's numbers become floats of Python, too.
        p = float(probability(self._op, "p", settings["p"]))
        super()._set({**settings, "p": p})

    def _example(self) -> None:
        return None


class Dropout(_Dropout):
    """Zeroes elements with probability p while training; see :func:`ranvier.dropout`.

    >>> import ranvier as rv
    >>> rv.nn.Dropout(0.2).eval()(rv.ones(3))
    tensor([1., 1., 1.])
    """


class Dropout1d(_Dropout):
    """Zeroes channels of x (N, C, L) or (C, L) with probability p while training.

    >>> import ranvier as rv
    >>> rv.nn.Dropout1d(1.0)(rv.ones(1, 1, 3))
    tensor([[[0., 0., 0.]]])
    """

    def forward(self, input: Any) -> Tensor:
        return F.dropout1d(input, self.p, self.training, self.inplace)


class Dropout2d(_Dropout):
    """Zeroes channels of x (N, C, H, W) with probability p while training.

    >>> import ranvier as rv
    >>> rv.nn.Dropout2d(1.0)(rv.ones(1, 1, 1, 3))
    tensor([[[[0., 0., 0.]]]])
    """


class AlphaDropout(_Dropout):
    """Sets elements to the lower limit of selu with probability p while training, keeping mean and variance.

    >>> import ranvier as rv
    >>> rv.nn.AlphaDropout(0.2).eval()(rv.ones(3))
    tensor([1., 1., 1.])
    """

    _op = "alpha_dropout"


class FeatureAlphaDropout(_Dropout):
    """:class:`AlphaDropout` of whole channels of x (N, C, ...).

    >>> import ranvier as rv
    >>> rv.nn.FeatureAlphaDropout(0.2).eval()(rv.ones(1, 1, 3))
    tensor([[[1., 1., 1.]]])
    """

    _op = "feature_alpha_dropout"

    def forward(self, input: Any) -> Tensor:
        return F.feature_alpha_dropout(input, self.p, self.training, self.inplace)
