"""Properties of every layer and loss: saved, copied, PyTorch's, and each row alone whatever its batch.

A sample (tests/samples) is a layer with its settings and inputs: `layer_in(rv)` makes the layer, `tensors`
the inputs. `grouped` is parametrize with many cases in a test.
"""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.ops.activation import piecewise, smooth  # noqa: F401  # fill the table
from ranvier.ops.activation.table import TABLE
from samples import layer_samples
from samples.sample import plain
from support.grouped import grouped

OURS = {"CategoryEmbedding", "Heaviside"} | {row.layer for row in TABLE.values()}  # some that PyTorch lacks
LAYERS = layer_samples()
OF_ONE_INPUT = [sample for sample in LAYERS if [x.dtype.kind for x in sample.arrays] == ["f"]]
OF_STEPS = {"RNN", "LSTM", "GRU"}  # at least one, which are the first dimension
FILE = Path(__file__).with_name("every_layer.json")
STORED = json.loads(FILE.read_text())  # what PyTorch gives of each, by sample
every_layer = grouped("sample", LAYERS, ids=str)


def first(y):
    """The result; of recurrent layers and attention the first one."""
    return y[0] if isinstance(y, tuple) else y


def call(module, sample):
    """The result for the sample's inputs, in float32."""
    made = sample.tensors(rv.float32, records=False)
    return first(module(*made.args[1:], **made.settings)).numpy(force=True)


@every_layer
def test_copied_pickled_and_saved(sample, tmp_path):
    """With other parameters and statistics than those that it begins with."""
    module = sample.layer_in(rv).eval()
    for value in module.state_dict().values():
        if value.is_floating_point():
            nn.init.uniform_(value, 0.5, 1.5)
    rv.save(nn.Sequential(module), tmp_path / "model.safetensors")
    loaded = rv.load(tmp_path / "model.safetensors")[0]
    for twin in (loaded, copy.deepcopy(module), pickle.loads(pickle.dumps(module)).double().float()):
        assert (type(twin), repr(twin), twin.training) == (type(module), repr(module), False)
        state, copied = module.state_dict(), twin.state_dict()
        assert list(state) == list(copied)
        for key, value in state.items():
            np.testing.assert_array_equal(copied[key].numpy(), value.numpy(), strict=True)
            assert not np.shares_memory(copied[key].numpy(), value.numpy())
        np.testing.assert_array_equal(call(twin, sample), call(module, sample))


@pytest.mark.parametrize("training", [False, True])
@grouped("sample", [sample for sample in OF_ONE_INPUT if sample.op.name not in OF_STEPS], ids=str)
def test_without_rows(sample, training):
    """An empty result, and gradients of zeros."""
    module = sample.layer_in(rv).train(training)
    rows, *shape = sample.arrays[0].shape
    x = rv.zeros(0, *shape, requires_grad=True)
    y, (of_rows, *right) = first(module(x.clone())), call(sample.layer_in(rv), sample).shape
    assert y.shape == (0, *right) or of_rows != rows
    y.sum().backward()
    assert x.grad.shape == x.shape
    for name, parameter in module.named_parameters():
        assert parameter.grad.shape == parameter.shape, name
        assert not parameter.grad.numpy().any(), name


@grouped("sample", [sample for sample in OF_ONE_INPUT if 0 not in sample.arrays[0].shape[1:]], ids=str)
def test_summarised(sample, capsys):
    module = sample.layer_in(rv).eval()
    found = rv.summary(nn.Sequential(module), sample.arrays[0].shape[1:])
    assert found.total == sum(p.numel() for p in module.parameters())
    if len(found.layers) == 1:
        assert found.layers[0].output_shape == ("N", *call(module, sample).shape[1:])
    innermost = [*module.modules()][-1]
    assert type(innermost).__name__ in capsys.readouterr().out


def in_pytorch(sample, torch):
    return hasattr(torch.nn, type(sample.args[0]).__name__) and "pytorch" not in sample.left_out


def in_library(library, values):
    """Arrays as its tensors."""
    if isinstance(values, dict):
        return {name: in_library(library, value) for name, value in values.items()}
    if isinstance(values, (list, tuple)):
        return type(values)(in_library(library, value) for value in values)
    return library.tensor(values) if isinstance(values, np.ndarray) else values


def told(sample, library):
    """Text, state and result of a layer, whose parameters and inputs are the same in each library."""
    module, rng = sample.layer_in(library).eval().double(), np.random.default_rng(1)
    state = module.state_dict()
    for _, value in sorted(state.items()):
        if "float" in str(value.dtype):
            value.copy_(library.tensor(rng.uniform(0.2, 1, tuple(value.shape))))
    args, settings = in_library(library, plain(sample.args[1:])), in_library(library, plain(sample.settings))
    y = first(module(*args, **settings)).detach().numpy()
    return {
        # PyTorch's losses do not tell their settings
        "text": ""
        if type(sample.args[0]).__name__.endswith("Loss")
        else repr(module).replace("NonDynamicallyQuantizable", ""),
        "state": {name: list(value.shape) for name, value in state.items()},
        "shape": list(y.shape),
        "total": float((y * np.random.default_rng(2).uniform(0.5, 1.5, y.shape)).sum()),
    }


