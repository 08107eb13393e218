"""Linear: shapes, starting values, text (its arithmetic is tested with ops.linear)."""

import math

import numpy as np
import ranvier as rv
from ranvier import nn
from support.refused import refused


def test_parameters_are_pytorchs():
    layer = nn.Linear(100, 50)
    assert {name: p.shape for name, p in layer.named_parameters()} == {"weight": (50, 100), "bias": (50,)}
    for p in layer.parameters():
        assert p.dtype == np.float32
        assert p.requires_grad
        assert abs(p.detach().numpy()).max() <= 1 / math.sqrt(100) * (1 + np.finfo(np.float32).eps)
    assert nn.Linear(2, 3, bias=False).bias is None
    assert nn.Linear(2, 3, dtype=rv.float64).weight.dtype == np.float64
    assert (
        sum(p.numel() for n, m in ((784, 128), (128, 64), (64, 10)) for p in nn.Linear(n, m).parameters())
        == 109386
    )


def test_text():
    assert repr(nn.Linear(3, 2, bias=False)) == "Linear(in_features=3, out_features=2, bias=False)"


def test_a_bias_with_leading_ones():
    x, w, b = rv.arange(6).float().reshape(2, 3), rv.ones(4, 3), rv.arange(4).float().requires_grad_()
    y = nn.functional.linear(x, w, b.reshape(1, 4))
    y.sum().backward()
    np.testing.assert_array_equal(y.detach().numpy(), nn.functional.linear(x, w, b).detach().numpy())
    np.testing.assert_array_equal(b.grad.numpy(), [2.0] * 4)
    refused(ValueError, "[linear] got x of shape (2, 3)", nn.functional.linear, x, w, rv.zeros(2, 4))
    refused(ValueError, "[linear] got x of shape (3,)", nn.functional.linear, x[0], w, rv.zeros(1, 4))


def test_wrong_sizes():
    refused(ValueError, "[linear] got -1 in_features", nn.Linear, -1, 2)
