"""The embedding kernels on raw arrays: every width, layouts, out=."""

from itertools import pairwise

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import embedding as reference
from support.bits import same_bits
from support.layouts import in_layout
from support.tolerance import tolerance


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_width(dtype, rng):
    for width in range(37):
        weight = rng.standard_normal((5, width)).astype(dtype)
        index = rng.integers(0, 5, (3, 7))
        y = _core.embedding(index, weight)
        np.testing.assert_array_equal(y, weight[index])
        dy = rng.uniform(-1, 1, y.shape).astype(dtype)
        want = reference.embedding_backward(dy.astype("float64"), index, 5)
        got = _core.embedding_backward(dy, index, 5)
        np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, index.size))


@pytest.mark.parametrize("layout", ["strided", "transposed", "reversed"])
def test_layouts(layout, rng):
    weight = rng.standard_normal((5, 6)).astype("float32")
    index = rng.integers(0, 5, (4, 3))
    dy = rng.standard_normal((4, 3, 6)).astype("float32")
    out = in_layout(np.zeros((4, 3, 6), "float32"), layout)
    y = _core.embedding(in_layout(index, layout), in_layout(weight, layout), out)
    assert y is out
    np.testing.assert_array_equal(y, weight[index])
    out = in_layout(np.zeros((5, 6), "float32"), layout)
    got = _core.embedding_backward(in_layout(dy, layout), in_layout(index, layout), 5, out=out)
    assert got is out
    np.testing.assert_array_equal(got, _core.embedding_backward(dy, index, 5))


def test_one_row_picked_by_all(threads, rng):
    """The hardest case for sums that threads share: the same bits all the same."""
    dy = rng.standard_normal((20000, 48)).astype("float32")
    index = np.zeros(20000, np.int64)
    same_bits(threads, lambda: _core.embedding_backward(dy, index, 3))


def test_errors():
    dy, index = np.ones((2, 3), "float32"), np.array([0, 1])
    with pytest.raises(
        ValueError, match=r"\[embedding_backward\] got dy of shape \(2, 3\) for index of shape"
    ):
        _core.embedding_backward(dy, index[None], 4)
    with pytest.raises(
        IndexError, match=r"\[embedding_backward\] got index 1 for 1 embeddings; expected 0 to 0"
    ):
        _core.embedding_backward(dy, index, 1)
    with pytest.raises(
        ValueError, match=r"\[embedding_backward\] got padding_idx 4 for 4 embeddings; expected"
    ):
        _core.embedding_backward(dy, index, 4, 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("width", [1, 3, 4, 17, 64])
def test_bags(width, dtype, threads, isa, rng):
    """Empty bags, repeated rows, whole numbers: the sums are exact."""
    threads(2)
    weight, index = rng.integers(-9, 10, (7, width)).astype(dtype), rng.integers(0, 7, 60)
    starts = np.array([0, 0, 5, 5, 30, 60, 60])
    for scale in (None, rng.integers(-3, 4, 60).astype(dtype)):
        rows = weight[index] if scale is None else weight[index] * scale[:, None]
        expected = [rows[a:b].sum(0) for a, b in pairwise(starts)]
        for table in (weight, np.asfortranarray(weight)):
            np.testing.assert_array_equal(kernels.embedding_bag(index, table, starts, scale), expected)
    with pytest.raises(IndexError, match=r"\[embedding_bag\]"):
        kernels.embedding_bag(index + 1, weight, starts)
