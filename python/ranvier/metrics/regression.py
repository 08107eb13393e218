"""Metrics of predicted values: errors and the coefficient of determination; functions and objects."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.errors import own_errors
from ranvier.metrics.metric import Floats, StreamingMetric, one_of, same_shape, targets, weights_of
from ranvier.ops.rows import examples

__all__ = [
    "MAE", "MSE", "R2", "RMSE", "mean_absolute_error", "mean_squared_error", "r2_score",
    "root_mean_squared_error",
]  # fmt: skip


def columns(
    name: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike, sample_weight: Any
) -> tuple[Floats, Floats, Floats]:
    """Targets and predictions as (n, outputs) in float64, and the samples' weights (n, 1)."""
    true, pred = targets(name, y_true, y_pred)
    same_shape(name, true, pred)
    for argument, array in (("y_true", true), ("y_pred", pred)):
        if array.dtype.kind in "OSU":
            raise TypeError(f"[{name}] got {argument} of dtype {array.dtype}; expected numbers")
    true, pred = true.astype(np.float64), pred.astype(np.float64)
    n = len(true) if true.ndim else 1
    weights = weights_of(name, sample_weight, n)
    weights = np.ones(n) if weights is None else weights
    return true.reshape(n, -1), pred.reshape(n, -1), weights[:, None]


def over_outputs(name: str, values: Floats, multioutput: Any) -> Any:
    """The values of the outputs, or their average, plain or weighted."""
    if isinstance(multioutput, str):
        one_of(name, "multioutput", multioutput, ("uniform_average", "raw_values"))
        return values if multioutput == "raw_values" else float(np.mean(values))
    weights = np.asarray(multioutput, np.float64)
    if weights.shape != values.shape:
        raise ValueError(f"[{name}] got multioutput of shape {weights.shape}; expected {values.shape}")
    return float(np.average(values, weights=weights))


def _mean_of(function: Any, name: str, y_true: Any, y_pred: Any, sample_weight: Any) -> Floats:
    """The weighted mean of a function of the differences, for each output."""
    true, pred, weights = columns(name, y_true, y_pred, sample_weight)
    return (weights * function(true - pred)).sum(axis=0) / weights.sum()


def mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Mean squared error, `mean((y_true - y_pred)**2)`, in float64.

    Args:
        y_true: values (n,) or (n, outputs).
        y_pred: values of the same shape.
        sample_weight: the weight of each sample.
        multioutput: "uniform_average" of the outputs, a list of weights for them, or "raw_values": an array.

    Raises ValueError: different shapes, or no samples.
    | rv.metrics.mean_squared_error([3, -0.5, 2, 7], [2.5, 0.0, 2, 8]) -> 0.375"""
    name = "mean_squared_error"
    return over_outputs(name, _mean_of(np.square, name, y_true, y_pred, sample_weight), multioutput)


def root_mean_squared_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Root of the mean squared error, in the unit of the target.

    Arguments and errors are those of :func:`mean_squared_error`.
    | rv.metrics.root_mean_squared_error([0, 0], [3, 3]) -> 3.0"""
    name = "root_mean_squared_error"
    return over_outputs(name, np.sqrt(_mean_of(np.square, name, y_true, y_pred, sample_weight)), multioutput)


def mean_absolute_error(
    y_true: Any, y_pred: Any, *, sample_weight: Any = None, multioutput: Any = "uniform_average"
) -> Any:
    """Mean absolute error, `mean(|y_true - y_pred|)`, in float64.

    Arguments and errors are those of :func:`mean_squared_error`.
    | rv.metrics.mean_absolute_error([1, 2], [1.5, 2]) -> 0.25"""
    name = "mean_absolute_error"
    return over_outputs(name, _mean_of(np.abs, name, y_true, y_pred, sample_weight), multioutput)


