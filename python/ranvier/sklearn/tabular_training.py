"""The base class of TabularClassifier and TabularRegressor: the held-out part, the schedule, both phases."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from sklearn.utils.validation import check_is_fitted

import ranvier.nn as nn
import ranvier.optim as optim
import ranvier.sklearn.tabular_network as tabular_network
from ranvier.ops.making import random
from ranvier.optim import Optimizer
from ranvier.optim.lr_scheduler import LambdaLR
from ranvier.sklearn.base import NetworkEstimator, Validation
from ranvier.sklearn.parameters import check_hidden_sizes, make_random_state
from ranvier.sklearn.types import Loss
from ranvier.tensors.memory import Array
from ranvier.train import Callback, EarlyStopping, Schedule, Trainer

LEAST_HELD_OUT = 50  # fewer rows measure the loss too roughly: then no part is held out
MOST_HELD_OUT = 5000
# the most epochs with and without a held-out part
EPOCHS = 100
EPOCHS_OF_SMALL = 40
SAMPLES = 900_000  # the epochs of a large table have about this many samples together
LEAST_EPOCHS = 6
DROPOUT = 0.1  # the automatic dropout, unless the forest explains at least `EXPLAINED` of the variance
EXPLAINED = 0.6
IMPORTANCE_ROWS = 1000  # the most rows that are stored for feature_importances_

RateFactor: TypeAlias = Callable[[int, int], float]
"""A schedule: the factor of the learning rate at a step, of (step, number of steps)."""


class Rows(NamedTuple):
    """Rows of the table, converted for the network."""

    x: Array  # (n, columns), what `Columns.apply` makes of the table
    y: Array  # the targets as the loss takes them
    weights: Array | None

    def take(self, indices: Array) -> Rows:
        """The rows with these indices, in their order."""
        weights = None if self.weights is None else self.weights[indices]
        return Rows(self.x[indices], self.y[indices], weights)


class TabularTraining(NetworkEstimator):
    """Training in two phases: with a held-out part, which stops it, and a shorter one with all rows.

    The second phase begins with the best weights of the first and the learning rate of their epoch, and takes
    half as many epochs, in which the rate falls to 0. So the length follows the noise of the data, which the
    held-out part measures, and no row is lost. Tables of less than about 330 rows have the first phase only,
    without a held-out part.
    """

    _columns: tabular_network.Columns

    def _fit_table(self, table: Array, target: Array, weights: Array | None, outputs: int, loss: Loss) -> Any:
        """Make the network and train it; returns the estimator.

        Args:
            table: (n, columns), float64, with categories as codes.
            target: as the loss takes it, class indices (n,) or values (n, outputs).
            weights: (n,).
            outputs: of the network, classes or values.
            loss: of the outputs of all members, (n, outputs, members).
        """
        self.__dict__.pop("_importances", None)  # those of an earlier fit
        self._columns = tabular_network.Columns(table, self._is_category)
        everything = Rows(self._columns.apply(table), target, weights)
        self._random_state = make_random_state(self)
        self._generator = None
        order = self._random_state.permutation(len(everything.x))
        if everything.x.shape[1] == 0:
            raise ValueError(
                f"[{type(self).__name__}] got columns without any category; expected one, or a number"
            )
        held_out = self._choose_held_out(order, weights)
        if held_out is None:
            train = everything
            no_splits = np.empty((0, 3))
            self.module_ = self._make_network(train.x, no_splits, outputs, loss)
        else:
            train = everything.take(np.sort(order[len(held_out) :]))
            splits = tabular_network.forest_splits(*train, self._random_state)
            self.module_ = self._make_network(train.x, splits, outputs, loss)
        self.trainer_ = Trainer(self.module_, loss, self._make_optimizer())
        n = len(train.x)
        wanted = min(self._choose_batch_size(n), n)
        batches = -(-n // wanted)
        batch_size = -(-n // batches)  # so that `_train_phase` repeats few rows for equal batches
        if held_out is None:
            self._importance_rows = everything.take(order[:IMPORTANCE_ROWS])
            epochs = self._choose_epochs(n, EPOCHS_OF_SMALL)
            self._train_phase(train, batch_size, epochs, _warm_cosine)
        else:
            validation = everything.take(held_out)
            self._importance_rows = validation.take(np.arange(min(len(held_out), IMPORTANCE_ROWS)))
            self._train_two_phases(train, validation, everything, batch_size)
        self.n_iter_ = self.history_.epochs
        return self

    def _train_two_phases(self, train: Rows, validation: Rows, everything: Rows, batch_size: int) -> None:
        """Train until the loss of the held-out part stops falling, then half as long with all rows."""
        early_stopping = EarlyStopping(patience=self.n_iter_no_change)
        epochs = self._choose_epochs(len(train.x), EPOCHS)
        validation_data = Validation(validation.x, validation.y, validation.weights)
        self._train_phase(train, batch_size, epochs, _warm_cosine, validation_data, [early_stopping])
        ended_by_callback = early_stopping.stopped_epoch is None and self.history_.epochs != epochs
        if ended_by_callback:  # by one of the user
            return
        best_epoch = early_stopping.best_epoch or 0
        rate = _warm_cosine(best_epoch, epochs)

        def fall_to_zero(step: int, steps: int) -> float:
            return rate * (1 - step / steps)

        self._train_phase(everything, batch_size, max((best_epoch + 1) // 2, 2), fall_to_zero)

    def _make_network(self, x: Array, splits: Array, outputs: int, loss: Loss) -> nn.Module:
        """The network for the converted rows x.

        splits: of the random forest, (splits, 3) with the column, the threshold and the gain of each; none
        for small tables.
        """
        columns = self._columns
        split_columns = splits[:, 0].astype(np.int64)
        split_gains = splits[:, 2]
        gains = np.bincount(split_columns, split_gains, x.shape[1])
        gains = gains[: columns.numbers + columns.plain]  # not of class indices, where they mislead
        numbers = x[:, : columns.numbers]
        steps = tabular_network.step_edges(numbers, splits[split_columns < columns.numbers])
        if self.dropout != "auto":
            dropout = float(self.dropout)
        else:
            dropout = 0.0 if split_gains.sum() >= EXPLAINED else DROPOUT
        with random.using(self._stream()):
            return tabular_network.TabularNetwork(
                columns.numbers,
                columns.plain,
                columns.categories,
                outputs,
                edges=tabular_network.quantile_edges(numbers, self.bins, steps),
                hidden=check_hidden_sizes(self, least=1),
                members=self.n_members,
                activation=self.activation,
                dropout=dropout,
                probabilities=isinstance(loss, tabular_network.MemberCrossEntropy),
                shares=_normalized(gains),
            )

    def _train_phase(
        self,
        rows: Rows,
        batch_size: int,
        epochs: int,
        rate_factor: RateFactor,
        validation: Validation | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> None:
        """Train some epochs, with the learning rate times rate_factor(step, steps).

        A step of the schedule is an epoch, or a batch if there are fewer than 15 epochs. Some rows are
        repeated, so that all batches have the same size, and one program runs them.
        """
        n = len(rows.x)
        missing = -n % batch_size  # rows that the last batch lacks
        repeated = self._random_state.permutation(n)[:missing]
        if len(repeated):
            rows = rows.take(np.concatenate([np.arange(n), repeated]))
        if epochs >= 15:
            per = "epoch"
            steps = epochs
        else:
            per = "batch"
            steps = epochs * (len(rows.x) // batch_size)
        optimizer = self.trainer_.optimizer
        for group in optimizer.param_groups:
            group["lr"] = float(self.learning_rate)
            group["initial_lr"] = group["lr"]  # what the schedule multiplies

        def factor(step: int) -> float:
            return rate_factor(step, steps)

        schedule = Schedule(LambdaLR(optimizer, factor), per=per)
        self._train(
            rows.x,
            rows.y,
            rows.weights,
            epochs=epochs,
            batch_size=batch_size,
            callbacks=[schedule, *callbacks, *(self.callbacks or ())],
            validation=validation,
        )

    def _choose_held_out(self, order: Array, weights: Array | None) -> Array | None:
        """The rows of the held-out part, whose loss stops the first phase; None for small tables.

        order: a random order of all rows.
        """
        count = min(int(len(order) * self.validation_fraction), MOST_HELD_OUT)
        held_out: Array = np.sort(order[:count])
        if count < LEAST_HELD_OUT:
            return None
        if weights is not None and not (weights[held_out].any() and weights[order[count:]].any()):
            return None  # one of the parts would have weights of 0 only
        return held_out

    def _choose_epochs(self, n: int, most: int) -> int:
        """`max_iter`; "auto" is `most`, or fewer for large tables."""
        if self.max_iter != "auto":
            return int(self.max_iter)
        return min(most, max(SAMPLES // n, LEAST_EPOCHS))

    def _choose_batch_size(self, n: int) -> int:
        """Batches of 32 for small tables, of up to 256 for larger and 1,024 for the largest ones."""
        if self.batch_size != "auto":
            return int(self.batch_size)
        sixteenth = 2 ** round(math.log2(max(n, 1) / 16))  # as the nearest power of two
        most = max(256, min(n // 64, 1024))
        return int(min(max(sixteenth, 32), most))

    def _make_optimizer(self) -> Optimizer:
        """AdamW, with weight decay for matrices only."""
        matrices: list[nn.Parameter] = []
        others: list[nn.Parameter] = []
        for name, p in self.module_.named_parameters():
            if p.ndim >= 2 and "bias" not in name:
                matrices.append(p)
            else:
                others.append(p)
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
            self._importances = self._measure_importances()
        return self._importances

    def _measure_importances(self) -> Array:
        x, y, weights = self._importance_rows
        rng = np.random.default_rng(0)
        loss = self._measure_loss(x, y, weights)
        growth = np.zeros(self.n_features_in_)
        for column in range(len(growth)):
            made_of_column = self._columns.origin == column  # columns of x
            permuted = x.copy()
            permuted[:, made_of_column] = x[rng.permutation(len(x))][:, made_of_column]
            if made_of_column.any():
                growth[column] = max(self._measure_loss(permuted, y, weights) - loss, 0.0)
        if growth.sum() > 0:
            return growth / growth.sum()
        return growth


def _normalized(gains: Array) -> Array | None:
    """Gains divided by their sum; None if all are 0."""
    if not gains.any():
        return None
    return gains / gains.sum()


def _warm_cosine(step: int, steps: int) -> float:
    """A linear rise over a twentieth of the steps, then half a cosine."""
    warmup = max(steps // 20, 1)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    angle = math.pi * (step - warmup) / max(steps - warmup, 1)
    return 0.5 * (1 + math.cos(angle))
