"""Layers on batches without samples, steps or features: empty results, and gradients of zeros."""

import pytest
import ranvier as rv
from ranvier import nn

EMPTY = [(0, 5, 8), (2, 0, 8)]


def check(layer, x, shape):
    y = layer(x)
    y = y[0] if isinstance(y, tuple) else y
    assert y.shape == shape
    y.sum().backward()
    assert x.grad.shape == x.shape
    for name, parameter in layer.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.shape == parameter.shape
        assert not parameter.grad.numpy().any(), name


@pytest.mark.parametrize("shape", EMPTY)
@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.MultiheadAttention(8, 2, batch_first=True),
        lambda: nn.MultiheadAttention(8, 2),
        lambda: nn.TransformerEncoderLayer(8, 2, 16, batch_first=True),
        lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
    ],
    ids=["MultiheadAttention", "MultiheadAttention-NL", "EncoderLayer", "Encoder"],
)
def test_without_samples_or_steps(make, shape):
    layer, x = make(), rv.zeros(*shape, requires_grad=True)
    if isinstance(layer, nn.MultiheadAttention):
        attention = layer
        layer = nn.Sequential(attention)
        layer.forward = lambda x: attention(x, x, x)
    check(layer, x, shape)


@pytest.mark.parametrize("shape", EMPTY)
def test_decoder_layer(shape):
    layer, x = nn.TransformerDecoderLayer(8, 2, 16, batch_first=True), rv.zeros(*shape, requires_grad=True)
    y = layer(x, x)
    y.sum().backward()
    assert (y.shape, x.grad.shape) == (shape, shape)


@pytest.mark.parametrize(("features", "outputs"), [(0, 4), (4, 0), (0, 0)])
@pytest.mark.parametrize("batch", [(5,), (5, 2), (0, 2), (5, 0)])
def test_linear_without_features(features, outputs, batch):
    layer = nn.Linear(4, 4)
    layer.weight = nn.Parameter(rv.zeros(outputs, features))
    layer.bias = nn.Parameter(rv.ones(outputs))
    x = rv.zeros(*batch, features, requires_grad=True)
    y = layer(x)
    assert y.tolist() == rv.ones(*batch, outputs).tolist()
    y.sum().backward()
    assert x.grad.shape == x.shape
    assert layer.weight.grad.shape == (outputs, features)
    count = x.numel() // features if features else rv.zeros(*batch).numel()
    assert layer.bias.grad.tolist() == [count] * outputs


def test_attention_over_no_keys():
    q, k = rv.ones(2, 3, 8, requires_grad=True), rv.zeros(2, 0, 8)
    y = nn.functional.scaled_dot_product_attention(q, k, k)
    y.sum().backward()
    assert y.tolist() == rv.zeros(2, 3, 8).tolist()
    assert q.grad.tolist() == rv.zeros(2, 3, 8).tolist()
