"""Each flag of each command has an effect, or is refused.

A command runs without and with a flag: the exit code, what is printed and the files must differ.
"""

import argparse
import hashlib
import re
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import cli
from ranvier.cli import _parser
from support.effects import Exempt

NETWORK = """
from ranvier import nn

def build(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(2, classes, bias=False))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Tables, images, a network and models, in one folder."""
    folder = tmp_path_factory.mktemp("files")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 2)).round(3)
    kinds = np.where(x[:, 0] > 0.8, "up", "down")
    colours = np.array(["red", "blue", "green"])[rng.integers(0, 3, 90)]
    table = ["a,b,colour,kind,other"]
    plain = ["a,b,kind"]
    gaps = ["a,b,kind"]  # each fifth line lacks `a`
    whole = ["a,b,y"]
    for i, (a, b) in enumerate(x):
        table.append(f"{a},{b},{colours[i]},{kinds[i]},{int(a > b)}")
        plain.append(f"{a},{b},{kinds[i]}")
        known = "" if i % 5 == 0 else a
        gaps.append(f"{known},{b},{kinds[i]}")
        whole.append(f"{a},{b},{i % 3}")
    for name, lines in (("table", table), ("plain", plain), ("gaps", gaps), ("whole", whole)):
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / "net.py").write_text(NETWORK)
    rv.manual_seed(0)
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for kind in ("dark", "light"):
        (folder / "images" / kind).mkdir(parents=True)
        for i in range(12):
            pixels = rng.integers(0, 128, (10, 10, 3)) + 127 * (kind == "light")
            image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / kind / f"{i}.png")
    (folder / "broken").mkdir()
    for path in (folder / "images").rglob("*.png"):
        target = folder / "broken" / path.relative_to(folder / "images")
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    (folder / "broken" / "dark" / "0.png").write_bytes(b"no image")
    quick = ["--epochs", "4", "--model", "mlp"]
    for name, more in (("plain", quick), ("own", ["--epochs", "4", "--model", str(folder / "net.py")])):
        out = str(folder / f"{name}.safetensors")
        assert cli.main(["train", str(folder / "plain.csv"), *more, "--out", out]) == 0
    for name, data in (("digits", "digits"), ("pictures", str(folder / "images"))):
        out = str(folder / f"{name}.safetensors")
        assert cli.main(["train", data, "--model", "mlp", "--epochs", "1", "--out", out]) == 0
    return folder


