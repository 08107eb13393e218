"""Tables in text files: one sample in each line."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ranvier.data.datasets.columns import EXACT, FEW, Column, columns_of
from ranvier.data.datasets.samples import TASKS, PathLike, Samples, require_file, targets
from ranvier.data.datasets.text_table import DATE, GAP, MARKS, WORD, TableError, TextTable, read_table
from ranvier.tensors.errors import one_of
from ranvier.tensors.memory import Array

__all__ = ["load_csv"]

LABELS = ("label", "target", "class", "y")  # names of a column of labels with label="auto"
ZEROS = re.compile(r"0\d+")  # codes such as "007"
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
            -, --, #N/A, #NA, <NA>, Excel's errors such as #DIV/0!. An empty cell always means one.
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
            category, lines of unequal length, over 65,536 columns, another encoding, or no such column; a
            label such as None or NA among words, unless missing_marks says whether it is a class. The message
            names line and column.

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
    table = read_table(
        require_file("load_csv", path), header, delimiter, decimal, encoding, missing_marks, known
    )
    left_out = {_column_of(table, name) for name in without}
    at = None if label is None else _column_of(table, label, left_out)
    if at in left_out:
        text = "as label and in without (--label, --without); expected it in one of them"
        raise ValueError(f"[load_csv] got {table.column(at)} {text}")
    if isinstance(categories, Mapping):
        named = [name for name in named if categories[name] is not None]
    else:
        for name in named:
            _column_of(table, name)
    features = [column for column in range(table.width) if column not in (at, *left_out)]
    if not features:
        text = f"'{path}' has no columns beside the label; expected at least one (the cells are"
        raise TableError(f"{text} {table.separated})", *_other_separator(table))
    texts = {column for column in features if table.name(column) in named}
    wanted = features if at is None else [*features, at]
    columns = columns_of(table, wanted, texts if at is None or task == "regression" else {*texts, at})
    labels = None if at is None else _labels(columns[at], task, missing)
    empty = columns[features[0]].missing & False if at is None else columns[at].missing
    if missing == "drop":
        empty = np.any([empty, *(columns[column].missing for column in features)], axis=0)
    elif empty.any():
        count = f"{empty.sum()} of {len(empty)} lines without a label"
        warnings.warn(f"[load_csv] '{path}' has {count}, which are left out", stacklevel=2)
    if len(empty) > 1 and missing != "keep" and not isinstance(categories, Mapping):
        for column in map(columns.__getitem__, features):
            column.require_value()
    if empty.all():
        raise ValueError(f"[load_csv] '{path}' has a missing value in each line; expected a full one")
    x, kinds = np.empty((len(empty), len(features)), np.float64), []
    for i, column in enumerate(map(columns.__getitem__, features)):
        kinds.append(column.categories(categories))
        if (names := kinds[-1]) is None:
            x[:, i] = column.numbers(FLOAT32, missing != "error")
        else:
            x[:, i] = column.numbered(names, missing != "error", column.title in unknown)
    rows = np.flatnonzero(~empty) if missing == "drop" or empty.any() else None
    about: dict[str, Any] = {
        "categories": None if kinds.count(None) == len(kinds) else tuple(kinds),
        "rows": rows,
    }
    if table.names:
        about["feature_names"] = tuple(table.names[column] for column in features)
    x = (x if rows is None else x[rows]).astype(dtype)
    if at is None or labels is None:
        return Samples(x, None, **about)
    try:
        y, class_names = targets(labels if rows is None else labels[rows], task, dtype)
    except ValueError as error:
        raise ValueError(f"[load_csv] '{path}' {table.column(at)}: {error}") from None
    return Samples(x, y, class_names, target=table.names[at] if table.names else None, **about)


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


def _labels(column: Column, task: str, missing: str) -> Array:
    """The cells of the column of labels: numbers if all are numbers, else words.

    Classes that are whole numbers too large for float64, or begin with 0 as "007" does, are words. Missing
    labels are allowed unless `missing` is "error".
    """
    table, at, (_, _, commas, dates, words) = column.table, column.at, column.counts
    column.is_label = True
    several = len(column.texts) > min(20, len(column.missing) // 2)
    if task == "regression" or (task == "auto" and several):
        if dates > words:
            column.refuse(column.of_kind(DATE)[0])
        column.refuse_forms(0 if task == "regression" else FEW)
        if words > 0 and not column.is_words and any("." in text for text in column.texts):
            column.refuse(column.of_kind(WORD)[0])
    if task == "regression" and column.is_words:
        word = column.of_kind(WORD)[1]
        text = f"'{table.path}' {table.column(at)} has words, such as {word!r}; expected numbers to predict"
        raise TableError(text, ("task", "classification", "takes words as classes"))
    if words and table.marks is MARKS:  # a mark such as None or NA may be a class
        pairs = enumerate(zip(column.texts, column.kinds, strict=True))
        marks = [code for code, (text, kind) in pairs if kind == GAP and text.replace("/", "").isalpha()]
        rows = np.flatnonzero(np.isin(column.codes, marks))
        if len(rows):
            where, cell = table.cell(int(rows[0]), at)
            raise TableError(
                f"{where} holds {cell!r} (as {len(rows)} of {len(column.missing)} lines do), a class or a "
                "missing label",
                ("missing_marks", ["?"], "makes it a class"),
                ("missing_marks", [cell], "makes it a missing label"),
            )
    if missing == "error" and column.missing.any():
        column.refuse(int(column.missing.argmax()))
    digits = any(len(line) > at and ZEROS.fullmatch(line[at]) for line in table.head)
    if task == "regression" or not (digits or dates or words or (commas and task != "auto")):
        numbers = column.numbers(missing=True)
        whole = bool((numbers == np.rint(numbers))[~column.missing].all())
        if task == "regression" or not whole or (np.abs(numbers[~column.missing]) < EXACT).all():
            return numbers
    column.warn_of_case(column.texts)
    return np.array(column.texts)[column.codes]
