"""`ranvier train`: options, mistakes in one line, Ctrl-C, and the little that it may import for help.

What is printed and written is compared with figures that stand here, and with the model in the file.
"""

import json
import os
import re
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli
from ranvier.cli.arguments import mistakes
from support.mnist_files import write_mnist
from support.python import printed
from support.refused import refused

QUICK = ["train", "digits", "--model", "mlp", "--epochs", "1", "--batch-size", "256"]


def run(*arguments, **more):
    """`ranvier` in its own process."""
    command = [sys.executable, "-m", "ranvier", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, **more)


def test_a_short_run(tmp_path, works):
    out = tmp_path / "run"
    results = tmp_path / "results" / "run.json"
    printed = works(*QUICK, "--out", out, "--json", results, "--threads", "1", "--seed", "7").out
    assert "1257 training, 180 validation and 360 test images; mlp of 17,226 parameters" in printed
    assert ", 1 thread\n" in printed
    assert "epoch 1/1  loss " in printed
    assert all(f"  {name} " in printed for name in ("accuracy", "val_loss", "val_accuracy"))
    assert "test accuracy 0." in printed

    written = json.loads(results.read_text())
    configuration = written["configuration"]
    assert configuration["isa"] in configuration["isas"]
    given = {"dataset": "digits", "data_dir": None, "model": "mlp", "epochs": 1, "batch_size": 256}
    given |= {"lr": 0.006, "optimizer": "adam", "seed": 7}
    assert {name: configuration[name] for name in list(configuration)[:8]} == given
    assert (configuration["threads"], configuration["ranvier"]) == (1, rv.__version__)
    assert {"label", "missing", "size"} <= set(configuration)
    assert list(written["history"]) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert all(len(values) == 1 for values in written["history"].values())
    assert 0 < written["test_accuracy"] < 1
    assert written["test_loss"] > 0
    assert written["seconds"] > 0

    model = rv.load(out / "digits.safetensors")
    about = rv.serialization.info(model)
    assert about.input_shape == (1, 8, 8)
    assert about.class_names == list("0123456789")
    assert written["model"] == str(out / "digits.safetensors")
    if written["picture"] is not None:
        assert (out / "digits.png").read_bytes()[:4] == b"\x89PNG"


def test_the_saved_model_has_the_reported_accuracy(tmp_path, capsys):
    from ranvier.data import datasets, train_test_split

    results = tmp_path / "run.json"
    assert cli.main([*QUICK, "--out", str(tmp_path), "--json", str(results)]) == 0
    x, y = datasets.load_digits()
    _, x, _, y = train_test_split(x, y, test_size=360, random_state=0, stratify=y)
    labels = rv.load(tmp_path / "digits.safetensors")(x).numpy(force=True).argmax(1)
    assert (labels == y).mean() == json.loads(results.read_text())["test_accuracy"]
    printed = capsys.readouterr().out
    assert "confusion matrix: rows are true classes" in printed
    assert "weighted avg" in printed
    assert len(re.findall(r"^ *\d+ +\d +\d +0\.\d{4}(  wrong)?$", printed, re.MULTILINE)) == 10


def test_training_by_full_batches_of_a_part(tmp_path, works):
    results = tmp_path / "run.json"
    settings = ["--limit", "400", "--batch-size", "full", "--optimizer", "sgd", "--momentum", "0"]
    settings += ["--schedule", "constant", "--lr", "0.1", "--init", "he", "--class-weight", "balanced"]
    arguments = ["train", "digits", "--model", "mlp", "--epochs", "120", *settings, "--json", str(results)]
    printed = works(*arguments, "--out", tmp_path).out
    assert "400 training, 100 validation and 360 test images" in printed
    assert "sgd, lr 0.1, batch 400" in printed
    epochs = [int(line.split("/")[0].split()[1]) for line in printed.splitlines() if line.startswith("epoch")]
    assert epochs == [1, *range(2, 121, 2)]  # a line for every second one
    figures = json.loads(results.read_text())
    assert figures["configuration"]["momentum"] == 0
    assert figures["test_accuracy"] > 0.85
    losses = figures["history"]["loss"]
    assert sum(later < sooner for sooner, later in pairwise(losses)) == 119


