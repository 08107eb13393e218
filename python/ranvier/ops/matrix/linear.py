"""linear: a matrix product with the transposed weight, and a bias.

The core's kernel `_linear` computes it; forward saves x and the weight. Integers, and a weight that is a
vector, are computed by `matmul`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    SECOND_INPUT,
    Operations,
    Value,
    differentiable_backward,
)
from ranvier.tape.function import Dtypes, Function, by_kernel
from ranvier.tensors.failures import misfit
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike


@differentiable_backward(x=FIRST_INPUT, weight=SECOND_INPUT)
class Linear(Function):
    """y = x W^T + b: x (..., in), W (out, in), b (out) or None, y (..., out)"""

    # saved: x for the second gradient alone, weight for the first gradient alone
    reads: ClassVar = {"x": 1, "weight": 0}
    # half floats are computed as they are; in a block of autocast all inputs become its half float
    dtypes = Dtypes(halves="own", autocast="lower")

    def through_view(self, place: int) -> bool:
        # see Function: true for the bias, and unless x is a matrix for the weight
        return place == 2 or self.x.ndim != 2

    def forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        self.x = x
        self.weight = weight
        return _core._linear(x, weight, bias)

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        x: Value = self.x
        dx = None
        dw = None
        db = None
        if self.needs[0]:
            dx = f.matmul(dy, self.weight)
        if dy.ndim != 2:  # All leading dimensions become one, the batch.
            outputs, inputs = self.weight.shape
            rows = math.prod(dy.shape[:-1])  # computed, since -1 is not allowed for an empty array
            dy = f.reshape(dy, (rows, outputs))
            x = f.reshape(x, (rows, inputs))
        if self.needs[1]:
            dw = f.matmul(dy.T, x)
        if self.needs[2]:
            db = f.sum_to(dy, dy.shape[1:])
        return dx, dw, db


def _by_matmul(x: Tensor, weight: Tensor, bias: TensorLike | None) -> Tensor:
    """x weight + bias, for integers, and for a weight that is a vector."""
    y = matmul(x, weight)
    if bias is None:
        return y
    return y + _core._autocast_cast("lower", bias)


def linear(input: TensorLike, weight: TensorLike, bias: TensorLike | None = None) -> Tensor:
    """y = x W^T + b

    x (..., in), weight (out, in), bias (out,), (1, out) or None, y (..., out); a weight (in,) gives y (...).
    A NumPy array x is taken in the weight's dtype; tensors must agree; integers are multiplied by NumPy.
    Raises ValueError where the shapes do not fit, TypeError where the dtypes differ.

    >>> import ranvier as rv
    >>> weight, bias = rv.tensor([[0.5, -0.25], [0.25, 0.5]]), rv.tensor([0.5, -0.5])
    >>> rv.ops.linear(rv.tensor([1.0, 2.0]), weight, bias)
    tensor([0.5000, 0.7500])
    """
    return _linear(input, weight, bias)


@by_kernel(_core._linear, Linear, inputs=3, dtypes=Linear.dtypes, name="linear")
def _linear(input: TensorLike, weight: TensorLike, bias: TensorLike | None = None) -> Tensor:
    if not (isinstance(input, Tensor) and isinstance(weight, Tensor)):
        weight = as_tensor("linear", weight)
        as_tensor("linear", input)
        if not isinstance(input, Tensor):
            input = wrap(np.asarray(input, weight.dtype))
    if weight._array.ndim == 1:  # one output, without a dimension
        return _by_matmul(input, weight, bias)
    try:
        return Linear().apply(input, weight, bias)
    except TypeError:  # Integers are looked for only here, since floats are the common case.
        if {input.dtype.kind, weight.dtype.kind} - {"i", "u"}:
            raise
        if weight.ndim > 1:
            return _by_matmul(input, weight.transpose(-1, -2), bias)
        return _by_matmul(input, weight, bias)
    except ValueError as error:
        if isinstance(bias, Tensor) and 1 < bias.ndim <= input.ndim and bias.numel() == bias.shape[-1]:
            return linear(input, weight, bias.reshape(-1))
        got = {"x": input.shape, "weight": tuple(weight.shape)}
        if bias is not None:
            got["bias"] = np.shape(bias)
        fits = "x (..., in_features), weight (out_features, in_features), bias (out_features,)"
        raise misfit("linear", got, fits) from error
