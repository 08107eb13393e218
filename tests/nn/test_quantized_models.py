"""`rv.quantize` of models as people have them: 16 bits, tied and subclassed layers, adapters, files."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.quantized.values import Values
from ranvier.ops.matrix.quantized_weight import QuantizedWeight, quantized
from support.refused import refused

FORMS = [("int8", None), ("int8", 32), ("int4", 32)]
OF_FORM = pytest.mark.parametrize(("dtype", "group"), FORMS)
OF_HALVES = pytest.mark.parametrize("half", ["bfloat16", "float16"])
ERROR = {"int8": 0.03, "int4": 0.3}


class Language(nn.Module):
    """A small language model; by default the head has the weight of the embedding."""

    def __init__(self, table=nn.Embedding, is_tied=True):
        super().__init__()
        self.table = table(50, 64)
        self.norm = nn.LayerNorm(64)
        self.block = nn.TransformerEncoderLayer(64, 4, 96, batch_first=True)
        self.memory = nn.LSTM(64, 64, batch_first=True)
        self.head = nn.Linear(64, 50, bias=False)
        if is_tied:
            self.head.weight = self.table.weight

    def forward(self, index):
        x = self.block(self.norm(self.table(index)))
        return self.head(self.memory(x)[0])


@pytest.fixture
def index():
    return rv.tensor([[3, 1, 4, 1], [5, 9, 2, 6]])


def distance(y, expected):
    y = y.detach().float()
    expected = expected.detach().float()
    return float((y - expected).norm() / expected.norm())


def cast(model, half):
    return model.bfloat16() if half == "bfloat16" else model.half()


# --- 16 bits


@OF_HALVES
@OF_FORM
@pytest.mark.parametrize("is_tied", [True, False])
def test_models_of_16_bits(dtype, group, half, is_tied, index):
    model = Language(is_tied=is_tied).eval()
    expected = model(index)
    of_half = rv.quantize(cast(copy.deepcopy(model), half), dtype, group=group)
    then_half = cast(rv.quantize(model, dtype, group=group), half)
    for small in (of_half, then_half, copy.deepcopy(of_half), pickle.loads(pickle.dumps(of_half))):
        y = small(index)
        assert y.dtype == getattr(rv, half)
        assert distance(y, expected) < ERROR[dtype]
        assert small.table(index).dtype == small.table.weight.dtype == small.head.weight.dtype == y.dtype
    back = of_half.float()
    assert back(index).dtype == back.table.weight.dtype == "float32"


@OF_HALVES
def test_files_of_models_of_16_bits(half, tmp_path):
    model = nn.Sequential(nn.Embedding(20, 64), nn.LayerNorm(64), nn.Linear(64, 5)).eval()
    small = rv.quantize(cast(model, half))
    index = rv.tensor([3, 7, 1])
    assert f"weight_dtype='{half}'" in str(small)
    rv.save(small, tmp_path / "small.safetensors")
    again = rv.load(tmp_path / "small.safetensors")
    assert again(index).dtype == getattr(rv, half)
    np.testing.assert_array_equal(again(index).float().numpy(), small(index).float().numpy())
    assert str(again) == str(small)


WITH_WEIGHTS_INSIDE = {
    "attention": lambda: nn.MultiheadAttention(32, 2),
    "attention of other widths": lambda: nn.MultiheadAttention(32, 2, kdim=32, vdim=16, add_bias_kv=True),
    "encoder": lambda: nn.TransformerEncoderLayer(32, 2, 64, batch_first=True),
    "LSTM": lambda: nn.LSTM(32, 32, 2, bidirectional=True, batch_first=True),
    "projected": lambda: nn.LSTM(32, 64, proj_size=32),
    "GRU": lambda: nn.GRU(32, 32),
    "RNN": lambda: nn.RNN(32, 32, nonlinearity="relu"),
    "LSTMCell": lambda: nn.LSTMCell(32, 32),
    "GRUCell": lambda: nn.GRUCell(32, 32),
    "RNNCell": lambda: nn.RNNCell(32, 32, nonlinearity="relu"),
}


def weight_dtypes(model):
    return {name: part.weight_dtype for name, part in model.named_modules() if hasattr(part, "weight_dtype")}


@OF_HALVES
@pytest.mark.parametrize("name", WITH_WEIGHTS_INSIDE)
def test_files_of_layers_of_16_bits_with_weights_inside(name, half, tmp_path):
    layer = WITH_WEIGHTS_INSIDE[name]().eval()
    of_half = rv.quantize(cast(copy.deepcopy(layer), half))
    then_half = cast(rv.quantize(layer), half)
    assert weight_dtypes(of_half) == weight_dtypes(then_half)
    for small in (of_half, then_half):
        assert {*weight_dtypes(small).values()} == {half}
        rv.save(small, tmp_path / "small.safetensors")
        again = rv.load(tmp_path / "small.safetensors").eval()
        assert str(again) == str(small)
        assert weight_dtypes(again) == weight_dtypes(small)
        dtypes = [value.dtype for value in again.state_dict().values()]
        assert dtypes == [value.dtype for value in small.state_dict().values()]
    assert {*weight_dtypes(of_half.float()).values()} == {"float32"}


def test_the_dtype_of_a_weight_is_one_of_three():
    assert nn.quantized.Linear(4, 3, weight_dtype="bfloat16").weight.dtype == rv.bfloat16
    refused(ValueError, "got weight_dtype 'int8'", nn.quantized.Embedding, 4, 3, weight_dtype="int8")
    refused(ValueError, "got weight_dtype 'int8'", nn.quantized.GRU, 4, 3, weight_dtype="int8")
    refused(ValueError, "got weight_dtype 'x'", nn.quantized.MultiheadAttention, 4, 2, weight_dtype="x")


# --- the weight is made when it is read

KNOWN = {
    "dtype": lambda w: w.dtype,
    "shape": lambda w: w.shape,
    "size": lambda w: (w.size(), w.size(0), w.size(-1)),
    "ndim": lambda w: (w.ndim, w.dim()),
    "numel": lambda w: (w.numel(), w.nelement()),
    "itemsize": lambda w: (w.itemsize, w.element_size(), w.nbytes),
    "stride": lambda w: (w.stride(), w.stride(0)),
    "len": len,
    "device": lambda w: (w.device, w.is_cuda, w.is_cpu, w.get_device()),
    "requires_grad": lambda w: (w.requires_grad, w.grad, w.grad_fn, w.is_leaf),
    "is_contiguous": lambda w: w.is_contiguous(),
    "is_floating_point": lambda w: w.is_floating_point(),
    "isinstance": lambda w: isinstance(w, rv.Tensor),
    "new_zeros": lambda w: (type(w.new_zeros(3)), w.new_zeros(3).tolist()),
}
READ = {
    "sum": lambda w: w.sum(),
    "product": lambda w: rv.ones(2, 64) @ w.T,
    "linear": lambda w: nn.functional.linear(rv.ones(2, 64), w),
    "transposed": lambda w: w.t(),
    "view": lambda w: w.view(-1),
    "permute": lambda w: w.permute(1, 0),
    "slice": lambda w: w[1:3, ::2],
    "split": lambda w: w.split(16)[1],
    "plus": lambda w: 1 + w,
    "compared": lambda w: w > 0,
    "float": lambda w: w.double(),
    "clone": lambda w: w.clone(),
    "detach": lambda w: w.detach(),
    "data": lambda w: w.data,
    "numpy": lambda w: rv.from_numpy(w.numpy().copy()),
    "tolist": lambda w: rv.tensor(w.tolist()),
    "cat": lambda w: rv.cat([w, w]),
    "where": lambda w: rv.where(w > 0, w, -w),
    "einsum": lambda w: rv.einsum("ij,kj->ik", w, w),
    "norm": lambda w: w.norm(dim=1),
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda w: pickle.loads(pickle.dumps(w)),
    "iteration": lambda w: rv.stack([*w]),
    "tensor": rv.tensor,
    "zeros_like": rv.zeros_like,
}


@pytest.mark.parametrize("name", KNOWN)
def test_what_needs_no_values(name, monkeypatch):
    layer = rv.quantize(nn.Linear(64, 48))
    plain = layer.quantized_weight.dequantize()

    def made(weight):
        raise AssertionError("values were made")

    monkeypatch.setattr(QuantizedWeight, "dequantize", made)
    weight = layer.weight
    assert KNOWN[name](weight) == KNOWN[name](plain)
    assert type(weight) is Values


@pytest.mark.parametrize("name", READ)
def test_what_needs_the_values(name):
    layer = rv.quantize(nn.Linear(64, 48))
    plain = layer.quantized_weight.dequantize()
    weight = layer.weight
    got = READ[name](weight)
    expected = READ[name](plain)
    assert type(got) is rv.Tensor
    np.testing.assert_array_equal(got.numpy(), expected.numpy())
    assert type(weight) is rv.Tensor  # an ordinary one from now on
    np.testing.assert_array_equal(weight.numpy(), plain.numpy())
    refused(ValueError, "got the values of a quantized layer", weight.zero_)


def test_gradients_through_a_weight():
    weight = rv.quantize(nn.Linear(64, 48)).weight
    x = rv.randn(3, 64, requires_grad=True)
    (x @ weight.T).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.tile(weight.numpy().sum(0), (3, 1)), rtol=1e-5, atol=1e-6)


def test_an_unknown_name_is_an_attribute_error():
    weight = rv.quantize(nn.Linear(64, 48)).weight
    assert not hasattr(weight, "scb")
    assert getattr(weight, "quant_state", None) is None


# --- rows of an embedding


@OF_FORM
@pytest.mark.parametrize("shape", [(1, 1), (1, 64), (16, 33), (17, 600), (50, 64), (0, 8), (5, 0)])
def test_embeddings_have_panels_of_a_row(dtype, group, shape, isas):
    n, k = shape
    kind = {(None, "int8"): "int8", (32, "int8"): "q8_0", (32, "int4"): "q4_0"}[group, dtype]
    matrix = rv.randn(n, k)
    alone = quantized(matrix, kind, 1)
    tied = quantized(matrix, kind)
    index = rv.arange(n).flip(0)
    layers = [nn.quantized.Embedding.from_weight(matrix, kind, tied=of) for of in (False, True)]
    assert [len(layer.panels) for layer in layers] == [n, -(-n // 16)]
    for _ in isas:
        expected = tied.dequantize().numpy()
        np.testing.assert_array_equal(alone.dequantize().numpy(), expected)
        for layer in layers:
            np.testing.assert_array_equal(layer(index).numpy(), expected[::-1])
    for made, other in ((alone, tied), (tied, alone)):
        same = made.in_panels(16 if made is alone else 1)
        np.testing.assert_array_equal(same.panels.numpy(), other.panels.numpy())
        linear = nn.quantized.Linear.from_weight(made)
        np.testing.assert_array_equal(linear.panels.numpy(), tied.panels.numpy())


@OF_FORM
def test_state_dicts_with_the_other_panels(dtype, group, index):
    tied = rv.quantize(Language().eval(), dtype, group=group)
    other = rv.quantize(Language(is_tied=False).eval(), dtype, group=group)
    assert other.table.panels.shape[0] == 50
    assert tied.table.panels is tied.head.panels
    other.load_state_dict(tied.state_dict())
    np.testing.assert_array_equal(other(index).detach().numpy(), tied(index).detach().numpy())
    again = rv.quantize(Language().eval(), dtype, group=group)
    again.load_state_dict(other.state_dict())
    np.testing.assert_array_equal(again(index).detach().numpy(), tied(index).detach().numpy())


@OF_FORM
def test_tied_layers_in_a_file(dtype, group, tmp_path):
    model = nn.Sequential(nn.Embedding(40, 32), nn.ReLU(), nn.Linear(32, 40, bias=False))
    model[2].weight = model[0].weight
    small = rv.quantize(model.eval(), dtype, group=group)
    index = rv.tensor([3, 39, 0])
    rv.save(small, tmp_path / "tied.safetensors")
    again = rv.load(tmp_path / "tied.safetensors")
    assert again[0].panels is again[2].panels
    np.testing.assert_array_equal(again(index).numpy(), small(index).numpy())


# --- which layers, and what stays


class Named(nn.Linear):
    """Begins in another way, and computes as Linear."""

    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.role = "projection"

    def reset_parameters(self):
        nn.init.normal_(self.weight, std=0.02)


class Table(nn.Embedding):
    def __init__(self, *sizes):
        super().__init__(*sizes)
        self.role = "words"


class Scaled(nn.Embedding):
    def forward(self, input):
        return super().forward(input) * 8.0


class Cast(nn.Linear):
    def __call__(self, input):
        return super().__call__(input.float())


def test_subclasses_that_compute_as_the_class():
    model = nn.Sequential(Table(30, 64), Named(64, 96), nn.ReLU(), nn.Linear(96, 64), Cast(64, 3))
    small = rv.quantize(model.eval())
    index = rv.tensor([1, 2, 3])
    kinds = [type(layer).__module__.split(".")[2:3] == ["quantized"] for layer in small]
    assert kinds == [True, True, False, True, False]
    assert (small[0].role, small[1].role) == ("words", "projection")
    assert distance(small(index), model(index)) < 0.03
    by_type = rv.quantize(model, where={nn.Embedding})
    assert [type(layer) for layer in by_type] == [nn.quantized.Embedding, Named, nn.ReLU, nn.Linear, Cast]


def test_tied_heads_stay_tied(index):
    of_subclass = rv.quantize(Language(Table).eval())
    assert of_subclass.head.panels is of_subclass.table.panels
    model = Language(Scaled).eval()
    small = rv.quantize(model)
    assert small.head.weight is small.table.weight  # both stay in float32
    assert type(small.head) is nn.Linear
    assert small.block.linear1.kind == "q8_0"
    assert distance(small(index), model(index)) < 0.05
    asked = rv.quantize(model, where={nn.Linear})  # by request, as a second copy
    assert asked.head.kind == "q8_0"


def test_products_of_transformers_with_a_transposed_weight():
    """Its Conv1D is found by the name of its class."""

    class Conv1D(nn.Module):
        def __init__(self, nf, nx):
            super().__init__()
            self.nf = nf
            self.nx = nx
            self.weight = nn.Parameter(rv.randn(nx, nf))
            self.bias = nn.Parameter(rv.randn(nf))

        def forward(self, x):
            return x @ self.weight + self.bias

    model = nn.Sequential(Conv1D(48, 64), nn.Linear(48, 8))
    with pytest.warns(UserWarning, match=r"stay as they are: .*Conv1D \(1\) 88.8%"):
        assert type(rv.quantize(model)[0]) is Conv1D
    Conv1D.__module__ = "transformers.pytorch_utils"
    Conv1D.__qualname__ = "Conv1D"
    small = rv.quantize(model)
    x = rv.randn(5, 64)
    assert (small[0].kind, small[0].nf) == ("q8_0", 48)
    assert distance(small(x), model(x)) < 0.03


def test_the_report_says_what_stays():
    model = nn.Sequential(nn.Conv1d(4, 8, 3), nn.Flatten(), nn.Linear(48, 20), nn.LayerNorm(20)).eval()
    total = 4 * 8 * 3 + 8 + 48 * 20 + 20 + 40
    _, report = rv.quantize(model, report=rv.randn(2, 4, 8))
    assert [(row.layer, row.number, round(row.share * total)) for row in report.left] == [
        ("Conv1d", 1, 104),
        ("LayerNorm", 1, 40),
    ]
    assert str(report).endswith("stays as it is: Conv1d (1) 9.3%, LayerNorm (1) 3.6%")


def test_a_warning_where_most_weights_stay():
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Flatten(), nn.Linear(64, 2))
    with pytest.warns(UserWarning, match=r"most of the weights stay as they are: Conv2d \(1\) 93.2%"):
        rv.quantize(model)
    rv.quantize(model, where={nn.Linear})  # by request: no warning


def test_frozen_means_all_parameters(index):
    small = rv.quantize(Language(is_tied=False))
    assert not [name for name, parameter in small.named_parameters() if parameter.requires_grad]
    y = small(index)
    assert not y.requires_grad


class Adapted(nn.Module):
    """As peft's layers: the base, and parts that are named as adapters."""

    adapter_layer_names = ("lora_A", "lora_B", "magnitude")

    def __init__(self, base):
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.ModuleDict({"default": nn.Linear(base.in_features, 4, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(4, base.out_features, bias=False)})
        self.magnitude = nn.ModuleDict({"default": nn.Linear(base.in_features, 1)})

    def forward(self, x):
        more = self.lora_B["default"](self.lora_A["default"](x))
        return self.base_layer(x) + more * self.magnitude["default"](x)


def test_adapters_are_left_alone():
    model = nn.Sequential(Adapted(nn.Linear(64, 96)), nn.ReLU(), Adapted(nn.Linear(96, 8)))
    small, report = rv.quantize(model, report=rv.randn(3, 64))
    assert (small[0].base_layer.kind, small[2].base_layer.kind) == ("q8_0", "q8_0")
    trained = [name for name, parameter in small.named_parameters() if parameter.requires_grad]
    assert len(trained) == 8
    assert all("lora_" in name or "magnitude" in name for name in trained)
    assert [row.layer for row in report.left] == ["adapters"]
    optimizer = rv.optim.Adam([p for p in small.parameters() if p.requires_grad], 0.01)
    x = rv.randn(32, 64)
    target = rv.randn(32, 8)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = ((small(x) - target) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert losses[-1] < 0.8 * losses[0]


def test_a_trained_prompt_is_left_alone():
    model = nn.Sequential()
    model.prompt_encoder = nn.Embedding(3, 64)
    model.head = nn.Linear(64, 64)
    small = rv.quantize(model)
    assert type(small.prompt_encoder) is nn.Embedding
    assert [name for name, p in small.named_parameters() if p.requires_grad] == ["prompt_encoder.weight"]
    assert small.head.kind == "q8_0"


def test_a_model_that_has_few_bits_already(index):
    small = rv.quantize(Language().eval())
    refused(ValueError, "got a model whose layers have few bits already", rv.quantize, small)
    part = rv.quantize(Language().eval(), where=lambda name, layer: name == "head")
    whole = rv.quantize(part)
    assert whole.block.linear1.kind == whole.head.kind == "q8_0"
    assert distance(whole(index), part(index)) < 0.05


# --- files that do not fit


@OF_FORM
def test_a_file_of_few_bits_for_a_model_of_floats(dtype, group, tmp_path):
    small = rv.quantize(Language(is_tied=False).eval(), dtype, group=group)
    call = 'rv.quantize(model, "int8", group=None)' if group is None else f'rv.quantize(model, "{dtype}")'
    path = tmp_path / "small.safetensors"
    for content in (small, small.state_dict()):
        rv.save(content, path)
        expected = f"few bits, and the model has floats; expected rv.load(path, into={call})"
        refused(ValueError, expected, rv.load, path, into=Language(is_tied=False))
    rv.save(small, path)
    refused(ValueError, f"build the model yourself and call rv.load(path, into={call})", rv.load, path)
    rv.save(Language(is_tied=False), path)
    refused(ValueError, "its weights are floats, and the model has few bits", rv.load, path, into=small)
