"""Each setting of a Trainer, of its methods and of the callbacks has an effect or is refused."""

import contextlib
import inspect
import io
import re
import tempfile
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, nn, optim
from ranvier.data import DataLoader, TensorDataset
from ranvier.optim import lr_scheduler
from support.effects import Exempt, With, require_effect, require_rows, same
from support.training import X, Y, classifier

OTHER = X + 1
NAN = X.copy()
NAN[3, 1] = np.nan


def outcome_of(call, arguments=None):
    """A function of settings of a Trainer: what a fit does with them."""

    def outcome(**settings):
        rv.manual_seed(0)
        named = {"model": classifier(), "loss": "cross_entropy", "optimizer": "sgd", "lr": 0.1, **settings}
        if named["optimizer"] is None or not isinstance(named["optimizer"], str):
            del named["lr"]
        trainer = rv.Trainer(**named)
        return call(trainer, **(arguments or {}))

    return outcome


def fitted(trainer, x=X, y=Y, **arguments):
    seen = []
    see = rv.LambdaCallback(on_epoch_end=lambda *_: seen.append(_core.current_precision()))
    history = trainer.fit(
        x, y, **{"epochs": 70, "batch_size": 8, "callbacks": [see], "shuffle": False, **arguments}
    )
    weights = [p.numpy(force=True).copy() for p in trainer.model.parameters()]
    return dict(history), weights, trainer.updates, bool(trainer.programs()), seen[0]


TRAINER = {
    "model": nn.Sequential(nn.Linear(3, 2)),
    "loss": nn.CrossEntropyLoss(label_smoothing=0.5),
    "optimizer": "adam",
    "lr": 0.5,
    "metrics": ["accuracy"],
    "l1": 0.1,
    "l2": 0.1,
    "accumulate": 2,
    "clip_grad_norm": 0.01,
    "clip_grad_value": 0.001,
    "compile": False,
    "on_nonfinite": Exempt("tested with NaN below"),
    "precision": "medium",
    "distributed": Exempt("tests/distributed"),
    "shards": 4,
    "deterministic": False,
}


def test_each_setting_of_a_trainer_has_a_row():
    require_rows(rv.Trainer.__init__, TRAINER)


@pytest.mark.parametrize("setting", TRAINER)
def test_a_setting_of_a_trainer(setting):
    require_effect(outcome_of(fitted), setting, TRAINER[setting])


@pytest.mark.parametrize("setting", [name for name in TRAINER if not isinstance(TRAINER[name], Exempt)])
@pytest.mark.parametrize("fits", [0, 1])
def test_a_setting_of_a_trainer_that_is_set_later(setting, fits):
    """Before the first fit, and between two: it has the effect of the constructor's, or is refused."""

    def outcome(value=None):
        def call(trainer):
            for _ in range(fits):
                trainer.fit(X, Y, epochs=1, batch_size=8)
            if value is not None:
                setattr(trainer, setting, value)
            return fitted(trainer)

        return outcome_of(call)()

    before = outcome()
    try:
        after = outcome(TRAINER[setting])
    except (ValueError, RuntimeError, AttributeError):
        return
    assert not same(before, after), f"trainer.{setting} = ... has no effect"


@pytest.mark.parametrize("mode", ["raise", "warn", "ignore"])
def test_on_nonfinite(mode):
    outcome = outcome_of(lambda trainer: trainer.fit(NAN, Y, epochs=2), {})
    if mode == "raise":
        with pytest.raises(ValueError, match="got x with nan"):
            outcome(on_nonfinite=mode)
    elif mode == "warn":
        with pytest.warns(UserWarning, match="nan"):
            outcome(on_nonfinite=mode)
    else:
        assert np.isnan(outcome(on_nonfinite=mode)["loss"][-1])


# --- arguments of the methods

HELD = (OTHER, Y)
FIT = {
    "x": OTHER,
    "y": 1 - Y,
    "epochs": 3,
    "batch_size": 5,
    "shuffle": True,
    "validation_data": HELD,
    "validation_split": 0.25,
    "class_weight": {0: 5.0},
    "sample_weight": np.linspace(0, 2, 40),
    "callbacks": [rv.EarlyStopping("loss", patience=1, min_delta=10)],
    "verbose": Exempt("what is printed: test_logs; hints: test_hints"),
    "resume": "no-such-folder",
}
EVALUATE = {"x": OTHER, "y": 1 - Y, "batch_size": 7, "sample_weight": np.linspace(0, 2, 40)}
PREDICT = {"x": OTHER, "batch_size": 7}


