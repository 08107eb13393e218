"""load_csv: tables, which pandas reads, as samples with labels; columns of words become categories."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.data.datasets.columns import EXACT, FEW, Column, columns_of
from ranvier.data.datasets.frames import Table
from ranvier.data.datasets.samples import TASKS, Samples, is_frame, targets
from ranvier.data.datasets.table_errors import Remedy, TableError, joined
from ranvier.data.datasets.table_settings import DATE, WORD, ZEROS
from ranvier.data.datasets.text_table import TextTable, table_of
from ranvier.tensors.errors import one_of
from ranvier.tensors.memory import Array
from ranvier.tensors.reading import reading

if TYPE_CHECKING:
    from ranvier.tensors.types import DtypeLike

__all__ = ["load_csv"]

LABELS = ("label", "target", "class", "y")  # names of a column of labels with label="auto"
FLOAT32 = float(np.finfo(np.float32).max)
REPORTED = 5  # columns in one error


def load_csv(
    path: Any,
    label: str | int | None = "auto",
    *,
    task: str = "auto",
    missing: str = "error",
    categories: bool | Sequence[str] | Mapping[str, Sequence[str] | None] = False,
    unknown: Sequence[str] = (),
    without: Sequence[str] = (),
    dtype: DtypeLike = np.float32,
    **read_csv: Any,
) -> Samples:
    """A table of numbers with one column of labels, which pandas reads.

    Args:
        path: a text file, gzipped if its name ends in .gz; a .parquet file; a data frame of pandas, polars or
            Arrow.
        label: the column of labels, by name or by number (negative ones count from the end); None if there is
            none; "auto" takes, of those not left out, one named label, target, class or y, else the last.
        task: "classification": labels are classes; "regression": they are values; "auto": text and whole
            numbers are classes, other numbers are values. Codes with leading zeros, such as 007, are text.
        missing: for missing values: "error"; "drop" leaves these lines out; "keep" reads NaN, and leaves
            lines without a label out, with a warning.
        categories: True: columns of words (a tenth of the cells or more) are categories, numbered in sorted
            order; names: also these columns; a mapping from columns to their categories: the same numbers as
            in another table. `TableEncoder` makes one-hot columns or class indices of them.
        unknown: names of columns in which a category that such a mapping does not have is -1, with a warning.
        without: names of columns to leave out.
        dtype: the dtype of x and of values: float32, which refuses large numbers that differ little, or
            float64.
        read_csv: settings of `pandas.read_csv` for a text file: sep, header, decimal, thousands, na_values,
            keep_default_na, encoding, comment, skiprows, nrows, parse_dates, date_format and dayfirst. For
            others call it, and pass the frame.

    sep is one character, or \\s+ for runs of blanks; by default the first of tab, semicolon, "|" and comma in
    the first line, else blanks. header is 0 or None; by default words are names and numbers are none; a line
    with both is an error. na_values are texts besides ?, NA, N/A, NaN, null, none, -, --, #N/A, #NA, <NA> and
    Excel's errors such as #DIV/0! (in any case), or without these if keep_default_na is False. Columns of
    parse_dates, and columns of dates in a frame, are days since 1970. A date whose year is not first needs
    date_format, or dayfirst (True or False). Flags of a frame are 0 and 1. Columns with codes such as 007 are
    categories, if not a mapping says that they are numbers.

    Returns: Samples: x (n, columns), y, the names of classes and columns, the categories of columns.

    Raises:
        FileNotFoundError: no such file.
        ImportError: pandas is not installed.
        ValueError: missing values, text, dates or decimal commas in columns of numbers, unknown categories,
            lines of unequal length, over 65,536 columns, another encoding, or no such column; a label such as
            None or NA among words, unless a setting says whether it is a class. The message names lines,
            columns and the settings that help.

    >>> import pathlib
    >>> from ranvier.data.datasets import load_csv
    >>> _ = pathlib.Path("pets.csv").write_text("weight,height,kind\\n4.5,25,cat\\n30,60,dog\\n5,24,cat\\n")
    >>> pets = load_csv("pets.csv", label="kind")
    >>> pets.x.tolist(), pets.y.tolist(), pets.class_names, pets.feature_names
    ([[4.5, 25.0], [30.0, 60.0], [5.0, 24.0]], [0, 1, 0], ('cat', 'dog'), ('weight', 'height'))
    """
    one_of("load_csv", "task", task, TASKS)
    one_of("load_csv", "missing", missing, ("error", "drop", "keep"))
    settings = (label, task, missing, categories, unknown, without, dtype, read_csv)
    if is_frame(path):
        return _samples(path, *settings)
    with reading("load_csv", path):
        return _samples(path, *settings)


def _samples(
    path: Any,
    label: str | int | None,
    task: str,
    missing: str,
    categories: bool | Sequence[str] | Mapping[str, Sequence[str] | None],
    unknown: Sequence[str],
    without: Sequence[str],
    dtype: Any,
    read_csv: dict[str, Any],
) -> Samples:
    """As `load_csv`, with errors of any kind."""
    named = [] if isinstance(categories, bool) else [*categories]
    known = [name for name in (*without, *named, label) if isinstance(name, str) and name != "auto"]
    table = table_of(path, known, **read_csv)
    at, features = _places(table, label, without)
    if isinstance(categories, Mapping):
        named = [name for name in named if categories[name] is not None]
    else:
        for name in named:
            table.at(name)
    if at is not None and any(table.at(name) == at for name in named):
        raise ValueError(
            f"[load_csv] got {table.column(at)} as label and in categories (--label, --categorical); "
            "expected task='classification' (--task) for labels that are classes"
        )
    texts = {column for column in features if table.name(column) in named}
    if at is not None and task != "regression":
        texts.add(at)
    used = features if at is None else [*features, at]
    columns = columns_of(table, used, texts)
    errors: list[TableError] = []
    labels = None
    with _noted(errors):
        labels = None if at is None else _labels(columns[at], task, missing)
    of_features = [columns[column] for column in features]
    gaps = missing == "keep" and not categories  # a column may have no value
    # whether each column must have a value: not of one row, nor of samples for a model, whose categories are
    # given (a mapping)
    full = len(of_features[0].missing) > 1 and not gaps and not isinstance(categories, Mapping)
    x = np.empty((len(of_features[0].missing), len(features)), np.float64)
    kinds = []
    for i, column in enumerate(of_features):
        with _noted(errors):
            if full:
                column.require_value()
            kinds.append(column.categories(categories))
            x[:, i] = _values(column, kinds[-1], missing, unknown, dtype)
        if len(errors) == REPORTED:
            break
    if errors:
        if len(errors) == 1:
            raise errors[0]
        raise joined(errors, table.title)
    label_column = None if at is None else columns[at]
    rows = _rows(table, of_features, label_column, missing)
    plain = all(kind is None for kind in kinds)
    names = table.names
    about: dict[str, Any] = {"categories": None, "rows": rows}
    if not plain:
        about["categories"] = tuple(kinds)
    if missing == "drop" and rows is not None:
        about["dropped"] = len(x) - len(rows)
    about["feature_names"] = tuple(names[column] for column in features) if names else None
    of_rows = labels
    if rows is not None:
        x = x[rows]
        of_rows = None if labels is None else labels[rows]
    x = x.astype(dtype)
    if at is None or labels is None or of_rows is None:
        return Samples(x, None, **about)
    try:
        y, class_names = targets(of_rows, task, dtype)
    except ValueError as error:
        raise ValueError(f"[load_csv] {table.title} {table.column(at)}: {error}") from None
    if class_names is None:
        columns[at].require_exact(labels, dtype)
    target = table.names[at] if table.names else None
    return Samples(x, y, class_names, target=target, **about)


def _values(
    column: Column,
    categories: tuple[str, ...] | None,
    missing: str,
    unknown: Sequence[str],
    dtype: DtypeLike | None,
) -> Array:
    """The numbers of a column, or of its categories."""
    if categories is None:
        values = column.numbers(FLOAT32, missing != "error")
        column.require_exact(values, dtype)
        return values
    return column.numbered(categories, missing != "error", column.title in unknown)


@contextmanager
def _noted(errors: list[TableError]) -> Iterator[None]:
    """Within the block, an error of the table is appended to the list, to report several together."""
    try:
        yield
    except TableError as error:
        errors.append(error)


def _places(table: Table, label: str | int | None, without: Sequence[str]) -> tuple[int | None, list[int]]:
    """The numbers of the column of labels and of those of features.

    The label "auto" is the first column with a name of LABELS, else the last column.
    """
    left_out = {table.at(name) for name in without}
    if label == "auto":
        names = table.names or [""] * table.width
        free = [i for i in range(table.width) if i not in left_out] or [table.width - 1]
        label = next((i for i in free if names[i].lower() in LABELS), free[-1])
    at = None if label is None else table.at(label)
    if at in left_out:
        text = "as label and in without (--label, --without); expected it in one of them"
        raise ValueError(f"[load_csv] got {table.column(at)} {text}")
    features = [column for column in range(table.width) if column not in (at, *left_out)]
    if not features:
        text = f"{table.title} has no columns beside the label; expected at least one"
        remedies = table.other_separator() if table.width == 1 else []
        raise TableError(text, *remedies)
    counts = Counter(map(table.name, features))
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        text = f"{table.title} has more than one column {twice[0]!r}; expected different names"
        numbered: Remedy = ("header", None, "numbers them, beside skiprows for the line of names")
        renumbering = [numbered] if table.marks else []
        raise TableError(f"{text}: rename one", *renumbering)
    return at, features


def _rows(table: Table, features: list[Column], label: Column | None, missing: str) -> Array | None:
    """The indices of the rows that are kept; None for all."""
    if label is None:
        empty = features[0].missing & False  # no row
    else:
        empty = label.missing
    if missing == "drop":
        empty = np.any([empty, *(column.missing for column in features)], axis=0)
    elif empty.any():
        count = f"{empty.sum()} of {len(empty)} lines without a label"
        warnings.warn(f"[load_csv] {table.title} has {count}, which are left out", stacklevel=4)
    if empty.all():
        raise ValueError(f"[load_csv] {table.title} has a missing value in each line; expected a full one")
    if missing == "drop" or empty.any():
        return np.flatnonzero(~empty)
    return None


def _labels(column: Column, task: str, missing: str) -> Array:
    """The cells of the column of labels: numbers if all are numbers, else words.

    Classes that are whole numbers too large for float64, or begin with 0 as "007" does, are words. Missing
    labels are allowed unless `missing` is "error".
    """
    table = column.table
    _, commas, dates, words = column.counts
    column.is_label = True
    several = len(column.texts) > min(20, len(column.missing) // 2)
    if task == "regression" or (task == "auto" and several):
        if dates > words:
            column.refuse(column.of_kind(DATE)[0])
        few = 0 if task == "regression" else FEW
        column.refuse_forms(few)
        if words > 0 and not column.is_words and any("." in text for text in column.texts):
            column.refuse(column.of_kind(WORD)[0])
    if task == "regression" and column.is_words:
        word = column.of_kind(WORD)[1]
        text = f"{table.title} {table.column(column.at)} has words, such as {word!r}"
        text = f"{text}; expected numbers to predict"
        raise TableError(text, ("task", "classification", "takes words as classes"))
    if words:
        _require_plain_marks(column)
    if missing == "error" and column.missing.any():
        column.refuse(int(column.missing.argmax()))
    coded = any(map(ZEROS.fullmatch, column.texts))
    if task == "regression" or not (coded or dates or words or (commas and task != "auto")):
        numbers = column.numbers(missing=True)
        whole = bool((numbers == np.rint(numbers))[~column.missing].all())
        exact = column.codes is None or bool((np.abs(numbers[~column.missing]) < EXACT).all())
        if task == "regression" or not whole or exact:
            return numbers
    column.warn_of_case(column.texts)
    return np.array(column.texts)[column.codes]


def _require_plain_marks(column: Column) -> None:
    """Raise TableError where a mark such as None or NA may be a class, unless a setting says what it is."""
    table, given = column.table, {mark.lower() for mark in column.table.settings["na_values"]}
    if not (isinstance(table, TextTable) and table.settings["keep_default_na"] and column.missing.any()):
        return
    cells = [cells[column.at] for _, cells in table.rows()]
    marks = [cell.replace("/", "").isalpha() and cell.lower() not in given for cell in cells]
    unclear = np.flatnonzero(column.missing & marks)
    if len(unclear):
        where, cell = table.cell(int(unclear[0]), column.at)
        text = (
            f"{where} holds {cell!r} (as {len(unclear)} of {len(marks)} lines do), a class or a missing label"
        )
        of_class = ("keep_default_na", False, "makes it a class")
        raise TableError(text, of_class, ("na_values", [cell], "makes it a missing label"))
