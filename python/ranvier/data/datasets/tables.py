"""Tables in text files: one sample per line, its numbers separated by commas."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import math
import re
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.data.datasets.samples import PathLike, Samples, require_file, require_task, targets

__all__ = ["load_csv", "load_digit_recognizer"]

LABELS = ("label", "target", "class", "y")  # names of a column of labels with label="auto"
EXACT = 2.0**53  # float64 represents all smaller whole numbers exactly
MISSING = ("", "na", "n/a", "nan", "null", "none", "?", "-")
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+")
LARGE = 4_000_000  # characters, from which the time to import pandas is worth it


def load_csv(
    path: PathLike,
    label: str | int | None = "auto",
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    task: str = "auto",
) -> Samples:
    """A table of numbers with one column of labels. Large tables are parsed by pandas if it is installed.

    Args:
        path: a text file (UTF-8), gzipped if its name ends in .gz.
        label: the column of labels, by name or by number (negative ones count from the end); None if there is
            none; "auto" takes a column named label, target, class or y, else the last.
        header: whether the first line has the names of the columns; by default, it has if a column has a word
            in the first line and a number in the second.
        delimiter: what separates the cells; by default comma, semicolon or tab.
        task: "classification": labels are classes; "regression": they are values; "auto": text and whole
            numbers are classes, other numbers are values.

    Returns: Samples: x float32 (n, columns), y, the names of classes and columns.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing value, text or a decimal comma in a column of numbers, lines of unequal length,
            or no such column; the message names line and column.

    >>> import pathlib
    >>> from ranvier.data.datasets import load_csv
    >>> _ = pathlib.Path("pets.csv").write_text("weight,height,kind\\n4.5,25,cat\\n30,60,dog\\n5,24,cat\\n")
    >>> pets = load_csv("pets.csv", label="kind")
    >>> pets.x.tolist(), pets.y.tolist(), pets.class_names, pets.feature_names
    ([[4.5, 25.0], [30.0, 60.0], [5.0, 24.0]], [0, 1, 0], ('cat', 'dog'), ('weight', 'height'))
    """
    require_task("load_csv", task)
    table = _read(require_file("load_csv", path), header, delimiter)
    at = _label_column(table, label)
    features = [column for column in range(table.width) if column != at]
    if not features:
        raise ValueError(f"[load_csv] '{path}' has no columns beside the label; expected at least one")
    x = _numbers(table, features, float(np.finfo(np.float32).max)).astype(np.float32)
    names = tuple(table.names[column] for column in features) if table.names else None
    if at is None:
        return Samples(x, None, None, names)
    try:
        y, class_names = targets(_labels(table, at, task), task)
    except ValueError as error:
        raise ValueError(f"[load_csv] '{path}' {table.column(at)}: {error}") from None
    return Samples(x, y, class_names, names)


def load_digit_recognizer(path: PathLike) -> Samples:
    """`train.csv` (or `test.csv`, without labels) of Kaggle's competition Digit Recognizer: MNIST's digits.

    The first column is the label; the other 784 are pixel0 to pixel783, with values from 0 to 255.

    Returns: Samples: x float32 (n, 1, 28, 28) in [0, 1]; y int64 (n,), or None.

    Raises FileNotFoundError: no such file; ValueError: another table, or a damaged one.

    Source: https://www.kaggle.com/competitions/digit-recognizer/data

    >>> import pathlib
    >>> from ranvier.data.datasets import load_digit_recognizer
    >>> names = ",".join(["label", *(f"pixel{i}" for i in range(784))])
    >>> _ = pathlib.Path("train.csv").write_text(names + "\\n7" + ",255" * 784 + "\\n")
    >>> digits = load_digit_recognizer("train.csv")
    >>> digits.x.shape, digits.x.max().item(), digits.y.tolist()
    ((1, 1, 28, 28), 1.0, [7])
    """
    name = "load_digit_recognizer"
    table = _read(require_file(name, path), True, ",")
    if not is_digit_recognizer(table.names):
        raise ValueError(f"[{name}] '{path}' has other columns; expected label, pixel0 ... pixel783")
    values = _numbers(table, list(range(table.width)))
    pixels, y = values[:, -784:], None
    if table.width == 785:
        y = values[:, 0].astype(np.int64)
        if not (np.array_equal(y, values[:, 0]) and y.min() >= 0 and y.max() <= 9):
            raise ValueError(f"[{name}] '{path}' has other labels; expected 0 to 9")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"[{name}] '{path}' has a pixel beyond 0 to 255")
    x = (pixels.astype(np.float32) / np.float32(255)).reshape(-1, 1, 28, 28)
    return Samples(x, y, tuple("0123456789"), scale=255.0)


def is_digit_recognizer(names: list[str] | None) -> bool:
    pixels = [f"pixel{i}" for i in range(784)]
    return names in (pixels, ["label", *pixels])


def first_cells(path: Path) -> list[str]:
    """The cells of the first line, without reading more of the file."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as stream:
        try:
            return stream.readline(1 << 20).strip().split(",")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError):
            return []  # load_csv raises the error


