"""Every example runs in its own process, prints a result, leaves a picture and nothing else."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib.image as matplotlib_image
import pytest

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = Path(__file__).parents[1] / "support" / "run_scripts.py"
PACKAGES = {  # what an extra allows to import
    "onnx": ["onnx"],
    "sklearn": ["sklearn", "scipy", "joblib"],
    "dask": ["dask", "distributed"],
}
EXAMPLES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))


def extra_packages(example: Path) -> list[str]:
    """The packages of the extras in the example's line of the README: `pip install '.[plot,onnx]'`."""
    (line,) = re.findall(rf"^\| \[`{example.name}`\].*$", (FOLDER / "README.md").read_text(), re.MULTILINE)
    extras = re.search(r"pip install '\.\[plot,([\w,]+)\]'", line)
    return [package for extra in extras[1].split(",") for package in PACKAGES[extra]] if extras else []


@pytest.fixture(scope="module")
def scripts() -> Iterator[subprocess.Popen[str]]:
    """A process that runs each example in a fork: to load matplotlib takes as long as a short example."""
    strict = {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "error::RuntimeWarning,error::UserWarning"}
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **strict}
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    process = subprocess.Popen([sys.executable, str(SCRIPTS)], env=environment, **pipes)
    yield process
    process.kill()
    process.communicate()


@pytest.mark.timeout(70)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_runs(example: Path, tmp_path: Path, scripts: subprocess.Popen[str]) -> None:
    for package in extra_packages(example):
        pytest.importorskip(package, reason=f"{package} is not installed")
    here, out, printed = tmp_path / "here", tmp_path / "made" / "pictures", tmp_path / "printed"
    here.mkdir()
    assert scripts.stdin
    assert scripts.stdout
    print(example, out, here, printed, sep="\t", file=scripts.stdin, flush=True)
    for reply in scripts.stdout:  # the first may be of an example that ran out of time
        script, code = reply.rstrip("\n").split("\t")
        if script == str(example):
            break
    assert code == "0", printed.read_text()
    assert re.search(r"\d", printed.read_text().splitlines()[-1]), "the last line is the result: a figure"
    assert list(here.iterdir()) == [], "an example writes to --out only"
    picture = out / f"{example.stem}.png"
    pixels = matplotlib_image.imread(picture)
    height, width = pixels.shape[:2]
    assert 200 <= height <= 2400
    assert 300 <= width <= 2400
    assert pixels[..., :3].std() > 0.02, "something is drawn"


@pytest.mark.timeout(200)
def test_the_embedding_service_runs_without_pytorch() -> None:
    for package in ("transformers", "tokenizers"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    command = [sys.executable, "-m", "ranvier.torch", str(FOLDER / "embedding_service.py")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "runs eagerly" not in done.stderr
    assert done.stdout.startswith("likeness to the first: [1.0, ")


def test_the_readme_lists_every_example_once_in_order() -> None:
    text = (FOLDER / "README.md").read_text()
    listed = re.findall(r"^\| \[`(\d\d_\w+\.py)`\]\((\d\d_\w+\.py)\) \|", text, re.MULTILINE)
    assert all(name == target for name, target in listed)
    assert [name for name, _ in listed] == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_is_short_and_begins_with_what_it_shows(example: Path) -> None:
    text = example.read_text()
    assert len(text.splitlines()) <= (190 if "class CartPole" in text else 130)
    said = ast.get_docstring(ast.parse(text))
    assert said, "an example begins with a docstring"
    assert len(said.splitlines()[0]) > 20
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    allowed = sys.stdlib_module_names | {"numpy", "ranvier", "matplotlib", *extra_packages(example)}
    assert imported <= allowed
