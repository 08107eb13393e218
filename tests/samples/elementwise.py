"""Samples of `ops/elementwise`: functions of one, two and three operands, comparisons, bits."""

import numpy as np

from samples.sample import call, op, refused


def pairs(x):
    """Two operands: of one shape, broadcast, 0-d, empty, numbers on either side."""
    yield call(x(3, 7), x(3, 7))
    yield call(x(3, 1, 5), x(7, 1))
    yield call(x(2, 9), x())
    yield call(x(0, 3), x(3))
    yield call(x(5), 2.5)


op(pairs, names="add sub mul", any_size=True)


@op(reference=np.hypot, any_size=True)
def hypot(x):
    yield call(x(3, 7), x(3, 7))
    yield call(x(3, 1, 5), x(7, 1))
    yield call(x(5), 2.5)
    yield call(x(2), np.array([np.inf, np.nan]))
    yield refused(TypeError, "[hypot] got str", x(5), "text")


@op(reference=np.maximum, any_size=True)
def maximum(x):
    yield call(x(3, 7), x(3, 7))
    yield call(x.integers(-5, 5, 3, 7), x.integers(-5, 5, 7))
    yield refused(ValueError, "[maximum] got", x(3), x(4))
