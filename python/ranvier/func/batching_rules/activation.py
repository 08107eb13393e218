"""Batching rules of activations that are no functions of each element: softmax along a dimension, prelu."""

from __future__ import annotations

from ranvier.func.batching import Operand, batching_rule, shifted
from ranvier.ops.activation.softmax import LogSoftmax, Softmax
from ranvier.tensors.tensor import Tensor


@batching_rule(Softmax, LogSoftmax)
def _softmax(node: Softmax, x: Operand) -> Tensor:
    node.dim = shifted(node.dim, x.ndim)
    return node.apply(x.value)
