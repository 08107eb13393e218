"""Convergence: the callback by which a fit of a perceptron ends, and which records each epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ranvier.tensors.memory import Array
from ranvier.train import Callback

if TYPE_CHECKING:
    from ranvier.sklearn.base import NetworkEstimator


class Convergence(Callback):
    """Records each epoch in the estimator, and ends the run by the rules of scikit-learn's MLPClassifier.

    The run ends after more than `n_iter_no_change` epochs in a row whose loss is not below the best one minus
    `tol`, or with early stopping, whose validation score is below the best one plus `tol`. With the learning
    rate "adaptive" the rate is divided by 5 instead, until it is 1e-6.

    Args:
        estimator: has the settings; its attributes `loss_curve_`, `n_iter_` and others are set here.
        samples: the number of samples of an epoch.
        score: a function that gives the validation score; None without validation data.
        constant: added to the loss that is recorded.
        stops: whether the run may end; `partial_fit` makes one epoch.

    Attributes:
        stopped: whether the run has ended by these rules, or by numbers that are not finite.
    """

    def __init__(
        self,
        estimator: NetworkEstimator,
        samples: int,
        score: Callable[[], float] | None,
        constant: float = 0.0,
        stops: bool = True,
    ) -> None:
        self._estimator = estimator
        self._samples = samples
        self._score = score
        self._constant = constant
        self._stops = stops
        self._best_weights: dict[str, Array] | None = None  # those of the best score, with early stopping
        self.stopped = False

    @classmethod
    def for_row(cls, estimator: NetworkEstimator, constant: float = 0.0) -> Convergence:
        """The recorder of one `partial_fit` with one row, which has no run of the Trainer."""
        recorder = cls(estimator, samples=1, score=None, constant=constant, stops=False)
        recorder.trainer = estimator.trainer_
        return recorder

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Note the losses as scikit-learn's attributes, and stop where they no longer improve."""
        estimator = self._estimator
        estimator.n_iter_ += 1
        estimator.t_ += self._samples
        estimator.loss_ = logs["loss"] + self._constant
        estimator.loss_curve_.append(estimator.loss_)
        self._print(f"Iteration {estimator.n_iter_}, loss = {estimator.loss_:.8f}")
        if "val_loss" in logs:
            estimator.validation_loss_curve_.append(logs["val_loss"])
        if self._score is not None:
            score = self._score()
            estimator.validation_scores_.append(score)
            self._print(f"Validation score: {score:f}")
        if estimator.early_stopping:
            self._compare_scores()
        else:
            self._count(estimator.loss_ <= estimator.best_loss_ - estimator.tol)
            estimator.best_loss_ = min(estimator.best_loss_, estimator.loss_)
        self._decay_rate()
        if self._stops and estimator._no_improvement_count > estimator.n_iter_no_change:
            self._stop()

    def _count(self, improved: bool) -> None:
        """Count the epochs in a row without an improvement."""
        if improved:
            self._estimator._no_improvement_count = 0
        else:
            self._estimator._no_improvement_count += 1

    def _compare_scores(self) -> None:
        """Compare the latest validation score with the best one, and store the weights of a better one."""
        estimator = self._estimator
        score = estimator.validation_scores_[-1]
        best = estimator.best_validation_score_
        self._count(score >= best + estimator.tol)
        if score > best or self._best_weights is None:
            if not math.isnan(score):
                estimator.best_validation_score_ = max(score, best)
            state = self.trainer.model.state_dict()
            self._best_weights = {name: np.array(value) for name, value in state.items()}

    def _decay_rate(self) -> None:
        """Set the learning rate that "invscaling" has after the samples so far."""
        estimator = self._estimator
        if self._is_sgd() and estimator.learning_rate == "invscaling":
            self._set_rate(estimator.learning_rate_init / (estimator.t_ + 1) ** estimator.power_t)

    def _stop(self) -> None:
        """End the run, or divide the learning rate "adaptive"."""
        estimator = self._estimator
        measured = "Validation score" if estimator.early_stopping else "Training loss"
        reason = (
            f"{measured} did not improve more than tol={estimator.tol:f} for {estimator.n_iter_no_change} "
            "consecutive epochs."
        )
        rate = float(self.trainer.optimizer.param_groups[0]["lr"])
        if self._is_sgd() and estimator.learning_rate == "adaptive" and rate > 1e-6:
            self._set_rate(rate / 5)
            estimator._no_improvement_count = 0
            self._print(f"{reason} Setting learning rate to {rate / 5:f}")
            return
        self.trainer.stop_training = True
        self.stopped = True
        self._print(f"{reason} Stopping.")

    def diverged(self, error: Exception) -> bool:
        """After an error by numbers that are not finite: restore the best weights of early stopping.

        Returns False, and does nothing, if there are none.
        """
        if self._best_weights is None:
            return False
        warnings.warn(f"{error}; the best weights so far are kept", ConvergenceWarning, stacklevel=5)
        self._estimator.validation_scores_.append(math.nan)
        self.stopped = True
        self.on_train_end()
        return True

    def on_train_end(self) -> None:
        """Restore the weights of the best validation score."""
        if self._best_weights is not None and self._stops:
            self.trainer.model.load_state_dict(self._best_weights)

    def _is_sgd(self) -> bool:
        return bool(self._estimator.solver == "sgd")

    def _set_rate(self, rate: float) -> None:
        """Change the rate; scikit-learn's velocity, -rate times the momentum buffer, stays as it is."""
        optimizer = self.trainer.optimizer
        for group in optimizer.param_groups:
            for p in group["params"]:
                buffer = optimizer.state.get(p, {}).get("momentum_buffer")
                if buffer is not None:
                    buffer *= group["lr"] / rate
            group["lr"] = rate

    def _print(self, line: str) -> None:
        if self._estimator.verbose:
            print(line)
