"""Running sums and products: dtypes, ranks, zeros."""

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused


def test_zeros_in_a_product_have_their_gradient():
    x = rv.tensor([2.0, 0.0, 3.0, 4.0], requires_grad=True)
    x.cumprod(0).sum().backward()
    assert x.grad.tolist() == [1, 2 + 6 + 24, 0, 0]


def test_other_dtypes_and_ranks():
    assert rv.tensor([True, True]).cumsum(0).tolist() == [1, 2]
    assert rv.tensor([[1, 2], [3, 4]]).cumprod(0).tolist() == [[1, 2], [3, 8]]
    assert rv.tensor([1, 2]).cumsum(0, dtype=rv.float32).tolist() == [1, 3]
    assert rv.tensor(3.0).cumsum(0).item() == 3
    assert rv.tensor(3).cumprod(-1).item() == 3
    refused(IndexError, "[cumsum] got dim 1 for 1 dimensions; expected -1 to 0", rv.tensor([1.0]).cumsum, 1)


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_running_totals_in_the_dtype_that_is_asked_for(name):
    for dtype in (rv.uint8, rv.int32, rv.int64):
        y = getattr(rv, name)(rv.tensor([1, 2, 3]), 0, dtype=dtype)
        assert y.dtype == dtype
        assert y.tolist() == ([1, 3, 6] if name == "cumsum" else [1, 2, 6])
    assert getattr(rv, name)(rv.tensor([1, 2], dtype=rv.uint8), 0).dtype == np.int64


def test_totals_of_bytes_are_int64():
    x = rv.tensor([[1, 2], [3, 250]], dtype=rv.uint8)
    for y, expected in ((x.sum(), 256), (x.prod(), 1500), (x.trace(), 251)):
        assert (y.dtype, y.item()) == (np.int64, expected)
    assert x.max().dtype == np.uint8


def test_logcumsumexp_of_one_element_is_new():
    x = rv.zeros(3, 1)
    rv.logcumsumexp(x, 1).add_(5)
    assert x.tolist() == [[0.0]] * 3


@pytest.mark.parametrize("name", ["cumsum", "cumprod"])
def test_running_sums_are_no_bools(name):
    with pytest.raises(TypeError, match=rf"\[{name}\] got x of dtype bool; expected numbers"):
        getattr(rv.tensor([1, 0, 2]), name)(0, dtype=rv.bool)
