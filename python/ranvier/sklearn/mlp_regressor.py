"""MLPRegressor, with scikit-learn's parameters and attributes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import xlogy
from sklearn.metrics import r2_score
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

import ranvier.nn as nn
from ranvier.sklearn.base import NetworkRegressor, set_parameters
from ranvier.sklearn.perceptron import Perceptron
from ranvier.sklearn.settings import (
    HalfSquaredError,
    make_loss,
)

__all__ = ["MLPRegressor"]

Array = npt.NDArray[Any]


class MLPRegressor(NetworkRegressor, Perceptron):
    """A multi-layer perceptron for values, with scikit-learn's parameters, defaults and attributes, and more.

    Args:
        loss: "squared_error", "poisson" (y of at least 0; the network gives the logarithm), "absolute_error",
            "huber", or a loss of `rv.nn`, an object or a class.
        hidden_layer_sizes ... dtype: see :class:`MLPClassifier`, except class_weight.

    Attributes: those of :class:`MLPClassifier` except classes_; `validation_scores_` are R^2.

    Raises ValueError: a parameter out of range, or data that scikit-learn refuses; TypeError: a y of dates or
    durations.

    >>> from ranvier.sklearn import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(200, 20, random_state=1)
    >>> model = MLPRegressor(max_iter=500, learning_rate_init=0.01, random_state=1, tol=0.1)
    >>> model.fit(X, y).score(X, y) > 0.99
    True
    """

    def __init__(
        self,
        loss: Any = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: Any = "relu",
        *,
        solver: Any = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        dropout: float = 0.0,
        batch_norm: bool = False,
        callbacks: Any = None,
        dtype: str | None = None,
    ) -> None:
        set_parameters(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> MLPRegressor:
        """Train the network.

        Args:
            X: (n, features), an array, a sparse matrix or a data frame.
            y: (n,) or (n, outputs).
            sample_weight: (n,).
            validation_data: (X, y) or (X, y, sample_weight), as in :meth:`MLPClassifier.fit`.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    @available_if(lambda self: self.solver != "lbfgs")
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """One epoch over some samples, which continues the training so far; arguments as in `fit`."""
        return self._fit(X, y, sample_weight, None, incremental=True)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> MLPRegressor:
        self._check()
        first = not hasattr(self, "module_") or not (self.warm_start or incremental)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse="csr",
            multi_output=True,
            y_numeric=True,
            dtype=self._dtype(),
            reset=first,
        )
        loss = make_loss(self, _LOSSES)
        target = self._target(y, loss, first)
        weights = self._checked_weights(sample_weight, X)
        self._random_state = check_random_state(self.random_state)
        if first:
            self._start(X.shape[1], target.shape[1])
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        elif target.shape[1] != self.n_outputs_:
            raise ValueError(
                f"[MLPRegressor] got y of {target.shape[1]} columns; expected {self.n_outputs_} as in the "
                "fit before"
            )
        validation = None
        if validation_data is not None:
            xv, yv, wv = self._parts(validation_data)
            yv = self._target(np.asarray(yv), loss)
            validation = (self._validated(xv), yv, yv, wv)
        return self._fit_arrays(X, target, target, weights, validation, loss, incremental)

    def _target(self, y: Array, loss: Any, first: bool = False) -> Array:
        self._require_numbers(y)
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("[MLPRegressor] got a y below 0; expected y >= 0 for the loss 'poisson'")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self._dtype() == "float64":
            return y.reshape(len(y), -1).astype(np.float64)
        return self._centred(y.reshape(len(y), -1), loss, first).astype(np.float32)

    def _constant(self, target: Array, weights: Array | None) -> float:
        if self.loss != "poisson":
            return 0.0
        return float(np.average((xlogy(target, target) - target).sum(axis=1), weights=weights))

    def _values(self, x: Any) -> Array:
        found = super()._values(x)
        return np.exp(found) if self.out_activation_ == "exp" else found

    def _strata(self, y: Array) -> Array | None:
        return None

    def _validation_score(self, x: Any, y: Array, weights: Array | None) -> float:
        found = self._values(x)
        return float(r2_score(y, found, sample_weight=weights)) if np.isfinite(found).all() else math.nan


class _Poisson(nn.PoissonNLLLoss):
    """The sum over the outputs of exp(x) - y x, averaged over the samples."""

    def forward(self, x: Any, target: Any) -> Any:
        return super().forward(x, target) * float(x.shape[1])


_LOSSES: dict[str, type] = {
    "squared_error": HalfSquaredError,
    "poisson": _Poisson,
    "absolute_error": nn.L1Loss,
    "huber": nn.HuberLoss,
}
