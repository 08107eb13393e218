"""NetworkEstimator: what all estimators have in common: random streams, training and predictions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import _check_sample_weight, check_is_fitted

import ranvier.nn as nn
from ranvier.autograd import random
from ranvier.data.scaling import beyond_float32
from ranvier.sklearn.fitting import Labels, SparseBatches
from ranvier.sklearn.settings import HalfSquaredError
from ranvier.train import Callback

__all__ = ["NetworkClassifier", "NetworkEstimator", "NetworkRegressor", "set_parameters"]

Array = npt.NDArray[Any]
PREDICT_BATCH = 1024
_DIFFERENCES = (nn.MSELoss, nn.L1Loss, nn.HuberLoss, nn.SmoothL1Loss, HalfSquaredError)


def set_parameters(arguments: dict[str, Any]) -> None:
    """Store the arguments of a constructor, its `locals()`, as attributes, as scikit-learn expects it."""
    estimator = arguments.pop("self")
    vars(estimator).update(arguments)


class NetworkEstimator(BaseEstimator):
    """An estimator around a module that a Trainer trains.

    Attributes:
        module_: the network.
        trainer_: its Trainer.
        history_: what the Trainer measured in each epoch.
    """

    _generator: random.Generator | None = None  # the random stream of this estimator

    def _stream(self) -> random.Generator:
        """The stream of the library for this estimator; a new one is seeded from `_random_state`."""
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
            given = tuple(part for part in validation if part is not None)
            valid = SparseBatches(given[0], given[1:]) if issparse(given[0]) else given
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

    def _batches(self, x: Any) -> Any:
        return SparseBatches(x) if issparse(x) else x

    def _checked_weights(self, sample_weight: Any, x: Any, y: Any = None) -> Array | None:
        """The weights of samples and, with `class_weight`, of their classes; None where there are none.

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
    """A classifier; `_labels` has its classes, and the outputs of its module are in their order."""

    _labels: Labels

    @property
    def classes_(self) -> Array:
        return self._labels.classes

    def predict(self, X: Any) -> Array:
        """The most likely class of each sample, (n,); zeros and ones (n, k) with several labels a sample.

        Args:
            X: (n, features).
        """
        probability = self.predict_proba(X)
        return self._labels.decode(probability)

    def predict_proba(self, X: Any) -> Array:
        """The probability of each class, (n, classes), in the dtype of the network.

        Args:
            X: (n, features).
        """
        check_is_fitted(self)
        return self._probabilities(self._validated(X))

    def predict_log_proba(self, X: Any) -> Array:
        """The logarithm of `predict_proba`, (n, classes)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    def _probabilities(self, x: Any) -> Array:
        """Of samples that were validated."""
        found = self.trainer_.predict_proba(self._batches(x), batch_size=PREDICT_BATCH)
        if not self._labels.multilabel and found.size == len(found):  # of the second of two classes
            found = found.reshape(-1, 1)
            found = np.concatenate([1 - found, found], axis=1)
        if len(self.classes_) == 1 and not self._labels.multilabel:
            return np.ones((len(found), 1), found.dtype)
        return found


class NetworkRegressor(RegressorMixin, NetworkEstimator):
    """A regressor."""

    _offset: Any = 0.0

    def _centred(self, y: Array, loss: Any, first: bool) -> Array:
        """y, less its mean where float32 would lose its differences; `predict` adds it in float64.

        Only for losses of the difference alone.
        """
        if first:
            self._offset = 0.0
            spread = y.std(axis=0, dtype=np.float64)
            lost = beyond_float32(np.abs(y).max(axis=0), spread)
            if isinstance(loss, _DIFFERENCES) and y.dtype != np.float32 and lost.any():
                self._offset = np.where(lost, y.mean(axis=0, dtype=np.float64), 0.0)
        return y - self._offset

    def _require_numbers(self, y: Any) -> None:
        dtype = np.asarray(y).dtype
        if dtype.kind in "mM":
            raise TypeError(
                f"[{type(self).__name__}] got y of dtype {dtype}; expected numbers, such as days: "
                "(y - y.min()) / np.timedelta64(1, 'D')"
            )

    def predict(self, X: Any) -> Array:
        """The predicted values, (n,), or (n, outputs) for a y of several columns, in the network's dtype.

        Args:
            X: (n, features).
        """
        check_is_fitted(self)
        found = self._values(self._validated(X))
        if np.any(self._offset):
            found = found + self._offset
        return found[:, 0] if found.ndim == 2 and found.shape[1] == 1 else found

    def _values(self, x: Any) -> Array:
        return self.trainer_.predict(self._batches(x), batch_size=PREDICT_BATCH)
