"""Batching rules of random numbers that were drawn for all slices."""

from __future__ import annotations

from ranvier.func.batching import Operand, batching_rule, stacked_array
from ranvier.ops.making.draws import Drawn
from ranvier.tensors.tensor import Tensor


@batching_rule(Drawn)
def _drawn(node: Drawn, *parameters: Operand) -> Tensor:
    node.values = stacked_array(node.values, parameters[0].level)
    return node.apply(*[parameter.stacked() for parameter in parameters])
