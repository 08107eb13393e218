"""Distances and similarities as layers, called with two inputs."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module

__all__ = ["CosineSimilarity", "PairwiseDistance"]


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along ``dim``; norms are at least ``eps``.

    >>> import ranvier as rv
    >>> rv.nn.CosineSimilarity(dim=0)(rv.tensor([1.0, 1.0]), rv.tensor([2.0, 0.0]))
    tensor(0.7071)
    """

    def __init__(self, dim: int = 1, eps: float = 1e-8) -> None:
        super().__init__()
        self.dim, self.eps = dim, eps

    def _example(self) -> tuple[Any, ...]:
        return (empty((0,) * 8),) * 2

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return ops.cosine_similarity(x1, x2, self.dim, self.eps)


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last dimension.

    >>> import ranvier as rv
    >>> rv.nn.PairwiseDistance(p=1)(rv.tensor([[0.0, 0.0]]), rv.tensor([[3.0, 4.0]]))
    tensor([7.0000])
    """

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1),) * 2

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return ops.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
