"""`rv.quantize` and the layers of `nn.quantized`: numbers, files, copies, gradients, errors."""

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.ops.matrix.quantized_blocks import QuantizedBlocks
from ranvier.torch.modules.quantization import quantize_dynamic
from support.refused import refused

FORMS = [("int8", None, 0.02), ("int8", 32, 0.02), ("int4", 32, 0.25)]
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


def test_writes_to_a_weight_are_refused(network, tmp_path):
    """They would change values that are made when the weight is read."""
    layer = rv.quantize(network)[0]
    values = rv.zeros(48, 64)
    for name in ("copy_", "add_", "sub_"):
        refused(
            ValueError, f"[{name}] got the values of a quantized layer", getattr(layer.weight, name), values
        )
    refused(ValueError, "nn.quantized.Linear.from_weight", layer.weight.__setitem__, 0, 1.0)
    refused(ValueError, "[add_]", layer.weight.data.add_, 1)
    refused(ValueError, "[data]", setattr, layer.weight, "data", values)
    refused(ValueError, "[normal_] got the values of a quantized layer", nn.init.normal_, layer.weight)
    for value in (values, nn.Parameter(values), None):
        refused(AttributeError, "Linear.from_weight", setattr, layer, "weight", value)
    with pytest.raises(ValueError, match="read-only"):
        layer.weight.numpy()[0] = 1
    rv.save({"weight": layer.weight}, tmp_path / "weight.safetensors")
    for same in (copy.deepcopy(layer.weight), rv.load(tmp_path / "weight.safetensors")["weight"]):
        np.testing.assert_array_equal(same.numpy(), layer.weight.numpy())
        same += 1  # a copy is like any other Tensor
        same.data = values


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
    with rv.autocast("cpu", dtype=rv.bfloat16):
        assert (small[0](x).dtype, small[0](x.float()).dtype) == ("float16", "float32")


def test_which_layers(network):
    one = rv.quantize(network, where=lambda name, layer: name == "2")
    assert [type(layer).__module__.split(".")[2] for layer in one][::2] == ["linear", "quantized"]
    assert type(rv.quantize(Encoder(), where={nn.Embedding}).head) is nn.Linear
    refused(ValueError, "no layer is chosen", rv.quantize, network, where={nn.Embedding})
    refused(ValueError, "expected some of Linear", rv.quantize, network, where={nn.Conv2d})
    assert type(rv.quantize(Encoder(), where=nn.Embedding).head) is nn.Linear
    refused(TypeError, "got where 3; expected types or a function", rv.quantize, network, where=3)
    refused(TypeError, "got where '2'; expected types or a function", rv.quantize, network, where="2")
    refused(ValueError, "got dtype 'int3'", rv.quantize, network, "int3")
    refused(ValueError, "got group 64; expected 32 or None", rv.quantize, network, group=64)
    refused(ValueError, "got group None; expected 32 with int4", rv.quantize, network, "int4", group=None)
    refused(TypeError, "got int; expected a Module", rv.quantize, 3)
    refused(ValueError, "layer '0' of float64", rv.quantize, network.double())
    network.float()[2].weight.data[0, 0] = np.nan
    refused(ValueError, "NaN or infinity; expected finite numbers (in layer '2')", rv.quantize, network)


def test_hooks_are_kept(network):
    seen = []
    network[0].register_forward_hook(lambda layer, args, y: seen.append(type(layer).__module__))
    rv.quantize(network)(rv.ones(64))
    assert seen == ["ranvier.nn.quantized.layers"]
    seen.clear()
    small, report = rv.quantize(network, report=rv.ones(64))
    assert report.model < 0.05
    assert seen.count("ranvier.nn.linear") == 1
    small[0].register_forward_hook(lambda layer, args, y: seen.append("the copy's own"))
    network(rv.ones(64))
    assert "the copy's own" not in seen


def test_what_a_program_added_is_kept():
    """As deepcopy does: attributes, registered values, parts, hooks of state dicts."""
    model, saved = (
        nn.Sequential(nn.Linear(8, 8), nn.Embedding(5, 8, padding_idx=2), nn.MultiheadAttention(8, 2)),
        [],
    )
    for layer in model:
        layer.tags, layer.owner, layer.factor = [1], (model,), nn.Parameter(rv.ones(2))
        layer.part = nn.Linear(2, 2)
        layer.register_buffer("mask", rv.ones(3))
        layer.register_buffer("seen", rv.zeros(3), persistent=False)
        layer.register_state_dict_post_hook(lambda layer, *args: saved.append(type(layer).__module__))
    small = rv.quantize(model)
    for layer, of_model in zip(small, model, strict=True):
        assert layer.tags == [1]
        assert layer.tags is not of_model.tags
        assert layer.owner == (small,)
        names = {"factor", "mask", "part.weight", "part.bias"}
        assert {*layer.state_dict()} & {*names, "seen", "weight"} == names
        assert type(layer.part) is nn.Linear
        assert layer.factor is not of_model.factor
    assert saved == ["ranvier.nn.quantized.layers"] * 3
    assert small[1].padding_idx == 2


