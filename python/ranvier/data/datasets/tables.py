"""Tables in text files: one sample in each line."""

from __future__ import annotations

import difflib
import gzip
import re
import warnings
import zlib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.data.dataset import one_of
from ranvier.data.datasets.columns import Columns, read_columns
from ranvier.data.datasets.samples import TASKS, PathLike, Samples, require_file, targets
from ranvier.data.datasets.text_table import MARKS, WORD, TableError, TextTable, read_table

__all__ = ["load_csv", "load_digit_recognizer"]

LABELS = ("label", "target", "class", "y")  # names of a column of labels with label="auto"
ZEROS = re.compile(r"0\d+")  # codes such as "007"
EXACT = 2.0**53  # float64 represents all smaller whole numbers exactly
PIXELS = [f"pixel{i}" for i in range(784)]
DIGITS = (PIXELS, ["label", *PIXELS])  # the columns of Kaggle's tables of digits
FLOAT32 = float(np.finfo(np.float32).max)


def load_csv(
    path: PathLike,
    label: str | int | None = "auto",
    *,
    header: bool | str = "auto",
    delimiter: str | None = None,
    missing_marks: Collection[str] | None = None,
    task: str = "auto",
    missing: str = "error",
    categories: bool | Sequence[str] | Mapping[str, Sequence[str] | None] = False,
    unknown: Sequence[str] = (),
    without: Sequence[str] = (),
    decimal: str = ".",
    encoding: str | None = None,
    dtype: Any = np.float32,
) -> Samples:
    """A table of numbers with one column of labels, which pandas parses; a separator may end its lines.

    Args:
        path: a text file, gzipped if its name ends in .gz; or a .parquet file.
        label: the column of labels, by name or by number (negative ones count from the end); None if there is
            none; "auto" takes, of those not left out, one named label, target, class or y, else the last.
        header: whether the first line has the names of the columns; "auto": it has if words stand above
            numbers, if its words do not occur again, if its numbers count, or if an argument names a column.
        delimiter: one character, or " " for runs of blanks; by default comma, semicolon, tab, "|" or blanks:
            what divides most lines into equal numbers of cells.
        missing_marks: texts that mean a missing value, in any case; by default ?, NA, N/A, NaN, null, none,
            -, --, #N/A, #NA, <NA>. An empty cell always means one.
        task: "classification": labels are classes; "regression": they are values; "auto": text and whole
            numbers are classes, other numbers are values. Codes with leading zeros, such as 007, are text.
        missing: for missing values: "error"; "drop" leaves these lines out; "keep" reads NaN, and leaves
            lines without a label out, with a warning.
        categories: True: columns of words (a tenth of the cells or more) are categories, numbered in sorted
            order; names: also these columns; a mapping from columns to their categories: the same numbers as
            in another table. `TableEncoder` makes one-hot columns or class indices of them.
        unknown: names of columns in which a category that such a mapping does not have is -1, with a warning.
        without: names of columns to leave out.
        decimal: the decimal separator, "." or ",".
        encoding: by default UTF-8 (UTF-16 with a byte order mark); latin-1 and others by name.
        dtype: of x and of values: float32, or float64 for large numbers that differ little.

    Returns: Samples: x (n, columns), y, the names of classes and columns, the categories of columns.

    Raises:
        FileNotFoundError: no such file.
        ImportError: pandas is not installed.
        ValueError: a missing value, text, a date or a decimal comma in a column of numbers, an unknown
            category, lines of unequal length, another encoding, or no such column; a label such as None or NA
            among words, unless missing_marks says whether it is a class. The message names line and column.

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
    named = [] if isinstance(categories, bool) else [*categories]
    known = [name for name in (*without, *named, label) if isinstance(name, str) and name != "auto"]
    file = require_file("load_csv", path)
    table = read_table(file, header, delimiter, decimal, encoding, missing_marks, known)
    cells = Columns(table)
    left_out = {_column_of(table, name) for name in without}
    at = None if label is None else _column_of(table, label, left_out)
    if at is not None and at in left_out:
        text = "as label and in without (--label, --without); expected it in one of them"
        raise ValueError(f"[load_csv] got {table.column(at)} {text}")
    for name in named if not isinstance(categories, Mapping) else ():
        _column_of(table, name)
    features = [column for column in range(table.width) if column not in (at, *left_out)]
    if not features:
        text = f"'{path}' has no columns beside the label; expected at least one (the cells are"
        raise TableError(f"{text} {table.separated})", *_other_separator(table))
    labels = None if at is None else _labels(cells, at, task, missing)
    empty = np.zeros(len(cells), np.bool_) if at is None else cells.missing(at)
    if missing == "drop":
        empty = np.any([empty, *map(cells.missing, features)], axis=0)
    elif empty.any():
        count = f"{empty.sum()} of {len(cells)} lines without a label"
        warnings.warn(f"[load_csv] '{path}' has {count}, which are left out", stacklevel=2)
    if empty.all():
        raise ValueError(f"[load_csv] '{path}' has a missing value in each line; expected a full one")
    x, kinds = read_columns(cells, features, FLOAT32, missing != "error", categories, unknown)
    names = tuple(table.names[column] for column in features) if table.names else None
    rows = np.flatnonzero(~empty) if missing == "drop" or empty.any() else None
    x = (x if rows is None else x[rows]).astype(dtype)
    if at is None or labels is None:
        return Samples(x, None, None, names, categories=kinds, rows=rows)
    try:
        y, class_names = targets(labels if rows is None else labels[rows], task, dtype)
    except ValueError as error:
        raise ValueError(f"[load_csv] '{path}' {table.column(at)}: {error}") from None
    target = table.names[at] if table.names else None
    return Samples(x, y, class_names, names, categories=kinds, rows=rows, target=target)


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
    if table.names not in DIGITS:
        raise ValueError(f"[{name}] '{path}' has other columns; expected label, pixel0 ... pixel783")
    cells = Columns(table)
    values = np.stack([cells.numbers(column) for column in range(table.width)], axis=1)
    pixels, y = values[:, -784:], None
    if table.width == 785:
        y = values[:, 0].astype(np.int64)
        if not (np.array_equal(y, values[:, 0]) and y.min() >= 0 and y.max() <= 9):
            raise ValueError(f"[{name}] '{path}' has other labels; expected 0 to 9")
    if pixels.min() < 0 or pixels.max() > 255:
        raise ValueError(f"[{name}] '{path}' has a pixel beyond 0 to 255")
    x = (pixels.astype(np.float32) / np.float32(255)).reshape(-1, 1, 28, 28)
    return Samples(x, y, tuple("0123456789"), scale=255.0)


def is_digit_table(path: Path) -> bool:
    """Whether a file is a table of Kaggle's digits, by its first line."""
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else open(path) as stream:
            return stream.readline(1 << 20).strip().split(",") in DIGITS
    except (OSError, EOFError, zlib.error, UnicodeDecodeError):
        return False  # load_csv raises the error


