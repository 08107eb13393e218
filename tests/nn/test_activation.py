"""Activation layers: PyTorch's signatures, and each layer's op of the same name."""

from __future__ import annotations

import numpy as np
import pytest
from ranvier import nn, ops

CASES = [
    (nn.ReLU(inplace=True), lambda x: ops.relu(x), "ReLU(inplace=True)"),
    (nn.ReLU6(), lambda x: ops.relu6(x), "ReLU6()"),
    (nn.LeakyReLU(0.2), lambda x: ops.leaky_relu(x, 0.2), "LeakyReLU(negative_slope=0.2)"),
    (nn.ELU(0.5), lambda x: ops.elu(x, 0.5), "ELU(alpha=0.5)"),
    (nn.Sigmoid(), lambda x: ops.sigmoid(x), "Sigmoid()"),
    (nn.Tanh(), lambda x: ops.tanh(x), "Tanh()"),
    (nn.GELU("tanh"), lambda x: ops.gelu(x, "tanh"), "GELU(approximate='tanh')"),
    (nn.SiLU(), lambda x: ops.silu(x), "SiLU()"),
    (nn.Softplus(2.0, 5.0), lambda x: ops.softplus(x, 2.0, 5.0), "Softplus(beta=2.0, threshold=5.0)"),
    (nn.Heaviside(), lambda x: ops.heaviside(x, 0), "Heaviside()"),
    (nn.Hardtanh(-2.0, 2.0), lambda x: ops.hardtanh(x, -2.0, 2.0), "Hardtanh(min_val=-2.0, max_val=2.0)"),
    (nn.Softmax(dim=1), lambda x: ops.softmax(x, 1), "Softmax(dim=1)"),
    (nn.LogSoftmax(dim=0), lambda x: ops.log_softmax(x, 0), "LogSoftmax(dim=0)"),
    (nn.Softmax(), lambda x: ops.softmax(x, -1), "Softmax(dim=None)"),
]


@pytest.mark.parametrize(("layer", "op", "text"), CASES, ids=[text for _, _, text in CASES])
def test_layer(layer, op, text, rng):
    x = rng.standard_normal((3, 4)).astype("float32")
    before = x.copy()
    np.testing.assert_array_equal(layer(x).numpy(), op(x).numpy())
    np.testing.assert_array_equal(x, before)  # inplace=True writes nowhere
    assert repr(layer) == text


def test_arguments_are_recorded():
    assert nn.LeakyReLU(0.2).config() == {"negative_slope": 0.2}
    assert nn.Softmax(dim=1).config() == {"dim": 1}
