"""The columns of a table that pandas has parsed: numbers, categories and missing values."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import Array
from ranvier.data.datasets.text_table import COMMA, DATE, GAP, NUMBER, WORD, TableError, TextTable

__all__ = ["Columns", "read_columns"]

WITH_UNIT = re.compile(r"[-+]?[€$£]? ?[-+]?[\d.,]*\d[\d.,' ]*[%€$£]?")  # "$5", "12 %", "1,234,567", "1,5"
MOST = 100  # categories of a column; of more, each has to occur twice on average
LARGEST = float(np.finfo(np.float64).max)


class Columns:
    """The cells of a table by column: numbers, or the different texts and the number of each row's."""

    def __init__(self, table: TextTable) -> None:
        self.table, self._texts = table, dict[int, tuple[list[str], Array, Array]]()
        self._frame = frame = table.parse()
        last, names, width = table.width - 1, table.names or range(table.width), frame.shape[1]
        more = width > last + 1 and frame[last + 1].notna().any()
        if width <= last or more or frame[last].isna().any() or len(names) != last + 1:
            table.require_width()  # pandas fills the ends of short lines

    def __len__(self) -> int:
        return len(self._frame)

    def is_numbers(self, column: int) -> bool:
        """Whether each cell is a number or missing; True and False are words."""
        return bool(self._frame[column].dtype.kind in "iuf")

    def texts(self, column: int) -> tuple[list[str], Array, Array]:
        """The different cells, their kinds, and for each row the number of its cell."""
        if column not in self._texts:
            chosen = [c for c in range(self.table.width) if c == column or not self.is_numbers(c)]
            frame = self._frame[chosen]
            if not all(isinstance(cell, str) for at in chosen for cell in frame[at]):  # gaps, True, 2**64
                frame = self.table.parse(usecols=chosen, dtype=str, na_filter=False)
            for at in chosen:
                codes, cells = frame[at].str.strip().factorize()
                self._texts[at] = cells.tolist(), np.array([self.table.kind(cell) for cell in cells]), codes
        return self._texts[column]

    def missing(self, column: int) -> npt.NDArray[np.bool_]:
        """For each row whether the cell is empty or a mark of missing values."""
        if self.is_numbers(column):
            empty: npt.NDArray[np.bool_] = self._frame[column].isna().to_numpy()
            return empty
        _, kinds, codes = self.texts(column)
        return (kinds == GAP)[codes]

    def counts(self, column: int) -> list[int]:
        """How many cells are of each kind."""
        if self.is_numbers(column):
            gaps = int(self.missing(column).sum())
            return [gaps, len(self) - gaps, 0, 0, 0]
        _, kinds, codes = self.texts(column)
        return np.bincount(kinds[codes], minlength=WORD + 1).tolist()

    def is_words(self, column: int) -> bool:
        """Whether more than a tenth of the cells are words: a few words among numbers are mistakes."""
        _, *values, words = self.counts(column)
        return words > 0 and sum(values) < 9 * words

    def first(self, column: int, kind: int) -> int:
        """The first row with a cell of this kind."""
        _, kinds, codes = self.texts(column)
        return int((kinds[codes] == kind).argmax())

    def cell(self, column: int, row: int) -> str:
        texts, _, codes = self.texts(column)
        return texts[codes[row]]

    def numbers(self, column: int, limit: float = LARGEST, missing: bool = False) -> Array:
        """A column as float64, finite and between -limit and limit; missing values are NaN if allowed."""
        empty = self.missing(column)
        if self.is_numbers(column):
            values = self._frame[column].to_numpy(np.float64)
        else:
            texts, kinds, codes = self.texts(column)
            pairs = zip(map(self.table.point, texts), kinds, strict=True)
            values = np.array([float(text) if kind == NUMBER else np.nan for text, kind in pairs])[codes]
        wrong = ~(np.abs(values) <= limit) & ~(empty & missing)
        if wrong.any():
            self.refuse(column, int(wrong.argmax()), limit)
        return values

    def where(self, column: int, row: int) -> str:
        return f"'{self.table.path}' line {self.table.line(row)}, {self.table.column(column)}"

    def refuse(self, column: int, row: int, limit: float = LARGEST) -> NoReturn:
        """Raise the error of a cell that is no number."""
        table, cell = self.table, self.cell(column, row)
        name, kind, holds = table.name(column), table.kind(cell), f"{self.where(column, row)} holds {cell!r}"
        without = ("without", [name], "leaves the column out")
        if kind == GAP:
            text = f"{self.where(column, row)} has a missing value ({cell!r}); fill it in"
            raise TableError(text, ("missing", "drop", "leaves the line out"))
        if kind == NUMBER and limit < abs(float(table.point(cell))) < np.inf:
            raise TableError(f"{holds}; expected at most {limit:.3g}, which float32 holds")
        if kind == DATE:
            text = "expected a number: replace it by numbers such as year, month or days since a day"
            raise TableError(f"{holds}, a date or time; {text}", without)
        if WITH_UNIT.fullmatch(cell):
            point = "point" if table.decimal == "." else "comma"
            text = f"expected a number with a decimal {point} (the cells are {table.separated}),"
            comma = [("decimal", ",", "reads decimal commas")] if kind == COMMA else []
            raise TableError(f"{holds}; {text} without units and separators of thousands", *comma)
        first = [] if row or table.names else [("header", True, "takes the first line as names")]
        mark = ("missing_marks", [cell], "reads it as a missing value")
        words = ("categories", [name], "reads words as categories")
        raise TableError(f"{holds}; expected a finite number", *first, mark, words, without)


