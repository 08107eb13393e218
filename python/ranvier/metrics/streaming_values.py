"""Metrics of predicted values as objects for data in batches."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.metrics.regression as regression
from ranvier.autograd.memory import Array
from ranvier.metrics.streaming import StreamingMetric

__all__ = ["MAE", "MSE", "R2", "RMSE"]


class _Errors(StreamingMetric):
    """A mean of errors: sums over samples, one for each output."""

    scored = "values"

    def __init__(self, *, multioutput: Any = "uniform_average") -> None:
        super().__init__(multioutput=multioutput)
        self.is_number = not (isinstance(multioutput, str) and multioutput == "raw_values")

    def _name(self) -> str:
        return type(self).__name__.lower()

    def _start(self) -> None:
        self._weight, self._sum = 0.0, np.zeros(0)

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        true, pred, weights = regression.columns(self.__name__, y_true, y_pred, sample_weight)
        self._require_outputs(true)
        added = (weights * self._error(true - pred)).sum(axis=0)
        self._sum = self._sum + added if self.samples else added
        self._weight += float(weights.sum())

    def _require_outputs(self, true: Array) -> None:
        if self.samples and true.shape[1] != len(self._sum):
            raise ValueError(
                f"[{self.__name__}] got {true.shape[1]} outputs after batches of {len(self._sum)}"
            )

    def _value(self) -> Any:
        return regression.over_outputs(self.__name__, self._sum / self._weight, self.settings["multioutput"])

    def _error(self, difference: Array) -> Array:
        return difference**2


class MSE(_Errors):
    """:func:`mean_squared_error` over batches.

    >>> from ranvier.metrics import MSE
    >>> metric = MSE()
    >>> metric.update([3, -0.5], [2.5, 0.0]); metric.update([2, 7], [2, 8])
    >>> metric.compute()
    0.375
    """


class RMSE(_Errors):
    """:func:`root_mean_squared_error` over batches.

    >>> from ranvier.metrics import RMSE
    >>> metric = RMSE()
    >>> metric.update([0], [3]); metric.update([0], [3])
    >>> metric.compute()
    3.0
    """

    def _value(self) -> Any:
        values = np.sqrt(self._sum / self._weight)
        return regression.over_outputs(self.__name__, values, self.settings["multioutput"])


class MAE(_Errors):
    """:func:`mean_absolute_error` over batches.

    >>> from ranvier.metrics import MAE
    >>> metric = MAE()
    >>> metric.update([1], [1.5]); metric.update([2], [2])
    >>> metric.compute()
    0.25
    """

    def _error(self, difference: Array) -> Array:
        return np.abs(difference)


class R2(_Errors):
    """:func:`r2_score` over batches. The sum of squares about the mean is combined from the means and sums of
    the batches.

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances" (1979).

    >>> from ranvier.metrics import R2
    >>> metric = R2()
    >>> metric.update([1, 2], [1, 2]); metric.update([3], [2])
    >>> metric.compute()
    0.5
    """

    def __init__(self, *, multioutput: Any = "uniform_average", force_finite: bool = True) -> None:
        super().__init__(multioutput=multioutput)
        self.settings["force_finite"] = force_finite

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        true, pred, weights = regression.columns(self.__name__, y_true, y_pred, sample_weight)
        self._require_outputs(true)
        if not self.samples:
            self._sum, self._mean, self._spread = (np.zeros(true.shape[1]) for _ in range(3))
        weight = float(weights.sum())
        self._sum = self._sum + (weights * (true - pred) ** 2).sum(axis=0)
        if not weight:
            return
        mean = (weights * true).sum(axis=0) / weight
        between = (mean - self._mean) ** 2 * (self._weight * weight / (self._weight + weight))
        self._spread = self._spread + (weights * (true - mean) ** 2).sum(axis=0) + between
        self._mean = self._mean + (mean - self._mean) * (weight / (self._weight + weight))
        self._weight += weight

    def _value(self) -> Any:
        return regression.determination(self.samples, self._sum, self._spread, **self.settings)
