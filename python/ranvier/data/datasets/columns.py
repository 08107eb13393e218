"""The columns of a table: numbers, categories and missing values.

Large tables are parsed by pandas, with the meaning that Python's csv module and float() give their cells.
"""

from __future__ import annotations

import importlib
import itertools
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import Array
from ranvier.data.bars import bar
from ranvier.data.datasets.text_table import DATE, DECIMAL_COMMA, MISSING, TextTable, is_number

__all__ = ["Columns", "Frame", "parsed", "read_columns"]

SPELLINGS = sorted(
    {"".join(letters) for word in MISSING for letters in itertools.product(*({c, c.upper()} for c in word))}
)
# Quotes hide delimiters; at the others str.splitlines ends lines, and pandas does not.
UNUSUAL = '"\r\0\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029'


class Frame:
    """The columns of a table: of numbers parsed at once, of others as text when they are needed."""

    def __init__(self, pandas: Any, table: TextTable, text: str) -> None:
        self._pandas, self._table, self._text = pandas, table, text
        self._numbers = self._read(f"reading {table.path.name}", na_values=SPELLINGS, keep_default_na=False)
        self.shape: tuple[int, int] = self._numbers.shape
        self._texts: dict[int, Any] = {}

    def is_numbers(self, column: int) -> bool:
        """Whether each cell is a number or missing; True and False are words."""
        return bool(self._numbers[column].dtype.kind in "iuf")

    def numbers(self, columns: list[int]) -> Array:
        """Columns of numbers, float64 (n, columns); NaN where missing."""
        values: Array = self._numbers[columns].to_numpy(np.float64)
        return values

    def words(self, column: int) -> tuple[list[str], Array]:
        """The different cells of a column, and for each row the number of its cell."""
        if column not in self._texts:
            columns = {column, *(c for c in range(self.shape[1]) if not self.is_numbers(c))}
            chosen = sorted(columns - {*self._texts})
            texts = self._read("reading words", usecols=chosen, dtype=str, na_filter=False)
            self._texts |= {c: texts[c] for c in chosen}
        codes, cells = self._pandas.factorize(self._texts[column])
        return list(cells), codes

    def _read(self, what: str, **how: Any) -> Any:
        how |= {"header": None, "skipinitialspace": True, "float_precision": "round_trip"}
        how |= {"sep": self._table.delimiter, "decimal": self._table.decimal}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # float_precision: deprecated in pandas 3, necessary in 2
            return self._pandas.read_csv(_Watched(self._text, what), **how)


def parsed(table: TextTable) -> Frame | None:
    """The table parsed by pandas; None if it is not installed, or reads other cells than the csv module."""
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return None
    text = _plain(table)
    try:
        if text is None:  # quotes: the cells are counted by the csv module
            table.require_width()
            frame = Frame(pandas, table, "\n".join(table.lines))
            same = frame.shape == (len(table.lines), table.width)
        else:  # pandas refuses lines with more cells than the first one, and counting finds those with fewer
            frame = Frame(pandas, table, text)
            count = text.count(table.delimiter)
            same = frame.shape[1] == table.width > 1 and count == (table.width - 1) * frame.shape[0]
    except ValueError:
        if text is None:
            raise
        return None
    return frame if same else None


def _plain(table: TextTable) -> str | None:
    """The text without the header if each delimiter ends a cell and each "\\n" a line; else None."""
    text = table.text[table.offset :]
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if any(character in text for character in UNUSUAL):
        return None
    if table.delimiter == "\t" and (text.startswith("\t") or "\n\t" in text or "\n " in text):
        return None  # a line of tabs alone is empty, for pandas it has cells
    return text


class _Watched:
    """A text to read, with a progress bar."""

    def __init__(self, text: str, what: str) -> None:
        self._text, self._at = text, 0
        self._bar = bar(total=len(text), desc=what, unit="B", unit_scale=True, delay=1, leave=False)

    def read(self, size: int = -1) -> str:
        part = self._text[self._at : self._at + size] if size >= 0 else self._text[self._at :]
        self._at += len(part)
        self._bar.update(len(part))
        if not part:
            self._bar.close()
        return part

    def __iter__(self) -> Iterator[str]:  # pandas looks for it in a file
        return iter(self.read, "")


LARGE = 4_000_000  # characters, from which the time to import pandas is worth it
WITH_UNIT = re.compile(r"[-+]?[€$£]? ?[-+]?\d[\d.,' ]* ?[%€$£]?")  # "$5", "12 %", "1,234,567"
MOST = 100  # categories of a column; of more, each has to occur twice on average
Categories = tuple[tuple[str, ...] | None, ...]