def read_columns(
    cells: Columns, columns: list[int], limit: float, missing: bool, categories: Any, unknown: Collection[str]
) -> tuple[Array, tuple[tuple[str, ...] | None, ...] | None]:
    """(values, categories): the columns as float64; NaN for a missing value, its number for a category.

    missing: whether missing values are allowed; categories, unknown: as of `load_csv`.
    """
    values, kinds = np.empty((len(cells), len(columns))), []
    for i, column in enumerate(columns):
        names = _categories_of(cells, column, categories)
        if names is None:
            values[:, i] = cells.numbers(column, limit, missing)
        else:
            values[:, i] = _codes(cells, column, names, missing, cells.table.name(column) in unknown)
        kinds.append(names)
    return values, None if all(names is None for names in kinds) else tuple(kinds)


def _categories_of(cells: Columns, column: int, categories: Any) -> tuple[str, ...] | None:
    """The categories of a column; None for a column of numbers."""
    name = cells.table.name(column)
    if isinstance(categories, Mapping):
        return None if categories.get(name) is None else tuple(categories[name])
    named = not isinstance(categories, bool) and name in categories
    if categories is False or not (named or cells.is_words(column)):
        return None
    where = f"'{cells.table.path}' {cells.table.column(column)}"
    texts, kinds, _ = cells.texts(column)
    words = sorted(text for text, kind in zip(texts, kinds, strict=True) if kind != GAP)
    _, numbers, commas, dates, others = cells.counts(column)
    if not named and (dates > others or all(map(WITH_UNIT.fullmatch, words))):
        cells.refuse(column, cells.first(column, DATE if dates > others else WORD))
    if not named and numbers + commas > others:
        word = cells.cell(column, cells.first(column, WORD))
        text = f"{numbers + commas} numbers and {others} words, such as {word!r}: all are read as categories"
        text = f"[load_csv] {where} has {text}; missing_marks names words that mean a missing value"
        warnings.warn(text, stacklevel=5)
    if len(words) > max(MOST, len(cells) // 2):
        text = f"expected categories: at most {MOST}, or half as many as lines"
        text = f"{where} has {len(words)} different words in {len(cells)} lines; {text}"
        raise TableError(text, ("without", [name], "leaves a column of names or texts out"))
    return tuple(words)


def _codes(cells: Columns, column: int, categories: tuple[str, ...], missing: bool, unknown: bool) -> Array:
    """For each row the number of its category, NaN for a missing value, or -1."""
    known = {name: float(number) for number, name in enumerate(categories)}
    texts, kinds, codes = cells.texts(column)
    pairs = zip(texts, kinds, strict=True)
    values = np.array([known.get(text, np.nan if kind == GAP else -1.0) for text, kind in pairs])[codes]
    new = list(dict.fromkeys(texts[code] for code in codes[values == -1]))
    if new and not unknown:
        where, shown = cells.where(column, int((values == -1).argmax())), ", ".join(categories[:20])
        raise TableError(f"{where} holds {new[0]!r}; expected a known category: {shown}")
    if new:
        shown = ", ".join(map(repr, new[:5])) + (" ..." if len(new) > 5 else "")
        text = f"has unknown categories ({len(new)}), which count as missing: {shown}"
        warnings.warn(f"[load_csv] '{cells.table.path}' {cells.table.column(column)} {text}", stacklevel=5)
    if not missing and np.isnan(values).any():
        cells.refuse(column, int(np.isnan(values).argmax()))
    return values
