"""What holds for every layer and loss: saved, copied, cast, PyTorch's, each row alone."""

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.ops.activation.table import TABLE
from support.grouped import grouped
from support.layers import LAYERS, Layer, classes, layer

CONTAINERS = {"Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"}
CONTAINERS |= {"TransformerDecoder", "TransformerEncoder"}  # of copies of a layer: see test_attention.py
CONTAINERS |= {"KeyValueCache"}  # of keys and values: see test_generation.py
CONTAINERS |= {"DataParallel"}  # of any module: see test_container.py
LAZY = {name for name in nn.__all__ if name.startswith("Lazy")}  # without sizes: see test_pytorch_programs.py
OURS = {"CategoryEmbedding", "Heaviside"}
FLAT = {"Heaviside"}  # of no slope anywhere
TWICE_REFUSED = {"CTCLoss"}
OF_ONE_SAMPLE = [layer for layer in LAYERS if len(layer.inputs) == 1 and not callable(layer.inputs[0])]
OF_STEPS = {"RNN", "LSTM", "GRU"}  # at least one, which are the first dimension
UNIT = {rv.float16: 2.0**-11, rv.bfloat16: 2.0**-8}  # a rounding to half precision
FILE = Path(__file__).with_name("every_layer.json")
STORED = json.loads(FILE.read_text())  # what PyTorch gives of each
every_layer = grouped("layer", LAYERS, ids=str)


def make(layer, dtype=None, library=nn):
    module = getattr(library, layer.name)(*layer.args, **layer.kwargs).eval()
    return module.double() if dtype == "float64" else module


def call(module, layer, seed=0, dtype=np.float32):
    inputs = layer.draw(np.random.default_rng(seed))
    y = layer(module, *(x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs))
    return y.detach().numpy()


def scores(layer, x):
    """The first input; of CTCLoss, as PyTorch's, the gradient is that after log_softmax."""
    return x.log_softmax(-1) if layer.name == "CTCLoss" else x


def test_every_layer_is_here():
    kinds = {n for n in nn.__all__ if isinstance(getattr(nn, n), type)}
    kinds = {n for n in kinds if issubclass(getattr(nn, n), nn.Module)}
    assert sorted(kinds - CONTAINERS - LAZY - {layer.name for layer in LAYERS}) == []


