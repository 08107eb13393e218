"""Training steps as C: the compiled file learns as Python does."""

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from export.test_predictions import Of, numbers
from ranvier import nn
from support.c_files import Compiled, argument, needs_compiler
from support.training import training

pytestmark = needs_compiler


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


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_recurrent_networks(tmp_path, kind, options):
    rv.manual_seed(0)
    layer = kind(3, 6, **options)
    head = nn.Linear(12 if options else 6, 2)
    model = Of(lambda layer, head, x: head(layer(x)[0][-1]), layer, head)
    optimizer = rv.optim.Adam(model.parameters(), lr=5e-3)
    compare(tmp_path, model, optimizer, numbers(3, 7, 4, 3), numbers(3, 4, 2, seed=1), steps=60)


def test_last_states_get_gradients(tmp_path):
    rv.manual_seed(0)

    def forward(layer, head, x):
        _, (h, c) = layer(x)
        return head(rv.cat([h[-1], c[-1]], 1))

    model = Of(forward, nn.LSTM(3, 5), nn.Linear(10, 2))
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    compare(tmp_path, model, optimizer, numbers(3, 6, 4, 3), numbers(3, 4, 2, seed=1))


OPERATIONS = {
    "pairs": lambda h: h * rv.sigmoid(h) + h / (h * h + 1) - rv.maximum(h, -h) + rv.minimum(h, h * 2),
    "broadcast": lambda h: h * h[:, :1] + h[:1] - h[0, 1],
    "views": lambda h: (
        rv.cat([h[:, ::2], rv.flip(h, [1])[:, 1:4]], 1) + h.transpose(0, 1).reshape(4, 6) * 0.1
    ),
    "sums": lambda h: h - h.mean(1, keepdim=True) + h.sum() * 0.01 + h.reshape(4, 2, 3).sum((0, 2)).mean(),
    "residual": lambda h: h + rv.tanh(h) + h,
    "matmul": lambda h: (
        (h @ h.transpose(0, 1)) @ h + h.reshape(2, 2, 6).matmul(h.reshape(2, 6, 2)).reshape(4, 2).sum()
    ),
    "pad": lambda h: F.pad(h, (1, 0))[:, :6],
    "functions": lambda h: rv.exp(h * 0.1) + rv.log(h * h + 1) + rv.sqrt(h * h + 1) + rv.abs(h) + rv.sin(h),
    "numbers": lambda h: (h + 2) * 3 - h / 4 + 1 / (h * h + 1) - (2 - h) + -h + rv.clamp(h, -0.3, 0.4) + h**3,
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operations(tmp_path, name):
    rv.manual_seed(0)
    model = Of(lambda a, b, x: b(OPERATIONS[name](a(x))), nn.Linear(3, 6), nn.Linear(6, 2))
    optimizer = rv.optim.SGD(model.parameters(), lr=2e-3)
    compare(tmp_path, model, optimizer, numbers(1, 4, 3), numbers(1, 4, 2, seed=1), steps=30)


LOSSES = {
    "mse": F.mse_loss,
    "mse sum": lambda y, t: F.mse_loss(y, t, reduction="sum"),
    "l1": F.l1_loss,
    "smooth_l1": lambda y, t: F.smooth_l1_loss(y, t, beta=0.5),
    "huber": lambda y, t: F.huber_loss(y, t, delta=0.3),
    "bce": lambda y, t: F.binary_cross_entropy_with_logits(y, rv.sigmoid(t)),
    "twice the loss": lambda y, t: F.mse_loss(y, t) * 2 + F.l1_loss(y, t),
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses(tmp_path, name):
    model = mlp()
    optimizer = rv.optim.SGD(model.parameters(), lr=5e-3)
    compare(tmp_path, model, optimizer, numbers(2, 4, 4), numbers(2, 4, 2, seed=1), LOSSES[name])


@pytest.mark.parametrize("name", ["cross_entropy", "nll", "ignored"])
def test_losses_of_classes(tmp_path, name):
    model = mlp()
    optimizer = rv.optim.SGD(model.parameters(), lr=0.05)
    losses = {"nll": lambda y, t: F.nll_loss(F.log_softmax(y, 1), t)}
    losses["ignored"] = lambda y, t: F.cross_entropy(y, t, ignore_index=1, reduction="sum")
    loss = losses.get(name, F.cross_entropy)
    compare(tmp_path, model, optimizer, numbers(2, 6, 4), classes(2, 6, 2), loss)


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
