"""Attention and encoder layers: masks, dropout, compiled steps, files and errors.

Values of each layer are compared with NumPy by tests/properties; here two ways to the same result are
compared.
"""

import importlib

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused
from support.tolerance import tolerance


def values(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def bools(seed, *shape):
    """Some of them True; none in the first column, so that nothing is hidden altogether."""
    mask = values(seed, *shape) > 0
    mask[..., 0] = False
    return mask


def test_starts_as_pytorchs():
    """The same laws: Glorot's bounds for the projections in, LeCun's for out_proj, biases zero."""
    rv.manual_seed(0)
    layer = nn.MultiheadAttention(64, 4, kdim=32)
    bounds = {"q_proj_weight": np.sqrt(6 / 128), "k_proj_weight": np.sqrt(6 / 96), "out_proj.weight": 1 / 8}
    for name, bound in bounds.items():
        weight = layer.get_parameter(name).numpy(force=True)
        assert 0.98 * bound < np.abs(weight).max() <= bound
        assert abs(weight.std() - bound / np.sqrt(3)) < 0.05 * bound
    assert not layer.in_proj_bias.any()
    assert not layer.out_proj.bias.any()


LATER, PADDING = np.tri(5, dtype=bool) == 0, np.arange(5) >= np.array([[5], [3], [4], [2]])


@pytest.mark.parametrize(
    "settings",
    [
        {"attn_mask": LATER},
        {"attn_mask": values(6, 5, 5), "need_weights": False},
        {"key_padding_mask": PADDING, "average_attn_weights": False},
        {"key_padding_mask": PADDING, "attn_mask": LATER},
        {"attn_mask": values(6, 12, 5, 5)},
    ],
)
def test_packed_and_apart_agree(settings):
    """The way of self-attention, one projection, and the way of three, which samples compare with NumPy."""
    layer = nn.MultiheadAttention(12, 3, batch_first=True).double()
    x, results = rv.tensor(values(1, 4, 5, 12), requires_grad=True), []
    for query, key, value in ((x, x, x), (x, x.clone(), x.clone())):
        y, weights = layer(query, key, value, **settings)
        slopes = rv.autograd.grad((y * y).sum(), [x, *layer.parameters()])
        results.append([y, *slopes] if weights is None else [y, weights, *slopes])
    for packed, apart in zip(*results, strict=True):
        limit = tolerance("float64", 500, 16)
        np.testing.assert_allclose(packed.detach(), apart.detach(), rtol=0, atol=limit)


def test_causal_without_a_mask():
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    x = rv.randn(2, 6, 8)
    later = np.tri(6, dtype=bool) == 0
    np.testing.assert_array_equal(layer(x, is_causal=True).detach(), layer(x, src_mask=later).detach())
    changed = x.clone()
    changed[:, 4:] = 0.0
    y, z = layer(x, is_causal=True).numpy(force=True), layer(changed, is_causal=True).numpy(force=True)
    np.testing.assert_array_equal(y[:, :4], z[:, :4])
    assert (y[:, 4:] != z[:, 4:]).any()


def test_a_sequence_of_padding_alone_is_finite_without_weights():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x = rv.randn(2, 3, 8, requires_grad=True)
    padding = np.array([[True] * 3, [False] * 3])
    layer(x, src_key_padding_mask=padding).square().sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    y, weights = layer.self_attn(x, x, x, key_padding_mask=padding, is_causal=True)
    y.square().sum().backward()
    for given in (y, weights, x.grad):  # NaN as PyTorch's, where weights are wanted
        assert given.isnan().float().mean((1, 2)).tolist() == [1.0, 0.0]


def test_dropout_acts_in_training_only():
    layer = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = rv.randn(50, 2, 8)
    _, weights = layer(x, x, x, average_attn_weights=False)
    share = (weights.numpy(force=True) == 0).mean()
    assert 0.45 < share < 0.55
    _, weights = layer.eval()(x, x, x)
    np.testing.assert_allclose(weights.detach().sum(-1), 1, rtol=0, atol=tolerance("float32", 50))


@pytest.mark.parametrize("activation", [nn.functional.gelu, nn.GELU("tanh"), "relu"])
def test_a_transformer_in_a_file(activation, tmp_path):
    """Functions with names are kept by name, layers as what they are made of."""
    model = nn.Transformer(4, 2, 2, 1, 6, activation=activation, batch_first=True)
    rv.save(nn.Sequential(model), tmp_path / "model.safetensors")
    twin = rv.load(tmp_path / "model.safetensors")[0].eval()
    assert repr(twin) == repr(model)
    source, target = rv.randn(2, 5, 4), rv.randn(2, 3, 4)
    np.testing.assert_array_equal(twin(source, target).detach(), model.eval()(source, target).detach())


def test_hidden_steps_have_no_part():
    model = nn.Transformer(4, 2, 1, 1, 6, 0.0)
    source, target, hidden = rv.randn(5, 2, 4), rv.randn(3, 2, 4), np.arange(5) >= 3
    padding = {
        "src_key_padding_mask": np.tile(hidden, (2, 1)),
        "tgt_key_padding_mask": np.tile(np.arange(3) >= 2, (2, 1)),
    }
    expected = model(source[:3], target[:2]).detach()
    for name, repeats in (("memory_key_padding_mask", 2), ("memory_mask", 3)):
        y = model(source, target, **padding, **{name: np.tile(hidden, (repeats, 1))})
        np.testing.assert_allclose(y[:2].detach(), expected, rtol=0, atol=tolerance("float32", 50, 4))


def test_a_mask_of_numbers_is_causal():
    model = nn.Transformer(4, 2, 1, 1, 6, 0.0)
    source, target = rv.randn(5, 2, 4), rv.randn(3, 2, 4)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    y = model(source, target, tgt_mask=mask).numpy(force=True)
    np.testing.assert_array_equal(model(source, target, tgt_is_causal=True).detach(), y)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    for p in matrices:  # Glorot's bound
        assert 0.7 < np.abs(p.numpy(force=True)).max() / (6 / sum(p.shape)) ** 0.5 <= 1


def test_compiled_in_parts(monkeypatch):
    """An attention that is computed head by head is replayed so; with dropout and masks: tests/compile."""
    monkeypatch.setattr(importlib.import_module("ranvier.ops.neural.attention"), "_PART", 1)

    def losses(wrap):
        rv.manual_seed(0)
        layer = nn.TransformerEncoderLayer(6, 2, 8, 0.0)
        optimizer = rv.optim.SGD(layer.parameters(), lr=0.1)

        def step(x, padding):
            optimizer.zero_grad()
            loss = layer(x, src_key_padding_mask=padding, is_causal=True).pow(3).mean()
            loss.backward()
            optimizer.step()
            return loss

        step = wrap(step)
        batches = ((values(i, 5, 3, 6), bools(i, 3, 5)) for i in range(5))
        return [step(x.astype(np.float32), padding).item() for x, padding in batches]

    assert losses(rv.compile) == losses(lambda step: step)


BATCH = rv.zeros(2, 3, 4)


def test_errors():
    layer, x = nn.MultiheadAttention, rv.zeros(2, 3, 4)
    refused(ValueError, "[multihead_attention] got 6 embed_dim and 4 num_heads", layer, 6, 4)
    refused(ValueError, "[multihead_attention] got dropout 2; expected a prob", layer, 4, 2, 2)
    text = "[transformer_encoder_layer] got activation 'elu'"
    refused(ValueError, text, nn.TransformerEncoderLayer, 4, 2, activation="elu")
    refused(ValueError, "[transformer] got activation 'elu'", nn.Transformer, 4, 2, activation="elu")
    refused(TypeError, "[transformer_decoder] got decoder_layer of type int", nn.TransformerDecoder, 3, 2)
    refused(ValueError, "[transformer_encoder] got -1 num_layers", nn.TransformerEncoder, nn.Identity(), -1)
    refused(TypeError, "[transformer_encoder] got encoder_layer of type int", nn.TransformerEncoder, 3, 2)
    text = "got query, key and value of shapes (2, 3, 4), (2, 3, 5) and (2, 3, 4); expected (L, N, 4)"
    refused(ValueError, text, layer(4, 2), x, rv.zeros(2, 3, 5), x)
    text = "expected (N, L, 4), (N, S, 4) and (N, S, 4)"
    refused(ValueError, text, layer(4, 2, batch_first=True), x, x[:1], x[:1])
    text = "[multihead_attention] got key_padding_mask of shape (2, 3); expected (3, 2)"
    refused(ValueError, text, layer(4, 2), x, x, x, np.zeros((2, 3), bool))
    text = "[multihead_attention] got attn_mask of shape (3, 3); expected (2, 2) or (6, 2, 2)"
    refused(ValueError, text, layer(4, 2), x, x, x, attn_mask=np.zeros((3, 3), bool))
    text = "[multihead_attention] got attn_mask of dtype int64; expected bool or float32"
    refused(TypeError, text, layer(4, 2), x, x, x, attn_mask=np.zeros((2, 2), int))
