"""TabularClassifier and TabularRegressor: networks for tables with defaults that need no tuning.

This module has the two estimators and turns tables into numbers (`_Tabular`); tabular_training.py trains, and
tabular_network.py has the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.validation import _check_feature_names, assert_all_finite, validate_data

from ranvier.sklearn.base import NetworkClassifier, NetworkRegressor
from ranvier.sklearn.labels import Labels
from ranvier.sklearn.one_row import is_row
from ranvier.sklearn.parameters import check_hidden_sizes, check_integer, check_number
from ranvier.sklearn.tabular_network import (
    MemberCrossEntropy,
    MemberPoisson,
    MemberSquaredError,
    is_category,
    is_number,
    is_number_text,
)
from ranvier.sklearn.tabular_training import TabularTraining
from ranvier.sklearn.types import (
    Callbacks,
    ClassWeight,
    DataFrame,
    HiddenSizes,
    MatrixLike,
    RandomState,
    Samples,
    TargetLike,
    WeightsLike,
)
from ranvier.sklearn.validation import check_labels, check_table, check_values
from ranvier.tensors.memory import Array
from ranvier.train.arrays import column_names, is_missing, to_array

if TYPE_CHECKING:
    import numpy.typing as npt

CategoricalFeatures: TypeAlias = str | Sequence[str] | Sequence[int] | Sequence[bool] | Array | None
"""The columns that have categories: "from_dtype", their names, their indices or a mask."""


def _category_order(category: Any) -> tuple[str, str]:
    """A sort key for categories of several types; the type's name decides between 1 and "1"."""
    return str(category), type(category).__name__


