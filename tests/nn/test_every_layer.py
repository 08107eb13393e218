"""What holds for every layer and loss: saved, copied, summarised and cast, and PyTorch's where it has one."""

from __future__ import annotations

import copy
import inspect
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.layers import LAYERS
from support.tolerance import tolerance

CONTAINERS = {"Module", "ModuleDict", "ModuleList", "ParameterDict", "ParameterList", "Sequential"}
CONTAINERS |= {"TransformerDecoder", "TransformerEncoder"}  # of copies of a layer: see test_attention.py
OURS = {
    "Step",
    "Neuron",
    "FocalLoss",
    "SigmoidFocalLoss",
    "LearnedPositionalEncoding",
    "SinusoidalPositionalEncoding",
}
every_layer = pytest.mark.parametrize("layer", LAYERS, ids=str)


def make(layer, dtype=None, library=nn):
    module = getattr(library, layer.name)(*layer.args, **layer.kwargs).eval()
    return module.double() if dtype == "float64" else module


def call(module, layer, seed=0, dtype=np.float32):
    inputs = layer.draw(np.random.default_rng(seed))
    y = layer(module, *(x.astype(dtype) if x.dtype.kind == "f" else x for x in inputs))
    return y.detach().numpy()


def test_every_layer_is_here():
    kinds = {n for n in nn.__all__ if isinstance(getattr(nn, n), type)}
    kinds = {n for n in kinds if issubclass(getattr(nn, n), nn.Module)}
    assert sorted(kinds - CONTAINERS - {layer.name for layer in LAYERS}) == []


@every_layer
def test_saved_and_loaded(layer, tmp_path):
    module = make(layer)
    rv.save(nn.Sequential(module), tmp_path / "model.safetensors")
    twin = rv.load(tmp_path / "model.safetensors")[0]
    assert type(twin) is type(module)
    assert repr(twin) == repr(module)
    assert list(twin.state_dict()) == list(module.state_dict())
    np.testing.assert_array_equal(call(twin, layer), call(module, layer))


@every_layer
def test_copied_and_pickled(layer):
    module = make(layer)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(twin) == repr(module)
        np.testing.assert_array_equal(call(twin, layer), call(module, layer))


@every_layer
def test_cast_to_double_and_back(layer):
    module = make(layer, "float64")
    y = call(module, layer, dtype=np.float64)
    assert y.dtype == np.float64
    assert call(module.float(), layer).dtype == np.float32


@every_layer
def test_gradients_reach_inputs_and_parameters(layer):
    module = make(layer)
    inputs = layer.draw(np.random.default_rng(0))
    x = (
        rv.tensor(inputs[0].astype(np.float32), requires_grad=True)
        if inputs[0].dtype.kind == "f"
        else inputs[0]
    )
    others = [a.astype(np.float32) if a.dtype.kind == "f" else a for a in inputs[1:]]
    y = layer(module, x, *others)
    if not y.requires_grad:
        assert layer.name == "Step"
        return
    y.sum().backward()
    leaves = [*module.parameters()] + ([x] if isinstance(x, rv.Tensor) else [])
    for leaf in leaves:
        assert leaf.grad.shape == leaf.shape


@every_layer
def test_summarised(layer, capsys):
    if len(layer.inputs) > 1 or callable(layer.inputs[0]):
        return  # a sample of zeros is one float array
    module = make(layer)
    found = rv.summary(nn.Sequential(module), layer.inputs[0][1:])
    assert found.total == sum(p.numel() for p in module.parameters())
    shown = [layer.name, *(type(part).__name__ for part in module.children())][-1]
    assert shown in capsys.readouterr().out


@every_layer
def test_as_pytorchs(layer):
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not hasattr(torch.nn, layer.name):
        assert layer.name in OURS
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


@every_layer
def test_signature_is_pytorchs(layer):
    """The same names in the same order, as far as PyTorch's go; what it has for GPUs is left out."""
    torch = pytest.importorskip("torch", reason="torch is not installed")
    if not hasattr(torch.nn, layer.name) or layer.name == "Identity":
        return
    left_out = {"device", "dtype", "sparse", "scale_grad_by_freq", "args", "kwargs"}
    left_out |= {"size_average", "reduce", "min_value", "max_value", "_weight", "_freeze"}  # obsolete there
    left_out |= {"_weight", "_freeze"}  # private: what from_pretrained passes

    def names(kind):
        return [name for name in inspect.signature(kind.__init__).parameters if name not in left_out]

    ours, theirs = names(getattr(nn, layer.name)), names(getattr(torch.nn, layer.name))
    assert ours[: len(theirs)] == theirs
