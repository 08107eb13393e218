"""Branches and loops: operators that compute graphs in their attributes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.registry import operator
from ranvier.onnx.values import Value, array_of, axis_of, raw, tensor_of


@operator("If")
def if_(condition: Value, *, then_branch: Any, else_branch: Any, compute: Any = None) -> Any:
    return compute(then_branch if array_of(condition).all() else else_branch)


@operator("Loop")
def loop(
    most: Value | None = None, condition: Value | None = None, *states: Value, body: Any, compute: Any = None
) -> Any:
    """The states after the last step, then for each further result of a step the results of all steps,
    stacked.

    most: the limit of steps. body: gets the step's number, the condition and the states; returns the
    condition for the next step, the new states and the results that are stacked.
    """
    if most is None:
        limit = math.inf
    else:
        limit = int(array_of(most).reshape(()))
    goes_on = condition is None or array_of(condition).all()
    rows: list[tuple[Any, ...]] = []
    count = len(states)
    while goes_on and len(rows) < limit:
        again, *results = compute(body, np.array(len(rows)), np.array(goes_on), *states)
        goes_on = array_of(again).all()
        states = tuple(results[:count])
        rows.append(tuple(results[count:]))
    columns = _columns("Loop", rows, len(body.outputs) - 1 - count)
    return (*states, *(ops.stack(column) for column in columns))


@operator("Scan", since=9)
def scan(
    *values: Value,
    body: Any,
    num_scan_inputs: int,
    scan_input_axes: Any = None,
    scan_input_directions: Any = None,
    scan_output_axes: Any = None,
    scan_output_directions: Any = None,
    compute: Any = None,
) -> Any:
    """A loop over slices of the last num_scan_inputs values; the values before them are the first states.

    body: gets the states and a slice of each of those values; returns the new states and results, which are
    stacked. The axes along which values are sliced and results are stacked are 0 by default. directions: 1
    for a value or result whose slices are taken from the last to the first.
    """
    count = len(values) - num_scan_inputs
    states = values[:count]
    sequences = values[count:]
    zeros = [0] * (num_scan_inputs + len(body.outputs))
    read = zip(sequences, scan_input_axes or zeros, scan_input_directions or zeros, strict=False)
    slices = [_slices(*one) for one in read]
    rows = []
    for parts in zip(*slices, strict=True):
        results = compute(body, *states, *parts)
        states = results[:count]
        rows.append(results[count:])
    columns = _columns("Scan", rows, len(body.outputs) - count)
    ways = zip(columns, scan_output_axes or zeros, scan_output_directions or zeros, strict=False)
    return (*states, *(ops.stack(c[::-1] if backwards else c, axis) for c, axis, backwards in ways))


def _slices(x: Value, axis: int, backwards: int) -> list[Any]:
    """The slices of x along an axis, which they lack."""
    at = axis_of("Scan", axis, raw(x).ndim)
    parts = list(ops.unbind(tensor_of(x), at))
    if backwards:
        return parts[::-1]
    return parts


def _columns(op: str, rows: list[tuple[Any, ...]], count: int) -> list[list[Tensor]]:
    """For each of the `count` results of a step, its values in all steps. rows: the results of each step."""
    if count and not rows:
        raise ValueError(f"[onnx {op}] got no steps; expected one or more, whose results are stacked")
    return [list(map(tensor_of, column)) for column in zip(*rows, strict=True)]
