"""Forward derivatives of a `DifferentiatedCall` (autograd/differentiated_call.py): for jvp, jacfwd, jet and
laplacian, which call the function on the tape and then walk along it with `push_forward` (forward.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np

import ranvier.func.forward_rules  # noqa: F401  # fills the table of rules
from ranvier.autograd.differentiated_call import DifferentiatedCall
from ranvier.autograd.trees import Tensors, replace_values
from ranvier.func.forward import RowAlgebra, Rows, TangentRows, TaylorRows, node_or_leaf, push_forward
from ranvier.grad_mode import no_grad
from ranvier.tensors.batched import active_levels, at_all_levels, from_physical, physical
from ranvier.tensors.memory import filled_like, keep
from ranvier.tensors.tensor import Tensor, wrap


def push_through(
    call: DifferentiatedCall,
    algebra: RowAlgebra,
    vs: Tensors,
    rows_of_inputs: Callable[[], Sequence[Tensor]],
) -> list[Rows]:
    """The rows of the outputs of a call. rows_of_inputs: a function that computes those of its inputs, from
    the Tensors vs, which decide whether the derivatives are recorded. Within vmap they are of one slice."""
    with _recording(call.records_weighted(vs)):
        sources = {}
        for x, t in zip(call.xs, rows_of_inputs(), strict=True):
            sources[node_or_leaf(x)] = _rows_of_all_slices(t)
        pushed = push_forward(call.name, algebra, _physical_outputs(call.ys), sources)
        return [None if t is None else _rows_of_slices(t) for t in pushed]


def _rows_of_all_slices(t: Tensor) -> Tensor:
    """Rows (rows, *shape of a slice) as (rows, slices of each level ..., *shape), which the tape has."""
    return physical(at_all_levels(t)).movedim(len(active_levels()), 0)


def _rows_of_slices(t: Tensor) -> Tensor:
    """The inverse of `_rows_of_all_slices`."""
    return from_physical(t.movedim(0, len(active_levels())))


def _physical_outputs(ys: Tensors) -> list[Tensor]:
    """The ordinary Tensors of outputs: within vmap those of all slices, which the tape has."""
    return [physical(at_all_levels(y)) for y in ys]


def _recording(records: bool) -> AbstractContextManager[Any]:
    """A block in which nothing is recorded, unless `records`."""
    if records:
        return nullcontext()
    return no_grad()


def jacobian_vector_product(call: DifferentiatedCall, vs: Tensors) -> Any:
    """J v, computed forward, in the tree of the outputs. vs: v, one Tensor for each input."""

    def rows_of_inputs() -> list[Tensor]:
        return [v.unsqueeze(0) for v in vs]

    products = []
    rows = push_through(call, TaylorRows(1), vs, rows_of_inputs)
    for y, t in zip(call.ys, rows, strict=True):
        if t is None:
            products.append(wrap(filled_like(0, y._array)))
        else:
            products.append(call.release(t[0]))
    return replace_values(call.outputs, products)


def jacobian_by_columns(call: DifferentiatedCall, ys: Tensors, records: bool) -> list[Tensors]:
    """As `call.jacobian(ys, records)`, computed forward: one pass for each input, with a row for each of its
    elements."""
    jacobians: list[list[Tensor]] = [[] for _ in ys]  # for each output a list over the inputs
    outputs = _physical_outputs(ys)
    sizes = [level.size for level in active_levels()]
    with _recording(records):
        for x in call.xs:
            count = x.numel()
            ones = (1,) * len(sizes)
            units = np.eye(count, dtype=x.dtype).reshape(count, *ones, *x.shape)
            of_slices = np.broadcast_to(units, (count, *sizes, *x.shape))
            sources = {node_or_leaf(x): wrap(keep(of_slices))}
            rows = push_forward(call.name, TangentRows(), outputs, sources)
            for of_inputs, y, t in zip(jacobians, ys, rows, strict=True):
                if t is None:
                    t = wrap(keep(np.zeros((count, *sizes, *y.shape), x.dtype)))
                derivative = t.to(x.dtype).movedim(0, -1).reshape(*sizes, *y.shape, *x.shape)
                of_inputs.append(from_physical(derivative))
    return [tuple(of_inputs) for of_inputs in jacobians]