class Sized(nn.Module):
    """A model that tells the sizes of its batches by its output."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x):
        return self.layer(x) + 0.01 * len(x)


def test_each_argument_of_the_methods_has_a_row():
    for method, rows in (
        ("fit", FIT),
        ("evaluate", EVALUATE),
        ("predict", PREDICT),
        ("predict_proba", PREDICT),
    ):
        require_rows(getattr(rv.Trainer, method), rows)


@pytest.mark.parametrize("setting", FIT)
def test_an_argument_of_fit(setting):
    def outcome(**arguments):
        rv.manual_seed(0)
        return fitted(rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1), **{"epochs": 4, **arguments})

    if setting == "callbacks":
        rv.manual_seed(0)
        trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
        trainer.fit(X, Y, epochs=4, callbacks=FIT["callbacks"])
        assert trainer.epoch == 2
        return
    require_effect(outcome, setting, FIT[setting])


@pytest.mark.parametrize("setting", EVALUATE)
def test_an_argument_of_evaluate(setting):
    rv.manual_seed(0)
    trainer = rv.Trainer(Sized() if setting == "batch_size" else classifier(), "mse", metrics=["mae"])
    target = np.stack([Y, 1 - Y], axis=1).astype(np.float32)

    def outcome(x=X, y=Y, **arguments):
        targets = target if y is Y else target[:, ::-1].copy()
        return trainer.evaluate(x, targets, **arguments)

    require_effect(outcome, setting, EVALUATE[setting])


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
@pytest.mark.parametrize("setting", PREDICT)
def test_an_argument_of_predict(setting, method):
    rv.manual_seed(0)
    loss = "mse" if method == "predict" else "bce_with_logits"
    trainer = rv.Trainer(Sized(), loss)

    def outcome(x=X, **arguments):
        return getattr(trainer, method)(x, **arguments)

    require_effect(outcome, setting, PREDICT[setting])


LOADED = {
    "fit": {"batch_size": 5, "shuffle": False},
    "evaluate": {"batch_size": 5},
    "predict": {"batch_size": 5},
}


@pytest.mark.parametrize(("method", "setting"), [(m, s) for m in LOADED for s in LOADED[m]])
def test_what_a_loader_has_itself_is_refused_beside_it(method, setting):
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
    more = {"epochs": 1} if method == "fit" else {}
    call = getattr(trainer, method)
    call(DataLoader(TensorDataset(X, Y), 8), **more)
    with pytest.raises(
        ValueError, match=rf"\[Trainer.{method}\] got {setting} .* with a loader, which has its"
    ):
        call(DataLoader(TensorDataset(X, Y), 8), **more, **{setting: LOADED[method][setting]})
    if setting == "batch_size":
        call(DataLoader(TensorDataset(X, Y), 5), **more, batch_size=5)  # the same


# --- callbacks


def scripted(values):
    """Puts values into the logs, before the callbacks after it look."""
    return rv.LambdaCallback(on_epoch_end=lambda epoch, logs: logs.update(scripted_loss=values[epoch]))


VALUES = [5.0, 4.0, 3.95, 3.9, 6.0, 6.5, 6.4, 6.6]
STOPPING = {
    "monitor": "loss",
    "patience": 1,
    "min_delta": 0.5,
    "mode": "max",
    "restore_best_weights": False,
}


def stopped(change=None, **settings):
    rv.manual_seed(0)
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
    stopping = rv.EarlyStopping(**{"monitor": "scripted_loss", "patience": 3, **settings})
    if change is not None:
        setattr(stopping, *change)
    trainer.fit(X, Y, epochs=8, batch_size=8, callbacks=[scripted(VALUES), stopping])
    weights = [p.numpy(force=True).copy() for p in trainer.model.parameters()]
    return weights, trainer.epoch, stopping.best, stopping.best_epoch


def scheduled(change=None, make=lambda o: lr_scheduler.ExponentialLR(o, 0.5), **settings):
    rv.manual_seed(0)
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
    schedule = rv.Schedule(**{"scheduler": make(trainer.optimizer), **settings})
    if change is not None:
        setattr(schedule, *change)
    trainer.fit(X, Y, epochs=8, batch_size=8, callbacks=[scripted(VALUES), schedule])
    return [p.numpy(force=True).copy() for p in trainer.model.parameters()], trainer.lr


def plateau(mode):
    return lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0, mode=mode)


SCHEDULE = {
    "scheduler": Exempt("each has another path of rates: tests/optim/test_settings.py"),
    "per": "batch",
    "monitor": With("scripted_loss", {"make": plateau("min")}),
    "mode": With("max", {"make": plateau("min")}),
}


def checkpointed(change=None, **settings):
    rv.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
        checkpoint = rv.Checkpoint(**{"folder": Path(folder) / "a", "monitor": "scripted_loss", **settings})
        if change is not None:
            setattr(checkpoint, *change)
        trainer.fit(X, Y, epochs=8, batch_size=8, callbacks=[scripted(VALUES), checkpoint])
        files = sorted(path.name for path in Path(folder).rglob("*.safetensors"))
        best = list(Path(folder).rglob("best.safetensors"))
        weights = [] if not best else [np.asarray(p.detach()) for p in rv.load(best[0]).parameters()]
        return files, weights, trainer.history.epochs


CHECKPOINT = {
    "folder": Exempt("the place of the files"),
    "every": 3,
    "every_batches": With(2, {"keep": 99}),
    "every_seconds": With(1e-9, {"keep": 99}),
    "keep": 4,
    "best": With(False, {"monitor": None}),
    "monitor": "loss",
    "mode": "max",
    "overwrite": Exempt("needs files of another run: test_checkpoint_files"),
}


def shown(change=None, **settings):
    rv.manual_seed(0)
    out = io.StringIO()
    bar = rv.ProgressBar(**settings)
    if change is not None:
        setattr(bar, *change)
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
    with contextlib.redirect_stdout(out):
        trainer.fit(X, Y, epochs=8, batch_size=8, callbacks=[bar])
    return re.sub(r"[0-9.]+ s\n", "\n", out.getvalue())


PROGRESS = {
    "bar": Exempt("shown on a terminal: test_callbacks"),
    "every": 3,
    "delay": Exempt("shown on a terminal: test_callbacks"),
    "after": 100.0,
}
CALLBACKS = {
    "EarlyStopping": (rv.EarlyStopping, STOPPING, stopped),
    "Schedule": (rv.Schedule, SCHEDULE, scheduled),
    "Checkpoint": (rv.Checkpoint, CHECKPOINT, checkpointed),
    "ProgressBar": (rv.ProgressBar, PROGRESS, shown),
}
CALLBACK_ROWS = [(name, setting) for name, (_, rows, _) in CALLBACKS.items() for setting in rows]


def test_each_setting_of_a_callback_has_a_row():
    public = {n for n, k in vars(rv.train).items() if inspect.isclass(k) and issubclass(k, rv.Callback)}
    assert public - {"Callback", "LambdaCallback", "TensorBoard"} == set(CALLBACKS)
    for kind, rows, _ in CALLBACKS.values():
        require_rows(kind.__init__, rows)


@pytest.mark.parametrize(("name", "setting"), CALLBACK_ROWS)
def test_a_setting_of_a_callback(name, setting):
    _, rows, outcome = CALLBACKS[name]
    require_effect(outcome, setting, rows[setting])


@pytest.mark.parametrize(("name", "setting"), CALLBACK_ROWS)
def test_a_setting_of_a_callback_that_is_set_later_is_followed_or_refused(name, setting):
    _, rows, outcome = CALLBACKS[name]
    row = rows[setting]
    if isinstance(row, Exempt):
        pytest.skip(row.why)
    value, more = row[:2] if isinstance(row, With) else (row, {})
    before = outcome(**more)
    try:
        after = outcome(change=(setting, value), **more)
    except (AttributeError, ValueError, TypeError):
        return
    assert not same(before, after), f"{name}.{setting} = {value!r} has no effect"


@pytest.mark.parametrize("name", CALLBACKS)
def test_an_unknown_attribute_of_a_callback(name):
    kind, _, _ = CALLBACKS[name]
    arguments = {"Schedule": (optim_schedule(),), "Checkpoint": ("no-such-folder",)}.get(name, ())
    made = kind(*arguments)
    with pytest.raises(AttributeError, match=rf"\[{name}\] got a new attribute 'patience_'"):
        made.patience_ = 3


def optim_schedule():
    return lr_scheduler.StepLR(optim.SGD([rv.ones(1, requires_grad=True)], lr=0.1), 1)


def test_a_callback_of_the_program_has_its_own_attributes():
    class Mine(rv.EarlyStopping):
        def on_train_begin(self):
            super().on_train_begin()
            self.notes = []

    mine = Mine("loss")
    mine.more = 3
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
    trainer.fit(DataLoader(TensorDataset(X, Y), 8), epochs=1, callbacks=[mine])
    assert (mine.notes, mine.more) == ([], 3)


def test_misspelled_hooks_and_parts_are_refused():
    trainer = rv.Trainer(classifier(), "cross_entropy", "sgd", lr=0.1)
    hook = rv.LambdaCallback()
    hook.on_epoch_ned = print
    with pytest.raises(
        TypeError, match="has a method on_epoch_ned, which nothing calls; expected on_epoch_end"
    ):
        trainer.fit(X, Y, epochs=1, callbacks=[hook])
    with pytest.raises(ValueError, match="got of 'fitt'; expected 'fit', 'evaluate' or 'predict'"):
        trainer.programs("fitt")
    loader = DataLoader(TensorDataset(X, Y), 8)
    for call in (trainer.fit, trainer.evaluate):
        more = {"epochs": 1} if call == trainer.fit else {}
        with pytest.raises(ValueError, match="got a loader and y; expected the loader alone"):
            call(loader, Y, **more)
    with pytest.raises(ValueError, match="got monitor 'loss' for StepLR, whose step takes no value"):
        rv.Schedule(optim_schedule(), monitor="loss")
