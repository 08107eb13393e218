"""Batching rules of reductions, sorts and scans: the axes of a slice come after that of the slices."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.func.batching import Operand, batching_rule, shifted
from ranvier.ops.reduction.norms import Logsumexp, Norm, Prod
from ranvier.ops.reduction.reduce import Extreme, ExtremeAlong, Sum
from ranvier.ops.reduction.sort import Cumprod, Cumsum, Median, MedianOfAll, Sort
from ranvier.ops.reduction.statistics import RunningExtreme
from ranvier.ops.reduction.variance import Var
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor


@batching_rule(Extreme, Logsumexp, Norm, Prod, Sum, Var)
def _over_axes(node: Any, x: Operand) -> Any:
    node.axes = shifted(node.axes, x.ndim)
    return node.apply(x.value)


@batching_rule(Cumprod, Cumsum, ExtremeAlong, Median, RunningExtreme, Sort)
def _along_axis(node: Any, x: Operand) -> Any:
    node.axis = shifted(node.axis, x.ndim)
    return node.apply(x.value)


class MedianOfRows(Extreme):
    """y[i] = the median of row i of a matrix; elements that are equal to it share its gradient evenly."""

    by_numpy = True  # NumPy computes it, not the core

    def __init__(self) -> None:
        self.axes = (1,)
        self.keepdims = False

    def forward(self, x: Array) -> Array:
        self.x = x
        self.y = host(_medians, x)
        return self.y


def _medians(x: Array) -> Array:
    """The median of each row, the lower one of two; NaN where the row has one."""
    middle = (x.shape[1] - 1) // 2
    values = np.sort(x, 1)[:, middle]
    return np.where(np.isnan(x).any(1), x.dtype.type(np.nan), values)


@batching_rule(MedianOfAll)
def _median_of_all(node: MedianOfAll, x: Operand) -> Tensor:
    y: Tensor = MedianOfRows().apply(x.value)
    return y