def test_files_of_library_layers(tmp_path):
    layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
    for model in (layer, nn.TransformerEncoder(layer, 2), nn.Sequential(layer, nn.Linear(32, 3))):
        small, x = rv.quantize(model.eval()), rv.randn(2, 5, 32)
        rv.save(small, tmp_path / "small.safetensors")
        again = rv.load(tmp_path / "small.safetensors")
        np.testing.assert_array_equal(again(x).detach().numpy(), small(x).detach().numpy())
        assert str(again) == str(small)


def test_arrays_of_float64(network):
    assert rv.quantize(network)(np.ones((2, 64))).dtype == "float32"


def test_layers_begin_with_zeros():
    for kind in ("int8", "q8_0", "q4_0"):
        assert not nn.quantized.Linear(40, 20, kind=kind)(rv.ones(40)).numpy().any()


def test_summary_counts_weights(network, capsys):
    table = rv.summary(rv.quantize(network, "int4"), (64,))
    assert (table.total, table.trainable) == (64 * 48 + 48 + 48 * 10 + 10, 0)
    assert table.nbytes == 3 * 2 * 288 + 2 * 288 + 4 * 58


def test_layers_with_a_forward_of_their_own_stay(network):
    class Doubled(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    before = network[0].forward
    network[0].forward = lambda x: before(x) + 100
    with pytest.warns(UserWarning, match=r"stay as they are: Linear \(1\) 85.6%, Doubled \(1\) 0.9%"):
        small = rv.quantize(nn.Sequential(*network, Doubled(10, 3)))
    assert [getattr(layer, "kind", None) for layer in small] == [None, None, "q8_0", None]
    assert float(small[0](rv.zeros(64)).mean()) > 50


@pytest.mark.parametrize(
    ("kind", "name"), [("Linear", "weight"), ("Linear", "bias"), ("LSTM", "weight_hh_l0")]
)
def test_a_layer_whose_weight_a_hook_makes_stays(kind, name):
    """As torch.nn.utils.prune does."""
    layer = getattr(nn, kind)(8, 8)
    layer.original = getattr(layer, name)
    delattr(layer, name)
    layer.register_forward_pre_hook(lambda layer, x: setattr(layer, name, 0 * layer.original))
    with rv.no_grad():
        y, *_ = layer(rv.ones(3, 8))
    small = rv.quantize(nn.ModuleList([layer, nn.Linear(8, 8)]), where=lambda name, layer: True)
    assert [type(part).__module__.split(".")[2] == "quantized" for part in small] == [False, True]
    np.testing.assert_array_equal(small[0](rv.ones(3, 8))[0].detach().numpy(), y.numpy())


def test_a_layer_in_two_places():
    layer = nn.Linear(4, 4)
    for name in "01":  # the layer has both names
        small = rv.quantize(nn.Sequential(layer, layer), where=lambda at, layer, name=name: at == name)
        assert small[0] is small[1]
        assert small[0].kind == "q8_0"
    model = nn.Sequential(layer, nn.Sequential(layer))
    assert quantize_dynamic(model, {nn.Linear: object()}, inplace=True) is model
    assert model[0] is model[1][0]
    assert model[0].kind == "int8"
    assert quantize_dynamic(nn.Linear(4, 4), inplace=True).kind == "int8"
    assert type(quantize_dynamic(nn.Sequential(layer), {nn.Linear: None})[0]) is nn.Linear


def test_report_in_evaluation_mode():
    """No batch statistics change, and dropout is no error."""
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    small, report = rv.quantize(model, report=rv.randn(16, 8) + 3)
    assert report.model < 0.05
    assert model.training
    assert small.training
    np.testing.assert_array_equal(model[1].running_mean.numpy(), np.zeros(8))


class Returns(nn.Module):
    """A model whose results have a form of their own, and with a layer that it does not call."""

    def __init__(self, form):
        super().__init__()
        self.layer, self.other, self.form = nn.Linear(8, 8), nn.Linear(8, 8), form

    def forward(self, x):
        return self.form(self.layer(x))


def test_report_of_any_results():
    """All Tensors of floats count; a layer that is not called has no error."""
    x = rv.randn(5, 8)
    for form in (
        lambda y: {"classes": y.argmax(-1), "y": y, "none": None},
        lambda y: ((y, 1), [y]),
        lambda y: y.half(),
    ):
        report = rv.quantize(Returns(form), report=x)[1]
        assert 0 < report.layers[0].error < 0.05
        assert report.model == pytest.approx(report.layers[0].error, rel=0.05)
        assert np.isnan(report.layers[1].error)
        assert str(report).split("\n")[2].split() == ["other", "Linear", "-"]
    for form in (lambda y: None, lambda y: 3.0, lambda y: y.argmax()):
        refused(ValueError, "returns no Tensor of floats", rv.quantize, Returns(form), report=x)


def test_rows_of_a_table_with_max_norm():
    layer, index = nn.Embedding(10, 32, max_norm=1.0), rv.arange(10)
    layer.weight.data.mul_(10)
    small, before = rv.quantize(layer), layer.weight.detach().clone()
    np.testing.assert_array_equal(before.numpy(), layer.weight.detach().numpy())
    assert distance(small(index), layer(index).detach()) < 0.02


def test_a_copy_of_attention_shares_nothing():
    layer = nn.MultiheadAttention(8, 2, add_bias_kv=True)
    small, x = rv.quantize(layer), rv.randn(3, 1, 8)
    y = small(x, x, x)[0].detach().numpy()
    for parameter in layer.parameters():
        parameter.data.zero_()
    np.testing.assert_array_equal(small(x, x, x)[0].detach().numpy(), y)


def test_a_projection_can_be_wrapped():
    """Attention to another sequence calls what is in the place of the projection, and its hooks."""
    small = rv.quantize(nn.MultiheadAttention(32, 2))
    x, k = rv.randn(5, 1, 32), rv.randn(6, 1, 32)
    expected, seen = small(x, k, k)[0].detach(), []
    small.in_proj.register_forward_hook(lambda layer, args, y: seen.append(y.shape))
    np.testing.assert_allclose(small(x, k, k)[0].detach().numpy(), expected.numpy(), atol=1e-6)
    assert seen
    small.in_proj = nn.Sequential(small.in_proj)
    np.testing.assert_allclose(small(x, k, k)[0].detach().numpy(), expected.numpy(), atol=1e-6)


@OF_FORM
def test_a_bias_can_be_trained(dtype, group, error, network):
    """Its gradient is the sum of dy, with other layers and without."""
    small, x, dy = rv.quantize(network[0], dtype, group=group), rv.randn(3, 5, 64), rv.randn(3, 5, 48)
    y = small(x)
    small.bias.requires_grad_()
    np.testing.assert_allclose(small(x).detach().numpy(), y.numpy(), atol=1e-6)
    small(x).backward(dy)
    np.testing.assert_allclose(small.bias.grad.numpy(), dy.sum((0, 1)).numpy(), rtol=1e-5, atol=1e-5)


def test_arguments_of_from_weight():
    make = nn.quantized.Linear.from_weight
    refused(ValueError, "got a weight of shape (3,); expected 2 dimensions (n, k)", make, rv.ones(3))
    refused(ValueError, "got bias of shape (2,); expected (3,)", make, rv.ones(3, 2), rv.ones(2))
    blocks = np.zeros((1, 2, 34), np.uint8)
    for scale in (np.inf, -np.inf, np.nan):
        blocks[0, 1, :2].view(np.float16)[:] = scale
        weight = QuantizedBlocks("q8_0", (1, 64), blocks)
        refused(ValueError, "got a scale that is NaN or infinite; expected finite numbers", make, weight)
    layer = make(np.ones((3, 2)), np.ones(3))
    np.testing.assert_allclose(layer(rv.ones(1, 2)).numpy(), 3 * np.ones((1, 3)), rtol=1e-3)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux says what memory is used")
def test_a_new_layer_touches_no_memory():
    """A file's mapped values take its place: to fill it would cost as much as to read them."""

    def pages():
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = pages()
    layer = nn.quantized.Linear(8192, 8192)
    # The panels are 16,384 pages. The process may get some for other things: huge pages are 512 each.
    assert pages() - before < 4096
    assert layer.panels.nbytes == 8192 * 8192
