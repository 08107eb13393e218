"""Branches and loops: operators that compute graphs in their attributes.

`compute(graph, *inputs)` returns the results of a graph as a tuple (`registry.RUN_ARGUMENTS`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator
from ranvier.onnx.values import Value, array_of, axis_of, raw, tensor_of

if TYPE_CHECKING:
    from ranvier.onnx.graph import Graph

Compute = Callable[..., tuple[Any, ...]]


@operator("If")
def if_(condition: Value, *, then_branch: Graph, else_branch: Graph, compute: Compute) -> Any:
    if array_of(condition).all():
        return compute(then_branch)
    return compute(else_branch)


@operator("Loop")
def loop(
    most: Value | None = None,
    condition: Value | None = None,
    *states: Value,
    body: Graph,
    compute: Compute,
) -> Any:
    """The states after the last step, then for each further result of a step the results of all steps,
    stacked.

    most: the limit of steps.
    body: gets the step's number, the condition and the states; returns the condition for the next step, the
        new states and the results that are stacked.
    """
    limit = math.inf
    if most is not None:
        limit = int(array_of(most).reshape(()))
    goes_on = condition is None or array_of(condition).all()
    results_of_steps: list[tuple[Any, ...]] = []
    count = len(states)
    while goes_on and len(results_of_steps) < limit:
        step = np.array(len(results_of_steps))
        next_condition, *results = compute(body, step, np.array(goes_on), *states)
        goes_on = array_of(next_condition).all()
        states = tuple(results[:count])
        results_of_steps.append(tuple(results[count:]))
    columns = _columns("Loop", results_of_steps, len(body.outputs) - 1 - count)
    stacked = [ops.stack(column) for column in columns]
    return (*states, *stacked)


@operator("Scan", since=9)
def scan(
    *values: Value,
    body: Graph,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    compute: Compute,
) -> Any:
    """A loop over slices of the last num_scan_inputs values; the values before them are the first states.

    body: gets the states and a slice of each of those values; returns the new states and results, which are
    stacked. The axes along which values are sliced and results are stacked are 0 by default. directions: 1
    for a value or result whose slices are taken from the last to the first.
    """
    count = len(values) - num_scan_inputs
    states = values[:count]
    zeros = [0] * (num_scan_inputs + len(body.outputs))
    input_axes = scan_input_axes or zeros
    input_directions = scan_input_directions or zeros
    slices = []
    for value, axis, direction in zip(values[count:], input_axes, input_directions, strict=False):
        slices.append(_slices(value, axis, backwards=bool(direction)))
    results_of_steps = []
    for slices_of_step in zip(*slices, strict=True):
        results = compute(body, *states, *slices_of_step)
        states = results[:count]
        results_of_steps.append(results[count:])
    columns = _columns("Scan", results_of_steps, len(body.outputs) - count)
    output_axes = scan_output_axes or zeros
    output_directions = scan_output_directions or zeros
    stacked = []
    for column, axis, direction in zip(columns, output_axes, output_directions, strict=False):
        if direction:
            column = column[::-1]
        stacked.append(ops.stack(column, axis))
    return (*states, *stacked)


def _slices(x: Value, axis: int, backwards: bool) -> list[Tensor]:
    """The slices of x along an axis, which they lack."""
    slices = list(ops.unbind(tensor_of(x), axis_of("Scan", axis, raw(x).ndim)))
    if backwards:
        return slices[::-1]
    return slices


def _columns(op: str, results_of_steps: list[tuple[Any, ...]], count: int) -> list[list[Tensor]]:
    """For each of the `count` results of a step, its values in all steps."""
    if count and not results_of_steps:
        raise ValueError(f"[onnx {op}] got no steps; expected one or more, whose results are stacked")
    return [list(map(tensor_of, column)) for column in zip(*results_of_steps, strict=True)]