class _Tabular(TabularTraining):
    """The base class of both estimators: checks of settings, and the conversion of tables to numbers.

    Attributes, set by `fit`:
        _is_category: for each column of the table, whether it is one of categories.
        _codes: for each column of categories, by its index, the code of each category: 0, 1, 2 ...
    """

    _is_category: npt.NDArray[np.bool_]
    _codes: dict[int, dict[Any, int]]

    def _check_parameters(self) -> None:
        """Raises ValueError: a parameter out of range."""
        for name in ("n_members", "n_iter_no_change"):
            check_integer(self, name)
        check_integer(self, "bins", 0)
        check_hidden_sizes(self, least=1)
        check_number(self, "learning_rate", above=True)
        for name in ("dropout", "label_smoothing"):
            if getattr(self, name, "auto") != "auto":  # a regressor has no label_smoothing
                check_number(self, name, 0, 1)
        check_number(self, "weight_decay")
        check_number(self, "validation_fraction", 0, 0.9)
        for name in ("max_iter", "batch_size"):
            if getattr(self, name) != "auto":
                check_integer(self, name)

    # --- the table

    def _convert_table(self, X: MatrixLike, reset: bool) -> Array:
        """The table as float64 (n, columns), with categories as codes; NaN is a missing number.

        reset: True in `fit`, which notes the names, dtypes and categories of the columns; later tables must
        have the same.
        """
        X = check_table(self, X)
        if not reset:  # before columns are read by their places
            _check_feature_names(self, X, reset=False)
        if hasattr(X, "columns") and hasattr(X, "dtypes"):
            return self._convert_frame(X, reset)
        if reset:
            self._codes = {}
            self._is_category = self._find_categories(X, None)
        if not self._is_category.any():
            return self._check_numbers(X, reset)
        values = np.asarray(X)
        if values.dtype.kind not in "fiub":
            values = np.asarray(X, object)
        width = values.shape[1] if values.ndim == 2 else 0
        if width != len(self._is_category):  # scikit-learn's error about the number of features
            return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        columns = [self._convert_column(i, i, values[:, i], reset) for i in range(width)]
        table = np.stack(columns, axis=1).astype(np.float64, copy=False)
        return self._check_numbers(table, reset)

    def _convert_frame(self, X: Any, reset: bool) -> Array:
        """`_convert_table` for a data frame, whose columns may be of different dtypes."""
        names = list(X.columns)
        if reset:
            self._codes = {}
            self._is_category = self._find_categories(X, names)
        if len(set(names)) < len(names):
            raise ValueError(f"[{type(self).__name__}] got columns {names}; expected different names")
        # Columns of objects may be dates, periods or numbers: `_convert_column` looks at each.
        objects = any(getattr(dtype, "kind", None) in ("m", "M", "O") for dtype in X.dtypes)
        if not self._is_category.any() and not objects:
            return self._check_numbers(X, reset)
        if len(names) != len(self._is_category):  # scikit-learn's error about the number of features
            return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        columns = [self._convert_column(i, name, X[name], reset) for i, name in enumerate(names)]
        table = np.stack(columns, axis=1).astype(np.float64, copy=False)
        numbers = type(X)(
            dict(zip(names, table.T, strict=True))
        )  # a frame, for scikit-learn's check of names
        return self._check_numbers(numbers, reset)

    def _convert_column(self, index: int, name: Any, column: Any, reset: bool) -> Array:
        """One column as numbers (n,). name: what errors call the column."""
        if self._is_category[index]:
            return self._encode(index, name, np.asarray(column), reset)
        return self._read_numbers(name, column)

    def _check_numbers(self, X: MatrixLike, reset: bool) -> Array:
        """A table of numbers alone, checked by scikit-learn; NaN is a missing number."""
        try:
            return validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        except ValueError as error:
            if "could not convert string" not in str(error):
                if column_names(X) is not None:
                    to_array(type(self).__name__, "X", X)  # raises an error that names the column, if it can
                raise
            raise ValueError(
                f"[{type(self).__name__}] {error}; expected numbers, or categorical_features with the "
                "columns of strings"
            ) from None

    def _read_numbers(self, name: Any, column: Any) -> Array:
        """A column as float64; numbers in it may be objects."""
        if getattr(column.dtype, "kind", None) == "O":
            values = np.asarray(column).tolist()
            if all(is_missing(value) or is_number(value) for value in values):
                return self._read_objects(name, values)
        return to_array(type(self).__name__, f"column {name!r}", column).astype(np.float64)

    def _read_objects(self, name: Any, values: list[Any]) -> Array:
        """Numbers of any type and missing values as float64."""
        try:
            return np.array([_as_float(value) for value in values])
        except OverflowError:
            raise ValueError(
                f"[{type(self).__name__}] got column {name!r} with a number that float64 cannot hold; "
                "expected numbers up to 1.8e308"
            ) from None

    def _encode(self, index: int, name: Any, column: Array, reset: bool) -> Array:
        """The code of each category of a column, -1 where it is missing or not known from `fit`."""
        values = [_as_category(value) for value in column.tolist()]
        for value in values:
            if isinstance(value, (list, dict, set, np.ndarray)):
                raise TypeError(
                    f"[{type(self).__name__}] got column {name!r} with {type(value).__name__} objects; "
                    "expected numbers or categories"
                )
        if reset:
            categories = sorted({value for value in values if value is not None}, key=_category_order)
            self._codes[index] = {category: code for code, category in enumerate(categories)}
        codes_of_fit = self._codes[index]
        codes = np.array([codes_of_fit.get(value, -1) for value in values])  # None is no category
        if (codes < 0).all():
            self._require_same_types(name, values, codes_of_fit)
        return codes

    def _require_same_types(self, name: Any, values: Iterable[Any], categories: Iterable[Any]) -> None:
        """Raises TypeError if a column has strings where `fit` had other types, or the reverse.

        Then no category is known, as when codes were read as numbers in one of the two tables.
        """
        types = {type(value) for value in values if value is not None}
        types_of_fit = {type(category) for category in categories}
        if types and types_of_fit and (str in types) != (str in types_of_fit):
            raise TypeError(
                f"[{type(self).__name__}] got column {name!r} of type {_type_names(types)}; expected "
                f"{_type_names(types_of_fit)} as in fit"
            )

    def _find_categories(self, X: Any, names: list[Any] | None) -> npt.NDArray[np.bool_]:
        """A mask of the columns that have categories: see `categorical_features`.

        names: those of the columns of a data frame; None for other tables.
        """
        chosen = self.categorical_features
        if names is None:
            shape = np.asarray(X, object).shape
            width = shape[1] if len(shape) == 2 else 0
        else:
            width = len(names)
        if isinstance(chosen, str) and chosen == "from_dtype":
            if names is None:
                return np.zeros(width, bool)
            return np.array([self._has_categories(X, name) for name in names], bool)
        mask = np.zeros(width, bool)
        if chosen is None:
            return mask
        for column in np.atleast_1d(np.asarray(chosen, object)):
            if isinstance(column, (bool, np.bool_)):  # `chosen` is a mask itself
                if len(chosen) != width:
                    raise ValueError(
                        f"[{type(self).__name__}] got categorical_features of {len(chosen)} booleans for X "
                        f"of {width} columns"
                    )
                return np.asarray(chosen, bool)
            mask[self._column_index(column, names, width)] = True
        return mask

    def _column_index(self, column: Any, names: list[Any] | None, width: int) -> int:
        """The index of a column of `categorical_features`, which may be a name."""
        if isinstance(column, str):
            if names is None or column not in names:
                raise ValueError(f"[{type(self).__name__}] got the category column {column!r}; X has none")
            return names.index(column)
        index = int(column)
        if not -width <= index < width:
            raise ValueError(
                f"[{type(self).__name__}] got the category column {index} for X of {width} columns"
            )
        return index

    def _has_categories(self, X: DataFrame, name: Any) -> bool:
        """True if the dtype of a column says that it has categories."""
        if not is_category(X[name]):
            return False
        if is_number_text(X[name]):
            raise ValueError(
                f"[{type(self).__name__}] got column {name!r} of text that holds numbers; expected numbers "
                "(pd.to_numeric, or decimal= of pd.read_csv), or for categories astype('category') or "
                "categorical_features with its name"
            )
        return True

    def _validated(self, X: MatrixLike) -> Array:
        """X of a prediction, checked and converted for the network."""
        # One row of finite or missing numbers (NaN) goes without scikit-learn's checks, to save time. They
        # raise the errors of infinity and of ndim > 2, and categories have to be encoded.
        if is_row(X, self) and X.ndim == 2 and not (self._is_category.any() or np.isinf(X).any()):
            return self._columns.apply(X)
        return self._columns.apply(self._convert_table(X, reset=False))

    def _require_targets(self, y: TargetLike | None) -> None:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


