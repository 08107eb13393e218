"""NetworkEstimator, the base class of the estimators, with labels, batches, training and predictions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

import ranvier.nn as nn
from ranvier.data import RandomSampler
from ranvier.data.scaling import beyond_float32
from ranvier.ops.making import random
from ranvier.sklearn.one_row import OneRow, row_output
from ranvier.sklearn.validation import HalfSquaredError, labels_of, values_of
from ranvier.tensors.memory import Array as Array
from ranvier.train import Callback
from ranvier.train.arrays import require_finite
from ranvier.train.losses import link_of, probabilities

PREDICT_BATCH = 1024
_DIFFERENCES = (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss, HalfSquaredError)


def set_parameters(arguments: dict[str, Any]) -> None:
    """Store the arguments of a constructor, its `locals()`, as attributes, as scikit-learn expects it."""
    estimator = arguments.pop("self")
    vars(estimator).update(arguments)


class SparseBatches:
    """Batches `(x, y)` or `(x, y, weights)` of a CSR matrix, in the order in which the Trainer takes arrays.

    Args:
        x: the matrix, (n, features).
        arrays: (), (y,) or (y, weights).
        batch_size: rows of a batch; the last one may be smaller.
        shuffle: a new random order for each pass.
    """

    def __init__(
        self, x: Any, arrays: tuple[Array, ...] = (), batch_size: int = 1024, shuffle: bool = False
    ) -> None:
        self.x = x
        self.arrays = arrays
        self.batch_size = batch_size
        self.shuffle = shuffle
        self._sampler = RandomSampler(np.empty(x.shape[0], bool))

    def __len__(self) -> int:
        return -(-int(self.x.shape[0]) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        n = self.x.shape[0]
        if self.shuffle:
            order = self._sampler._order(self._sampler._draw())
        else:
            order = np.arange(n)
        for start in range(0, n, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield (self.x[rows].toarray(), *(array[rows] for array in self.arrays))


class Labels:
    """The classes of a classification problem.

    Args:
        y: labels (n,) of any type, or a matrix of zeros and ones (n, k) with several labels a sample.
        classes: all classes, where y may lack some of them.

    Attributes:
        classes: the sorted labels, or 0 ... k - 1.
        multilabel: whether a sample may have several labels.

    Raises ValueError: targets that are no labels.
    """

    def __init__(self, y: Any, classes: Any = None) -> None:
        if classes is None and type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu":
            self.classes = np.unique(y)
            if 2 * len(self.classes) <= len(y):  # with more classes scikit-learn may warn, below
                self.multilabel = False
                return
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "[labels] got a y of several columns with more than two values; expected one column of "
                "labels, or a matrix of zeros and ones"
            )
        self.multilabel = kind == "multilabel-indicator"
        if self.multilabel:
            self.classes = np.arange(y.shape[1])
        else:
            self.classes = np.unique(column_or_1d(y if classes is None else classes))

    def encode(self, y: Any) -> Array:
        """Class indices (n,), int64; or float32 zeros and ones (n, k).

        Raises ValueError: a label that is not among the classes.
        """
        if self.multilabel:
            dense = y.toarray() if issparse(y) else np.asarray(y)
            if dense.ndim != 2 or dense.shape[1] != len(self.classes):
                raise ValueError(
                    f"[labels] got y of shape {dense.shape}; expected ({len(dense)}, {len(self.classes)})"
                )
            return dense.astype(np.float32)
        y = column_or_1d(y, warn=True)
        order = np.argsort(self.classes)  # a program may have assigned classes_ in another order
        codes = order.take(np.searchsorted(self.classes, y, sorter=order), mode="clip")
        if not np.array_equal(self.classes.take(codes, mode="clip"), y):
            new = np.setdiff1d(y, self.classes)
            raise ValueError(f"[labels] got the class {new.tolist()[0]!r}; expected one of {self.classes}")
        return codes.astype(np.int64, copy=False)

    def decode(self, probability: Array) -> Array:
        """Labels (n,), or zeros and ones (n, k), of the probabilities (n, classes)."""
        if self.multilabel:
            return (probability > 0.5).astype(np.int64)
        return self.classes[probability.argmax(axis=1)]


class NetworkEstimator(BaseEstimator):
    """An estimator around a module that a Trainer trains.

    Attributes:
        module_: the network.
        trainer_: its Trainer.
        history_: what the Trainer measured in each epoch.
    """

    _generator: random.Generator | None = None  # the random stream of this estimator
    _one_row: OneRow | None = None

    def __getstate__(self) -> dict[str, Any]:  # programs hold addresses of this process
        return {name: value for name, value in super().__getstate__().items() if name != "_one_row"}

    def _stream(self) -> random.Generator:
        """The estimator's random stream, made at the first use with a seed from `_random_state`."""
        if self._generator is None:
            seed = int(self._random_state.randint(2**31 - 1))
            self._generator = random.Generator().manual_seed(seed)
        return self._generator

    def _train(
        self,
        x: Any,
        y: Array,
        weights: Array | None = None,
        *,
        epochs: int,
        batch_size: int,
        shuffle: bool = True,
        validation: tuple[Any, ...] | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> None:
        """Train `trainer_` for some epochs, with the random stream of this estimator.

        validation: (x, y, weights or None).
        """
        valid = None
        if validation is not None:
            arrays = tuple(array for array in validation if array is not None)
            valid = SparseBatches(arrays[0], arrays[1:]) if issparse(arrays[0]) else arrays
        settings: dict[str, Any] = {"epochs": epochs, "callbacks": callbacks, "validation_data": valid}
        settings["verbose"] = 0  # the estimators have their own `verbose`
        with random.using(self._stream()):
            if issparse(x):
                arrays = (y,) if weights is None else (y, weights)
                self.trainer_.fit(SparseBatches(x, arrays, batch_size, shuffle), **settings)
            else:
                settings.update(batch_size=batch_size, shuffle=shuffle)
                self.trainer_.fit(x, y, sample_weight=weights, **settings)

    def _measured(self, x: Any, y: Array, weights: Array | None) -> float:
        """The loss over some samples."""
        if issparse(x):
            arrays = (y,) if weights is None else (y, weights)
            return self.trainer_.evaluate(SparseBatches(x, arrays))["loss"]
        return self.trainer_.evaluate(x, y, batch_size=PREDICT_BATCH, sample_weight=weights)["loss"]

    @property
    def history_(self) -> Any:
        return self.trainer_.history

    def _require_fit(self) -> None:
        if "trainer_" not in vars(self) or hasattr(self, "__sklearn_is_fitted__"):
            check_is_fitted(self)

    def _batches(self, x: Any) -> Any:
        if issparse(x):
            return SparseBatches(x)
        return x

    def _checked_weights(self, sample_weight: Any, x: Any, y: Any = None) -> Array | None:
        """The sample weights (n) times the weights of the classes (`class_weight`); None without any.

        y: class indices (n,), or zeros and ones (n, k).
        """
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, x, dtype=np.float64)
            if (weights < 0).any() or not weights.any():
                raise ValueError(
                    f"[{type(self).__name__}] got a sample_weight below 0 or of zeros only; expected weights "
                    "of at least 0, and one above"
                )
        by_class = getattr(self, "class_weight", None)
        if by_class is not None:
            labels = self.classes_[y] if y.ndim == 1 else y
            factor = compute_sample_weight(by_class, labels)
            weights = factor if weights is None else weights * factor
        return weights


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """The base class of classifiers; the module's outputs are in the order of the classes of `_labels`."""

    _labels: Labels

    @property
    def classes_(self) -> Array:
        return self._labels.classes

    @classes_.setter
    def classes_(self, values: Any) -> None:
        check_is_fitted(self)
        values = np.asarray(values)
        if values.shape != self.classes_.shape:
            name = type(self).__name__
            expected = self.classes_.shape
            raise ValueError(f"[{name}] got classes_ of shape {values.shape}; expected {expected}")
        self._labels.classes = values

    def predict(self, X: Any) -> Array:
        """The most likely class of each sample, (n,); zeros and ones (n, k) with several labels a sample.

        Args:
            X: (n, features).
        """
        probability = self.predict_proba(X)  # first: it refuses an estimator without a fit
        return self._labels.decode(probability)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (n, classes), in the dtype of the network.

        Args:
            X: (n, features).
        """
        self._require_fit()
        return self._probabilities(self._validated(X))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`, (n, classes)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy of `predict(X)`; y: the labels (n,), or zeros and ones (n, k)."""
        return float(super().score(X, labels_of(self, y), sample_weight))

    def _probabilities(self, x: Any) -> Array:
        """The probabilities of samples that were validated."""
        link = link_of(self.trainer_.loss)
        output = None if link is None else row_output(self, x)
        if link is None or output is None:
            p = self.trainer_.predict_proba(self._batches(x), batch_size=PREDICT_BATCH)
        else:
            p = probabilities(output, link)
        if not self._labels.multilabel and p.size == len(p):  # probabilities of the second of two classes
            p = p.reshape(-1, 1)
            p = np.concatenate([1 - p, p], axis=1)
        if len(self.classes_) == 1 and not self._labels.multilabel:
            return np.ones((len(p), 1), p.dtype)
        return p


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """A regressor."""

    _offset: Any = 0.0

    def _centred(self, y: Array, loss: Any, first: bool) -> Array:
        """y in float32, minus its mean where float32 would lose the differences between targets.

        `predict` adds the mean in float64. Only for losses that depend on y - output alone; others get y.

        Raises ValueError: a number that float32 cannot hold.
        """
        if first:
            self._offset = 0.0
            spread = y.std(axis=0, dtype=np.float64)
            lost = beyond_float32(np.abs(y).max(axis=0), spread)
            if isinstance(loss, _DIFFERENCES) and y.dtype != np.float32 and lost.any():
                self._offset = np.where(lost, y.mean(axis=0, dtype=np.float64), 0.0)
        with np.errstate(over="ignore"):
            target = (y - self._offset).astype(np.float32)
        require_finite(type(self).__name__, "y", target, y)
        return target

    def predict(self, X: Any) -> Array:
        """The predicted values, (n,), or (n, outputs) for a y of several columns, in the network's dtype.

        Args:
            X: (n, features).
        """
        self._require_fit()
        values = self._values(self._validated(X))
        if np.any(self._offset):
            values = values + self._offset
        if values.ndim == 2 and values.shape[1] == 1:
            return values[:, 0]
        return values

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R^2 of `predict(X)`; y: (n,) or (n, outputs)."""
        return float(super().score(X, values_of(self, y), sample_weight))

    def _values(self, x: Any) -> Array:
        if link_of(self.trainer_.loss) is None:
            output = row_output(self, x)
        else:
            output = None
        if output is None:
            return self.trainer_.predict(self._batches(x), batch_size=PREDICT_BATCH)
        return output
