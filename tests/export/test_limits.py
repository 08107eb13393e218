"""Refused models, odd names and values, and files."""

import subprocess

import numpy as np
import pytest
import ranvier as rv
import ranvier.nn.functional as F
from export.test_predictions import Of, mlp, numbers, require_equal
from ranvier import nn
from ranvier.export.elementwise import FUNCTIONS
from ranvier.export.expressions import Expression, written
from ranvier.observe import observers
from support.c_files import COMPILERS, STRICT, Compiled, needs_compiler
from support.training import training


def refused(error, match, folder, target, example, **options):
    with pytest.raises(error, match=match):
        rv.export.c(target, folder / "net.c", example, **options)
    assert not (folder / "net.c").exists()


RNG = np.random.default_rng(0)


def caught(function, x, other):
    try:
        return function(x)
    except ValueError:
        return other


MODELS = [
    (nn.ConvTranspose2d(2, 3, 2), (1, 2, 4, 4), r"ConvTranspose2d\(.*has no counterpart in C"),
    (Of(lambda x: rv.sort(x)[0]), (3,), "Sort has no counterpart"),
    (Of(lambda x: x.numpy() * 2), (3,), r"numpy\(\) reads a value"),
    (Of(lambda x: rv.tensor(np.sin(x.numpy())) + x), (3,), "reads a value"),
    (Of(lambda x: x * 2 if x.sum().item() > 1 else x), (3,), r"item\(\) reads a value"),
    (Of(lambda x: x * 2 if x.sum() > 1 else x), (3,), "a condition reads a value"),
    (Of(lambda x: x * float((x > 0).sum())), (3,), r"item\(\) reads a value"),
    (Of(lambda x: x * x.argmax().item()), (3,), r"item\(\) reads a value"),
    (Of(lambda x: x * 2 if rv.equal(x, x * 1) else x), (3,), "equal reads a value"),
    (Of(lambda x: x * (x > 0.1).any()), (3,), "depends on the inputs, and that"),
    (Of(lambda x: x > 0.1), (3,), "result of bool"),
    (Of(lambda x: (x * 3).to(rv.int16)), (3,), "it makes int16"),
    (Of(lambda x: x * x.sum().half()), (3,), "it makes float16"),
    (Of(lambda x: x * float(RNG.random())), (3,), "for inputs with other values"),
    (Of(lambda x: x * len(str(x))), (3,), "reads a value"),
    (Of(lambda x: caught(lambda x: x * x.sum().item(), x, x * 2)), (3,), r"item\(\) reads a value"),
    (Of(lambda x: caught(rv.linalg.cholesky, x, x)), (3, 3), "catches an error of Cholesky"),
    (Of(lambda x: x + rv.rand(3)), (3,), "random_fill"),
    (Of(lambda x: x[:0].sum()), (3,), "expected 1 to"),
    (nn.Linear(3, 2, dtype=rv.float64), (1, 3), "float"),
    (nn.AdaptiveMaxPool2d(3), (1, 2, 4, 4), "unevenly"),
    (nn.BatchNorm1d(3, track_running_stats=False), (4, 3), "call eval"),
]


@pytest.mark.parametrize("number", range(len(MODELS)))
def test_what_is_refused(tmp_path, number):
    model, shape, match = MODELS[number]
    refused((ValueError, TypeError), match, tmp_path, model, rv.zeros(*shape))


def test_an_error_of_shapes_may_be_caught(tmp_path):
    model = Of(lambda x: caught(lambda x: x.reshape(5), x, x * 2))
    np.testing.assert_array_equal(Compiled(tmp_path, model, rv.ones(3)).predict(rv.ones(3), shape=3), 2)


def test_wrong_arguments(tmp_path):
    refused(TypeError, "float64", tmp_path, nn.ReLU(), np.zeros(3))
    refused(ValueError, r"shape \(0, 3\)", tmp_path, nn.ReLU(), rv.zeros(0, 3))
    refused(TypeError, "expected a module or a function", tmp_path, 3, rv.zeros(3))
    foreign = type("Linear", (), {"__module__": "torch.nn", "__call__": lambda self, x: x})
    remedy = r"got a model of PyTorch \(Mine\); .*`import ranvier as torch`"
    refused(TypeError, remedy, tmp_path, type("Mine", (foreign,), {})(), rv.zeros(3))
    predict = nn.ReLU(), rv.zeros(1)
    refused(ValueError, "expected it with a step", tmp_path, *predict, predict=predict)
    with pytest.raises(ValueError, match="ends in"):
        rv.export.c(nn.ReLU(), tmp_path / "net.cpp", rv.zeros(3))