@every_layer
def test_as_pytorchs(sample):
    if str(sample) not in STORED:
        name = type(sample.args[0]).__name__
        ours = name in OURS or "pytorch" in sample.left_out
        assert ours, "with PyTorch, `python tests/nn/test_every_layer.py` stores what it gives"
        return
    found, stored = told(sample, rv), dict(STORED[str(sample)])
    assert found.pop("total") == pytest.approx(stored.pop("total"), rel=1e-11, abs=1e-11)
    assert found == stored


@every_layer
def test_what_is_stored_is_pytorchs(sample, torch):
    assert in_pytorch(sample, torch) == (str(sample) in STORED)
    if in_pytorch(sample, torch):
        stored = STORED[str(sample)]
        assert told(sample, torch) == stored | {"total": pytest.approx(stored["total"], rel=1e-11, abs=1e-11)}


# The property `batch` is tested on all samples; below are shapes that meet whole vectors and blocks of sums,
# the algorithms of conv2d that depend on sizes, and long rows.
SIZES = (2, 3, 4, 5, 8, 15, 16, 17, 33)
ROWS = max(SIZES)
SHAPES = [  # a layer, and the shape of a row
    (lambda: nn.Linear(20, 32), (20,)),
    (lambda: nn.Linear(784, 10), (784,)),
    (lambda: nn.Linear(33, 70), (33,)),
    (lambda: nn.Linear(300, 3), (300,)),
    (lambda: nn.Linear(64, 64, bias=False), (2, 64)),
    (lambda: nn.Conv2d(64, 32, 3, padding=1), (64, 4, 4)),
    (lambda: nn.Conv2d(24, 10, 3, padding=1), (24, 7, 6)),
    (lambda: nn.Conv2d(6, 4, 5, padding=1), (6, 14, 6)),
    (lambda: nn.Conv2d(24, 4, 3, padding=1), (24, 4, 8)),
    (lambda: nn.Conv2d(8, 8, 3, groups=8), (8, 9, 9)),
    (lambda: nn.Conv2d(64, 16, 1), (64, 1, 1)),
    (lambda: nn.Conv2d(64, 3, 1), (64, 2, 1)),
    (lambda: nn.ConvTranspose2d(32, 6, 3), (32, 4, 5)),
    (lambda: nn.LSTM(20, 33, batch_first=True), (3, 20)),
    (lambda: nn.GRUCell(70, 20), (70,)),
    (lambda: nn.MultiheadAttention(32, 2, batch_first=True), (9, 32)),
    (lambda: nn.LayerNorm(133), (133,)),
    (lambda: nn.Softmax(dim=1), (300,)),
    (lambda: nn.Embedding(70, 33), (5,)),
]


def drawn_rows(module, shape, dtype, rng):
    if isinstance(module, nn.Embedding):
        return rng.integers(0, 70, (ROWS, *shape))
    return rng.uniform(-2, 2, (ROWS, *shape)).astype(dtype)


def result(module, rows):
    x = rv.tensor(rows)
    y = module(x, x, x) if isinstance(module, nn.MultiheadAttention) else module(x)
    return first(y).numpy(force=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_does_not_depend_on_its_batch(dtype, isa, rng):
    for count, (make, shape) in enumerate(SHAPES):
        rv.set_num_threads(1 + count % 2)
        module = make().to(dtype=np.dtype(dtype))
        rows = drawn_rows(module, shape, dtype, rng)
        alone = np.concatenate([result(module, rows[i : i + 1]) for i in range(ROWS)])
        for n in SIZES:
            np.testing.assert_array_equal(result(module, rows[:n]), alone[:n], f"{module}, {n} rows")


@pytest.mark.parametrize("kind", [nn.Linear, nn.Conv2d, nn.LSTM])
def test_nor_does_that_of_a_compiled_model(kind, isa, rng):
    for make, shape in SHAPES:
        module = make().eval()
        if not isinstance(module, kind):
            continue
        fast, rows = rv.compile(module), drawn_rows(module, shape, "float32", rng)
        with rv.no_grad():
            alone = result(module, rows[:1])
            for n in (1, 2, 5, 16, 33):
                for _ in range(3):
                    np.testing.assert_array_equal(result(fast, rows[:n])[:1], alone, f"{module}, {n} rows")


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

    rows = {str(one): told(one, torch) for one in LAYERS if in_pytorch(one, torch)}
    FILE.write_text("{" + ",\n".join(f"{json.dumps(k)}: {json.dumps(v)}" for k, v in rows.items()) + "}\n")
