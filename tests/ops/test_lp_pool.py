"""lp_pool2d and its layer beside PyTorch."""

import math

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

F = rv.nn.functional
DRAWS = np.random.default_rng(0)


@pytest.mark.parametrize("p", [1, 2.0, -2, 3, math.inf])
@pytest.mark.parametrize("ceil_mode", [False, True])
def test_lp_pool(p, ceil_mode, torch):
    values = abs(DRAWS.standard_normal((2, 3, 6, 7))) + 0.1
    for size, stride in ((2, None), ((3, 2), (2, 1)), (3, 2)):
        both = []
        for library in (rv, torch):
            x = library.tensor(values, requires_grad=True)
            y = library.nn.functional.lp_pool2d(x, p, size, stride, ceil_mode)
            layer = library.nn.LPPool2d(p, size, stride, ceil_mode)
            assert layer(x).tolist() == y.tolist()
            y.sum().backward()
            both += [y.detach().numpy(), x.grad.numpy(), repr(layer)]
        np.testing.assert_allclose(both[0], both[3], rtol=1e-10)
        np.testing.assert_allclose(both[1], both[4], rtol=1e-10)
        assert both[2] == both[5]


@pytest.mark.parametrize("p", [0, math.nan, "2", True, None])
def test_wrong_lp_pool(p):
    message = f"[lp_pool2d] got norm_type {p!r}; expected a number"
    refused(ValueError, message, F.lp_pool2d, rv.ones(1, 1, 4, 4), p, 2)


def test_lp_pool_of_zeros_and_sizes_in_a_tuple():
    x = rv.tensor([[[[0.0, 0.0, 3.0, 4.0]]]], requires_grad=True)
    y = F.lp_pool2d(x, 2, (1, 2))
    y.sum().backward()
    assert y.tolist() == [[[[0, 5]]]]
    assert x.grad.tolist() == [[[[0, 0, pytest.approx(0.6), pytest.approx(0.8)]]]]