class Columns:
    """The cells of a table by column, each parsed once: numbers, or the different words and their rows."""

    def __init__(self, table: TextTable) -> None:
        self.table = table
        large = len(table.text) - table.offset >= LARGE
        self._frame = parsed(table) if large else None
        if self._frame is None:
            table.require_width()
        self._words: dict[int, tuple[list[str], Array]] = {}

    def __len__(self) -> int:
        return len(self.table.lines) if self._frame is None else self._frame.shape[0]

    def is_numbers(self, column: int) -> bool:
        """Whether pandas has read only numbers and missing values."""
        return self._frame is not None and self._frame.is_numbers(column)

    def words(self, column: int) -> tuple[list[str], Array]:
        """The different cells, without spaces at their ends, and for each row the number of its cell."""
        if column not in self._words:
            if self._frame is None:
                cells = (row[column].strip() for row in self.table.rows())
                self._words[column] = _numbered(cells)
            else:
                texts, codes = self._frame.words(column)
                words, merged = _numbered(text.strip() for text in texts)
                self._words[column] = words, merged[codes]
        return self._words[column]

    def cell(self, column: int, row: int) -> str:
        words, codes = self.words(column)
        return words[int(codes[row])]

    def missing(self, column: int) -> npt.NDArray[np.bool_]:
        """For each row whether the cell is empty, NA ..."""
        if self._frame is not None and self._frame.is_numbers(column):
            return np.isnan(self._frame.numbers([column])[:, 0])
        words, codes = self.words(column)
        return np.array([word.lower() in MISSING for word in words])[codes]

    def numbers(self, columns: list[int], limit: float = math.inf) -> Array:
        """The columns as float64, finite and between -limit and limit."""
        values = self._plain(columns)
        if values is None:
            _explain(self, columns, limit)
            values = np.stack([self.mixed(column, limit, missing=False) for column in columns], axis=1)
        if not (np.isfinite(values).all() and (np.abs(values) <= limit).all()):
            _explain(self, columns, limit)
        return values

    def _plain(self, columns: list[int]) -> Array | None:
        """The columns if they are numbers without missing values."""
        table = self.table
        if self._frame is not None:
            return self._frame.numbers(columns) if all(map(self._frame.is_numbers, columns)) else None
        if table.decimal != ".":
            return None
        how: dict[str, Any] = {"comments": None, "quotechar": '"', "usecols": columns, "ndmin": 2}
        try:
            return np.loadtxt(table.lines, delimiter=table.delimiter, **how)
        except ValueError:
            return None

    def mixed(self, column: int, limit: float, missing: bool, rows: Array | None = None) -> Array:
        """A column of numbers, float64, or some of its rows; missing values are NaN if they are allowed."""
        if self._frame is not None and self._frame.is_numbers(column):
            values = self._frame.numbers([column])[:, 0]
            empty = np.isnan(values)
        else:
            words, codes = self.words(column)
            values = np.array([_number(self.table.point(word)) for word in words])[codes]
            empty = self.missing(column)
        if rows is not None:
            values, empty = values[rows], empty[rows]
        bad = ~(np.isfinite(values) & (np.abs(values) <= limit)) & ~(empty & missing)
        if bad.any():
            row = int(bad.argmax()) if rows is None else int(rows[bad.argmax()])
            _refuse(self.table, column, row, self.cell(column, row), limit)
        return np.where(empty, np.nan, values)

    def is_words(self, column: int) -> bool:
        """Whether no cell is a number (missing ones aside), and at least one is a word."""
        if self.is_numbers(column):
            return False
        cells = [word for word in self.words(column)[0] if word.lower() not in MISSING]
        wrong = any(
            is_number(self.table.point(c)) or DECIMAL_COMMA.fullmatch(c) or DATE.fullmatch(c) for c in cells
        )
        return bool(cells) and not wrong


def _numbered(cells: Iterable[str]) -> tuple[list[str], Array]:
    """The different cells in the order of their first rows, and the number of each cell."""
    at: dict[str, int] = {}
    codes = [at.setdefault(cell, len(at)) for cell in cells]
    return list(at), np.array(codes, np.intp)