def r2_score(
    y_true: npt.ArrayLike,
    y_pred: npt.ArrayLike,
    *,
    sample_weight: Any = None,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """Coefficient of determination, `1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)`.

    1 is perfect, 0 is as good as the mean. If all targets are equal, it is 1 for perfect predictions and 0
    for others; without `force_finite` NaN and -inf. NaN for a single sample.

    Args:
        multioutput: as of :func:`mean_squared_error`; also "variance_weighted", by the variance of the
            targets of each output.

    Raises ValueError: different shapes, or no samples.
    | rv.metrics.r2_score([1, 2, 3], [1, 2, 3]), rv.metrics.r2_score([1, 2, 3], [2, 2, 2]) -> (1.0, 0.0)"""
    true, pred, weights = columns("r2_score", y_true, y_pred, sample_weight)
    residual = (weights * (true - pred) ** 2).sum(axis=0)
    mean = (weights * true).sum(axis=0) / weights.sum()
    spread = (weights * (true - mean) ** 2).sum(axis=0)
    return determination(len(true), residual, spread, multioutput, force_finite)


def determination(
    samples: int,
    residual: Floats,
    spread: Floats,
    multioutput: Any = "uniform_average",
    force_finite: bool = True,
) -> Any:
    """r2 from the sums of squared differences from the predictions and from the mean, one for each output."""
    if samples < 2:
        return float("nan")
    with np.errstate(divide="ignore", invalid="ignore"):
        values = 1 - residual / spread
    if force_finite:
        values = np.where(spread == 0, np.where(residual == 0, 1.0, 0.0), values)
    if isinstance(multioutput, str) and multioutput == "variance_weighted":
        return float(np.average(values, weights=spread)) if spread.any() else float(np.mean(values))
    return over_outputs("r2_score", values, multioutput)


class _Errors(StreamingMetric):
    """A mean of errors: sums over samples, one for each output."""

    scored = "values"
    _error: Any = np.square
    _of_mean: Any = np.positive

    def __init__(self, *, multioutput: Any = "uniform_average") -> None:
        super().__init__(multioutput=multioutput)
        self.is_number = not (isinstance(multioutput, str) and multioutput == "raw_values")

    def _name(self) -> str:
        return type(self).__name__.lower()

    def _start(self) -> None:
        self._weight, self._sum = 0.0, np.zeros(0)

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        true, pred, weights = columns(self.__name__, y_true, y_pred, sample_weight)
        self._require_outputs(true)
        added = (weights * self._error(true - pred)).sum(axis=0)
        self._sum = self._sum + added if self.samples else added
        self._weight += float(weights.sum())

    def _require_outputs(self, true: Floats) -> None:
        if self.samples and true.shape[1] != len(self._sum):
            raise ValueError(
                f"[{self.__name__}] got {true.shape[1]} outputs after batches of {len(self._sum)}"
            )

    def _value(self) -> Any:
        values = self._of_mean(self._sum / self._weight)
        return over_outputs(self.__name__, values, self.settings["multioutput"])


class MSE(_Errors):
    """:func:`mean_squared_error` over batches."""

    example = "", "[3, -0.5], [2.5, 0.0]", "[2, 7], [2, 8]", "0.375"


class RMSE(_Errors):
    """:func:`root_mean_squared_error` over batches."""

    example = "", "[0], [3]", "[0], [3]", "3.0"

    _of_mean = np.sqrt


class MAE(_Errors):
    """:func:`mean_absolute_error` over batches."""

    example = "", "[1], [1.5]", "[2], [2]", "0.25"

    _error = np.abs


class R2(_Errors):
    """:func:`r2_score` over batches. The sum of squares about the mean is combined from the means and sums of
    the batches.

    Source: Chan, Golub and LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample
    Variances" (1979).
    """

    example = "", "[1, 2], [1, 2]", "[3], [2]", "0.5"

    def __init__(self, *, multioutput: Any = "uniform_average", force_finite: bool = True) -> None:
        super().__init__(multioutput=multioutput)
        self.settings["force_finite"] = force_finite

    def _add(self, y_true: Any, y_pred: Any, sample_weight: Any) -> None:
        true, pred, weights = columns(self.__name__, y_true, y_pred, sample_weight)
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
        return determination(self.samples, self._sum, self._spread, **self.settings)


own_errors(globals(), names=__all__)
examples(globals())
