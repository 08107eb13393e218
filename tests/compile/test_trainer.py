"""Trainer compiles its steps, with the bits of compile=False in histories and weights, or warns why not."""

import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.compile import shared
from ranvier.data import DataLoader, TensorDataset
from ranvier.train import compiled
from support.training import X, Y, Z, classifier, weights_of

IMAGES = np.random.default_rng(2).normal(size=(20, 1, 8, 8)).astype(np.float32)


def both(make, fit, **settings):
    """(trainer, history) compiled and eager, with the same start."""
    runs = []
    for compile in (True, False):
        trainer = make(compile=compile, **settings)
        rv.manual_seed(5)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            runs.append((trainer, dict(fit(trainer))))
    return runs


def assert_same(runs, replayed=True):
    (compiled, history), (eager, expected) = runs
    assert history == expected
    for a, b in zip(weights_of(compiled.model), weights_of(eager.model), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(compiled.model.buffers(), eager.model.buffers(), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert compiled.updates == eager.updates
    assert bool(compiled.programs("fit")) == replayed
    assert not eager.programs("fit")


def maker(*more, optimizer=None, loss=None):
    def make(**settings):
        model = classifier(*[make_layer() for make_layer in more])
        chosen = (optimizer or (lambda p: optim.SGD(p, lr=0.1, momentum=0.9)))(model.parameters())
        return rv.Trainer(model, loss or nn.CrossEntropyLoss(), chosen, **settings)

    return make


@pytest.mark.parametrize(("epochs", "again", "captured"), [(1, 1, 0), (9, 1, 0), (2, 5, 1), (11, 1, 1)])
def test_short_fits_are_not_recorded(monkeypatch, epochs, again, captured):
    """Fits of 6 steps an epoch: a recording takes as long as about 64 of them."""
    monkeypatch.setattr(compiled, "_PAYS", 60)

    def fit(trainer):
        for _ in range(again):
            history = trainer.fit(X, Y, epochs=epochs, batch_size=7)
        return history

    assert_same(both(maker(lambda: nn.Dropout(0.3)), fit), captured)


def test_a_short_fit_takes_the_program_of_a_long_one(monkeypatch):
    shared.forget()
    monkeypatch.setattr(compiled, "_PAYS", 64)
    for epochs, captured in ((4, False), (11, True), (4, True), (3, True), (2, False)):
        runs = both(maker(), lambda trainer, n=epochs: trainer.fit(X, Y, epochs=n, batch_size=7))
        assert_same(runs, captured)


def test_many_short_fits_of_one_form_are_recorded_once(monkeypatch):
    shared.forget()
    monkeypatch.setattr(compiled, "_PAYS", 64)
    captured = []
    for _ in range(16):
        runs = both(maker(), lambda trainer: trainer.fit(X, Y, epochs=4, batch_size=7))
        captured.append(bool(runs[0][0].programs("fit")))
        assert_same(runs, captured[-1])
    assert captured == [False] * 10 + [True] * 6  # the 6th and the 11th look for one


def test_a_few_predictions_are_not_recorded(monkeypatch):
    monkeypatch.setattr(compiled, "_RECORDING", 1e-3)
    trainer = maker()()
    few = trainer.predict(X[:1])
    assert not trainer.programs("predict")
    many = [trainer.predict(X[:1]) for _ in range(1000)]
    assert trainer.programs("predict")
    assert all(np.array_equal(few, found) for found in many)


def plain(trainer, **more):
    return trainer.fit(X, Y, epochs=4, batch_size=7, **more)


def test_300_steps_with_dropout_momentum_a_schedule_and_a_ragged_batch():
    def fit(trainer):
        schedule = optim.lr_scheduler.CosineAnnealingLR(trainer.optimizer, 50)
        return trainer.fit(
            X, Y, epochs=50, batch_size=7, validation_data=(X, Y), callbacks=[rv.Schedule(schedule)]
        )

    runs = both(maker(lambda: nn.Dropout(0.3)), fit, metrics=["accuracy"])
    assert_same(runs)
    assert runs[0][0].updates == 300
    assert len(runs[0][0].programs("fit")) == 2  # 7 samples, and the 5 of the last batch


@pytest.mark.parametrize(
    "settings",
    [
        {"l1": 0.01},
        {"l2": {"0.weight": 0.1, "3": 0.01}},
        {"clip_grad_norm": 0.1},
        {"clip_grad_value": 0.05, "clip_grad_norm": 0.2, "l1": 0.001, "l2": 0.01},
        {"metrics": ["accuracy", rv.metrics.RocAuc()]},
    ],
)
@pytest.mark.parametrize("accumulate", [1, 2, 4])
def test_settings(settings, accumulate):
    assert_same(both(maker(lambda: nn.Dropout(0.2)), plain, **settings, accumulate=accumulate))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize(
    "weights",
    [
        {"sample_weight": np.linspace(0, 2, 40)},
        {"sample_weight": np.repeat([1.0, 0.0], 20)},  # batches with a weight of zero
        {"class_weight": "balanced"},
        {},
    ],
)
def test_weights(reduction, accumulate, weights):
    make = maker(loss=nn.CrossEntropyLoss(reduction=reduction))
    assert_same(both(make, lambda t: plain(t, **weights, shuffle=False), accumulate=accumulate))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: optim.Adam(p, lr=0.01),
        lambda p: optim.AdamW(p, lr=0.01, amsgrad=True),
        lambda p: optim.RMSprop(p, lr=0.01, centered=True),
        lambda p: optim.SGD([{"params": list(p)[:2], "lr": 0.5}, ], lr=0.1, nesterov=True, momentum=0.5),
    ],
)  # fmt: skip
def test_optimizers(optimizer):
    assert_same(both(maker(optimizer=optimizer), plain))