def test_initial_weights():
    from ranvier.cli import networks

    for name, deviation in (("he", (2 / 784) ** 0.5), ("xavier", (2 / (784 + 128)) ** 0.5)):
        model = networks.network("mlp", (1, 28, 28), 10)
        networks.initialize(model, name)
        assert model[1].weight.numpy(force=True).std() == pytest.approx(deviation, rel=0.02)
        assert not model[1].bias.numpy(force=True).any()


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adam", "adamw"])
@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_models_and_optimizers_on_mnist_files(tmp_path, model, optimizer):
    write_mnist(tmp_path, n_train=240, n_test=20)
    arguments = ["train", "mnist", "--data-dir", str(tmp_path), "--epochs", "1", "--batch-size", "64"]
    out = tmp_path / "own.safetensors"
    assert cli.main([*arguments, "--model", model, "--optimizer", optimizer, "--out", str(out)]) == 0
    assert rv.serialization.info(out).input_shape == (1, 28, 28)


def test_without_the_plot_extra_it_says_so_first(tmp_path, monkeypatch, works):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    lines = works(*QUICK, "--out", tmp_path).out.splitlines()
    assert lines[0].endswith("[ranvier train] pictures need matplotlib: pip install 'ranvier[plot]'")
    assert (tmp_path / "digits.safetensors").exists()
    assert not (tmp_path / "digits.png").exists()


def test_config(works):
    printed = works("config").out
    assert rv.__version__ in printed
    assert "thread" in printed.lower()


