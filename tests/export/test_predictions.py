"""Predictions and training steps as C: the values of the library."""

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from ranvier import nn
from support.c_files import COMPILERS, Compiled, argument, needs_compiler
from support.tolerance import tolerance
from support.training import training

pytestmark = needs_compiler


class Of(nn.Module):
    """A function as a module, with layers."""

    def __init__(self, function, *layers):
        super().__init__()
        self.function, self.layers = function, nn.ModuleList(layers)

    def forward(self, *inputs):
        return self.function(*self.layers, *inputs)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def require_equal(model, folder, *inputs, terms=64, compiler=""):
    """Compiles the model and compares: a sum of so many terms."""
    model.eval()
    for number, norm in enumerate(model.modules()):
        if isinstance(getattr(norm, "running_mean", None), rv.Tensor):
            norm.running_mean.copy_(rv.tensor(numbers(*norm.running_mean.shape, seed=number)))
            norm.running_var.copy_(rv.tensor(numbers(*norm.running_var.shape, seed=number) ** 2 + 0.5))
    compiled = Compiled(folder, model, tuple(np.zeros_like(x) for x in inputs), compiler)
    with rv.no_grad():
        expected = model(*map(rv.tensor, inputs)).numpy()
    y = compiled.predict(*inputs, shape=expected.shape)
    largest = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance(np.float32, terms, largest))
    return compiled


@pytest.mark.parametrize("compiler", COMPILERS)
def test_mlp(tmp_path, compiler):
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 2))
    compiled = require_equal(model, tmp_path, numbers(3, 4), compiler=compiler)
    assert compiled.report.weights == 4 * sum(p.numel() for p in model.parameters())
    assert compiled.report.ram == 4 * 3 * 64 * 2


def test_code_of_an_mlp_is_small(tmp_path):
    import shutil
    import subprocess

    if not shutil.which("size"):
        pytest.skip("no program `size` here")
    model = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2))
    optimizer = rv.optim.Adam(model.parameters())
    step = training(model, optimizer, F.mse_loss)
    for most, target, example in (
        (1500, model, rv.zeros(1, 4)),
        (6000, step, (rv.zeros(8, 4), rv.zeros(8, 2))),
    ):
        report = rv.export.c(target, tmp_path / "net.c", example)
        command = [COMPILERS[0], "-std=c99", "-Os", "-c", tmp_path / "net.c", "-o", tmp_path / "net.o"]
        subprocess.run(command, check=True, timeout=100)
        text = subprocess.run(
            ["size", tmp_path / "net.o"], capture_output=True, text=True, timeout=100
        ).stdout
        assert int(text.split()[6]) - report.weights <= most


def test_cnn(tmp_path):
    model = nn.Sequential(
        *(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 4, 3, stride=2, padding=1, groups=2), nn.GroupNorm(2, 4), nn.GELU()),
        *(nn.AvgPool2d(2), nn.Flatten(), nn.LayerNorm(16), nn.Linear(16, 5), nn.LogSoftmax(-1)),
    )
    require_equal(model, tmp_path, numbers(2, 2, 16, 16))


def test_embedding_and_residual(tmp_path):
    def forward(embed, linear, index, x):
        h = embed(index).mean(1)
        return h + F.relu(linear(rv.cat([h, x], 1)))

    index = np.array([[1, 2, 0], [6, 6, 3]])
    compiled = require_equal(Of(forward, nn.Embedding(7, 4), nn.Linear(6, 4)), tmp_path, index, numbers(2, 2))
    assert "const int32_t *" in compiled.text


def test_a_part_of_a_larger_network_shares_weights(tmp_path):
    layer = nn.Linear(4, 4)
    model = nn.Sequential(layer, nn.ReLU(), layer, nn.Dropout(0.5), layer)
    assert require_equal(model, tmp_path, numbers(2, 4)).report.weights == 4 * 20


@pytest.mark.parametrize("seed", range(4))
def test_random_networks(tmp_path, seed):
    random = np.random.default_rng(seed)
    activations = [
        nn.ReLU(),
        nn.GELU(),
        nn.Softplus(2.0, 3.0),
        nn.Mish(),
        nn.Hardtanh(-0.4, 0.8),
        nn.Softmax(-1),
    ]
    width, layers = int(random.integers(1, 9)), []
    size = width
    for _ in range(int(random.integers(1, 7))):
        out = int(random.integers(1, 9))
        layers += [nn.Linear(size, out, bias=bool(random.integers(2))), random.choice(activations)]
        size = out
    require_equal(nn.Sequential(*layers), tmp_path, numbers(int(random.integers(1, 4)), width, seed=seed))


def test_separate_weights(tmp_path):
    model = nn.Linear(3, 2)
    compiled = Compiled(tmp_path, model, rv.zeros(1, 3), separate_weights=True)
    x = numbers(1, 3)
    np.testing.assert_allclose(
        compiled.predict(x, shape=(1, 2)), model(rv.tensor(x)).detach().numpy(), rtol=1e-6
    )
    assert "0." not in compiled.text.split("static")[0]
    assert (tmp_path / "net_weights.c").exists()


# Training steps as C: the compiled file learns as Python does.


def compare(folder, model, optimizer, x, target, loss=F.mse_loss, steps=50, close=1e-5, **options):
    """The loss of each step, and the weights at the end; x and target have a batch for each step."""
    step = training(model, optimizer, loss)
    before = [p.detach().numpy().copy() for p in model.parameters()]
    compiled = Compiled(folder, step, (rv.tensor(x[0]), rv.tensor(target[0])), **options)
    for p, old in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), old)
        assert p.grad is None
    losses = []
    for i in range(steps):
        batch = x[i % len(x)], target[i % len(target)]
        losses.append((compiled.call("net_step", *map(argument, batch)), step(*map(rv.tensor, batch)).item()))
    of_c, of_python = np.array(losses).T
    np.testing.assert_allclose(of_c, of_python, rtol=close, atol=close)
    assert of_python[-6:].mean() < of_python[:6].mean()
    return compiled


