"""Attention and encoder layers: PyTorch's values, masks, dropout, compiled steps, files and errors.

`python tests/nn/test_attention.py`, with torch, writes what PyTorch gives to attention.json.
"""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.autograd import gradcheck
from support.tolerance import tolerance

FILE = Path(__file__).with_name("attention.json")
DIGITS = 12  # stored after the decimal point
N, L, S, E = 2, 3, 4, 4


def values(seed, *shape):
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def bools(seed, *shape):
    """Some of them True; none in the first column, so that nothing is hidden altogether."""
    mask = values(seed, *shape) > 0
    mask[..., 0] = False
    return mask


def later(length):
    """What PyTorch calls the mask of a decoder: True where a key comes after the query."""
    return np.triu(np.ones((length, length), bool), 1)


def encoder(nn, layers, norm, *args, **kwargs):
    layer = nn.TransformerEncoderLayer(*args, **kwargs)
    return nn.TransformerEncoder(layer, layers, nn.LayerNorm(args[0]) if norm else None, False)


def itself(*shape):
    """A query that is key and value, too."""
    x = values(1, *shape)
    return [x, x, x]


def three(*shapes):
    return [values(seed, *shape) for seed, shape in enumerate(shapes, 1)]


# name -> (make(nn), inputs, the other arguments of the call)
CASES = {
    "self": (lambda nn: nn.MultiheadAttention(E, 2), itself(L, N, E), {}),
    "self, batch first, no weights": (
        lambda nn: nn.MultiheadAttention(E, 2, batch_first=True),
        itself(N, L, E),
        {"need_weights": False, "attn_mask": later(L)},
    ),
    "self, padded": (
        lambda nn: nn.MultiheadAttention(E, 2, bias=False),
        itself(L, N, E),
        {"key_padding_mask": bools(5, N, L), "average_attn_weights": False},
    ),
    "self, alone": (lambda nn: nn.MultiheadAttention(E, 4), itself(L, E), {"key_padding_mask": bools(5, L)}),
    "cross": (
        lambda nn: nn.MultiheadAttention(E, 2, batch_first=True),
        three((N, L, E), (N, S, E), (N, S, E)),
        {"attn_mask": values(6, N * 2, L, S)},
    ),
    "cross, other widths": (
        lambda nn: nn.MultiheadAttention(E, 2, kdim=3, vdim=5),
        three((L, N, E), (S, N, 3), (S, N, 5)),
        {"attn_mask": values(6, L, S), "key_padding_mask": values(7, N, S), "average_attn_weights": False},
    ),
    "encoder layer": (
        lambda nn: nn.TransformerEncoderLayer(E, 2, 6, 0.0),
        [values(1, L, N, E)],
        {"src_key_padding_mask": bools(5, N, L)},
    ),
    "encoder layer, norm first": (
        lambda nn: nn.TransformerEncoderLayer(
            E, 2, 6, 0.0, "gelu", 1e-3, batch_first=True, norm_first=True, bias=False
        ),
        [values(1, N, L, E)],
        {"src_mask": later(L)},
    ),
    "encoder": (
        lambda nn: encoder(nn, 2, True, E, 2, 6, 0.0, batch_first=True),
        [values(1, N, L, E)],
        {"mask": values(6, L, L), "src_key_padding_mask": values(5, N, L)},
    ),
    "encoder, causal": (
        lambda nn: encoder(nn, 2, False, E, 1, 6, 0.0, activation="gelu"),
        [values(1, L, E)],
        {"mask": later(L), "is_causal": True},
    ),
    "decoder layer": (
        lambda nn: nn.TransformerDecoderLayer(E, 2, 6, 0.0, "gelu"),
        three((L, N, E), (S, N, E)),
        {"tgt_mask": later(L), "memory_key_padding_mask": bools(5, N, S)},
    ),
    "transformer": (
        lambda nn: nn.Transformer(E, 2, 1, 2, 6, 0.0, "gelu", batch_first=True),
        three((N, S, E), (N, L, E)),
        {"src_key_padding_mask": bools(5, N, S), "tgt_mask": later(L), "memory_mask": values(6, L, S)},
    ),
    "layer norm": (lambda nn: nn.LayerNorm((L, E), 1e-3), [values(1, N, L, E)], {}),
}


