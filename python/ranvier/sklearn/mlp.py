"""MLPClassifier and MLPRegressor with scikit-learn's arguments."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

import ranvier.nn as nn
from ranvier.sklearn.base import Array, Labels, NetworkClassifier, NetworkRegressor, set_parameters
from ranvier.sklearn.mlp_training import MLPTraining
from ranvier.sklearn.one_row import is_row, label_of_row, values_of_row
from ranvier.sklearn.validation import HalfSquaredError, LogLoss, labels_of, make_loss, values_of
from ranvier.train.losses import link_of


class MLPClassifier(NetworkClassifier, MLPTraining):
    """A multi-layer perceptron with scikit-learn's parameters, defaults and attributes, and more.

    The network, its initial values (for the same `random_state`), the loss, the optimizers and the rules for
    stopping are those of `sklearn.neural_network.MLPClassifier`. The random order of the samples differs, and
    so does the dtype: float32.

    Args:
        hidden_layer_sizes: units of each hidden layer.
        activation: "identity", "logistic", "tanh", "relu" or the name of any other layer of `rv.nn` ("gelu",
            "silu", "leaky_relu", ...), or its class.
        solver: "adam", "sgd", "lbfgs", or any other optimizer of `rv.optim`: its name, its class (made with
            `lr=learning_rate_init`) or a function of a list of parameters.
        alpha: strength of the L2 penalty, alpha / 2 sum w^2 / (samples of a batch).
        batch_size: samples of a step; "auto" is min(200, n).
        learning_rate: "constant", "invscaling" or "adaptive", for "sgd".
        learning_rate_init: the learning rate.
        power_t: exponent of "invscaling".
        max_iter: epochs at most; for lbfgs iterations.
        shuffle: a new random order in each epoch.
        random_state: a number for the same result each time, a RandomState, or None.
        tol, n_iter_no_change: the training ends after this many epochs without a gain of `tol`.
        verbose: print a line for each epoch.
        warm_start: `fit` continues with the weights of the last `fit`.
        momentum, nesterovs_momentum: settings of "sgd".
        early_stopping: hold out `validation_fraction` of the samples (or use `validation_data` of `fit`),
            stop when their score no longer rises or the loss is not finite, and restore the best weights.
        validation_fraction: see early_stopping.
        beta_1, beta_2, epsilon: settings of "adam".
        max_fun: evaluations of the loss at most, for lbfgs.
        loss: "log_loss", or a classification loss of `rv.nn` (`nn.NLLLoss()`,
            `nn.CrossEntropyLoss(label_smoothing=0.1)`), an object or a class. One over logits, such as
            `nn.BCEWithLogitsLoss()`, is for two classes and for several labels a sample.
        class_weight: weights by class, a dict or "balanced".
        dropout: the share of hidden units that each training step leaves out.
        callbacks: objects of `rv.Callback`.
        dtype: "float32" or "float64"; None is float32, and float64 for lbfgs.

    Attributes:
        classes_, coefs_, intercepts_, n_iter_, n_layers_, n_outputs_, out_activation_, t_, n_features_in_,
        feature_names_in_: as in scikit-learn.
        loss_, loss_curve_, best_loss_: the last loss, that of each epoch, and the lowest one (None with early
            stopping).
        validation_scores_, best_validation_score_: the accuracy on the validation data.
        validation_loss_curve_: the loss on the validation data.
        module_, trainer_, history_: the network, its `rv.Trainer`, and what it measured.

    Raises ValueError: a parameter out of range, or data that scikit-learn refuses.

    >>> from ranvier.sklearn import MLPClassifier
    >>> from sklearn.datasets import load_wine
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_wine(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), MLPClassifier(early_stopping=True, class_weight="balanced",
    ...                       learning_rate_init=0.01, dropout=0.1, random_state=0))
    >>> model.fit(X, y).score(X, y) > 0.95
    True
    """

    def __init__(
        self,
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
        loss: Any = "log_loss",
        class_weight: Any = None,
        dropout: float = 0.0,
        callbacks: Any = None,
        dtype: str | None = None,
    ) -> None:
        set_parameters(locals())

    def fit(self, X: Any, y: Any, sample_weight: Any = None, validation_data: Any = None) -> MLPClassifier:
        """Train the network.

        Args:
            X: (n, features), an array, a sparse matrix or a data frame.
            y: labels (n,), or zeros and ones (n, k) where a sample has several labels.
            sample_weight: (n,).
            validation_data: (X, y) or (X, y, sample_weight): for `validation_scores_`,
                `validation_loss_curve_` and early stopping.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    @available_if(lambda self: self.solver != "lbfgs")
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """One epoch over some samples, which continues the training so far.

        Args:
            X, y, sample_weight: as in `fit`.
            classes: all classes; needed in the first call, except for a matrix of zeros and ones.
        """
        if sample_weight is None and self._learn_row(X, label_of_row(self, y, classes)):
            return self
        y = labels_of(self, y)
        classes = labels_of(self, classes)
        if not hasattr(self, "module_"):
            labels = Labels(y, classes)
            if classes is None and not labels.multilabel:
                raise ValueError("classes must be passed on the first call to partial_fit.")
            self._labels = labels
        elif classes is not None and not np.array_equal(self.classes_, unique_labels(classes)):
            raise ValueError(
                f"`classes={classes}` is not the same as on last call to partial_fit, was: {self.classes_}"
            )
        self._fit(X, y, sample_weight, None, incremental=True)
        if sample_weight is None and is_row(self, X) and self._is_quiet():
            self._note_row()
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> MLPClassifier:
        self._check()
        first = not hasattr(self, "module_") or not (self.warm_start or incremental)
        X, y = self._checked(X, labels_of(self, y), first)
        if first and not incremental:
            self._labels = Labels(y)
        elif self.warm_start and not incremental and set(Labels(y).classes) != set(self.classes_):
            raise ValueError(
                f"[{type(self).__name__}] got the classes {Labels(y).classes} with warm_start; expected "
                f"those of the fit before, {self.classes_}"
            )
        loss = make_loss(self, {"log_loss": LogLoss if self._is_logistic() else nn.CrossEntropyLoss})
        codes, target = self._target(y, loss)
        weights = self._checked_weights(sample_weight, X, codes)
        self._random_state = check_random_state(self.random_state)
        if first:
            if target.ndim == 2:
                outputs = target.shape[1]
            else:
                outputs = max(len(self.classes_), 2)
            self._start(X.shape[1], outputs)
            self.out_activation_ = "logistic" if target.ndim == 2 else "softmax"
        validation = None
        if validation_data is not None:
            xv, yv, wv = self._validation(validation_data)
            validation = (self._validated(xv), *self._target(labels_of(self, yv), loss), wv)
        return self._fit_arrays(X, codes, target, weights, validation, loss, incremental)

    def _is_logistic(self) -> bool:
        return self._labels.multilabel or len(self.classes_) <= 2

    def _target(self, y: Any, loss: Any) -> tuple[Array, Array]:
        """The labels as codes, and as the loss takes them: class indices (n,), or numbers (n, outputs)."""
        codes = self._labels.encode(y)
        link = link_of(loss)
        if link is None or (link != "softmax" and not self._is_logistic()):
            raise ValueError(
                f"[{type(self).__name__}] got loss {self.loss!r} for {len(self.classes_)} classes; expected "
                "'log_loss', or a classification loss of ranvier.nn over class scores"
            )
        if link == "softmax" and self._labels.multilabel:
            raise ValueError(
                f"[{type(self).__name__}] got loss {self.loss!r} for several labels a sample; expected one "
                "over logits"
            )
        if link == "softmax":
            target = codes
        else:
            target = codes.reshape(len(codes), -1).astype(self._dtype())
        return codes, target

    def _strata(self, codes: Array) -> Array | None:
        """The classes for a stratified split, if each has enough samples for both parts; else None."""
        if self._labels.multilabel:
            return None
        counts = np.unique(codes, return_counts=True)[1]
        few = min(self.validation_fraction, 1 - self.validation_fraction) * len(codes)
        if counts.min() >= 2 and few >= len(counts):
            return codes
        return None

    def _validation_score(self, x: Any, codes: Array, weights: Array | None) -> float:
        probability = self._probabilities(x)
        if weights is None and not self._labels.multilabel:  # the same without scikit-learn's checks
            return float((probability.argmax(axis=1) == codes).mean())
        predicted = self._labels.decode(probability)
        true = codes if self._labels.multilabel else self.classes_[codes]
        return float(accuracy_score(true, predicted, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


class MLPRegressor(NetworkRegressor, MLPTraining):
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
        if sample_weight is None and self._learn_row(X, values_of_row(self, y)):
            return self
        self._fit(X, y, sample_weight, None, incremental=True)
        if sample_weight is None and is_row(self, X) and self._is_quiet():
            self._note_row()
        return self

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation_data: Any, incremental: bool
    ) -> MLPRegressor:
        self._check()
        first = not hasattr(self, "module_") or not (self.warm_start or incremental)
        X, y = self._checked(X, values_of(self, y), first, y_numeric=True)
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
            xv, yv, wv = self._validation(validation_data)
            yv = self._target(np.asarray(values_of(self, yv)), loss)
            validation = (self._validated(xv), yv, yv, wv)
        return self._fit_arrays(X, target, target, weights, validation, loss, incremental)

    def _target(self, y: Array, loss: Any, first: bool = False) -> Array:
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("[MLPRegressor] got a y below 0; expected y >= 0 for the loss 'poisson'")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if self._dtype() == "float64":
            if first:
                self._offset = 0.0
            return y.reshape(len(y), -1).astype(np.float64)
        return self._centred(y.reshape(len(y), -1), loss, first)

    def _constant(self, target: Array, weights: Array | None) -> float:
        if self.loss != "poisson":
            return 0.0
        return float(np.average((xlogy(target, target) - target).sum(axis=1), weights=weights))

    def _values(self, x: Any) -> Array:
        values = super()._values(x)
        if self.out_activation_ == "exp":
            return np.exp(values)
        return values

    def _strata(self, y: Array) -> Array | None:
        return None

    def _validation_score(self, x: Any, y: Array, weights: Array | None) -> float:
        predicted = self._values(x)
        finite = np.isfinite(predicted).all()
        if finite:
            return float(r2_score(y, predicted, sample_weight=weights))
        return math.nan


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
