"""The settings of a table in a text file: the arguments of `pandas.read_csv` that `load_csv` takes.

Only those after which it is still known from which line and column a cell comes, for the errors.
"""

from __future__ import annotations

import re
from typing import Any

NUMBER, COMMA, DATE, WORD = range(4)  # kinds of cells: "1.5", "1,5", "2024-01-05", others
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
DATES = re.compile(
    r"\d{4}([-/.])\d{1,2}\1\d{1,2}([ T].*)?|\d{1,2}([-/.])\d{1,2}\3\d{2,4}( .*)?|\d{1,2}:\d\d(:\d\d.*)?"
    rf"|\d{{1,2}}[- ]{_MONTH}[- ]\d{{2,4}}( .*)?|{_MONTH} \d{{1,2}},? \d{{4}}( .*)?"
    r"|(19|20)\d\d-(0[1-9]|1[0-2]|Q[1-4])|(19|20)\d\dQ[1-4]|-?\d+ days( .*)?",
    re.I,
)
ZEROS = re.compile(r"0\d+")  # codes such as "007"
MARKS = frozenset(
    ("", "na", "n/a", "nan", "NaN", "-nan", "null", "none", "?", "-", "--", "#n/a", "#na", "<na>")
)
MARKS |= {"#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"}  # Excel's errors
DEFAULTS = {  # the settings of pandas.read_csv that `load_csv` takes
    "sep": None, "header": "infer", "decimal": ".", "thousands": None, "na_values": (),
    "keep_default_na": True, "encoding": None, "comment": None, "skiprows": 0, "nrows": None,
    "parse_dates": (), "date_format": None, "dayfirst": None,
}  # fmt: skip


def number_of(cell: str, settings: dict[str, Any]) -> float | None:
    """The number that a cell holds, if it holds one."""
    decimal = settings["decimal"]
    thousands = settings["thousands"]
    if thousands and thousands in cell and not _has_groups(cell, decimal, thousands):
        return None
    plain = cell.replace(thousands, "") if thousands else cell
    if decimal != ".":
        plain = plain.replace(".", "\0").replace(decimal, ".")
    try:
        if "_" in plain:
            return None
        return float(plain)
    except ValueError:
        return None


def _has_groups(cell: str, decimal: str, thousands: str) -> bool:
    """True if the separators of thousands divide the whole part into groups of three digits."""
    whole, _, fraction = cell.partition(decimal)
    first, *groups = whole.lstrip("+-").split(thousands)
    return 1 <= len(first) <= 3 and all(len(group) == 3 for group in groups) and thousands not in fraction


def kind_of(cell: str, settings: dict[str, Any]) -> int:
    if number_of(cell, settings) is not None:
        return NUMBER
    if DECIMAL_COMMA.fullmatch(cell):
        return COMMA
    if DATES.fullmatch(cell):
        return DATE
    return WORD


def checked(settings: dict[str, Any]) -> dict[str, Any]:
    """All settings of a text file."""
    unknown = [name for name in settings if name not in DEFAULTS]
    if unknown:
        text = f"got the setting {unknown[0]}; expected {', '.join(DEFAULTS)}: for others pass a frame"
        raise TypeError(f"[load_csv] {text} of pandas.read_csv")
    sep = settings.get("sep")
    header = settings.get("header")
    if not (sep in (None, r"\s+") or len(sep) == 1):
        raise ValueError(f"[load_csv] got sep {sep!r}; expected one character, or '\\s+' for blanks")
    if header is not None and header != "infer" and (isinstance(header, bool) or not isinstance(header, int)):
        raise ValueError(
            f"[load_csv] got header {header!r}; expected 0 where the first line has names, or None"
        )
    texts = settings.get("na_values") or ()
    na_values = [texts] if isinstance(texts, str) else list(texts)
    return DEFAULTS | settings | {"na_values": na_values}
