"""Batching rules of ops that move elements: the dimensions of a slice come after that of the slices."""

from __future__ import annotations

from ranvier.func.batching import Operand, batching_rule
from ranvier.ops.shape.reshape import Expand, Getitem, Permute, Reshape
from ranvier.tensors.tensor import Tensor


@batching_rule(Reshape)
def _reshape(node: Reshape, x: Operand) -> Tensor:
    node.target = (x.level.size, *node.target)
    return node.apply(x.value)


@batching_rule(Permute)
def _permute(node: Permute, x: Operand) -> Tensor:
    node.dims = (0, *[dim % x.ndim + 1 for dim in node.dims])
    return node.apply(x.value)


@batching_rule(Expand)
def _expand(node: Expand, x: Operand) -> Tensor:
    aligned = x.aligned(len(node.target))
    node.target = (x.level.size, *node.target)
    return node.apply(aligned)


@batching_rule(Getitem)
def _getitem(node: Getitem, x: Operand) -> Tensor:
    key = node.key if isinstance(node.key, tuple) else (node.key,)
    node.key = (slice(None), *key)
    return node.apply(x.value)
