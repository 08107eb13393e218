"""TabularClassifier and TabularRegressor: networks for tables with defaults that need no tuning.

This module has the two estimators and turns tables into numbers (`_Tabular`); tabular_training.py trains, and
tabular_network.py has the network.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import _check_feature_names, assert_all_finite, validate_data

from ranvier.sklearn.base import Array, Labels, NetworkClassifier, NetworkRegressor, set_parameters
from ranvier.sklearn.one_row import is_row
from ranvier.sklearn.tabular_network import (
    MemberCrossEntropy,
    MemberPoisson,
    MemberSquaredError,
    is_category,
    is_number,
    is_number_text,
)
from ranvier.sklearn.tabular_training import TabularTraining
from ranvier.sklearn.validation import hidden_sizes, labels_of, number, table_of, values_of, whole
from ranvier.train.arrays import column_names, is_missing, to_array


def _order(category: Any) -> tuple[str, str]:
    """A sort key for categories of several types; the type's name decides between 1 and "1"."""
    return str(category), type(category).__name__


class _Tabular(TabularTraining):
    """The base class of both estimators: checks of settings, and the conversion of tables to numbers."""

    def _check(self) -> None:
        """Check the parameters of the estimator."""
        for name in ("n_members", "n_iter_no_change"):
            whole(self, name)
        whole(self, "bins", 0)
        hidden_sizes(self, least=1)
        number(self, "learning_rate", above=True)
        for name in ("dropout", "label_smoothing"):
            if getattr(self, name, "auto") != "auto":
                number(self, name, 0, 1)
        number(self, "weight_decay")
        number(self, "validation_fraction", 0, 0.9)
        for name in ("max_iter", "batch_size"):
            if getattr(self, name) != "auto":
                whole(self, name)

    # --- the table

    def _table(self, X: Any, reset: bool) -> Array:
        """The table as float64, with categories as codes.

        reset: True in `fit`, which notes the names, kinds and categories of the columns; later tables must
        have the same. `frame` below: a data frame, whose columns may be of different dtypes.
        """
        X = table_of(self, X)
        frame = hasattr(X, "columns") and hasattr(X, "dtypes")
        if not reset:  # before columns are read by their places
            _check_feature_names(self, X, reset=False)
        if reset:
            self._codes: dict[int, dict[Any, int]] = {}
            self._is_category = self._marked(X, frame)
        if frame and len({*X.columns}) < len(X.columns):
            raise ValueError(f"[{type(self).__name__}] got columns {[*X.columns]}; expected different names")
        objects = frame and any(getattr(kind, "kind", None) in ("m", "M", "O") for kind in X.dtypes)
        if not self._is_category.any() and not objects:  # objects may be dates, periods or numbers
            return self._numbers(X, reset)
        values = X if frame else np.asarray(X)
        if not frame and values.dtype.kind not in "fiub":
            values = np.asarray(X, object)
        names = list(X.columns) if frame else range(values.shape[1] if values.ndim == 2 else 0)
        if len(names) != len(self._is_category):
            return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        columns = []
        for i, name in enumerate(names):
            column = X[name] if frame else values[:, i]
            if self._is_category[i]:
                columns.append(self._coded(i, name, np.asarray(column), reset))
            else:
                columns.append(self._numbers_of(name, column))
        table = np.stack(columns, axis=1).astype(np.float64, copy=False)
        if frame:
            table = type(X)(dict(zip(names, table.T, strict=True)))
        return self._numbers(table, reset)

    def _numbers(self, X: Any, reset: bool) -> Array:
        """A table of numbers alone, checked by scikit-learn; NaN is a missing number."""
        try:
            return validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        except ValueError as error:
            if "could not convert string" not in str(error):
                if column_names(X) is not None:
                    to_array(type(self).__name__, "X", X)  # names the column
                raise
            raise ValueError(
                f"[{type(self).__name__}] {error}; expected numbers, or categorical_features with the "
                "columns of strings"
            ) from None

    def _numbers_of(self, name: Any, column: Any) -> Array:
        """A column as float64; numbers in it may be objects."""
        if getattr(column.dtype, "kind", None) == "O":
            values = np.asarray(column).tolist()
        else:
            values = None
        if values is not None and all(is_missing(value) or is_number(value) for value in values):
            try:
                return np.array([np.nan if is_missing(value) else float(value) for value in values])
            except OverflowError:
                raise ValueError(
                    f"[{type(self).__name__}] got column {name!r} with a number that float64 cannot hold; "
                    "expected numbers up to 1.8e308"
                ) from None
        return to_array(type(self).__name__, f"column {name!r}", column).astype(np.float64)

    def _coded(self, i: int, name: Any, column: Array, reset: bool) -> Array:
        """The code of each category, -1 where it is missing or not known from `fit`."""
        values = [None if is_missing(value) else value for value in column.tolist()]
        nested = next((value for value in values if isinstance(value, (list, dict, set, np.ndarray))), None)
        if nested is not None:
            raise TypeError(
                f"[{type(self).__name__}] got column {name!r} with {type(nested).__name__} objects; expected "
                "numbers or categories"
            )
        if reset:
            categories = {value for value in values if value is not None}
            self._codes[i] = {value: code for code, value in enumerate(sorted(categories, key=_order))}
        codes = np.array([-1 if value is None else self._codes[i].get(value, -1) for value in values])
        here, in_fit = ({type(v) for v in some if v is not None} for some in (values, self._codes[i]))
        if (codes < 0).all() and here and in_fit and (str in here) != (str in in_fit):
            text = [", ".join(sorted(kind.__name__ for kind in kinds)) for kinds in (here, in_fit)]
            raise TypeError(
                f"[{type(self).__name__}] got column {name!r} of type {text[0]}; expected {text[1]} as in fit"
            )
        return codes

    def _marked(self, X: Any, frame: bool) -> npt.NDArray[np.bool_]:
        """A mask of the columns that have categories: see `categorical_features`."""
        chosen = self.categorical_features
        names = list(X.columns) if frame else None
        if names is None:
            shape = np.asarray(X, object).shape
        else:
            shape = (0, len(names))
        width = shape[1] if len(shape) == 2 else 0
        if isinstance(chosen, str) and chosen == "from_dtype":
            if frame:
                marked = [self._has_categories(X, name) for name in names or ()]
            else:
                marked = [False] * width
            return np.array(marked, bool)
        marked_columns = np.zeros(width, bool)
        for column in np.atleast_1d(np.asarray([] if chosen is None else chosen, object)):
            if isinstance(column, (bool, np.bool_)):
                if len(chosen) != width:
                    raise ValueError(
                        f"[{type(self).__name__}] got categorical_features of {len(chosen)} booleans for X "
                        f"of {width} columns"
                    )
                return np.asarray(chosen, bool)
            if isinstance(column, str) and (names is None or column not in names):
                raise ValueError(f"[{type(self).__name__}] got the category column {column!r}; X has none")
            if isinstance(column, str) and names:
                index = names.index(column)
            else:
                index = int(column)
            if not -width <= index < width:
                raise ValueError(
                    f"[{type(self).__name__}] got the category column {index} for X of {width} columns"
                )
            marked_columns[index] = True
        return marked_columns

    def _has_categories(self, X: Any, name: Any) -> bool:
        marked = is_category(X[name])
        if marked and is_number_text(X[name]):
            raise ValueError(
                f"[{type(self).__name__}] got column {name!r} of text that holds numbers; expected numbers "
                "(pd.to_numeric, or decimal= of pd.read_csv), or for categories astype('category') or "
                "categorical_features with its name"
            )
        return marked

    def _validated(self, X: Any) -> Array:
        if is_row(self, X) and X.ndim == 2 and not (self._is_category.any() or np.isinf(X).any()):
            return self._columns.apply(X)
        return self._columns.apply(self._table(X, reset=False))

    def _require_targets(self, y: Any) -> None:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class TabularClassifier(NetworkClassifier, _Tabular):
    """A classifier for tables, with defaults that need no tuning.

    An ensemble of `n_members` multi-layer perceptrons that share their hidden layers (TabM), over numbers
    that are scaled by quartiles (RealMLP) and embedded piecewise linearly. A small random forest says where
    the target jumps, which gets bins of its own, and what columns matter, which start with larger scalings.
    AdamW trains the network with a warm-up and a cosine until the loss of a held-out part stops falling, then
    for half as long with all rows. Missing numbers are allowed; in a data frame also strings, categories and
    booleans.

    Args:
        hidden_layer_sizes: units of each hidden layer.
        n_members: perceptrons of the ensemble.
        bins: bins of the piecewise linear embedding of each column of numbers; 0 leaves the embedding out.
        activation: the name of the activation of the hidden layers.
        dropout: the share of hidden units that each training step leaves out.
        label_smoothing: the share of each target that is divided among all classes.
        learning_rate, weight_decay: settings of AdamW.
        max_iter: epochs before those with all rows; "auto" is 100, 40 without a held-out part, fewer for more
            than 9,000 rows.
        batch_size: samples of a step; "auto" is a sixteenth of them, at least 32 and at most 256, from 16,384
            rows on a sixty-fourth and at most 1,024. It may be less, so that no batch is smaller than others.
        validation_fraction: the share that is held out; parts of less than 50 rows are not.
        n_iter_no_change: epochs in which the loss of the held-out part does not fall that end the training.
        categorical_features: "from_dtype" (strings, categories and booleans of a data frame; strings that
            are all numbers are refused, but not codes with leading zeros such as "01234"), names, indices or
            a mask of the columns that have categories, or None.
        class_weight: weights by class, a dict or "balanced".
        callbacks: objects of `rv.Callback`.
        random_state: a number for the same result each time, a RandomState, or None.

    Attributes: classes_, n_features_in_, feature_names_in_, n_iter_, module_, trainer_, history_,
    feature_importances_.

    Sources: Holzmüller, Grinsztajn and Steinwart, "Better by default: Strong pre-tuned MLPs and boosted trees
    on tabular data" (2024); Gorishniy, Kotelnikov and Babenko, "TabM: Advancing tabular deep learning with
    parameter-efficient ensembling" (2024).

    >>> from ranvier.sklearn import TabularClassifier
    >>> from sklearn.datasets import load_wine
    >>> X, y = load_wine(return_X_y=True)
    >>> TabularClassifier(max_iter=20, random_state=0).fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.95
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (64, 64),
        *,
        n_members: int = 8,
        bins: int = 32,
        activation: str = "relu",
        dropout: float = 0.1,
        label_smoothing: float = 0.01,
        learning_rate: float = 0.004,
        weight_decay: float = 0.2,
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        validation_fraction: float = 0.15,
        n_iter_no_change: int = 12,
        categorical_features: Any = "from_dtype",
        class_weight: Any = None,
        callbacks: Any = None,
        random_state: Any = None,
    ) -> None:
        set_parameters(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularClassifier:
        """Train the network.

        Args:
            X: (n, columns), an array or a data frame.
            y: labels (n,).
            sample_weight: (n,).
        """
        self._check()
        self._require_targets(y)
        y = labels_of(self, y)
        table = self._table(X, reset=True)
        y = column_or_1d(y, warn=True)
        check_consistent_length(table, y)
        assert_all_finite(y)
        self._labels = Labels(y)
        codes = self._labels.encode(y)
        weights = self._checked_weights(sample_weight, table, codes)
        loss = MemberCrossEntropy(label_smoothing=float(self.label_smoothing))
        return self._fit_table(table, codes, weights, max(len(self.classes_), 2), loss)


class TabularRegressor(NetworkRegressor, _Tabular):
    """A regressor for tables, with defaults that need no tuning: see :class:`TabularClassifier`.

    The targets are standardised for the training. Predictions stay within the range of the targets, and are
    float64 for targets of float64 or of integers.

    Targets of at least 0 whose standard deviation is above their mean (prices, sizes and counts of very
    different orders) are divided by the mean instead, unless there are only two different ones. The network
    then gives logarithms z of predictions, and the loss is Poisson's, exp(z) - y z, which is least where
    exp(z) is the mean of y, as for the squared error.

    Args: those of :class:`TabularClassifier` without label_smoothing and class_weight. `dropout` "auto" is
    0.1, or 0 where the small forest explains at least 0.6 of the variance of the targets that it sees.

    >>> from ranvier.sklearn import TabularRegressor
    >>> from sklearn.datasets import make_friedman1
    >>> X, y = make_friedman1(400, random_state=0)
    >>> model = TabularRegressor(max_iter=60, random_state=0).fit(X[::2], y[::2])
    >>> model.score(X[1::2], y[1::2]) > 0.9
    True
    """

    _logarithmic = False  # True if the network gives logarithms

    def __init__(
        self,
        hidden_layer_sizes: Any = (64, 64),
        *,
        n_members: int = 8,
        bins: int = 32,
        activation: str = "relu",
        dropout: Any = "auto",
        learning_rate: float = 0.004,
        weight_decay: float = 0.2,
        max_iter: Any = "auto",
        batch_size: Any = "auto",
        validation_fraction: float = 0.15,
        n_iter_no_change: int = 12,
        categorical_features: Any = "from_dtype",
        callbacks: Any = None,
        random_state: Any = None,
    ) -> None:
        set_parameters(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularRegressor:
        """Train the network.

        Args:
            X: (n, columns), an array or a data frame.
            y: (n,) or (n, outputs).
            sample_weight: (n,).
        """
        self._check()
        self._require_targets(y)
        table = self._table(X, reset=True)
        labels = y = values_of(self, y)
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(table, y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        target = y.reshape(len(y), -1)
        kind = np.asarray(labels).dtype
        self._dtype_of_y = np.result_type(kind if kind.kind in "fiub" else np.float64, np.float32)
        weights = self._checked_weights(sample_weight, table)
        self._low, self._high = target.min(axis=0), target.max(axis=0)
        power = np.frexp(np.abs(target).max(axis=0))[1]  # squares of numbers up to 1 do not overflow
        target = np.ldexp(target, -power)
        mean = target.mean(axis=0)
        std = target.std(axis=0)
        dispersed = ((target >= 0).all(axis=0) & (std > mean)).all()
        self._logarithmic = bool(dispersed and len(np.unique(target)) > 2)  # two: classes as numbers
        if self._logarithmic:  # effects multiply, and squared errors would follow the few largest targets
            std = mean
            mean = 0.0 * mean
        std = np.where(std > 0, std, 1.0)
        self._mean, self._std = np.ldexp(mean, power), np.ldexp(std, power)
        scaled = ((target - mean) / std).astype(np.float32)
        if self._logarithmic:
            loss = MemberPoisson()
        else:
            loss = MemberSquaredError()
        return self._fit_table(table, scaled, weights, target.shape[1], loss)

    def _values(self, x: Any) -> Array:
        values = super()._values(x)
        if self._logarithmic:
            with np.errstate(over="ignore"):  # the clip below makes it the largest target
                values = np.exp(values, dtype=np.float64)
        values = values * self._std + self._mean
        return np.clip(values, self._low, self._high).astype(self._dtype_of_y)
