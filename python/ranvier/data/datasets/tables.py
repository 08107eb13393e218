"""Tables in text files: one sample in each line."""

from __future__ import annotations

import difflib
import gzip
import re
import warnings
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import Array
from ranvier.data.dataset import one_of
from ranvier.data.datasets.columns import Columns, read_columns
from ranvier.data.datasets.samples import TASKS, PathLike, Samples, require_file, targets
from ranvier.data.datasets.text_table import DECIMAL_COMMA, TableError, TextTable, is_number, read_table

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
    header: bool | str = "auto",
    delimiter: str | None = None,
    missing_marks: Collection[str] | None = None,
    task: str = "auto",
    missing: str = "error",
    categories: Categories = False,
    unknown: Sequence[str] = (),
    without: Sequence[str] = (),
    decimal: str = ".",
    encoding: str | None = None,
    dtype: Any = np.float32,
) -> Samples:
    """A table of numbers with one column of labels, which pandas parses.

    Lines that begin with "#" above the table, and empty lines, are no part of it.

    Args:
        path: a text file, gzipped if its name ends in .gz; or a .parquet file.
        label: the column of labels, by name or by number (negative ones count from the end); None if there is
            none; "auto" takes, of those not left out, one named label, target, class or y, else the last.
        header: whether the first line has the names of the columns; "auto": it has if words stand above
            numbers, if its words do not occur in their columns again, if its numbers count from 0 above other
            numbers, or if other arguments name a column of it.
        delimiter: what separates the cells, one character, or " " for runs of blanks; by default what divides
            most lines into equal numbers of cells: comma, semicolon, tab, "|" or blanks.
        missing_marks: texts that mean a missing value, in any case; by default ?, NA, N/A, NaN, null, none,
            -, --, #N/A, #NA, <NA>. An empty cell always means one.
        task: "classification": labels are classes; "regression": they are values; "auto": text and whole
            numbers are classes, other numbers are values. Codes with leading zeros, such as 007, are text.
        missing: for missing values: "error"; "drop" leaves these lines out; "keep" reads NaN, and leaves
            lines without a label out, with a warning.
        categories: True: columns of words are categories, which are numbered in sorted order; names: also
            these columns, even if they are numbers; a mapping from columns to their categories: the same
            numbers as in another table. `TableEncoder` makes one-hot columns or class indices of them. Where
            nine tenths of the cells are numbers, a word is an error.
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
    known = [*without, *(() if isinstance(categories, bool) else categories), label]
    names = [name for name in known if isinstance(name, str) and name != "auto"]
    file = require_file("load_csv", path)
    cells = Columns(read_table(file, header, delimiter, decimal, encoding, missing_marks, names))
    table = cells.table
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
        text = f"'{path}' has no columns beside the label; expected at least one (the cells are"
        raise TableError(f"{text} {table.separated})", *_other_separator(table))
    labels = None if at is None else _labels(cells, at, task, missing)
    empty = np.zeros(len(cells), np.bool_) if at is None else cells.missing(at)
    if missing == "drop":
        empty = np.any([empty, *map(cells.missing, features)], axis=0)
    rows = None if missing == "error" or (missing == "keep" and not empty.any()) else np.flatnonzero(~empty)
    if rows is not None and not len(rows):
        raise ValueError(f"[load_csv] '{path}' has a missing value in each line; expected a full one")
    if missing == "keep" and rows is not None:
        count = f"{len(cells) - len(rows)} of {len(cells)} lines without a label"
        warnings.warn(f"[load_csv] '{path}' has {count}, which are left out", stacklevel=2)
    x, kinds = read_columns(cells, features, FLOAT32, missing != "error", categories, unknown)
    columns = tuple(table.names[column] for column in features) if table.names else None
    samples = Samples(x.astype(dtype), None, None, columns, categories=kinds)
    if rows is not None:
        samples = replace(samples, x=samples.x[rows], rows=rows)
        labels = labels if labels is None else labels[rows]
    if at is None or labels is None:
        return samples
    try:
        y, class_names = targets(labels, task, dtype)
    except ValueError as error:
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
            one = f" (the cells are {table.separated})" * (table.width == 1)
            near = difflib.get_close_matches(label, table.names or [], 1)
            meant = f"; did you mean '{near[0]}'?" if near else ""
            text = f"'{table.path}' has no column '{label}'; its columns are {columns}{one}{meant}"
            raise TableError(text, *_other_separator(table))
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


def _other_separator(table: TextTable) -> list[tuple[str, str, str]]:
    marks = re.findall(r"[^\w\s.,'\"+-]", "".join(table.first)) or [";" if table.delimiter == "," else ","]
    return [("delimiter", marks[0], "names another separator")] if table.width == 1 else []


def _labels(cells: Columns, at: int, task: str, missing: str) -> Array:
    """The cells of the column of labels: numbers if all are numbers, else words.

    Classes that are whole numbers too large for float64, or begin with 0 as "007" does, are words. Missing
    labels are allowed unless `missing` is "error".
    """
    table, empty = cells.table, cells.missing(at)
    _, words = cells.shares(at)
    if task == "regression" and words and cells.is_words(at):
        raise TableError(
            f"'{table.path}' {table.column(at)} has words, such as {cells.first_word(at)!r}; expected "
            "numbers to predict",
            ("task", "classification", "takes words as classes"),
        )
    if empty.any():
        _require_no_class(cells, at, empty, words > 0)
        if missing == "error":
            row = int(empty.argmax())
            raise TableError(
                f"{cells.where(at, row)} has a missing label ({cells.cell(at, row)!r}); fill it in",
                ("missing", "drop", "leaves the line out"),
            )
    digits = task != "regression" and any(len(row) > at and ZEROS.fullmatch(row[at]) for row in table.head)
    if task == "regression" or (not digits and _of_values(cells, at, task)):
        numbers = cells.numbers(at, np.inf, missing=True)
        whole = bool((numbers == np.rint(numbers))[~empty].all())
        if task == "regression" or not whole or (np.abs(numbers[~empty]) < EXACT).all():
            return numbers
    texts, codes = cells.words(at)
    return np.array(texts)[codes]


def _require_no_class(cells: Columns, at: int, empty: npt.NDArray[np.bool_], words: bool) -> None:
    """Raise TableError for a mark such as None or NA among classes that are words: it may be a class."""
    if not words or cells.table.own_marks:
        return
    texts, codes = cells.words(at)
    rows = [row for row in np.flatnonzero(empty) if texts[codes[row]].replace("/", "").isalpha()]
    if rows:
        cell = cells.cell(at, int(rows[0]))
        raise TableError(
            f"{cells.where(at, int(rows[0]))} holds {cell!r} (as {len(rows)} of {len(cells)} lines do), a "
            "class or a missing label",
            ("missing_marks", ["?"], "makes it a class"),
            ("missing_marks", [cell], "makes it a missing label"),
        )


def _of_values(cells: Columns, at: int, task: str) -> bool:
    """Whether the cells are numbers, or numbers with a decimal comma (else "1,5" is the name of a class)."""
    if cells.is_numbers(at):
        return True
    table = cells.table
    texts = [text for text in cells.words(at)[0] if not table.is_missing(text)]
    others = [text for text in texts if not is_number(table.point(text))]
    return not others or (task == "auto" and all(map(DECIMAL_COMMA.fullmatch, others)))
