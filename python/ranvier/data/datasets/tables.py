"""Tables in text files: one sample per line, its numbers separated by commas."""

from __future__ import annotations

import difflib
import gzip
import re
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.data.dataset import one_of
from ranvier.data.datasets.columns import Columns, read_columns
from ranvier.data.datasets.samples import TASKS, PathLike, Samples, require_file, targets
from ranvier.data.datasets.text_table import DECIMAL_COMMA, TextTable, is_number, read_table

__all__ = ["load_csv", "load_digit_recognizer"]

LABELS = ("label", "target", "class", "y")  # names of a column of labels with label="auto"
ZEROS = re.compile(r"0\d+")  # codes such as "007"
EXACT = 2.0**53  # float64 represents all smaller whole numbers exactly
FLOAT32 = float(np.finfo(np.float32).max)
Categories = bool | Sequence[str] | Mapping[str, Sequence[str] | None]


def load_csv(
    path: PathLike,
    label: str | int | None = "auto",
    *,
    header: bool | None = None,
    delimiter: str | None = None,
    task: str = "auto",
    missing: str = "error",
    categories: Categories = False,
    unknown: Sequence[str] = (),
    without: Sequence[str] = (),
    decimal: str = ".",
    encoding: str | None = None,
    dtype: Any = np.float32,
) -> Samples:
    """A table of numbers with one column of labels. Large tables are parsed by pandas if it is installed.

    Args:
        path: a text file, gzipped if its name ends in .gz; or a .parquet file, which pandas reads.
        label: the column of labels, by name or by number (negative ones count from the end); None if there is
            none; "auto" takes, of those not left out, one named label, target, class or y, else the last.
        header: whether the first line has the names of the columns; by default, it has if a column has a word
            in the first line and a number in the second.
        delimiter: what separates the cells; by default comma, semicolon or tab.
        task: "classification": labels are classes; "regression": they are values; "auto": text and whole
            numbers are classes, other numbers are values. Codes with leading zeros, such as 007, are text.
        missing: for empty cells, NA, null, ? ...: "error"; "drop" leaves these lines out; "keep" reads NaN.
        categories: True: columns of words are categories, which are numbered in sorted order; names: also
            these columns, even if they are numbers; a mapping from columns to their categories: the same
            numbers as in another table. `TableEncoder` makes one-hot columns or class indices of them.
        unknown: names of columns in which a category that such a mapping does not have is -1, with a warning.
        without: names of columns to leave out.
        decimal: the decimal separator, "." or ",".
        encoding: by default UTF-8 (UTF-16 with a byte order mark); latin-1 and others by name.
        dtype: of x and of values: float32, or float64 for large numbers that differ little.

    Returns: Samples: x (n, columns), y, the names of classes and columns, the categories of columns.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a missing value, text, a date or a decimal comma in a column of numbers, an unknown
            category, lines of unequal length, another encoding, or no such column; the message names line
            and column.

    >>> import pathlib
    >>> from ranvier.data.datasets import load_csv
    >>> _ = pathlib.Path("pets.csv").write_text("weight,height,kind\\n4.5,25,cat\\n30,60,dog\\n5,24,cat\\n")
    >>> pets = load_csv("pets.csv", label="kind")
    >>> pets.x.tolist(), pets.y.tolist(), pets.class_names, pets.feature_names
    ([[4.5, 25.0], [30.0, 60.0], [5.0, 24.0]], [0, 1, 0], ('cat', 'dog'), ('weight', 'height'))
    """
    one_of("load_csv", "task", task, TASKS)
    if missing not in ("error", "drop", "keep"):
        raise ValueError(f"[load_csv] got missing {missing!r}; expected error, drop or keep")
    table = read_table(require_file("load_csv", path), header, delimiter, decimal, encoding)
    if header is None and isinstance(categories, Mapping) and {*table.first} & {*categories}:
        table = read_table(table.path, True, delimiter, decimal, encoding)  # words only, with known names
    cells = Columns(table)
    left_out = {_label_column(table, name) for name in without}
    at = _label_column(table, label, left_out)
    if at is not None and at in left_out:
        raise ValueError(
            f"[load_csv] got {table.column(at)} as label and in without (--label, --without); expected it in "
            "one of them"
        )
    _require_named(table, categories)
    features = [column for column in range(table.width) if column != at and column not in left_out]
    if not features:
        raise ValueError(f"[load_csv] '{path}' has no columns beside the label; expected at least one")
    rows = None
    if missing == "drop":
        empty = [cells.missing(column) for column in (features if at is None else [*features, at])]
        rows = np.flatnonzero(~np.any(empty, axis=0))
        if not len(rows):
            raise ValueError(f"[load_csv] '{path}' has a missing value in each line; expected a full one")
    x, kinds = read_columns(cells, features, FLOAT32, missing != "error", categories, unknown)
    names = tuple(table.names[column] for column in features) if table.names else None
    samples = Samples(x.astype(dtype), None, None, names, categories=kinds)
    if rows is not None:
        samples = replace(samples, x=samples.x[rows], rows=rows)
    if at is None:
        return samples
    try:
        y, class_names = targets(_labels(cells, at, task, rows), task, dtype)
    except ValueError as error:
        if str(error).startswith("[load_csv]"):
            raise
        raise ValueError(f"[load_csv] '{path}' {table.column(at)}: {error}") from None
    return replace(samples, y=y, class_names=class_names, target=table.names[at] if table.names else None)


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
    table = read_table(require_file(name, path), True, ",")
    if not is_digit_recognizer(table.names):
        raise ValueError(f"[{name}] '{path}' has other columns; expected label, pixel0 ... pixel783")
    values = Columns(table).numbers(list(range(table.width)))
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


