"""The columns of a table that pandas has parsed: numbers, categories and missing values."""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import Array
from ranvier.data.datasets.text_table import DATE, DECIMAL_COMMA, TableError, TextTable, is_number, is_value

__all__ = ["Columns", "read_columns"]

WITH_UNIT = re.compile(r"[-+]?[€$£]? ?[-+]?\d[\d.,' ]* ?[%€$£]?")  # "$5", "12 %", "1,234,567"
THOUSANDS = {
    ".": re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+(\.\d*)?"),
    ",": re.compile(r"[-+]?[1-9]\d{0,2}(\.\d{3})+(,\d*)?"),
}
MOST = 100  # categories of a column; of more, each has to occur twice on average
Categories = tuple[tuple[str, ...] | None, ...]


class Columns:
    """The cells of a table by column: numbers, or the different words and their rows."""

    def __init__(self, table: TextTable) -> None:
        self.table, self._words = table, dict[int, tuple[list[str], Array]]()
        self._frame = table.parse()
        last = self._frame.shape[1] - 1
        if last + 1 != table.width or self._frame[last].isna().any():  # of a short line pandas fills the end
            table.require_width()
        unnamed = table.names is None or not table.names[-1]
        if unnamed and last and self._frame[last].isna().all():  # a separator at the end of each line
            table.width, table.names = last, table.names and table.names[:-1]

    def __len__(self) -> int:
        return len(self._frame)

    def is_numbers(self, column: int) -> bool:
        """Whether each cell is a number or missing; True and False are words."""
        return bool(self._frame[column].dtype.kind in "iuf")

    def words(self, column: int) -> tuple[list[str], Array]:
        """The different cells, without blanks at their ends, and for each row the number of its cell."""
        if column not in self._words:
            chosen = {column, *(c for c in range(self.table.width) if not self.is_numbers(c))}
            texts = self.table.parse(usecols=sorted(chosen), dtype=str, na_filter=False)
            for at in chosen:
                cells, codes = np.unique(texts[at].to_numpy(object), return_inverse=True)
                self._words[at] = _numbered((cell.strip() for cell in cells), codes.ravel())
        return self._words[column]

    def cell(self, column: int, row: int) -> str:
        words, codes = self.words(column)
        return words[int(codes[row])]

    def missing(self, column: int) -> npt.NDArray[np.bool_]:
        """For each row whether the cell is empty or a mark of missing values."""
        if self.is_numbers(column):
            empty: npt.NDArray[np.bool_] = self._frame[column].isna().to_numpy()
            return empty
        words, codes = self.words(column)
        return np.array(list(map(self.table.is_missing, words)))[codes]

    def shares(self, column: int) -> tuple[int, int]:
        """How many cells are numbers (also with decimal commas, or dates), and how many are other words."""
        if self.is_numbers(column):
            return len(self) - int(self.missing(column).sum()), 0
        words, codes = self.words(column)
        counts = np.bincount(codes, minlength=len(words))
        pairs = [(w, int(n)) for w, n in zip(words, counts, strict=True) if not self.table.is_missing(w)]
        values = sum(n for word, n in pairs if self._is_value(word))
        return values, sum(n for _, n in pairs) - values

    def _is_value(self, cell: str) -> bool:
        return is_number(self.table.point(cell)) or is_value(cell)

    def is_words(self, column: int) -> bool:
        """Whether more than a tenth of the cells are words: a few words among numbers are mistakes."""
        values, words = self.shares(column)
        return words > 0 and values < 9 * words

    def first_word(self, column: int) -> str:
        """The first cell that is neither a number nor missing."""
        words, codes = self.words(column)
        kinds = np.array([self._is_value(word) or self.table.is_missing(word) for word in words])
        return words[int(codes[int(kinds[codes].argmin())])]

    def numbers(self, column: int, limit: float = math.inf, missing: bool = False) -> Array:
        """A column as float64, finite and between -limit and limit; missing values are NaN if allowed."""
        empty = self.missing(column)
        if self.is_numbers(column):
            values = self._frame[column].to_numpy(np.float64)
        else:
            words, codes = self.words(column)
            points = map(self.table.point, words)
            values = np.array([float(cell) if is_number(cell) else math.inf for cell in points])[codes]
        wrong = ~(np.isfinite(values) & (np.abs(values) <= limit)) & ~(empty & missing)
        if wrong.any():
            row = int(wrong.argmax())
            self.refuse(column, row, limit)
        return np.where(empty, np.nan, values)

    def where(self, column: int, row: int) -> str:
        return f"'{self.table.path}' line {self.table.line(row)}, {self.table.column(column)}"

    def refuse_missing(self, column: int, row: int) -> None:
        raise TableError(
            f"{self.where(column, row)} has a missing value ({self.cell(column, row)!r}); fill it in",
            ("missing", "drop", "leaves the line out"),
        )

    def refuse(self, column: int, row: int, limit: float = math.inf) -> None:
        """Raise the error of a cell that is no number."""
        where, cell, name = self.where(column, row), self.cell(column, row), self.table.name(column)
        number = self.table.point(cell)
        without = ("without", [name], "leaves the column out")
        if self.table.is_missing(cell):
            self.refuse_missing(column, row)
        if is_number(number) and limit < abs(float(number)) < math.inf:
            raise TableError(f"{where} holds {cell!r}; expected at most {limit:.3g}, which float32 holds")
        comma = ("decimal", ",", "reads decimal commas")
        if THOUSANDS[self.table.decimal].fullmatch(cell):
            text = "expected a number without separators: remove those between thousands"
            one = self.table.decimal == "." and DECIMAL_COMMA.fullmatch(cell)
            raise TableError(f"{where} holds {cell!r}; {text}", *([comma] if one else []))
        if DECIMAL_COMMA.fullmatch(cell):
            text = f"expected a decimal point (the cells are {self.table.separated})"
            raise TableError(f"{where} holds {cell!r}, with a decimal comma; {text}", comma)
        if DATE.fullmatch(cell):
            text = "expected a number: replace it by numbers such as year, month or days since a day"
            raise TableError(f"{where} holds {cell!r}, a date or time; {text}", without)
        raise TableError(
            f"{where} holds {cell!r}; expected a finite number",
            *([] if row or self.table.names else [("header", True, "takes the first line as names")]),
            ("missing_marks", [cell], "reads it as a missing value"),
            ("categories", [name], "reads words as categories"),
            without,
        )


