"""Networks written, computed by onnxruntime, loaded and trained."""

from __future__ import annotations

import contextlib
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from support.onnx_models import model_of  # noqa: E402
from support.onnx_networks import NETWORKS, drawn, flat, session, with_statistics  # noqa: E402
from support.training import training  # noqa: E402


@pytest.fixture(params=NETWORKS)
def written(request, tmp_path):
    """(the network, its file, inputs of two sizes)"""
    rv.manual_seed(0)
    make, inputs, axes = NETWORKS[request.param]
    model, path = with_statistics(make()), tmp_path / "model.onnx"
    rv.onnx.export(model, inputs[0], path, input_names=["x"], dynamic_axes={"x": axes})
    assert model.training
    return model, path, inputs


def test_loaded_it_is_the_same_network(written):
    model, path, inputs = written
    again = rv.onnx.load(path)
    assert not again.training
    model.eval()
    for x in inputs:
        wanted = flat(model(rv.tensor(x)))[0]
        np.testing.assert_allclose(flat(again(rv.tensor(x)))[0], wanted, 1e-5, 1e-5)
        with contextlib.suppress(ImportError):  # onnxruntime
            np.testing.assert_allclose(session(path)(x)[0], wanted, 1e-5, 1e-5)
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    found = again.state_dict()
    assert found.keys() == state.keys()
    assert all(np.array_equal(found[k].numpy(), state[k].numpy()) for k in state)
    trained = {name for name, _ in again.named_parameters()}
    assert trained == {name for name, _ in model.named_parameters()}


def test_training_the_loaded_network(written):
    """In a captured step, the loss falls; and the running statistics move as in the network itself."""
    model, path, inputs = written
    again = rv.onnx.load(path).train()
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    model.train()
    x, y = rv.tensor(inputs[0]), rv.tensor(np.arange(len(inputs[0])))
    again(x), model(x)
    moved = {name: buffer.numpy() for name, buffer in again.named_buffers()}
    if not any(isinstance(layer, nn.Dropout) for layer in model.modules()):
        for name, buffer in model.named_buffers():
            if name in moved:
                np.testing.assert_allclose(moved[name], buffer.numpy(), 1e-4, 1e-5)
    optimizer = rv.optim.SGD(again.parameters(), lr=0.02)
    step = rv.compile(training(again, optimizer))
    losses = [step(x, y).item() for _ in range(6)]
    assert losses[-1] < losses[0]
    assert len(step.programs) == 1


def test_the_code_of_the_document(tmp_path, monkeypatch):
    page = Path(__file__).parents[2] / "docs" / "onnx.md"
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.S)))
    monkeypatch.chdir(tmp_path)
    runpy.run_path(str(program))
    assert (tmp_path / "model.onnx").exists()


def test_exported_again(tmp_path):
    """A loaded network can be written again, as a captured prediction program."""
    model, x = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)), drawn(3, 4)
    rv.onnx.export(model, x, tmp_path / "a.onnx", dynamic_axes={"x": {0: "batch"}})
    again = rv.onnx.load(tmp_path / "a.onnx")
    proto = rv.onnx.export(
        rv.compile(again), x, tmp_path / "b.onnx", input_names=["x"], dynamic_axes={"x": [0]}
    )
    assert [w.name for w in proto.graph.initializer] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    twice = rv.onnx.load(tmp_path / "b.onnx")
    np.testing.assert_allclose(flat(twice(drawn(7, 4)))[0], flat(model(drawn(7, 4)))[0], 1e-5, 1e-6)


@pytest.mark.parametrize("dtype", ["int64", "int32"])
@pytest.mark.parametrize("op", ["Equal", "Less", "Add", "Sub", "Mul", "Max"])
def test_integers_exported_again(op, dtype, tmp_path):
    x, r = np.array([[1, -2, 0]], dtype), np.array([[1, 1, 0]], dtype)
    nodes = [onnx.helper.make_node(op, ["x", "r"], ["b"]), onnx.helper.make_node("Cast", ["b"], ["y"], to=1)]
    model = model_of(nodes, {"r": r}, [1, 3], dtype, opset=15)
    net = rv.onnx.load(model)
    rv.onnx.export(net, (x,), tmp_path / "m.onnx", input_names=["x"])
    again = rv.onnx.load(tmp_path / "m.onnx")
    for inputs in (x, x[:, ::-1].copy()):
        assert again(inputs).tolist() == net(inputs).tolist()
        with contextlib.suppress(ImportError):
            assert session(tmp_path / "m.onnx")(inputs)[0].tolist() == net(inputs).tolist()


def test_double_precision(tmp_path):
    model, x = nn.Sequential(nn.Linear(4, 3), nn.ELU()).double(), np.linspace(-1, 1, 8).reshape(2, 4)
    rv.onnx.export(model, x, tmp_path / "m.onnx")
    y = rv.onnx.load(tmp_path / "m.onnx")(x)
    assert y.dtype == np.float64
    np.testing.assert_allclose(flat(y)[0], flat(model(x))[0], 1e-12)
