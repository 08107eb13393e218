"""`mpirun -n 2 ranvier train ... --distributed`."""

import json
from pathlib import Path

from ranvier.cli import main
from support.ranks import launch

COMMAND = "import sys; from ranvier.cli import main; sys.exit(main())"
TRAIN = ["train", "digits", "--model", "mlp", "--limit", "150", "--epochs", "2", "--distributed"]
TRAIN += ["--schedule", "constant"]


def outputs(folder):
    return [
        "--out",
        str(folder / "out"),
        "--json",
        str(folder / "run.json"),
        "--checkpoint",
        str(folder / "run"),
    ]


def test_train_on_two_ranks(tmp_path, capsys):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    assert main([*TRAIN, *outputs(tmp_path / "one")]) == 0
    alone = capsys.readouterr().out
    done = launch(2, COMMAND, *TRAIN, *outputs(tmp_path / "two"))
    assert done.returncode == 0, done.stderr
    assert "on each of 2 ranks" in done.stdout
    assert done.stdout.count("epoch 2/2") == 1  # rank 0 alone
    tests = [
        next(line for line in text.splitlines() if "test accuracy" in line) for text in (alone, done.stdout)
    ]
    assert tests[0].rpartition(",")[0] == tests[1].rpartition(",")[0]  # all but the seconds
    models = [(tmp_path / name / "out" / "digits.safetensors").read_bytes() for name in ("one", "two")]
    assert models[0] == models[1]
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("one", "two")]
    assert runs[0]["history"]["loss"] == runs[1]["history"]["loss"]
    assert [run["configuration"]["ranks"] for run in runs] == [1, 2]

    # two more epochs on one process
    more = [*TRAIN, "--epochs", "4", "--resume"]
    for name in ("one", "two"):
        assert main([*more, *outputs(tmp_path / name)]) == 0
    models = [(tmp_path / name / "out" / "digits.safetensors").read_bytes() for name in ("one", "two")]
    assert models[0] == models[1]


def test_mistakes(tmp_path):
    arguments = ["train", "digits", "--limit", "100", "--epochs", "1", "--out", str(tmp_path / "out")]
    done = launch(2, COMMAND, *arguments)
    assert done.returncode != 0
    assert "error: 2 processes were started, and each would train and write the same files" in done.stderr
    done = launch(2, COMMAND, *arguments, "--distributed", "--shards", "1")
    assert done.returncode != 0
    assert (
        done.stderr.count("error: [Trainer] got 2 ranks and 1 shards; expected a power of two of ranks") == 1
    )
    assert list(Path(tmp_path).glob("out/*")) == []
    assert main([*arguments, "--shards", "4"]) == 1