def mlp():
    rv.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))


OPTIMIZERS = {
    "sgd": lambda p: rv.optim.SGD(p, lr=0.05),
    "momentum": lambda p: rv.optim.SGD(p, lr=0.02, momentum=0.9, weight_decay=1e-3),
    "nesterov": lambda p: rv.optim.SGD(p, lr=0.02, momentum=0.8, nesterov=True),
    "dampening": lambda p: rv.optim.SGD(p, lr=0.05, momentum=0.8, dampening=0.3),
    "adam": lambda p: rv.optim.Adam(p, lr=2e-3, weight_decay=1e-3),
    "adamw": lambda p: rv.optim.AdamW(p, lr=2e-3, weight_decay=0.05),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_thousand_steps(tmp_path, name):
    model = mlp()
    x = numbers(7, 8, 4)
    target = np.stack([np.sin(x[..., 0]), x[..., 1] * x[..., 2]], -1)
    compare(tmp_path, model, OPTIMIZERS[name](model.parameters()), x, target, steps=1000)


def test_it_goes_on_with_the_state_of_the_optimizer_and_predicts(tmp_path):
    model = mlp()
    optimizer = rv.optim.Adam(model.parameters(), lr=2e-3)
    step, x, target = training(model, optimizer, F.mse_loss), numbers(5, 8, 4), numbers(5, 8, 2, seed=1)
    for batch in zip(x, target, strict=True):
        step(*map(rv.tensor, batch))
    for p in model.parameters():
        p.grad = None
    compiled = compare(
        tmp_path,
        model,
        optimizer,
        x,
        target,
        steps=100,
        predict=(model, rv.zeros(1, 4)),
        separate_weights=True,
    )
    y = compiled.predict(x[0, :1], shape=(1, 2))
    np.testing.assert_allclose(y, model(rv.tensor(x[0, :1])).detach().numpy(), atol=1e-5)
    assert compiled.report.weights == 0


def classes(n, batch, count):
    return np.random.default_rng(1).integers(0, count, (n, batch))


def test_cnn_with_norms(tmp_path):
    rv.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(4, 6, 3, stride=2, groups=2, bias=False), nn.GroupNorm(3, 6), nn.SiLU()),
        *(nn.AvgPool2d(2, 1, 1), nn.Flatten(), nn.LayerNorm(96), nn.RMSNorm(96), nn.Linear(96, 3)),
    )
    optimizer = rv.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    x = numbers(3, 4, 1, 16, 16)
    compiled = compare(
        *(tmp_path, model, optimizer, x, classes(3, 4, 3), F.cross_entropy),
        steps=60,
        close=1e-4,
        predict=(model, x[0, :2]),
    )
    model.eval()
    y = compiled.predict(x[0, :2], shape=(2, 3))
    np.testing.assert_allclose(y, model(rv.tensor(x[0, :2])).detach().numpy(), atol=1e-3)


def test_last_states_get_gradients(tmp_path):
    rv.manual_seed(0)

    def forward(layer, head, x):
        _, (h, c) = layer(x)
        return head(rv.cat([h[-1], c[-1]], 1))

    model = Of(forward, nn.LSTM(3, 5), nn.Linear(10, 2))
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    compare(tmp_path, model, optimizer, numbers(3, 6, 4, 3), numbers(3, 4, 2, seed=1))


@pytest.mark.parametrize("index", [0, 4])
def test_an_example_of_one_class(tmp_path, index):
    """The lowest and the highest: values tried in its place stay in range."""
    rv.manual_seed(0)
    model = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(3, 5))
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    at = np.full((8, 1, 1), index)
    compare(tmp_path, model, optimizer, at, at[:, 0], F.cross_entropy)


def test_embedding_and_shared_weights(tmp_path):
    rv.manual_seed(0)
    model = Of(
        lambda embed, linear, x: linear(rv.tanh(linear(embed(x).mean(1)))),
        *(nn.Embedding(5, 4, padding_idx=2), nn.Linear(4, 4)),
    )
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    index = np.array([[[1, 2, 0], [4, 4, 3]], [[0, 1, 1], [2, 2, 3]]])
    compare(tmp_path, model, optimizer, index, numbers(2, 2, 4, seed=1))


def test_a_compiled_step_and_frozen_parameters(tmp_path):
    model = mlp()
    model[0].weight.requires_grad = False
    optimizer = rv.optim.SGD(model.parameters(), lr=0.05)
    step = rv.compile(training(model, optimizer, F.mse_loss), verify=False)
    compiled = Compiled(tmp_path, step, (numbers(4, 4), numbers(4, 2)))
    assert "w_0_weight[" not in (tmp_path / "net.h").read_text()
    assert "const NET_FLASH float w_0_weight[64]" in compiled.text


def test_a_file_does_not_depend_on_files_before(tmp_path):
    """The helpers of gradients are made while they are used, and stand in one order."""

    def text(function):
        parameter = nn.Parameter(rv.tensor([0.3, -0.2]))
        step = training(Of(lambda x: function(parameter * x)), rv.optim.SGD([parameter], lr=0.1), F.mse_loss)
        return Compiled(tmp_path, step, (numbers(2), numbers(2))).text

    def of_sine(x):
        return rv.tanh(rv.sin(x))

    first = text(of_sine)
    for function in (rv.asinh, lambda x: rv.sin(x) / (x + 9.0), F.mish):
        text(function)
    assert text(of_sine) == first
