"""Pages of docs with programs: their Python blocks run, one after the other."""

import re
from pathlib import Path

import pytest
import ranvier as rv

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ["five_minutes", "reproducibility", "threads", "memory", "deployment", "from_pytorch", "from_keras"]


@pytest.mark.parametrize("page", PAGES)
def test_the_programs_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    threads = rv.get_num_threads()
    names = {"__name__": page}
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / f"{page}.md").read_text(), re.S | re.M)
    assert blocks
    try:
        for block in blocks:
            exec(compile(block, f"{page}.md", "exec"), names)
    finally:
        rv.set_num_threads(threads)
