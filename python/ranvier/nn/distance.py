"""Layers of two inputs: distances and similarities."""

from __future__ import annotations

from typing import Any, ClassVar

import ranvier.nn.functional as F
from ranvier.nn.layer import Layer
from ranvier.nn.module import Module
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.tensor import Tensor

__all__ = LAYERS["distance"]


class CosineSimilarity(Layer):
    """The cosine of the angle between vectors along ``dim``; norms are at least ``eps``.

    >>> import ranvier as rv
    >>> rv.nn.CosineSimilarity(dim=0)(rv.tensor([1.0, 1.0]), rv.tensor([2.0, 0.0]))
    tensor(0.7071)
    """

    # The op that `Layer` calls with the settings below (layer.py); repr shows no settings (module.py).
    _op = "cosine_similarity"
    _shown = ()
    dim: int = 1
    eps: float = 1e-8


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

    def _example(self) -> tuple[Any, ...]:
        """Inputs for one call of a new layer, which raises the errors of wrong settings at once
        (arguments.py)."""
        return (empty(0, 1),) * 2

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return F.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)
