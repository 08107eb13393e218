"""Fits of networks of the same form have one program in common, with the bits of compile=False."""

import gc
import importlib
import random
import threading
import weakref

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.compile import shared
from support.training import X, Y, Z


@pytest.fixture
def bound(monkeypatch):
    """For each program that was found: whether it could be taken. Begins without programs."""
    gc.collect()  # hooks on parameters, whose steps share nothing
    shared.forget()
    taken = []
    inner = shared.Shared.bound

    def noted(self, form, arrays):
        program = inner(self, form, arrays)
        taken.append(program is not None)
        return program

    monkeypatch.setattr(shared.Shared, "bound", noted)
    yield taken
    shared.forget()


def dense(width=8, *more, outputs=2, dtype=None):
    return nn.Sequential(nn.Linear(3, width, dtype=dtype), *more, nn.Linear(width, outputs, dtype=dtype))


def images():
    return nn.Sequential(
        nn.Unflatten(1, (1, 3, 1)), nn.Conv2d(1, 4, (3, 1)), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),
        nn.Linear(4, 2),
    )  # fmt: skip


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
    "images": images,
}
OPTIMIZERS = {
    "adam": lambda p: optim.Adam(p, lr=0.01),
    "slower adam": lambda p: optim.Adam(p, lr=0.001, betas=(0.8, 0.9)),
    "amsgrad": lambda p: optim.Adam(p, lr=0.01, amsgrad=True),
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "groups": lambda p: optim.SGD([{"params": p[:1], "lr": 0.3}, {"params": p[1:]}], lr=0.1, momentum=0.5),
}
LOSSES = {
    "cross entropy": nn.CrossEntropyLoss,
    "smoothed": lambda: nn.CrossEntropyLoss(label_smoothing=0.1),
    "sum": lambda: nn.CrossEntropyLoss(reduction="sum"),
    "weighted": lambda: nn.CrossEntropyLoss(weight=rv.tensor([1.0, 3.0])),
}
SETTINGS = [
    {}, {"l2": 0.01}, {"l2": 0.1}, {"clip_grad_norm": 0.1}, {"on_nonfinite": "ignore"},
    {"metrics": ["accuracy"]}, {"accumulate": 2},
]  # fmt: skip


def start(model="relu", optimizer="adam", loss="cross entropy", seed=0, compile=True, **settings):
    rv.manual_seed(seed)
    made = MODELS[model]()
    return rv.Trainer(
        made, LOSSES[loss](), OPTIMIZERS[optimizer](list(made.parameters())), compile=compile, **settings
    )


def bits_of(trainer):
    """All that a fit has changed."""
    arrays = [
        np.asarray(p.detach()).tobytes() for p in (*trainer.model.parameters(), *trainer.model.buffers())
    ]
    state = [
        (name, np.asarray(value).tobytes())
        for values in trainer.optimizer.state.values()
        for name, value in values.items()
    ]
    grads = [None if p.grad is None else p.grad.numpy().tobytes() for p in trainer.model.parameters()]
    return dict(trainer.history), arrays, state, grads


def fitted(model="relu", *more, epochs=3, batch_size=8, data=(X, Y), **settings):
    """The bits of a fit, after a comparison with compile=False."""
    found = []
    for compile in (True, False):
        trainer = start(model, *more, compile=compile, **settings)
        trainer.fit(*data, epochs=epochs, batch_size=batch_size)
        found.append(bits_of(trainer))
    assert found[0] == found[1]
    return found[0]


def test_many_forms_in_turn(bound):
    draw = random.Random(0)
    kinds = [
        (model, "adam", "cross entropy", {}) for model in MODELS
    ] + [("relu", optimizer, "cross entropy", {}) for optimizer in OPTIMIZERS]  # fmt: skip
    kinds += [("relu", "sgd", loss, {}) for loss in LOSSES]
    kinds += [("dropout", "momentum", "cross entropy", settings) for settings in SETTINGS]
    turns = kinds * 3
    draw.shuffle(turns)
    for model, optimizer, loss, settings in turns:
        batch_size, seed = draw.choice([7, 8]), draw.randrange(5)
        fitted(model, optimizer, loss, seed, batch_size=batch_size, **settings)
    assert bound.count(True) > 40


