"""Dates in the text of a table, converted to days since 1970.

A date whose year is first is read without a setting. The order of day and month is never guessed: it is given
by dayfirst or date_format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NoReturn

import numpy as np

from ranvier.data.datasets.frames import Table, require_pandas
from ranvier.data.datasets.table_errors import Remedy, TableError, short
from ranvier.data.datasets.table_settings import number_of
from ranvier.tensors.memory import Array

YEAR_FIRST = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}([ T].*)?|\d{4}[-/]\d{1,2}")  # no number
YEAR_LAST = re.compile(r"(\d{1,2})([-/.])(\d{1,2})\2(\d{4}|\d\d)( \d{1,2}:\d\d(:\d\d)?)?")
NO_DATE = re.compile(r"\d{1,2}:\d\d(:\d\d.*)?|-?\d+ days( .*)?", re.I)  # a time of day, a duration


def days_since_1970(times: Any) -> Array:
    """Dates as days since 1970, durations as days; NaN for missing ones."""
    exact = times.to_numpy(f"{times.dtype.kind}8[us]")
    return np.where(times.isna(), np.nan, exact.astype(np.int64) / 86_400_000_000)


def parsed_days(table: Table, at: int, cells: Any) -> Array:
    """The days since 1970 of a column of texts that parse_dates names; NaN for missing cells.

    Raises TableError for a cell that is no date, or one whose order of day and month is not known.
    """
    cells = cells.astype("string").str.strip()
    different = cells.dropna().unique().tolist()
    times = [cell for cell in different if NO_DATE.fullmatch(cell)]
    if times:
        _refuse(table, at, cells, times[0], "not a time alone")
    form = table.settings["date_format"]
    if isinstance(form, Mapping):
        form = form.get(table.name(at))
    if form is None:
        others = [cell for cell in different if not YEAR_FIRST.fullmatch(cell)]
        if others:
            form = _form_of(others[0], table.settings["dayfirst"])
        else:
            form = "ISO8601"
        if form is None:
            expected = "with the year first, or in another form with date_format or dayfirst"
            if number_of(others[0], table.settings) is not None:
                expected = "no number: without parse_dates numbers are read as they are"
            _refuse(table, at, cells, others[0], expected)
    days = require_pandas(table.title).to_datetime(cells, format=form, errors="coerce", utc=True)
    unread = cells[days.isna() & cells.notna()]
    if len(unread):
        _refuse(table, at, cells, unread.iloc[0], f"in the form {form}")
    return days_since_1970(days)


def _refuse(table: Table, at: int, cells: Any, wrong: str, expected: str) -> NoReturn:
    where, cell = table.cell(int((cells == wrong).fillna(False).to_numpy(bool).argmax()), at)
    without = ("without", [table.name(at)], "leaves the column out")
    text = f"{where} holds {short(cell)!r}; expected a date, {expected}"
    raise TableError(text, *date_remedies(wrong), without)


def _form_of(cell: str, day_first: bool | None) -> str | None:
    """The date_format of a date such as 31.12.2024; None for another form, or if day_first is None."""
    found = YEAR_LAST.fullmatch(cell)
    if found is None or day_first is None:
        return None
    mark = found[2]
    year = "%Y" if len(found[4]) == 4 else "%y"
    time = ""
    if found[5]:
        time = " %H:%M:%S" if found[6] else " %H:%M"
    order = ["%d", "%m", year] if day_first else ["%m", "%d", year]
    return mark.join(order) + time


def date_remedies(cell: str) -> list[Remedy]:
    """The settings that read a date whose year is not first."""
    if re.fullmatch(r"(19|20)\d{6}", cell):
        return [("date_format", "%Y%m%d", "reads such dates")]
    found = YEAR_LAST.fullmatch(cell)
    if found is None:
        return []
    day_first = int(found[3]) <= 12  # as it can be
    if day_first:
        effect = "reads the day before the month"
    else:
        effect = "reads the month before the day"
    if day_first and int(found[1]) <= 12:
        effect += ", False the month before the day"
    return [("dayfirst", day_first, effect), ("date_format", _form_of(cell, day_first), "means the same")]