def _as_float(value: Any) -> float:
    """A number of any type as a float; NaN for a missing value."""
    if is_missing(value):
        return np.nan
    return float(value)


def _as_category(value: Any) -> Any:
    """A category; None for a missing value."""
    if is_missing(value):
        return None
    return value


def _type_names(types: set[type]) -> str:
    return ", ".join(sorted(t.__name__ for t in types))


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
        hidden_layer_sizes: HiddenSizes = (64, 64),
        *,
        n_members: int = 8,
        bins: int = 32,
        activation: str = "relu",
        dropout: float = 0.1,
        label_smoothing: float = 0.01,
        learning_rate: float = 0.004,
        weight_decay: float = 0.2,
        max_iter: int | str = "auto",
        batch_size: int | str = "auto",
        validation_fraction: float = 0.15,
        n_iter_no_change: int = 12,
        categorical_features: CategoricalFeatures = "from_dtype",
        class_weight: ClassWeight = None,
        callbacks: Callbacks = None,
        random_state: RandomState = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_members = n_members
        self.bins = bins
        self.activation = activation
        self.dropout = dropout
        self.label_smoothing = label_smoothing
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.categorical_features = categorical_features
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.random_state = random_state

    def fit(self, X: MatrixLike, y: TargetLike, sample_weight: WeightsLike = None) -> TabularClassifier:
        """Train the network.

        Args:
            X: (n, columns), an array or a data frame.
            y: labels (n,).
            sample_weight: (n,).

        Returns: the estimator.
        """
        self._check_parameters()
        self._require_targets(y)
        labels = check_labels(self, y)
        table = self._convert_table(X, reset=True)
        labels = column_or_1d(labels, warn=True)
        check_consistent_length(table, labels)
        assert_all_finite(labels)
        self._labels = Labels(labels)
        codes = self._labels.encode(labels)
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
        hidden_layer_sizes: HiddenSizes = (64, 64),
        *,
        n_members: int = 8,
        bins: int = 32,
        activation: str = "relu",
        dropout: float | str = "auto",
        learning_rate: float = 0.004,
        weight_decay: float = 0.2,
        max_iter: int | str = "auto",
        batch_size: int | str = "auto",
        validation_fraction: float = 0.15,
        n_iter_no_change: int = 12,
        categorical_features: CategoricalFeatures = "from_dtype",
        callbacks: Callbacks = None,
        random_state: RandomState = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.n_members = n_members
        self.bins = bins
        self.activation = activation
        self.dropout = dropout
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.categorical_features = categorical_features
        self.callbacks = callbacks
        self.random_state = random_state

    def fit(self, X: MatrixLike, y: TargetLike, sample_weight: WeightsLike = None) -> TabularRegressor:
        """Train the network.

        Args:
            X: (n, columns), an array or a data frame.
            y: (n,) or (n, outputs).
            sample_weight: (n,).

        Returns: the estimator.
        """
        self._check_parameters()
        self._require_targets(y)
        table = self._convert_table(X, reset=True)
        values = check_values(self, y)
        target = check_array(values, ensure_2d=False, dtype=np.float64, input_name="y")
        check_consistent_length(table, target)
        if target.ndim == 2 and target.shape[1] == 1:
            target = column_or_1d(target, warn=True)
        target = target.reshape(len(target), -1)
        weights = self._checked_weights(sample_weight, table)
        dtype = np.asarray(values).dtype
        if dtype.kind not in "fiub":
            dtype = np.dtype(np.float64)
        self._dtype_of_y = np.result_type(dtype, np.float32)
        scaled = self._scale(target)
        loss = MemberPoisson() if self._logarithmic else MemberSquaredError()
        return self._fit_table(table, scaled, weights, target.shape[1], loss)

    def _scale(self, target: Array) -> Array:
        """The targets (n, outputs) for the training, in float32: see the class.

        Notes what `_values` needs to invert it: `_logarithmic`, `_mean`, `_std`, and the range of the
        targets, `_low` and `_high`.
        """
        self._low = target.min(axis=0)
        self._high = target.max(axis=0)
        # Divided by a power of two, exactly: squares of numbers up to 1 do not overflow.
        _, exponent = np.frexp(np.abs(target).max(axis=0))
        target = np.ldexp(target, -exponent)
        mean = target.mean(axis=0)
        std = target.std(axis=0)
        dispersed = ((target >= 0).all(axis=0) & (std > mean)).all()
        self._logarithmic = bool(dispersed and len(np.unique(target)) > 2)  # two: classes as numbers
        if self._logarithmic:  # effects multiply, and squared errors would follow the few largest targets
            std = mean
            mean = 0.0 * mean
        std = np.where(std > 0, std, 1.0)
        self._mean = np.ldexp(mean, exponent)
        self._std = np.ldexp(std, exponent)
        return ((target - mean) / std).astype(np.float32)

    def _values(self, x: Samples) -> Array:
        """Predictions of rows that were converted, in the scale of the targets of `fit`."""
        values = super()._values(x)
        if self._logarithmic:
            with np.errstate(over="ignore"):  # the clip below makes it the largest target
                values = np.exp(values, dtype=np.float64)
        values = values * self._std + self._mean
        return np.clip(values, self._low, self._high).astype(self._dtype_of_y)