def steps(model, optimizer):
    def clipped(x, t):
        optimizer.zero_grad()
        F.mse_loss(model(x), t).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    def twice(x, t):
        optimizer.zero_grad()
        F.mse_loss(model(x), t).backward()
        F.mse_loss(model(x), t).backward()
        optimizer.step()

    def accumulating(x, t):
        F.mse_loss(model(x), t).backward()
        optimizer.step()

    def without_update(x, t):
        optimizer.zero_grad()
        F.mse_loss(model(x), t).backward()

    def dropout(x, t):
        optimizer.zero_grad()
        F.mse_loss(F.dropout(model(x), 0.5), t).backward()
        optimizer.step()

    def weighted(x, t):
        optimizer.zero_grad()
        F.mse_loss(model(x), t, reduction="none").mean().backward()
        optimizer.step()

    return {
        "reads a gradient": clipped,
        "second backward": twice,
        "without zero_grad": accumulating,
        "optimizer.step": without_update,
        "Dropout": dropout,
        "loss of each sample": weighted,
    }


@pytest.mark.parametrize("match", steps(None, None))
def test_steps_that_are_refused(tmp_path, match):
    model = mlp()
    step = steps(model, rv.optim.SGD(model.parameters(), lr=0.1))[match]
    refused(ValueError, match, tmp_path, step, (rv.zeros(2, 4), rv.zeros(2, 2)))
    assert all(p.grad is None for p in model.parameters())


def _without_gradient(h):
    with rv.no_grad():
        return h * 2


@pytest.mark.parametrize(
    "loss",
    [
        lambda h, t: F.mse_loss(h * h.detach(), t),
        lambda h, t: F.mse_loss(h * h.data, t),
        lambda h, t: F.mse_loss(h + (h * 2 - h).detach(), t),
        lambda h, t: F.mse_loss(h * _without_gradient(h), t),
    ],
)
def test_a_loss_that_stops_a_gradient_is_refused(tmp_path, loss):
    model = mlp()
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)

    def step(x, t):
        optimizer.zero_grad()
        loss(model(x), t).backward()
        optimizer.step()

    refused(ValueError, "stops a gradient", tmp_path, step, (rv.zeros(2, 4), rv.zeros(2, 2)))


def test_optimizers_that_are_refused(tmp_path):
    model = mlp()
    for optimizer in (rv.optim.RMSprop(model.parameters()), rv.optim.Adam(model.parameters(), amsgrad=True)):
        step = training(model, optimizer, F.mse_loss)
        refused(ValueError, type(optimizer).__name__, tmp_path, step, (rv.zeros(2, 4), rv.zeros(2, 2)))


