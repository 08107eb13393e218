"""The base classes of all estimators: training by a Trainer, predictions, scores and sample weights.

NetworkClassifier and NetworkRegressor have `predict`, `predict_proba` and `score`. An estimator adds `fit`,
which sets `module_` and `trainer_`, and `_validated`, which checks the X of a prediction and returns it in
the dtype of the network.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

from ranvier import History
from ranvier.ops.making import random
from ranvier.sklearn.labels import Labels, are_few_integers
from ranvier.sklearn.one_row import OneRow, row_output
from ranvier.sklearn.sparse_batches import SparseBatches
from ranvier.sklearn.types import Loss, MatrixLike, Samples, TargetLike, WeightsLike
from ranvier.sklearn.validation import check_labels, check_values
from ranvier.tensors.memory import Array
from ranvier.train import Callback
from ranvier.train.arrays import require_finite
from ranvier.train.losses import is_one_of, link_of, probabilities

PREDICT_BATCH = 1024
# Losses that depend on y - output alone, so that a constant may be subtracted from y (`_centred`).
_DIFFERENCE_LOSSES = ("MSELoss", "L1Loss", "HuberLoss", "SmoothL1Loss")


class Validation:
    """The data that the Trainer measures "val_loss" with, after all checks.

    target: what the loss compares the output with.
    """

    def __init__(self, x: Samples, target: Array, weights: Array | None) -> None:
        self.x = x
        self.target = target
        self.weights = weights


class NetworkEstimator(BaseEstimator):
    """An estimator around a module that a Trainer trains.

    Attributes:
        module_: the network.
        trainer_: its Trainer.
        history_: what the Trainer measured in each epoch.
    """

    _generator: random.Generator | None = None  # the random stream of this estimator
    _one_row: OneRow | None = None  # the fast path for few rows, made at the first prediction

    @classmethod
    @functools.cache
    def _get_param_names(cls) -> list[str]:
        """As scikit-learn's, which reads the signature at each call; `clone` and `set_params` call it."""
        names: list[str] = super()._get_param_names()
        return names

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        # The programs of the fast path hold addresses of this process: copies and pickles go without.
        return {name: value for name, value in state.items() if name != "_one_row"}

    def _stream(self) -> random.Generator:
        """The estimator's random stream, made at the first use with a seed from `_random_state`."""
        if self._generator is None:
            seed = int(self._random_state.randint(2**31 - 1))
            self._generator = random.Generator().manual_seed(seed)
        return self._generator

    def _train(
        self,
        x: Samples,
        y: Array,
        weights: Array | None = None,
        *,
        epochs: int,
        batch_size: int,
        shuffle: bool = True,
        validation: Validation | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> None:
        """Train `trainer_` for some epochs, with the random stream of this estimator."""
        settings: dict[str, Any] = {"epochs": epochs, "callbacks": callbacks}
        settings["validation_data"] = _as_trainer_takes(validation)
        settings["verbose"] = 0  # the estimators have their own `verbose`
        with random.using(self._stream()):
            if isinstance(x, np.ndarray):
                settings.update(batch_size=batch_size, shuffle=shuffle)
                self.trainer_.fit(x, y, sample_weight=weights, **settings)
            else:
                batches = SparseBatches(x, _without_none(y, weights), batch_size, shuffle)
                self.trainer_.fit(batches, **settings)

    def _measure_loss(self, x: Samples, y: Array, weights: Array | None) -> float:
        """The loss over some samples, in evaluation mode."""
        if isinstance(x, np.ndarray):
            values = self.trainer_.evaluate(x, y, batch_size=PREDICT_BATCH, sample_weight=weights)
        else:
            values = self.trainer_.evaluate(SparseBatches(x, _without_none(y, weights)))
        return values["loss"]

    @property
    def history_(self) -> History:
        """The values that the Trainer measured in each epoch."""
        return self.trainer_.history

    def _require_fit(self) -> None:
        """Raises NotFittedError before the first fit. A subclass may define `__sklearn_is_fitted__`."""
        if "trainer_" not in vars(self) or hasattr(self, "__sklearn_is_fitted__"):
            check_is_fitted(self)

    def _batches(self, x: Samples) -> Array | SparseBatches:
        """x as the Trainer predicts it: a sparse matrix in batches."""
        if isinstance(x, np.ndarray):
            return x
        return SparseBatches(x)

    def _checked_weights(
        self, sample_weight: WeightsLike, x: Samples, y: Array | None = None
    ) -> Array | None:
        """The sample weights (n) times the weights of the classes (`class_weight`); None without any.

        y: class indices (n,), or zeros and ones (n, k); of a classifier only.
        """
        weights = None
        if sample_weight is not None:
            weights = _check_sample_weight(sample_weight, x, dtype=np.float64)
            if (weights < 0).any() or not weights.any():
                raise ValueError(
                    f"[{type(self).__name__}] got a sample_weight below 0 or of zeros only; expected weights "
                    "of at least 0, and one above"
                )
        class_weight = getattr(self, "class_weight", None)
        if class_weight is None or y is None:
            return weights
        labels = self.classes_[y] if y.ndim == 1 else y
        class_weights = compute_sample_weight(class_weight, labels)
        if weights is None:
            return class_weights
        return weights * class_weights


def _without_none(y: Array, weights: Array | None) -> tuple[Array, ...]:
    """(y,) or (y, weights), the arrays of a batch after x."""
    if weights is None:
        return (y,)
    return y, weights


def _as_trainer_takes(validation: Validation | None) -> SparseBatches | tuple[Any, ...] | None:
    """Validation data as an argument of `Trainer.fit`: batches of a sparse matrix, else a tuple of arrays."""
    if validation is None:
        return None
    arrays = _without_none(validation.target, validation.weights)
    if isinstance(validation.x, np.ndarray):
        return validation.x, *arrays
    return SparseBatches(validation.x, arrays)


class NetworkClassifier(ClassifierMixin, NetworkEstimator):
    """The base class of classifiers; the module's outputs are in the order of the classes of `_labels`."""

    _labels: Labels

    @property
    def classes_(self) -> Array:
        return self._labels.classes

    @classes_.setter
    def classes_(self, values: TargetLike) -> None:
        check_is_fitted(self)
        classes = np.asarray(values)
        if classes.shape != self.classes_.shape:
            name = type(self).__name__
            expected = self.classes_.shape
            raise ValueError(f"[{name}] got classes_ of shape {classes.shape}; expected {expected}")
        self._labels.classes = classes

    def predict(self, X: MatrixLike) -> Array:
        """The most likely class of each sample, (n,); zeros and ones (n, k) with several labels a sample.

        Args:
            X: (n, features).
        """
        probability = self.predict_proba(X)  # before `_labels` is read: it refuses an estimator without a fit
        return self._labels.decode(probability)

    def predict_proba(self, X: MatrixLike) -> Array:
        """The probability of each class, (n, classes), in the dtype of the network.

        Args:
            X: (n, features).
        """
        self._require_fit()
        return self._probabilities(self._validated(X))

    def predict_log_proba(self, X: MatrixLike) -> Array:
        """The logarithm of `predict_proba`, (n, classes).

        Args:
            X: (n, features).
        """
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def score(self, X: MatrixLike, y: TargetLike, sample_weight: WeightsLike = None) -> float:
        """The accuracy of `predict(X)`.

        Args:
            X: (n, features).
            y: the labels (n,), or zeros and ones (n, k).
            sample_weight: (n,).
        """
        labels = check_labels(self, y)
        predicted = self.predict(X)
        are_plain = are_few_integers(labels) and are_few_integers(predicted)
        if sample_weight is None and are_plain and len(labels) == len(predicted):
            # The same without scikit-learn's checks, which take 300 us.
            return float((predicted == labels).mean())
        return float(accuracy_score(labels, predicted, sample_weight=sample_weight))

    def _probabilities(self, x: Samples) -> Array:
        """The probabilities (n, classes) of samples that were validated."""
        link = link_of(self.trainer_.loss)  # the function from outputs to probabilities that the loss implies
        output = None
        if link is not None:
            output = row_output(self, x)
        if link is None or output is None:
            p = self.trainer_.predict_proba(self._batches(x), batch_size=PREDICT_BATCH)
        else:
            p = probabilities(output, link)
        if self._labels.multilabel:
            return p
        if p.size == len(p):  # one output: the probability of the second of two classes
            second = p.reshape(-1, 1)
            p = np.concatenate([1 - second, second], axis=1)
        if len(self.classes_) == 1:
            return np.ones((len(p), 1), p.dtype)
        return p


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """The base class of regressors."""

    # What `_centred` subtracted from the targets of the fit, 0 or (outputs,), and `predict` adds.
    _offset: Array | float = 0.0

    def _centred(self, y: Array, loss: Loss, first: bool) -> Array:
        """y in float32, minus its mean where float32 would lose the differences between targets.

        `predict` adds the mean in float64. Only for losses that depend on y - output alone; others get y.
        first: measure the mean; else that of the first fit is subtracted.

        Raises ValueError: a number that float32 cannot hold.
        """
        if first:
            from ranvier.data.scaling import beyond_float32

            self._offset = 0.0
            spread = y.std(axis=0, dtype=np.float64)
            lost = beyond_float32(np.abs(y).max(axis=0), spread)
            if is_one_of(loss, *_DIFFERENCE_LOSSES) and y.dtype != np.float32 and lost.any():
                self._offset = np.where(lost, y.mean(axis=0, dtype=np.float64), 0.0)
        with np.errstate(over="ignore"):
            target = (y - self._offset).astype(np.float32)
        require_finite(type(self).__name__, "y", target, y)
        return target

    def predict(self, X: MatrixLike) -> Array:
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

    def score(self, X: MatrixLike, y: TargetLike, sample_weight: WeightsLike = None) -> float:
        """R^2 of `predict(X)`.

        Args:
            X: (n, features).
            y: (n,) or (n, outputs).
            sample_weight: (n,).
        """
        return float(super().score(X, check_values(self, y), sample_weight))

    def _values(self, x: Samples) -> Array:
        """The module's output for samples that were validated."""
        if link_of(self.trainer_.loss) is None:
            output = row_output(self, x)
            if output is not None:
                return output
        return self.trainer_.predict(self._batches(x), batch_size=PREDICT_BATCH)
