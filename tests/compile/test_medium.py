"""Products of bfloat16 in recorded steps, in gradients, in blocks, and in a Trainer."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.bfloat16 import high, medium, needs_bfloat16, needs_tiles  # noqa: F401
from support.threads import in_thread
from support.training import training

pytestmark = needs_bfloat16


def network(kind):
    rv.manual_seed(0)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    if kind == "wide":  # large enough for two halves of each factor
        return nn.Sequential(nn.Linear(300, 256), nn.ReLU(), nn.Linear(256, 260))
    if kind == "attention":
        return nn.Sequential(nn.TransformerEncoderLayer(64, 2, 64, 0.0, batch_first=True), nn.Linear(64, 10))
    if kind == "pooled":  # large enough for Winograd's gradients
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Conv2d(64, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 49, 10),
        )  # fmt: skip
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 16, 10),
    )  # fmt: skip


def data(kind, rows=24):
    rng = np.random.default_rng(1)
    rows = 300 if kind == "wide" else rows
    shape = {
        "mlp": (rows, 64),
        "wide": (rows, 300),
        "cnn": (rows, 3, 14, 14),
        "pooled": (rows, 3, 14, 14),
        "attention": (3, 70, 64),
    }[kind]
    of = (3, 10) if kind == "attention" else rows
    return rv.tensor(rng.standard_normal(shape).astype(np.float32)), rv.tensor(rng.integers(0, 10, of))


def trained(kind, compiled, steps=6, scope=None):
    model = network(kind)
    optimizer = rv.optim.Adam(model.parameters(), 1e-3)
    step = training(model, optimizer)
    run = rv.compile(step) if compiled else step
    for i in range(steps):
        with rv.config.float32_matmul_precision(scope(i) if scope else None):
            run(*data(kind))
    return b"".join(p.detach().numpy().tobytes() for p in model.parameters())


@pytest.mark.parametrize("kind", ["mlp", "cnn", "pooled", "attention"])
def test_a_replay_has_the_bits_of_the_eager_step(kind, medium):  # noqa: F811
    eager = trained(kind, False)
    assert trained(kind, True) == eager
    if kind == "pooled":
        rv.set_winograd(False)
        try:
            assert trained(kind, True) != eager
        finally:
            rv.set_winograd(True)


@pytest.mark.parametrize("kind", ["mlp", "cnn", "attention"])
def test_another_setting_is_another_program(kind):
    scope = lambda i: "medium" if i // 3 % 2 else "highest"  # noqa: E731
    eager = trained(kind, False, 14, scope)
    assert trained(kind, True, 14, scope) == eager
    assert trained(kind, False, 14) != eager


def check_prediction(kind, rows=24):
    model, x = network(kind).eval(), data(kind, rows)[0]
    with rv.no_grad():
        expected = model(x).numpy()
        captured = rv.compile(model)
        for _ in range(5):
            np.testing.assert_array_equal(captured(x).numpy(), expected)


def test_a_prediction_with_packed_weights(medium):  # noqa: F811
    check_prediction("mlp", 5)


def test_a_prediction_with_weights_by_rows(medium):  # noqa: F811
    class Product(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(rv.randn(70, 200))

        def forward(self, x):
            return x @ self.weight

    model, rng = Product(), np.random.default_rng(0)
    captured = rv.compile(model)
    with rv.no_grad():
        for rows in (3, 200):
            x = rv.tensor(rng.standard_normal((rows, 70)).astype(np.float32))
            for _ in range(5):
                np.testing.assert_array_equal(captured(x).numpy(), model(x).numpy())


def gradients(forward, backward, kind="mlp"):
    model = network(kind)
    x, y = data(kind)
    with forward:
        loss = nn.functional.cross_entropy(model(x), y)
    with backward:
        loss.backward()
    return loss.detach().numpy().tobytes() + b"".join(p.grad.numpy().tobytes() for p in model.parameters())


def test_gradients_have_the_precision_of_the_forward():
    scope = rv.config.float32_matmul_precision
    both = gradients(scope("medium"), scope("medium"))
    plain = gradients(scope(None), scope(None))
    assert both != plain
    assert gradients(scope("medium"), scope(None)) == both
    assert gradients(scope("medium"), scope("highest")) == both
    assert gradients(scope("highest"), scope("medium")) == plain
    rv.set_float32_matmul_precision("medium")
    try:
        assert gradients(scope(None), scope(None)) == both
        assert gradients(scope("highest"), scope(None)) == plain
    finally:
        rv.set_float32_matmul_precision("highest")


@needs_tiles
def test_steps_and_predictions_by_halves_of_factors(high):  # noqa: F811
    scope = rv.config.float32_matmul_precision
    in_turn = lambda i: ("highest", "high", "medium")[i // 3 % 3]  # noqa: E731
    eager = trained("wide", False)
    assert trained("wide", True) == eager
    assert trained("wide", True, 14, in_turn) == trained("wide", False, 14, in_turn)
    exact = trained("wide", False, scope=lambda _: "highest")
    assert 0 < np.abs(np.frombuffer(eager, np.float32) - np.frombuffer(exact, np.float32)).mean() < 1e-5
    check_prediction("wide")
    both = gradients(scope("high"), scope("high"), "wide")
    assert gradients(scope("high"), scope("highest"), "wide") == both
    assert gradients(scope("highest"), scope("high"), "wide") != both


def test_blocks_nest_and_end():
    a = rv.ones(40, 64) * (1 + 2**-10)
    b = rv.ones(64, 64)
    rounded, exact = 64.0, 64 * (1 + 2**-10)
    scope = rv.config.float32_matmul_precision

    def first():
        return (a @ b)[0, 0].item()

    with scope("medium"):
        assert first() == rounded
        with scope("highest"):
            assert first() == exact
        assert first() == rounded
        assert in_thread(first) == exact  # a block is one of its thread
    with pytest.raises(KeyError), scope("medium"):
        raise KeyError
    assert first() == exact


@pytest.mark.filterwarnings("error")
def test_gradients_are_added_up_in_a_recorded_step(medium):  # noqa: F811
    """Products of a few rows, which read b where it is, add to what is there as tiles do."""
    layer, x = nn.Linear(48, 64), [rv.randn(40, 48) for _ in range(2)]

    def step(x, y):
        layer.weight.grad = None
        for part in (x, y):
            (layer(part) ** 2).sum().backward()
        return layer.weight.grad

    captured = rv.compile(step)
    for _ in range(5):
        np.testing.assert_array_equal(captured(*x).numpy(), step(*x).numpy())


def test_the_newer_name_of_the_setting():
    setting = rv.backends.mkldnn.matmul
    assert setting.fp32_precision == "ieee"
    try:
        setting.fp32_precision = "bf16"
        assert rv.get_float32_matmul_precision() == "medium"
        rv.set_float32_matmul_precision("high")
        assert setting.fp32_precision == "tf32"
        with pytest.raises(RuntimeError, match="got 'half'"):
            setting.fp32_precision = "half"
    finally:
        setting.fp32_precision = "none"
    assert rv.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("wrong", ["low", "", 1, None])
def test_another_precision_is_an_error(wrong):
    expected = "expected 'highest', 'high' or 'medium'"
    with pytest.raises(ValueError, match=expected):
        rv.set_float32_matmul_precision(wrong)
    if wrong is not None:
        with pytest.raises(ValueError, match=expected), rv.config.float32_matmul_precision(wrong):
            pass
        with pytest.raises(ValueError, match=expected):
            rv.Trainer(network("mlp"), "cross_entropy", "adam", precision=wrong)


@pytest.mark.parametrize("compile", [True, False])
def test_trainer(compile):
    x, y = (t.numpy() for t in data("mlp", 96))

    def fit(**settings):
        trainer = rv.Trainer(network("mlp"), "cross_entropy", "adam", compile=compile, **settings)
        trainer.fit(x, y, epochs=3, batch_size=32)
        weights = b"".join(p.detach().numpy().tobytes() for p in trainer.model.parameters())
        return weights, trainer.predict_proba(x).tobytes(), trainer.evaluate(x, y)["loss"]

    plain, half = fit(), fit(precision="medium")
    assert plain != half
    assert plain == fit(precision="highest")
    rv.set_float32_matmul_precision("medium")
    try:
        assert half == fit()
        assert plain == fit(precision="high")
    finally:
        rv.set_float32_matmul_precision("highest")


def test_trainer_keeps_it_in_its_file(tmp_path):
    trainer = rv.Trainer(network("mlp"), "cross_entropy", "adam", precision="medium")
    trainer.fit(*(t.numpy() for t in data("mlp", 32)), epochs=1)
    trainer.save(tmp_path / "t.safetensors")
    assert rv.Trainer.load(tmp_path / "t.safetensors").precision == "medium"