# --- the text


@dataclass
class _Table:
    path: Path
    delimiter: str
    names: list[str] | None
    lines: list[str]  # without the header and empty lines
    numbers: list[int]  # of the lines in the file, from 1
    width: int

    def column(self, at: int) -> str:
        return f"column '{self.names[at]}'" if self.names else f"column {at}"

    def rows(self) -> Iterator[list[str]]:
        return csv.reader(self.lines, delimiter=self.delimiter, skipinitialspace=True)


def _read(path: Path, header: bool | None, delimiter: str | None) -> _Table:
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else open(path, "rb") as stream:
            text = stream.read().decode("utf-8-sig")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"[load_csv] '{path}' is a damaged or cut off gzip file: {error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"[load_csv] '{path}' is no text in UTF-8: {error.reason}") from None
    kept = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    if not kept:
        raise ValueError(f"[load_csv] '{path}' is empty; expected lines of numbers")
    lines = [line for _, line in kept]
    delimiter = _delimiter(lines[0]) if delimiter is None else delimiter
    first, *second = csv.reader(lines[:2], delimiter=delimiter, skipinitialspace=True)
    if header is None:
        header = _is_header(first, second[0] if second else None)
    begin = 1 if header else 0
    names = [cell.strip() for cell in first] if header else None
    table = _Table(path, delimiter, names, lines[begin:], [n for n, _ in kept[begin:]], len(first))
    if not table.lines:
        raise ValueError(f"[load_csv] '{path}' has a header and no samples; expected at least one")
    _require_width(table)
    return table


def _delimiter(line: str) -> str:
    """The most frequent one, but not a comma within the numbers of a line with semicolons or tabs."""
    for found in (";", "\t"):
        if found in line and any(DECIMAL_COMMA.fullmatch(cell.strip()) for cell in line.split(found)):
            return found
    return max((",", ";", "\t"), key=line.count)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _is_header(first: list[str], second: list[str] | None) -> bool:
    if second is None:  # one line: a sample has at most one word, the label
        return sum(not _is_number(cell) for cell in first) > 1
    return any(not _is_number(a) and _is_number(b) for a, b in zip(first, second, strict=False))


def _require_width(table: _Table) -> None:
    if any('"' in line for line in table.lines):
        widths = [len(row) for row in table.rows()]
    else:
        widths = [line.count(table.delimiter) + 1 for line in table.lines]
    for number, width in zip(table.numbers, widths, strict=False):
        if width != table.width:
            raise ValueError(
                f"[load_csv] '{table.path}' line {number} has {width} cells; expected {table.width} as in "
                "the first line"
            )


def _label_column(table: _Table, label: str | int | None) -> int | None:
    if label is None:
        return None
    if isinstance(label, bool) or not isinstance(label, (str, int, np.integer)):
        raise TypeError(f"[load_csv] got label {label!r}; expected a column's name or number, or None")
    if isinstance(label, str):
        if label == "auto":
            named = [i for i, name in enumerate(table.names or []) if name.lower() in LABELS]
            return named[0] if named else table.width - 1
        if label not in (table.names or []):
            columns = ", ".join(table.names) if table.names else "none: the file has no header"
            raise ValueError(f"[load_csv] '{table.path}' has no column '{label}'; its columns are {columns}")
        if (table.names or []).count(label) > 1:
            raise ValueError(
                f"[load_csv] '{table.path}' has more than one column '{label}'; expected one, or its number"
            )
        return (table.names or []).index(label)
    if not -table.width <= label < table.width:
        raise ValueError(f"[load_csv] got label {label} for {table.width} columns in '{table.path}'")
    return int(label) % table.width


