"""The base class of MLPClassifier and MLPRegressor: training, `partial_fit`, attributes."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from time import perf_counter
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.validation import check_is_fitted

import ranvier.nn as nn
from ranvier import mlp
from ranvier.ops.making import random
from ranvier.sklearn.base import Array, NetworkEstimator
from ranvier.sklearn.convergence import Convergence
from ranvier.sklearn.held import Held
from ranvier.sklearn.one_row import OneRow, is_bounded, is_row
from ranvier.sklearn.validation import flag, hidden_sizes, make_optimizer, number, one_of, validated, whole
from ranvier.tensors.data import refuse_torch
from ranvier.train import NonFiniteError, Trainer

ACTIVATIONS = {"logistic": "sigmoid", "identity": "linear"}


class MLPTraining(NetworkEstimator):
    """The settings, the network and the training of MLPClassifier and MLPRegressor."""

    # --- checks

    def _check(self) -> None:
        """Check the parameters of the estimator."""
        for name in ("alpha", "power_t", "tol"):
            number(self, name)
        for name in ("learning_rate_init", "epsilon"):
            number(self, name, above=True)
        for name in ("momentum", "beta_1", "beta_2", "dropout"):
            number(self, name, 0, 1)
        if isinstance(self.solver, str) and self.solver.lower() in ("adam", "lbfgs", "sgd"):
            one_of(self, "solver", ("adam", "lbfgs", "sgd"))
        for name in ("shuffle", "warm_start", "nesterovs_momentum", "early_stopping"):
            flag(self, name)
        number(self, "validation_fraction", 0, 1)
        one_of(self, "learning_rate", ("constant", "invscaling", "adaptive"))
        whole(self, "max_iter")
        whole(self, "max_fun")
        if self.batch_size != "auto":
            whole(self, "batch_size")
        if self.n_iter_no_change != math.inf:
            whole(self, "n_iter_no_change")
        if self.dtype not in (None, "float32", "float64"):
            raise ValueError(
                f"[{type(self).__name__}] got dtype {self.dtype!r}; expected 'float32', 'float64' or None"
            )

    def _validation(self, validation_data: Any) -> tuple[Any, Any, Any]:
        """(X, y, sample_weight or None) of the validation data."""
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError(
                f"[{type(self).__name__}] got validation_data of type {type(validation_data).__name__}; "
                "expected (X, y) or (X, y, sample_weight)"
            )
        x, y, *weights = validation_data
        return x, y, weights[0] if weights else None

    def _dtype(self) -> str:
        """The dtype of the network: float64 for lbfgs, which compares losses that differ little."""
        return self.dtype or ("float64" if self.solver == "lbfgs" else "float32")

    def _checked(self, X: Any, y: Any, first: bool, **how: Any) -> Any:
        """X and y of a fit, checked by scikit-learn; first: take the number of features from X."""
        how |= {"accept_sparse": "csr", "multi_output": True, "dtype": self._dtype()}
        return validated(self, X, y, reset=first, **how)

    def _validated(self, X: Any) -> Any:
        row = self._row(X)
        if row is not None:
            return row
        return validated(self, X, accept_sparse="csr", dtype=self._dtype(), reset=False)

    def _row(self, X: Any) -> Array | None:
        """X in the network's dtype if it is one row of finite floats; None if scikit-learn must check."""
        if not is_row(self, X) or self.dtype not in (None, "float32", "float64"):
            return None
        if is_bounded(X):
            return X.astype(self._dtype(), order="C", copy=False)
        return None

    # --- the network

    def _start(self, features: int, outputs: int) -> None:
        """A new network, and the record of its training."""
        self._generator = None
        self.module_ = self._network(features, outputs)
        self.n_layers_ = len(self._linear()) + 1
        self.n_outputs_ = outputs
        self.t_ = 0
        self._no_improvement_count = 0
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self.best_loss_ = None if self.early_stopping else math.inf
            self.validation_scores_: list[float] | None = None
            self.validation_loss_curve_: list[float] | None = None
            self.best_validation_score_ = -math.inf if self.early_stopping else None

    def _network(self, features: int, outputs: int) -> nn.Sequential:
        """The network, with scikit-learn's initial values for the same random_state."""
        sizes = [features, *hidden_sizes(self), outputs]
        activation = self.activation
        refuse_torch(type(self).__name__, "an activation", activation)
        if isinstance(activation, str):
            activation = ACTIVATIONS.get(activation, activation)
        with random.using(random.Generator()):  # the layers draw values, which are replaced below
            how: dict[str, Any] = {"init": "zeros", "dropout": float(self.dropout), "dtype": self._dtype()}
            network = mlp(sizes, activation=[activation] * (len(sizes) - 2), **how)
        factor = 2.0 if self.activation == "logistic" else 6.0
        layers: list[Any] = [layer for layer in network if isinstance(layer, nn.Linear)]
        for layer in layers:
            bound = math.sqrt(factor / (layer.in_features + layer.out_features))
            weight = self._random_state.uniform(-bound, bound, (layer.in_features, layer.out_features))
            layer.weight.detach().numpy()[...] = weight.T
            layer.bias.detach().numpy()[...] = self._random_state.uniform(-bound, bound, layer.out_features)
        return network

    def _linear(self) -> list[Any]:
        return [layer for layer in self.module_ if isinstance(layer, nn.Linear)]

    @property
    def coefs_(self) -> list[Array]:
        """The weights (inputs, outputs) of each layer; what is assigned is copied into the network."""
        name = f"{type(self).__name__}.coefs_"
        return Held(name, [layer.weight.detach().numpy().T for layer in self._linear()])

    @coefs_.setter
    def coefs_(self, values: Any) -> None:
        check_is_fitted(self)
        self.coefs_[:] = values

    @property
    def intercepts_(self) -> list[Array]:
        """The bias (outputs,) of each layer; what is assigned is copied into the network."""
        name = f"{type(self).__name__}.intercepts_"
        return Held(name, [layer.bias.detach().numpy() for layer in self._linear()])

    @intercepts_.setter
    def intercepts_(self, values: Any) -> None:
        check_is_fitted(self)
        self.intercepts_[:] = values

    # --- training

    def _fit_arrays(
        self,
        x: Any,
        y: Array,
        target: Array,
        weights: Array | None,
        validation: tuple[Any, ...] | None,
        loss: Any,
        incremental: bool,
    ) -> Any:
        """Train the network.

        target: what the loss compares the output with, (n, outputs) or class indices (n,). y: what the
        validation score compares predictions with. validation: (x, y, target, weights or None).
        """
        if self.solver == "lbfgs":
            return self._fit_lbfgs(x, target, weights, loss)
        if self.early_stopping and incremental:
            raise ValueError(f"[{type(self).__name__}] partial_fit does not support early_stopping=True")
        if self.early_stopping and validation is None:
            (x, y, target, weights), validation = self._split(x, y, target, weights)
        n = x.shape[0]
        batch_size = self._batch_size(n)
        mean_weight = 1.0 if weights is None else float(weights.mean())
        penalty = float(self.alpha) / (2 * batch_size * mean_weight)
        if not incremental or not hasattr(self, "trainer_"):
            self.trainer_ = Trainer(self.module_, loss, self._new_optimizer(), l2=penalty)
        self.trainer_.l2 = penalty
        score: Callable[[], float] | None = None
        if validation is not None:
            xv, yv, tv, wv = validation
            self.validation_scores_ = self.validation_scores_ or []
            self.validation_loss_curve_ = self.validation_loss_curve_ or []
            score = lambda: self._validation_score(xv, yv, wv)  # noqa: E731
            validation = (xv, tv, wv)
        self.n_iter_ = 0
        recorder = Convergence(self, n, score, self._constant(target, weights), not incremental)
        try:
            how: dict[str, Any] = {"batch_size": batch_size, "shuffle": bool(self.shuffle)}
            how |= {"validation": validation, "callbacks": [recorder, *(self.callbacks or ())]}
            self._train(x, target, weights, epochs=1 if incremental else self.max_iter, **how)
        except NonFiniteError as error:
            if not recorder.diverged(error):
                raise
        if self.n_iter_ == self.max_iter and not recorder.stopped and not incremental:
            warnings.warn(
                f"[{type(self).__name__}] the maximum of {self.max_iter} iterations is reached, and the "
                "training has not converged",
                ConvergenceWarning,
                stacklevel=3,
            )
        return self

    def _learn_row(self, X: Any, target: Array | None) -> bool:
        """`partial_fit` of one row by replaying a recorded step; False if none fits and nothing was done."""
        row = self._one_row
        began = perf_counter()
        if row is None or target is None or row is not OneRow.of(self) or not row.is_as_before(self):
            return False
        x = self._row(X)
        if x is not None and row.takes(x):
            measured = row.step(self, x, target)
        else:
            measured = None
        if x is None or measured is None:
            return False
        self.n_iter_ = 0
        loss = row.record(x, target, *measured, perf_counter() - began)
        recorder = Convergence.of_row(self, self._constant(target, None))
        recorder.on_epoch_end(self.trainer_.epoch - 1, {"loss": loss})
        row.require_finite()
        return True

    def _note_row(self) -> None:
        """After a step with one row on the full path: allow replays for later ones, if nothing forbids it."""
        own_way = self.callbacks or self.verbose or getattr(self, "class_weight", None) is not None
        if not own_way and isinstance(self.loss, str):
            OneRow.of(self).note(self)

    def _is_quiet(self) -> bool:
        """True if a batch of one row gives no warning."""
        return self.batch_size == "auto" or int(self.batch_size) == 1

    def _new_optimizer(self) -> Any:
        owner = type(self).__name__
        parameters = list(self.module_.parameters())
        settings: dict[str, Any] = {"lr": self.learning_rate_init}
        if self.solver == "adam":
            settings.update(betas=(self.beta_1, self.beta_2), eps=self.epsilon)
        elif self.solver == "sgd":
            nesterov = bool(self.nesterovs_momentum and self.momentum > 0)
            settings.update(momentum=self.momentum, nesterov=nesterov)
        return make_optimizer(owner, self.solver, parameters, **settings)

    def _batch_size(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                f"[{type(self).__name__}] got batch_size {self.batch_size} for {n} samples; {n} is used",
                stacklevel=5,
            )
        return min(int(self.batch_size), n)

    def _split(self, x: Any, y: Array, target: Array, weights: Array | None) -> tuple[Any, Any]:
        number(self, "validation_fraction", 0, 1, above=True)
        if weights is None:
            arrays = [x, y, target]
        else:
            arrays = [x, y, target, weights]
        how = {"random_state": self._random_state, "test_size": self.validation_fraction}
        halves = train_test_split(*arrays, stratify=self._strata(y), **how)
        train = halves[::2]
        valid = halves[1::2]
        if valid[0].shape[0] < 2:
            raise ValueError(
                f"[{type(self).__name__}] The validation set is too small: got validation_fraction "
                f"{self.validation_fraction!r} of {x.shape[0]} samples; expected at least two of them in it"
            )
        none = [None] * (weights is None)
        return (*train, *none), (*valid, *none)

    def _fit_lbfgs(self, x: Any, target: Array, weights: Array | None, loss: Any) -> Any:
        """Train by L-BFGS with all samples in each step."""
        n = x.shape[0]
        total = n if weights is None else float(weights.sum())
        settings = {"max_iter": self.max_iter, "max_eval": self.max_fun, "tolerance_grad": self.tol}
        settings |= {"history_size": 10, "line_search_fn": "strong_wolfe"}
        optimizer = make_optimizer(type(self).__name__, "lbfgs", list(self.module_.parameters()), **settings)
        self.trainer_ = Trainer(self.module_, loss, optimizer, l2=float(self.alpha) / (2 * total))
        self._train(x, target, weights, epochs=1, batch_size=n, shuffle=False, callbacks=self.callbacks or ())
        state = optimizer.state[optimizer.param_groups[0]["params"][0]]
        self.n_iter_ = max(int(state["n_iter"]), 1)
        self.loss_ = self._measured(x, target, weights) + self._constant(target, weights)
        if self.n_iter_ >= self.max_iter or state["func_evals"] >= self.max_fun:
            warnings.warn(
                f"[{type(self).__name__}] lbfgs reached the maximum of {self.max_iter} iterations or "
                f"{self.max_fun} evaluations, and has not converged",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _constant(self, target: Array, weights: Array | None) -> float:
        """What is added to the loss of the Trainer to give scikit-learn's loss."""
        return 0.0

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags
