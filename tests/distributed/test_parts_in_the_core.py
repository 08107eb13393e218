"""The parts of a rank one after another in the core: the bits of each part as a call from Python."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.distributed.reduction import Reduce
from support.distributed_runs import data, trained
from support.ranks import results


def batches(monkeypatch, in_core=True):
    """For each call of the core how many parts it took, and how many batches it made."""
    found, calls, run = [], Reduce._calls, Reduce.run_ahead

    def counted(step, *about):
        function, parts = calls(step, *about)
        found.append([len(parts), 0])
        return function, parts if in_core else []

    def ran(step, ahead):
        made = run(step, ahead)
        found[-1][1] += 0 if made is None else len(made[0])
        return made

    monkeypatch.setattr(Reduce, "_calls", counted)
    monkeypatch.setattr(Reduce, "run_ahead", ran)
    return found


class Averaged(nn.Module):
    """A forward pass changes a float buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", rv.zeros(300))

    def forward(self, x):
        if self.training:
            with rv.no_grad():
                self.mean.mul_(0.9).add_(x.mean(0) * 0.1)
        return x - self.mean


def cnn_of(dtype=np.float32, layer=nn.Identity, **settings):
    """Twice: parts of one size in an order of their own, and of two sizes without one."""
    x, y = data(180)
    rv.manual_seed(3)
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(36, 300), layer(), nn.Tanh(), nn.Linear(300, 100), nn.Linear(100, 4)),
    ).to(dtype)
    x = x.astype(dtype)
    shuffled = trained(model, x, y, epochs=12, fit={"batch_size": 32}, **settings)
    in_order = trained(model, x, y, epochs=12, fit={"batch_size": 36, "shuffle": False}, **settings)
    return [shuffled, in_order, rv.rand(3).tolist()]


RUNS = {
    "usual": {},
    "penalty": {"l2": 1e-4, "clip_grad_norm": 0.5},
    "float64": {"dtype": np.float64},
    "two parts": {"shards": 2},
    "sixteen parts": {"shards": 16},
}
TOLD = """
import pytest
from distributed.test_parts_in_the_core import *
from support.ranks import tell
with pytest.MonkeyPatch.context() as patch:
    found = batches(patch)
    tell([cnn_of(**RUNS[NAME]), found])
"""


@pytest.mark.parametrize("name", RUNS)
def test_the_bits_of_parts_that_python_calls(name, monkeypatch):
    settings = RUNS[name]
    with monkeypatch.context() as patch:
        batches(patch, in_core=False)
        expected = cnn_of(**settings)
    with monkeypatch.context() as patch:
        found = batches(patch)
        assert cnn_of(**settings) == expected
    shards = settings.get("shards", 8)
    assert max(made for parts, made in found if parts == shards) >= 3
    assert sum(made for _, made in found) > 20
    for told, found in results(2, TOLD.replace("NAME", repr(name))):
        assert told == expected
        assert sum(made for parts, made in found if parts == shards // 2) > 20


@pytest.mark.parametrize("layer", [nn.Dropout, Averaged])
def test_the_bits_of_parts_that_draw_or_change_buffers(layer, monkeypatch):
    with monkeypatch.context() as patch:
        batches(patch, in_core=False)
        expected = cnn_of(layer=layer)
    assert cnn_of(layer=layer) == expected
