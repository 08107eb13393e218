"""Layers of two inputs: distances and similarities."""

from __future__ import annotations

from typing import ClassVar

import ranvier.nn.functional as F
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

__all__ = LAYERS["distance"]


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along ``dim``; norms are at least ``eps``.

    >>> import ranvier as rv
    >>> rv.nn.CosineSimilarity(dim=0)(rv.tensor([1.0, 1.0]), rv.tensor([2.0, 0.0]))
    tensor(0.7071)
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim = dim
        self.eps = eps

    def _example(self) -> tuple[Tensor, ...]:
        x = empty((0,) * 8)
        return x, x

    def forward(self, x1: TensorLike, x2: TensorLike) -> Tensor:
        return F.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last dimension.

    >>> import ranvier as rv
    >>> rv.nn.PairwiseDistance(p=1)(rv.tensor([[0.0, 0.0]]), rv.tensor([[3.0, 4.0]]))
    tensor([7.0000])
    """

    # The argument p of the constructor is the attribute `norm`: `arguments_of` (arguments.py) reads it for
    # model files.
    _paths: ClassVar[dict[str, str]] = {"p": "norm"}

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm = p
        self.eps = eps
        self.keepdim = keepdim

    def _example(self) -> tuple[Tensor, ...]:
        """Inputs for one call of a new layer, which raises the errors of wrong settings at once
        (arguments.py)."""
        x = empty(0, 1)
        return x, x

    def forward(self, x1: TensorLike, x2: TensorLike) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
