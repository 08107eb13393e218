"""Linear, the fully connected layer."""

from __future__ import annotations

import math

import ranvier.nn.functional as F
import ranvier.nn.init as init
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.ops.making.creation import empty
from ranvier.tensors.errors import count
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, Shape, TensorLike

__all__ = LAYERS["linear"]


class Product(Module):
    """The base class of Linear and the convolutions.

    weight and bias start uniform in +-1/sqrt(fan_in), as in PyTorch. fan_in is the number of inputs that an
    output is computed from.
    """

    weight: Parameter
    bias: Parameter | None

    def _make(self, shape: Shape, outputs: int, bias: bool, dtype: DtypeLike | None) -> None:
        """Makes the parameters: the weight of this shape, and a bias for each output."""
        self.weight = Parameter(empty(*shape, dtype=dtype))
        if bias:
            self.bias = Parameter(empty(outputs, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))  # uniform in +-1/sqrt(fan_in)
        if self.bias is not None:
            fan_in, _ = init.fans(self.weight)
            bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
            init.uniform_(self.bias, -bound, bound)


class Linear(Product):
    """y = x W^T + b.

    x (..., in_features), W (out_features, in_features), b (out_features,), y (..., out_features).
    W and b start uniform in +-1/sqrt(in_features), as in PyTorch (LeCun et al., Efficient BackProp, 1998).
    Raises ValueError if the last axis of x has another length than in_features.

    >>> import ranvier as rv
    >>> rv.nn.Linear(3, 2)
    Linear(in_features=3, out_features=2, bias=True)
    """

    _shown = ("in_features", "out_features", "bias")

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, dtype: DtypeLike | None = None
    ) -> None:
        super().__init__()
        self.in_features = in_features = count("linear", "in_features", in_features, 0)
        self.out_features = out_features = count("linear", "out_features", out_features, 0)
        self._make((out_features, in_features), out_features, bias, dtype)

    def forward(self, input: TensorLike) -> Tensor:
        return F.linear(input, self.weight, self.bias)


class NonDynamicallyQuantizableLinear(Linear):
    """The Linear of an attention's results, whose parameters the attention reads without a call of the layer.
    It has PyTorch's name: programs that choose layers by ``type(m) is Linear`` leave it alone."""
