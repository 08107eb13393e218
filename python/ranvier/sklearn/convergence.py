"""The rules by which a fit of a perceptron ends, and what is recorded of each epoch."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from ranvier.train import Callback


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
    """

    def __init__(
        self,
        estimator: Any,
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
        self._best: dict[str, Any] | None = None
        self.stopped = False

    @classmethod
    def of_row(cls, estimator: Any, constant: float = 0.0) -> Convergence:
        """The recorder of one `partial_fit` with one row."""
        recorder = cls(estimator, 1, None, constant, False)
        recorder.trainer = estimator.trainer_
        return recorder

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Note the losses as scikit-learn's attributes, and stop where they no longer improve."""
        e = self._estimator
        e.n_iter_ += 1
        e.t_ += self._samples
        e.loss_ = logs["loss"] + self._constant
        e.loss_curve_.append(e.loss_)
        self._say(f"Iteration {e.n_iter_}, loss = {e.loss_:.8f}")
        if "val_loss" in logs:
            e.validation_loss_curve_.append(logs["val_loss"])
        if self._score is not None:
            e.validation_scores_.append(self._score())
            self._say(f"Validation score: {e.validation_scores_[-1]:f}")
        if e.early_stopping:
            self._compare_scores()
        else:
            better = e.loss_ <= e.best_loss_ - e.tol
            e._no_improvement_count = 0 if better else e._no_improvement_count + 1
            e.best_loss_ = min(e.best_loss_, e.loss_)
        self.decay()
        if self._stops and e._no_improvement_count > e.n_iter_no_change:
            self._stop()

    def decay(self) -> None:
        """Set the learning rate that "invscaling" has after the samples so far."""
        e = self._estimator
        if self._is_sgd() and e.learning_rate == "invscaling":
            self._set_rate(e.learning_rate_init / (e.t_ + 1) ** e.power_t)

    def _compare_scores(self) -> None:
        e = self._estimator
        score = e.validation_scores_[-1]
        best = e.best_validation_score_
        e._no_improvement_count = 0 if score >= best + e.tol else e._no_improvement_count + 1
        if score > best or self._best is None:
            e.best_validation_score_ = max(score, best) if score == score else best
            state = self.trainer.model.state_dict()
            self._best = {name: np.array(value) for name, value in state.items()}

    def _stop(self) -> None:
        e = self._estimator
        what = "Validation score" if e.early_stopping else "Training loss"
        why = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
        rate = float(self.trainer.optimizer.param_groups[0]["lr"])
        if self._is_sgd() and e.learning_rate == "adaptive" and rate > 1e-6:
            self._set_rate(rate / 5)
            e._no_improvement_count = 0
            self._say(f"{why} Setting learning rate to {rate / 5:f}")
            return
        self.stopped = self.trainer.stop_training = True
        self._say(f"{why} Stopping.")

    def diverged(self, error: Exception) -> bool:
        """After an error by numbers that are not finite: restore the best weights of early stopping.

        Returns False, and does nothing, if there are none.
        """
        if self._best is None:
            return False
        warnings.warn(f"{error}; the best weights so far are kept", ConvergenceWarning, stacklevel=6)
        self._estimator.validation_scores_.append(math.nan)
        self.stopped = True
        self.on_train_end()
        return True

    def on_train_end(self) -> None:
        if self._best is not None and self._stops:
            self.trainer.model.load_state_dict(self._best)

    def _is_sgd(self) -> bool:
        return bool(self._estimator.solver == "sgd")

    def _set_rate(self, rate: float) -> None:
        """Change the rate; scikit-learn's velocity, -rate times the momentum buffer, stays as it is."""
        optimizer = self.trainer.optimizer
        for group in optimizer.param_groups:
            for p in group["params"]:
                if (buffer := optimizer.state.get(p, {}).get("momentum_buffer")) is not None:
                    buffer *= group["lr"] / rate
            group["lr"] = rate

    def _say(self, line: str) -> None:
        if self._estimator.verbose:
            print(line)