def is_digit_table(path: Path) -> bool:
    """Whether a file is a table of Kaggle's digits."""
    return path.is_file() and path.suffix != ".parquet" and is_digit_recognizer(first_cells(path))


def first_cells(path: Path) -> list[str]:
    """The cells of the first line, without reading more of the file."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as stream:
        try:
            return stream.readline(1 << 20).strip().split(",")
        except (OSError, EOFError, zlib.error, UnicodeDecodeError):
            return []  # load_csv raises the error


def _label_column(
    table: TextTable, label: str | int | None, without: Collection[int | None] = ()
) -> int | None:
    if label is None:
        return None
    if isinstance(label, bool) or not isinstance(label, (str, int, np.integer)):
        raise TypeError(f"[load_csv] got label {label!r}; expected a column's name or number, or None")
    if isinstance(label, str):
        if label == "auto":
            free = [i for i in range(table.width) if i not in without] or [table.width - 1]
            named = [i for i in free if table.names and table.names[i].lower() in LABELS]
            return named[0] if named else free[-1]
        if label not in (table.names or []):
            columns = ", ".join(table.names) if table.names else "none: the file has no header"
            one = f" (the cells are separated by {table.delimiter!r}: pass delimiter=)" * (table.width == 1)
            if one and table.decimal == ",":
                one = " (with a decimal comma, semicolons or tabs separate the cells)"
            near = difflib.get_close_matches(label, table.names or [], 1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            raise ValueError(
                f"[load_csv] '{table.path}' has no column '{label}'; its columns are {columns}{one}{meant}"
            )
        if (table.names or []).count(label) > 1:
            raise ValueError(
                f"[load_csv] '{table.path}' has more than one column '{label}'; expected one, or its number"
            )
        return (table.names or []).index(label)
    if not -table.width <= label < table.width:
        raise ValueError(f"[load_csv] got label {label} for {table.width} columns in '{table.path}'")
    return int(label) % table.width


def _require_named(table: TextTable, categories: Categories) -> None:
    """Raise ValueError for a name of a column of categories that the table lacks."""
    if isinstance(categories, (bool, Mapping)):
        return
    names = table.names or [str(i) for i in range(table.width)]
    unknown = [name for name in categories if name not in names]
    if unknown:
        raise ValueError(
            f"[load_csv] '{table.path}' has no column '{unknown[0]}' to read as categories; its columns are "
            f"{', '.join(names)}"
        )


def _labels(cells: Columns, at: int, task: str, rows: Array | None) -> Array:
    """The cells of the column of labels: numbers if all are numbers, else words.

    Classes that are whole numbers too large for float64, or begin with 0 as "007" does, are words.
    """
    table = cells.table
    empty = cells.missing(at)
    if rows is not None:
        empty &= np.isin(np.arange(len(empty)), rows)
    if empty.any():
        row = int(empty.argmax())
        raise ValueError(
            f"[load_csv] '{table.path}' line {table.numbers[row]}, {table.column(at)} has a missing "
            f"label ({cells.cell(at, row)!r})"
        )
    if task == "regression" and cells.is_words(at):
        raise ValueError(
            f"[load_csv] '{table.path}' {table.column(at)} has words, such as {cells.cell(at, 0)!r}; "
            "expected numbers to predict, or task='classification' (--task classification)"
        )
    codes_of_digits = task != "regression" and any(map(ZEROS.fullmatch, table.beginning(at)))
    if not codes_of_digits and (
        cells.is_numbers(at) or task == "regression" or _of_values(cells, at, task, rows)
    ):
        numbers = cells.mixed(at, np.inf, False, rows)
        whole = bool((numbers == np.rint(numbers)).all())
        if task == "regression" or not whole or (np.abs(numbers) < EXACT).all():
            return numbers
    words, codes = cells.words(at)
    return np.array(words)[codes if rows is None else codes[rows]]


def _of_values(cells: Columns, at: int, task: str, rows: Array | None) -> bool:
    """Whether the cells are numbers, or numbers with a decimal comma (else "1,5" is the name of a class)."""
    words, codes = cells.words(at)
    chosen = np.unique(codes if rows is None else codes[rows]).tolist()
    no_numbers = [words[code] for code in chosen if not is_number(cells.table.point(words[code]))]
    return not no_numbers or (task == "auto" and all(map(DECIMAL_COMMA.fullmatch, no_numbers)))