def _numbered(cells: Iterable[str], codes: Array) -> tuple[list[str], Array]:
    """The different cells, and the number of each row's, of cells that may be equal."""
    at: dict[str, int] = {}
    merged = [at.setdefault(cell, len(at)) for cell in cells]
    return list(at), np.array(merged, np.intp)[codes]


def read_columns(
    cells: Columns,
    columns: list[int],
    limit: float,
    missing: bool,
    categories: bool | Collection[str] | Mapping[str, Sequence[str] | None],
    unknown: Sequence[str] = (),
) -> tuple[Array, Categories | None]:
    """(values, categories): the columns as float64; NaN for a missing value, its number for a category.

    Args:
        missing: whether missing values are allowed.
        categories: False: all columns are numbers; True: columns of words are categories; names: these
            columns are, too; a mapping: the categories of each column of a trained model.
        unknown: names of columns in which a category that the mapping does not have is -1.
    """
    values = np.empty((len(cells), len(columns)))
    of_columns: list[tuple[str, ...] | None] = []
    for i, column in enumerate(columns):
        names = _categories_of(cells, column, categories)
        if names is None:
            values[:, i] = cells.numbers(column, limit, missing)
        else:
            values[:, i] = _codes(cells, column, names, missing, cells.table.name(column) in unknown)
        of_columns.append(names)
    return values, tuple(of_columns) if any(names is not None for names in of_columns) else None


def _categories_of(cells: Columns, column: int, categories: Any) -> tuple[str, ...] | None:
    """The categories of a column; None for a column of numbers."""
    table = cells.table
    name = table.name(column)
    if isinstance(categories, Mapping):
        names = categories.get(name)
        return None if names is None else tuple(names)
    named = not isinstance(categories, bool) and name in categories
    if categories is False or not (named or cells.is_words(column)):
        return None
    where = f"'{table.path}' {table.column(column)}"
    words = sorted(word for word in cells.words(column)[0] if not table.is_missing(word))
    as_categories = ("categories", [name], "reads them as categories")
    if not named:
        dates = [word for word in words if DATE.fullmatch(word)]
        if len(dates) > len(words) // 2:
            texts, codes = cells.words(column)
            cells.refuse(column, int((codes == texts.index(dates[0])).argmax()))
        if all(map(WITH_UNIT.fullmatch, words)):
            text = f"has numbers with units or separators, such as {words[0]!r}; expected plain numbers"
            raise TableError(f"{where} {text}", as_categories)
        values, others = cells.shares(column)
        if values > others:
            word = cells.first_word(column)
            warnings.warn(
                f"[load_csv] {where} has {values} numbers and {others} words, such as {word!r}: all are read "
                "as categories; missing_marks names words that mean a missing value",
                stacklevel=5,
            )
    if len(words) > max(MOST, len(cells) // 2):
        raise TableError(
            f"{where} has {len(words)} different words in {len(cells)} lines; expected categories: at most "
            f"{MOST}, or half as many as lines",
            ("without", [name], "leaves a column of names or texts out"),
        )
    return tuple(words)


def _codes(cells: Columns, column: int, categories: tuple[str, ...], missing: bool, unknown: bool) -> Array:
    at: dict[str, float] = {name: float(number) for number, name in enumerate(categories)}
    words, codes = cells.words(column)
    empty = [cells.table.is_missing(word) and word not in at for word in words]
    new = [word for e, word in zip(empty, words, strict=True) if not e and word not in at]
    if new and unknown:
        at |= dict.fromkeys(new, -1.0)
        shown = ", ".join(map(repr, new[:5])) + (" ..." if len(new) > 5 else "")
        where = f"[load_csv] '{cells.table.path}' {cells.table.column(column)}"
        text = f"{where} has unknown categories ({len(new)}), which count as missing: {shown}"
        warnings.warn(text, stacklevel=5)
    wrong = [not missing if e else word not in at for e, word in zip(empty, words, strict=True)]
    if any(wrong):
        row = int(np.array(wrong)[codes].argmax())
        cell = cells.cell(column, row)
        if cells.table.is_missing(cell):
            cells.refuse_missing(column, row)
        known = ", ".join(categories[:20])
        raise TableError(f"{cells.where(column, row)} holds {cell!r}; expected a known category: {known}")
    return np.array([np.nan if e else at[word] for e, word in zip(empty, words, strict=True)])[codes]
