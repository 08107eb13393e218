"""Batching rules of activations that are no functions of each element: softmax, glu, prelu."""

from __future__ import annotations

from ranvier.func.batching import Operand, batching_rule, broadcast_operands, shifted
from ranvier.ops import where
from ranvier.ops.activation.piecewise import Prelu, Relu
from ranvier.ops.activation.smooth import Glu
from ranvier.ops.activation.softmax import LogSoftmax, Softmax
from ranvier.tensors.tensor import Tensor

batching_rule(Relu)(broadcast_operands)


@batching_rule(Softmax, LogSoftmax)
def _softmax(node: Softmax, x: Operand) -> Tensor:
    node.dim = shifted(node.dim, x.ndim)
    return node.apply(x.value)


@batching_rule(Glu)
def _glu(node: Glu, x: Operand) -> Tensor:
    node.axis = shifted(node.axis, x.ndim)
    return node.apply(x.value)


@batching_rule(Prelu)
def _prelu(node: Prelu, x: Operand, weight: Operand) -> Tensor:
    has_one_slope = weight.shape in ((), (1,))
    if has_one_slope and not weight.is_batched:
        return node.apply(x.value, weight.value)
    lead = (weight.level.size,) if weight.is_batched else ()
    if has_one_slope:
        slopes = weight.value.reshape(*lead, *(1,) * x.ndim)
    else:  # one for each index of dimension 1 of a slice
        channels = weight.shape[0]
        slopes = weight.value.reshape(*lead, 1, channels, *(1,) * (x.ndim - 2))
    values = x.value
    y: Tensor = where(values > 0.0, values, slopes * values)
    return y
