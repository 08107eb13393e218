"""The base class of MLPClassifier and MLPRegressor: their settings, network, training and `partial_fit`."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

import ranvier.nn as nn
from ranvier import mlp
from ranvier.ops.making import random
from ranvier.optim import Optimizer
from ranvier.sklearn.base import NetworkEstimator, Validation
from ranvier.sklearn.convergence import Convergence
from ranvier.sklearn.network_arrays import NetworkArrays
from ranvier.sklearn.one_row import OneRow, is_bounded, is_row
from ranvier.sklearn.parameters import (
    check_bool,
    check_choice,
    check_hidden_sizes,
    check_integer,
    check_number,
    make_optimizer,
)
from ranvier.sklearn.types import Loss, MatrixLike, Samples, TargetLike, ValidationData
from ranvier.sklearn.validation import validate
from ranvier.tensors.data import refuse_torch
from ranvier.tensors.memory import Array
from ranvier.train import NonFiniteError, Trainer

# scikit-learn's names of activations that `rv.mlp` has under another name.
_ACTIVATIONS = {"logistic": "sigmoid", "identity": "linear"}


class Data:
    """Samples to train or to measure with, after all checks.

    y is what the validation score compares predictions with, target what the loss compares the output with:
    values (n, outputs), or for a classifier class indices (n,).
    """

    def __init__(self, x: Samples, y: Array, target: Array, weights: Array | None) -> None:
        self.x = x
        self.y = y
        self.target = target
        self.weights = weights


class MLPTraining(NetworkEstimator):
    """The settings, the network and the training of MLPClassifier and MLPRegressor.

    A subclass has `_strata`, `_validation_score` and, where scikit-learn's loss is another one than the
    Trainer's, `_loss_constant`.
    """

    # --- checks

    def _check_parameters(self) -> None:
        """Raises ValueError: a parameter out of range, before anything else is done."""
        for name in ("alpha", "power_t", "tol"):
            check_number(self, name)
        for name in ("learning_rate_init", "epsilon"):
            check_number(self, name, above=True)
        for name in ("momentum", "beta_1", "beta_2", "dropout"):
            check_number(self, name, 0, 1)
        # Other solvers are optimizers of `rv.optim`, in any case; scikit-learn's are lower case.
        if isinstance(self.solver, str) and self.solver.lower() in ("adam", "lbfgs", "sgd"):
            check_choice(self, "solver", ("adam", "lbfgs", "sgd"))
        for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
            check_bool(self, name)
        check_number(self, "validation_fraction", 0, 1)
        check_choice(self, "learning_rate", ("constant", "invscaling", "adaptive"))
        check_integer(self, "max_iter")
        check_integer(self, "max_fun")
        if self.batch_size != "auto":
            check_integer(self, "batch_size")
        if self.n_iter_no_change != math.inf:
            check_integer(self, "n_iter_no_change")
        if self.dtype not in (None, "float32", "float64"):
            raise ValueError(
                f"[{type(self).__name__}] got dtype {self.dtype!r}; expected 'float32', 'float64' or None"
            )

    def _unpack_validation(
        self, validation_data: ValidationData
    ) -> tuple[MatrixLike, TargetLike, Array | None]:
        """(X, y, sample_weight) of an argument (X, y) or (X, y, sample_weight)."""
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError(
                f"[{type(self).__name__}] got validation_data of type {type(validation_data).__name__}; "
                "expected (X, y) or (X, y, sample_weight)"
            )
        if len(validation_data) == 2:
            X, y = validation_data
            return X, y, None
        X, y, weights = validation_data
        if weights is None:
            return X, y, None
        return X, y, np.asarray(weights)

    def _dtype(self) -> str:
        """The dtype of the network: float64 for lbfgs, which compares losses that differ little."""
        if self.dtype:
            return self.dtype
        return "float64" if self.solver == "lbfgs" else "float32"

    def _check_data(self, X: MatrixLike, y: Any, first: bool, **settings: Any) -> tuple[Samples, Any]:
        """X and y of a fit, checked by scikit-learn.

        first: a later X must have as many features as this one. settings: arguments of `validate_data`.
        """
        settings |= {"accept_sparse": "csr", "multi_output": True, "dtype": self._dtype()}
        return validate(self, X, y, reset=first, **settings)

    def _validated(self, X: MatrixLike) -> Samples:
        """X of a prediction, checked."""
        row = self._row(X)
        if row is not None:
            return row
        return validate(self, X, accept_sparse="csr", dtype=self._dtype(), reset=False)

    def _row(self, X: MatrixLike) -> Array | None:
        """X in the network's dtype if it is one row of finite floats; None if scikit-learn must check."""
        if not is_row(X, self) or self.dtype not in (None, "float32", "float64"):
            return None
        if is_bounded(X):
            return X.astype(self._dtype(), order="C", copy=False)
        return None

    # --- the network

    def _start(self, features: int, outputs: int) -> None:
        """A new network, and the record of its training, to which `Convergence` adds each epoch."""
        self._generator = None
        self.module_ = self._make_network(features, outputs)
        self.n_layers_ = len(self._linear_layers()) + 1
        self.n_outputs_ = outputs
        self.t_ = 0
        self._no_improvement_count = 0
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self.best_loss_ = None if self.early_stopping else math.inf
            self.validation_scores_: list[float] | None = None
            self.validation_loss_curve_: list[float] | None = None
            self.best_validation_score_ = -math.inf if self.early_stopping else None

    def _make_network(self, features: int, outputs: int) -> nn.Sequential:
        """The network, with scikit-learn's initial values for the same random_state."""
        sizes = [features, *check_hidden_sizes(self), outputs]
        activation = self.activation
        refuse_torch(type(self).__name__, "an activation", activation)
        if isinstance(activation, str):
            activation = _ACTIVATIONS.get(activation, activation)
        with random.using(random.Generator()):  # the layers draw values, which are replaced below
            network = mlp(
                sizes,
                activation=[activation] * (len(sizes) - 2),
                init="default",
                dropout=float(self.dropout),
                dtype=self._dtype(),
            )
        factor = 2.0 if self.activation == "logistic" else 6.0
        for layer in _linear_layers_of(network):
            # Glorot's bound, for the weights and the bias. scikit-learn's weights are (inputs, outputs).
            bound = math.sqrt(factor / (layer.in_features + layer.out_features))
            weight = self._random_state.uniform(-bound, bound, (layer.in_features, layer.out_features))
            layer.weight.detach().numpy()[...] = weight.T
            layer.bias.detach().numpy()[...] = self._random_state.uniform(-bound, bound, layer.out_features)
        return network

    def _linear_layers(self) -> list[nn.Linear]:
        return _linear_layers_of(self.module_)

    @property
    def coefs_(self) -> list[Array]:
        """The weights (inputs, outputs) of each layer; what is assigned is copied into the network."""
        name = f"{type(self).__name__}.coefs_"
        return NetworkArrays(name, [layer.weight.detach().numpy().T for layer in self._linear_layers()])

    @coefs_.setter
    def coefs_(self, values: list[Array]) -> None:
        check_is_fitted(self)
        self.coefs_[:] = values

    @property
    def intercepts_(self) -> list[Array]:
        """The bias (outputs,) of each layer; what is assigned is copied into the network."""
        name = f"{type(self).__name__}.intercepts_"
        return NetworkArrays(name, [layer.bias.detach().numpy() for layer in self._linear_layers()])

    @intercepts_.setter
    def intercepts_(self, values: list[Array]) -> None:
        check_is_fitted(self)
        self.intercepts_[:] = values

    # --- training

    def _fit_data(self, train: Data, validation: Data | None, loss: Loss, incremental: bool) -> Any:
        """Train the network; returns the estimator.

        validation: that of `validation_data`. incremental: one epoch of `partial_fit`.
        """
        if self.solver == "lbfgs":
            return self._fit_lbfgs(train, loss)
        if self.early_stopping and incremental:
            raise ValueError(f"[{type(self).__name__}] partial_fit does not support early_stopping=True")
        if self.early_stopping and validation is None:
            train, validation = self._split(train)
        n = train.x.shape[0]
        batch_size = self._choose_batch_size(n)
        # The Trainer divides the loss of a batch by the sum of its weights, and scikit-learn by the number of
        # its samples: so the penalty is divided by the mean weight, too.
        mean_weight = 1.0 if train.weights is None else float(train.weights.mean())
        penalty = float(self.alpha) / (2 * batch_size * mean_weight)
        if not incremental or not hasattr(self, "trainer_"):
            self.trainer_ = Trainer(self.module_, loss, self._make_optimizer(), l2=penalty)
        self.trainer_.l2 = penalty
        self.n_iter_ = 0
        recorder = Convergence(
            self,
            samples=n,
            score=self._score_function(validation),
            constant=self._loss_constant(train.target, train.weights),
            stops=not incremental,
        )
        epochs = 1 if incremental else self.max_iter
        try:
            self._train(
                train.x,
                train.target,
                train.weights,
                epochs=epochs,
                batch_size=batch_size,
                shuffle=bool(self.shuffle),
                validation=_without_y(validation),
                callbacks=[recorder, *(self.callbacks or ())],
            )
        except NonFiniteError as error:
            if not recorder.diverged(error):
                raise
        if self.n_iter_ == self.max_iter and not recorder.stopped and not incremental:
            warnings.warn(
                f"[{type(self).__name__}] the maximum of {self.max_iter} iterations is reached, and the "
                "training has not converged",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _score_function(self, validation: Data | None) -> Callable[[], float] | None:
        """A function that computes the validation score after an epoch; None without validation data."""
        if validation is None:
            return None
        self.validation_scores_ = self.validation_scores_ or []
        self.validation_loss_curve_ = self.validation_loss_curve_ or []

        def score() -> float:
            return self._validation_score(validation.x, validation.y, validation.weights)

        return score

    def _fit_lbfgs(self, train: Data, loss: Loss) -> Any:
        """Train by L-BFGS with all samples in each step; returns the estimator."""
        n = train.x.shape[0]
        total_weight = n if train.weights is None else float(train.weights.sum())
        optimizer = make_optimizer(
            self,
            "lbfgs",
            list(self.module_.parameters()),
            max_iter=self.max_iter,
            max_eval=self.max_fun,
            tolerance_grad=self.tol,
            history_size=10,
            line_search_fn="strong_wolfe",
        )
        self.trainer_ = Trainer(self.module_, loss, optimizer, l2=float(self.alpha) / (2 * total_weight))
        # One epoch of one batch: one step, in which L-BFGS makes all its iterations.
        self._train(
            train.x,
            train.target,
            train.weights,
            epochs=1,
            batch_size=n,
            shuffle=False,
            callbacks=self.callbacks or (),
        )
        first_parameter = optimizer.param_groups[0]["params"][0]  # L-BFGS has its counts in this one's state
        counts = optimizer.state[first_parameter]
        self.n_iter_ = max(int(counts["n_iter"]), 1)
        loss_of_trainer = self._measure_loss(train.x, train.target, train.weights)
        self.loss_ = loss_of_trainer + self._loss_constant(train.target, train.weights)
        if self.n_iter_ >= self.max_iter or counts["func_evals"] >= self.max_fun:
            warnings.warn(
                f"[{type(self).__name__}] lbfgs reached the maximum of {self.max_iter} iterations or "
                f"{self.max_fun} evaluations, and has not converged",
                ConvergenceWarning,
                stacklevel=5,
            )
        return self

    def _make_optimizer(self) -> Optimizer:
        settings: dict[str, Any] = {"lr": self.learning_rate_init}
        if self.solver == "adam":
            settings.update(betas=(self.beta_1, self.beta_2), eps=self.epsilon)
        elif self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
            settings.update(momentum=self.momentum, nesterov=nesterov)
        return make_optimizer(self, self.solver, list(self.module_.parameters()), **settings)

    def _choose_batch_size(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                f"[{type(self).__name__}] got batch_size {self.batch_size} for {n} samples; {n} is used",
                stacklevel=5,
            )
        return min(int(self.batch_size), n)

    def _split(self, data: Data) -> tuple[Data, Data]:
        """The samples to train with, and a share of `validation_fraction` for early stopping."""
        check_number(self, "validation_fraction", 0, 1, above=True)
        arrays = [data.x, data.y, data.target]
        if data.weights is not None:
            arrays.append(data.weights)
        halves = train_test_split(
            *arrays,
            stratify=self._strata(data.y),
            random_state=self._random_state,
            test_size=self.validation_fraction,
        )
        if data.weights is None:
            x, held_out_x, y, held_out_y, target, held_out_target = halves
            weights = held_out_weights = None
        else:
            x, held_out_x, y, held_out_y, target, held_out_target, weights, held_out_weights = halves
        if held_out_x.shape[0] < 2:
            raise ValueError(
                f"[{type(self).__name__}] The validation set is too small: got validation_fraction "
                f"{self.validation_fraction!r} of {data.x.shape[0]} samples; expected at least two of them "
                "in it"
            )
        train = Data(x, y, target, weights)
        return train, Data(held_out_x, held_out_y, held_out_target, held_out_weights)

    def _loss_constant(self, target: Array, weights: Array | None) -> float:
        """What is added to the loss of the Trainer to give scikit-learn's loss."""
        return 0.0

    # --- partial_fit with one row

    def _learn_row(self, X: MatrixLike, target: Array | None) -> bool:
        """`partial_fit` of one row by replaying a recorded step; False if none fits and nothing was done.

        target: as the loss takes it; None if only scikit-learn can check the y of the user.
        """
        row = self._one_row
        began = perf_counter()
        if row is None or target is None:
            return False
        if row is not OneRow.for_estimator(self) or not row.is_as_before(self):
            return False
        x = self._row(X)
        if x is None or not row.takes(x):
            return False
        measured = row.step(self, x, target)
        if measured is None:
            return False
        loss, penalty = measured
        self.n_iter_ = 0
        recorded_loss = row.record(x, target, loss, penalty, perf_counter() - began)
        recorder = Convergence.for_row(self, self._loss_constant(target, None))
        recorder.on_epoch_end(self.trainer_.epoch - 1, {"loss": recorded_loss})
        row.require_finite()
        return True

    def _note_row(self) -> None:
        """After a step with one row on the full path: allow replays for later ones, if nothing forbids it.

        Callbacks, printed lines, class weights and a loss of the user need the full path each time.
        """
        if self.callbacks or self.verbose or getattr(self, "class_weight", None) is not None:
            return
        if isinstance(self.loss, str):
            OneRow.for_estimator(self).note(self)

    def _is_quiet(self) -> bool:
        """True if a batch of one row gives no warning."""
        return self.batch_size == "auto" or int(self.batch_size) == 1

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _linear_layers_of(network: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in network if isinstance(layer, nn.Linear)]


def _without_y(data: Data | None) -> Validation | None:
    """Validation data as the Trainer measures a loss with it."""
    if data is None:
        return None
    return Validation(data.x, data.target, data.weights)