def test_shapes_and_weights_of_samples(bound):
    for samples in (40, 39, 40, 24, 39):
        fitted(data=(X[:samples], Y[:samples]))
    weights = np.linspace(0.5, 2, 40)
    found = []
    for compile in (True, True, False):
        trainer = start(compile=compile)
        trainer.fit(X, Y, epochs=3, batch_size=8, sample_weight=weights)
        found.append(bits_of(trainer))
    assert found[0] == found[1] == found[2]
    assert bound.count(True) >= 4


def test_regression(bound):
    for seed in range(3):
        found = []
        for compile in (True, False):
            rv.manual_seed(seed)
            trainer = rv.Trainer(dense(8, nn.Tanh(), outputs=1), "mse", "adam", lr=0.01, compile=compile)
            trainer.fit(X, Z, epochs=3, batch_size=8)
            found.append(bits_of(trainer))
        assert found[0] == found[1]
    assert bound == [True, True]


def test_a_second_fit_records_nothing(bound, monkeypatch):
    fitted()
    program = importlib.import_module("ranvier.compile.compiled")
    monkeypatch.setattr(program, "record", lambda *args, **kwargs: pytest.fail("recorded"))
    fitted(seed=1)
    assert bound == [True]


@pytest.mark.parametrize(
    "change",
    [
        lambda t: setattr(t.model[1], "negative_slope", 0.5),
        lambda t: t.model[0].weight.requires_grad_(False),
        lambda t: setattr(t.model, "1", nn.Tanh()),
        lambda t: setattr(t, "l2", 0.2),
        lambda t: setattr(t, "clip_grad_value", 0.01),
        lambda t: t.optimizer.param_groups[0].update(nesterov=True),
        lambda t: t.optimizer.param_groups[0].update(momentum=0.1),
        lambda t: t.optimizer.param_groups[0].update(lr=0.5),
        lambda t: setattr(t.loss, "label_smoothing", 0.3),
        lambda t: setattr(t.model[0], "bias", None),
        lambda t: setattr(t.model[0], "forward", lambda x: nn.functional.relu(x @ t.model[0].weight.T)),
        lambda t: t.model[0].register_forward_hook(lambda m, args, out: out * 2),
        lambda t: t.model[0].weight.register_hook(lambda g: g * 2),
    ],
)
def test_a_change_between_fits(bound, change):
    """A setting of one of two networks that are alike."""
    fitted("leaky", "momentum")
    found = []
    for compile in (True, False):
        trainer = start("leaky", "momentum", compile=compile)
        change(trainer)
        trainer.fit(X, Y, epochs=2, batch_size=8)
        change(trainer)
        trainer.fit(X, Y, epochs=2, batch_size=8)
        found.append(bits_of(trainer))
    assert found[0] == found[1]


