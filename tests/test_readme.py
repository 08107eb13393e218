"""README.md: its Python code runs as it is printed."""

import re
import runpy
from pathlib import Path

PAGE = Path(__file__).parent.parent / "README.md"


def test_the_code_runs(tmp_path, monkeypatch):
    program = tmp_path / "program.py"
    program.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)))
    monkeypatch.chdir(tmp_path)
    names = runpy.run_path(str(program))
    assert (tmp_path / "digits.safetensors").exists()
    assert (names["labels"] == names["y"][1500:]).mean() > 0.8  # chance: 0.1
    assert names["g"] == 7.0
