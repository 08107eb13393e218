"""Functions that are linear maps with fixed coefficients, such as a resize or a repeat.

They have one rule. It finds the coefficients by calls of the Function itself, and writes them as a table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.operations import Rule, Site, rule

Array = np.ndarray[Any, Any]
_MOST = 2**22  # the most elements of the matrix of a map, which is computed to find its coefficients
_NAMES = "Fourier FourierByNumPy Interpolate OverlapAdd Pick TakeRows Unfold"
KINDS = frozenset(_NAMES.split())
"""Class names of the Functions that have this rule."""


def arrays_in(settings: Any) -> Iterator[Array]:
    """The arrays in nested settings of a call; a table treats them as constants."""
    if isinstance(settings, np.ndarray):
        yield settings
    elif isinstance(settings, (dict, tuple, list)):
        for value in settings.values() if isinstance(settings, dict) else settings:
            yield from arrays_in(value)


def linear(s: Site) -> Value:
    """Adds the instruction of a call, by its table; its result."""
    x = s.input(0)
    shape = s.call.outputs[0].shape
    index, starts, weights = _table(s)
    s.saved = [s.value_of(index, "index")]
    if starts is None:
        return s.r.made("picked", x, *s.saved, ..., int(np.prod(shape)), shape=shape)
    s.saved += [s.value_of(starts, "starts"), s.value_of(weights, "weights")]
    return s.r.made("weighted_sums", x, *s.saved, ..., int(np.prod(shape)), shape=shape)


def linear_backward(s: Site, dy: Value) -> Sequence[Value | None]:
    """The gradient of the first input: the transposed map, by the same table."""
    dx = s.r.made("fill", ..., s.input(0).size, 0.0, shape=s.input(0).shape)
    if len(s.saved) == 1:
        helper = "picked_backward"
    else:
        helper = "weighted_sums_backward"
    s.r.call(helper, dy, *s.saved, dx, dy.size, writes=dx)
    return [dx, *[None] * (len(s.inputs) - 1)]


def _table(s: Site) -> tuple[Array, Array | None, Array]:
    """(index, starts, weights): y[i] is the sum of weights[j] x[index[j]] for starts[i] <= j < starts[i + 1].

    If each y[i] is an element of x or 0, starts is None, and y[i] is x[index[i]], or 0 for index -1. This is
    tested with x = 1, 2 ... n, which gives the indices, and with random numbers. Otherwise the map's matrix
    is computed by applying the Function to unit vectors.
    """
    shape = s.input(0).shape
    made_by = s.call.made_by

    def computed(x: Array) -> Array:
        node = object.__new__(made_by)
        vars(node).update(s.call.settings)
        node.needs = (False,) * len(s.inputs)
        others = [None if v is None else v for v in s.call.inputs[1:]]
        return np.asarray(made_by.forward(node, x.astype(np.float32).reshape(shape), *others)).reshape(-1)

    n = s.input(0).size
    drawn = np.random.default_rng(0).normal(size=n).astype(np.float32)
    wanted = computed(drawn)
    marks = computed(np.arange(1, n + 1))
    index = np.clip(np.rint(marks), 0, n).astype(np.int32) - 1
    if np.array_equal(np.append(drawn, np.float32(0))[index], wanted):
        return index, None, index
    if n * wanted.size > _MOST:
        raise s.refuse(
            f"a linear map of {n} to {wanted.size} numbers is not supported, at most {_MOST} pairs"
        )
    matrix = np.stack([computed(row) for row in np.eye(n, dtype=np.float32)], 1)
    if not np.allclose(matrix @ drawn, wanted, 1e-4, 1e-4):
        raise s.refuse("it is not linear")
    rows, columns = np.nonzero(matrix)
    starts = np.searchsorted(rows, np.arange(len(wanted) + 1)).astype(np.int32)
    return columns.astype(np.int32), starts, matrix[rows, columns]


rule(*KINDS)(Rule(linear, linear_backward))
