"""Files of checkpoints: kept and removed, damaged, lacking something, of another run.

`fit` trains with a checkpoint after each batch and resumes from the folder (support/training.py).
"""

import json
import os
import signal
import struct

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.serialization.files import read_checkpoint, write_checkpoint
from ranvier.train import checkpoints
from ranvier.train.run import PARTS
from support.refused import refusals, refused
from support.training import (
    Stop,
    X,
    Y,
    assert_equal_weights,
    classifier,
    fit,
    new_trainer,
    state_of,
    trainer_of,
    weights_of,
)


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
    """Changes a file in this way."""
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


@pytest.mark.slow
def test_a_flipped_bit_anywhere_is_found(tmp_path, rng):
    fit(new_trainer(), tmp_path)
    path = checkpoints.listed(tmp_path)[0]
    content, state = path.read_bytes(), rv.serialization.files.encode(read_checkpoint(path), {})
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
        assert rv.serialization.files.encode(again, {}) == state
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


def test_two_runs_at_once_are_refused_one_folder(tmp_path):
    """Each would remove the other's files; the lock ends with the run, or with its process."""

    class Second(rv.Callback):
        def on_epoch_end(self, epoch, logs):
            for callback in (rv.Checkpoint(tmp_path), rv.Checkpoint(tmp_path, overwrite=True)):
                with pytest.raises(BlockingIOError, match=r"\[Checkpoint\] another run is writing to '.*'"):
                    new_trainer().fit(X, Y, epochs=1, callbacks=[callback])

    fit(new_trainer(), tmp_path, epochs=2, callbacks=[Second()])
    assert len(checkpoints.listed(tmp_path)) == 2
    fit(new_trainer(), tmp_path, epochs=3, resume=tmp_path)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        checkpoints.lock(tmp_path)
        os.write(writer, b".")
        signal.pause()
    os.read(reader, 1)
    with pytest.raises(BlockingIOError):
        fit(new_trainer(), tmp_path, epochs=4, resume=tmp_path)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    assert fit(new_trainer(), tmp_path, epochs=4, resume=tmp_path).history.epochs == 4


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
    empty.save(path)
    refused(ValueError, "it lacks run, epoch", new_trainer().fit, X, Y, epochs=1, resume=path)
    with pytest.raises(TypeError, match="checkpoints need a loader with state_dict"):
        new_trainer().fit([(X, Y)], epochs=1, callbacks=[rv.Checkpoint(tmp_path)])
    refused(RuntimeError, "no fit is running", empty.checkpoint)
    wrong = refusals(rv.Checkpoint)
    for arguments, message in (
        ({"every": 0}, "got every 0"),
        ({"every_batches": 0}, "got every_batches 0"),
        ({"every_seconds": 0}, "got every_seconds 0"),
        ({"keep": 0}, "got keep 0"),
        ({"mode": "up"}, "got mode 'up'"),
    ):
        wrong(ValueError, f"{message}", tmp_path, **arguments)
    for folder in (path, path / "run"):
        wrong(ValueError, f"got '{folder}', but '{path}' is a file; expected a folder", folder)


def test_by_time(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    tick = rv.LambdaCallback(on_batch_begin=lambda batch: now.__setitem__(0, now[0] + 1))
    checkpoint = rv.Checkpoint(tmp_path, every=10, every_seconds=2.5, keep=9)
    new_trainer().fit(X, Y, epochs=2, batch_size=10, callbacks=[tick, checkpoint])
    names = [path.stem.removeprefix("checkpoint-") for path in checkpoints.listed(tmp_path)]
    assert names == ["00002-000000", "00001-000002", "00000-000003"]


def test_the_best_of_a_second_run_is_its_own(tmp_path):
    trainer = new_trainer()
    checkpoint = rv.Checkpoint(tmp_path, monitor="loss")
    trainer.fit(X, Y, epochs=3, callbacks=[checkpoint])
    before = (tmp_path / "best.safetensors").read_bytes()
    with rv.no_grad():
        for p in trainer.model.parameters():
            p.mul_(-5)
    trainer.fit(X, Y, epochs=1, callbacks=[checkpoint])
    assert trainer.history["loss"][-1] > max(trainer.history["loss"][:3])
    assert (tmp_path / "best.safetensors").read_bytes() != before