def test_a_capture_restores_everything(tmp_path):
    """Also where it fails."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ConvTranspose2d(1, 1, 1))
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    step = training(model[:2], optimizer, F.mse_loss)
    before = {k: np.array(v) for k, v in model.state_dict().items()}
    rv.export.c(step, tmp_path / "step.c", (numbers(4, 4), numbers(4, 3)))
    with pytest.raises(ValueError, match="ConvTranspose"):
        rv.export.c(model[2], tmp_path / "net.c", rv.zeros(1, 1, 2, 2))
    assert not observers
    assert model.training
    for key, value in model.state_dict().items():
        np.testing.assert_array_equal(np.array(value), before[key])


class Odd(nn.Module):
    """Names that C reserves, names that differ in case only, and text that would end a comment."""

    def __init__(self):
        super().__init__()
        self.int, self.Int, self.exp = (nn.Linear(2, 2) for _ in range(3))
        self.add_module("*/ größe", nn.Linear(2, 2))

    def forward(self, ram, double):
        x = self.exp(self.Int(self.int(ram)))
        return self._modules["*/ größe"](x) + double, x

    def extra_repr(self):
        return '*/ "x" \\ /* ??/'


@needs_compiler
def test_odd_names(tmp_path):
    model, x = Odd(), numbers(1, 2)
    compiled = Compiled(tmp_path, model, (x, x), name="static")
    y0, y1 = np.empty((2, 1, 2), np.float32)
    compiled.call("static_2_predict", x, x, y0, y1)
    for y, expected in zip((y0, y1), model(rv.tensor(x), rv.tensor(x)), strict=True):
        np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-5, atol=1e-6)


@needs_compiler
def test_odd_values(tmp_path):
    model = nn.Linear(6, 1, bias=False)
    values = np.array([[np.inf, -np.inf, np.nan, -0.0, 1e-45, 3.4028235e38]], np.float32)
    model.weight.data = rv.tensor(values)
    compiled = Compiled(tmp_path, Of(lambda layer, x: layer.weight + x, model), np.zeros((1, 1), np.float32))
    zero = np.zeros((1, 1), np.float32)
    np.testing.assert_array_equal(compiled.predict(zero, shape=(1, 6)), values)


def test_the_file_is_the_same_each_time(tmp_path):
    model = mlp()
    texts = set()
    for _ in range(2):
        rv.export.c(model, tmp_path / "net.c", rv.zeros(1, 4))
        texts.add((tmp_path / "net.c").read_text() + (tmp_path / "net.h").read_text())
    assert len(texts) == 1


def test_values_that_live_together_do_not_share_memory(tmp_path):
    report = rv.export.c(Of(lambda x: (x + 1) * (x + 2) * (x + 3)), tmp_path / "net.c", rv.zeros(1, 100))
    assert report.ram == 4 * 200
    assert "RAM 800 bytes" in str(report)


def test_integers_are_indices_only(tmp_path):
    embed, index = nn.Embedding(5, 2), np.zeros((2, 3), np.int64)
    refused(ValueError, "depends on the inputs, and that", tmp_path, Of(lambda e, x: e(x + 1), embed), index)
    refused(ValueError, "another order", tmp_path, Of(lambda e, x: e(x.transpose(0, 1)), embed), index)
    refused(TypeError, "of integers", tmp_path, Of(lambda x: rv.cat([x, x])), index)
    refused(TypeError, "result of int64", tmp_path, Of(lambda x: x.reshape(-1)), index)


def test_changes_in_place(tmp_path):
    def part(x):
        y = x * 2
        y[0].mul_(3.0)
        return y + 1

    refused(ValueError, "changed in place", tmp_path, Of(part), rv.zeros(2, 3))

    def seen_by_another(x):
        y = x * 2
        y.reshape(6).add_(1.0)
        return y + 1

    refused(ValueError, "changed in place", tmp_path, Of(seen_by_another), rv.zeros(2, 3))


@needs_compiler
def test_layers_in_place(tmp_path):
    added = Of(lambda x: x.mul_(2.0).add_(1.0) * x)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), added, nn.SiLU(inplace=True))
    require_equal(model, tmp_path, numbers(2, 3))


class Named(nn.Module):
    """Arguments with the names of weights, helpers and the C library."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, w_layer_weight, linear, NAN, expm1f, y):
        return self.layer(w_layer_weight) + linear + NAN + expm1f + y


@needs_compiler
def test_names_of_arguments(tmp_path):
    model, x = Named(), numbers(5, 1, 2)
    compiled = Compiled(tmp_path, model, tuple(x), name="linear")
    y = np.empty((1, 2), np.float32)
    compiled.call("linear_predict", *(np.ascontiguousarray(one) for one in x), y)
    np.testing.assert_allclose(y, model(*map(rv.tensor, x)).detach().numpy(), rtol=1e-5, atol=1e-6)


@needs_compiler
def test_two_networks_in_one_program(tmp_path):
    """With and without files of their own for the weights."""
    sources = []
    for name in ("one", "two"):
        rv.export.c(mlp(), tmp_path / f"{name}.c", rv.zeros(1, 4), separate_weights=name == "two")
        sources.append(tmp_path / f"{name}.c")
    for name in ("three", "four"):
        rv.export.c(mlp(), tmp_path / f"{name}.c", rv.zeros(1, 4), separate_weights=True)
        sources += [tmp_path / f"{name}.c", tmp_path / f"{name}_weights.c"]
    sources.append(tmp_path / "two_weights.c")
    (tmp_path / "main.c").write_text(
        '#include "one.h"\n#include "two.h"\n#include "three.h"\n'
        "int main(void)\n{\n    float x[4] = {0}, y[2];\n    one_predict(x, y);\n    two_predict(x, y);\n"
        "    three_predict(x, y);\n    return 0;\n}\n"
    )
    command = [COMPILERS[0], *STRICT, *sources, tmp_path / "main.c", "-lm", "-o", tmp_path / "main"]
    subprocess.run(command, check=True, timeout=100)
    subprocess.run([tmp_path / "main"], check=True, timeout=100)


