"""Functions that are linear maps with fixed coefficients, such as a resize or a repeat.

They have one rule. It finds the coefficients by calls of the Function itself, and writes them as a table. A
nearest resize of two numbers to four becomes, with the constant w_index of 0, 0, 1, 1,

    picked(x, w_index, ram + 0, 4);
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.operations import Rule, Site, rule

Array = np.ndarray[Any, Any]
# The most elements of the matrix of a map, which is computed to find its coefficients: 16 MB of float32.
_MOST = 2**22
_NAMES = "Fourier FourierByNumPy Interpolate OverlapAdd Pick TakeRows Unfold"
KINDS = frozenset(_NAMES.split())
"""Class names of the Functions that have this rule."""


def arrays_in(settings: Any) -> Iterator[Array]:
    """The arrays in nested settings of a call; a table treats them as constants."""
    if isinstance(settings, np.ndarray):
        yield settings
    elif isinstance(settings, dict):
        yield from arrays_in(list(settings.values()))
    elif isinstance(settings, (tuple, list)):
        for value in settings:
            yield from arrays_in(value)


def linear(s: Site) -> Value:
    """Adds the instruction of a call, by its table; its result."""
    x = s.input(0)
    shape = s.call.outputs[0].shape
    size = int(np.prod(shape))
    table = _table(s)
    index = s.value_of(table.places, "index")
    if table.starts is None:
        s.saved = [index]
        return s.routine.made("picked", x, index, ..., size, shape=shape)
    starts = s.value_of(table.starts, "starts")
    weights = s.value_of(table.weights, "weights")
    s.saved = [index, starts, weights]
    return s.routine.made("weighted_sums", x, index, starts, weights, ..., size, shape=shape)


def linear_backward(s: Site, dy: Value) -> Sequence[Value | None]:
    """The gradient of the first input: the transposed map, by the same table."""
    dx = s.routine.made("fill", ..., s.input(0).size, 0.0, shape=s.input(0).shape)
    helper = "picked_backward" if len(s.saved) == 1 else "weighted_sums_backward"
    s.routine.call(helper, dy, *s.saved, dx, dy.size, writes=dx)
    return [dx, *[None] * (len(s.inputs) - 1)]


class _Table(NamedTuple):
    """The coefficients: y[i] is the sum of weights[j] x[places[j]] for starts[i] <= j < starts[i + 1].

    If each y[i] is an element of x or 0, starts is None, and y[i] is x[places[i]], or 0 for place -1.
    """

    places: Array
    starts: Array | None
    weights: Array


def _table(s: Site) -> _Table:
    """The table of a call, found by calls of its Function.

    Whether y has only elements of x is tested with x = 1, 2 ... n, which gives the indices, and with random
    numbers. Otherwise the map's matrix is computed by applying the Function to unit vectors.
    """
    n = s.input(0).size
    drawn = np.random.default_rng(0).normal(size=n).astype(np.float32)
    wanted = _computed(s, drawn)
    marks = _computed(s, np.arange(1, n + 1))
    index = np.clip(np.rint(marks), 0, n).astype(np.int32) - 1
    drawn_and_0 = np.append(drawn, np.float32(0))  # index -1 is the 0
    if np.array_equal(drawn_and_0[index], wanted):
        return _Table(index, None, index)
    if n * wanted.size > _MOST:
        raise s.refuse(
            f"a linear map of {n} to {wanted.size} numbers is not supported, at most {_MOST} pairs"
        )
    columns_of_matrix = [_computed(s, unit_vector) for unit_vector in np.eye(n, dtype=np.float32)]
    matrix = np.stack(columns_of_matrix, axis=1)
    if not np.allclose(matrix @ drawn, wanted, rtol=1e-4, atol=1e-4):
        raise s.refuse("it is not linear")
    rows, columns = np.nonzero(matrix)
    starts = np.searchsorted(rows, np.arange(len(wanted) + 1)).astype(np.int32)
    return _Table(columns.astype(np.int32), starts, matrix[rows, columns])


def _computed(s: Site, x: Array) -> Array:
    """What the Function of a call gives for x in place of its first input, in one axis."""
    function_class = s.call.made_by
    node = object.__new__(function_class)
    vars(node).update(s.call.settings)
    node.needs = (False,) * len(s.inputs)
    x = x.astype(np.float32).reshape(s.input(0).shape)
    y = function_class.forward(node, x, *s.call.inputs[1:])
    return np.asarray(y).reshape(-1)


rule(*KINDS)(Rule(linear, linear_backward))
