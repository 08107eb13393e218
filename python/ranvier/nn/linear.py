"""Linear: the fully connected layer."""

from __future__ import annotations

import math
from typing import Any

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor
from ranvier.nn.config import whole
from ranvier.nn.module import Module, Parameter

__all__ = ["Linear"]


class Linear(Module):
    """y = x W^T + b.

    x (..., in_features), W (out_features, in_features), b (out_features,), y (..., out_features).
    W and b start uniform in +-1/sqrt(in_features), as in PyTorch (LeCun et al., Efficient BackProp, 1998).
    Raises ValueError where the last dimension of x is not in_features.

    >>> from ranvier import nn
    >>> nn.Linear(3, 2)
    Linear(in_features=3, out_features=2, bias=True)
    """

    bias: Parameter | None
    _shown = ("in_features", "out_features", "bias")

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None) -> None:
        super().__init__()
        sizes = whole("linear", "in_features", in_features), whole("linear", "out_features", out_features)
        if min(sizes) < 0:
            raise ValueError(
                f"[linear] got {in_features} in_features and {out_features} out_features; expected numbers "
                ">= 0"
            )
        self.in_features, self.out_features = in_features, out_features = sizes
        self.weight = Parameter(empty(out_features, in_features, dtype=dtype))
        self.register_parameter("bias", Parameter(empty(out_features, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, input: Any) -> Tensor:
        return ops.linear(input, self.weight, self.bias)
