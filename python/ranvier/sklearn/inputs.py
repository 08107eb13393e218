"""X and y of the estimators before scikit-learn checks them: what it refuses with an error from within."""

from __future__ import annotations

from contextlib import suppress
from numbers import Number
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

from ranvier.autograd import Tensor
from ranvier.train.arrays import (
    DATES,
    column_names,
    content_of,
    is_date,
    is_missing,
    require_finite,
    require_labels,
    to_array,
)  # fmt: skip

__all__ = ["labels_of", "table_of", "validated", "values_of"]


def _is_plain(data: Any, kinds: str) -> bool:
    """Whether scikit-learn has to check nothing but numbers."""
    return data is None or issparse(data) or (type(data) is np.ndarray and data.dtype.kind in kinds)


def _detached(data: Any) -> Any:
    return data.detach() if hasattr(data, "detach") and not isinstance(data, np.ndarray) else data


def labels_of(owner: Any, y: Any) -> Any:
    """y of a classifier; objects that are all numbers or booleans as an array of these.

    Raises:
        ValueError: a label is missing; the message names the row.
        TypeError: words beside other labels, dates, or objects that are neither words nor numbers.
    """
    if _is_plain(y, "iubUc"):
        return y
    name, y = type(owner).__name__, _detached(y)
    array = to_array(name, "y", y, text=True)
    require_labels(name, array)
    if array.dtype.kind == "O" and not all(isinstance(value, Number) for value in array.ravel().tolist()):
        kinds = ", ".join(sorted({type(value).__name__ for value in array.ravel().tolist()}))
        raise TypeError(f"[{name}] got labels of type {kinds}; expected words or numbers: y.astype(str)")
    return np.asarray(y) if array.dtype.kind == "U" else array


def values_of(owner: Any, y: Any) -> Any:
    """y of a regressor as numbers; text that has numbers is read.

    Raises:
        ValueError: a word, or a number that is missing or infinite; the message names the row.
        TypeError: dates, complex numbers or other objects.
    """
    if _is_plain(y, "iubc"):
        return y
    name, y = type(owner).__name__, _detached(y)
    words = np.asarray(y)
    if words.dtype.kind == "U" or (words.dtype.kind == "O" and content_of(words) == "text"):
        array = np.array([_number(name, i, v) for i, v in enumerate(words.ravel().tolist())])
        array = array.reshape(words.shape)
    else:
        array = to_array(name, "y", y)
    require_finite(name, "y", array, array)
    return array


def _number(name: str, row: int, value: Any) -> float:
    try:
        return np.nan if is_missing(value) else float(value)
    except (TypeError, ValueError):
        other = name.replace("Regressor", "Classifier")
        raise ValueError(
            f"[{name}] got y with {value!r} at row {row}; expected numbers: {other} takes words as labels"
        ) from None


def table_of(owner: Any, X: Any) -> Any:
    """X, which may be a Tensor that requires gradients; tables of Arrow are data frames of pandas, if that
    is there.

    Raises TypeError: a column of dates, times or durations, or batches of a loader.
    """
    if _is_plain(X, "fiubc"):
        return X
    name, X = type(owner).__name__, _detached(X)
    if not isinstance(X, Tensor) and hasattr(X, "__iter__") and type(X).__name__ == "DataLoader":
        raise TypeError(f"[{name}] got X of type DataLoader; expected an array: rv.Trainer takes loaders")
    if type(X).__name__ == "LazyFrame":
        raise TypeError(f"[{name}] got X of type LazyFrame; expected a data frame: X.collect()")
    if hasattr(X, "column_names") and hasattr(X, "to_pandas"):
        with suppress(ImportError):
            X = X.to_pandas()
    names, columns = column_names(X), [np.asarray(X, object) if isinstance(X, (list, tuple)) else X]
    if names is not None and len(set(names)) == len(names):
        columns = [X[column] for column in names]
    for i, column in enumerate(columns):
        kind = getattr(column, "dtype", None)
        held = np.asarray(getattr(kind, "categories", column)) if _may_hold_dates(kind) else None
        if is_date(kind) or (held is not None and content_of(held) in DATES):
            to_array(name, "X" if names is None else f"column {names[i]!r}", column if held is None else held)
    return X


def _may_hold_dates(dtype: Any) -> bool:
    """Whether the objects, or the categories, of a column have to be looked at."""
    if getattr(dtype, "categories", None) is not None:
        return type(dtype).__module__.partition(".")[0] == "pandas"
    return isinstance(dtype, np.dtype) and dtype.kind in "OmM"


def validated(owner: Any, X: Any, *y: Any, **how: Any) -> Any:
    """scikit-learn's `validate_data`, whose errors about words in a data frame name the column."""
    X = table_of(owner, X)
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is refused
            checked = validate_data(owner, X, *y, **how)
        if (checked[0] if y else checked).dtype.kind != "O" or column_names(X) is None:
            return checked
        raise TypeError  # words in a frame
    except (TypeError, ValueError):
        if column_names(X) is not None:
            to_array(type(owner).__name__, "X", X)
        raise
