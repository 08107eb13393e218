"""The separator and the header of a table where no setting names them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection
from typing import Any

from ranvier.data.datasets.frames import Table
from ranvier.data.datasets.table_errors import TableError
from ranvier.data.datasets.table_settings import WORD, kind_of

GAP = -1  # the kind of a cell that is a mark of a missing value
FIRST_LINES = 500  # the lines from which the header is decided
EXCEL_LINE = re.compile(r'"?sep=([^"\r\n])"?(?=[\r\n])', re.I)  # a first line that names the separator


def separator_of(text: str, settings: dict[str, Any], title: str) -> None:
    """Set the separator: a tab, ; | or comma in the first line, or else in the next lines; or else blanks.

    Lines that a wrong separator divides into unequal numbers of cells are refused later.
    """
    found = EXCEL_LINE.match(text)
    if found:
        settings |= {"sep": settings["sep"] or found[1], "skiprows": settings["skiprows"] or 1}
    if settings["sep"] is not None:
        return
    comment = settings["comment"] or "\n"
    lines = text[: 1 << 20].splitlines()[settings["skiprows"] :][:20]
    plain = [re.sub('"[^"]*"', "quoted", line.partition(comment)[0]) for line in lines]
    plain = [line for line in plain if line.strip()] or [""]
    quoted, widths = '"' in text[: 1 << 20], [len(line.split()) for line in plain]
    first = _mark(plain[0], settings["decimal"], quoted)
    any_mark = _mark("\n".join(plain), settings["decimal"], quoted)
    if first == "," and sum(widths) > 1.5 * len(widths) and not re.search(r"\D,|,\D", "\n".join(plain)):
        text = f"the cells of {title} are separated by commas or by blanks"
        raise TableError(text, ("sep", r"\s+", "names blanks, sep=',' commas"))
    # all lines have the same number of words, above one; or there is no mark, and most lines have several
    if min(widths) == max(widths) > 1 or (any_mark is None and sum(widths) > 1.5 * len(widths)):
        first = first or r"\s+"
    usual = ";" if settings["decimal"] == "," else ","
    settings["sep"] = first or any_mark or usual


def _mark(text: str, decimal: str, quoted: bool) -> str | None:
    """The first of the usual separators in a text. The decimal mark is none, unless cells are quoted."""
    mark = next((mark for mark in "\t;|," if mark in text and (mark != decimal or quoted)), None)
    if mark == "\t" and "  " in text.strip():
        return r"\s+"
    return mark


def header_of(head: list[list[str]], table: Table, known: Collection[str]) -> int | None:
    """0 if the first line has names, None if it is a sample.

    Words that stand above numbers are names. Numbers, and words that occur again in their columns, are cells
    of a sample.

    head: the cells of the first lines. known: names of columns; see `table_of`.

    Raises TableError: the line has both, or its numbers count up, as pandas' default names and years do.
    """
    first, *body = head
    # a separator ends the line
    if len(first) > 1 and not first[-1]:
        first = first[:-1]
    # a known name that is no number; or all those that are numbers, two or more
    words = {name for name in known if not name.isdigit()}
    if words & {*first} or 1 < len({*known} - words) <= len({*known} & {*first}):
        return 0
    kinds = []
    for cell in first:
        kind = GAP if cell.lower() in table.marks else kind_of(cell, table.settings)
        kinds.append(kind)
    numbers = [cell for cell, kind in zip(first, kinds, strict=True) if kind not in (GAP, WORD)]
    names = [at for at, kind in enumerate(kinds) if kind == WORD]
    again = False  # a name occurs below itself
    above = False  # a name stands above a column that has hardly any words
    for at in names:
        column = [row[at] for row in body if at < len(row)]
        cells = [cell for cell in column if cell.lower() not in table.marks]
        without_words = sum(kind_of(cell, table.settings) != WORD for cell in cells)
        again = again or first[at] in cells
        above = above or without_words > 0.9 * len(cells)
    # nothing tells names from a sample: the first line is all words, and the only other one is as long
    two_lines_of_words = list(map(len, body)) == [len(names)] == [len(first)]
    alone = two_lines_of_words and not above and not again
    if _count(numbers) or alone or (above and (numbers or again)):
        text = f"the first line of {table.title} may be a sample, or names of columns"
        as_names = ("header", 0, "takes it as names")
        raise TableError(text, as_names, ("header", None, "as a sample"))
    marked = len(names) + (not first[0]) < len(first)  # a mark of a missing value, which may be a name, too
    if above or not (numbers or again or marked or not names):
        return 0
    return None


def _count(numbers: list[str]) -> bool:
    """True for 0, 1, 2 ..., and for whole numbers with equal steps, such as years."""
    whole = [int(cell) for cell in numbers if cell.isdigit()]
    steps = {b - a for a, b in itertools.pairwise(whole)}
    counts = whole == list(range(len(whole))) or (len(whole) > 2 and len(steps) == 1 and steps != {0})
    return len(whole) == len(numbers) > 0 and counts
