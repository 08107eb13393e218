"""Checks of an estimator's X and y before those of scikit-learn, for data where its errors would be unclear.

Dates, words among numbers, missing labels, tables of Arrow and loaders get errors that name the row or the
column; all other data is passed on as it is.
"""

from __future__ import annotations

from contextlib import suppress
from numbers import Number
from typing import Any, TypeGuard

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from ranvier.autograd import Tensor
from ranvier.sklearn.one_row import FLOATS, is_bounded
from ranvier.sklearn.types import MatrixLike, TargetLike
from ranvier.tensors.memory import Array
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


def _needs_no_check(data: Any, dtype_kinds: str) -> bool:
    """True for None, a sparse matrix, and an array whose dtype has one of these letters as its NumPy kind."""
    if type(data) is np.ndarray:
        return data.dtype.kind in dtype_kinds
    return data is None or issparse(data)


def _detached(data: Any) -> Any:
    """Data without its gradient, where it is a Tensor of this library or of PyTorch."""
    if hasattr(data, "detach") and not isinstance(data, np.ndarray):
        return data.detach()
    return data


def check_labels(owner: BaseEstimator, y: TargetLike | None) -> Any:
    """y of a classifier; objects that are all numbers or booleans as an array of these.

    Raises:
        ValueError: a label is missing; the message names the row.
        TypeError: words beside other labels, dates, or objects that are neither words nor numbers.
    """
    if _needs_no_check(y, "iubUc"):
        return y
    name = type(owner).__name__
    y = _detached(y)
    array = to_array(name, "y", y, text=True)
    require_labels(name, array)
    if array.dtype.kind == "O":
        labels = array.ravel().tolist()
        if not all(isinstance(label, Number) for label in labels):
            types = ", ".join(sorted({type(label).__name__ for label in labels}))
            raise TypeError(f"[{name}] got labels of type {types}; expected words or numbers: y.astype(str)")
    if array.dtype.kind == "U":
        return np.asarray(y)
    return array


def check_values(owner: BaseEstimator, y: TargetLike | None) -> Any:
    """y of a regressor as numbers; text that has numbers is read.

    Raises:
        ValueError: a word, or a number that is missing or infinite; the message names the row.
        TypeError: dates, complex numbers or other objects.
    """
    if _needs_no_check(y, "iubc"):
        return y
    name = type(owner).__name__
    y = _detached(y)
    raw = np.asarray(y)
    if raw.dtype.kind == "U" or (raw.dtype.kind == "O" and content_of(raw) == "text"):
        numbers = [_read_number(name, row, value) for row, value in enumerate(raw.ravel().tolist())]
        array = np.array(numbers).reshape(raw.shape)
    else:
        array = to_array(name, "y", y)
    require_finite(name, "y", array, array)
    return array


def _read_number(name: str, row: int, value: Any) -> float:
    """A number of text, NaN where it is missing. name: the class of the estimator."""
    try:
        if is_missing(value):
            return np.nan
        return float(value)
    except (TypeError, ValueError):
        other = name.replace("Regressor", "Classifier")
        raise ValueError(
            f"[{name}] got y with {value!r} at row {row}; expected numbers: {other} takes words as labels"
        ) from None


def check_table(owner: BaseEstimator, X: Any) -> Any:
    """X, which may be a Tensor that requires gradients; tables of Arrow become data frames of pandas.

    Without pandas they stay what they are.

    Raises TypeError: a column of dates, times or durations, or batches of a loader.
    """
    if _needs_no_check(X, "fiubc"):
        return X
    name = type(owner).__name__
    X = _detached(X)
    if not isinstance(X, Tensor) and hasattr(X, "__iter__") and type(X).__name__ == "DataLoader":
        raise TypeError(f"[{name}] got X of type DataLoader; expected an array: rv.Trainer takes loaders")
    if type(X).__name__ == "LazyFrame":
        raise TypeError(f"[{name}] got X of type LazyFrame; expected a data frame: X.collect()")
    if hasattr(X, "column_names") and hasattr(X, "to_pandas"):  # a table of Arrow
        with suppress(ImportError):
            X = X.to_pandas()
    names = column_names(X)
    if names is not None and len(set(names)) == len(names):
        for column in names:
            _refuse_dates(name, f"column {column!r}", X[column])
    elif isinstance(X, (list, tuple)):
        _refuse_dates(name, "X", np.asarray(X, object))
    else:
        argument = "X" if names is None else f"column {names[0]!r}"
        _refuse_dates(name, argument, X)
    return X


