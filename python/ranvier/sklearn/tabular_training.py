"""The training of TabularClassifier and TabularRegressor: the held-out part, the schedule, both phases."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

import ranvier.optim as optim
import ranvier.sklearn.tabular_network as tabular_network
from ranvier.ops.making import random
from ranvier.optim.lr_scheduler import LambdaLR
from ranvier.sklearn.base import Array, NetworkEstimator
from ranvier.sklearn.validation import hidden_sizes
from ranvier.train import EarlyStopping, Schedule, Trainer

Arrays = tuple[Array, Array, "Array | None"]  # x, targets, weights

LEAST_HELD_OUT = 50  # fewer rows measure the loss too roughly: then no part is held out
MOST_HELD_OUT = 5000
# the most epochs with and without a held-out part
EPOCHS = 100
EPOCHS_OF_SMALL = 40
SAMPLES = 900_000  # the epochs of a large table have about this many samples together
LEAST_EPOCHS = 6
DROPOUT = 0.1  # the automatic dropout, unless the forest explains at least `EXPLAINED` of the variance
EXPLAINED = 0.6
KEPT = 1000  # the most rows for feature_importances_


def _rows(arrays: Arrays, rows: Array) -> Arrays:
    x, y, weights = arrays
    return x[rows], y[rows], None if weights is None else weights[rows]


class TabularTraining(NetworkEstimator):
    """Training in two phases: with a held-out part, which stops it, and a shorter one with all rows.

    The second phase begins with the best weights of the first and the learning rate of their epoch, and takes
    half as many epochs, in which the rate falls to 0. So the length follows the noise of the data, which the
    held-out part measures, and no row is lost. Tables of less than about 330 rows have the first phase only,
    without a held-out part.
    """

    _columns: tabular_network.Columns

    def _fit_table(self, table: Array, target: Array, weights: Array | None, outputs: int, loss: Any) -> Any:
        """Make the network and train it."""
        self.__dict__.pop("_importances", None)
        self._columns = tabular_network.Columns(table, self._is_category)
        x = self._columns.apply(table)
        self._random_state = check_random_state(self.random_state)
        self._generator = None
        everything = x, target, weights
        order = self._random_state.permutation(len(x))
        if not x.shape[1]:
            raise ValueError(
                f"[{type(self).__name__}] got columns without any category; expected one, or a number"
            )
        held = self._held_out(order, weights)
        train: Arrays = everything if held is None else _rows(everything, np.sort(order[len(held) :]))
        numbers = train[0][:, : self._columns.numbers]
        splits = np.empty((0, 3))
        if held is not None:
            splits = tabular_network.forest_splits(*train, self._random_state)
        gains = np.bincount(splits[:, 0].astype(np.int64), splits[:, 2], x.shape[1])
        gains = gains[: numbers.shape[1] + self._columns.plain]  # not of class indices, where they mislead
        steps = tabular_network.step_edges(numbers, splits[splits[:, 0] < numbers.shape[1]])
        automatic = 0.0 if splits[:, 2].sum() >= EXPLAINED else DROPOUT
        with random.using(self._stream()):
            self.module_ = tabular_network.TabularNetwork(
                self._columns.numbers,
                self._columns.plain,
                self._columns.categories,
                outputs,
                edges=tabular_network.quantile_edges(numbers, self.bins, steps),
                hidden=hidden_sizes(self, least=1),
                members=self.n_members,
                activation=self.activation,
                dropout=automatic if self.dropout == "auto" else float(self.dropout),
                probabilities=isinstance(loss, tabular_network.MemberCrossEntropy),
                shares=gains / gains.sum() if gains.any() else None,
            )
        optimizer = self._optimizer()
        self.trainer_ = Trainer(self.module_, loss, optimizer)
        n = len(train[0])
        wanted = min(self._batch_size(n), n)
        batch_size = -(-n // -(-n // wanted))  # so that `_phase` repeats few rows for equal batches
        if held is None:
            self._kept = _rows(everything, order[:KEPT])
            self._phase(train, batch_size, self._epochs(n, False), self._warm_cosine)
        else:
            valid = _rows(everything, held)
            self._kept = _rows(valid, np.arange(min(len(held), KEPT)))
            stop = EarlyStopping(patience=self.n_iter_no_change)
            epochs = self._epochs(n, True)
            self._phase(train, batch_size, epochs, self._warm_cosine, valid, stop)
            best = stop.best_epoch or 0
            rate = self._warm_cosine(best, epochs)
            if stop.stopped_epoch is not None or self.history_.epochs == epochs:  # no other callback ended it
                more = max((best + 1) // 2, 2)
                self._phase(everything, batch_size, more, lambda step, steps: rate * (1 - step / steps))
        self.n_iter_ = self.history_.epochs
        return self

    def _phase(
        self,
        arrays: Arrays,
        batch_size: int,
        epochs: int,
        share: Any,
        valid: Arrays | None = None,
        *callbacks: Any,
    ) -> None:
        """Train some epochs, with the learning rate times share(step, steps).

        A step of the schedule is an epoch, or a batch if there are fewer than 15 epochs. Some rows are
        repeated, so that all batches have the same size, and one program runs them.
        """
        n = len(arrays[0])
        more = self._random_state.permutation(n)[: -n % batch_size]
        x, y, weights = _rows(arrays, np.concatenate([np.arange(n), more])) if len(more) else arrays
        optimizer = self.trainer_.optimizer
        per, steps = ("epoch", epochs) if epochs >= 15 else ("batch", epochs * (len(x) // batch_size))
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = float(self.learning_rate)
        schedule = Schedule(LambdaLR(optimizer, lambda step: share(step, steps)), per=per)
        hooks = [schedule, *callbacks, *(self.callbacks or ())]
        self._train(x, y, weights, epochs=epochs, batch_size=batch_size, callbacks=hooks, validation=valid)

    @staticmethod
    def _warm_cosine(step: int, steps: int) -> float:
        """A linear rise over a twentieth of the steps, then half a cosine."""
        warmup = max(steps // 20, 1)
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1)))

    def _held_out(self, order: Array, weights: Array | None) -> Array | None:
        """The rows of the held-out part, whose loss stops the first phase; None for small tables.

        order: a random order of all rows.
        """
        count = min(int(len(order) * self.validation_fraction), MOST_HELD_OUT)
        held: Array = np.sort(order[:count])
        if count < LEAST_HELD_OUT:
            return None
        if weights is not None and not (weights[held].any() and weights[order[count:]].any()):
            return None
        return held

    def _epochs(self, n: int, held_out: bool) -> int:
        if self.max_iter != "auto":
            return int(self.max_iter)
        return min(EPOCHS if held_out else EPOCHS_OF_SMALL, max(SAMPLES // n, LEAST_EPOCHS))

    def _batch_size(self, n: int) -> int:
        """Batches of 32 for small tables, of up to 256 for larger and 1,024 for the largest ones."""
        if self.batch_size != "auto":
            return int(self.batch_size)
        return int(min(max(2 ** round(math.log2(max(n, 1) / 16)), 32), max(256, min(n // 64, 1024))))

    def _optimizer(self) -> Any:
        """AdamW, with weight decay for matrices only."""
        matrices: list[Any] = []
        others: list[Any] = []
        for name, p in self.module_.named_parameters():
            (matrices if p.ndim >= 2 and "bias" not in name else others).append(p)
        decay = float(self.weight_decay)
        groups = [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]
        return optim.AdamW(groups, lr=float(self.learning_rate), betas=(0.9, 0.95))

    @property
    def feature_importances_(self) -> Array:
        """How much the loss grows if the values of a column are permuted at random, (columns,), sum 1.

        Computed at the first use, on up to 1,000 of the rows that `fit` held out (of all rows for a small
        table), which the estimator keeps. Columns with the same information share their importance, since
        permuting one of them changes little.

        Source: Breiman, "Random forests" (2001), section 10.
        """
        check_is_fitted(self)
        if not hasattr(self, "_importances"):
            x, y, weights = self._kept
            rng = np.random.default_rng(0)
            base = self._measured(x, y, weights)
            grown = np.zeros(self.n_features_in_)
            for column in range(len(grown)):
                chosen = self._columns.origin == column
                exchanged = x.copy()
                exchanged[:, chosen] = x[rng.permutation(len(x))][:, chosen]
                if chosen.any():
                    grown[column] = max(self._measured(exchanged, y, weights) - base, 0.0)
            self._importances = grown / grown.sum() if grown.sum() > 0 else grown
        return self._importances
