"""Rarer ops at the edge of their domain, with two dtypes, and with what they refuse; expected values by hand,
those of PyTorch where NumPy has others.
"""

import math

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

F = rv.nn.functional
NAN, INF = math.nan, math.inf


def gradient(function, *values, dtype=rv.float32):
    """The gradients of the sum of the function's result by each value."""
    leaves = [rv.tensor(v, dtype=dtype, requires_grad=True) for v in values]
    function(*leaves).sum().backward()
    return [leaf.grad.tolist() for leaf in leaves]


def test_gradients_at_the_edge():
    far = np.float32(-1) / np.float32(1e-30)  # its square is below float32
    assert gradient(rv.atan2, [0.0, -0.0, 1e-30], [0.0, 0.0, 0.0]) == [[0.0] * 3, [0.0, 0.0, float(far)]]
    assert gradient(rv.atan2, [3.0], [4.0]) == [[pytest.approx(0.16)], [pytest.approx(-0.12)]]
    assert gradient(rv.logit, [0.0, 1.0, 0.5]) == [[INF, INF, 4.0]]


def test_values_at_the_edge():
    assert rv.lgamma(rv.tensor([INF, -INF, -1.0])).tolist() == [INF] * 3
    assert rv.lgamma(rv.tensor([1e306], dtype=rv.float64)).tolist() == [INF]
    found = rv.mode(rv.tensor([[NAN, NAN, 1.0, 3.0], [NAN, 1.0, 1.0, NAN]]))  # NaNs are different values
    assert found.values.tolist() == [1.0, 1.0]
    assert found.indices.tolist() == [2, 2]
    assert math.isnan(rv.mode(rv.tensor([NAN, NAN])).values.item())
    rows = rv.tensor([[1.0, 2.0, NAN], [1.0, 2.0, INF]])
    assert rv.nanquantile(rows, 0.5, dim=1).tolist() == [1.5, 2.0]
    assert F.grid_sample(rv.zeros(0, 2, 3, 3), rv.zeros(0, 1, 1, 2)).shape == (0, 2, 1, 1)


def test_powers_of_integers_are_computed_in_float64_beside_it():
    x = rv.tensor([1.0], dtype=rv.float64)
    assert rv.ldexp(x, rv.tensor([255])).item() == 2.0**255


def test_fills_of_other_types():
    refused(TypeError, "[fill_] got None; expected a real", rv.zeros(2, dtype=rv.bool).fill_, None)
    refused(TypeError, "[full_like] got '1'; expected a real number", rv.full_like, rv.ones(2), "1")


@pytest.mark.parametrize(
    "call",
    [
        lambda x: rv.unique(x),
        lambda x: rv.unique_consecutive(x, return_counts=True)[0],
        lambda x: rv.bincount(rv.tensor([0, 1]), x),
        lambda x: rv.histc(x, 2),
        lambda x: rv.histogram(x, 2).hist,
    ],
)
def test_a_backward_through_what_has_no_derivative_is_refused(call):
    x = rv.tensor([1.0, 2.0], requires_grad=True)
    loss = call(x).sum() + x.sum()
    refused(RuntimeError, "has no derivative; expected a detached input", loss.backward)
    (call(x.detach()).sum() + x.sum()).backward()
    assert x.grad.tolist() == [1.0, 1.0]


def test_equal_medians_share_the_gradient():
    for values in ([1.0, 2.0, 1.0], [1.0, NAN, 1.0, 2.0]):
        (found,) = gradient(rv.nanmedian, values)
        assert [slope for x, slope in zip(values, found, strict=True) if x == 1] == [0.5, 0.5]
        assert sum(found) == 1
    assert math.isnan(rv.nanmedian(rv.tensor([NAN, NAN])).item())
    assert rv.nanmedian(rv.tensor(3.0)).item() == 3


def test_no_axes_of_all_and_any():
    x = rv.tensor([[1.0, 0.0], [2.0, NAN]])
    for op in (rv.all, rv.any):
        assert op(x, dim=()).tolist() == [[True, False], [True, True]]


def test_addmm_has_one_value_with_and_without_gradients():
    a, b, row = rv.randn(3, 70), rv.randn(70, 33), rv.randn(33)
    assert rv.equal(rv.addmm(row, a, b), rv.addmm(row, a, b.requires_grad_()))


def test_addmm_does_not_grow():
    for x in (rv.ones(3, 1, 1), rv.ones(4, 3), rv.ones(4)):
        for beta in (0, 1):
            text = "expected x to broadcast to the product"
            refused(ValueError, text, rv.addmm, x, rv.ones(2, 4), rv.ones(4, 3), beta=beta)


@pytest.mark.parametrize(
    ("value", "dtype", "place"),  # 300 bins; PyTorch widens by 1, or to the next number
    [
        (5.0, "float32", 150),
        (2.0**24, "float32", 100),
        (3e38, "float32", 150),
        (65504.0, "float16", 150),
        (2.0**53, "float64", 100),
    ],
)
def test_histc_of_equal_values(value, dtype, place):
    x = rv.full((3,), value, dtype=dtype)
    assert rv.histc(x, 300).nonzero().tolist() == [[place]]


def test_limits_of_histc_are_of_the_dtype():
    for dtype in (rv.float16, rv.float32, rv.float64):
        x = rv.tensor([0.1, 0.9], dtype=dtype)
        assert rv.histc(x, 4, min=0.1, max=0.9).tolist() == [1, 0, 0, 1], dtype


def test_what_is_infinitely_far_is_not_close():
    inf, x = math.inf, rv.tensor([math.inf, 1.0, math.inf, math.nan])
    y = rv.tensor([1.0, 1.0, inf, math.nan])
    assert (
        rv.isclose(x, y, rtol=inf).tolist()
        == rv.isclose(x, y, atol=inf).tolist()
        == [False, True, True, False]
    )
    large = rv.tensor([2**53])
    assert rv.isclose(large, large + 1, 0, 0).tolist() == [False]


def test_arange_counts_before_it_rounds():
    assert rv.arange(0, 5.5, 1.5, dtype=rv.int32).tolist() == [0, 1, 2, 3]  # as in PyTorch
    assert rv.arange(0, 5.5, 1.5, dtype=rv.int64).tolist() == [0, 1, 2, 3, 4]


def test_numbers_that_no_dtype_holds():
    for data in (2**63, [2**63], [[1, 2**63]], [2**64], [-(2**63) - 1], [True, 2**63]):
        refused(ValueError, "[tensor] got whole numbers that int64 cannot hold", rv.tensor, data)
    assert rv.tensor([2**63 - 1, -(2**63)]).dtype == np.int64
    for function in (rv.isclose, rv.allclose):
        for rtol in (-1.0, NAN):
            refused(ValueError, f"] got rtol {rtol} and atol", function, rv.ones(1), rv.ones(1), rtol)


def test_whole_numbers_between_limits_are_rounded_once():
    y = rv.linspace(-1, 10, 78, dtype=rv.int64)  # 14 steps of 11 / 77 are a little less than 2
    assert y[[14, 21, 35]].tolist() == [0, 1, 3]


@pytest.mark.parametrize("dtype", [rv.float32, rv.float64])
def test_powers_of_two_beyond_the_range_of_a_factor(dtype):
    x, exponent = [1e-30, np.inf, 0.0, 1e30, -1.0], [140, -300, 300, -200, 5000]
    with np.errstate(over="ignore"):
        expected = np.ldexp(np.array(x, dtype.name), exponent)
    np.testing.assert_array_equal(rv.ldexp(rv.tensor(x, dtype=dtype), rv.tensor(exponent)).numpy(), expected)
