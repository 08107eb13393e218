"""Fits of networks of the same form have one program in common, with the bits of compile=False.

`fitted` asserts that a fit with and without compile gives the same history, weights and optimizer, and
returns them. The fixture `records` grows with each recording: where it stays empty, a program of an earlier
fit was taken.
"""

import gc
import importlib
import random
import weakref
from typing import NamedTuple

import numpy as np
import pytest
import ranvier as rv
from compile.beside import alike, bits, outcome
from ranvier import nn, optim
from ranvier.compile import shared_programs
from support.threads import in_threads
from support.training import X, Y, Z


@pytest.fixture(autouse=True)
def alone():
    """Begins and ends without programs, with all layers loaded: the first use of one changes `ranvier.nn`,
    after which all programs are dropped."""
    for name in nn.__all__:
        getattr(nn, name)
    gc.collect()  # hooks on parameters, whose steps share nothing
    shared_programs.forget()
    yield
    shared_programs.forget()


def dense(width=8, *more, outputs=2, dtype=None):
    return nn.Sequential(nn.Linear(3, width, dtype=dtype), *more, nn.Linear(width, outputs, dtype=dtype))


def tied(shares):
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
    if shares:
        model[2].weight = model[0].weight
    return model


MODELS = {
    "relu": lambda: dense(8, nn.ReLU()),
    "wide": lambda: dense(9, nn.ReLU()),
    "tanh": lambda: dense(8, nn.Tanh()),
    "leaky": lambda: dense(8, nn.LeakyReLU(0.1)),
    "leakier": lambda: dense(8, nn.LeakyReLU(0.3)),
    "number of NumPy": lambda: dense(8, nn.LeakyReLU(np.float32(0.1))),  # has no form
    "dropout": lambda: dense(8, nn.ReLU(), nn.Dropout(0.3)),
    "more dropout": lambda: dense(8, nn.ReLU(), nn.Dropout(0.5)),
    "norm": lambda: dense(8, nn.BatchNorm1d(8), nn.ReLU()),
    "double": lambda: dense(8, nn.ReLU(), dtype="float64"),
    "regression": lambda: dense(8, nn.Tanh(), outputs=1),
    "tied": lambda: tied(True),
    "not tied": lambda: tied(False),
    "images": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 3, 1)),
        nn.Conv2d(1, 4, (3, 1)),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(4, 2),
    ),
}
OPTIMIZERS = {
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "slower adam": lambda p: optim.Adam(p, lr=0.001, betas=(0.8, 0.9)),
    "amsgrad": lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
    "rmsprop": lambda p: optim.RMSprop(p, lr=0.01, centered=True),
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "groups": lambda p: optim.SGD([{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], lr=0.1, momentum=0.5),
    "lbfgs": lambda p: optim.LBFGS(p, lr=0.1),
}
LOSSES = {
    "cross entropy": nn.CrossEntropyLoss,
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "sum": lambda: nn.CrossEntropyLoss(reduction="sum"),
    "weighted": lambda: nn.CrossEntropyLoss(weight=rv.tensor([1.0, 3.0])),
    "squares": nn.MSELoss,
}
SETTINGS = {
    "l1": {"l1": 0.01},
    "l2": {"l2": 0.01},
    "more": {"l2": 0.1},
    "by name": {"l2": {"0.weight": 0.1, "3": 0.01}},
    "clipped": {"clip_grad_norm": 0.1},
    "ignored": {"on_nonfinite": "ignore"},
    "all": {"clip_grad_value": 0.05, "clip_grad_norm": 0.2, "l1": 0.001, "l2": 0.01},
    "metrics": {"metrics": ["accuracy", "roc_auc"]},
}
WEIGHTS = {
    "weights of samples": {"sample_weight": np.linspace(0, 2, 40)},
    "batches without weight": {"sample_weight": np.repeat([1.0, 0.0], 20), "shuffle": False},
    "weights of classes": {"class_weight": "balanced"},
}


class Fit(NamedTuple):
    parts: tuple  # the names of model, optimizer and loss
    settings: dict  # arguments of Trainer
    arguments: dict  # arguments of fit


KINDS = {
    **{name: Fit((name,), {}, {}) for name in MODELS if name != "regression"},
    **{name: Fit(("relu", name), {}, {}) for name in OPTIMIZERS if name != "lbfgs"},
    **{name: Fit(("relu", "sgd", name), {}, {}) for name in LOSSES if name != "squares"},
    **{
        f"{name}, {count} a time": Fit(("dropout", "momentum"), {**settings, "accumulate": count}, {})
        for name, settings in SETTINGS.items()
        for count in (1, 2, 4)
    },
    **{
        f"{name}, {loss}, {count} a time": Fit(("dropout", "momentum", loss), {"accumulate": count}, more)
        for name, more in WEIGHTS.items()
        for loss in ("cross entropy", "sum")
        for count in (1, 3)
    },
}


def start(model="relu", optimizer="adam", loss="cross entropy", seed=0, compile=True, **settings):
    """A Trainer of a model, an optimizer and a loss, by name in the tables above, or by what makes them."""
    rv.manual_seed(seed)
    made = MODELS[model]() if isinstance(model, str) else model()
    own = OPTIMIZERS.get(optimizer, optimizer)(list(made.parameters()))
    return rv.Trainer(
        made, LOSSES[loss]() if isinstance(loss, str) else loss, own, compile=compile, **settings
    )


def bits_of(trainer):
    """All that a fit has changed."""
    return bits([dict(trainer.history), trainer.model, trainer.optimizer])


def fit(trainer, data=(X, Y), **more):
    trainer.fit(*data, **{"epochs": 3, **({"batch_size": 8} if len(data) == 2 else {}), **more})
    return trainer


def fitted(*which, seed=0, data=(X, Y), more=None, **settings):
    """The bits of a fit, which are those of compile=False."""
    return alike(
        lambda compile: bits_of(
            fit(start(*which, seed=seed, compile=compile, **settings), data, **(more or {}))
        )
    )


@pytest.mark.parametrize("part", range(4))
def test_many_forms_in_turn(part, records):
    draw, turns, taken = random.Random(part), [*KINDS][part::4] * 2, 0
    draw.shuffle(turns)
    for name in turns:
        kind = KINDS[name]
        records.clear()
        more = {**kind.arguments, "batch_size": draw.choice([7, 8])}
        fitted(*kind.parts, seed=draw.randrange(5), more=more, **kind.settings)
        taken += not records
    assert taken > 4


FITS = {  # other data and arguments; whether fits of this form share a program
    "fewer samples": ({"data": (X[:39], Y[:39])}, True),
    "one batch": ({"data": (X[:24], Y[:24])}, True),
    "weights": ({"more": {"sample_weight": np.linspace(0.5, 2, 40)}}, True),
    "regression": ({"data": (X, Z)}, True),
    "a layer of the user": ({}, False),
}


class Scaled(nn.Module):
    def forward(self, x):
        return x * 2


@pytest.mark.parametrize("name", FITS)
def test_the_second_fit_records_nothing(name, records):
    more, shares = FITS[name]
    model = (lambda: dense(8, Scaled())) if name == "a layer of the user" else "relu"
    which = ("regression", "adam", "squares") if name == "regression" else (model,)
    fitted(*which, **more)
    assert records
    records.clear()
    fitted(*which, seed=1, **more)
    assert bool(records) != shares


@pytest.mark.parametrize("settings", [{}, {"clip_grad_norm": 0.1}, {"metrics": ["accuracy"]}], ids=str)
@pytest.mark.parametrize("name", ["l1", "l2"])
def test_a_search_over_a_penalty_records_once(name, settings, records):
    fitted(**{name: 0.01}, **settings)
    assert records
    records.clear()
    first = fitted(seed=1, **{name: 0.1}, **settings)
    assert fitted(seed=1, **{name: 0.0003}, **settings) != first
    assert not records
    fitted(**{name: 0.0}, **settings)
    assert records


@pytest.mark.parametrize("strengths", [{"l1": 0.1, "l2": 0.01}, {"l1": 0.1, "l2": {"0": 0.01}}], ids=str)
def test_a_second_fit_of_a_trainer_records_no_penalty(strengths, records):
    trainer = fit(start(**strengths), epochs=10)
    records.clear()
    fit(trainer)
    assert len(records) <= 1  # a comparison that is due


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("partly", [False, True], ids=["all weights", "frozen"])
def test_strengths_that_change_between_fits(accumulate, partly):
    def run(compile):
        trainer = start(compile=compile, l1=0.01, l2=0.1, accumulate=accumulate)
        states = []
        for l1, l2 in [(0.01, 0.1), (0.2, 0.003), (0.0, 0.003), (0.0, {"0": 0.1}), (0.0, 0.2), (0.01, 0.0)]:
            trainer.l1 = l1
            trainer.l2 = l2
            states.append(bits_of(fit(trainer)))
            if partly:
                weight = trainer.model[0].weight
                weight.requires_grad = not weight.requires_grad
        return states

    assert len(set(map(str, alike(run)))) == 6


def by_columns():
    model = dense(8, nn.ReLU())
    model[0].weight.data = model[0].weight.detach().t().contiguous().t()
    return model


def zeros(sign):
    return lambda: dense(8, nn.LeakyReLU(sign * 0.0))


@pytest.mark.parametrize(("first", "second"), [("relu", by_columns), (zeros(1), zeros(-1))])
def test_another_layout_or_sign_is_another_form(first, second, records):
    fitted(first)
    records.clear()
    fitted(second)
    assert records


@pytest.mark.filterwarnings("ignore:.*(without compiling its steps|without replaying)")
def test_functions_of_the_library_that_are_replaced_between_fits(monkeypatch):
    before = fitted()
    linear = importlib.import_module("ranvier.ops.matrix.linear")
    inner = linear.Linear.forward
    monkeypatch.setattr(linear.Linear, "forward", lambda self, *args: inner(self, *args) * np.float32(2))
    changed = fitted()
    monkeypatch.undo()
    assert fitted() == before != changed


def test_two_models_trained_in_turn():
    def run(compile):
        trainers = [start(seed=seed, compile=compile) for seed in (0, 1)]
        return [bits_of(fit(trainer)) for trainer in trainers * 4]

    alike(run)


def test_models_share_no_memory_and_are_freed(records):
    first = fit(start())
    before = bits_of(first)
    records.clear()
    second = fit(start(seed=1))
    assert not records
    assert bits_of(first) == before
    alive = [weakref.ref(x) for t in (first, second) for x in (t, t.model, t.optimizer, t.model[0].weight)]
    del first, second
    gc.collect()
    assert not any(reference() is not None for reference in alive)
    fitted(seed=2)
    assert not records


def test_a_label_out_of_range(records):
    """The check of a program that was made for another fit."""

    def run(compile):
        trainer = start(compile=compile)
        return outcome(fit, trainer, (X, np.where(np.arange(40) == 30, 7, Y)), shuffle=False), bits_of(
            trainer
        )

    fit(start())
    records.clear()
    assert "7" in alike(run)[0][1]
    assert not records


class Keep(rv.Callback):
    """Keeps the gradient of the first weight after each batch or epoch."""

    def __init__(self, when):
        self.grads = []
        setattr(self, when, self.keep)

    def keep(self, *_, **__):
        self.grads.append(self.trainer.model[0].weight.grad)


@pytest.mark.parametrize(("when", "count"), [("on_batch_end", 20), ("on_epoch_end", 4)])
def test_gradients_that_the_caller_keeps(when, count):
    def run(compile):
        keep = Keep(when)
        fit(start(compile=compile), epochs=4, callbacks=[keep])
        return bits(keep.grads)

    fit(start())
    assert len({str(one) for one in alike(run)[1]}) == count


def test_numbers_of_threads(threads):
    expected = fitted()
    for count in (1, 2, 1, 2):
        threads(count)
        assert fitted() == expected


def test_the_number_of_programs_is_limited(records):
    def recorded(width):
        records.clear()
        fit(start(lambda: dense(width, nn.ReLU()), "sgd"), (X[:24], Y[:24]), epochs=1)
        return bool(records)

    assert all(recorded(width) for width in range(4, 104))
    assert not recorded(103)  # which is still there
    assert recorded(4)


def test_fits_in_several_threads():
    def work(seed):
        with rv.random.using(rv.Generator().manual_seed(seed)):
            model = MODELS["relu"]()
            own = OPTIMIZERS["adam"](list(model.parameters()))
            trainer = rv.Trainer(model, nn.CrossEntropyLoss(), own)
            for _ in range(3):
                fit(trainer)
            return bits_of(trainer)

    assert in_threads(4, work) == in_threads(4, work)