@needs_compiler
def test_a_large_layer(tmp_path):
    model, x = nn.Linear(700, 300), numbers(1, 700)
    compiled = Compiled(tmp_path, model, x)
    y = compiled.predict(x, shape=(1, 300))
    np.testing.assert_allclose(y, model(rv.tensor(x)).detach().numpy(), atol=1e-5)
    assert max(map(len, compiled.text.splitlines())) < 200


@needs_compiler
def test_groups_of_parameters(tmp_path):
    """Each with its learning rate; a single sample without a batch."""
    model = mlp()
    groups = [
        {"params": model[:2].parameters(), "lr": 0.01},
        {"params": model[2:].parameters(), "betas": (0.0, 0.5)},
    ]
    optimizer = rv.optim.Adam(groups, lr=1e-3)
    step, x, t = training(model, optimizer, F.mse_loss), numbers(4), numbers(2, seed=1)
    compiled = Compiled(tmp_path, step, (x, t))
    for _ in range(30):
        assert compiled.call("net_step", x, t) == pytest.approx(
            step(rv.tensor(x), rv.tensor(t)).item(), abs=1e-5
        )
    assert "learning_rate_2" in (tmp_path / "net.h").read_text()


@needs_compiler
def test_forms_of_inputs_and_results(tmp_path):
    """A number, a list, no batch, several results, one of them twice."""

    def forward(x, factor):
        y = x * factor
        return {"first": y, "second": (y, y.sum(), x)}

    compiled, x, three = (
        Compiled(tmp_path, forward, ([1.0, 2.0], 3.0)),
        numbers(2),
        np.float32(3) * np.ones(1, "f"),
    )
    results = [np.empty(2, np.float32) for _ in range(4)]
    compiled.call("net_predict", x, three, *results)
    for y, expected in zip(results, (3 * x, 3 * x, 3 * x.sum(keepdims=True), x), strict=True):
        np.testing.assert_allclose(y[: expected.size], expected, rtol=1e-6)


@needs_compiler
def test_a_method_that_returns_more_than_the_loss(tmp_path):
    class Training:
        def __init__(self):
            self.encoder, self.decoder = nn.Linear(3, 4), nn.Linear(4, 3)
            parameters = [*self.encoder.parameters(), *self.decoder.parameters()]
            self.optimizer = rv.optim.SGD(parameters, lr=0.1)

        def step(self, x):
            out = self.decoder(rv.tanh(self.encoder(x)))
            loss = F.mse_loss(out, x)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return loss, out

    training, x, y = Training(), numbers(5, 3), np.empty((5, 3), np.float32)
    compiled = Compiled(tmp_path, training.step, x)
    for _ in range(5):
        loss, out = training.step(rv.tensor(x))
        assert compiled.call("net_step", x, y) == pytest.approx(loss.item(), abs=1e-6)
        np.testing.assert_allclose(y, out.detach().numpy(), atol=1e-6)
    assert "float w_encoder_weight[12];" in (tmp_path / "net.h").read_text()


def test_expressions_keep_their_order_and_name_what_is_used_twice():
    a, b = Expression("a"), Expression("b")
    texts = {
        "a - (b - a)": a - (b - a),
        "(a - b) / (a * b)": (a - b) / (a * b),
        "-(a + b) * 2.0f": -(a + b) * 2.0,
        "1.0f - a / b / a": 1.0 - a / b / a,
        "a < b ? a : a == b ? 0.5f : b": FUNCTIONS.where(a < b, a, FUNCTIONS.where(a == b, 0.5, b)),
        "a * (a < b || b != b ? 1.0f : 0.0f)": a * FUNCTIONS.where((a < b) | (b != b), 1.0, 0.0),
        "expf(a + b)": FUNCTIONS.exp(a + b),
    }
    assert {text: written(made) for text, made in texts.items()} == {text: ([], text) for text in texts}
    both = FUNCTIONS.tanh(a * b)
    assert written(1.0 - both * both) == (["const float t0 = tanhf(a * b);"], "1.0f - t0 * t0")
