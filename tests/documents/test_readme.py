"""README.md: its Python code and its command run. docs/reproducibility.md has the sum of what that writes."""

import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import ranvier as rv
from support.bfloat16 import REAL, TILES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "README.md"
SUMS = ROOT / "docs" / "reproducibility.md"


def test_the_code_runs(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)))
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(program))
    assert (tmp_path / "digits.safetensors").exists()
    assert (names["labels"] == names["y"][1500:]).mean() > 0.8  # chance: 0.1
    assert names["loss"].item() < 1.0


def test_it_is_short():
    assert len(PAGE.read_text().split()) <= 750


def test_the_command_and_its_sum(tmp_path):
    command = [sys.executable, "-m", "ranvier", "train", "digits", "--out", str(tmp_path)]
    command += ["--json", str(tmp_path / "r")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stderr
    written = json.loads((tmp_path / "r").read_text())
    epochs = written["configuration"]["epochs"]
    assert written["test_accuracy"] >= 0.98
    assert all(len(values) == epochs for values in written["history"].values())
    assert sum(line.startswith("epoch") for line in result.stdout.splitlines()) == epochs
    assert result.stderr == ""  # no progress bar without a terminal
    assert (tmp_path / "digits.png").exists() == (written["picture"] is not None)
    level = rv.config.config()["isa"]
    listed = dict(re.findall(r"^\| (\S+) \| `([0-9a-f]{64})` \|$", SUMS.read_text(), re.M))
    if level not in listed:
        pytest.skip(f"{SUMS.name} lists no sum for {level}")
    assert hashlib.sha256((tmp_path / "digits.safetensors").read_bytes()).hexdigest() == listed[level]


@pytest.mark.parametrize("kind", sorted({*REAL, *TILES}))
def test_the_sum_with_products_of_bfloat16(tmp_path, kind):
    page = SUMS.read_text()
    (code,) = re.findall(r'^python -c "(.*medium.*)"$', page, re.M)
    code = code.replace("'digits'", f"'digits', '--out', {str(tmp_path)!r}")
    settings = os.environ | {"RANVIER_BFLOAT16": kind}
    subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, timeout=280, check=True)
    name = "AVX512_BF16" if kind == "pairs" else "AMX"
    (listed,) = re.findall(
        rf"^\| x86-64-v4, products of bfloat16 .*{name} \| `([0-9a-f]{{64}})` \|$", page, re.M
    )
    assert hashlib.sha256((tmp_path / "digits.safetensors").read_bytes()).hexdigest() == listed
