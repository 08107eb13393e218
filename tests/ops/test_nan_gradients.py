"""Gradients where an operand is NaN."""

import math

import numpy as np
import pytest
import ranvier as rv

NAN = math.nan


@pytest.mark.parametrize("op", [rv.maximum, rv.minimum, lambda a, b: a.max(b), lambda a, b: a.min(b)])
def test_both_operands_of_a_nan_get_the_gradient(op):
    a = rv.tensor([NAN, 1.0, NAN, 2.0], requires_grad=True)
    b = rv.tensor([1.0, NAN, NAN, 2.0], requires_grad=True)
    y = op(a, b)
    assert [math.isnan(v) for v in y.tolist()] == [True, True, True, False]
    y.backward(rv.tensor([3.0, 5.0, 7.0, 11.0]))
    assert a.grad.tolist() == [3.0, 5.0, 7.0, 5.5]
    assert b.grad.tolist() == [3.0, 5.0, 7.0, 5.5]


def test_nan_of_sign_and_of_the_slope_of_abs():
    x = rv.tensor([NAN, -2.0], requires_grad=True)
    assert math.isnan(rv.sign(x)[0].item())
    x.abs().sum().backward()
    assert math.isnan(x.grad[0].item())
    assert x.grad[1].item() == -1.0


@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, math.inf])
@pytest.mark.parametrize("graphed", [False, True])
def test_nan_of_a_distance_is_in_both_gradients(p, graphed):
    x1 = rv.tensor([[NAN, 1.0, 5.0], [2.0, 3.0, 5.0]], requires_grad=True)
    x2 = rv.zeros(9, 3, requires_grad=True)
    for y in (rv.cdist(x1, x2, p)[0], rv.nn.functional.pairwise_distance(x1[:1], x2[:1], p)):
        slopes = rv.autograd.grad(y.sum(), (x1, x2), retain_graph=True, create_graph=graphed)
        assert all(math.isnan(slope[0, 0].item()) for slope in slopes)


@pytest.mark.parametrize(
    "reduce",
    [lambda x: x.max(), lambda x: x.min(), lambda x: x.median()],
)
@pytest.mark.parametrize("n", [3, 40])
def test_elements_that_are_nan_share_the_gradient_of_an_extreme(reduce, n):
    """As in PyTorch's max(); a gradient of 0 would hide it."""
    x = rv.ones(n, requires_grad=True)
    with rv.no_grad():
        x[1] = x[2] = NAN
    y = reduce(x)
    assert math.isnan(y.item())
    y.backward()
    assert x.grad.tolist() == [0, 0.5, 0.5, *[0] * (n - 3)]
    x = rv.arange(float(n)).requires_grad_()  # what the vectors are padded with is no NaN
    x.max().backward()
    assert x.grad.tolist() == [*[0] * (n - 1), 1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_to_num_is_numpys_and_has_a_gradient_where_x_is_a_number(dtype):
    limits = np.finfo(dtype)
    x = np.array([np.nan, np.inf, -np.inf, 1.5, -0.0, limits.max, limits.min], dtype)
    for replaced in ({}, {"nan": 2.0}, {"posinf": 3.0}, {"neginf": -4.0}, {"posinf": -1.0, "neginf": 1.0}):
        of = rv.tensor(x, requires_grad=True)
        y = rv.nan_to_num(of, **replaced)
        np.testing.assert_array_equal(y.detach().numpy(), np.nan_to_num(x, **replaced), err_msg=str(replaced))
        assert y.dtype == of.dtype
        (gradient,) = rv.autograd.grad(y.sum(), of)
        assert gradient.tolist() == [0, 0, 0, 1, 1, 1, 1]
        np.testing.assert_array_equal(rv.nan_to_num(rv.tensor(x), **replaced), y.detach())
