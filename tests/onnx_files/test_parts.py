"""A module that was read follows its parts: replaced, wrapped, hooked, parametrized, in another mode."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn.utils import parametrizations, parametrize, weight_norm
from support.refused import refused

onnx = pytest.importorskip("onnx", reason="onnx is not installed")

from onnx.helper import make_node as node  # noqa: E402
from support.onnx_models import model_of  # noqa: E402
from support.onnx_networks import drawn  # noqa: E402


class Residual(nn.Module):
    """A layer that is called twice, a part with parts inside, one with statistics, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 6)
        self.block = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6))
        self.norm, self.head = nn.BatchNorm1d(6), nn.Linear(6, 6)

    def forward(self, x):
        x = self.stem(self.stem(x).relu())
        return self.head(self.norm(x + self.block(x)))


class Wrapped(nn.Module):
    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside, self.scale = inside, nn.Parameter(rv.tensor(0.5))

    def forward(self, x):
        return self.inside(x) * self.scale


class Halved(nn.Module):
    def forward(self, weight):
        return weight * 0.5


def doubled(module, inputs, result):
    return result * 2


def with_forward(part):
    old = part.forward
    part.forward = lambda x: old(x) + 1


CHANGES = {
    "replaced": lambda m, name: m.set_submodule(name, nn.Linear(6, 6)),
    "left out": lambda m, name: m.set_submodule(name, nn.Identity()),
    "wrapped": lambda m, name: m.set_submodule(name, Wrapped(m.get_submodule(name))),
    "tied": lambda m, name: m.set_submodule(name, m.head),
    "hook": lambda m, name: m.get_submodule(name).register_forward_hook(doubled),
    "hook before": lambda m, name: m.get_submodule(name).register_forward_pre_hook(lambda m, x: (x[0] + 1,)),
    "hook of backward": lambda m, name: m.get_submodule(name).register_full_backward_hook(
        lambda m, into, out: tuple(g * 3 for g in into)
    ),
    "forward": lambda m, name: with_forward(m.get_submodule(name)),
    "in training": lambda m, name: m.get_submodule(name).train(),
    "frozen": lambda m, name: m.get_submodule(name).requires_grad_(False),
}
OF_WEIGHTS = {
    "weight norm": lambda m, name: weight_norm(m.get_submodule(name)),
    "weight norm of PyTorch 2": lambda m, name: parametrizations.weight_norm(m.get_submodule(name)),
    "spectral norm": lambda m, name: parametrizations.spectral_norm(m.get_submodule(name)),
    "parametrized": lambda m, name: parametrize.register_parametrization(
        m.get_submodule(name), "weight", Halved()
    ),
    "another weight": lambda m, name: setattr(m.get_submodule(name), "weight", nn.Parameter(rv.eye(6))),
}
CASES = [(c, part) for c in CHANGES for part in ("stem", "block", "block.2", "norm", "head")]
CASES += [(c, part) for c in OF_WEIGHTS for part in ("stem", "block.2", "head")]


@pytest.fixture
def both(tmp_path):
    """A network, and the module read from its file."""
    rv.manual_seed(0)
    model = Residual().eval()
    rv.onnx.export(model, drawn(3, 6), tmp_path / "m.onnx", dynamic_axes={"x": [0]})
    return model, rv.onnx.load(tmp_path / "m.onnx")


@pytest.mark.parametrize(("change", "part"), CASES)
def test_both_change_alike(both, change, part):
    """Results and gradients, eager and captured, of copies, and of the file written again."""
    x, results = rv.tensor(drawn(3, 6, seed=1)), []
    for model in both:
        fast = rv.compile(model)
        before = [fast(x).numpy(force=True) for _ in range(3)]
        rv.manual_seed(1)
        (CHANGES | OF_WEIGHTS)[change](model, part)
        after = [fast(x).numpy(force=True) for _ in range(3)]
        given = x.detach().clone().requires_grad_()
        y = model(given)
        y.square().sum().backward()
        grads = [None if p.grad is None else p.grad.numpy() for _, p in sorted(model.named_parameters())]
        results.append([before[-1], *after, y.numpy(force=True), given.grad.numpy(), *grads])
    for wanted, got in zip(*results, strict=True):
        assert (wanted is None) == (got is None)
        if wanted is not None:
            np.testing.assert_allclose(got, wanted, 1e-4, 1e-4)


def test_copies_and_files_of_a_changed_module(both, tmp_path):
    model, x = both[1], drawn(2, 6, seed=2)
    model.head, model.norm = nn.Linear(6, 4), nn.Identity()
    wanted = model(x).numpy(force=True)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert np.array_equal(other(x).numpy(force=True), wanted)
        with rv.no_grad():
            other.stem.weight.zero_()
    assert np.array_equal(model(x).numpy(force=True), wanted)
    rv.onnx.export(model, x, tmp_path / "again.onnx", dynamic_axes={"input_0": [0]})
    np.testing.assert_allclose(rv.onnx.load(tmp_path / "again.onnx")(x).numpy(force=True), wanted, 1e-5, 1e-5)
    np.testing.assert_allclose(
        model.block(x).numpy(force=True), both[0].block(x).numpy(force=True), 1e-5, 1e-6
    )


def test_a_module_around_that_replays_itself(both):
    model, x = nn.Sequential(both[1]).eval(), rv.tensor(drawn(3, 6))
    with rv.no_grad():
        before = [model(x).tolist() for _ in range(20)]
        both[1].head.register_forward_hook(doubled)
        after = model(x).numpy()
    np.testing.assert_allclose(after, np.array(before[-1]) * 2, 1e-6)


def test_a_layer_with_two_names():
    """A part that has the bias alone, as in PyTorch's files, is not taken for the layer."""
    nodes = [node("MatMul", ["x", "onnx::MatMul_7"], ["m"]), node("Add", ["fc.bias", "m"], ["y"])]
    constants = {"onnx::MatMul_7": np.eye(2, dtype=np.float32), "fc.bias": np.float32([2, 3])}
    found = rv.onnx.load(model_of(nodes, constants, [1, 2]))
    x = np.ones((1, 2), np.float32)
    assert found(x).tolist() == [[3, 4]]
    found.fc = nn.Linear(2, 2)
    refused(ValueError, "part 'fc' is hooked or replaced, and not one function", found, x)


def test_what_is_no_function_and_what_is_missing(both):
    """a and b use each other's results, so that not both can be called; c is no part of any call."""
    found = both[1]
    del found.head
    refused(ValueError, "got no part 'head'; expected a module in its place", found, drawn(2, 6))
    nodes = [
        node("Mul", ["x", "a.v"], ["s"]),
        node("Mul", ["s", "b.v"], ["t"]),
        node("Add", ["t", "a.w"], ["y"]),
    ]
    weights = dict.fromkeys(("a.v", "a.w", "b.v"), np.float32([2, 3]))
    loaded, x = rv.onnx.load(model_of(nodes, weights, [2])), np.ones(2, np.float32)
    loaded.b.register_forward_hook(doubled)
    assert loaded(x).tolist() == [10, 21]
    refused(ValueError, "part 'a' is not one function", loaded.a, x)
    refused(TypeError, "part 'b' got 2 inputs; expected 1", loaded.b, x, x)
    loaded.a.register_forward_hook(doubled)
    refused(ValueError, "part 'a' is hooked or replaced, and not one function", loaded, x)
