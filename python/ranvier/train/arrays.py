"""Data of any library as NumPy arrays: data frames, series, tensors of PyTorch, lists, nullable values.

`to_array` converts, `require_finite` finds NaN and infinite values before the first step, with their place.
Trainer, estimators and commands use them; "name" and "argument" are the method and the argument that errors
name. Objects of other libraries are known by their attributes, so that none of them has to be imported.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import date, time, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor
from ranvier.data.checks import first_not_finite
from ranvier.tensors.memory import Array, plain

if TYPE_CHECKING:
    from ranvier.tensors.types import DtypeLike

_MISSING = ("NAType", "NaTType")  # the types of missing values in pandas

# kinds of NumPy's dtypes: floats, integers, unsigned integers, bools
_NUMBERS = "fiub"
_NUMBERS_AND_TEXT = _NUMBERS + "UO"  # and str, and objects


def array_like(x: object) -> bool:
    """True for all data at once; False for a loader that gives batches."""
    methods = ("__array__", "to_numpy", "__dataframe__")
    return isinstance(x, (np.ndarray, Tensor)) or any(hasattr(x, name) for name in methods)


def column_names(x: object) -> list[Any] | None:
    """The names of a data frame's columns; None for other data."""
    names = getattr(x, "column_names", None)  # A table of Arrow has this attribute.
    if names is None:
        names = getattr(x, "columns", None)
    if names is None or not array_like(x):
        return None
    return list(names)


def categories(x: object) -> bool:
    """True for a series of pandas' dtype "category"."""
    dtype = getattr(x, "dtype", None)
    return getattr(dtype, "categories", None) is not None


def to_array(name: str, argument: str, value: Any, text: bool = False) -> Array:
    """`value` as an array of numbers; missing values are NaN.

    Args:
        name, argument: the method and the argument that errors name.
        text: whether strings and other labels are allowed; they become an array of str or object.

    Raises:
        TypeError: text, dates or other values that are no numbers.
        ValueError: lists of unequal lengths, a number instead of an array.
    """
    raw = getattr(value, "_array", value)
    if raw is value and hasattr(raw, "detach"):  # a tensor of torch
        raw = raw.detach()
    names = column_names(raw)
    if names is not None and len(set(names)) < len(names):
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"[{name}] got {argument} with two columns '{twice}'; expected different names")
    if hasattr(raw, "toarray"):
        raise TypeError(
            f"[{name}] got {argument} that is a sparse matrix; expected a dense array: {argument}.toarray()"
        )
    array = _as_array(name, argument, raw)
    if names is not None and (array.dtype.kind not in _NUMBERS or any(map(is_date, _dtypes(raw)))):
        array = _by_column(name, argument, raw, names, text)
    elif array.dtype.kind == "O":
        array = _from_objects(array)
    elif array.dtype.kind == "S" and text:
        array = array.astype(str)
    if isinstance(raw, (dict, set, frozenset)):
        remedy = ""
        if isinstance(raw, dict):
            remedy = ": np.stack(list(d.values()), axis=1) of a dict of columns"
        raise TypeError(f"[{name}] got {argument} of type {type(raw).__name__}; expected an array{remedy}")
    _require_allowed(name, argument, array, text)
    if array.ndim == 0:
        raise ValueError(f"[{name}] got {argument} that is a number; expected one entry per sample")
    return array


def _require_allowed(name: str, argument: str, array: Array, text: bool) -> None:
    """Raise TypeError for an array of anything but numbers, and labels if `text` is True."""
    kind = array.dtype.kind
    content = "" if kind in _NUMBERS or kind == "U" else content_of(array)
    has_dates = content in DATES
    allowed = _NUMBERS_AND_TEXT if text else _NUMBERS
    if kind in allowed and not has_dates:
        return
    content = content or "text"
    found = f"dtype {array.dtype}"
    if has_dates and kind == "O":
        found += f" that holds {content}"
    remedy = _REMEDIES[content]
    if has_dates and text:
        remedy += ", or y.astype(str) for labels"
    raise TypeError(f"[{name}] got {argument} of {found}; expected numbers{remedy}")


