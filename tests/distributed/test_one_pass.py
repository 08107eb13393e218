"""A batch on several processes: one pass of gradients, and parts that the core runs."""

from itertools import pairwise

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.distributed.reduction import Reduce, is_by_row
from support.distributed_runs import data, in_the_core, trained
from support.ranks import told_in_turn


def mlp(*sizes, activation=nn.ReLU, **settings):
    rv.manual_seed(0)
    layers = [f for a, b in pairwise(sizes) for f in (nn.Linear(a, b, **settings), activation())]
    return nn.Sequential(*layers[:-1])


def classes(samples=101, features=37):
    rng = np.random.default_rng(0)
    return rng.standard_normal((samples, features)).astype(np.float32), rng.integers(0, 5, samples)


def usual():
    """Parts of several sizes, a weight whose gradient is made in several blocks, and one of one column."""
    model = nn.Sequential(mlp(37, 1, 1000, activation=nn.Tanh), nn.GELU(), nn.Linear(1000, 5, bias=False))
    return trained(
        model, *classes(), fit={"batch_size": 34}, metrics=["accuracy"], l2=1e-4, clip_grad_norm=0.5
    )


def accumulated():
    return trained(
        mlp(37, 90, 5), *classes(), fit={"batch_size": 20}, accumulate=3, optimizer="sgd", shards=4
    )


def summed_float64():
    x, _ = classes()
    targets = {"loss": nn.MSELoss(reduction="sum"), "lr": 1e-4}
    return trained(
        mlp(37, 20, 1, dtype=np.float64), x.astype(np.float64), x[:, 0].astype(np.float64), **targets
    )


def binary():
    x, y = classes()
    return trained(mlp(37, 20, 1), x, (y > 2).astype(np.float32), loss=nn.BCEWithLogitsLoss(), shards=1)


def changed_between_epochs():
    """The layers that are trained, the slope of an activation, a layer without parameters, hooks."""
    model = mlp(37, 64, 64, 5, activation=nn.LeakyReLU)

    def change(epoch):
        model[0].weight.requires_grad = epoch != 1
        model[1].negative_slope = 0.01 if epoch < 3 else 0.5
        if epoch == 2:
            model[3] = nn.Tanh()
        if epoch == 4:
            model[4].register_forward_hook(lambda layer, inputs, output: output * 2)

    fit = {"batch_size": 16, "callbacks": [rv.LambdaCallback(on_epoch_begin=change)]}
    return trained(model, *classes(192), epochs=6, fit=fit)


def even():
    """Parts of one size: weights of few rows or columns, products that are rounded, long and many parts."""
    few = trained(mlp(37, 3, 90, 5), *classes(1024), fit={"batch_size": 512})
    with rv.config.float32_matmul_precision("medium"):
        rounded = trained(mlp(64, 64, 5), *classes(256, 64), fit={"batch_size": 256})
    long = trained(mlp(7, 8, 5), *classes(800, 7), fit={"batch_size": 800}, shards=2)
    return few, rounded, long, trained(mlp(7, 8, 5), *classes(256, 7), fit={"batch_size": 256}, shards=128)


RUNS = [usual, accumulated, summed_float64, binary, changed_between_epochs, even]


@pytest.mark.filterwarnings("ignore:.*runs some steps")  # where layers change that often
@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.__name__)
def test_the_bits_of_parts_one_after_another(run, monkeypatch):
    passes, is_one_pass = [], Reduce._is_one_pass

    def counted(step, *arrays):
        passes.append(is_one_pass(step, *arrays))
        return passes[-1]

    monkeypatch.setattr(Reduce, "_is_one_pass", counted)
    together = run()
    assert any(passes)
    monkeypatch.setattr(Reduce, "_is_one_pass", lambda *arguments: False)
    assert run() == together


def test_models_that_it_takes():
    x, loss = np.zeros((16, 6), np.float32), nn.CrossEntropyLoss()

    def takes(model, loss=loss, x=x, trained=None):
        return is_by_row(model, loss, x, [*model.parameters()] if trained is None else trained)

    assert takes(nn.Linear(6, 2))
    assert takes(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)))
    assert takes(nn.Sequential(nn.Flatten(), mlp(6, 2), nn.Identity()), x=np.zeros((4, 3, 2), np.float32))
    first = nn.Linear(6, 6)
    hooked, replaced, watched = mlp(6, 2), mlp(6, 2), mlp(6, 2)
    hooked.register_forward_hook(lambda *arguments: None)
    replaced.forward = lambda x: x
    handle = watched[0].weight.register_hook(lambda gradient: gradient)
    own = type("Own", (nn.Linear,), {})(6, 2)
    unfit = first, nn.BatchNorm1d(6), nn.Dropout(), nn.Softmax(0), nn.PReLU()
    others = [hooked, replaced, watched, own, mlp(5, 2), mlp(6, 2, dtype=np.float64)]
    others += [nn.Sequential(first, layer) for layer in unfit]
    assert not any(map(takes, others))
    handle.remove()
    assert takes(watched)
    assert not takes(watched, trained=[watched[0].weight])
    assert not takes(watched, loss=rv.ops.cross_entropy)


