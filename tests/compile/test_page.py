"""The page on compiled steps: its examples run."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "captured_step.md"


def test_the_examples_of_the_page_run(capsys, tmp_path):
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    assert len(blocks) == 6
    names = {}
    for number, block in enumerate(blocks):
        file = tmp_path / f"block_{number}.py"
        file.write_text(block)
        exec(compile(block, str(file), "exec"), names)
    assert names["losses"][-1] < names["losses"][0]
    assert capsys.readouterr().out.startswith("loss ")
    names["step"].explain()
    assert "optimizer_step" in capsys.readouterr().out
