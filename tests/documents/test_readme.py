"""README.md: its Python code runs as it is printed, and its sums are those of the run."""

import hashlib
import re
import runpy
from pathlib import Path

import pytest
import ranvier as rv
from ranvier import cli

PAGE = Path(__file__).parents[2] / "README.md"


def test_the_code_runs(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)))
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(program))
    assert (tmp_path / "digits.safetensors").exists()
    assert (names["labels"] == names["y"][1500:]).mean() > 0.8  # chance: 0.1
    assert names["g"] == 7.0


def test_the_sums_of_the_digits_run(tmp_path):
    level = rv.config.config()["isa"]
    listed = dict(re.findall(r"^\| (\S+) \| `([0-9a-f]{64})` \|$", PAGE.read_text(), re.M))
    if level not in listed:
        pytest.skip(f"README.md lists no sum for {level}")
    assert cli.main(["train", "digits", "--out", str(tmp_path)]) == 0
    assert hashlib.sha256((tmp_path / "digits.safetensors").read_bytes()).hexdigest() == listed[level]