def is_missing(value: object) -> bool:
    """True for None, NaN and pandas' NA."""
    if value is None or type(value).__name__ in _MISSING:
        return True
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def is_date(dtype: DtypeLike | None) -> bool:
    """True if a column's dtype, of any library, is one of dates, times, durations or periods."""
    if isinstance(dtype, np.dtype):
        return dtype.kind in "mM"
    return str(dtype).lower().startswith(("date", "time", "duration", "period"))


def _dtypes(frame: Any) -> Sequence[Any]:
    """The dtypes of a data frame's columns."""
    dtypes: Any = getattr(frame, "dtypes", None)
    if dtypes is None:  # a table of Arrow
        schema = getattr(frame, "schema", None)
        dtypes = getattr(schema, "types", ())
    return list(dtypes)


def require_labels(name: str, array: Array) -> None:
    """Refuse labels that are missing, or of several types among words; the error names the first row.

    array: labels, a row for each sample.

    Raises ValueError: a label is missing. TypeError: words beside others, which have no common order.
    """
    if array.dtype.kind not in "Of" or not array.size:
        return
    values = array.ravel().tolist()
    width = array.size // len(array)
    if array.dtype.kind == "f":
        missing = np.isnan(array.ravel())
    else:
        missing = np.array([is_missing(v) for v in values])
    if missing.any():
        rows = np.flatnonzero(missing) // width
        raise ValueError(
            f"[{name}] got y without a label at row {rows[0]} ({len(rows)} such rows); expected a label "
            "for each sample: fill them in, or leave the rows out"
        )
    kinds = [_kind(value) for value in values]
    counts = Counter(kinds)
    if "text" in counts and len(counts) > 1:
        [(usual, _)] = counts.most_common(1)
        at = next(i for i, kind in enumerate(kinds) if kind != usual)
        types = ", ".join(sorted({type(value).__name__ for value in values}))
        raise TypeError(
            f"[{name}] got labels of the types {types}, such as {values[at]!r} at row {at // width}; "
            "expected labels of one type: y.astype(str)"
        )


def _as_array(name: str, argument: str, raw: Any) -> Array:
    """What NumPy makes of data; an empty array of objects for a table that has to be read by column."""
    if not isinstance(raw, np.ndarray) and not hasattr(raw, "__array__") and array_like(raw):
        if not hasattr(raw, "to_numpy"):
            return np.empty(0, object)  # read by column
        raw = raw.to_numpy()
    elif hasattr(raw, "__next__"):
        raise TypeError(
            f"[{name}] got {argument} of type {type(raw).__name__}, which can be read only once; expected an "
            "array: np.stack(list(...)), or a DataLoader"
        )
    raw = plain(name, raw)
    try:
        return np.asarray(raw)
    except ValueError as error:  # lists of unequal length
        raise ValueError(f"[{name}] got {argument} that is no array: {error}") from None
    except TypeError as error:
        raise TypeError(
            f"[{name}] got {argument} that NumPy cannot hold: {error}; expected numbers (float() of a tensor)"
        ) from None


def _from_objects(array: Array) -> Array:
    """An array of objects as one of numbers or of str, where all values are of that kind."""
    values = array.ravel().tolist()
    present = [value for value in values if not is_missing(value)]
    kinds = {_kind(value) for value in present}
    is_complete = len(present) == len(values)
    if kinds == {"text"} and is_complete:
        return np.array(present).reshape(array.shape)
    if not kinds <= {"bool", "number"} or not present:
        return array
    if is_complete and not any(_is_exact(value) for value in present):
        numbers = np.array(present)
        if numbers.dtype.kind not in _NUMBERS:
            return array
        return numbers.reshape(array.shape)
    floats = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        if not is_missing(value):
            floats[i] = float(value)
    return floats.reshape(array.shape)


def _kind(value: object) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, (int, float, np.integer, np.floating)):
        return "number"
    if isinstance(value, str):
        return "text"
    if _is_exact(value):
        return "number"
    return "other"


def _is_exact(value: object) -> bool:
    """True for a Decimal or a Fraction, whose modules are loaded for arrays of objects only."""
    from decimal import Decimal
    from fractions import Fraction

    return isinstance(value, (Decimal, Fraction))


