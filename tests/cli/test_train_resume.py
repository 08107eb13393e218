"""`ranvier train --checkpoint DIR --resume`: killed, interrupted and resumed in separate processes.

The model at the end must have the bytes of the model of a run that nobody stopped (`whole`).
"""

import itertools
import os
import shlex
import signal
import subprocess
import sys

import pytest
from ranvier import cli
from ranvier.train import checkpoints

ARGUMENTS = ["train", "digits", "--model", "mlp", "--epochs", "5", "--batch-size", "64"]


def command(folder, *more):
    """The arguments of a run with its model, figures and checkpoints in this folder."""
    run = [*ARGUMENTS, "--out", str(folder / "model.safetensors"), "--json", str(folder / "run.json")]
    return [*run, "--checkpoint", str(folder / "state"), *more]


def start(arguments, threads=1):
    """Start `ranvier` in its own process."""
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "ranvier", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},
    )


def stop_after(process, epoch, number):
    """Sends a signal when the line of an epoch is printed; returns what was printed and the errors."""
    printed = ""
    for line in process.stdout:
        printed += line
        if line.startswith(f"epoch {epoch}"):
            break
    process.send_signal(number)
    rest, error = process.communicate(timeout=60)
    return printed + rest, error


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The model of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("whole")
    assert cli.main(command(folder)) == 0
    return (folder / "model.safetensors").read_bytes()


def test_killed_and_resumed(tmp_path, whole, works):
    """Killed twice; then the newest checkpoint is damaged, too, which is said on stderr."""
    for arguments, epoch, threads in (
        (command(tmp_path), 1, 1),
        (command(tmp_path, "--resume"), 4, 2),
    ):
        process = start(arguments, threads)
        stop_after(process, epoch, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (tmp_path / "model.safetensors").exists()
    newest, older, *_ = checkpoints.listed(tmp_path / "state")
    newest.write_bytes(newest.read_bytes()[:-1])
    printed, error = start(command(tmp_path, "--resume")).communicate(timeout=60)
    assert error.startswith(f"ranvier: [Trainer.fit] falls back to the older checkpoint '{older}': ")
    assert error.count("\n") == 1
    assert f"continues {older}" in printed
    assert "epoch 5/5" in printed
    assert "epoch 2/5" not in printed
    assert (tmp_path / "model.safetensors").read_bytes() == whole
    printed, error = works(*command(tmp_path, "--resume"))
    assert ("continues " in printed, error) == (True, "")
    assert (tmp_path / "model.safetensors").read_bytes() == whole


def test_interrupted_and_resumed(tmp_path, whole):
    process = start(command(tmp_path, "--resume"))  # nothing to resume yet: a new run
    _, error = stop_after(process, 2, signal.SIGINT)
    assert process.returncode == 130
    newest = checkpoints.listed(tmp_path / "state")[0]
    said = f"; the history is kept\n\nranvier: interrupted, '{newest}' is kept: continue with --resume\n"
    assert error.endswith(said)
    assert cli.main(command(tmp_path, "--resume")) == 0
    assert (tmp_path / "model.safetensors").read_bytes() == whole


def test_interrupted_without_checkpoints(tmp_path, capsys, works):
    """The command for continuing continues, to the bits of a run that was not stopped."""
    table = tmp_path / "values.csv"
    rows = [f"{a},{b},{a * 3.5 - b * b + 0.25}" for a, b in itertools.product(range(20), range(20))]
    table.write_text("\n".join(["a,b,y", *rows]) + "\n")

    def train(out):
        return ["train", str(table), "--epochs", "60", "--batch-size", "8", "--out", str(tmp_path / out)]

    for _ in range(2):  # the second run has its own folder
        process = start(train("stopped"))
        _, error = stop_after(process, 2, signal.SIGINT)
        assert process.returncode == 130
    kept = tmp_path / "stopped" / "values-interrupted-2"
    assert kept.with_name("values-interrupted").is_dir()
    assert not (tmp_path / "stopped" / "values.safetensors").exists()
    said, words = error.splitlines()[-1].split("; continue with: ranvier ")
    assert said == f"ranvier: interrupted, the model so far is '{kept}/values.safetensors'"
    assert words.endswith(f" --checkpoint {kept} --resume")
    assert "Traceback" not in error

    capsys.readouterr()
    predicted = works("predict", kept / "values.safetensors", table, "--label", "y").out
    values = list(map(float, predicted.split()[1::2]))  # of "0: 1.25", "1: 3" ...
    assert -130 < sum(values) / len(values) < -50  # in the table's units: their mean is -90

    printed, error = works(*shlex.split(words))
    assert ("continues " in printed, error) == (True, "")
    assert cli.main(train("whole")) == 0
    models = [(tmp_path / name / "values.safetensors").read_bytes() for name in ("stopped", "whole")]
    assert models[0] == models[1]


def test_nothing_is_said_of_resuming_where_nothing_was_written(tmp_path, monkeypatch, refused):
    import ranvier as rv

    def failing(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(rv.train.checkpoints, "write_state", failing)
    said = refused("train", "iris", "--epochs", 1, "--checkpoint", tmp_path / "state")
    assert said == "[Errno 28] No space left on device"


def test_mistakes(tmp_path, capsys, works):
    run = [*ARGUMENTS[:-4], "--epochs", "1", "--batch-size", "256", "--out", str(tmp_path / "out")]
    folder = ["--checkpoint", str(tmp_path / "state")]
    works(*run, *folder)
    file = tmp_path / "file"
    file.write_text("")
    for arguments, message in (
        (["--resume"], "--resume needs --checkpoint DIR"),
        (folder, "holds checkpoints of another run, the newest checkpoint-00001-000000.safetensors"),
        ([*folder, "--resume", "--batch-size", "64"], "the data of its run is different: batch_size: 256"),
        ([*folder, "--resume", "--optimizer", "sgd"], "the optimizer of its run is different: Adam there"),
        ([*folder, "--resume", "--model", "cnn"], "the model of its run is different"),
        ([*folder, "--resume", "--seed", "1"], "the data of its run is different: x: "),
        ([*folder, "--resume", "--lr", "0.5"], "--resume needs the settings of the run: it has --lr 0.006"),
        (["--checkpoint", str(file)], f"--checkpoint {file}: '{file}' is a file; expected a folder"),
        (["--checkpoint", str(file / "state")], f"'{file}' is a file; expected a folder"),
    ):
        assert cli.main([*run, *arguments]) == 1, arguments
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("ranvier: error: ")
        assert message in line