def test_a_change_within_a_fit(bound):
    class Change(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.model[1].negative_slope = 0.1 * (epoch + 1)
            self.trainer.optimizer.param_groups[0]["lr"] *= 0.5
            if epoch == 2:
                self.trainer.model[0].bias.requires_grad_(False)

    fitted("leaky")
    found = []
    for compile in (True, False):
        trainer = start("leaky", compile=compile)
        trainer.fit(X, Y, epochs=5, batch_size=8, callbacks=[Change()])
        found.append(bits_of(trainer))
    assert bound[0]
    assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:.*without compiling its steps")
def test_functions_of_the_library_that_are_replaced_between_fits(bound, monkeypatch):
    fitted()
    linear = importlib.import_module("ranvier.ops.matrix.einsum")
    inner = linear.Linear.forward
    monkeypatch.setattr(linear.Linear, "forward", lambda self, *args: inner(self, *args) * np.float32(2))
    changed = fitted()
    monkeypatch.undo()
    assert fitted() != changed


def test_two_models_trained_in_turn(bound):
    found = []
    for compile in (True, False):
        trainers = [start(seed=seed, compile=compile) for seed in (0, 1)]
        for _ in range(4):
            for trainer in trainers:
                trainer.fit(X, Y, epochs=2, batch_size=8)
        found.append(list(map(bits_of, trainers)))
        if compile:
            a, b = (trainer.programs("fit") for trainer in trainers)
            assert not {id(p.core) for p in a} & {id(p.core) for p in b}
    assert found[0] == found[1]
    assert bound == [True]


def test_models_share_no_memory_and_are_freed(bound):
    first = start()
    first.fit(X, Y, epochs=3, batch_size=8)
    before = bits_of(first)
    second = start(seed=1)
    second.fit(X, Y, epochs=3, batch_size=8)
    assert bound == [True]
    assert bits_of(first) == before
    alive = [weakref.ref(x) for t in (first, second) for x in (t, t.model, t.optimizer, t.model[0].weight)]
    del first, second
    gc.collect()
    assert not any(x() is not None for x in alive)
    fitted(seed=2)
    assert bound == [True, True]


def test_a_label_out_of_range(bound):
    """The check of a program that was made for another fit."""
    fitted()
    wrong, found = Y.copy(), []
    wrong[30] = 7
    for compile in (True, False):
        trainer = start(compile=compile)
        with pytest.raises((IndexError, ValueError), match="7") as raised:
            trainer.fit(X, wrong, epochs=3, batch_size=8, shuffle=False)
        found.append((type(raised.value), str(raised.value), bits_of(trainer)))
    assert found[0] == found[1]
    assert bound == [True]


def test_gradients_that_the_caller_keeps(bound):
    fitted()
    kept = []
    for compile in (True, False):
        trainer = start(compile=compile)

        class Keep(rv.Callback):
            grads = []  # noqa: RUF012

            def on_epoch_end(self, epoch, logs):
                self.grads.append(self.trainer.model[0].weight.grad)

        keep = Keep()
        keep.grads = []
        trainer.fit(X, Y, epochs=4, batch_size=8, callbacks=[keep])
        kept.append([g.numpy().tobytes() for g in keep.grads])
    assert bound == [True]
    assert kept[0] == kept[1]
    assert len(set(kept[0])) == 4


def test_tied_parameters_and_shared_memory(bound):
    def tied(shares):
        model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Linear(3, 2))
        if shares:
            model[2].weight = model[0].weight
        return model

    for shares in (False, True, False, True, True):
        found = []
        for compile in (True, False):
            rv.manual_seed(0)
            trainer = rv.Trainer(tied(shares), "cross_entropy", "adam", compile=compile)
            trainer.fit(X, Y, epochs=3, batch_size=8)
            found.append(bits_of(trainer))
        assert found[0] == found[1]


def test_numbers_of_threads(bound):
    before = rv.get_num_threads()
    expected = fitted()
    try:
        for threads in (1, 2, 1, 2):
            rv.set_num_threads(threads)
            assert fitted() == expected
    finally:
        rv.set_num_threads(before)
    assert bound.count(True) >= 2


def test_nothing_of_the_users_is_kept(bound):
    class Scaled(nn.Module):
        def forward(self, x):
            return x * 2

    rv.manual_seed(0)
    trainer = rv.Trainer(dense(8, Scaled()), "cross_entropy", "adam")
    trainer.fit(X, Y, epochs=3, batch_size=8)
    assert trainer.programs("fit")
    assert not shared._programs


def test_the_number_of_programs_is_limited(bound):
    widths = range(4, 4 + shared._MOST + 3)
    for width in (*widths, widths[-1]):  # which is still there
        rv.manual_seed(0)
        rv.Trainer(dense(width, nn.ReLU()), "cross_entropy", "sgd").fit(
            X[:24], Y[:24], epochs=1, batch_size=8
        )
    assert len(shared._programs) == shared._MOST
    assert bound == [True]


def test_fits_in_several_threads(bound):
    expected = {seed: fitted(seed=seed) for seed in range(4)}
    found, errors = {}, []

    def work(seed):
        try:
            with rv.random.using(rv.Generator().manual_seed(seed)):
                model = MODELS["relu"]()
                trainer = rv.Trainer(
                    model, nn.CrossEntropyLoss(), OPTIMIZERS["adam"](list(model.parameters()))
                )
                for _ in range(3):
                    trainer.fit(X, Y, epochs=3, batch_size=8)
                found.setdefault(seed, []).append(bits_of(trainer))
        except BaseException as error:
            errors.append(error)

    for _ in range(2):
        threads = [threading.Thread(target=work, args=(seed,)) for seed in expected]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not errors
    assert all(a == b for a, b in found.values())
