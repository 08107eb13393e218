"""Captured steps beside NumPy references of each call, on other arguments and parameters."""

import numpy as np
import program.test_training_steps  # noqa: F401
import pytest
import ranvier as rv
from program import test_create_graph as twice
from program.test_every_layer import (
    BY_NUMPY,
    OPS,
    OPTIMIZERS,
    WITH_LABELS,
    Op,
    Scaled,
    descends,
    labelled,
    mlp,
    rows,
    sgd,
)
from ranvier import distributions as D
from ranvier import nn
from ranvier.nn import functional as F
from support import random_steps, translation
from support.calls_log import SIGNATURES
from support.core_references import REFERENCES, Reference
from support.layers import LAYERS
from support.training_steps import Base, subclasses
from support.translation import NotReplayed, Wrong, validate

WITHOUT = {"conv2d_pool": "only programs call it", "lbfgs_loop": "L-BFGS reads values: it runs eagerly"}


def test_every_function_of_the_core_has_a_reference():
    assert SIGNATURES.keys() - REFERENCES.keys() == WITHOUT.keys()
    assert REFERENCES.keys() <= SIGNATURES.keys()


def arguments(draw, rng, dtype="float32"):
    return tuple(rv.from_numpy(x.astype(dtype) if x.dtype.kind == "f" else x) for x in draw(rng))


def check(make, draw, make_optimizer=sgd, dtype="float32", update=None):
    """A training step of the layer; between two runs of it parameters and the learning rate change."""
    rv.manual_seed(3)
    model = Scaled(make()).to(dtype)
    optimizer = make_optimizer(model.parameters())

    def between():
        optimizer.param_groups[0]["lr"] *= 0.7
        with rv.no_grad():
            for p in model.parameters():
                p.mul_(1.1)

    rng = np.random.default_rng(5)
    step = descends(model, optimizer, update)
    return validate(step, arguments(draw, rng, dtype), arguments(draw, rng, dtype), between)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.name not in BY_NUMPY], ids=str)
def test_layers(layer):
    for dtype in ("float32", "float64") if LAYERS.index(layer) % 4 == 0 else ("float32",):
        check(lambda: getattr(nn, layer.name)(*layer.args, **layer.kwargs), layer.draw, dtype=dtype)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    decay = {} if name == "Rprop" else {"weight_decay": 0.1}  # it has none
    for more in (OPTIMIZERS[name], {}, {**decay, "maximize": True}):
        check(mlp, rows, lambda p, more=more: getattr(rv.optim, name)(p, **{"lr": 0.01, **more}))


@pytest.mark.parametrize("name", [*OPS, *WITH_LABELS])
def test_ops(name):
    check(lambda: Op({**OPS, **WITH_LABELS}[name]), labelled if name in WITH_LABELS else rows)


# --- settings of the layers with many of them
def images(*shape):
    return lambda rng: [rng.uniform(-1, 1, shape)]


STRIDES, PADDINGS, DILATIONS, GROUPS = (1, 2, (2, 3)), (0, 1, (2, 0)), (1, 2), (1, 2, 4)


@pytest.mark.parametrize("stride", STRIDES)
def test_convolutions(stride):
    """Each two settings meet."""
    for i, padding in enumerate(PADDINGS):
        for j, dilation in enumerate(DILATIONS):
            groups = GROUPS[(STRIDES.index(stride) + i + j) % 3]
            settings = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
            check(lambda: nn.Conv2d(4, 8, (3, 2), **settings), images(2, 4, 9, 8))  # noqa: B023


def test_winograd_and_pools_side_by_side():
    def make():
        return nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(16))

    assert "conv2d_pool_backward" in check(make, images(2, 8, 16, 16)).functions


MODES = [
    *(("nearest", False), ("nearest-exact", False), ("bilinear", False), ("bilinear", True)),
    *(("bicubic", False), ("bicubic", True), ("area", False)),
]


@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_resampling(mode, corners):
    for size in ((7, 5), (3, 11)):
        settings = {"align_corners": True} if corners else {}
        check(lambda: Op(lambda x: F.interpolate(x, size, mode=mode, **settings)), images(2, 3, 5, 6))  # noqa: B023


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pads(mode):
    check(lambda: Op(lambda x: F.pad(x, (1, 2, 3, 0), mode)), images(2, 3, 5, 6))


@pytest.mark.parametrize("kind", list(subclasses(Base)))
def test_training_steps(kind):
    rng, steps = np.random.default_rng(5), kind()

    def draw(rng):
        return [rng.standard_normal((4, *kind.shape)), rng.integers(0, 3, 4)]

    first, second = (arguments(draw, rng, kind.dtype) for _ in range(2))
    validate(steps.step, first, second, steps.between)


# --- updates
@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_clipping_by_norm(norm):
    clip = nn.utils.clip_grad_norm_
    seen = check(mlp, rows, update=lambda model: clip(model.parameters(), 0.1, norm)).functions
    assert {"gradient_norm", "clip_gradients"} <= seen


def test_clipping_by_value():
    check(mlp, rows, update=lambda model: nn.utils.clip_grad_value_(model.parameters(), 0.01))


