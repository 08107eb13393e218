"""Parts of HTML; `text` escapes all texts of the user."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

__all__ = ["facts", "number", "section", "table", "text"]


def text(value: Any) -> str:
    """Escaped; a float with four significant digits, a large whole number with commas."""
    if isinstance(value, float):
        return escape(number(value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def number(value: float) -> str:
    if not math.isfinite(value):
        return {math.inf: "infinite", -math.inf: "-infinite"}.get(value, "-")
    return f"{value:.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def section(heading: str, *content: str) -> str:
    """A section with its heading; "" without content."""
    inside = "\n".join(filter(None, content))
    return f"<section>\n<h2>{text(heading)}</h2>\n{inside}\n</section>" if inside else ""


def facts(pairs: Iterable[tuple[str, Any]]) -> str:
    rows = "".join(f"<div><dt>{text(name)}</dt><dd>{text(value)}</dd></div>" for name, value in pairs)
    return f"<dl>{rows}</dl>"


def table(
    caption: str, columns: Sequence[str], rows: Iterable[tuple[Any, Sequence[str]]], *, kind: str = ""
) -> str:
    """A table with row headings in the first column; it scrolls separately on a narrow page.

    Args:
        columns: the column headings.
        rows: a heading and the cells as HTML; a cell that starts with `<td` is used unchanged.
        kind: the class in the style sheet.
    """
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in columns)
    body = "\n".join(
        f'<tr><th scope="row">{text(name)}</th>{"".join(map(_cell, cells))}</tr>' for name, cells in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{text(caption)}">\n'
        f'<table class="{kind}"><caption>{text(caption)}</caption>\n'
        f"<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>\n</div>"
    )


def _cell(content: str) -> str:
    return content if content.startswith("<td") else f"<td>{content}</td>"