def result(library, make, inputs, arguments):
    """The outputs, and the gradients of inputs and parameters for an uneven sum of the first, as lists."""
    tensor = library.tensor
    model = make(library.nn).double().train()
    model.load_state_dict(
        {
            name: tensor(values(10 + i, *value.shape))
            for i, (name, value) in enumerate(model.state_dict().items())
        }
    )
    leaves = {id(x): tensor(x, requires_grad=True) for x in inputs}
    arguments = {k: tensor(v) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    found = model(*(leaves[id(x)] for x in inputs), **arguments)
    outputs = [y for y in found if y is not None] if isinstance(found, tuple) else [found]
    sum((y * tensor(values(9, *y.shape))).sum() for y in outputs).backward()
    gradients = [x.grad for x in (*leaves.values(), *model.parameters())]
    return {
        "outputs": [y.detach().numpy().round(DIGITS).tolist() for y in outputs],
        "gradients": [g.numpy().round(DIGITS).tolist() for g in gradients],
    }


STORED = json.loads(FILE.read_text()) if FILE.exists() else {}
every_case = pytest.mark.parametrize("name", CASES)


@every_case
def test_values_of_pytorch(name):
    """What PyTorch gave in float64: outputs, and gradients of inputs and parameters."""
    found = result(rv, *CASES[name])
    for kind, stored in STORED[name].items():
        assert len(found[kind]) == len(stored)
        for got, want in zip(found[kind], stored, strict=True):
            limit = tolerance("float64", 200, max(1.0, float(np.abs(want).max()))) + 10.0**-DIGITS
            np.testing.assert_allclose(got, want, rtol=0, atol=limit, err_msg=kind)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [None, "bool", "float"])
def test_keys_that_settings_add(causal, masked, rng):
    """bias_k and a key of zeros, in NumPy: no mask hides them."""
    layer = nn.MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True, batch_first=True).double()
    x = rng.standard_normal((3, 4, 6))
    mask = {None: None, "bool": rng.random((4, 4)) < 0.5, "float": rng.standard_normal((4, 4))}[masked]
    padding = np.arange(4) >= np.array([[4], [2], [0]])
    y, weights = layer(
        rv.tensor(x),
        rv.tensor(x),
        rv.tensor(x),
        key_padding_mask=rv.tensor(padding),
        attn_mask=None if mask is None else rv.tensor(mask),
        is_causal=causal,
        average_attn_weights=False,
    )
    p = {name: value.numpy() for name, value in layer.state_dict().items()}
    q, k, v = np.split(x @ p["in_proj_weight"].T + p["in_proj_bias"], 3, 2)
    k, v = (
        np.concatenate([a, np.broadcast_to(p[row], (3, 1, 6)), np.zeros((3, 1, 6))], 1)
        for a, row in ((k, "bias_k"), (v, "bias_v"))
    )
    hidden = np.zeros((3, 1, 4, 6))
    hidden[..., :4] = np.where(padding[:, None, None], -np.inf, 0)
    if mask is not None:
        hidden[..., :4] += np.where(mask, -np.inf, 0) if masked == "bool" else mask
    if causal:
        hidden[..., :4] += np.where(np.triu(np.ones((4, 4)), 1), -np.inf, 0)
    q, k, v = (a.reshape(3, -1, 2, 3).transpose(0, 2, 1, 3) for a in (q, k, v))
    expected = np.exp(q @ k.swapaxes(2, 3) / np.sqrt(3) + hidden)
    expected /= expected.sum(-1, keepdims=True)
    joined = (expected @ v).transpose(0, 2, 1, 3).reshape(3, 4, 6)
    limit = tolerance("float64", 100, 4)
    np.testing.assert_allclose(weights.detach().numpy(), expected, rtol=0, atol=limit)
    wanted = joined @ p["out_proj.weight"].T + p["out_proj.bias"]
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=0, atol=limit)


@every_case
def test_the_stored_values_are_pytorchs(name, torch):
    found = result(torch, *CASES[name])
    for kind, stored in STORED[name].items():
        for got, want in zip(found[kind], stored, strict=True):
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-10)


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


def test_gradcheck():
    """A float mask gets a gradient, and so does what is asked of the weights alone."""
    layer = nn.MultiheadAttention(4, 2).double()
    q, k, v, mask = (values(seed, *shape) for seed, shape in enumerate([(3, 2, 4)] * 3 + [(3, 3)]))
    gradcheck(lambda q, k, v, mask: layer(q, k, v, attn_mask=mask), [q, k, v, mask])
    gradcheck(lambda x: layer(x, x, x, average_attn_weights=False)[1].square(), [q])
    encoder = nn.TransformerEncoderLayer(4, 2, 6, 0.0, "gelu", norm_first=True).double()
    gradcheck(lambda x: encoder(x, is_causal=True), [q])


def test_packed_and_apart_agree():
    """The way of self-attention, one projection, and the way of three."""
    layer = nn.MultiheadAttention(12, 3, batch_first=True)
    x, mask = rv.randn(4, 5, 12), np.tri(5, dtype=bool) == 0
    y, weights = layer(x, x, x, attn_mask=mask)
    others, same = layer(x, x.clone(), x.clone(), attn_mask=mask)
    limit = tolerance("float32", 50, 4)
    np.testing.assert_allclose(y.numpy(force=True), others.numpy(force=True), rtol=0, atol=limit)
    np.testing.assert_allclose(weights.numpy(force=True), same.numpy(force=True), rtol=0, atol=limit)


def test_causal_without_a_mask():
    layer = nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
    x = rv.randn(2, 6, 8)
    later = np.tri(6, dtype=bool) == 0
    np.testing.assert_array_equal(
        layer(x, is_causal=True).numpy(force=True), layer(x, src_mask=later).numpy(force=True)
    )
    changed = x.clone()
    changed[:, 4:] = 0.0
    y, z = layer(x, is_causal=True).numpy(force=True), layer(changed, is_causal=True).numpy(force=True)
    np.testing.assert_array_equal(y[:, :4], z[:, :4])
    assert (y[:, 4:] != z[:, 4:]).any()