def read_columns(
    cells: Columns,
    columns: list[int],
    limit: float,
    missing: bool,
    categories: bool | Sequence[str] | Mapping[str, Sequence[str] | None],
    unknown: Sequence[str] = (),
) -> tuple[Array, Categories | None]:
    """(values, categories): the columns as float64; NaN for a missing value, its number for a category.

    Args:
        missing: whether missing values are allowed.
        categories: False: all columns are numbers; True: columns of words are categories; names: these
            columns are, too; a mapping: the categories of each column of a trained model.
        unknown: names of columns in which a category that the mapping does not have is -1.
    """
    if categories is False and not missing:
        return cells.numbers(columns, limit), None
    values = np.empty((len(cells), len(columns)))
    of_columns: list[tuple[str, ...] | None] = []
    for i, column in enumerate(columns):
        names = _categories_of(cells, column, categories)
        if names is None:
            values[:, i] = cells.mixed(column, limit, missing)
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
    words = sorted(word for word in cells.words(column)[0] if word.lower() not in MISSING)
    if not named and all(map(WITH_UNIT.fullmatch, words)):
        raise ValueError(
            f"[load_csv] '{table.path}' {table.column(column)} has numbers with units or separators, such as "
            f"{words[0]!r}; expected plain numbers, or its name in categories (--categorical '{name}')"
        )
    if len(words) > max(MOST, len(cells) // 2):
        raise ValueError(
            f"[load_csv] '{table.path}' {table.column(column)} has {len(words)} different words in "
            f"{len(cells)} lines; expected categories: at most {MOST}, or half as many as lines. Leave a "
            f"column of names or texts out: without=['{name}'] (--without '{name}')"
        )
    return tuple(words)


def _codes(cells: Columns, column: int, categories: tuple[str, ...], missing: bool, unknown: bool) -> Array:
    at: dict[str, float] = {name: float(number) for number, name in enumerate(categories)}
    words, codes = cells.words(column)
    empty = [word.lower() in MISSING for word in words]
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
        where, cell = _where(cells.table, column, row), cells.cell(column, row)
        if cell.lower() in MISSING:
            raise ValueError(_missing(where, cell))
        raise ValueError(f"{where} holds {cell!r}; expected a known category: {', '.join(categories[:20])}")
    return np.array([np.nan if e else at[word] for e, word in zip(empty, words, strict=True)])[codes]


def _number(cell: str) -> float:
    return float(cell) if is_number(cell) and "_" not in cell else math.inf


def _explain(cells: Columns, columns: list[int], limit: float) -> None:
    """Raise the error of the first cell that is not a finite number, or is beyond the limit."""
    for row, line in enumerate(cells.table.rows()):
        for column in columns:
            cell = line[column].strip()
            if not abs(_number(cells.table.point(cell))) <= min(limit, np.finfo(np.float64).max):
                _refuse(cells.table, column, row, cell, limit)


def _where(table: TextTable, column: int, row: int) -> str:
    return f"[load_csv] '{table.path}' line {table.numbers[row]}, {table.column(column)}"


def _missing(where: str, cell: str) -> str:
    return (
        f"{where} has a missing value ({cell!r}); fill it in or leave the line out (missing='drop'; on the "
        "command line --missing drop, mean or median)"
    )


def _refuse(table: TextTable, column: int, row: int, cell: str, limit: float) -> None:
    where = _where(table, column, row)
    number = table.point(cell)
    if is_number(number) and math.isfinite(float(number)) and abs(float(number)) > limit:
        raise ValueError(f"{where} holds {cell!r}; expected at most {limit:.3g}, which float32 holds")
    if cell.lower() in MISSING:
        raise ValueError(_missing(where, cell))
    if re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", cell) and table.decimal == ".":
        raise ValueError(
            f"{where} holds {cell!r}; expected a number without commas: remove those between thousands, or "
            "pass decimal=',' (--decimal ,) if it is a decimal comma"
        )
    if DECIMAL_COMMA.fullmatch(cell):
        raise ValueError(
            f"{where} holds {cell!r}, with a decimal comma; expected a decimal point: pass decimal=',' "
            "(--decimal ,), or replace the commas within numbers (the cells are separated by "
            f"{table.delimiter!r})"
        )
    if DATE.fullmatch(cell):
        name = table.names[column] if table.names else column
        raise ValueError(
            f"{where} holds {cell!r}, a date or time; expected a number: replace it by numbers such as "
            f"year, month or days since a day, or leave the column out: without=[{name!r}] "
            f"(--without '{name}')"
        )
    raise ValueError(
        f"{where} holds {cell!r}; expected a finite number. Replace words by numbers, name this column as "
        "label, or read words as categories (categories=True)"
    )
