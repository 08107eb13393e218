"""Linear layers collapse to one; anything between them stops it, by name."""

import itertools

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.explore import collapse
from support.refused import refused


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("bias", [True, False])
def test_ten_layers_are_one(dtype, bias):
    sizes = [6, *[40] * 9, 3]
    stack = nn.Sequential(*[nn.Linear(a, b, bias=bias, dtype=dtype) for a, b in itertools.pairwise(sizes)])
    found = collapse(stack)
    assert (found.layer.in_features, found.layer.out_features) == (6, 3)
    assert found.layer.weight.dtype == dtype
    assert found.equal
    x = rv.randn(100, 6, dtype=dtype)
    np.testing.assert_allclose(
        found.layer(x).detach().numpy(), stack(x).detach().numpy(), atol=1e-6
    )  # outputs are about 0.1
    assert 0 < found.difference <= found.bound < 1e-6


def test_the_product_by_hand():
    stack = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Identity(), nn.Linear(2, 1)))
    for p, value in zip(stack.parameters(), ([[1, 2], [3, 4]], [5, 6], [[7, 8]], [9]), strict=True):
        p.data.copy_(rv.tensor(value, dtype=rv.float32))
    found = collapse(stack)
    assert found.layer.weight.tolist() == [[31, 46]]
    assert found.layer.bias.tolist() == [92]
    assert found.difference < 1e-4


def test_the_proof_can_fail():
    """The difference is measured: if the names belong to another stack, it is more than rounding."""

    class Bent(nn.Sequential):
        def forward(self, x):
            return rv.relu(super().forward(x))

    found = collapse(Bent(nn.Linear(3, 3), nn.Linear(3, 3)))
    assert not found.equal


def test_a_layer_used_twice_counts_twice():
    layer = nn.Linear(3, 3)
    assert collapse(nn.Sequential(layer, layer)).equal


def test_one_layer_is_itself():
    layer = nn.Linear(3, 2)
    found = collapse(layer)
    assert found.difference == 0
    assert found.layer is not layer


@pytest.mark.parametrize("between", [nn.ReLU(), nn.Tanh(), nn.Dropout(), nn.BatchNorm1d(4)])
def test_what_is_not_linear_is_named(between):
    model = nn.Sequential(nn.Linear(2, 4), nn.Sequential(between), nn.Linear(4, 1))
    kind = type(between).__name__
    with pytest.raises(ValueError, match=rf'\[collapse\] layer "1.0" is a {kind}, which is not linear'):
        collapse(model)


def test_no_layers():
    refused(ValueError, "expected at least one nn.Linear", collapse, nn.Sequential())
