"""The rows of a Jacobian in one backward: gradients of all elements of the outputs, batched as by vmap."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.func.batching_rules.kernels  # noqa: F401  # fills the table of rules
from ranvier.autograd.differentiated_call import DifferentiatedCall
from ranvier.autograd.trees import Tensors
from ranvier.func.batching import in_level
from ranvier.func.forward import node_or_leaf
from ranvier.grad_mode import no_grad
from ranvier.tape.backpropagation import run
from ranvier.tensors.batched import (
    active_levels,
    at_all_levels,
    batched,
    from_physical,
    physical,
    value_at,
)
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor, wrap


def jacobian_by_rows(call: DifferentiatedCall, ys: Tensors, records: bool) -> list[Tensors]:
    """As `call.jacobian(ys, records)`. Raises NotImplementedError where an op has no rule of create_graph, or
    no batching rule: then one backward for each row takes less time."""
    if records:
        return [_rows_of_output(call, y, records) for y in ys]
    with no_grad():
        return [_rows_of_output(call, y, records) for y in ys]


def _rows_of_output(call: DifferentiatedCall, y: Tensor, records: bool) -> tuple[Tensor, ...]:
    """For each input the derivatives of y: (*shape of y, *shape of input)."""
    sizes = [level.size for level in active_levels()]  # of calls of vmap that this one is in
    count = y.numel()
    nodes = [node_or_leaf(x) for x in call.xs]
    gradient_at: dict[Any, Any] = dict.fromkeys(nodes)
    if y._requires_grad:
        root = physical(at_all_levels(y))
        ones = (1,) * len(sizes)
        units = np.eye(count, dtype=y._array.dtype).reshape(count, *ones, *y.shape)
        of_slices = wrap(keep(np.broadcast_to(units, (count, *root.shape))))
        with in_level(count, may_loop=False) as level:
            run([(root, batched(of_slices, level))], True, captured=gradient_at, on_tensors=True)
            for node, gradient in gradient_at.items():
                if gradient is not None:
                    gradient_at[node] = value_at(gradient, level)
    derivatives = []
    for x, node in zip(call.xs, nodes, strict=True):
        gradient = gradient_at[node]
        if gradient is None:
            gradient = wrap(keep(np.zeros((count, *sizes, *x.shape), x.dtype)))
        rows_last = gradient.to(x.dtype).movedim(0, len(sizes))
        derivatives.append(from_physical(rows_last.reshape(*sizes, *y.shape, *x.shape)))
    return tuple(derivatives)
