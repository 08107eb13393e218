"""Reductions, running totals and orders: axes, dtypes, what is refused; variances of numbers far from 0
beside NumPy in float64, within a millionth.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.refused import refused


def test_extremes_along_an_axis():
    x = rv.tensor([[1.0, 7.0], [5.0, 3.0]])
    for y in (x, x.detach().requires_grad_(), x.long()):  # axis is dim, with and without a gradient
        assert [part.tolist() for part in y.max(axis=1)] == [[7, 5], [1, 0]]
        assert [part.tolist() for part in ops.min(y, axis=0, keepdims=True)] == [[[1, 3]], [[0, 1]]]
        assert y.max(axis=(0, 1)).item() == 7


def test_sums_and_means_of_nothing():
    images = rv.ones(2, 4, 8, 8)
    assert images.sum((0, 2, 3)).tolist() == [128.0] * 4  # which then lies on the stack
    assert images[:0].sum((0, 2, 3)).tolist() == [0.0] * 4
    assert images[:0].mean((0, 2, 3)).isnan().all()


@pytest.mark.parametrize("correction", [float("nan"), float("inf"), "1", 1j])
def test_corrections_are_finite_numbers(correction):
    for op in (rv.var, rv.std, rv.var_mean):
        message = r"\[(var|std)(_mean)?\] got correction .*; expected a finite number"
        with pytest.raises(ValueError, match=message):
            op(rv.ones(3), correction=correction)


@pytest.mark.parametrize("keepdim", [None, 0, 1])
def test_keepdim_is_true_or_false(keepdim):
    refused(TypeError, "[argmax] got keepdim", rv.zeros(2, 3).argmax, 0, keepdim=keepdim)


def test_wrong_axes():
    for name in ("amax", "amin", "max", "min"):
        for x in (rv.ones(2, 2), rv.ones(2, 2, dtype=rv.int64)):
            refused(IndexError, f"[{name}] got axis 2", getattr(x, name), 2)
            refused(ValueError, f"[{name}] got x of shape (0, 2), empty", getattr(x[:0], name))


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int64", "float32"])
def test_any_and_all_of_uint8_are_uint8(dtype):
    x = rv.tensor([[0, 1], [1, 1]]).to(np.dtype(dtype))
    for y, expected in ((x.any(), 1), (x.all(), 0), (x.any(1), [1, 1]), (x.all(1), [0, 1])):
        assert y.dtype == (np.uint8 if dtype == "uint8" else np.bool_)
        assert y.tolist() == expected


@pytest.mark.parametrize("axes", [0, 1, 2, (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("offset", [0.0, 1e3, -1e6])
def test_the_variance_of_numbers_far_from_0(axes, offset):
    """The mean is rounded: without its correction the error was 2e-2."""
    x = (offset + np.random.default_rng(0).standard_normal((40, 50, 30))).astype(np.float32)
    exact = x.astype(np.float64)
    expected = exact.var(axes, ddof=1)
    np.testing.assert_allclose(rv.tensor(x).var(axes).numpy(), expected, rtol=1e-6)
    np.testing.assert_allclose(rv.tensor(x).std(axes).numpy(), np.sqrt(expected), rtol=1e-6)
    t = rv.tensor(x, requires_grad=True)
    away = exact - exact.mean(axes, keepdims=True)
    slope = away * 2 / (x.size // expected.size - 1)
    limit = float(abs(slope).max()) * 1e-6
    for graph in (False, True):
        (dx,) = rv.autograd.grad(t.var(axes).sum(), t, create_graph=graph)
        np.testing.assert_allclose(dx.detach().numpy(), slope, atol=limit, rtol=0)


def test_the_covariance_of_numbers_far_from_0():
    """With the rounded mean alone the error was 1e-3."""
    x = (1e6 + np.random.default_rng(0).standard_normal((5, 300))).astype(np.float32)
    for weights in (None, np.arange(1, 301)):
        expected = np.cov(x.astype(np.float64), aweights=weights)
        found = rv.cov(rv.tensor(x), aweights=None if weights is None else rv.tensor(weights)).numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * expected.max())


def test_the_variance_of_equal_numbers_is_no_less_than_0():
    x = rv.tensor(np.full((7, 3), 1e6 + 0.0625 * 3, np.float32))
    assert (x.var(0) >= 0).all()
    assert (x.std(0) < 1e-3).all()
    with_infinity = rv.tensor([np.inf, 1.0], requires_grad=True)
    for graph in (False, True):
        dx = rv.autograd.grad(with_infinity.var(), with_infinity, create_graph=graph)[0].tolist()
        assert (np.isnan(dx[0]), dx[1]) == (True, -np.inf)


def test_zeros_in_a_product_have_their_gradient():
    x = rv.tensor([2.0, 0.0, 3.0, 4.0], requires_grad=True)
    x.cumprod(0).sum().backward()
    assert x.grad.tolist() == [1, 2 + 6 + 24, 0, 0]


def test_running_totals_of_integers():
    assert rv.tensor([1, 2]).cumsum(0, dtype=rv.float32).tolist() == [1, 3]
    assert rv.tensor(3).cumprod(-1).item() == 3


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


def test_integers_and_numbers():
    x = rv.tensor([3, 1, 3, 2])
    assert x.argsort(descending=True).tolist() == [0, 2, 3, 1]
    assert x.topk(2).indices.tolist() == [0, 2]
    assert x.median().item() == 2
    assert x.kthvalue(1).indices.item() == 1
    assert x.kthvalue(rv.tensor(1)).values.item() == x.kthvalue(1).values.item()
    for found in (rv.tensor(3.0).sort(), rv.tensor(3.0).topk(1), rv.tensor(3).median(0)):
        assert (found.values.item(), found.indices.item()) == (3, 0)