def _by_column(name: str, argument: str, frame: Any, names: Sequence[Any], text: bool) -> Array:
    """A data frame of several dtypes, column after column; text: whether labels are allowed."""
    allowed = _NUMBERS_AND_TEXT if text else _NUMBERS
    columns = []
    wrong = []
    for column in names:
        series = frame[column]
        array = _as_array(name, argument, series)
        if array.dtype.kind == "O":
            array = _from_objects(array)
        columns.append(array)
        if array.ndim != 1 or array.dtype.kind not in allowed:
            wrong.append((column, array))
    if wrong:
        column, array = wrong[0]
        more = f" and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        content = content_of(array)
        raise TypeError(
            f"[{name}] got {argument} with {content} in column '{column}'{more}; expected "
            f"numbers{_REMEDIES[content]}"
        )
    return np.stack(columns, axis=1)


_KINDS = {"M": "dates", "m": "durations", "U": "text", "S": "text", "c": "complex numbers", "V": "records"}
_REMEDIES = {
    "records": ": numpy.lib.recfunctions.structured_to_unstructured of an array of records",
    "dates": ": pass parts of dates (year, month, day of the week) or days since a first day",
    "durations": ": pass parts of dates (year, month, day of the week) or days since a first day",
    "complex numbers": ": split complex numbers into array.real and array.imag",
    "text": ": convert text that holds numbers by astype(float), make columns of 0 and 1 of categories "
    "(pandas.get_dummies), and counts or indices of words of sentences (docs/generation.md)",
    "objects": "",
    "lists": ": make a column for each entry (pandas.DataFrame(X[column].tolist())), or an array by np.stack",
}


DATES = ("dates", "durations")


def content_of(array: Array) -> str:
    """The content of an array without numbers, in words; for objects, by the first kind that is found."""
    if array.dtype.kind != "O":
        return _KINDS.get(array.dtype.kind, "objects")
    types = set(map(type, array.ravel().tolist()))
    if str in types:
        return "text"
    if any(issubclass(t, (timedelta, np.timedelta64)) for t in types):
        return "durations"
    if any(issubclass(t, (list, tuple, np.ndarray, Tensor)) for t in types):
        return "lists"
    if any(issubclass(t, (date, time, np.datetime64)) or t.__name__ == "Period" for t in types):
        return "dates"
    return "objects"


MODES = ("raise", "warn", "ignore")


def require_finite(name: str, argument: str, array: Array, original: Any, mode: str = "raise") -> None:
    """Raise ValueError (mode "warn": warn) at a value that is NaN or infinite.

    Args:
        name, argument: the method and the argument that the error names.
        array: after conversion, samples along axis 0.
        original: before conversion, where a number may have been finite.
    """
    if mode == "ignore" or array.dtype.kind != "f":
        return
    # The sum takes half the time; it may be infinite of large numbers too.
    if array.dtype.char in "fd" and math.isfinite(_core.sum(array).item()):
        return
    if np.isfinite(array).all():
        return
    left_out = "out"
    if name.startswith("Trainer"):  # estimators have no such setting
        left_out = "out (on_nonfinite='ignore' takes them as they are)"
    text = f"[{name}] got {argument} with {_first_wrong(array, original, left_out)}"
    if mode == "raise":
        raise ValueError(text)
    warnings.warn(text, stacklevel=5)


def _first_wrong(array: Array, original: Any, left_out: str) -> str:
    """The first number that is NaN or infinite, its place and a remedy, in words.

    left_out: the end of the remedy, "leave the rows out", and what else may be done.
    """
    wrong = ~np.isfinite(array)
    at, place = first_not_finite(array)
    names = column_names(original)
    if names is not None and len(at) == 2:
        row, column = at
        place = f"row {row}, column '{names[column]}'"
    count = int(wrong.sum())
    if count > 1:
        rows = int(wrong.reshape(len(array), -1).any(axis=1).sum())
        unit = "row" if rows == 1 else "rows"
        place += f" ({count} such values in {rows} {unit})"
    raw = np.asarray(getattr(original, "_array", original))
    before = raw[at] if raw.shape == array.shape else None
    if isinstance(before, (int, float, np.number)) and np.isfinite(before):
        limit = f"{np.finfo(array.dtype).max:.3g}"
        return f"{before:g} at {place}; expected numbers of at most {limit}, which {array.dtype} holds"
    return f"{array[at]:g} at {place}; expected finite numbers: fill them in, or leave the rows {left_out}"