def test_a_sequence_of_padding_alone_is_finite():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    x = rv.randn(2, 3, 8, requires_grad=True)
    padding = np.array([[True] * 3, [False] * 3])
    layer(x, src_key_padding_mask=padding).square().sum().backward()
    assert np.isfinite(x.grad.numpy()).all()
    _, weights = layer.self_attn(x, x, x, key_padding_mask=padding)
    assert not weights[0].any()


def test_dropout_acts_in_training_only():
    layer = nn.MultiheadAttention(8, 2, dropout=0.5)
    x = rv.randn(50, 2, 8)
    _, weights = layer(x, x, x, average_attn_weights=False)
    share = (weights.numpy(force=True) == 0).mean()
    assert 0.45 < share < 0.55
    _, weights = layer.eval()(x, x, x)
    np.testing.assert_allclose(weights.numpy(force=True).sum(-1), 1, rtol=0, atol=tolerance("float32", 50))


@pytest.mark.parametrize("activation", [nn.functional.gelu, nn.GELU("tanh"), "relu"])
def test_a_transformer_in_a_file(activation, tmp_path):
    """Functions with names are kept by name, layers as what they are made of."""
    model = nn.Transformer(4, 2, 2, 1, 6, activation=activation, batch_first=True)
    rv.save(nn.Sequential(model), tmp_path / "model.safetensors")
    twin = rv.load(tmp_path / "model.safetensors")[0].eval()
    assert repr(twin) == repr(model)
    source, target = rv.randn(2, 5, 4), rv.randn(2, 3, 4)
    np.testing.assert_array_equal(
        twin(source, target).numpy(force=True), model.eval()(source, target).numpy(force=True)
    )


def test_a_mask_of_numbers_is_causal():
    model = nn.Transformer(4, 2, 1, 1, 6, 0.0)
    source, target = rv.randn(5, 2, 4), rv.randn(3, 2, 4)
    mask = nn.Transformer.generate_square_subsequent_mask(3)
    y = model(source, target, tgt_mask=mask).numpy(force=True)
    np.testing.assert_array_equal(model(source, target, tgt_is_causal=True).numpy(force=True), y)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    for p in matrices:  # Glorot's bound
        assert np.abs(p.numpy(force=True)).max() <= (6 / sum(p.shape)) ** 0.5


def test_compiled_in_parts(monkeypatch):
    """What is computed head by head is replayed so; with dropout and masks: tests/compile."""
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


@pytest.mark.parametrize(
    ("error", "text", "call"),
    [
        (ValueError, "got 6 embed_dim and 4 num_heads", lambda: nn.MultiheadAttention(6, 4)),
        (ValueError, "got dropout 2; expected a prob", lambda: nn.MultiheadAttention(4, 2, 2)),
        (ValueError, "got activation 'elu'", lambda: nn.TransformerEncoderLayer(4, 2, activation="elu")),
        (ValueError, "got activation 'elu'", lambda: nn.Transformer(4, 2, activation="elu")),
        (TypeError, "got decoder_layer of type int", lambda: nn.TransformerDecoder(3, 2)),
        (ValueError, "got -1 num_layers", lambda: nn.TransformerEncoder(nn.Identity(), -1)),
        (TypeError, "got encoder_layer of type int", lambda: nn.TransformerEncoder(3, 2)),
        (
            ValueError,
            r"got query, key and value of shapes \(2, 3, 4\), \(2, 3, 5\) .*expected \(L, N, 4\)",
            lambda: nn.MultiheadAttention(4, 2)(BATCH, rv.zeros(2, 3, 5), BATCH),
        ),
        (
            ValueError,
            r"expected \(N, L, 4\), \(N, S, 4\) and \(N, S, 4\)",
            lambda: nn.MultiheadAttention(4, 2, batch_first=True)(BATCH, BATCH[:1], BATCH[:1]),
        ),
        (
            ValueError,
            r"got key_padding_mask of shape \(2, 3\); expected \(3, 2\)",
            lambda: nn.MultiheadAttention(4, 2)(BATCH, BATCH, BATCH, np.zeros((2, 3), bool)),
        ),
        (
            ValueError,
            r"got attn_mask of shape \(3, 3\); expected \(2, 2\) or \(6, 2, 2\)",
            lambda: nn.MultiheadAttention(4, 2)(BATCH, BATCH, BATCH, attn_mask=np.zeros((3, 3), bool)),
        ),
        (
            TypeError,
            "got attn_mask of dtype int64; expected bool or float32",
            lambda: nn.MultiheadAttention(4, 2)(BATCH, BATCH, BATCH, attn_mask=np.zeros((2, 2), int)),
        ),
    ],
)
def test_errors(error, text, call):
    with pytest.raises(error, match=r"^\[\w+\] .*" + text):
        call()


if __name__ == "__main__":
    import torch

    FILE.write_text(json.dumps({name: result(torch, *case) for name, case in CASES.items()}) + "\n")
