"""Optimizers and settings of layers in a small training step: a replay has the bits of the eager step."""

import numpy as np
import pytest
import ranvier as rv
from compile.beside import CALLS, same, squares
from optim.problem import CASES
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.optimizers import KINDS


class Scaled(nn.Module):
    """A layer, or a function, on inputs times a weight, so that there is always something to train."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.weight = nn.Parameter(np.full(1, 0.9, np.float32))

    def forward(self, x, *others):
        y = self.layer(x * self.weight if x.is_floating_point() else x, *others)
        y = y[0] if isinstance(y, tuple) else y
        return y if y.ndim == 0 else squares(y)


def maker(make, optimizer=None, dtype="float32", update=None):
    """For `same`: a training step of what `make` makes; update: called with the model before the update."""

    def made():
        model = Scaled(make()).to(dtype)
        kind = optimizer or (lambda p: optim.SGD(p, lr=0.05, momentum=0.9))
        own = kind(model.parameters())

        def step(*inputs):
            own.zero_grad()
            loss = model(*inputs)
            loss.backward()
            if update is not None:
                update(model)
            own.step()
            return loss

        return step, model, own

    return made


def given(draw, dtype="float32"):
    """The inputs of a call, as `draw` draws them."""

    def inputs(number):
        arrays = draw(np.random.default_rng(5 + number))
        return [rv.from_numpy(x.astype(dtype) if x.dtype.kind == "f" else x) for x in map(np.asarray, arrays)]

    return inputs


def between(number, model, optimizer):
    """All parameters and the learning rate change."""
    optimizer.param_groups[0]["lr"] *= 0.7
    with rv.no_grad():
        for p in model.parameters():
            p.mul_(0.95)


def judged(make, draw, optimizer=None, dtype="float32", update=None):
    step = same(maker(make, optimizer, dtype, update), given(draw, dtype), CALLS, between)
    assert len(step.programs) == 1
    assert np.isfinite(step(*given(draw, dtype)(0)).item())


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def rows(rng):
    return [rng.uniform(-2, 2, (4, 6))]


@pytest.mark.parametrize("name", KINDS)
def test_optimizers(name):
    for settings in [settings for kind, settings in CASES if kind == name] or [{}]:
        judged(mlp, rows, lambda p, settings=settings: KINDS[name](p, **settings))
    judged(mlp, rows, KINDS[name], np.dtype(rv.bfloat16))


def convolution(stride, padding, dilation, groups):
    return lambda: nn.Conv2d(4, 8, (3, 2), stride, padding, dilation, groups)


def resized(size, mode, **more):
    return lambda: lambda x: F.interpolate(x, size, mode=mode, **more)


def padded(mode):
    return lambda: lambda x: F.pad(x, (1, 2, 3, 0), mode)


# each two settings of a convolution meet
SETTINGS = {
    f"conv {i} {j} {k}": convolution(stride, padding, dilation, (1, 2, 4)[(i + j + k) % 3])
    for i, stride in enumerate((1, 2, (2, 3)))
    for j, padding in enumerate((0, 1, (2, 0)))
    for k, dilation in enumerate((1, 2))
}
for size in ((7, 5), (3, 11)):
    for mode in ("nearest", "nearest-exact", "bilinear", "bicubic", "area"):
        SETTINGS[f"{mode} {size}"] = resized(size, mode)
    for mode in ("bilinear", "bicubic"):
        SETTINGS[f"{mode} {size}, corners"] = resized(size, mode, align_corners=True)
for mode in ("constant", "reflect", "replicate", "circular"):
    SETTINGS[f"pad {mode}"] = padded(mode)


@pytest.mark.parametrize("name", SETTINGS)
def test_settings(name):
    judged(SETTINGS[name], lambda rng: [rng.uniform(-1, 1, (2, 4, 9, 8))])


@pytest.mark.parametrize("norm", [1.0, 2.0, float("inf")])
def test_clipping_by_norm(norm):
    judged(mlp, rows, update=lambda model: nn.utils.clip_grad_norm_(model.parameters(), 0.1, norm))
