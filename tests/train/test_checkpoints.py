"""Checkpoints in one process: resumed anywhere, damaged, of another run, kept and removed."""

import json
import struct

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.data import DataLoader, TensorDataset
from ranvier.optim import lr_scheduler, swa_utils
from ranvier.serialization.checkpoints import read_checkpoint, write_checkpoint
from ranvier.train import checkpoints
from ranvier.train.run import PARTS
from support.training import X, Y, assert_equal_weights, classifier, trainer_of, weights_of


class Stop(rv.Callback):
    """Raises after so many batches of the run, as a crash would."""

    def __init__(self, batches):
        self.left = batches

    def on_batch_begin(self, batch):
        if self.left == 0:
            raise ZeroDivisionError
        self.left -= 1


def new_trainer(make=optim.Adam, **settings):
    model = classifier(nn.Dropout(0.2))
    return trainer_of(model, make(model.parameters(), lr=0.05), metrics=["accuracy"], **settings)


def fit(trainer, folder, epochs=3, callbacks=(), every_batches=1, **arguments):
    given = {"x": X, "y": Y, "batch_size": 16, "validation_data": (X, Y), **arguments}
    checkpoint = rv.Checkpoint(folder, every_batches=every_batches)
    given |= {"epochs": epochs, "callbacks": [checkpoint, *callbacks], "resume": folder}
    trainer.fit(given.pop("x"), given.pop("y"), **given)
    return trainer


def state_of(trainer):
    arrays = {}
    state = {"model": dict(trainer.model.state_dict()), "optimizer": trainer.optimizer.state_dict()}
    encoded = rv.serialization.tree.encode(state, arrays)
    return encoded, {name: array.tobytes() for name, array in arrays.items()}, trainer.history.to_dict()


def loader(**settings):
    return {"x": DataLoader(TensorDataset(X, Y), 16, shuffle=True, **settings), "y": None}


@pytest.mark.parametrize(
    "make",
    [optim.SGD, optim.Adam, optim.NAdam, lambda p, lr: optim.SGD(p, lr, momentum=0.9), optim.LBFGS],
    ids=["sgd", "adam", "nadam", "momentum", "lbfgs"],
)
def test_a_crashed_run_is_resumed_with_every_optimizer(tmp_path, make):
    expected = state_of(fit(new_trainer(make), tmp_path / "whole"))
    for batches in (1, 3, 5, 8):
        folder = tmp_path / str(batches)
        with pytest.raises(ZeroDivisionError):
            fit(new_trainer(make), folder, callbacks=[Stop(batches)])
        rv.manual_seed(99)
        trainer = fit(new_trainer(make), folder)
        assert trainer.resumed_from is not None
        assert state_of(trainer) == expected