def _refuse_dates(name: str, argument: str, values: Any) -> None:
    """Raises TypeError if values, a column or an array, are dates, times or durations.

    argument: what the error calls the values. Dates may also be objects, or the categories of a column.
    """
    dtype = getattr(values, "dtype", None)
    if _may_hold_dates(dtype):
        objects = np.asarray(getattr(dtype, "categories", values))
        if is_date(dtype) or content_of(objects) in DATES:
            to_array(name, argument, objects)  # raises the error
    elif is_date(dtype):
        to_array(name, argument, values)


def _may_hold_dates(dtype: Any) -> bool:
    """True if the values, or the categories, of a column of this dtype must be searched for dates."""
    if getattr(dtype, "categories", None) is not None:
        return type(dtype).__module__.partition(".")[0] == "pandas"
    return isinstance(dtype, np.dtype) and dtype.kind in "OmM"


def validate(
    owner: BaseEstimator,
    X: MatrixLike,
    *y: Any,
    reset: bool = True,
    dtype: str = "numeric",
    **settings: Any,
) -> Any:
    """scikit-learn's `validate_data`, whose errors about words in a data frame name the column.

    Returns X, or (X, y) if y is given. Arrays of finite numbers, which `validate_data` would give back after
    100 us, are taken here.

    reset: whether X is that of a fit; one of a prediction must have as many columns. dtype: of the X that is
    returned; "numeric" leaves numbers as they are. settings: further arguments of `validate_data`.
    """
    if _is_plain(X, owner, reset) and all(_are_plain_targets(targets, len(X)) for targets in y):
        return _taken(owner, X, *y, reset=reset, dtype=dtype)
    X = check_table(owner, X)
    try:
        with np.errstate(over="ignore"):  # what is too large for float32 is refused
            checked = validate_data(owner, X, *y, reset=reset, dtype=dtype, **settings)
        checked_x: Array = checked[0] if y else checked
        if checked_x.dtype.kind == "O" and column_names(X) is not None:
            raise TypeError  # words in a data frame
        return checked
    except (TypeError, ValueError):
        if column_names(X) is not None:
            to_array(type(owner).__name__, "X", X)  # raises an error that names the column, if it can
        raise


def _is_plain(X: MatrixLike, owner: BaseEstimator, reset: bool) -> TypeGuard[Array]:
    """True if X is an array of finite numbers, of as many columns as in the fit unless `reset`."""
    if type(X) is not np.ndarray or X.ndim != 2 or X.size == 0:
        return False
    if not reset:
        attributes = vars(owner)
        if "feature_names_in_" in attributes or attributes.get("n_features_in_") != X.shape[1]:
            return False
    return _are_finite(X)


def _are_plain_targets(y: Any, samples: int) -> bool:
    """True if y is an array of finite numbers with a row for each sample."""
    if type(y) is not np.ndarray or y.ndim not in (1, 2) or y.size == 0 or len(y) != samples:
        return False
    return _are_finite(y)


def _are_finite(array: Array) -> bool:
    """True for whole numbers, and for floats that are all finite, in float32 too."""
    if array.dtype.kind in "iub":
        return True
    return array.dtype in FLOATS and is_bounded(array)


def _taken(owner: BaseEstimator, X: Array, *y: Any, reset: bool, dtype: str) -> Any:
    """Plain arrays as `validate_data` returns them; a fit notes the number of columns, and no names."""
    if reset:
        owner.n_features_in_ = X.shape[1]
        vars(owner).pop("feature_names_in_", None)
    if dtype != "numeric":
        X = X.astype(dtype, copy=False)
    if not y:
        return X
    return X, *y