def batches(monkeypatch, in_core=True):
    """For each call of the core how many parts it took, and how many batches it made."""
    found, calls, run = [[0, 0]], Reduce._calls, Reduce.run_ahead

    def counted(step, *about):
        parts = calls(step, *about)
        found.append([len(parts), 0])
        return parts if in_core else []

    def ran(step, ahead):
        made = run(step, ahead)
        found[-1][1] += 0 if made is None else len(made[0])
        return made

    monkeypatch.setattr(Reduce, "_calls", counted)
    monkeypatch.setattr(Reduce, "run_ahead", ran)
    return found


def test_batches_in_the_core(monkeypatch):
    """The bits, the history and the stream of a run batch by batch."""
    found = batches(monkeypatch)
    ahead = in_the_core()
    done = [made for _, made in found]
    assert sum(done) > 20
    assert max(done) >= 3
    assert in_the_core(compile=False) == ahead
    monkeypatch.setattr(Reduce, "run_ahead", lambda *arguments: None)
    assert in_the_core() == ahead


def infinite(on_nonfinite, **settings):
    """A loss that is not finite from the twentieth epoch on, in the second half of a batch."""
    x, y = data(32)
    rv.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    trainer = rv.Trainer(
        model, "cross_entropy", "sgd", distributed=True, on_nonfinite=on_nonfinite, **settings
    )
    change = rv.LambdaCallback(
        on_epoch_begin=lambda epoch: x.__setitem__(-1, np.inf if epoch == 19 else x[-1])
    )
    try:
        trainer.fit(x, y, epochs=21, batch_size=16, shuffle=False, verbose=False, callbacks=[change])
    except FloatingPointError as error:
        return str(error), trainer.updates, trainer.history.epochs
    return model[1].weight.isnan().any().item(), trainer.updates, trainer.history.epochs


INFINITE = """
import sys, warnings
warnings.simplefilter("ignore")
from test_one_pass import infinite
tell([infinite(what) for what in ("raise", "warn", "ignore")])
"""


@pytest.mark.filterwarnings("ignore")
def test_a_loss_that_is_not_finite_in_the_core():
    expected = [list(infinite(what, compile=False)) for what in ("raise", "warn", "ignore")]
    assert [list(infinite(what)) for what in ("raise", "warn", "ignore")] == expected
    assert told_in_turn(2, INFINITE) == [expected] * 2


# The parts of a rank one after another in the core: the bits of each part as a call from Python.


class Averaged(nn.Module):
    """A forward pass reads a float buffer, and may change it."""

    def __init__(self, changes=True):
        super().__init__()
        self.register_buffer("mean", rv.zeros(300))
        self.changes = changes

    def forward(self, x):
        if self.training and self.changes:
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


PARTS_RUNS = {
    "usual": {},
    "penalty": {"l2": 1e-4, "clip_grad_norm": 0.5},
    "float64": {"dtype": np.float64},
    "two parts": {"shards": 2},
    "sixteen parts": {"shards": 16},
    "one rank in Python": {"layer": lambda: Averaged(changes=False)},
    "draws": {"layer": nn.Dropout},
    "changes a buffer": {"layer": Averaged},
}
IN_CORE = {"one rank in Python": [1], "draws": [], "changes a buffer": []}  # the ranks; else both
TOLD = """
import pytest
from test_one_pass import *
with pytest.MonkeyPatch.context() as patch:
    found = batches(patch, in_core=NAME != "one rank in Python" or rv.distributed.rank() == 1)
    tell([cnn_of(**PARTS_RUNS[NAME]), found])
"""


@pytest.mark.parametrize("name", PARTS_RUNS)
def test_the_bits_of_parts_that_python_calls(name, monkeypatch):
    settings = PARTS_RUNS[name]
    with monkeypatch.context() as patch:
        batches(patch, in_core=False)
        expected = cnn_of(**settings)
    with monkeypatch.context() as patch:
        found = batches(patch)
        assert cnn_of(**settings) == expected
    shards, ranks = settings.get("shards", 8), IN_CORE.get(name, [0, 1])
    assert (max(made for parts, made in found if parts in (0, shards)) >= 3) == bool(ranks)
    assert (sum(made for _, made in found) > 20) == bool(ranks)
    for rank, (told, found) in enumerate(told_in_turn(2, TOLD.replace("NAME", repr(name)))):
        assert told == expected
        assert (sum(made for parts, made in found if parts == shards // 2) > 20) == (rank in ranks)
