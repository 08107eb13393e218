"""Batching rules of reductions, sorts and scans: the axes of a slice come after that of the slices."""

from __future__ import annotations

from typing import Any

from ranvier.func.batching import Operand, batching_rule, shifted
from ranvier.ops.reduction.norms import Logsumexp, Norm, Prod
from ranvier.ops.reduction.reduce import Extreme, ExtremeAlong, Sum
from ranvier.ops.reduction.variance import Var


@batching_rule(Extreme, Logsumexp, Norm, Prod, Sum, Var)
def _over_axes(node: Any, x: Operand) -> Any:
    node.axes = shifted(node.axes, x.ndim)
    return node.apply(x.value)


@batching_rule(ExtremeAlong)
def _extreme_along(node: ExtremeAlong, x: Operand) -> Any:
    node.axis = shifted(node.axis, x.ndim)
    return node.apply(x.value)
