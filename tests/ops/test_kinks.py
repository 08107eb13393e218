"""Gradients where the formula has none: at 0, at equal elements, at 0^0; they are PyTorch's."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv

KINKS = {
    "std": lambda T, x: x.std(),
    "std along 0": lambda T, x: x.std(dim=0),
    "std of one": lambda T, x: x[:1].std(correction=0),
    "std and mean": lambda T, x: sum(T.std_mean(x)),
    "norm": lambda T, x: x.norm(),
    "norm 3": lambda T, x: x.norm(3),
    "norm 1": lambda T, x: x.norm(1),
    "norm inf": lambda T, x: x.norm(float("inf")),
    "abs": lambda T, x: x.abs(),
    "x ** 0": lambda T, x: x**0,
    "x ** zeros": lambda T, x: x ** T.zeros(3),
    "zeros ** x": lambda T, x: T.zeros(3) ** x,
    "0.0 ** x": lambda T, x: 0.0**x,
    "prod": lambda T, x: x.prod(),
    "cumprod": lambda T, x: x.cumprod(0),
    "max": lambda T, x: x.max(),
    "amax": lambda T, x: x.amax(0),
    "median": lambda T, x: x.median(),
    "maximum": lambda T, x: T.maximum(x, x.detach()),
    "clamp": lambda T, x: x.clamp(0.0, 1.0),
    "relu": lambda T, x: x.relu(),
    "relu6": lambda T, x: T.nn.functional.relu6(x),
    "hardtanh": lambda T, x: T.nn.functional.hardtanh(x, 0.0, 1.0),
    "hardswish": lambda T, x: T.nn.functional.hardswish(x * 3.0),
    "hardsigmoid": lambda T, x: T.nn.functional.hardsigmoid(x * 3.0),
    "hardshrink": lambda T, x: T.nn.functional.hardshrink(x, 1.0),
    "softshrink": lambda T, x: T.nn.functional.softshrink(x, 1.0),
    "cosine similarity": lambda T, x: T.nn.functional.cosine_similarity(x, T.ones(3), 0),
    "distance": lambda T, x: T.nn.functional.pairwise_distance(x, x.detach(), eps=0.0),
    "l1": lambda T, x: T.nn.functional.l1_loss(x, x.detach()),
    "smooth l1": lambda T, x: T.nn.functional.smooth_l1_loss(x + 1.0, x.detach()),
    "huber": lambda T, x: T.nn.functional.huber_loss(x + 1.0, x.detach()),
    "hinge": lambda T, x: T.nn.functional.hinge_embedding_loss(x + 1.0, -T.ones(3)),
    "margin": lambda T, x: T.nn.functional.margin_ranking_loss(x, x.detach(), T.ones(3)),
    "prelu": lambda T, x: T.nn.functional.prelu(x, T.tensor([0.25])),
    "max pool": lambda T, x: T.nn.functional.max_pool1d(x[None, None], 3),
}


def result(library, kink, base):
    x = library.tensor([base] * 3, requires_grad=True)
    y = kink(library, x)
    y.sum().backward()
    return y.tolist(), x.grad.tolist()


@pytest.mark.parametrize("base", [-1.0, 0.0, 1.0])
@pytest.mark.parametrize("kink", KINKS.values(), ids=KINKS)
def test_gradients_at_kinks_are_those_of_torch(kink, base, torch):
    for got, expected in zip(result(rv, kink, base), result(torch, kink, base), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-6)


def test_the_deviation_of_equal_elements_has_a_gradient_of_0():
    assert result(rv, KINKS["std"], 5.0) == (0.0, [0, 0, 0])
    assert result(rv, KINKS["std along 0"], 5.0) == (0.0, [0, 0, 0])


def test_equal_elements_share_the_gradient_of_the_median():
    x = rv.tensor([[1.0, 2.0], [2.0, 3.0]], requires_grad=True)
    x.median().backward()
    assert x.grad.tolist() == [[0, 0.5], [0.5, 0]]
    x = rv.tensor([2.0, 2.0, 1.0], requires_grad=True)
    x.median(0).values.backward()
    assert x.grad.tolist() == [1, 0, 0]


def test_zero_to_the_power_of_zero():
    assert result(rv, KINKS["0.0 ** x"], 0.0) == ([1, 1, 1], [0, 0, 0])
    assert result(rv, KINKS["zeros ** x"], 0.0) == ([1, 1, 1], [0, 0, 0])