SCHEDULES = {
    "step": lambda o: rv.Schedule(lr_scheduler.StepLR(o, 1, gamma=0.5)),
    "lambda": lambda o: rv.Schedule(lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch)),
    "restarts": lambda o: rv.Schedule(
        lr_scheduler.CosineAnnealingWarmRestarts(o, 4, eta_min=1e-3), per="batch"
    ),
    "one cycle": lambda o: rv.Schedule(lr_scheduler.OneCycleLR(o, max_lr=0.1, total_steps=9), per="batch"),
    "plateau": lambda o: rv.Schedule(lr_scheduler.ReduceLROnPlateau(o, patience=0, threshold=0.5)),
    "in sequence": lambda o: rv.Schedule(
        lr_scheduler.SequentialLR(
            o,
            [lr_scheduler.LinearLR(o, 0.1, total_iters=3), lr_scheduler.ExponentialLR(o, 0.9)],
            milestones=[3],
        ),
        per="batch",
    ),
    "chained": lambda o: rv.Schedule(
        lr_scheduler.ChainedScheduler(
            [lr_scheduler.ConstantLR(o, 0.5, total_iters=2), lr_scheduler.MultiStepLR(o, [1, 2])]
        )
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_crashed_run_is_resumed_with_every_kind_of_schedule(tmp_path, name):
    def run(folder, *more):
        trainer = new_trainer()
        rates = []
        note = rv.LambdaCallback(
            on_batch_end=lambda *_: rates.append(trainer.optimizer.param_groups[0]["lr"])
        )
        fit(trainer, folder, callbacks=[SCHEDULES[name](trainer.optimizer), note, *more])
        return state_of(trainer), rates

    expected, rates = run(tmp_path / "whole")
    assert len(set(rates)) > 1
    for batches in (2, 5):
        folder = tmp_path / str(batches)
        with pytest.raises(ZeroDivisionError):
            run(folder, Stop(batches))
        resumed, rest = run(folder)
        assert rest == rates[batches:]
        assert resumed == expected


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"accumulate": 2, "l1": 1e-3, "clip_grad_norm": 0.5}, dict),
        ({}, loader),
        ({}, lambda: loader(generator=4)),
        ({}, lambda: loader(prefetch=1)),
        ({"accumulate": 3}, lambda: {"sample_weight": np.arange(40.0)}),
        ({}, lambda: {"shuffle": False, "class_weight": "balanced"}),
        ({}, lambda: {"validation_data": DataLoader(TensorDataset(X, Y), 8, shuffle=True, generator=1)}),
    ],
    ids=["accumulate", "loader", "generator", "prefetch", "weights", "in order", "validation"],
)
def test_a_crashed_run_is_resumed_with_every_kind_of_data(tmp_path, settings, arguments):
    expected = state_of(fit(new_trainer(**settings), tmp_path / "whole", **arguments()))
    folder = tmp_path / "crashed"
    for batches in (2, 1, 2):
        with pytest.raises(ZeroDivisionError):
            fit(new_trainer(**settings), folder, callbacks=[Stop(batches)], **arguments())
    assert state_of(fit(new_trainer(**settings), folder, **arguments())) == expected


def test_a_finished_run_stays_finished_and_more_epochs_go_on(tmp_path):
    first = fit(new_trainer(), tmp_path)
    again = fit(new_trainer(), tmp_path)
    assert state_of(again) == state_of(first)
    assert again.updates == 9
    more = fit(new_trainer(), tmp_path, epochs=5)
    assert state_of(more) == state_of(fit(new_trainer(), tmp_path / "whole", epochs=5))


def test_early_stopping_goes_on_counting_and_stays_stopped(tmp_path):
    def stopping():
        return rv.EarlyStopping("val_loss", patience=1, min_delta=10.0)  # never better than the first epoch

    whole, by = new_trainer(), stopping()
    fit(whole, tmp_path / "whole", epochs=9, callbacks=[by])
    assert whole.history.epochs == 2
    for batches in (4, 5):
        with pytest.raises(ZeroDivisionError):
            fit(new_trainer(), tmp_path / str(batches), epochs=9, callbacks=[stopping(), Stop(batches)])
        resumed, again = new_trainer(), stopping()
        fit(resumed, tmp_path / str(batches), epochs=9, callbacks=[again])
        assert state_of(resumed) == state_of(whole)
        assert (again.best, again.best_epoch, again.stopped_epoch) == (by.best, 0, 1)
        finished = new_trainer()
        fit(finished, tmp_path / str(batches), epochs=9, callbacks=[stopping()])
        assert state_of(finished) == state_of(whole)  # with the best weights put back


@pytest.mark.parametrize(("per", "count"), [("batch", 6), ("epoch", 2)])
def test_averaged_weights_go_on(tmp_path, per, count):
    def run(folder, *more):
        trainer = new_trainer()
        average = swa_utils.AveragedModel(trainer.model, multi_avg_fn=swa_utils.get_ema_multi_avg_fn(0.5))
        fit(trainer, folder, callbacks=[rv.WeightAveraging(average, per=per, begin=1), *more])
        assert int(average.n_averaged) == count
        return average

    expected = run(tmp_path / "whole")
    for batches in (2, 5, 8):
        with pytest.raises(ZeroDivisionError):
            run(tmp_path / str(batches), Stop(batches))
        assert_equal_weights(run(tmp_path / str(batches)), expected)
    for wrong, error, message in (
        ({"average": 3}, TypeError, "got an average of type int"),
        ({"per": "step"}, ValueError, "got per 'step'"),
        ({"begin": -1}, ValueError, "got begin -1"),
    ):
        with pytest.raises(error, match=rf"\[WeightAveraging\] {message}"):
            rv.WeightAveraging(**{"average": expected, **wrong})