def test_version(capsys):
    refused(SystemExit, "0", cli.main, ["--version"])
    assert capsys.readouterr().out == f"ranvier {rv.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: command"),
        (["train"], "the following arguments are required: DATA"),
        (["train", "digits", "--size", "8"], "argument --size: '8' is not a size such as 64x64"),
        (["train", "digits", "--epochs", "0"], "argument --epochs: 0 is not at least 1"),
        (["train", "digits", "--epochs", "many"], "argument --epochs: invalid whole number value: 'many'"),
        (["train", "digits", "--batch-size", "-4"], "argument --batch-size: -4 is not at least 1"),
        (["train", "digits", "--batch-size", "all"], "invalid whole number value: 'all'"),
        (["train", "digits", "--momentum", "1"], "argument --momentum: 1 is not below 1"),
        (["train", "digits", "--limit", "0"], "argument --limit: 0 is not at least 1"),
        (["train", "digits", "--lr", "nan"], "argument --lr: nan is not above 0"),
        (["train", "digits", "--lr", "0"], "argument --lr: 0 is not above 0"),
        (["train", "digits", "--lr", "inf"], "argument --lr: inf is not finite"),
        (["train", "digits", "--epochs", str(10**20)], f"--epochs: {10**20} is not at most 2147483647"),
        (["train", "digits", "--seed", str(2**63)], f"--seed: {2**63} is not at most 9223372036854775807"),
        (["train", "iris", "--out", ""], "argument --out: '' is not a path"),
        (["train", "iris", "--checkpoint", ""], "argument --checkpoint: '' is not a path"),
        (["train", "iris", "--json", ""], "argument --json: '' is not a path"),
        (["train", ""], "argument DATA: '' is not a path"),  # nor the current folder
        (["summary", ""], "argument MODEL: '' is not a path"),
        (["evaluate", "m.safetensors", ""], "argument DATA: '' is not a path"),
        (["predict", "m.safetensors", ""], "argument FILE: '' is not a path"),
        (["export", "m.safetensors", ""], "argument FILE: '' is not a path"),
        (["train", "digits", "--lr", "x"], "argument --lr: invalid number value: 'x'"),
        (["train", "digits", "--threads", "0"], "argument --threads: 0 is not at least 1"),
        (["train", "digits", "--seed", "-1"], "argument --seed: -1 is not at least 0"),
        (["train", "digits", "--optimizer", "magic"], "invalid choice: 'magic'"),
    ],
)
def test_wrong_arguments(arguments, message, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_mistakes_are_one_line(tmp_path, capsys):
    file = tmp_path / "file"
    locked = tmp_path / "locked"
    file.write_text("")
    locked.mkdir()
    (tmp_path / "folder.safetensors").mkdir()
    mnist = ["train", "mnist", "--epochs", "1", "--out", str(tmp_path / "run"), "--data-dir"]
    cases = [
        ([*mnist, str(tmp_path / "nowhere")], "no folder"),
        ([*mnist, str(locked)], "lacks train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images"),
        ([*QUICK, "--limit", "1258"], "--limit 1258: there are 1257 training images"),
        ([*QUICK, "--json", str(locked)], "is a folder; expected a file"),
        ([*QUICK, "--data-dir", str(tmp_path)], "--data-dir is for mnist and fashion_mnist, not for digits"),
        (["train", "letters"], "no data set or file 'letters'; expected digits, "),
        ([*QUICK[:2], "--model", "rnn"], "no network 'rnn': expected cnn, mlp or a Python file"),
        ([*QUICK[:2], "--model", "cnn.py"], "no network 'cnn.py': expected cnn, mlp or a Python file"),
        (["train", "iris", "--model", "cnn"], "a sample is 4; try --model mlp"),
        ([*QUICK, "--out", str(file / "run")], "cannot make folder"),
        ([*QUICK, "--out", str(tmp_path / "folder.safetensors")], "is a folder; expected a file"),
        ([*QUICK, "--out", str(tmp_path), "--json", str(locked)], "is a folder; expected a file"),
        ([*QUICK, "--out", str(tmp_path), "--threads", "100000"], "[set_num_threads] got 100000"),
        ([*QUICK, "--out", str(tmp_path), "--lr", "1e30"], "the training diverged"),
        ([*QUICK, "--out", str(tmp_path), "--lr", "1e30"], " in epoch 1, batch "),
    ]
    broken = tmp_path / "broken"
    broken.mkdir()
    write_mnist(broken, n_train=240)
    (broken / "train-labels-idx1-ubyte.gz").write_bytes(b"\x1f\x8b\x08")
    cases.append(([*mnist, str(broken)], "damaged or cut off gzip file"))
    huge = tmp_path / "huge.csv"
    huge.write_text("a,y\n" + "".join(f"{i},{i}.5e38\n" for i in range(20)))
    cases.append((["train", str(huge), "--task", "regression"], "labels reach 1.95e+39; expected"))
    for arguments, message in cases:
        assert cli.main(arguments) == 1
        error = capsys.readouterr().err
        line = error.splitlines()[-1].rpartition("\r")[2]
        assert line.startswith("ranvier: error: ")
        assert message in line
        assert "Traceback" not in error


def test_no_traceback_in_a_process_of_its_own(tmp_path):
    result = run("train", "mnist", "--data-dir", str(tmp_path), "--out", str(tmp_path / "run"))
    assert result.returncode == 1
    assert result.stderr.startswith("ranvier: error: [load_mnist]")
    assert result.stderr.count("\n") == 1


def test_an_interrupt_after_the_training_finds_the_model_saved(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(rv.Trainer, "predict_proba", interrupted)
    out = tmp_path / "m.safetensors"
    assert cli.main([*QUICK, "--out", str(out)]) == 130
    assert capsys.readouterr().err == f"\nranvier: interrupted, '{out}' is saved\n"
    assert rv.serialization.info(out).link == "softmax"


def test_a_closed_pipe_is_no_error(tmp_path):
    command = f"{sys.executable} -m ranvier train digits --model mlp --epochs 3 --out {tmp_path} | head -1"
    result = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120, check=True)
    assert "Traceback" not in result.stderr
    assert "Exception" not in result.stderr
    with pytest.raises(BrokenPipeError), mistakes(OSError):  # wherever it happens
        raise BrokenPipeError


def test_help_imports_neither_numpy_random_nor_extras():
    code = (
        "import sys; from ranvier import cli\n"
        "try: cli.main(['train', '--help'])\n"
        "except SystemExit: pass\n"
        "unwanted = {'matplotlib', 'pooch', 'tqdm', 'safetensors', 'ranvier.train', 'ranvier.data'}\n"
        "loaded = unwanted & set(sys.modules)\n"
        "sys.exit(f'loaded: {loaded}' if loaded else 0)"
    )
    assert "--batch-size" in printed("-c", code)


def test_overfitting_is_said_with_the_best_epoch(tmp_path, works):
    """Noise that a network learns by heart."""
    rng = np.random.default_rng(0)
    names = [f"x{i}" for i in range(20)]
    lines = [",".join([*names, "y"])]
    for _ in range(60):
        values = [f"{v:.3f}" for v in rng.normal(size=20)]
        lines.append(",".join([*values, rng.choice(["a", "b"])]))
    (tmp_path / "noise.csv").write_text("\n".join(lines))
    model = tmp_path / "m.safetensors"
    how = ["train", str(tmp_path / "noise.csv"), "--epochs", "60", "--out", str(model)]
    printed = works(*how, "--early-stopping", "off", "--json", tmp_path / "run.json").out
    losses = json.loads((tmp_path / "run.json").read_text())["history"]["val_loss"]
    best = losses.index(min(losses)) + 1
    assert (len(losses), best < 50) == (60, True)
    assert "overfitting: validation loss rose from" in printed
    assert f"; the best epoch is {best}: --early-stopping 10 keeps its weights, --epochs {best}" in printed
    weights = [model.read_bytes()]
    said = f"stopped after 10 epochs without a better validation loss: the weights are those of epoch {best}"
    off = " (--early-stopping off: of the last epoch)\n"
    for more, hint in (([], off), (["--early-stopping", "10"], "\n")):
        printed = works(*how, *more).out
        assert said + hint in printed
        assert "overfitting:" not in printed
        weights.append(model.read_bytes())
    assert weights[0] != weights[1] == weights[2]


def test_the_best_epoch_of_a_table_predicts_better(tmp_path, works):
    """Few noisy values: the last epoch has learnt the noise. Of 30 samples no epoch is chosen."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 8))
    y = x[:, 0] + 2 * rng.normal(size=300)
    lines = []
    for row in np.column_stack([x, y]):
        lines.append(",".join(f"{v:.3f}" for v in row))
    scores = {}
    for count, more in ((300, []), (300, ["--early-stopping", "off"]), (30, [])):
        table = tmp_path / f"t{count}.csv"
        table.write_text("\n".join([",".join([*"abcdefgh", "y"]), *lines[:count]]))
        printed = works("train", table, "--epochs", "40", *more, "--out", tmp_path / "m.safetensors").out
        assert ("the weights are those of epoch" in printed) == (count == 300 and not more)
        scores[(count, *more)] = float(re.search(r"test r2 (-?[\d.]+)", printed)[1])
    assert scores[300,] > scores[300, "--early-stopping", "off"] + 0.2


def test_names_that_the_encoding_of_stdout_lacks(tmp_path):
    """They are escaped; the files have UTF-8."""
    table = tmp_path / "käse.csv"
    model = tmp_path / "m.safetensors"
    found = tmp_path / "p.csv"
    names = ["Käfer", "Öl", "中"]
    lines = [f"{i / 60},{names[i % 3]}" for i in range(60)]
    table.write_text("größe,art\n" + "\n".join(lines), encoding="utf-8")
    for encoding, *arguments in (
        ("ascii", "train", table, "--epochs", "1", "--out", model),
        ("ascii", "summary", model),
        ("latin-1", "evaluate", model, table),
        ("cp1252", "predict", model, table, "--csv", found),
    ):
        how = {"env": {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}, "encoding": encoding}
        result = run(*map(str, arguments), **how)
        assert (result.returncode, "Traceback" in result.stderr) == (0, False), result.stderr
        assert r"\u4e2d" in result.stdout
    assert found.read_text(encoding="utf-8").startswith("sample,prediction,Käfer,Öl,中\n")