# --- the values


def _numbers(table: _Table, columns: list[int], limit: float = math.inf) -> Array:
    """The columns as float64, finite and between -limit and limit."""
    values = _pandas_numbers(table, columns) if sum(map(len, table.lines)) >= LARGE else None
    if values is None:
        how: dict[str, Any] = {"comments": None, "quotechar": '"', "usecols": columns, "ndmin": 2}
        try:
            values = np.loadtxt(table.lines, delimiter=table.delimiter, **how)
        except ValueError as error:
            _explain(table, columns)
            raise ValueError(f"[load_csv] '{table.path}': {error}") from None
    if not (np.isfinite(values).all() and (np.abs(values) <= limit).all()):
        _explain(table, columns, limit)
    return values


def _pandas_numbers(table: _Table, columns: list[int]) -> Array | None:
    """The columns parsed by pandas; None if it is not installed, or finds a column that is not of numbers.

    The types of the columns are left to pandas: with dtype=float64 it would read True as 1.
    """
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return None
    how = {"header": None, "na_filter": False, "skipinitialspace": True, "float_precision": "round_trip"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # float_precision is deprecated in pandas 3, necessary in pandas 2
        try:
            frame = pandas.read_csv(io.StringIO("\n".join(table.lines)), sep=table.delimiter, **how)
        except ValueError:
            return None
    found = frame[columns]
    numbers = all(kind.kind in "iuf" for kind in found.dtypes) and len(found) == len(table.lines)
    return found.to_numpy(np.float64) if numbers else None


def _explain(table: _Table, columns: list[int], limit: float = math.inf) -> None:
    """Raise the error of the first cell that is not a finite number, or is beyond the limit."""
    for number, row in zip(table.numbers, table.rows(), strict=False):
        for column in columns:
            cell = row[column].strip()
            where = f"[load_csv] '{table.path}' line {number}, {table.column(column)}"
            if _is_number(cell) and np.isfinite(float(cell)):
                if abs(float(cell)) <= limit:
                    continue
                raise ValueError(f"{where} holds {cell!r}; expected at most {limit:.3g}, which float32 holds")
            if cell.lower() in MISSING:
                raise ValueError(f"{where} has a missing value ({cell!r}); fill it in or leave the line out")
            if DECIMAL_COMMA.fullmatch(cell):
                raise ValueError(
                    f"{where} holds {cell!r}, with a decimal comma; expected a decimal point: replace the "
                    f"commas within numbers (the cells are separated by {table.delimiter!r})"
                )
            raise ValueError(
                f"{where} holds {cell!r}; expected a finite number. Replace words by numbers, or name this "
                "column as label"
            )


def _labels(table: _Table, at: int, task: str) -> Array:
    """The cells of the column of labels: numbers if all are numbers, else words.

    Classes that are whole numbers too large for float64 are words.
    """
    cells = [row[at].strip() for row in table.rows()]
    for number, cell in zip(table.numbers, cells, strict=True):
        if cell.lower() in MISSING:
            raise ValueError(
                f"[load_csv] '{table.path}' line {number}, {table.column(at)} has a missing label ({cell!r})"
            )
    no_numbers = [cell for cell in cells if not _is_number(cell)]
    values = task == "auto" and all(map(DECIMAL_COMMA.fullmatch, no_numbers))  # else classes such as "1,5"
    if not no_numbers or values or task == "regression":
        numbers: Array = _numbers(table, [at])[:, 0]
        whole = bool((numbers == np.rint(numbers)).all())
        if task == "regression" or not whole or bool((np.abs(numbers) < EXACT).all()):
            return numbers
    return np.array(cells)
