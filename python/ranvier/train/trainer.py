"""Trainer: the training loop, validation and prediction over whole arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import Tensor, wrap
from ranvier.data.loader import batches, positive
from ranvier.data.order import permutation
from ranvier.metrics import METRICS, Metric
from ranvier.train import inputs
from ranvier.train.callbacks import Callback
from ranvier.train.history import History
from ranvier.train.links import labels, link_of, probabilities
from ranvier.train.modes import evaluating, mode_kept
from ranvier.train.weighting import EpochLoss, batch_loss, name_of, unreduced

__all__ = ["Trainer"]

Array = npt.NDArray[Any]


class Trainer:
    """Trains a model on arrays, and evaluates and predicts with it.

    Args:
        model: a Module; called with a batch of `x`.
        loss: called as `loss(output, target)`; CrossEntropyLoss, BCEWithLogitsLoss and BCELoss make it a
            classification: `predict` gives labels.
        optimizer: an optimizer over the model's parameters.
        metrics: names of `rv.metrics` ("accuracy", "mae" ...) or functions `(y_true, y_pred)`, scikit-learn's
            included, of what `predict` gives; computed once per epoch over all samples.

    Attributes:
        history: all epochs so far.
        stop_training: set it (from a callback) to end the run after this epoch.

    The same seed (`rv.manual_seed`) gives the same bits at any number of threads.

    >>> import numpy as np
    >>> import ranvier as rv
    >>> from ranvier import nn, optim
    >>> _ = rv.manual_seed(0)
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32); y = np.array([0, 1, 1, 0])
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> trainer = rv.Trainer(model, nn.CrossEntropyLoss(), optim.Adam(model.parameters(), lr=0.05),
    ...                      metrics=["accuracy"])
    >>> history = trainer.fit(x, y, epochs=200, batch_size=4)
    >>> history["accuracy"][-1], trainer.predict(x).tolist()
    (1.0, [0, 1, 1, 0])
    """

    def __init__(
        self,
        model: Any,
        loss: Callable[[Any, Any], Tensor],
        optimizer: Any,
        *,
        metrics: Sequence[str | Metric] = (),
    ) -> None:
        if not callable(loss):
            raise TypeError(
                f"[Trainer] got loss of type {type(loss).__name__}; expected a function or loss module"
            )
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.metrics = _named(metrics)
        self.history = History()
        self.stop_training = False
        self.last_epoch = 0
        self.steps_per_epoch = 0

    def fit(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: tuple[Any, ...] | None = None,
        class_weight: Any = None,
        sample_weight: npt.ArrayLike | None = None,
        callbacks: Iterable[Callback] = (),
    ) -> History:
        """Train for some epochs; called again, it continues.

        Args:
            x: samples along axis 0. Floats are converted to the model's dtype.
            y: targets: class indices or probabilities for CrossEntropyLoss, else of the output's shape.
            epochs: passes over the data.
            batch_size: samples per step; a last batch may be smaller.
            shuffle: a new random order for each epoch.
            validation_data: `(x, y)` or `(x, y, sample_weight)`, evaluated after each epoch: "val_loss" ...
            class_weight: mapping from label to weight, one weight per class, or "balanced".
            sample_weight: one weight per sample, multiplied with the class's. The loss of a batch is then
                `sum(w_i l_i) / sum(w_i)`. Metrics are not weighted.
            callbacks: see `rv.Callback`.

        Returns:
            The history of all epochs so far: "loss", the metrics (measured while training), and with
            validation data the same with "val_" in front.

        Raises:
            ValueError: arrays of unequal or no length, or weights for a loss that cannot give one per sample.
            TypeError: arrays that are not numbers.
        """
        name, dtype, link = "Trainer.fit", self._dtype(), link_of(self.loss)
        epochs, batch_size = positive(name, "epochs", epochs), positive(name, "batch_size", batch_size)
        data = inputs.prepare(name, x, y, dtype, link, sample_weight, class_weight)
        valid = None if validation_data is None else self._validation(validation_data, dtype, link)
        if data.weights is not None:
            unreduced(self.loss)
        _require_callbacks(hooks := list(callbacks))

        first = self.history.epochs
        self.last_epoch, self.steps_per_epoch = first + epochs, -(-len(data.x) // batch_size)
        self.stop_training = False
        for hook in hooks:
            hook.trainer = self
        with mode_kept(self.model):
            try:
                _call(hooks, "on_train_begin")
                for epoch in range(first, self.last_epoch):
                    self._run_epoch(epoch, data, valid, batch_size, shuffle, hooks, link)
                    if self.stop_training:
                        break
            finally:
                _call(hooks, "on_train_end")
        return self.history

    def evaluate(
        self,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        *,
        batch_size: int = 256,
        sample_weight: npt.ArrayLike | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics over `x` and `y`, in evaluation mode and without gradients.

        Raises:
            ValueError: arrays of unequal or no length.
        """
        name, link = "Trainer.evaluate", link_of(self.loss)
        batch_size = positive(name, "batch_size", batch_size)
        data = inputs.prepare(name, x, y, self._dtype(), link, sample_weight)
        return self._measure(data, batch_size, link)

    def predict(self, x: npt.ArrayLike, *, batch_size: int = 256) -> Array:
        """Labels (int64) for a classification loss, the model's output for any other.

        Labels are (n,) for CrossEntropyLoss, and of the output's shape for the binary losses.
        """
        output = self._output("Trainer.predict", x, batch_size)
        link = link_of(self.loss)
        return output if link is None else labels(output, link)

    def predict_proba(self, x: npt.ArrayLike, *, batch_size: int = 256) -> Array:
        """Probabilities: the loss's link (softmax, sigmoid) applied to the model's output; same shape.

        Raises:
            ValueError: the loss is not one of classification.
        """
        link = link_of(self.loss)
        if link is None:
            raise ValueError(
                f"[Trainer.predict_proba] {name_of(self.loss)} gives no probabilities; expected a "
                "classification loss (CrossEntropyLoss, BCEWithLogitsLoss, BCELoss)"
            )
        return probabilities(self._output("Trainer.predict_proba", x, batch_size), link)

    # --- one epoch

    def _run_epoch(
        self,
        epoch: int,
        data: inputs.Prepared,
        valid: inputs.Prepared | None,
        batch_size: int,
        shuffle: bool,
        hooks: list[Callback],
        link: str | None,
    ) -> None:
        _call(hooks, "on_epoch_begin", epoch)
        logs = self._train_epoch(data, batch_size, shuffle, hooks, link)
        if valid is not None:
            measured = self._measure(valid, max(batch_size, 256), link)
            logs.update({f"val_{key}": value for key, value in measured.items()})
        self.history.append(**logs)
        _call(hooks, "on_epoch_end", epoch, logs)

    def _train_epoch(
        self, data: inputs.Prepared, batch_size: int, shuffle: bool, hooks: list[Callback], link: str | None
    ) -> dict[str, float]:
        model, optimizer = self.model, self.optimizer
        model.train()
        order = permutation(len(data.x)) if shuffle else None
        epoch = _Epoch(self, link)
        for batch, (xb, yb, *wb) in enumerate(batches(data.arrays, batch_size, order)):
            if hooks:
                _call(hooks, "on_batch_begin", batch)
            optimizer.zero_grad()
            x, y = wrap(xb), wrap(yb)
            output = model(x)
            loss = batch_loss(self.loss, output, y, wb[0] if wb else None)
            loss.backward()
            optimizer.step()
            value = epoch.add(loss, output, yb, wb)
            if hooks:
                _call(hooks, "on_batch_end", batch, {"loss": value})
        return epoch.logs()

    def _measure(self, data: inputs.Prepared, batch_size: int, link: str | None) -> dict[str, float]:
        epoch = _Epoch(self, link)
        with evaluating(self.model):
            for xb, yb, *wb in batches(data.arrays, batch_size):
                output = self.model(wrap(xb))
                loss = batch_loss(self.loss, output, wrap(yb), wb[0] if wb else None)
                epoch.add(loss, output, yb, wb)
        return epoch.logs()

    def _output(self, name: str, x: npt.ArrayLike, batch_size: int) -> Array:
        batch_size = positive(name, "batch_size", batch_size)
        xs = inputs.samples(name, x, self._dtype())
        parts: list[Array] = []
        with evaluating(self.model):
            if len(xs) == 0:
                return np.asarray(self.model(wrap(xs))._array)
            for (xb,) in batches((xs,), batch_size):
                parts.append(self.model(wrap(xb))._array)
        return np.concatenate(parts)

    def _dtype(self) -> np.dtype[Any]:
        """The dtype of the model's parameters; float32 for a model without."""
        return next((np.dtype(p.dtype) for p in self.model.parameters()), np.dtype(np.float32))

    def _validation(self, data: Any, dtype: np.dtype[Any], link: str | None) -> inputs.Prepared:
        name = "Trainer.fit validation_data"
        if not isinstance(data, (tuple, list)) or len(data) not in (2, 3):
            raise ValueError(f"[{name}] got {type(data).__name__}; expected (x, y) or (x, y, sample_weight)")
        return inputs.prepare(name, data[0], data[1], dtype, link, *data[2:])