@every_layer
def test_copied_pickled_and_saved(layer, tmp_path):
    """With other parameters and statistics than those that it begins with."""
    module = make(layer)
    for value in module.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.5, 1.5)
    rv.save(nn.Sequential(module), tmp_path / "model.safetensors")
    loaded = rv.load(tmp_path / "model.safetensors")[0]
    for twin in (loaded, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert (type(twin), repr(twin), twin.training) == (type(module), repr(module), False)
        state, copied = module.state_dict(), twin.state_dict()
        assert list(state) == list(copied)
        for key, value in state.items():
            np.testing.assert_array_equal(copied[key].numpy(), value.numpy(), strict=True)
            assert not np.shares_memory(copied[key].numpy(), value.numpy())
        np.testing.assert_array_equal(call(twin, layer), call(module, layer))


@every_layer
def test_cast_to_double_and_back(layer):
    module = make(layer, "float64")
    y = call(module, layer, dtype=np.float64)
    assert y.dtype == np.float64
    assert call(module.float(), layer).dtype == np.float32


@every_layer
def test_gradients_of_inputs_and_parameters(layer):
    """The slope along a random direction in all of them, against central differences in float64."""
    module = make(layer, "float64")
    rng = np.random.default_rng(0)
    inputs = layer.draw(rng)
    weights = rng.uniform(0.5, 1.5, call(module, layer, dtype=np.float64).shape)
    x = rv.tensor(inputs[0], requires_grad=inputs[0].dtype.kind == "f")
    leaves = [*module.parameters(), *([x] if x.requires_grad else [])]
    y = layer(module, scores(layer, x), *inputs[1:])
    (y * weights).sum().backward()
    starts = [leaf.detach().numpy().copy() for leaf in leaves]
    ways = [rng.uniform(-1, 1, leaf.shape) for leaf in leaves]
    if layer.kwargs.get("padding_idx") is not None:  # a row that is not trained, by definition
        ways[0][layer.kwargs["padding_idx"]] = 0
    slope = sum(float((leaf.grad.numpy() * way).sum()) for leaf, way in zip(leaves, ways, strict=True))
    values = []
    for step in (-1e-6, 1e-6):
        with rv.no_grad():
            for leaf, start, way in zip(leaves, starts, ways, strict=True):
                leaf.copy_(rv.tensor(start + step * way))
            values.append(float((layer(module, scores(layer, x), *inputs[1:]) * weights).sum()))
    assert (slope != 0) == (layer.name not in FLAT)
    np.testing.assert_allclose(slope, (values[1] - values[0]) / 2e-6, rtol=2e-6, atol=2e-7)


@pytest.mark.parametrize("training", [False, True])
@every_layer
def test_gradients_of_gradients(layer, training):
    """The product of the Hessian and a random direction, against central differences of the gradient."""
    if layer.name in TWICE_REFUSED:
        return
    module = make(layer, "float64").train(training)
    rng = np.random.default_rng(0)
    inputs = layer.draw(rng)
    x = rv.tensor(inputs[0], requires_grad=inputs[0].dtype.kind == "f")
    leaves = [*module.parameters(), *([x] if x.requires_grad else [])]
    ways = [rng.uniform(-1, 1, leaf.shape) for leaf in leaves]
    if layer.kwargs.get("padding_idx") is not None:
        ways[0][layer.kwargs["padding_idx"]] = 0
    starts = [leaf.detach().numpy().copy() for leaf in leaves]

    def gradients(step, create_graph):
        with rv.no_grad():
            for leaf, start, way in zip(leaves, starts, ways, strict=True):
                leaf.copy_(rv.tensor(start + step * way))
        rv.manual_seed(0)  # of dropout
        y = layer(module, x, *inputs[1:])
        weights = np.random.default_rng(1).uniform(0.5, 1.5, y.shape)
        return rv.autograd.grad(
            (y * weights).sum(), leaves, create_graph=create_graph, materialize_grads=True
        )

    first = gradients(0, True)
    slope = sum((g * way).sum() for g, way in zip(first, ways, strict=True))
    if slope.requires_grad:
        found = rv.autograd.grad(slope, leaves, materialize_grads=True)
    else:
        found = [rv.zeros_like(leaf) for leaf in leaves]
    h = 1e-5
    low, high = gradients(-h, False), gradients(h, False)
    for got, a, b in zip(found, low, high, strict=True):
        wanted = (b - a).numpy() / (2 * h)
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5, atol=1e-6 * max(1, abs(wanted).max()))
    for got, plain in zip(first, gradients(0, False), strict=True):
        np.testing.assert_allclose(got.detach().numpy(), plain.numpy(), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("training", [False, True])
@grouped("layer", [layer for layer in OF_ONE_SAMPLE if layer.name not in OF_STEPS], ids=str)
def test_without_samples(layer, training):
    """An empty result, and gradients of zeros."""
    module = make(layer).train(training)
    samples, *shape = layer.inputs[0]
    x = rv.zeros(0, *shape, requires_grad=True)
    y, (of_samples, *right) = layer(module, x), call(make(layer), layer).shape
    assert y.shape == (0, *right) or of_samples != samples
    y.sum().backward()
    assert x.grad.shape == x.shape
    for name, parameter in module.named_parameters():
        assert parameter.grad.shape == parameter.shape, name
        assert not parameter.grad.numpy().any(), name


@grouped("layer", OF_ONE_SAMPLE, ids=str)
def test_summarised(layer, capsys):
    module = make(layer)
    found = rv.summary(nn.Sequential(module), layer.inputs[0][1:])
    assert found.total == sum(p.numel() for p in module.parameters())
    if len(found.layers) == 1:
        assert found.layers[0].output_shape == ("N", *call(module, layer).shape[1:])
    shown = [layer.name, *(type(part).__name__ for part in module.children())][-1]
    assert shown in capsys.readouterr().out


IMAGES, SIGNALS = (2, 3, 9, 8), (2, 3, 9)
SETTINGS = [  # that LAYERS have not
    layer("ReLU", inplace=True),
    layer("Linear", 6, 3, device="cpu"),
    layer("Conv2d", 4, 6, (3, 2), (2, 1), "valid", (1, 2), 2, bias=False, of=(2, 4, 8, 8)),
    layer("MaxPool1d", 3, 2, 1, of=SIGNALS),
    layer("MaxPool2d", (2, 1), dilation=2, of=IMAGES),
    layer("AvgPool1d", 2, ceil_mode=True, of=SIGNALS),
    layer("AvgPool2d", 2, ceil_mode=True, of=IMAGES),
    layer("AdaptiveAvgPool2d", (None, 2), of=IMAGES),
    layer("AdaptiveMaxPool2d", (2, None), of=IMAGES),
    layer("ZeroPad1d", (0, 3), of=SIGNALS),
    layer("Upsample", (7, 9), mode="bilinear", of=IMAGES),
    layer("Upsample", None, (1.5, 2), "bicubic", of=IMAGES),
    layer("UpsamplingNearest2d", size=8, of=IMAGES),
    layer("UpsamplingBilinear2d", None, 3, of=IMAGES),
]


def told(layer, library):
    """Text, state and result of a layer, whose parameters and inputs are the same in each library."""
    module, rng = make(layer, "float64", library.nn), np.random.default_rng(1)
    state = module.state_dict()
    for _, value in sorted(state.items()):
        if "float" in str(value.dtype):
            value.copy_(library.tensor(rng.uniform(0.2, 1, tuple(value.shape))))
    y = layer(module, *map(library.tensor, layer.draw(rng))).detach().numpy()
    return {
        # PyTorch's losses do not tell their settings
        "text": "" if layer.name.endswith("Loss") else repr(module).replace("NonDynamicallyQuantizable", ""),
        "state": {name: list(value.shape) for name, value in state.items()},
        "shape": list(y.shape),
        "total": float((y * np.random.default_rng(2).uniform(0.5, 1.5, y.shape)).sum()),
    }


@grouped("layer", LAYERS + SETTINGS, ids=str)
def test_as_pytorchs(layer):
    if str(layer) not in STORED:
        lacking = OURS | {row.layer for row in TABLE.values()}
        assert layer.name in lacking, (
            "with PyTorch, `python tests/nn/test_every_layer.py` stores what it gives"
        )
        return
    found, stored = told(layer, rv), dict(STORED[str(layer)])
    assert found.pop("total") == pytest.approx(stored.pop("total"), rel=1e-11, abs=1e-11)
    assert found == stored


@grouped("layer", LAYERS + SETTINGS, ids=str)
def test_what_is_stored_is_pytorchs(layer, torch):
    assert hasattr(torch.nn, layer.name) == (str(layer) in STORED)
    if hasattr(torch.nn, layer.name):
        total = pytest.approx(STORED[str(layer)]["total"], rel=1e-11, abs=1e-11)
        assert told(layer, torch) == STORED[str(layer)] | {"total": total}


# A sample has the same bits alone and in any batch: layers without statistics of the batch, and totals.


SIZES = (2, 3, 4, 5, 8, 15, 16, 17, 33)
ROWS = max(SIZES)
SECOND = {  # the batch is axis 1, unless batch_first
    "GRU",
    "LSTM",
    "MultiheadAttention",
    "RNN",
    "TransformerDecoderLayer",
    "TransformerEncoderLayer",
}
RANDOM = {"AlphaDropout", "Dropout", "Dropout2d", "RReLU"}

# Shapes that meet what LAYERS does not: whole vectors and blocks of sums; the algorithms of conv2d that
# depend on sizes; long rows.
MORE = [
    layer("Linear", 20, 32, of=(2, 20)),
    layer("Linear", 784, 10, of=(2, 784)),
    layer("Linear", 33, 70, of=(2, 33)),
    layer("Linear", 300, 3, of=(2, 300)),
    layer("Linear", 64, 64, bias=False, of=(2, 2, 64)),
    layer("Conv2d", 64, 32, 3, padding=1, of=(2, 64, 4, 4)),
    layer("Conv2d", 24, 10, 3, padding=1, of=(2, 24, 7, 6)),
    layer("Conv2d", 6, 4, 5, padding=1, of=(2, 6, 14, 6)),
    layer("Conv2d", 24, 4, 3, padding=1, of=(2, 24, 4, 8)),
    layer("Conv2d", 8, 8, 3, groups=8, of=(2, 8, 9, 9)),
    layer("Conv2d", 64, 16, 1, of=(2, 64, 1, 1)),
    layer("Conv2d", 64, 3, 1, of=(2, 64, 2, 1)),
    layer("ConvTranspose2d", 32, 6, 3, of=(2, 32, 4, 5)),
    layer("LSTM", 20, 33, batch_first=True, of=(2, 3, 20)),
    layer("GRUCell", 70, 20, of=(2, 70)),
    layer("MultiheadAttention", 32, 2, batch_first=True, of=(2, 9, 32), also=((2, 9, 32), (2, 9, 32))),
    layer("LayerNorm", 133, of=(2, 133)),
    layer("Softmax", dim=1, of=(2, 300)),
    layer("Embedding", 70, 33, of=classes(70, 2, 5)),
]


def has_a_batch(case: Layer) -> bool:
    """Whether samples are independent, at least where no statistics are those of the batch."""
    text = str(case)
    losses = case.name.endswith("Loss")
    joined = text.startswith(("Flatten(0", "Softmax(dim=0")) or "padding_idx=2, mode" in text
    return not (losses or joined or case.name in RANDOM)


def batch_axis(case: Layer) -> int:
    return int(case.name in SECOND and not case.kwargs.get("batch_first"))


def rows_of(case: Layer, dtype: Any, rng: np.random.Generator) -> "list[np.ndarray[Any, Any]] | None":
    """Inputs with ROWS samples along axis 0; None where the inputs of the case have no common batch."""
    inputs = [np.moveaxis(x, batch_axis(case), 0) for x in case.draw(rng) if x.ndim > 1]
    if len(inputs) != len(case.inputs) or len({len(x) for x in inputs}) > 1:
        return None
    picked = [x[rng.integers(0, len(x), ROWS)] for x in inputs]
    return [rng.uniform(-2, 2, x.shape).astype(dtype) if x.dtype.kind == "f" else x for x in picked]


def results(case: Layer, module: Any, samples: "list[np.ndarray[Any, Any]]") -> "np.ndarray[Any, Any]":
    axis = batch_axis(case)
    y = case(module, *(rv.tensor(np.ascontiguousarray(np.moveaxis(x, 0, axis))) for x in samples))
    return np.ascontiguousarray(np.moveaxis(y.detach().numpy(), axis, 0))


def check(case: Layer, module: Any, samples: "list[np.ndarray[Any, Any]]") -> None:
    alone = np.concatenate([results(case, module, [x[i : i + 1] for x in samples]) for i in range(ROWS)])
    for n in SIZES:
        batch = results(case, module, [x[:n] for x in samples])
        np.testing.assert_array_equal(batch, alone[:n], f"{case}, {n} samples")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sample_does_not_depend_on_its_batch(dtype, isa, rng):
    for count, case in enumerate(filter(has_a_batch, LAYERS + MORE)):
        samples = rows_of(case, dtype, rng)
        if samples is None or (case.name == "MultiheadAttention" and samples[0].ndim == 2):
            continue
        rv.set_num_threads(1 + count % 2)
        module = getattr(nn, case.name)(*case.args, **case.kwargs).to(dtype=np.dtype(dtype))
        if "BatchNorm" in case.name:  # by running statistics
            if not case.kwargs.get("track_running_stats", True):
                continue
            module.eval()
        for part in module.modules():  # the forward of training, without what is random
            for name in ("p", "dropout"):
                if isinstance(getattr(part, name, None), float):
                    setattr(part, name, 0.0)
        check(case, module, samples)


@pytest.mark.parametrize("name", ["Linear", "Conv2d", "LSTM"])
def test_nor_does_that_of_a_compiled_model(name, isa, rng):
    for case in [case for case in MORE if case.name == name]:
        module = getattr(nn, name)(*case.args, **case.kwargs).eval()
        fast, samples = rv.compile(module), rows_of(case, "float32", rng)
        with rv.no_grad():
            alone = results(case, module, [x[:1] for x in samples])
            for n in (1, 2, 5, 16, 33):
                for _ in range(3):
                    y = results(case, fast, [x[:n] for x in samples])
                    np.testing.assert_array_equal(y[:1], alone, f"{case}, {n} samples")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nor_does_a_total(dtype, isa, rng):
    for shape in ((7,), (32,), (33,), (5, 40), (40, 5), (300,), (40_000,)):
        x = rng.uniform(-1, 1, (ROWS, *shape)).astype(dtype)
        for op in (rv.sum, rv.mean, rv.var, rv.logsumexp):
            for axis in (1, -1):
                alone = np.concatenate([op(rv.tensor(x[i : i + 1]), axis).numpy() for i in range(ROWS)])
                for n in (2, 15, 16, 33):
                    y = op(rv.tensor(x[:n]), axis).numpy()
                    np.testing.assert_array_equal(y, alone[:n], f"{op.__name__} of {n} of {shape}")


if __name__ == "__main__":
    import torch

    rows = {str(one): told(one, torch) for one in LAYERS + SETTINGS if hasattr(torch.nn, one.name)}
    FILE.write_text("{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items()) + "}\n")