TABLE = "{}/table.csv"
PLAIN = "{}/plain.csv"
GAPS = "{}/gaps.csv"
WHOLE = "{}/whole.csv"
SGD = ["--optimizer", "sgd", "--lr", "0.05"]
# By command and flag: the arguments without it, and the flag's; `{}` is the folder of the files. None: a flag
# without a value.
FLAGS = {
    "train": {
        "--data-dir": ([PLAIN], ["{}"]),
        "--label": ([TABLE], ["other"]),
        "--task": ([WHOLE], ["regression"]),
        "--size": (["{}/images"], ["6x6"]),
        "--grayscale": (["{}/images"], []),
        "--read": ([PLAIN], ["nrows=40"]),
        "--skip-broken": (["{}/broken"], []),
        "--missing": ([GAPS], ["mean"]),
        "--categorical": ([TABLE, "--label", "kind"], ["other"]),
        "--without": ([PLAIN], ["b"]),
        "--limit": ([PLAIN], ["30"]),
        "--model": ([PLAIN], ["{}/net.py"]),
        "--init": ([PLAIN], ["he"]),
        "--epochs": ([PLAIN], ["2"]),
        "--batch-size": ([PLAIN], ["5"]),
        "--lr": ([PLAIN], ["0.5"]),
        "--optimizer": ([PLAIN], ["sgd"]),
        "--momentum": ([PLAIN, *SGD], ["0.1"]),
        "--schedule": ([PLAIN], ["constant"]),
        "--class-weight": ([PLAIN], ["balanced"]),
        "--on-nonfinite": ([PLAIN, *SGD[:2], "--lr", "1e30"], ["ignore"]),
        "--early-stopping": ([PLAIN, "--lr", "0.5", "--epochs", "12"], ["1"]),
        "--seed": ([PLAIN], ["7"]),
        "--threads": Exempt("the same bits at any number; too many are refused: test_flags"),
        "--distributed": Exempt("tests/distributed"),
        "--shards": ([PLAIN], ["4"]),
        "--out": ([PLAIN], ["{}/elsewhere/other.safetensors"]),
        "--checkpoint": ([PLAIN], ["{}/state"]),
        "--resume": ([PLAIN], []),
        "--json": ([PLAIN], ["{}/figures.json"]),
    },
    "evaluate": {
        "--code": (["{}/own.safetensors", PLAIN], ["{}/no-such.py"]),
        "--data-dir": (["{}/digits.safetensors", "digits"], ["{}"]),
        "--label": (["{}/plain.safetensors", "{}/table.csv"], ["kind"]),
        "--task": (["{}/plain.safetensors", WHOLE, "--label", "y"], ["regression"]),
        "--size": (["{}/pictures.safetensors", "{}/images"], ["6x6"]),
        "--grayscale": (["{}/pictures.safetensors", "{}/images"], []),
        "--read": (["{}/plain.safetensors", PLAIN], ["nrows=40"]),
        "--skip-broken": (["{}/pictures.safetensors", "{}/broken"], []),
        "--seed": (["{}/digits.safetensors", "digits"], ["7"]),
        "--json": (["{}/digits.safetensors", "digits"], ["{}/evaluated.json"]),
    },
    "predict": {
        "--code": (["{}/own.safetensors", PLAIN, "--label", "kind"], ["{}/no-such.py"]),
        "--label": (["{}/plain.safetensors", PLAIN], ["b"]),
        "--invert": (["{}/pictures.safetensors", "{}/images/dark/1.png"], []),
        "--top": (["{}/digits.safetensors", "{}/images/dark/1.png"], ["1"]),
        "--csv": (["{}/plain.safetensors", PLAIN, "--label", "kind"], ["{}/p.csv"]),
        "--json": (["{}/plain.safetensors", PLAIN, "--label", "kind"], ["{}/p.json"]),
        "--read": (["{}/plain.safetensors", PLAIN, "--label", "kind"], ["nrows=40"]),
        "--skip-broken": (["{}/pictures.safetensors", "{}/broken/dark"], []),
    },
    "summary": {
        "--code": (["{}/own.safetensors"], ["{}/no-such.py"]),
        "--input-shape": (["{}/plain.safetensors"], ["3"]),
    },
    "export": {
        "--code": (["{}/own.safetensors", "{}/net.c"], ["{}/no-such.py"]),
        "--input-shape": (["{}/plain.safetensors", "{}/net.c"], ["3"]),
        "--int8": (["{}/plain.safetensors", "{}/net.c"], [PLAIN]),
        "--label": (["{}/plain.safetensors", "{}/net.c", "--int8", PLAIN], ["b"]),
        "--read": (["{}/plain.safetensors", "{}/net.c", "--int8", PLAIN], ["nrows=40"]),
        "--skip-broken": (["{}/pictures.safetensors", "{}/net.c", "--int8", "{}/broken"], []),
    },
}
ROWS = []
for _command, _rows in FLAGS.items():
    ROWS += [(_command, _flag) for _flag in _rows]


def test_each_flag_has_a_row():
    (commands,) = [a for a in _parser([])._actions if isinstance(a, argparse._SubParsersAction)]
    for name, parser in commands.choices.items():
        flags = {action.option_strings[-1] for action in parser._actions if action.option_strings}
        assert flags - {"--help"} == set(FLAGS.get(name, {})), name


@pytest.mark.parametrize(("command", "flag"), ROWS)
def test_a_flag(command, flag, files, tmp_path, capsys, monkeypatch):
    row = FLAGS[command][flag]
    if isinstance(row, Exempt):
        pytest.skip(row.why)
    monkeypatch.chdir(tmp_path)
    without, value = row
    without = [text.replace("{}", str(files)) for text in without]
    value = [text.replace("{}", str(files)) for text in value]
    more = []
    if command == "train" and "--epochs" not in (*without, flag):
        more = ["--epochs", "5"]

    def outcome(arguments):
        """All that can be seen of a run of the command, but for times."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            code = cli.main([command, *arguments, *more])
        printed = capsys.readouterr()
        shown = re.sub(r"[0-9.]+ s\b", "", printed.out + printed.err)
        weights = [state(path) for path in tmp_path.rglob("*.safetensors")]
        exported = sorted(files.rglob("net.*"))  # net.c and net.h
        sums = [hashlib.sha256(path.read_bytes()).hexdigest() for path in exported]
        names = sorted(str(path) for path in (*tmp_path.rglob("*"), *files.rglob("*")))
        return code, shown, repr(weights), sums, names

    before = outcome(without)
    after = outcome([*without, flag, *value])
    assert before != after, f"ranvier {command} {flag} has no effect"


def state(path):
    """The parameters of a model file; empty for a file without a model."""
    model = rv.load(path)
    if not hasattr(model, "parameters"):
        return []
    return [p.detach().numpy() for p in model.parameters()]


def test_a_label_among_the_categories_is_refused(files, refused, tmp_path):
    out = ["--out", tmp_path / "m.safetensors"]
    message = refused("train", files / "whole.csv", "--label", "y", "--categorical", "y", *out)
    assert "column 'y' as label and in categories (--label, --categorical)" in message
