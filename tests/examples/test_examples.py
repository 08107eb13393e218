"""Every example runs in its own process, prints a result, leaves a picture and nothing else."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.image as matplotlib_image
import pytest

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(FOLDER.glob("[0-9][0-9]_*.py"))
SECONDS = 60


def run(example: Path, out: Path, here: Path) -> subprocess.CompletedProcess[str]:
    strict = {"MPLBACKEND": "Agg", "PYTHONWARNINGS": "error::RuntimeWarning,error::UserWarning"}
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **strict}
    paths = [os.path.abspath(path) for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    if paths:
        environment["PYTHONPATH"] = os.pathsep.join(paths)  # the example runs in another folder
    return subprocess.run(
        [sys.executable, str(example), "--out", str(out)],
        cwd=here,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@pytest.mark.timeout(SECONDS + 10)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_runs(example: Path, tmp_path: Path) -> None:
    here, out = tmp_path / "here", tmp_path / "made" / "pictures"
    here.mkdir()
    done = run(example, out, here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d", done.stdout.splitlines()[-1]), "the last line is the result: a figure"
    assert list(here.iterdir()) == [], "an example writes to --out only"
    picture = out / f"{example.stem}.png"
    pixels = matplotlib_image.imread(picture)
    height, width = pixels.shape[:2]
    assert 200 <= height <= 2400
    assert 300 <= width <= 2400
    assert pixels[..., :3].std() > 0.02, "something is drawn"


def test_the_readme_lists_every_example_once_in_order() -> None:
    text = (FOLDER / "README.md").read_text()
    listed = re.findall(r"^\| \[`(\d\d_\w+\.py)`\]\((\d\d_\w+\.py)\) \|", text, re.MULTILINE)
    assert all(name == target for name, target in listed)
    assert [name for name, _ in listed] == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_is_short_and_begins_with_what_it_shows(example: Path) -> None:
    text = example.read_text()
    assert len(text.splitlines()) <= 130
    said = ast.get_docstring(ast.parse(text))
    assert said, "an example begins with a docstring"
    assert len(said.splitlines()[0]) > 20
    imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
    allowed = sys.stdlib_module_names | {"numpy", "ranvier", "matplotlib"}
    assert imported <= allowed
