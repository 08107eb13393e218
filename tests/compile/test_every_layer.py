"""Layers and optimizers in a small training step: a replay has the bits of the eager step."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from support.layers import LAYERS
from support.strict import strict

STEPS = 5  # a recording, checks at calls 2 and 4, replays


class Scaled(nn.Module):
    """The layer on inputs times a weight, so that every layer has something to train."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(np.full(1, 0.9, np.float32))

    def forward(self, x, *others):
        y = self.layer(x * self.weight if x.is_floating_point() else x, *others)
        return y[0] if isinstance(y, tuple) else y


class Op(nn.Module):
    """A function of x and, for the ones that need them, class indices, as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def batches(draw, dtype):
    rng = np.random.default_rng(5)
    for _ in range(STEPS):
        yield [rv.from_numpy(x.astype(dtype) if x.dtype.kind == "f" else x) for x in draw(rng)]


def sgd(parameters):
    return rv.optim.SGD(parameters, lr=0.05, momentum=0.9)


def run(wrap, make, draw, make_optimizer=sgd, dtype="float32", update=None):
    """The step; its losses, and the state after the last one. Between two steps all parameters and the
    learning rate change.

    update: called with the model before the optimizer's step.
    """
    rv.manual_seed(3)
    model = Scaled(make()).to(dtype)
    optimizer = make_optimizer(model.parameters())

    @wrap
    def step(*inputs):
        optimizer.zero_grad()
        y = model(*inputs)
        loss = y if y.ndim == 0 else (y * y).mean()
        loss.backward()
        if update is not None:
            update(model)
        optimizer.step()
        return loss

    losses = []
    for inputs in batches(draw, dtype):
        losses.append(step(*inputs).item())
        optimizer.param_groups[0]["lr"] *= 0.7
        with rv.no_grad():
            for p in model.parameters():
                p.mul_(0.95)
    state = {name: t.numpy(force=True) for name, t in model.state_dict().items()}
    grads = {name: p.grad.numpy() for name, p in model.named_parameters() if p.grad is not None}
    return step, losses, state, grads, rv.get_rng_state()["calls"]


def assert_same(make, draw, *more, **settings):
    _, losses, state, grads, calls = run(lambda step: step, make, draw, *more, **settings)
    step, *compiled = run(strict, make, draw, *more, **settings)
    assert len(step.programs) == 1
    assert np.isfinite(losses).all()
    assert losses == compiled[0]
    assert calls == compiled[3]
    for expected, got in ((state, compiled[1]), (grads, compiled[2])):
        assert expected.keys() == got.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(got[name], array, err_msg=name)


# These compute with NumPy from the values of their indices or labels, which differ at each step.
BY_NUMPY = {"CTCLoss", "EmbeddingBag"}


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.name in BY_NUMPY], ids=str)
def test_layers_that_read_values(layer):
    with pytest.raises(rv.CaptureError, match=r"test_every_layer\.py:\d+\) reads an array that NumPy"):
        run(strict, lambda: getattr(nn, layer.name)(*layer.args, **layer.kwargs), layer.draw)


@pytest.mark.parametrize("layer", [layer for layer in LAYERS if layer.name not in BY_NUMPY], ids=str)
def test_layers(layer):
    for dtype in ("float32", "float64") if LAYERS.index(layer) % 4 == 0 else ("float32",):
        assert_same(lambda: getattr(nn, layer.name)(*layer.args, **layer.kwargs), layer.draw, dtype=dtype)


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "nesterov": True, "momentum": 0.9, "weight_decay": 0.01},
    "Adam": {"amsgrad": True},
    "AdamW": {},
    "RMSprop": {"momentum": 0.5, "centered": True},
    "Adagrad": {"lr_decay": 0.1},
    "Adadelta": {},
    "Adamax": {},
    "NAdam": {},
    "RAdam": {},
    "Lion": {},
    "Rprop": {},
    "ASGD": {"t0": 0},
}


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def rows(rng):
    return [rng.uniform(-2, 2, (4, 6))]


def test_every_optimizer_is_here():
    kinds = {n for n in rv.optim.__all__ if isinstance(getattr(rv.optim, n), type)}
    kinds = {n for n in kinds if issubclass(getattr(rv.optim, n), rv.optim.Optimizer)}
    assert kinds - OPTIMIZERS.keys() == {"LBFGS", "Optimizer"}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    decay = {} if name == "Rprop" else {"weight_decay": 0.1}  # it has none
    for more in (OPTIMIZERS[name], {}, {**decay, "maximize": True}):
        settings = {"lr": 0.01, **more}
        assert_same(mlp, rows, lambda p, settings=settings: getattr(rv.optim, name)(p, **settings))


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_clipping_by_norm(norm):
    clip = nn.utils.clip_grad_norm_
    assert_same(mlp, rows, update=lambda model: clip(model.parameters(), 0.1, norm))


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
            assert_same(lambda: nn.Conv2d(4, 8, (3, 2), **settings), images(2, 4, 9, 8))  # noqa: B023


MODES = [
    *(("nearest", False), ("nearest-exact", False), ("bilinear", False), ("bilinear", True)),
    *(("bicubic", False), ("bicubic", True), ("area", False)),
]


@pytest.mark.parametrize(("mode", "corners"), MODES)
def test_resampling(mode, corners):
    for size in ((7, 5), (3, 11)):
        settings = {"align_corners": True} if corners else {}
        assert_same(lambda: Op(lambda x: F.interpolate(x, size, mode=mode, **settings)), images(2, 3, 5, 6))  # noqa: B023


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pads(mode):
    assert_same(lambda: Op(lambda x: F.pad(x, (1, 2, 3, 0), mode)), images(2, 3, 5, 6))