def test_what_a_callback_of_ones_own_remembers(tmp_path):
    class Counter(rv.Callback):
        count = 0

        def on_batch_end(self, batch, logs):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    with pytest.raises(ZeroDivisionError):
        fit(new_trainer(), tmp_path, callbacks=[Counter(), Stop(5)])
    counter = Counter()
    fit(new_trainer(), tmp_path, callbacks=[counter])
    assert counter.count == 9
    with pytest.warns(UserWarning, match="has the state of a callback Counter, which this run lacks"):
        fit(new_trainer(), tmp_path)


def test_frozen_layers_come_back_frozen(tmp_path):
    class Freeze(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            self.trainer.model[0].weight.requires_grad = False

    def run(folder, *more):
        trainer = new_trainer(optim.SGD)
        fit(trainer, folder, callbacks=[Freeze(), *more])
        return trainer

    expected = run(tmp_path / "whole")
    with pytest.raises(ZeroDivisionError):
        run(tmp_path / "crashed", Stop(4))
    resumed = run(tmp_path / "crashed")
    assert state_of(resumed) == state_of(expected)
    assert not resumed.model[0].weight.requires_grad


def test_a_second_fit_has_checkpoints_of_its_own(tmp_path):
    def run(second_fit):
        trainer = new_trainer()
        for folder, more in (("a", ()), ("b", second_fit)):
            fit(trainer, tmp_path / folder, callbacks=more)
        return trainer

    with pytest.raises(ZeroDivisionError):
        run([Stop(4)])
    resumed = run([])
    assert resumed.history.epochs == 6
    whole = new_trainer()
    whole.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y))
    whole.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y))
    assert_equal_weights(resumed.model, whole.model)
    with pytest.raises(ValueError, match="the first epoch of its run is different: 3 there, 0 here"):
        new_trainer().fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y), resume=tmp_path / "b")


# --- files


def test_names_number_and_best(tmp_path):
    trainer = new_trainer()
    checkpoint = rv.Checkpoint(tmp_path, every=2, keep=3, monitor="val_accuracy")
    seen = []

    class Look(rv.Checkpoint):  # after the other
        def on_epoch_end(self, epoch, logs):
            seen.append(len(checkpoints.listed(tmp_path)))

    trainer.fit(X, Y, epochs=7, validation_data=(X, Y), callbacks=[Look(tmp_path / "look"), checkpoint])
    trainer.fit(X, Y, epochs=1, callbacks=[])
    names = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert names == [
        "best.safetensors",
        *(f"checkpoint-{epoch:05d}-000000.safetensors" for epoch in (4, 6, 7)),
    ]
    assert checkpoint.latest.name == names[-1]
    assert seen == [0, 0, 1, 1, 2, 2, 3]
    best = rv.load(tmp_path / "best.safetensors")
    accuracy = (best.eval()(X).numpy(force=True).argmax(1) == Y).mean()
    assert accuracy == max(trainer.history["val_accuracy"][:7])
    assert rv.serialization.info(best).link == "softmax"


def test_what_a_checkpoint_is_for_other_readers(tmp_path):
    trainer = fit(new_trainer(), tmp_path)
    path = checkpoints.listed(tmp_path)[0]
    state = rv.load(path)
    assert state["history"] == trainer.history.to_dict()
    assert tuple(state) == PARTS
    assert_equal_weights(rv.load(path, into=classifier(nn.Dropout(0.2), seed=5)), trainer.model)
    from safetensors.numpy import load_file

    arrays = load_file(path)
    assert np.array_equal(arrays["model.0.weight"], weights_of(trainer.model)[0])


def damage(path, how):
    content = bytearray(path.read_bytes())
    if how == "empty":
        content = b""
    elif how == "cut off":
        content = content[:-100]
    elif how == "a bit of an array":
        content[-3] ^= 1
    elif how == "a digit of a number":
        (header,) = struct.unpack_from("<Q", content)
        place = content.index(b"updates", 8)
        place += content[place:].index(b",") + 1
        assert place < header
        content[place] = ord("7") if content[place] != ord("7") else ord("8")
    path.write_bytes(content)


