"""Data of any library as NumPy arrays: data frames, series, tensors of PyTorch, lists, nullable values.

NaN and infinite values in them are found before the first step, with row and column.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor
from ranvier.data.datasets.samples import first_not_finite
from ranvier.tensors.memory import Array, plain

if TYPE_CHECKING:
    from ranvier.tensors.types import DtypeLike

_MISSING = ("NAType", "NaTType")  # the types of missing values in pandas


def array_like(x: Any) -> bool:
    """True for all data at once; False for a loader that gives batches."""
    methods = ("__array__", "to_numpy", "__dataframe__")
    return isinstance(x, (np.ndarray, Tensor)) or any(hasattr(x, name) for name in methods)


def column_names(x: Any) -> list[Any] | None:
    """The names of a data frame's columns; None for other data."""
    names = getattr(x, "column_names", None)  # A table of Arrow has this attribute.
    if names is None:
        names = getattr(x, "columns", None)
    if names is None or not array_like(x):
        return None
    return list(names)


def categories(x: Any) -> bool:
    """True for a series of pandas' dtype "category"."""
    return getattr(getattr(x, "dtype", None), "categories", None) is not None


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
    if names is not None and (array.dtype.kind not in "fiub" or any(map(is_date, _dtypes(raw)))):
        array = _by_column(name, argument, raw, names, text)
    elif array.dtype.kind == "O":
        array = _from_objects(array)
    elif array.dtype.kind == "S" and text:
        array = array.astype(str)
    if isinstance(raw, (dict, set, frozenset)):
        columns = ": np.stack(list(d.values()), axis=1) of a dict of columns" * isinstance(raw, dict)
        raise TypeError(f"[{name}] got {argument} of type {type(raw).__name__}; expected an array{columns}")
    content = content_of(array) if array.dtype.kind not in "fiubU" else ""
    if content in DATES or array.dtype.kind not in ("fiubUO" if text else "fiub"):
        content = content or "text"
        if text and content in DATES:
            labels = ", or y.astype(str) for labels"
        else:
            labels = ""
        held = f" that holds {content}" * (content in DATES and array.dtype.kind == "O")
        raise TypeError(
            f"[{name}] got {argument} of dtype {array.dtype}{held}; expected "
            f"numbers{_REMEDIES[content]}{labels}"
        )
    if array.ndim == 0:
        raise ValueError(f"[{name}] got {argument} that is a number; expected one entry per sample")
    return array


def is_missing(value: Any) -> bool:
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
    dtypes = getattr(frame, "dtypes", None)
    return list(getattr(getattr(frame, "schema", None), "types", ()) if dtypes is None else dtypes)


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
        usual = counts.most_common(1)[0][0]
        at = next(i for i, kind in enumerate(kinds) if kind != usual)
        types = ", ".join(sorted({type(value).__name__ for value in values}))
        raise TypeError(
            f"[{name}] got labels of the types {types}, such as {values[at]!r} at row {at // width}; "
            "expected labels of one type: y.astype(str)"
        )


def _as_array(name: str, argument: str, raw: Any) -> Array:
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
    missing = [is_missing(value) for value in values]
    kept = [value for value, absent in zip(values, missing, strict=True) if not absent]
    kinds = {_kind(value) for value in kept}
    if kinds == {"text"} and not any(missing):
        return np.array(kept).reshape(array.shape)
    if not kinds <= {"bool", "number"} or not kept:
        return array
    if not any(missing) and not any(isinstance(value, (Decimal, Fraction)) for value in kept):
        numbers = np.array(kept)
        if numbers.dtype.kind not in "fiub":
            return array
        return numbers.reshape(array.shape)
    floats = [np.nan if absent else float(v) for v, absent in zip(values, missing, strict=True)]
    return np.array(floats).reshape(array.shape)


def _kind(value: Any) -> str:
    if isinstance(value, (bool, np.bool_)):
        return "bool"
    if isinstance(value, (int, float, np.integer, np.floating, Decimal, Fraction)):
        return "number"
    if isinstance(value, str):
        return "text"
    return "other"


def _by_column(name: str, argument: str, frame: Any, names: Sequence[Any], text: bool) -> Array:
    """A data frame of several dtypes, column after column."""
    columns = []
    wrong = []
    for column in names:
        series = frame[column]
        array = _as_array(name, argument, series)
        if array.dtype.kind == "O":
            array = _from_objects(array)
        columns.append(array)
        if array.ndim != 1 or array.dtype.kind not in ("fiubUO" if text else "fiub"):
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
    kinds = set(map(type, array.ravel().tolist()))
    if str in kinds:
        return "text"
    if any(issubclass(k, (timedelta, np.timedelta64)) for k in kinds):
        return "durations"
    if any(issubclass(k, (list, tuple, np.ndarray, Tensor)) for k in kinds):
        return "lists"
    dates = any(issubclass(k, (date, time, np.datetime64)) or k.__name__ == "Period" for k in kinds)
    if dates:
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
    if (array.dtype.char in "fd" and math.isfinite(_core.sum(array).item())) or np.isfinite(array).all():
        return
    # estimators have no such setting
    setting = "out" + " (on_nonfinite='ignore' takes them as they are)" * name.startswith("Trainer")
    text = f"[{name}] got {argument} with {_first_wrong(array, original, setting)}"
    if mode == "raise":
        raise ValueError(text)
    warnings.warn(text, stacklevel=5)


def _first_wrong(array: Array, original: Any, setting: str) -> str:
    wrong = ~np.isfinite(array)
    at, place = first_not_finite(array)
    names = column_names(original)
    if names is not None and len(at) == 2:
        place = f"row {at[0]}, column '{names[at[1]]}'"
    count = int(wrong.sum())
    rows = int(wrong.reshape(len(array), -1).any(axis=1).sum())
    if count == 1:
        more = ""
    else:
        more = f" ({count} such values in {rows} row{'s' * (rows > 1)})"
    raw = np.asarray(getattr(original, "_array", original))
    before = raw[at] if raw.shape == array.shape else None
    if isinstance(before, (int, float, np.number)) and np.isfinite(before):
        limit = f"{np.finfo(array.dtype).max:.3g}"
        return f"{before:g} at {place}{more}; expected numbers of at most {limit}, which {array.dtype} holds"
    return (
        f"{array[at]:g} at {place}{more}; expected finite numbers: fill them in, or leave the rows {setting}"
    )
