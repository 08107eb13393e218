"""Pages of docs whose tables a program writes between two marks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def write(page: Path, mark: str, lines: Sequence[str]) -> None:
    """Put the lines between the comment ``mark`` and the next ``end``; all else of the page stays."""
    start, end = f"<!-- {mark} -->", "<!-- end -->"
    before, _, rest = page.read_text(encoding="utf-8").partition(start)
    text = "\n".join([before + start, "", *lines, "", end]) + rest.partition(end)[2]
    page.write_text(text, encoding="utf-8")
