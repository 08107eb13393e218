"""Element-wise ops broadcast as NumPy does, forward and backward, in any memory layout."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps
from ranvier import ops
from ranvier.reference import elementwise as reference
from support.check import agree
from support.strategies import dtypes, laid_out, repeatable


@st.composite
def operands(draw, count, low=-2.0, high=2.0):
    """Arrays whose shapes broadcast with each other, empty ones too."""
    shapes = draw(nps.mutually_broadcastable_shapes(num_shapes=count, min_side=0, max_side=6, max_dims=4))
    dtype = draw(dtypes)
    return [draw(laid_out(shape, dtype, low, high)) for shape in shapes.input_shapes]


@pytest.mark.parametrize("name", ["add", "sub", "mul"])
@repeatable
@given(arrays=operands(2))
def test_two(name, arrays):
    repeats = np.broadcast(*arrays).size + 1
    agree(
        getattr(ops, name),
        arrays,
        getattr(reference, name),
        getattr(reference, f"{name}_backward"),
        repeats,
    )


@pytest.mark.parametrize("name", ["div", "pow"])
@repeatable
@given(arrays=operands(2, low=0.5))
def test_two_above_zero(name, arrays):
    repeats = 8 * (np.broadcast(*arrays).size + 1)  # 8: (1 / 0.5)^2 and powers up to 2^2 enlarge an error
    agree(
        getattr(ops, name),
        arrays,
        getattr(reference, name),
        getattr(reference, f"{name}_backward"),
        repeats,
    )


@repeatable
@given(arrays=operands(3))
def test_where(arrays):
    condition, a, b = arrays
    agree(
        ops.where,
        (np.asarray(condition > 0), a, b),
        reference.where,
        lambda dy, c, a, b: (None, *reference.where_backward(dy, c, a, b)),
        np.broadcast(*arrays).size + 1,
    )


@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge", "maximum", "minimum"])
@repeatable
@given(arrays=operands(2))
def test_comparisons_are_numpys(name, arrays):
    numpy_name = {
        "eq": "equal", "ne": "not_equal", "lt": "less",
        "le": "less_equal", "gt": "greater", "ge": "greater_equal",
    }.get(name, name)  # fmt: skip
    a, b = (np.round(x) for x in arrays)  # so that some are equal
    np.testing.assert_array_equal(getattr(ops, name)(a, b)._array, getattr(np, numpy_name)(a, b))


@repeatable
@given(a=st.integers(0, 5), b=st.integers(0, 5), c=st.integers(0, 5))
def test_shapes_that_do_not_fit_are_refused(a, b, c):
    x, y = rv.zeros(a, b), rv.zeros(c)
    if b == c or 1 in (b, c):
        assert (x + y).shape == np.broadcast_shapes((a, b), (c,))
    else:
        with pytest.raises(ValueError, match=r"\[add\] got"):
            x + y