@pytest.mark.parametrize("make", [twice.penalty, twice.heat, twice.adapted])
def test_second_derivatives(make):
    rv.manual_seed(0)
    _, step, shapes = make()
    rng = np.random.default_rng(0)
    first, second = (
        tuple(rv.tensor(rng.uniform(-1, 1, s).astype(np.float32)) for s in shapes) for _ in range(2)
    )
    validate(step, first, second)


NO = {"validate_args": False}
DISTRIBUTIONS = {
    "Normal": lambda x: D.Normal(x, F.softplus(x) + 0.1, **NO).log_prob(0.5 * x),
    "Laplace": lambda x: D.Laplace(x, 1.5, **NO).log_prob(0.5 * x),
    "Cauchy": lambda x: D.Cauchy(x, 1.5, **NO).log_prob(0.5 * x),
    "Exponential": lambda x: D.Exponential(F.softplus(x) + 0.1, **NO).log_prob(x * x),
    "LogNormal": lambda x: D.LogNormal(x, 0.5, **NO).log_prob(x * x + 0.1),
    "HalfNormal": lambda x: D.HalfNormal(F.softplus(x) + 0.1, **NO).log_prob(x * x),
    "Gumbel": lambda x: D.Gumbel(x, 1.5, **NO).log_prob(0.5 * x),
    "Bernoulli": lambda x: D.Bernoulli(logits=x, **NO).log_prob((x > 0).float()),
    "Geometric": lambda x: D.Geometric(logits=x, **NO).log_prob((x > 0).float()),
    "Uniform": lambda x: D.Uniform(x - 2, x + 2, **NO).rsample() * x,
    "samples": lambda x: D.Normal(x, F.softplus(x) + 0.1, **NO).rsample() * x,
    "divergence": lambda x: D.kl_divergence(D.Normal(x, 1.0, **NO), D.Normal(2 * x, 2.0, **NO)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distributions(name):
    check(lambda: Op(DISTRIBUTIONS[name]), rows)


def test_categorical():
    check(lambda: Op(lambda x, y: D.Categorical(logits=x, **NO).log_prob(y)), labelled)


# --- random steps
def validated(seed):
    """Validates a step that can be captured; why it is not captured, or ""."""
    first, second = random_steps.arguments(1, 4), random_steps.arguments(2, 4)
    world, eager = (random_steps.World(random_steps.Program(seed)) for _ in range(2))
    try:
        for args in (first, first, first, second):
            eager.step(*args)
    except (RuntimeError, ValueError) as error:
        return str(error)
    try:
        validate(world.step, first, second)
    except (rv.CaptureError, NotReplayed) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("part", range(4))
def test_random_steps(part):
    refused = [validated(seed) for seed in range(part, 40, 4)]
    assert refused.count("") > 0.4 * len(refused), "few of them are captured: " + "\n".join(refused)


# --- what it finds
def relu_step(x):
    return F.relu(x) * 2


def two():
    return tuple((rv.tensor(np.random.default_rng(i).uniform(-1, 1, 9).astype(np.float32)),) for i in (0, 1))


def test_finds_a_function_without_a_reference(monkeypatch):
    monkeypatch.delitem(REFERENCES, "relu")
    with pytest.raises(Wrong, match="call 0 of 2, relu: there is no reference for it"):
        validate(relu_step, *two())


@pytest.mark.parametrize("error", [1e-4, -1.0, np.inf])
def test_finds_a_wrong_result(error, monkeypatch):
    wrong = Reference(lambda x: np.maximum(x, 0) + error, lambda c: 4)
    monkeypatch.setitem(REFERENCES, "relu", wrong)
    with pytest.raises(Wrong, match="relu: the result is off by"):
        validate(relu_step, *two())


def test_finds_what_a_call_changes_besides(monkeypatch):
    monkeypatch.setitem(REFERENCES, "fill", Reference(lambda y, value: None))
    with pytest.raises(Wrong, match="fill: y is changed, which the reference does not do"):
        validate(lambda x: rv.zeros(9).fill_(2.0) + x, *two())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scale": 2.0}, "mul: b is 1.0 in one run and 2.0 in another"),
        ({"name": "exp"}, "two runs of the step call other functions"),
        ({"added": 1.0}, "add: b has other bits than the calls before have given it"),
    ],
)
def test_finds_another_path_and_hidden_changes(settings, message):
    now, state = {"scale": 1.0, "name": "relu", "added": 0.0}, np.zeros(9, np.float32)
    held = rv.from_numpy(state)

    def step(x):
        state[:] += now["added"]  # which no call of the core does
        return getattr(rv, now["name"])(x) * now["scale"] + held

    (first,), (second,) = two()
    _, log = translation.logged_run(step, (first,))
    lasting = {address: translation.content(root) for address, root in log.lasting.items()}
    now.update(settings)
    _, other = translation.logged_run(step, (second,))
    memory = translation.Memory()
    memory.put(first._array.ctypes.data, translation.content(second._array))
    with pytest.raises(Wrong, match=message):
        translation.interpret(log, other, memory, lasting)


class Stale:
    """A compiled function that gives its first result again."""

    def __init__(self, function, **settings):
        self.function, self.result = function, None

    def __call__(self, *args):
        if self.result is None:
            self.result = self.function(*args)
        return self.result


def test_finds_a_stale_replay(monkeypatch):
    monkeypatch.setattr(rv, "compile", Stale)
    with pytest.raises(Wrong, match="result 0 has other bits after the replay than after the eager step"):
        validate(relu_step, *two())
