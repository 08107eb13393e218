"""Layers of softmax and its variants. Functions: :mod:`ranvier.ops.activation.softmax`."""

from __future__ import annotations

import ranvier.nn.functional as F
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import empty
from ranvier.tensors.failures import misfit
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["activation.softmax"]


class _AlongDim(Module):
    """Base of layers that compute along dimension dim. dim = None: the op chooses the dimension."""

    _shown = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        super().__init__()
        self.dim = dim

    def _example(self) -> tuple[Tensor, ...] | None:
        if self.dim is None:
            return (empty(0),)
        return (empty((0,) * 8),)  # So that a dim up to 7 exists.


class Softmax(_AlongDim):
    """y_i = exp(x_i) / sum_j exp(x_j) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.Softmax(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.softmax(input, self.dim)


class LogSoftmax(_AlongDim):
    """y_i = x_i - log(sum_j exp(x_j)) along dimension ``dim``; None: see :func:`ranvier.softmax`.

    >>> import ranvier as rv
    >>> rv.nn.LogSoftmax(dim=0)(rv.tensor([0.0, 1000.0]))
    tensor([-1000.,     0.])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.log_softmax(input, self.dim)


class Softmin(_AlongDim):
    """softmax(-x) along dimension ``dim``.

    >>> import ranvier as rv
    >>> rv.nn.Softmin(dim=0)(rv.tensor([1.0, 1.0]))
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: TensorLike) -> Tensor:
        return F.softmin(input, self.dim)


class Softmax2d(Module):
    """Softmax over the channels of images (N, C, H, W) or (C, H, W).

    >>> import ranvier as rv
    >>> rv.nn.Softmax2d()(rv.ones(1, 2, 1, 1)).flatten()
    tensor([0.5000, 0.5000])
    """

    def forward(self, input: TensorLike) -> Tensor:
        input = as_tensor("Softmax2d", input)
        if input.ndim not in (3, 4):
            raise misfit("Softmax2d", {"x": input.shape}, "3 or 4 dimensions")
        return F.softmax(input, -3)
