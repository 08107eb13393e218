"""The columns of a table: numbers, categories and missing values."""

from __future__ import annotations

import importlib
import io
import math
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.data.datasets.text_table import DATE, DECIMAL_COMMA, TextTable, is_number

__all__ = ["MISSING", "Columns", "read_columns"]

MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
LARGE = 4_000_000  # characters, from which the time to import pandas is worth it
MOST = 100  # categories of a column; more are names or identifiers
Categories = tuple[tuple[str, ...] | None, ...]


class Columns:
    """The cells of a table by column, each parsed once: numbers if all cells are numbers, else words."""

    def __init__(self, table: TextTable) -> None:
        self.table = table
        large = sum(map(len, table.lines)) >= LARGE
        self._frame = _pandas_frame(table) if large else None
        self._cells: dict[int, list[str]] = {}

    def all_numbers(self, column: int) -> bool:
        """Whether pandas has read numbers only."""
        return self._frame is not None and self._frame[column].dtype.kind in "iuf"

    def cells(self, column: int) -> list[str]:
        if column not in self._cells:
            words = [] if self._frame is None else self._frame[column].tolist()
            if not words or not all(isinstance(word, str) for word in words):
                words = [row[column] for row in self.table.rows()]
            self._cells[column] = [word.strip() for word in words]
        return self._cells[column]

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
            found: Any = self._frame[columns]
            return found.to_numpy(np.float64) if all(k.kind in "iuf" for k in found.dtypes) else None
        if table.decimal != ".":
            return None
        how: dict[str, Any] = {"comments": None, "quotechar": '"', "usecols": columns, "ndmin": 2}
        try:
            return np.loadtxt(table.lines, delimiter=table.delimiter, **how)
        except ValueError:
            return None

    def mixed(self, column: int, limit: float, missing: bool) -> Array:
        """A column of numbers, float64; missing values are NaN if they are allowed."""
        if self._frame is not None and self.all_numbers(column):
            values = self._frame[column].to_numpy(np.float64)
            if np.isfinite(values).all() and (np.abs(values) <= limit).all():
                return values
        values = np.array([_number(self.table.point(cell)) for cell in self.cells(column)])
        empty = np.array([cell.lower() in MISSING for cell in self.cells(column)]) & missing
        bad = ~empty & ~(np.isfinite(values) & (np.abs(values) <= limit))
        if bad.any():
            _refuse(self.table, column, int(bad.argmax()), self.cells(column)[int(bad.argmax())], limit)
        return np.where(empty, np.nan, values)

    def is_words(self, column: int) -> bool:
        """Whether no cell is a number (missing ones aside), and at least one is a word."""
        if self.all_numbers(column):
            return False
        cells = {cell for cell in self.cells(column) if cell.lower() not in MISSING}
        wrong = any(
            is_number(self.table.point(c)) or DECIMAL_COMMA.fullmatch(c) or DATE.fullmatch(c) for c in cells
        )
        return bool(cells) and not wrong


def read_columns(
    cells: Columns,
    columns: list[int],
    limit: float,
    missing: bool,
    categories: bool | Sequence[str] | Mapping[str, Sequence[str] | None],
) -> tuple[Array, Categories | None]:
    """(values, categories): the columns as float64; NaN for a missing value, its number for a category.

    Args:
        missing: whether missing values are allowed.
        categories: False: all columns are numbers; True: columns of words are categories; names: these
            columns are, too; a mapping: the categories of each column of a trained model.
    """
    table = cells.table
    if categories is False and not missing:
        return cells.numbers(columns, limit), None
    values = np.empty((len(table.lines), len(columns)))
    found: list[tuple[str, ...] | None] = []
    for i, column in enumerate(columns):
        known = _known(cells, column, categories)
        if known is None:
            values[:, i] = cells.mixed(column, limit, missing)
        else:
            values[:, i] = _codes(cells, column, known, missing)
        found.append(known)
    return values, tuple(found) if any(names is not None for names in found) else None


def _known(cells: Columns, column: int, categories: Any) -> tuple[str, ...] | None:
    """The categories of a column; None for a column of numbers."""
    table = cells.table
    name = table.names[column] if table.names else str(column)
    if isinstance(categories, Mapping):
        given = categories.get(name)
        return None if given is None else tuple(given)
    named = not isinstance(categories, bool) and name in categories
    if categories is False or not (named or cells.is_words(column)):
        return None
    words = sorted({cell for cell in cells.cells(column) if cell.lower() not in MISSING})
    if len(words) > MOST:
        raise ValueError(
            f"[load_csv] '{table.path}' {table.column(column)} has {len(words)} different words; expected at "
            f"most {MOST} categories. Leave a column of names or texts out: without=['{name}'] "
            f"(--without '{name}')"
        )
    return tuple(words)


def _codes(cells: Columns, column: int, known: tuple[str, ...], missing: bool) -> Array:
    at: dict[str, float] = {name: float(number) for number, name in enumerate(known)}
    codes = np.empty(len(cells.table.lines))
    for row, cell in enumerate(cells.cells(column)):
        empty = cell.lower() in MISSING
        if (empty and not missing) or (not empty and cell not in at):
            where = _where(cells.table, column, row)
            if empty:
                raise ValueError(_missing(where, cell))
            raise ValueError(f"{where} holds {cell!r}; expected a known category: {', '.join(known[:20])}")
        codes[row] = np.nan if empty else at[cell]
    return codes


def _pandas_frame(table: TextTable) -> Any:
    """The table parsed by pandas, with a progress bar; None if it is not installed, or fails.

    The types of the columns are left to pandas: with dtype=float64 it would read True as 1.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return None
    from tqdm import tqdm  # type: ignore[import-untyped]

    how = {"header": None, "na_filter": False, "skipinitialspace": True, "float_precision": "round_trip"}
    text = "\n".join(table.lines)
    bar = tqdm(
        total=len(text), desc=f"reading {table.path.name}", unit="B", unit_scale=True, disable=None, delay=1
    )
    with warnings.catch_warnings(), bar:
        warnings.simplefilter("ignore")  # float_precision is deprecated in pandas 3, necessary in pandas 2
        try:
            frame = pandas.read_csv(_Watched(text, bar), sep=table.delimiter, decimal=table.decimal, **how)
        except ValueError:
            return None
    return frame if len(frame) == len(table.lines) and frame.shape[1] == table.width else None


class _Watched(io.StringIO):
    """A text that reports to a progress bar what is read of it."""

    def __init__(self, text: str, bar: Any) -> None:
        super().__init__(text)
        self.bar = bar

    def read(self, size: int | None = -1, /) -> str:
        part = super().read(size)
        self.bar.update(len(part))
        return part


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
