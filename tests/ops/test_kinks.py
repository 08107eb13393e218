"""Gradients where the formula of an op has none or has a limit: at 0, at equal elements, of NaN. Expected
values are by hand, by series or PyTorch's.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pytest
import ranvier as rv

INF, NAN = math.inf, math.nan


class Case(NamedTuple):
    function: Callable
    order: int  # the order of the derivative
    points: list[float]
    derivatives: list[float]


SMOOTH = {
    "asinh": Case(rv.asinh, 3, points=[0.0], derivatives=[-1.0]),
    "probabilities of 0": Case(
        lambda x: rv.nn.functional.binary_cross_entropy(x, rv.zeros_like(x), reduction="sum"),
        2,
        points=[0.0, 1e-20, 1e-13, 0.5],
        derivatives=[1.0, 1.0, 1.0, 4.0],
    ),
    "between pixels": Case(  # two even cubics; by finite differences
        lambda x: rv.nn.functional.grid_sample(
            rv.arange(16.0).double().reshape(1, 1, 4, 4) ** 2,
            rv.stack([x, x * 0 + 0.2], -1)[None, None],
            "bicubic",
            align_corners=True,
        ),
        2,
        points=[-1.0, 1.0],
        derivatives=[-332.478, -463.509],
    ),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_derivatives_where_a_formula_has_an_absolute_value_or_a_limit(name):
    """Derivatives of higher order at such points, in float64, by `create_graph`."""
    f, order, points, expected = SMOOTH[name]
    x = rv.tensor(points, dtype=rv.float64, requires_grad=True)
    y = f(x)
    for _ in range(order):
        (y,) = rv.autograd.grad(y.sum(), x, create_graph=True)
    np.testing.assert_allclose(y.detach().numpy(), expected, rtol=1e-6)


def clipped(x, low, high):
    """The result, and the gradients of all three."""
    parts = [
        None if v is None else rv.tensor(v, dtype=rv.float64, requires_grad=True) for v in (x, low, high)
    ]
    y = rv.clip(*parts)
    (y * rv.arange(1.0, 1.0 + y.numel())).sum().backward()
    return [y.tolist(), *(None if p is None else p.grad.tolist() for p in parts)]


def test_where_the_gradient_of_a_clipped_tensor_goes():
    """To x where it is equal to its limit."""
    got = clipped([-1.0, 0.0, 0.5, 1.0, 2.0], [0.0] * 5, [1.0] * 5)
    assert got == [[0, 0, 0.5, 1, 1], [0, 2, 3, 4, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 5]]
    assert clipped([1.0, 3.0], [1.0, 4.0], None) == [[1, 4], [1, 0], [0, 2], None]
    assert clipped([1.0, 3.0], None, [1.0, 2.0]) == [[1, 2], [1, 0], None, [0, 2]]
    assert clipped([5.0, 0.0], 3.0, [1.0, 3.0]) == [[1, 3], [0, 0], 0, [1, 0]]


def test_equal_infinities_share_the_gradient_of_logaddexp():
    a, b = (rv.tensor([-INF, INF, 2.0], requires_grad=True) for _ in range(2))
    rv.logaddexp(a, b).sum().backward()
    assert a.grad.tolist() == b.grad.tolist() == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("x", [1e-12, 1e-5, 1e-3, 0.0999, 0.1001, 0.7])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_slope_of_sinc_near_0(x, dtype):
    """-p / 3 x + p^2 / 30 x^3 - ... for p = pi^2, summed with fractions."""
    x = rv.tensor([x], dtype=getattr(rv, dtype), requires_grad=True)
    square, exact = Fraction(math.pi) ** 2, Fraction(0)
    for k in range(1, 25):
        exact += (
            Fraction((-1) ** k * 2 * k, math.factorial(2 * k + 1))
            * square**k
            * Fraction(x.item()) ** (2 * k - 1)
        )
    for graph in (False, True):
        (slope,) = rv.autograd.grad(rv.sinc(x).sum(), x, create_graph=graph)
        error = 64 * np.finfo(dtype).eps  # from 0.1 on cos(pi x) - sinc(x) loses 1 / 0.03
        assert abs(slope.item() / float(exact) - 1) < error


@pytest.mark.parametrize("align_corners", [True, False])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_gradients_of_grid_sample_at_and_beyond_the_edge(mode, padding, align_corners, torch):
    """First gradients, with and without create_graph, beside PyTorch's in float32."""

    def slopes(T, graph):
        image = T.arange(12.0).reshape(1, 1, 3, 4) ** 2
        places = [-3.0, -2.0, -1.5, -1.0, -0.75, -0.5, 0.0, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0]
        grid = T.tensor([[x, y] for x in places for y in places]).reshape(1, 13, 13, 2).requires_grad_()
        y = T.nn.functional.grid_sample(image, grid, mode, padding, align_corners)
        return T.autograd.grad(y.sum(), grid, create_graph=graph)[0].detach().numpy()

    expected = slopes(torch, False)
    for graph in (False, True):
        np.testing.assert_allclose(slopes(rv, graph), expected, rtol=1e-4, atol=1e-3)


def test_a_grid_at_the_edge_has_no_gradient():
    image = rv.tensor([[10.0, 20.0], [10.0, 20.0]]).reshape(1, 1, 2, 2)
    for padding in ("border", "reflection"):
        grid = rv.tensor([1.0, 0.0, -1.0, 0.0, 0.5, 0.0]).reshape(1, 1, 3, 2).requires_grad_()
        rv.nn.functional.grid_sample(image, grid, padding_mode=padding, align_corners=True).sum().backward()
        assert grid.grad[0, 0, :, 0].tolist() == [0.0, 0.0, 5.0]


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


@pytest.mark.parametrize("reduce", [lambda x: x.max(), lambda x: x.min(), lambda x: x.median()])
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
