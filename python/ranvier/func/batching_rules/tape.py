"""Batching rules of the tape's own Functions: casts, copies, and those with which it differentiates twice."""

from __future__ import annotations

from ranvier.func.batching import Operand, batching_rule
from ranvier.ops.shape.join import cat
from ranvier.tape.copy_functions import Cast, Clone
from ranvier.tape.higher_order import Rows, Same
from ranvier.tensors.tensor import Tensor

_CHANNELS_LAST = (0, 1, 3, 4, 2)  # the dimensions of all slices, in the order of memory


@batching_rule(Cast, Same)
def _of_element(node: Cast | Same, x: Operand) -> Tensor:
    return node.apply(x.value)


@batching_rule(Clone)
def _clone(node: Clone, x: Operand) -> Tensor:
    if node.order == "channels_last":
        y = Clone("C").apply(x.value.permute(_CHANNELS_LAST))
        return y.permute(0, 1, 4, 2, 3)
    steps = [abs(step) for step in x.value._array.strides]
    is_mixed = any(step > steps[0] for step in steps)  # the slices lie in each other's gaps
    if is_mixed:  # each slice gets memory of its own, in which flatten() and view() are views
        return Clone("C").apply(x.value)
    return node.apply(x.value)


@batching_rule(Rows)
def _rows(node: Rows, *rows: Operand) -> Tensor:
    return cat([row.stacked().unsqueeze(1) for row in rows], 1)
