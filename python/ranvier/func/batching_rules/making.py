"""Batching rules of random numbers that were drawn for all slices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ranvier.func.batching import Operand, batching_rule, host_rule, stacked_array
from ranvier.ops.making.draws import Drawn
from ranvier.ops.making.philox import _halves
from ranvier.tensors.batched import Level, broadcast_arrays
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor


@batching_rule(Drawn)
def _drawn(node: Drawn, *parameters: Operand) -> Tensor:
    node.values = stacked_array(node.values, parameters[0].level)
    return node.apply(*[parameter.stacked() for parameter in parameters])


@host_rule(_halves)
def _drawn_halves(run: Callable[..., Array], level: Level, *operands: Any) -> Any:
    return broadcast_arrays(run, level, *operands)
