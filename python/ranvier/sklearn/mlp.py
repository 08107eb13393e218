"""MLPClassifier and MLPRegressor: scikit-learn's perceptrons, with its parameters, defaults and attributes.

This file has their targets, losses and scores; mlp_training.py makes and trains the network.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import xlogy
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils import column_or_1d
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import unique_labels

import ranvier.nn as nn
from ranvier.sklearn.base import NetworkClassifier, NetworkRegressor
from ranvier.sklearn.labels import Labels
from ranvier.sklearn.mlp_training import Data, MLPTraining
from ranvier.sklearn.one_row import is_row, label_of_row, values_of_row
from ranvier.sklearn.parameters import make_loss, make_random_state
from ranvier.sklearn.types import (
    ActivationLike,
    Callbacks,
    ClassWeight,
    HiddenSizes,
    Loss,
    LossLike,
    MatrixLike,
    OptimizerLike,
    RandomState,
    Samples,
    TargetLike,
    ValidationData,
    WeightsLike,
)
from ranvier.sklearn.validation import check_labels, check_values
from ranvier.tensors.memory import Array
from ranvier.train.losses import link_of


def _regression_losses() -> dict[str, type[nn.Module]]:
    """The losses of MLPRegressor by their names in scikit-learn."""
    from ranvier.sklearn.losses import HalfPoisson, HalfSquaredError

    return {
        "squared_error": HalfSquaredError,
        "poisson": HalfPoisson,
        "absolute_error": nn.L1Loss,
        "huber": nn.HuberLoss,
    }


def _trains_in_steps(estimator: MLPTraining) -> bool:
    """True if the estimator has `partial_fit`: L-BFGS needs all samples at once."""
    return estimator.solver != "lbfgs"


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
        hidden_layer_sizes: HiddenSizes = (100,),
        activation: ActivationLike = "relu",
        *,
        solver: OptimizerLike = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: RandomState = None,
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
        loss: LossLike = "log_loss",
        class_weight: ClassWeight = None,
        dropout: float = 0.0,
        callbacks: Callbacks = None,
        dtype: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.class_weight = class_weight
        self.dropout = dropout
        self.callbacks = callbacks
        self.dtype = dtype

    def fit(
        self,
        X: MatrixLike,
        y: TargetLike,
        sample_weight: WeightsLike = None,
        validation_data: ValidationData = None,
    ) -> MLPClassifier:
        """Train the network.

        Args:
            X: (n, features), an array, a sparse matrix or a data frame.
            y: labels (n,), or zeros and ones (n, k) where a sample has several labels.
            sample_weight: (n,).
            validation_data: (X, y) or (X, y, sample_weight): for `validation_scores_`,
                `validation_loss_curve_` and early stopping.

        Returns: the estimator.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    @available_if(_trains_in_steps)
    def partial_fit(
        self,
        X: MatrixLike,
        y: TargetLike,
        sample_weight: WeightsLike = None,
        classes: TargetLike | None = None,
    ) -> MLPClassifier:
        """One epoch over some samples, which continues the training so far.

        Args:
            X, y, sample_weight: as in `fit`.
            classes: all classes; needed in the first call, except for a matrix of zeros and ones.

        Returns: the estimator.
        """
        if sample_weight is None and self._learn_row(X, label_of_row(self, y, classes)):
            return self
        y = check_labels(self, y)
        classes = check_labels(self, classes)
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
        if sample_weight is None and is_row(X, self) and self._is_quiet():
            self._note_row()
        return self

    def _fit(
        self,
        X: MatrixLike,
        y: TargetLike,
        sample_weight: WeightsLike,
        validation_data: ValidationData,
        incremental: bool,
    ) -> MLPClassifier:
        self._check_parameters()
        first = not hasattr(self, "module_") or not (self.warm_start or incremental)
        x, labels = self._check_data(X, check_labels(self, y), first)
        if not incremental:
            self._note_classes(labels, first)
        loss = make_loss(self, {"log_loss": self._log_loss()})
        codes = self._labels.encode(labels)
        target = self._make_target(codes, loss)
        weights = self._checked_weights(sample_weight, x, codes)
        self._random_state = make_random_state(self)
        if first and target.ndim == 2:
            self._start(x.shape[1], outputs=target.shape[1])
            self.out_activation_ = "logistic"
        elif first:
            self._start(x.shape[1], outputs=max(len(self.classes_), 2))
            self.out_activation_ = "softmax"
        train = Data(x, codes, target, weights)
        validation = self._check_validation(validation_data, loss)
        return self._fit_data(train, validation, loss, incremental)

    def _note_classes(self, labels: Any, first: bool) -> None:
        """Take the classes from the labels of a `fit`; with `warm_start` they have to stay the same."""
        if first:
            self._labels = Labels(labels)
            return
        classes = Labels(labels).classes
        if set(classes) != set(self.classes_):
            raise ValueError(
                f"[{type(self).__name__}] got the classes {classes} with warm_start; expected "
                f"those of the fit before, {self.classes_}"
            )

    def _check_validation(self, validation_data: ValidationData, loss: Loss) -> Data | None:
        if validation_data is None:
            return None
        X, y, weights = self._unpack_validation(validation_data)
        x = self._validated(X)
        codes = self._labels.encode(check_labels(self, y))
        return Data(x, codes, self._make_target(codes, loss), weights)

    def _log_loss(self) -> type[nn.Module]:
        """The class of the loss "log_loss"."""
        if not self._is_logistic():
            return nn.CrossEntropyLoss
        from ranvier.sklearn.losses import LogLoss

        return LogLoss

    def _is_logistic(self) -> bool:
        """True if the network has a logit for each label, or one for two classes, as in scikit-learn."""
        return self._labels.multilabel or len(self.classes_) <= 2

    def _make_target(self, codes: Array, loss: Loss) -> Array:
        """Encoded labels as the loss takes them: class indices (n,), or zeros and ones (n, outputs).

        Raises ValueError: a loss that is not one for these classes.
        """
        link = link_of(loss)
        if link is None or (link != "softmax" and not self._is_logistic()):
            raise ValueError(
                f"[{type(self).__name__}] got loss {self.loss!r} for {len(self.classes_)} classes; expected "
                "'log_loss', or a classification loss of ranvier.nn over class scores"
            )
        if link != "softmax":
            return codes.reshape(len(codes), -1).astype(self._dtype())
        if self._labels.multilabel:
            raise ValueError(
                f"[{type(self).__name__}] got loss {self.loss!r} for several labels a sample; expected one "
                "over logits"
            )
        return codes

    def _strata(self, codes: Array) -> Array | None:
        """The classes for a stratified split, if each has enough samples for both parts; else None."""
        if self._labels.multilabel:
            return None
        _, counts = np.unique(codes, return_counts=True)
        smaller_half = min(self.validation_fraction, 1 - self.validation_fraction) * len(codes)
        if counts.min() >= 2 and smaller_half >= len(counts):
            return codes
        return None

    def _validation_score(self, x: Samples, codes: Array, weights: Array | None) -> float:
        """The accuracy on the validation data."""
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
        loss: LossLike = "squared_error",
        hidden_layer_sizes: HiddenSizes = (100,),
        activation: ActivationLike = "relu",
        *,
        solver: OptimizerLike = "adam",
        alpha: float = 0.0001,
        batch_size: int | str = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: RandomState = None,
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
        callbacks: Callbacks = None,
        dtype: str | None = None,
    ) -> None:
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.callbacks = callbacks
        self.dtype = dtype

    def fit(
        self,
        X: MatrixLike,
        y: TargetLike,
        sample_weight: WeightsLike = None,
        validation_data: ValidationData = None,
    ) -> MLPRegressor:
        """Train the network.

        Args:
            X: (n, features), an array, a sparse matrix or a data frame.
            y: (n,) or (n, outputs).
            sample_weight: (n,).
            validation_data: (X, y) or (X, y, sample_weight), as in :meth:`MLPClassifier.fit`.
        """
        return self._fit(X, y, sample_weight, validation_data, incremental=False)

    @available_if(_trains_in_steps)
    def partial_fit(self, X: MatrixLike, y: TargetLike, sample_weight: WeightsLike = None) -> MLPRegressor:
        """One epoch over some samples, which continues the training so far; arguments as in `fit`."""
        if sample_weight is None and self._learn_row(X, values_of_row(self, y)):
            return self
        self._fit(X, y, sample_weight, None, incremental=True)
        if sample_weight is None and is_row(X, self) and self._is_quiet():
            self._note_row()
        return self

    def _fit(
        self,
        X: MatrixLike,
        y: TargetLike,
        sample_weight: WeightsLike,
        validation_data: ValidationData,
        incremental: bool,
    ) -> MLPRegressor:
        self._check_parameters()
        first = not hasattr(self, "module_") or not (self.warm_start or incremental)
        x, values = self._check_data(X, check_values(self, y), first, y_numeric=True)
        loss = make_loss(self, _regression_losses())
        target = self._make_target(values, loss, first)
        weights = self._checked_weights(sample_weight, x)
        self._random_state = make_random_state(self)
        if first:
            self._start(x.shape[1], outputs=target.shape[1])
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
        elif target.shape[1] != self.n_outputs_:
            raise ValueError(
                f"[MLPRegressor] got y of {target.shape[1]} columns; expected {self.n_outputs_} as in the "
                "fit before"
            )
        train = Data(x, target, target, weights)
        validation = self._check_validation(validation_data, loss)
        return self._fit_data(train, validation, loss, incremental)

    def _check_validation(self, validation_data: ValidationData, loss: Loss) -> Data | None:
        if validation_data is None:
            return None
        X, y, weights = self._unpack_validation(validation_data)
        target = self._make_target(np.asarray(check_values(self, y)), loss)
        return Data(self._validated(X), target, target, weights)

    def _make_target(self, y: Array, loss: Loss, first: bool = False) -> Array:
        """y as the loss takes it, (n, outputs), in the dtype of the network; first: see `_centred`."""
        if self.loss == "poisson" and (y < 0).any():
            raise ValueError("[MLPRegressor] got a y below 0; expected y >= 0 for the loss 'poisson'")
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        columns = y.reshape(len(y), -1)
        if self._dtype() == "float64":
            if first:
                self._offset = 0.0
            return columns.astype(np.float64)
        return self._centred(columns, loss, first)

    def _loss_constant(self, target: Array, weights: Array | None) -> float:
        """For "poisson" the mean of y log y - y, which scikit-learn adds so that the least loss is 0."""
        if self.loss != "poisson":
            return 0.0
        constants = xlogy(target, target) - target
        return float(np.average(constants.sum(axis=1), weights=weights))

    def _values(self, x: Samples) -> Array:
        values = super()._values(x)
        if self.out_activation_ == "exp":
            return np.exp(values)
        return values

    def _strata(self, y: Array) -> Array | None:
        """None: values are split at random."""
        return None

    def _validation_score(self, x: Samples, y: Array, weights: Array | None) -> float:
        """R^2 on the validation data; NaN for outputs that are not finite."""
        predicted = self._values(x)
        if not np.isfinite(predicted).all():
            return math.nan
        return float(r2_score(y, predicted, sample_weight=weights))
