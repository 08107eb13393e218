"""Products of bfloat16 in recorded steps, in gradients, in blocks, and in a Trainer.

With the precision "medium" factors of float32 products are rounded to bfloat16, with "high" to two halves of
8 bits. Compiled steps have to have the bits of the eager step at the same precision (`same`, `played`:
beside.py).
"""

import itertools

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, drawn, played, same
from ranvier import nn
from support.bfloat16 import high, medium, needs_bfloat16, needs_tiles  # noqa: F401
from support.strict import strict
from support.threads import in_thread
from support.training import training

pytestmark = needs_bfloat16


def network(kind):
    """A network of this kind, always with the same weights."""
    rv.manual_seed(0)
    if kind == "mlp":
        return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 10))
    if kind == "wide":  # large enough for two halves of each factor
        return nn.Sequential(nn.Linear(300, 256), nn.ReLU(), nn.Linear(256, 260))
    if kind == "attention":
        return nn.Sequential(nn.TransformerEncoderLayer(64, 2, 64, 0.0, batch_first=True), nn.Linear(64, 10))
    if kind == "pooled":  # large enough for Winograd's gradients
        return nn.Sequential(
            nn.Conv2d(3, 32, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 49, 10),
        )
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(32, 32, 3),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(32 * 16, 10),
    )


SHAPES = {"mlp": (64,), "cnn": (3, 14, 14), "pooled": (3, 14, 14), "attention": (70, 64)}


def data(kind, rows=24, number=1):
    rows = 300 if kind == "wide" else rows
    rows, of = (3, (3, 10)) if kind == "attention" else (rows, rows)
    labels = np.random.default_rng(number).integers(0, 10, of)
    return *drawn((rows, *(SHAPES | {"wide": (300,)})[kind]))(number), rv.tensor(labels)


def trained(kind):
    """For `same`: a training step of a network, and its inputs."""

    def make():
        model = network(kind)
        return training(model, rv.optim.Adam(model.parameters(), 1e-3)), model

    return make, lambda number: data(kind, number=number)


def plain(step):
    return step


@pytest.fixture
def exact_again():
    yield
    rv.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("kind", SHAPES)
def test_a_replay_has_the_bits_of_the_eager_step(kind, medium):  # noqa: F811
    same(*trained(kind))
    if kind == "pooled":
        eager = played(*trained(kind), plain)[0]
        rv.set_winograd(False)
        try:
            assert played(*trained(kind), strict)[0] != eager
        finally:
            rv.set_winograd(True)


@pytest.mark.usefixtures("exact_again")
@pytest.mark.parametrize("kind", ["mlp", "cnn", "attention"])
def test_another_setting_is_another_program(kind):
    def between(number, model):
        rv.set_float32_matmul_precision("medium" if number // 3 % 2 else "highest")

    same(*trained(kind), 14, between)
    assert played(*trained(kind), plain, 14, between)[0] != played(*trained(kind), plain, 14)[0]


class Product(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(rv.randn(70, 200))

    def forward(self, x):
        return x @ self.weight


PREDICTED = {
    "packed weights": (lambda: network("mlp").eval(), (5, 64)),
    "weights by rows, few": (lambda: Product().eval(), (3, 70)),
    "weights by rows, many": (lambda: Product().eval(), (200, 70)),
}


@pytest.mark.parametrize("name", PREDICTED)
def test_predictions(name, medium):  # noqa: F811
    make, shape = PREDICTED[name]
    with rv.no_grad():
        same(make, drawn(shape))


def gradients(forward, backward, kind="mlp"):
    """The bits of loss and gradients, the forward and the backward pass each in its block."""
    model = network(kind)
    x, y = data(kind)
    with forward:
        loss = nn.functional.cross_entropy(model(x), y)
    with backward:
        loss.backward()
    return bits([loss, model])


@pytest.mark.usefixtures("exact_again")
def test_gradients_have_the_precision_of_the_forward():
    scope = rv.config.float32_matmul_precision
    both = gradients(scope("medium"), scope("medium"))
    plain = gradients(scope(None), scope(None))
    assert both != plain
    assert gradients(scope("medium"), scope(None)) == both
    assert gradients(scope("medium"), scope("highest")) == both
    assert gradients(scope("highest"), scope("medium")) == plain
    rv.set_float32_matmul_precision("medium")
    assert gradients(scope(None), scope(None)) == both
    assert gradients(scope("highest"), scope(None)) == plain


@needs_tiles
def test_steps_and_predictions_by_halves_of_factors(high):  # noqa: F811
    scope = rv.config.float32_matmul_precision

    def in_scopes(step, *precisions):
        numbers = itertools.count()

        def run(*inputs):
            with scope(precisions[next(numbers) // 3 % len(precisions)]):
                return step(*inputs)

        return run

    def shown(of_step, *precisions):
        return played(*trained("wide"), lambda step: in_scopes(of_step(step), *precisions), 14)[0]

    same(*trained("wide"))
    with rv.no_grad():
        same(lambda: network("wide").eval(), drawn((300, 300)))
    assert shown(strict, "highest", "high", "medium") == shown(plain, "highest", "high", "medium")
    assert shown(plain, "high") != shown(plain, "highest")
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

    def make():
        layer = nn.Linear(48, 64)

        def step(x, y):
            layer.weight.grad = None
            for part in (x, y):
                (layer(part) ** 2).sum().backward()
            return layer.weight.grad

        return step

    same(make, drawn((40, 48), (40, 48)))


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


@pytest.mark.usefixtures("exact_again")
@pytest.mark.parametrize("compile", [True, False])
def test_trainer(compile):
    x, y = (t.numpy() for t in data("mlp", 96))

    def fit(**settings):
        trainer = rv.Trainer(network("mlp"), "cross_entropy", "adam", compile=compile, **settings)
        trainer.fit(x, y, epochs=3, batch_size=32)
        return bits([trainer.model.state_dict(), trainer.predict_proba(x), trainer.evaluate(x, y)["loss"]])

    plain, half = fit(), fit(precision="medium")
    assert plain != half
    assert plain == fit(precision="highest")
    rv.set_float32_matmul_precision("medium")
    assert half == fit()
    assert plain == fit(precision="high")


def test_trainer_keeps_it_in_its_file(tmp_path):
    trainer = rv.Trainer(network("mlp"), "cross_entropy", "adam", precision="medium")
    trainer.fit(*(t.numpy() for t in data("mlp", 32)), epochs=1)
    trainer.save(tmp_path / "t.safetensors")
    assert rv.Trainer.load(tmp_path / "t.safetensors").precision == "medium"
