"""What a fit of an estimator needs: labels as numbers, batches in random order, the end when it converged."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import issparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ranvier.data import RandomSampler
from ranvier.train import Callback

__all__ = ["Convergence", "Labels", "SparseBatches"]

Array = npt.NDArray[Any]


class SparseBatches:
    """Batches `(x, y)` or `(x, y, weights)` of a CSR matrix, in the order in which the Trainer takes arrays.

    Args:
        x: the matrix, (n, features).
        arrays: y and weights, where there are any.
        batch_size: rows of a batch; the last one may be smaller.
        shuffle: a new random order for each pass.
    """

    def __init__(
        self, x: Any, arrays: tuple[Array, ...] = (), batch_size: int = 1024, shuffle: bool = False
    ) -> None:
        self.x, self.arrays, self.batch_size = x, arrays, batch_size
        self.shuffle = shuffle
        self._sampler = RandomSampler(np.empty(x.shape[0], bool))

    def __len__(self) -> int:
        return -(-int(self.x.shape[0]) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Array, ...]]:
        n = self.x.shape[0]
        order = self._sampler.order(self._sampler.draw()) if self.shuffle else np.arange(n)
        for start in range(0, n, self.batch_size):
            rows = order[start : start + self.batch_size]
            yield (self.x[rows].toarray(), *(array[rows] for array in self.arrays))


class Labels:
    """The classes of a classification problem.

    Args:
        y: labels (n,) of any type, or a matrix of zeros and ones (n, k) with several labels a sample.
        classes: all classes, where y may lack some of them.

    Attributes:
        classes: the sorted labels, or 0 ... k - 1.
        multilabel: whether a sample may have several labels.

    Raises ValueError: targets that are no labels.
    """

    def __init__(self, y: Any, classes: Any = None) -> None:
        if classes is None and type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu":
            self.classes = np.unique(y)
            if 2 * len(self.classes) <= len(y):  # else scikit-learn may warn
                self.multilabel = False
                return
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError(
                "[labels] got a y of several columns with more than two values; expected one column of "
                "labels, or a matrix of zeros and ones"
            )
        self.multilabel = kind == "multilabel-indicator"
        if self.multilabel:
            self.classes = np.arange(y.shape[1])
        else:
            self.classes = np.unique(column_or_1d(y if classes is None else classes))

    def encode(self, y: Any) -> Array:
        """Class indices (n,), int64; or float32 zeros and ones (n, k).

        Raises ValueError: a label that is none of the classes.
        """
        if self.multilabel:
            dense = y.toarray() if issparse(y) else np.asarray(y)
            if dense.ndim != 2 or dense.shape[1] != len(self.classes):
                raise ValueError(
                    f"[labels] got y of shape {dense.shape}; expected ({len(dense)}, {len(self.classes)})"
                )
            return dense.astype(np.float32)
        y = column_or_1d(y, warn=True)
        codes = np.searchsorted(self.classes, y)
        if not np.array_equal(self.classes.take(codes, mode="clip"), y):
            new = np.setdiff1d(y, self.classes)
            raise ValueError(f"[labels] got the class {new.tolist()[0]!r}; expected one of {self.classes}")
        return codes.astype(np.int64, copy=False)

    def decode(self, probability: Array) -> Array:
        """Labels (n,), or zeros and ones (n, k), of the probabilities (n, classes)."""
        if self.multilabel:
            return (probability > 0.5).astype(np.int64)
        return self.classes[probability.argmax(axis=1)]


class Convergence(Callback):
    """Records each epoch in the estimator, and ends the run by the rules of scikit-learn's MLPClassifier.

    The run ends after more than `n_iter_no_change` epochs in a row whose loss is not below the best one minus
    `tol`, or with early stopping, whose validation score is below the best one plus `tol`. With the learning
    rate "adaptive" the rate is divided by 5 instead, until it is 1e-6.

    Args:
        estimator: has the settings and gets `loss_curve_`, `n_iter_` and the other attributes.
        samples: of an epoch.
        score: gives the validation score, or None without validation data.
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
        self._estimator, self._samples, self._score = estimator, samples, score
        self._constant, self._stops = constant, stops
        self._best: dict[str, Any] | None = None
        self.stopped = False

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
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
        if self._is_sgd() and e.learning_rate == "invscaling":
            self._set_rate(e.learning_rate_init / (e.t_ + 1) ** e.power_t)
        if self._stops and e._no_improvement_count > e.n_iter_no_change:
            self._stop()

    def _compare_scores(self) -> None:
        e = self._estimator
        score, best = e.validation_scores_[-1], e.best_validation_score_
        e._no_improvement_count = 0 if score >= best + e.tol else e._no_improvement_count + 1
        if score > best or self._best is None:
            e.best_validation_score_ = max(score, best) if score == score else best
            state = self.trainer.model.state_dict()
            self._best = {name: np.array(value) for name, value in state.items()}

    def _stop(self) -> None:
        e = self._estimator
        what = "Validation score" if e.early_stopping else "Training loss"
        why = f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} consecutive epochs."
        rate = self._rate()
        if self._is_sgd() and e.learning_rate == "adaptive" and rate > 1e-6:
            self._set_rate(rate / 5)
            e._no_improvement_count = 0
            self._say(f"{why} Setting learning rate to {rate / 5:f}")
            return
        self.stopped = self.trainer.stop_training = True
        self._say(f"{why} Stopping.")

    def diverged(self, error: Exception) -> bool:
        """Whether the best weights of a run with early stopping are restored after this error."""
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

    def _rate(self) -> float:
        return float(self.trainer.optimizer.param_groups[0]["lr"])

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
