"""Checks of the estimators' X and y, before those of scikit-learn, and of their settings.

X and y: data for which scikit-learn's error would be unclear. Settings: the ranges of numbers, and the names
of optimizers and losses.
"""

from __future__ import annotations

import math
from contextlib import suppress
from numbers import Integral, Number, Real
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.utils.validation import validate_data

import ranvier.nn as nn
import ranvier.optim as optim
from ranvier.autograd import Tensor
from ranvier.tensors.data import refuse_torch
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


def _is_plain(data: Any, kinds: str) -> bool:
    """True for an array of these kinds of dtypes, a sparse matrix or None, which need no checks here."""
    return data is None or issparse(data) or (type(data) is np.ndarray and data.dtype.kind in kinds)


def _detached(data: Any) -> Any:
    if hasattr(data, "detach") and not isinstance(data, np.ndarray):
        return data.detach()
    return data


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
    if array.dtype.kind == "U":
        return np.asarray(y)
    return array


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
        if is_missing(value):
            return np.nan
        return float(value)
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
    names = column_names(X)
    columns = [np.asarray(X, object) if isinstance(X, (list, tuple)) else X]
    if names is not None and len(set(names)) == len(names):
        columns = [X[column] for column in names]
    for i, column in enumerate(columns):
        kind = getattr(column, "dtype", None)
        if _may_hold_dates(kind):
            held = np.asarray(getattr(kind, "categories", column))
        else:
            held = None
        if is_date(kind) or (held is not None and content_of(held) in DATES):
            to_array(name, "X" if names is None else f"column {names[i]!r}", column if held is None else held)
    return X


def _may_hold_dates(dtype: Any) -> bool:
    """True if the values, or the categories, of a column of this dtype must be searched for dates."""
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


def hidden_sizes(estimator: Any, least: int = 0) -> list[int]:
    """`hidden_layer_sizes` as a list; a number is one layer."""
    hidden = estimator.hidden_layer_sizes
    sizes = list(hidden) if hasattr(hidden, "__iter__") else [hidden]
    real = all(isinstance(size, Real) and not isinstance(size, bool) for size in sizes)
    if not real or not all(size >= 1 and float(size).is_integer() for size in sizes) or len(sizes) < least:
        several = ", one or more" * bool(least)
        raise ValueError(
            f"[{type(estimator).__name__}] got hidden_layer_sizes {hidden!r}; expected whole numbers of at "
            f"least 1{several}"
        )
    return [int(size) for size in sizes]


def _refusal(owner: Any, name: str, expected: str) -> ValueError:
    got = f"{name} {getattr(owner, name)!r}"
    return ValueError(f"[{type(owner).__name__}] got {got}; expected {expected}")


def number(owner: Any, name: str, low: float = 0.0, high: float = math.inf, *, above: bool = False) -> float:
    """The number `owner.name`, which has to be in [low, high]; in (low, high] if `above`.

    Raises ValueError: any other value.
    """
    value = getattr(owner, name)
    right = isinstance(value, Real) and not isinstance(value, bool) and low <= float(value) <= high
    if not right or (above and value == low):
        bounds = f"above {low:g}" if above else f"of at least {low:g}"
        bounds += f" and at most {high:g}" if high < math.inf else ""
        raise _refusal(owner, name, f"a number {bounds}")
    return float(value)


def whole(owner: Any, name: str, low: int = 1) -> int:
    """The whole number `owner.name`, at least `low`.

    Raises ValueError: any other value.
    """
    value = getattr(owner, name)
    if not isinstance(value, Integral) or isinstance(value, bool) or value < low:
        raise _refusal(owner, name, f"a whole number of at least {low}")
    return int(value)


def flag(owner: Any, name: str) -> bool:
    """The bool `owner.name`.

    Raises ValueError: any other value, such as "no", which is true.
    """
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)):
        raise _refusal(owner, name, "True or False")
    return bool(value)


def one_of(owner: Any, name: str, choices: tuple[str, ...]) -> str:
    """The string `owner.name`, one of `choices`.

    Raises ValueError: any other value.
    """
    value = getattr(owner, name)
    if not isinstance(value, str) or value not in choices:
        raise _refusal(owner, name, f"one of {', '.join(map(repr, choices))}")
    return value


_IN_OPTIM = {name.lower(): getattr(optim, name) for name in optim.__all__}
_OPTIMIZERS = {name: value for name, value in _IN_OPTIM.items() if isinstance(value, type)}


def make_optimizer(owner: str, kind: Any, parameters: list[Any], **settings: Any) -> Any:
    """An optimizer by its name in `rv.optim` in any case, by its class, or from a function of the parameters.

    Raises ValueError: no such name. TypeError: neither a name nor something that can be called.
    """
    if isinstance(kind, str):
        name = kind.lower()
        if name not in _OPTIMIZERS or name == "optimizer":
            expected = ", ".join(sorted(set(_OPTIMIZERS) - {"optimizer"}))
            raise ValueError(f"[{owner}] got the optimizer {kind!r}; expected one of {expected}")
        kind = _OPTIMIZERS[name]
    refuse_torch(owner, "an optimizer", kind)
    if not callable(kind):
        raise TypeError(
            f"[{owner}] got an optimizer of type {type(kind).__name__}; expected a name, a class of "
            "ranvier.optim or a function of a list of parameters"
        )
    if isinstance(kind, type):
        made = kind(parameters, **settings)
    else:
        made = kind(parameters)
    refuse_torch(owner, "an optimizer", made)
    return made


class LogLoss(nn.BCEWithLogitsLoss):
    """The sum over the outputs of their binary cross-entropies, averaged over the samples.

    >>> import ranvier as rv
    >>> from ranvier.sklearn.validation import LogLoss
    >>> LogLoss()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(1.3863)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        loss = super().forward(x, target)
        if x.shape[1] == 1:
            return loss
        return loss * float(x.shape[1])


class HalfSquaredError(nn.MSELoss):
    """Half the sum over the outputs of their squared errors, averaged over the samples.

    >>> import ranvier as rv
    >>> from ranvier.sklearn.validation import HalfSquaredError
    >>> HalfSquaredError()(rv.zeros(1, 2), rv.ones(1, 2))
    tensor(1.)
    """

    def forward(self, x: Any, target: Any) -> Tensor:
        return super().forward(x, target) * (0.5 * x.shape[1])


def make_loss(owner: Any, named: dict[str, type]) -> Any:
    """`owner.loss`: a loss by name, an object of `rv.nn` or its class.

    Raises ValueError: no such name. TypeError: something that cannot be called.
    """
    loss = owner.loss
    if isinstance(loss, str):
        return named[one_of(owner, "loss", tuple(named))]()
    refuse_torch(type(owner).__name__, "a loss", loss)
    if not callable(loss):
        raise TypeError(
            f"[{type(owner).__name__}] got loss of type {type(loss).__name__}; expected a name, a loss of "
            "ranvier.nn or a function"
        )
    if isinstance(loss, type):
        return loss()
    return loss
