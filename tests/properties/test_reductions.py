"""Reductions over any axes of any array: NumPy's shapes and values, and the gradients of the references."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ranvier import ops
from ranvier.reference import reduce as reference
from support.check import agree
from support.strategies import any_array, dtypes, laid_out, repeatable


def axes_of(ndim):
    """None, one axis, or several different ones; counted from either end."""
    if ndim == 0:
        return st.none()
    several = st.lists(st.integers(0, ndim - 1), min_size=1, unique=True)
    from_either_end = several.flatmap(
        lambda axes: st.tuples(*(st.sampled_from([axis, axis - ndim]) for axis in axes))
    )
    return st.none() | st.integers(-ndim, ndim - 1) | from_either_end


@st.composite
def reduction(draw, min_side=0):
    x = draw(any_array(min_side=min_side, max_side=7))
    return x, draw(axes_of(x.ndim)), draw(st.booleans())


def _agree(name, x, axis, keepdims, reduction):
    agree(
        lambda t: getattr(ops, name)(t, axis, keepdim=keepdims),
        [x],
        lambda a: getattr(reference, name)(a, axis, keepdims),
        lambda dy, a: (getattr(reference, f"{name}_backward")(dy, a, axis, keepdims),),
        reduction,
    )


@repeatable
@given(case=reduction())
def test_sum(case):
    _agree("sum", *case, case[0].size + 1)


@repeatable
@given(case=reduction(min_side=1))
def test_mean(case):
    _agree("mean", *case, case[0].size + 1)


@pytest.mark.parametrize("name", ["amax", "amin"])
@repeatable
@given(case=reduction(min_side=1))
def test_extremes(name, case):
    _agree(name, *case, case[0].size + 1)


@st.composite
def with_spread(draw):
    """At least two different elements along every axis."""
    shape = tuple(draw(st.lists(st.integers(2, 6), min_size=1, max_size=4)))
    return draw(laid_out(shape, draw(dtypes))), draw(axes_of(len(shape))), draw(st.booleans())


@repeatable
@given(case=with_spread())
def test_variance(case):
    _agree("var", *case, case[0].size + 1)


@pytest.mark.parametrize("name", ["argmax", "argmin", "all", "any"])
@repeatable
@given(case=reduction(min_side=1))
def test_picks_are_numpys(name, case):
    x, axis, keepdims = case
    x = np.round(x)
    axis = axis[0] if isinstance(axis, tuple) and name.startswith("arg") else axis
    np.testing.assert_array_equal(
        getattr(ops, name)(x, axis, keepdims)._array, getattr(np, name)(x, axis, keepdims=keepdims)
    )
