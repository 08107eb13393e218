"""Measures of how good predictions are: functions `(y_true, y_pred)` on NumPy arrays, scikit-learn's order.

`Trainer(metrics=["accuracy"])` finds them by name, and computes them once per epoch over all samples.
Any other function of `(y_true, y_pred)` can be given too, scikit-learn's included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["METRICS", "accuracy", "binary_accuracy", "mae", "mse", "r2", "rmse"]

Array = npt.NDArray[Any]
Metric = Callable[[Array, Array], float]


def accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Share of labels that are right.

    Args:
        y_true: labels; or probabilities (n, classes), of which the largest counts, if `y_pred` is (n,).
        y_pred: labels, as `Trainer.predict` gives them for a classification loss.

    Raises:
        TypeError: `y_pred` is not of integers (see `binary_accuracy`).
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import accuracy
    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    if pred.dtype.kind not in "iub":
        raise TypeError(
            f"[accuracy] got predictions of dtype {pred.dtype}; expected labels "
            "(for values around 0.5, as with MSELoss on targets 0 and 1, see binary_accuracy)"
        )
    if true.dtype.kind == "f" and true.ndim == pred.ndim + 1:
        true = true.argmax(axis=1)
    _same_shape("accuracy", true, pred)
    return float(np.mean(true == pred))


def binary_accuracy(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, threshold: float = 0.5) -> float:
    """Share of values on the right side of `threshold`, for targets 0 and 1 of any shape.

    Raises:
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import binary_accuracy
    >>> binary_accuracy([[0], [1]], [[0.2], [0.4]])
    0.5
    """
    true, pred = np.asarray(y_true), np.asarray(y_pred)
    _same_shape("binary_accuracy", true, pred)
    return float(np.mean((true > threshold) == (pred > threshold)))


def mse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Mean squared error, `mean((y_true - y_pred)**2)`, in float64.

    Raises:
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import mse
    >>> mse([3, -0.5, 2, 7], [2.5, 0.0, 2, 8])
    0.375
    """
    return float(np.mean(_errors("mse", y_true, y_pred) ** 2))


def rmse(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Root of the mean squared error, in the unit of the target.

    Raises:
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import rmse
    >>> rmse([0, 0], [3, 3])
    3.0
    """
    return float(np.sqrt(np.mean(_errors("rmse", y_true, y_pred) ** 2)))


def mae(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Mean absolute error, `mean(|y_true - y_pred|)`, in float64.

    Raises:
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import mae
    >>> mae([1, 2], [1.5, 2])
    0.25
    """
    return float(np.mean(np.abs(_errors("mae", y_true, y_pred))))


def r2(y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> float:
    """Coefficient of determination, `1 - sum((y_true - y_pred)**2) / sum((y_true - mean(y_true))**2)`.

    1 is perfect, 0 as good as the mean; NaN when the targets are all the same.

    Raises:
        ValueError: shapes that differ, or no samples.

    >>> from ranvier.metrics import r2
    >>> r2([1, 2, 3], [1, 2, 3]), r2([1, 2, 3], [2, 2, 2])
    (1.0, 0.0)
    """
    errors = _errors("r2", y_true, y_pred)
    true = np.asarray(y_true, np.float64)
    spread = np.sum((true - true.mean(axis=0)) ** 2)
    return float(1 - np.sum(errors**2) / spread) if spread else float("nan")


METRICS: dict[str, Metric] = {
    function.__name__: function for function in (accuracy, binary_accuracy, mae, mse, r2, rmse)
}
"""The metrics that `Trainer` knows by name."""


def _same_shape(name: str, true: Array, pred: Array) -> None:
    if true.shape != pred.shape:
        raise ValueError(f"[{name}] got y_true of shape {true.shape} and y_pred of shape {pred.shape}")
    if true.size == 0:
        raise ValueError(f"[{name}] got no samples; expected at least one")


def _errors(name: str, y_true: npt.ArrayLike, y_pred: npt.ArrayLike) -> npt.NDArray[np.float64]:
    true, pred = np.asarray(y_true, np.float64), np.asarray(y_pred, np.float64)
    _same_shape(name, true, pred)
    return true - pred
