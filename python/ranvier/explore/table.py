"""Text tables of results."""

from __future__ import annotations

from collections.abc import Collection, Sequence

__all__ = ["text_table"]


def text_table(rows: Sequence[Sequence[str]], left: Collection[int] = (), rule: bool = True) -> str:
    """Rows of equal length in aligned columns; `left`: left-aligned columns; `rule`: underline the first row.

    >>> print(text_table([("name", "n"), ("a", "10")], left=[0]))
    name   n
    --------
    a     10
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(f"{cell:{'<' if i in left else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], *["-" * len(lines[0])] * rule, *lines[1:]])
