"""`rv.quantize` and the layers of `nn.quantized`: numbers, files, copies, gradients, errors."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.refused import refused

FORMS = [("int8", None, 0.02), ("int8", 32, 0.02), ("int4", None, 0.25)]
OF_FORM = pytest.mark.parametrize(("dtype", "group", "error"), FORMS)


class Encoder(nn.Module):
    """Layers of all kinds; the head has the embedding's weight."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(100, 32)
        self.blocks = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, batch_first=True), 2)
        self.head = nn.Linear(32, 100, bias=False)
        self.head.weight = self.table.weight

    def forward(self, index):
        return self.head(self.blocks(self.table(index)))


@pytest.fixture
def encoder():
    return Encoder().eval()


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 10)).eval()


def distance(y, expected):
    return float((y - expected).norm() / expected.norm())


@OF_FORM
def test_numbers(dtype, group, error, encoder):
    index = rv.randint(0, 100, (3, 7))
    expected = encoder(index).detach()
    small, report = rv.quantize(encoder, dtype, group=group, report=index)
    y = small(index).detach()
    assert distance(y, expected) < error
    assert report.model == pytest.approx(distance(y, expected), rel=1e-5)
    assert [row.name for row in report.layers] == [
        "table",
        *[f"blocks.layers.{i}.{part}" for i in range(2) for part in ("self_attn", "linear1", "linear2")],
        "head",
    ]
    assert all(0 < row.error < error for row in report.layers)
    assert small.head.panels is small.table.panels  # tied weights
    assert encoder.head.weight is encoder.table.weight  # the model is as it was
    np.testing.assert_array_equal(small(index[:1]).detach().numpy(), y.numpy()[:1])


@OF_FORM
def test_files_and_copies(dtype, group, error, network, encoder, tmp_path):
    small, x, path = rv.quantize(network, dtype, group=group), rv.randn(5, 64), tmp_path / "small.safetensors"
    expected = small(x).numpy()
    rv.save(small, path)
    for same in (rv.load(path), copy.deepcopy(small), pickle.loads(pickle.dumps(small))):
        np.testing.assert_array_equal(same(x).numpy(), expected)
        assert str(same) == str(small)
    other = rv.quantize(network, dtype, group=group)
    other[0].panels.zero_()
    other.load_state_dict(small.state_dict())
    np.testing.assert_array_equal(other(x).numpy(), expected)
    whole, index = rv.quantize(encoder, dtype, group=group), rv.randint(0, 100, (2, 5))
    rv.save(whole, path)
    again = rv.load(path, into=rv.quantize(Encoder().eval(), dtype, group=group))
    np.testing.assert_array_equal(again(index).detach().numpy(), whole(index).detach().numpy())


@OF_FORM
def test_attention(dtype, group, error):
    for settings in ({}, {"kdim": 24, "vdim": 40}, {"add_bias_kv": True, "bias": False}, {"embed_dim": 36}):
        width = settings.get("embed_dim", 32)
        layer = nn.MultiheadAttention(**{"embed_dim": 32, "num_heads": 4, "batch_first": True} | settings)
        small = rv.quantize(layer.eval(), dtype, group=group)
        x = rv.randn(2, 5, width)
        k, v = rv.randn(2, 6, settings.get("kdim", width)), rv.randn(2, 6, settings.get("vdim", width))
        assert distance(small(x, k, v)[0], layer(x, k, v)[0].detach()) < error
        if "kdim" not in settings:
            assert distance(small(x, x, x)[0], layer(x, x, x)[0].detach()) < error
        assert rv.quantize(nn.Sequential(layer), dtype, group=group)[0].out_proj.kind == small.kind


@OF_FORM
def test_gradients_of_inputs(dtype, group, error, network):
    """Those of the weight's values; the weights have none."""
    small = rv.quantize(network[0], dtype, group=group)
    x, dy = rv.randn(5, 64).requires_grad_(), rv.randn(5, 48)
    small(x).backward(dy)
    np.testing.assert_allclose(x.grad.numpy(), (dy @ small.weight).numpy(), rtol=1e-5, atol=1e-6)
    assert not [*small.parameters()]
    refused(AttributeError, "weight", setattr, small, "weight", rv.zeros(48, 64))


def test_adapters_are_trained_beside_a_frozen_base(network):
    base = rv.quantize(network, "int8")
    down, up = nn.Linear(64, 4, bias=False), nn.Linear(4, 10, bias=False)
    nn.init.zeros_(up.weight)
    optimizer = rv.optim.Adam([*down.parameters(), *up.parameters()], 0.01)
    x, target = rv.randn(64, 64), rv.randint(0, 10, (64,))
    losses = []
    for _ in range(30):
        loss = nn.functional.cross_entropy(base(x) + up(down(x)), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < losses[0] - 0.5


@OF_FORM
def test_captured(dtype, group, error, network):
    small = rv.quantize(network, dtype, group=group)
    captured = rv.compile(small)
    with rv.no_grad():
        for _ in range(10):
            x = rv.randn(5, 64)
            np.testing.assert_array_equal(captured(x).numpy(), small(x).numpy())


def test_halves(network):
    x = rv.randn(5, 64).half()
    small = rv.quantize(network.half(), "int8")
    y = small[0](x)
    assert y.dtype == "float16"
    np.testing.assert_array_equal(y.numpy(), small[0](x.float()).half().numpy())
    same = copy.deepcopy(small).half()  # integers and scales keep their dtypes
    np.testing.assert_array_equal(same[0](x).numpy(), y.numpy())
    refused(TypeError, "float64", small, x.double())


def test_which_layers(network):
    one = rv.quantize(network, where=lambda name, layer: name == "2")
    assert [type(layer).__module__.split(".")[2] for layer in one][::2] == ["linear", "quantized"]
    assert type(rv.quantize(Encoder(), where={nn.Embedding}).head) is nn.Linear
    refused(ValueError, "without such layers", rv.quantize, network, where={nn.Embedding})
    refused(ValueError, "expected some of Linear", rv.quantize, network, where={nn.Conv2d})
    refused(ValueError, "got dtype 'int3'", rv.quantize, network, "int3")
    refused(ValueError, "got group 64; expected 32 or None", rv.quantize, network, group=64)
    refused(TypeError, "got int; expected a Module", rv.quantize, 3)
    refused(ValueError, "layer '0' of float64", rv.quantize, network.double())
    network.float()[2].weight.data[0, 0] = np.nan
    refused(ValueError, "NaN or infinity; expected finite numbers (in layer '2')", rv.quantize, network)


def test_hooks_are_kept(network):
    seen = []
    network[0].register_forward_hook(lambda layer, args, y: seen.append(type(layer).__module__))
    rv.quantize(network)(rv.ones(64))
    assert seen == ["ranvier.nn.quantized.layers"]


def test_summary_counts_weights(network, capsys):
    table = rv.summary(rv.quantize(network, "int4"), (64,))
    assert (table.total, table.trainable) == (64 * 48 + 48 + 48 * 10 + 10, 0)
    assert table.nbytes == 3 * 2 * 288 + 2 * 288 + 4 * 58
