"""Hypothesis strategies: arrays of any shape in any memory layout."""

import os
from typing import Any

import numpy as np
from hypothesis import settings, strategies as st
from hypothesis.extra import numpy as nps
from support.layouts import any_layout

# The examples are the same in every run, so that what fails for one fails for all; RANVIER_EXAMPLES sets
# so many others.
_ASKED = os.environ.get("RANVIER_EXAMPLES")
repeatable = settings(
    deadline=None, derandomize=_ASKED is None, max_examples=int(_ASKED or 150), database=None
)


@st.composite
def laid_out(draw: Any, shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of the shape in any layout."""
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return any_layout(rng, rng.uniform(-2, 2, shape).astype(dtype))


@st.composite
def any_array(draw: Any, min_dims: int = 0, max_dims: int = 4, min_side: int = 0, max_side: int = 9) -> Any:
    shape = draw(nps.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side))
    return draw(laid_out(shape, draw(dtypes)))


dtypes = st.sampled_from(["float32", "float64"])
