"""Linear, the fully connected layer, and layers of two inputs: distances and similarities."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.nn.layer import Layer
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.ops.rows import examples
from ranvier.tensors.errors import count
from ranvier.tensors.tensor import Tensor

__all__ = LAYERS["linear"]


class Product(Module):
    """What Linear and convolutions share: weight and bias, uniform in +-1/sqrt(fan_in) as in PyTorch."""

    weight: Parameter
    bias: Parameter | None

    def _make(self, shape: tuple[int, ...], outputs: int, bias: bool, dtype: Any) -> None:
        self.weight = Parameter(empty(*shape, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(outputs, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        fan_in, _ = init.fans(self.weight)
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)


class Linear(Product):
    """y = x W^T + b.

    x (..., in_features), W (out_features, in_features), b (out_features,), y (..., out_features).
    W and b start uniform in +-1/sqrt(in_features), as in PyTorch (LeCun et al., Efficient BackProp, 1998).
    Raises ValueError where the last dimension of x is not in_features.
    | rv.nn.Linear(3, 2) -> Linear(in_features=3, out_features=2, bias=True)"""

    _shown = ("in_features", "out_features", "bias")

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None) -> None:
        super().__init__()
        self.in_features = in_features = count("linear", "in_features", in_features, 0)
        self.out_features = out_features = count("linear", "out_features", out_features, 0)
        self._make((out_features, in_features), out_features, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        return ops.linear(input, self.weight, self.bias)


class CosineSimilarity(Layer):
    """The cosine of the angle between vectors along ``dim``; norms are at least ``eps``.
    | rv.nn.CosineSimilarity(dim=0)(rv.tensor([1.0, 1.0]), rv.tensor([2.0, 0.0])) -> tensor(0.7071)"""

    _op, _shown = "cosine_similarity", ()
    dim: int = 1
    eps: float = 1e-8


class PairwiseDistance(Module):
    """The p-norm of x1 - x2 + eps along the last dimension.
    | rv.nn.PairwiseDistance(p=1)(rv.tensor([[0.0, 0.0]]), rv.tensor([[3.0, 4.0]])) -> tensor([7.0000])"""

    _paths: ClassVar[dict[str, str]] = {"p": "norm"}

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False) -> None:
        super().__init__()
        self.norm, self.eps, self.keepdim = p, eps, keepdim

    def _example(self) -> tuple[Any, ...]:
        return (empty(0, 1),) * 2

    def forward(self, x1: Any, x2: Any) -> Tensor:
        return ops.pairwise_distance(x1, x2, self.norm, self.eps, self.keepdim)


examples(globals())  # written as ">>> call"