def test_several_losses():
    def loss(output, y):
        of_class, of_size = nn.functional.cross_entropy(output, y.long()), (output * output).mean()
        return of_class + 0.1 * of_size

    assert_same(both(maker(lambda: nn.BatchNorm1d(8), loss=loss), plain))


def test_regression_of_images():
    def make(**settings):
        rv.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 1)
        )
        return rv.Trainer(model, nn.MSELoss(), optim.Adam(model.parameters()), metrics=["r2"], **settings)

    runs = both(
        make, lambda t: t.fit(IMAGES, Z[:20], epochs=4, batch_size=6, validation_data=(IMAGES, Z[:20]))
    )
    assert_same(runs)
    (compiled, _), (eager, _) = runs
    np.testing.assert_array_equal(compiled.predict(IMAGES, batch_size=4), eager.predict(IMAGES, batch_size=4))
    assert compiled.programs("predict")
    assert compiled.programs("evaluate")


def test_a_penalised_layer_that_the_loss_does_not_reach():
    class Half(nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = nn.Linear(3, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.used(x)

    def make(**settings):
        rv.manual_seed(0)
        model = Half()
        return rv.Trainer(
            model, nn.CrossEntropyLoss(), optim.SGD(model.parameters(), lr=0.1), l2=0.1, **settings
        )

    assert_same(both(make, plain))
    assert_same(both(make, plain, accumulate=2))


def test_batches_of_many_sizes_accumulated():
    class Sizes:
        def __iter__(self):
            for start, stop in ((0, 4), (4, 10), (10, 14), (14, 18), (18, 24), (24, 28)):
                yield X[start:stop], Y[start:stop]

    runs = both(maker(), lambda t: t.fit(Sizes(), epochs=8), accumulate=2)
    assert_same(runs)
    count = len(runs[0][0].programs("fit"))
    runs[0][0].fit(Sizes(), epochs=4)
    assert len(runs[0][0].programs("fit")) == count


def test_a_loader_with_augmentation():
    def fit(trainer):
        return trainer.fit(DataLoader(TensorDataset(X, Y), 8, shuffle=True), epochs=4)

    assert_same(both(maker(), fit))


def test_fit_again_and_early_stopping():
    def fit(trainer):
        for _ in range(3):
            trainer.fit(X, Y, epochs=1, batch_size=8)
        return trainer.fit(X, Y, epochs=20, batch_size=8, callbacks=[rv.EarlyStopping("loss", patience=1)])

    assert_same(both(maker(lambda: nn.Dropout(0.2)), fit))


def test_resumed_within_an_update(tmp_path):
    def fit(trainer):
        folder = tmp_path / str(trainer.compile)
        trainer.fit(X, Y, epochs=3, batch_size=7, callbacks=[rv.Checkpoint(folder, every_batches=4)])
        again = maker(lambda: nn.Dropout(0.2))(compile=trainer.compile, accumulate=3)
        again.fit(X, Y, epochs=3, batch_size=7, resume=sorted(folder.glob("[!b]*"))[0])
        for a, b in zip(weights_of(again.model), weights_of(trainer.model), strict=True):
            np.testing.assert_array_equal(a, b)
        return again.history

    assert_same(both(maker(lambda: nn.Dropout(0.2)), fit, accumulate=3))


# --- what cannot be compiled


def refusing(make, message, fit=plain, replayed=False):
    expected, trainer = make(compile=False), make()
    rv.manual_seed(5)
    before = dict(fit(expected))
    rv.manual_seed(5)
    with pytest.warns(UserWarning, match=message) as caught:
        history = dict(fit(trainer))
    assert len(caught) == 1
    assert_same([(trainer, history), (expected, before)], replayed)


class Reads(nn.Module):
    def forward(self, x):
        return x * 2 if x.sum().item() > 0 else x


class Counts(nn.Module):
    calls = 0

    def forward(self, x):
        self.calls += 1
        return x * (1 / self.calls)


class Own(optim.SGD):
    count = 0

    def step(self, closure=None):
        self.count += 1
        super().step(closure)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (maker(Reads), r"\[Trainer.fit\] continues without .*item\(\) reads a value"),
        (maker(Counts), r"the step changes .*\.calls each time it runs"),
        (maker(optimizer=lambda p: Own(p, lr=0.1)), "Own updates by its own Python code"),
    ],
    ids=["value", "count", "optimizer"],
)
def test_what_cannot_be_replayed_continues_eagerly(make, message):
    refusing(make, message)


def test_hooks_that_keep_values_continue_eagerly():
    seen = []

    def make(**settings):
        trainer = maker()(**settings)
        trainer.model[0].register_forward_hook(lambda module, args, output: seen.append(output.shape))
        return trainer

    refusing(make, "the step changes the items of the variable seen")
    assert len(seen) == 2 * 4 * 6


def test_values_that_change_with_every_batch_continue_eagerly():
    class Anneal(rv.Callback):
        def on_batch_end(self, batch, logs):
            self.trainer.model[2].p *= 0.9

    refusing(
        maker(lambda: nn.Dropout(0.5)),
        r"Trainer.fit. runs some steps without replaying them: changes of .*model.* come too often",
        lambda t: t.fit(X, Y, epochs=40, batch_size=5, callbacks=[Anneal()]),
        replayed=True,  # recorded, though of no use
    )


def test_lbfgs_stays_eager():
    def make(**settings):
        return maker(optimizer=lambda p: optim.LBFGS(p, lr=0.1))(**settings)

    assert_same(both(make, lambda t: t.fit(X, Y, epochs=2, batch_size=20)), replayed=False)
