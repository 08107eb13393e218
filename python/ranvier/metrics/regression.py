"""Metrics of predicted values: errors and the coefficient of determination."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ranvier.metrics.checks import Floats, same_shape, targets
from ranvier.tensors.errors import own_errors
from ranvier.tensors.failures import require_dtype

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["mean_absolute_error", "mean_squared_error", "r2_score", "root_mean_squared_error"]


def columns(name: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Targets and predictions as (n, outputs) in float64."""
    true, pred = targets(name, y_true, y_pred)
    same_shape(name, true, pred)
    for argument, array in (("y_true", true), ("y_pred", pred)):
        require_dtype(name, argument, array, "biuf", "numbers")
    n = len(true) if true.ndim else 1
    return true.astype(np.float64).reshape(n, -1), pred.astype(np.float64).reshape(n, -1)


def mean_squared_error(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Mean squared error, `mean((y_true - y_pred)**2)`, in float64.

    Args:
        y_true: values (n,) or (n, outputs).
        y_pred: values of the same shape.

    Raises ValueError: different shapes, or no samples.

    >>> import ranvier as rv
    >>> rv.metrics.mean_squared_error([3, -0.5, 2, 7], [2.5, 0.0, 2, 8])
    0.375
    """
    true, pred = columns("mean_squared_error", y_true, y_pred)
    return float(np.mean((true - pred) ** 2))


def root_mean_squared_error(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the target; the mean over the outputs.

    Arguments and errors are those of :func:`mean_squared_error`.

    >>> import ranvier as rv
    >>> rv.metrics.root_mean_squared_error([0, 0], [3, 3])
    3.0
    """
    true, pred = columns("root_mean_squared_error", y_true, y_pred)
    return float(np.mean(np.sqrt(np.mean((true - pred) ** 2, axis=0))))


def mean_absolute_error(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Mean absolute error, `mean(|y_true - y_pred|)`, in float64.

    Arguments and errors are those of :func:`mean_squared_error`.

    >>> import ranvier as rv
    >>> rv.metrics.mean_absolute_error([1, 2], [1.5, 2])
    0.25
    """
    true, pred = columns("mean_absolute_error", y_true, y_pred)
    return float(np.mean(np.abs(true - pred)))


def r2_score(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Coefficient of determination, `1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)`.

    1 is perfect, 0 is as good as the mean; the mean over the outputs. If all targets are equal, it is 1 for
    perfect predictions and 0 for others. NaN for a single sample.

    Raises ValueError: different shapes, or no samples.

    >>> import ranvier as rv
    >>> rv.metrics.r2_score([1, 2, 3], [1, 2, 3]), rv.metrics.r2_score([1, 2, 3], [2, 2, 2])
    (1.0, 0.0)
    """
    true, pred = columns("r2_score", y_true, y_pred)
    if len(true) < 2:
        return float("nan")
    residual = ((true - pred) ** 2).sum(axis=0)
    spread = ((true - true.mean(axis=0)) ** 2).sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = np.where(spread == 0, residual == 0, 1 - residual / spread)
    return float(np.mean(values))


own_errors(globals(), __all__)
