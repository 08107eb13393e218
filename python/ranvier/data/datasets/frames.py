"""Large tables parsed by pandas, with the meaning that Python's csv module and float() give their cells."""

from __future__ import annotations

import importlib
import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.data.bars import bar
from ranvier.data.datasets.text_table import MISSING, TextTable

__all__ = ["Frame", "parsed"]

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
        codes, found = self._pandas.factorize(self._texts[column])
        return list(found), codes

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
