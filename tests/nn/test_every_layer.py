"""What holds for every layer and loss: saved, copied, summarised and cast, and PyTorch's where it has one."""

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.ops.activation.table import TABLE
from support.grouped import grouped
from support.layers import LAYERS
from support.tolerance import tolerance

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


@every_layer
def test_as_pytorchs(layer, torch):
    if not hasattr(torch.nn, layer.name):
        assert layer.name in OURS | {row.layer for row in TABLE.values()}
        return
    ours, theirs = make(layer, "float64"), make(layer, "float64", torch.nn)
    if not layer.name.endswith("Loss"):  # PyTorch's losses do not tell their settings
        assert repr(ours) == repr(theirs).replace("NonDynamicallyQuantizable", "")
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict(theirs.state_dict())
    inputs = layer.draw(np.random.default_rng(1))
    y, wanted = layer(ours, *inputs), layer(theirs, *map(torch.tensor, inputs)).detach().numpy()
    limit = tolerance("float64", 100, float(np.abs(wanted).max(initial=1.0)))
    np.testing.assert_allclose(y.detach().numpy(), wanted, rtol=0, atol=limit)