def _column_of(table: TextTable, label: str | int, without: Collection[int] = ()) -> int:
    """The number of a column."""
    names = table.names or list(map(str, range(table.width)))
    if isinstance(label, bool) or not isinstance(label, (str, int, np.integer)):
        raise TypeError(f"[load_csv] got label {label!r}; expected a column's name or number, or None")
    if not isinstance(label, str):
        if not -table.width <= label < table.width:
            raise ValueError(f"[load_csv] got label {label} for {table.width} columns in '{table.path}'")
        return int(label) % table.width
    if label == "auto":
        free = [i for i in range(table.width) if i not in without] or [table.width - 1]
        return next((i for i in free if names[i].lower() in LABELS), free[-1])
    if names.count(label) > 1:
        text = f"'{table.path}' has more than one column '{label}'; expected one, or its number"
        raise ValueError(f"[load_csv] {text}")
    if label not in names:
        columns = ", ".join(table.names) if table.names else "none: the file has no header"
        one = f" (the cells are {table.separated})" * (table.width == 1)
        near = difflib.get_close_matches(label, table.names or [], 1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        text = f"'{table.path}' has no column '{label}'; its columns are {columns}{one}{meant}"
        raise TableError(text, *_other_separator(table))
    return names.index(label)


def _other_separator(table: TextTable) -> list[tuple[str, str, str]]:
    line = "".join(table.names or table.head[0])
    marks = re.findall(r"[^\w\s.,'\"+-]", line) or [";" if table.delimiter == "," else ","]
    return [("delimiter", marks[0], "names another separator")] if table.width == 1 else []


def _labels(cells: Columns, at: int, task: str, missing: str) -> Array:
    """The cells of the column of labels: numbers if all are numbers, else words.

    Classes that are whole numbers too large for float64, or begin with 0 as "007" does, are words. Missing
    labels are allowed unless `missing` is "error".
    """
    table, empty = cells.table, cells.missing(at)
    _, _, commas, dates, words = cells.counts(at)
    if task == "regression" and cells.is_words(at):
        word = cells.cell(at, cells.first(at, WORD))
        text = f"'{table.path}' {table.column(at)} has words, such as {word!r}; expected numbers to predict"
        raise TableError(text, ("task", "classification", "takes words as classes"))
    gaps = np.flatnonzero(empty).tolist()
    if words and table.marks is MARKS:  # a mark such as None or NA may be a class
        marks = [row for row in gaps if cells.cell(at, row).replace("/", "").isalpha()]
        if marks:
            cell, count = cells.cell(at, marks[0]), f"as {len(marks)} of {len(cells)} lines do"
            raise TableError(
                f"{cells.where(at, marks[0])} holds {cell!r} ({count}), a class or a missing label",
                ("missing_marks", ["?"], "makes it a class"),
                ("missing_marks", [cell], "makes it a missing label"),
            )
    if missing == "error" and gaps:
        cells.refuse(at, gaps[0])
    digits = any(len(line) > at and ZEROS.fullmatch(line[at]) for line in table.head)
    if task == "regression" or not (digits or dates or words or (commas and task != "auto")):
        numbers = cells.numbers(at, missing=True)
        whole = bool((numbers == np.rint(numbers))[~empty].all())
        if task == "regression" or not whole or (np.abs(numbers[~empty]) < EXACT).all():
            return numbers
    texts, _, codes = cells.texts(at)
    return np.array(texts)[codes]