@pytest.mark.parametrize("how", ["empty", "cut off", "a bit of an array", "a digit of a number"])
def test_a_damaged_checkpoint_is_passed_over_and_said_so(tmp_path, how):
    expected = state_of(fit(new_trainer(), tmp_path / "whole"))
    folder = tmp_path / "crashed"
    with pytest.raises(ZeroDivisionError):
        fit(new_trainer(), folder, callbacks=[Stop(5)])
    newest, older = checkpoints.listed(folder)
    damage(newest, how)
    with pytest.raises(ValueError, match=r"\[load\] .*damaged"):
        read_checkpoint(newest)
    with pytest.warns(UserWarning, match=rf"falls back to the older checkpoint '.*{older.name}': .*damaged"):
        trainer = fit(new_trainer(), folder)
    assert trainer.resumed_from == older
    assert state_of(trainer) == expected

    for path in checkpoints.listed(folder):
        damage(path, how)
    with pytest.raises(ValueError, match=r"no checkpoint in .* is whole: .*damaged.*damaged"):
        fit(new_trainer(), folder)


def test_a_flipped_bit_anywhere_is_found(tmp_path, rng):
    fit(new_trainer(), tmp_path)
    path = checkpoints.listed(tmp_path)[0]
    content, state = path.read_bytes(), rv.serialization.tree.encode(read_checkpoint(path), {})
    unnoticed = 0
    for position in rng.integers(0, len(content), 400):
        damaged = bytearray(content)
        damaged[position] ^= 1 << int(rng.integers(0, 8))
        path.write_bytes(damaged)
        try:
            again = read_checkpoint(path)
        except ValueError:
            continue
        unnoticed += 1  # the version of the library, for instance
        assert rv.serialization.tree.encode(again, {}) == state
    assert unnoticed < 10


def test_a_checkpoint_that_lacks_something(tmp_path):
    fit(new_trainer(), tmp_path)
    path = checkpoints.listed(tmp_path)[0]
    state = read_checkpoint(path)
    del state["random"], state["step"]
    write_checkpoint(path, state)
    with pytest.raises(ValueError, match=r"cannot resume from '.*': it lacks step, random"):
        fit(new_trainer(), tmp_path)


def test_no_checkpoint_holds_anything_that_could_run(tmp_path):
    fit(new_trainer(), tmp_path)
    content = checkpoints.listed(tmp_path)[0].read_bytes()
    (header,) = struct.unpack_from("<Q", content)
    head = json.loads(content[8 : 8 + header])
    assert json.loads(head["__metadata__"]["ranvier"])["content"] == "checkpoint"
    assert b"pickle" not in content
    with pytest.raises(TypeError, match="got function at 'hook'"):
        write_checkpoint(tmp_path / "x.safetensors", {"hook": damage})


def test_parts_of_killed_writers_are_removed_and_other_files_left(tmp_path):
    tmp_path.joinpath(".checkpoint-00001-000000.safetensors.123.tmp").write_bytes(b"part")
    tmp_path.joinpath(".best.safetensors.123.tmp").write_bytes(b"part")
    tmp_path.joinpath("notes.tmp").write_text("mine")
    fit(new_trainer(), tmp_path)
    assert sorted(path.name for path in tmp_path.glob("*tmp")) == ["notes.tmp"]
    assert list(tmp_path.glob(".*")) == []


def test_a_full_disk_leaves_the_older_checkpoints(tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")

    fill = rv.LambdaCallback(on_epoch_end=lambda *_: monkeypatch.setattr("os.fsync", full))
    with pytest.raises(OSError, match="No space left"):
        fit(new_trainer(), tmp_path, callbacks=[fill])
    monkeypatch.undo()
    names = [path.name for path in tmp_path.iterdir()]
    assert sorted(names) == ["checkpoint-00000-000002.safetensors", "checkpoint-00000-000003.safetensors"]
    assert state_of(fit(new_trainer(), tmp_path)) == state_of(fit(new_trainer(), tmp_path / "whole"))


# --- refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": lambda: nn.Linear(3, 2)}, "the model of its run is different: layer: Sequential there, "),
        ({"make": optim.SGD}, "the optimizer of its run is different: Adam there, SGD here"),
        ({"accumulate": 2}, "the settings of its run are different: accumulate: 1 there, 2 here"),
        ({"l2": 0.1}, "the settings of its run are different: l2: 0.0 there, 0.1 here"),
        ({"x": X[:39], "y": Y[:39]}, "the data of its run is different: samples: 40 there, 39 here"),
        ({"x": X + 1}, "the data of its run is different: x: "),
        ({"y": 1 - Y}, "the data of its run is different: y: "),
        ({"batch_size": 8}, "the data of its run is different: batch_size: 16 there, 8 here"),
        ({"shuffle": False}, "the data of its run is different: shuffle: True there, False here"),
        ({"validation_data": None}, "the validation data of its run is different: "),
    ],
)
def test_another_run_is_refused_before_anything_changes(tmp_path, change, message):
    fit(new_trainer(), tmp_path, epochs=1)
    settings = {key: change.pop(key) for key in ("make", "accumulate", "l2") if key in change}
    if "model" in change:
        model = change.pop("model")()
        trainer = trainer_of(model, metrics=["accuracy"])
    else:
        trainer = new_trainer(**settings)
    before = weights_of(trainer.model)
    with pytest.raises(ValueError, match=rf"\[Trainer\.fit\] cannot resume from '.*': {message}"):
        fit(trainer, tmp_path, **change)
    assert all(np.array_equal(p, q) for p, q in zip(before, weights_of(trainer.model), strict=True))
    assert trainer.history.epochs == 0