class _Epoch:
    """What one pass over the data measures: the loss, and predictions for the metrics."""

    def __init__(self, trainer: Trainer, link: str | None) -> None:
        self._metrics, self._link = trainer.metrics, link
        self._loss = EpochLoss(trainer.loss)
        self._predicted: list[Array] = []
        self._true: list[Array] = []

    def add(self, loss: Tensor, output: Tensor, y: Array, weights: list[Array]) -> float:
        if self._metrics:
            raw = output._array
            self._predicted.append(raw if self._link is None else labels(raw, self._link))
            self._true.append(y)
        return self._loss.add(float(loss.item()), float(weights[0].sum()) if weights else len(y))

    def logs(self) -> dict[str, float]:
        measured = {"loss": self._loss.value()}
        if self._metrics:
            y_true, y_pred = np.concatenate(self._true), np.concatenate(self._predicted)
            measured.update({name: float(metric(y_true, y_pred)) for name, metric in self._metrics.items()})
        return measured


def _named(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    if isinstance(metrics, str):
        raise TypeError(f"[Trainer] got metrics {metrics!r}; expected a sequence such as [{metrics!r}]")
    named: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str):
            if metric not in METRICS:
                raise ValueError(
                    f"[Trainer] got metric '{metric}'; expected a function or one of {', '.join(METRICS)}"
                )
            named[metric] = METRICS[metric]
        elif callable(metric):
            named[name_of(metric)] = metric
        else:
            raise TypeError(
                f"[Trainer] got metric of type {type(metric).__name__}; expected a name or a function"
            )
    return named


def _require_callbacks(hooks: list[Any]) -> None:
    for hook in hooks:
        if not isinstance(hook, Callback):
            raise TypeError(
                f"[Trainer.fit] got a callback of type {type(hook).__name__}; expected rv.Callback"
            )


def _call(hooks: list[Callback], method: str, *args: Any) -> None:
    for hook in hooks:
        getattr(hook, method)(*args)
