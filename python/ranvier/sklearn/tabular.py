"""TabularClassifier and TabularRegressor: networks for tables with defaults that need no tuning."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import check_array, check_consistent_length, check_random_state, column_or_1d
from sklearn.utils.validation import _check_feature_names, assert_all_finite, validate_data

import ranvier.optim as optim
from ranvier.autograd import random
from ranvier.optim.lr_scheduler import LambdaLR
from ranvier.sklearn.base import Labels, NetworkClassifier, NetworkEstimator, NetworkRegressor, set_parameters
from ranvier.sklearn.one_row import is_row
from ranvier.sklearn.settings import hidden_sizes, number, whole
from ranvier.sklearn.tabular_network import (
    Columns,
    MemberCrossEntropy,
    MemberSquaredError,
    TabularNetwork,
    is_category,
)
from ranvier.train import Schedule, Trainer
from ranvier.train.arrays import is_missing, to_array

__all__ = ["TabularClassifier", "TabularRegressor"]

Array = npt.NDArray[Any]


class _Tabular(NetworkEstimator):
    """What the classifier and the regressor have in common."""

    def _check(self) -> None:
        for name in ("n_members", "max_iter"):
            whole(self, name)
        whole(self, "frequencies", 0)
        hidden_sizes(self, least=1)
        number(self, "learning_rate", above=True)
        for name in ("dropout", "label_smoothing"):
            if hasattr(self, name):
                number(self, name, 0, 1)
        number(self, "weight_decay")
        if self.batch_size != "auto":
            whole(self, "batch_size")

    # --- the table

    def _table(self, X: Any, reset: bool) -> Array:
        """The table as float64, with categories as codes; `reset` notes what its columns are."""
        frame = hasattr(X, "columns") and hasattr(X, "dtypes")
        if not reset:  # before columns are read by their places
            _check_feature_names(self, X, reset=False)
        if reset:
            self._codes: dict[int, dict[Any, int]] = {}
            self._is_category = self._marked(X, frame)
        dates = frame and any(getattr(kind, "kind", None) in ("m", "M") for kind in X.dtypes)
        if not self._is_category.any() and not dates:
            return self._numbers(X, reset)
        names = list(X.columns) if frame else range(np.asarray(X, object).shape[1])
        if len(names) != len(self._is_category):
            return validate_data(self, X, reset=reset, dtype=None, ensure_all_finite=False)
        columns = []
        for i, name in enumerate(names):
            column = X[name] if frame else np.asarray(X, object)[:, i]
            if self._is_category[i]:
                columns.append(self._coded(i, name, np.asarray(column), reset))
            else:
                columns.append(to_array(type(self).__name__, f"column {name!r}", column))
        table = np.stack(columns, axis=1).astype(np.float64)
        if frame:
            table = type(X)(dict(zip(names, table.T, strict=True)))
        return self._numbers(table, reset)

    def _numbers(self, X: Any, reset: bool) -> Array:
        try:
            return validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite="allow-nan")
        except ValueError as error:
            if "could not convert string" not in str(error):
                raise
            raise ValueError(
                f"[{type(self).__name__}] {error}; expected numbers, or categorical_features with the "
                "columns of strings"
            ) from None

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
            self._codes[i] = {value: code for code, value in enumerate(sorted(categories, key=str))}
        codes = np.array([-1 if value is None else self._codes[i].get(value, -1) for value in values])
        types = [{type(v) for v in of if v is not None} for of in (values, self._codes[i])]  # here, in fit
        if (codes < 0).all() and all(types) and (str in types[0]) != (str in types[1]):
            here, in_fit = (", ".join(sorted(kind.__name__ for kind in kinds)) for kinds in types)
            raise TypeError(
                f"[{type(self).__name__}] got column {name!r} of type {here}; expected {in_fit} as in fit"
            )
        return codes

    def _marked(self, X: Any, frame: bool) -> npt.NDArray[np.bool_]:
        """Which columns have categories."""
        chosen = self.categorical_features
        names = list(X.columns) if frame else None
        shape = np.asarray(X, object).shape if names is None else (0, len(names))
        width = shape[1] if len(shape) == 2 else 0
        if isinstance(chosen, str) and chosen == "from_dtype":
            marked = [is_category(X[name]) for name in names] if names is not None else [False] * width
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
            index = names.index(column) if isinstance(column, str) and names else int(column)
            if not -width <= index < width:
                raise ValueError(
                    f"[{type(self).__name__}] got the category column {index} for X of {width} columns"
                )
            marked_columns[index] = True
        return marked_columns

    def _validated(self, X: Any) -> Array:
        if is_row(self, X) and X.ndim == 2 and not (self._is_category.any() or np.isinf(X).any()):
            return self._columns.apply(X)
        return self._columns.apply(self._table(X, reset=False))

    # --- training

    def _fit_table(self, table: Array, target: Array, weights: Array | None, outputs: int, loss: Any) -> Any:
        self._columns = Columns(table, self._is_category)
        x = self._columns.apply(table)
        n = len(x)
        batch_size = min(self._batch_size(n), n)
        self._random_state, self._generator = check_random_state(self.random_state), None
        with random.using(self._stream()):
            self.module_ = TabularNetwork(
                self._columns.numbers,
                self._columns.plain,
                self._columns.categories,
                outputs,
                hidden=hidden_sizes(self, least=1),
                members=self.n_members,
                activation=self.activation,
                dropout=float(self.dropout),
                frequencies=self.frequencies,
                probabilities=isinstance(loss, MemberCrossEntropy),
            )
        optimizer = self._optimizer()
        self.trainer_ = Trainer(self.module_, loss, optimizer)
        steps = self.max_iter * -(-n // batch_size)
        warmup = max(steps // 20, 1)

        def share(step: int) -> float:
            """Of the learning rate: a linear rise over a twentieth of the steps, then half a cosine."""
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

        schedule = Schedule(LambdaLR(optimizer, share), per="batch")
        callbacks = [schedule, *(self.callbacks or ())]
        self._train(x, target, weights, epochs=self.max_iter, batch_size=batch_size, callbacks=callbacks)
        self.n_iter_ = self.history_.epochs
        return self

    def _require_targets(self, y: Any) -> None:
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target y is None."
            )

    def _batch_size(self, n: int) -> int:
        """Batches of 32 for small tables, of up to 256 for large ones."""
        if self.batch_size == "auto":
            return int(min(max(2 ** round(math.log2(max(n, 1) / 16)), 32), 256))
        return int(self.batch_size)

    def _optimizer(self) -> Any:
        """Weight decay of matrices only."""
        matrices: list[Any] = []
        others: list[Any] = []
        for name, p in self.module_.named_parameters():
            (matrices if p.ndim >= 2 and "bias" not in name else others).append(p)
        decay = float(self.weight_decay)
        groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        return optim.AdamW(groups, lr=float(self.learning_rate), betas=(0.9, 0.95))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class TabularClassifier(NetworkClassifier, _Tabular):
    """A classifier for tables, with defaults that need no tuning.

    An ensemble of `n_members` multi-layer perceptrons with common weights (TabM) over scaled and periodically
    embedded numbers, with parametric activations and label smoothing (RealMLP), trained by AdamW with a
    warm-up and a cosine. Missing numbers are allowed; in a data frame also strings, categories and booleans.

    Args:
        hidden_layer_sizes: units of each hidden layer.
        n_members: perceptrons of the ensemble.
        frequencies: of the embedding of numbers; 0 takes numbers as they are.
        activation: of the hidden layers, a name.
        dropout: the share of hidden units that each training step leaves out.
        label_smoothing: the share of each target that is divided among all classes.
        learning_rate, weight_decay: of AdamW.
        max_iter: epochs.
        batch_size: samples of a step; "auto" is a sixteenth of them, at least 32 and at most 256.
        categorical_features: "from_dtype" (strings, categories and booleans of a data frame), names, indices
            or a mask of the columns that have categories, or None.
        class_weight: weights by class, a dict or "balanced".
        callbacks: objects of `rv.Callback`.
        random_state: a number for the same result each time, a RandomState, or None.

    Attributes: classes_, n_features_in_, feature_names_in_, n_iter_, module_, trainer_, history_.

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
        hidden_layer_sizes: Any = (128, 128),
        *,
        n_members: int = 8,
        frequencies: int = 16,
        activation: str = "mish",
        dropout: float = 0.05,
        label_smoothing: float = 0.05,
        learning_rate: float = 0.004,
        weight_decay: float = 0.02,
        max_iter: int = 60,
        batch_size: Any = "auto",
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

    Args: those of :class:`TabularClassifier` without label_smoothing and class_weight.

    >>> from ranvier.sklearn import TabularRegressor
    >>> from sklearn.datasets import make_friedman1
    >>> X, y = make_friedman1(400, random_state=0)
    >>> model = TabularRegressor(max_iter=60, random_state=0).fit(X[::2], y[::2])
    >>> model.score(X[1::2], y[1::2]) > 0.9
    True
    """

    def __init__(
        self,
        hidden_layer_sizes: Any = (64, 64),
        *,
        n_members: int = 8,
        frequencies: int = 16,
        activation: str = "mish",
        dropout: float = 0.1,
        learning_rate: float = 0.004,
        weight_decay: float = 0.02,
        max_iter: int = 60,
        batch_size: Any = "auto",
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
        labels, y = y, check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        self._require_numbers(labels)
        check_consistent_length(table, y)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        target = y.reshape(len(y), -1)
        self._dtype_of_y = np.result_type(np.asarray(labels).dtype, np.float32)
        weights = self._checked_weights(sample_weight, table)
        self._mean, std = target.mean(axis=0), target.std(axis=0)
        self._std = np.where(std > 0, std, 1.0)
        self._low, self._high = target.min(axis=0), target.max(axis=0)
        scaled = ((target - self._mean) / self._std).astype(np.float32)
        return self._fit_table(table, scaled, weights, target.shape[1], MemberSquaredError())

    def _values(self, x: Any) -> Array:
        values = super()._values(x) * self._std + self._mean
        return np.clip(values, self._low, self._high).astype(self._dtype_of_y)