def test_a_folder_of_another_run_is_not_mixed_with(tmp_path):
    fit(new_trainer(), tmp_path, epochs=2)
    with pytest.raises(ValueError, match=r"\[Checkpoint\] '.*' holds checkpoints of another run, the newest"):
        new_trainer().fit(X, Y, epochs=1, callbacks=[rv.Checkpoint(tmp_path)])
    new_trainer().fit(X, Y, epochs=1, callbacks=[rv.Checkpoint(tmp_path, overwrite=True)])
    assert [path.name for path in checkpoints.listed(tmp_path)] == ["checkpoint-00001-000000.safetensors"]


def test_an_older_checkpoint_by_name_takes_the_run_back(tmp_path):
    expected = state_of(fit(new_trainer(), tmp_path / "whole"))
    folder = tmp_path / "run"
    fit(new_trainer(), folder)
    older = checkpoints.listed(folder)[1]
    trainer = new_trainer()
    checkpoint = rv.Checkpoint(folder, every_batches=1)
    trainer.fit(X, Y, epochs=3, batch_size=16, validation_data=(X, Y), callbacks=[checkpoint], resume=older)
    assert trainer.resumed_from == older
    assert state_of(trainer) == expected


def test_other_mistakes(tmp_path):
    with pytest.raises(FileNotFoundError):
        new_trainer().fit(X, Y, epochs=1, resume=tmp_path / "nowhere")
    empty = new_trainer()
    empty.fit(X, Y, epochs=1, resume=tmp_path)  # nothing yet: a new run
    assert empty.resumed_from is None
    path = tmp_path / "model.safetensors"
    rv.save(empty.model, path)
    with pytest.raises(ValueError, match=r"is no checkpoint; expected a file written by rv\.Checkpoint"):
        new_trainer().fit(X, Y, epochs=1, resume=path)
    with pytest.raises(TypeError, match="checkpoints need a loader with state_dict"):
        new_trainer().fit([(X, Y)], epochs=1, callbacks=[rv.Checkpoint(tmp_path)])
    with pytest.raises(RuntimeError, match="no fit is running"):
        empty.checkpoint()
    for arguments, message in (
        ({"every": 0}, "got every 0"),
        ({"every_batches": 0}, "got every_batches 0"),
        ({"every_seconds": 0}, "got every_seconds 0"),
        ({"keep": 0}, "got keep 0"),
        ({"mode": "up"}, "got mode 'up'"),
    ):
        with pytest.raises(ValueError, match=rf"\[Checkpoint\] {message}"):
            rv.Checkpoint(tmp_path, **arguments)


def test_by_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    tick = rv.LambdaCallback(on_batch_begin=lambda batch: now.__setitem__(0, now[0] + 1))
    checkpoint = rv.Checkpoint(tmp_path, every=10, every_seconds=2.5, keep=9)
    new_trainer().fit(X, Y, epochs=2, batch_size=10, callbacks=[tick, checkpoint])
    names = [path.stem.removeprefix("checkpoint-") for path in checkpoints.listed(tmp_path)]
    assert names == ["00002-000000", "00001-000002", "00000-000003"]
