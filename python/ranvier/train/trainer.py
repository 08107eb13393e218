"""Trainer: training, validation and prediction over whole arrays or loaders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import Tensor
from ranvier.data.sampler import positive
from ranvier.metrics.named import Metric
from ranvier.nn import Module
from ranvier.nn.modes import mode_kept
from ranvier.train.callbacks.base import Callback
from ranvier.train.compiled import CompiledParts
from ranvier.train.evaluator import Evaluator
from ranvier.train.history import History
from ranvier.train.inputs import same_columns
from ranvier.train.links import labels, link_of, probabilities
from ranvier.train.nonfinite import require_mode
from ranvier.train.penalty import Penalty, require_strength
from ranvier.train.run import Run
from ranvier.train.settings import in_order, limit, named_metrics
from ranvier.train.source import only_samples, open_source, open_training
from ranvier.train.step import parameters_of
from ranvier.train.weighting import name_of, unreduced

__all__ = ["Trainer"]

Array = npt.NDArray[Any]


class Trainer:
    """Trains a model on arrays or batches of a loader, and evaluates and predicts with it.

    Args:
        model: a Module; called with a batch of `x`.
        loss: called as `loss(output, target)`; CrossEntropyLoss, BCEWithLogitsLoss and BCELoss make it a
            classification: `predict` gives labels.
        optimizer: an optimizer over the model's parameters.
        metrics: names of `rv.metrics.METRICS` ("accuracy", "f1_macro" ...), objects (`metrics.RocAuc()`) or
            functions `(y_true, y_pred)` such as scikit-learn's. They receive the result of `predict`, or of
            `predict_proba` if they need probabilities, once per epoch over all samples.
        l1, l2: penalties `l1 sum |w| + l2 sum w^2`, added to the loss, also in the reported "loss" and
            "val_loss" (Keras's definition). A number applies to all weights of two or more dimensions, so not
            to biases and the scales of norms; a mapping such as `{"features": 1e-4}` to the modules and
            parameters that it names. Frozen parameters have no penalty.
        accumulate: batches whose gradients are added up to one update, as if they were one large batch.
        clip_grad_norm: scale the gradients of an update so that their norm is at most this.
        clip_grad_value: clamp each element of the gradients to [-value, value], before clipping by norm.
        compile: compile steps, evaluation and prediction (`rv.compile`), which is faster and gives the same
            bits. What cannot be compiled runs eagerly, after a warning that gives the reason.
        on_nonfinite: what happens where a loss is NaN or infinite. "raise": `fit` ends with a
            `rv.train.NonFiniteError` that names the epoch, the batch and the first layer that is not finite;
            "warn": one warning, and the update of this batch is left out. In both cases the weights are those
            before the batch. "ignore": the update is made. NaN and infinite numbers in the
            data are treated in the same way.

    Attributes:
        history: all epochs so far.
        stop_training: set it (from a callback) to end the run after this epoch.
        updates: updates of the weights so far.
        last_epoch, steps_per_epoch: the number of epochs at the end of the running `fit`, and of batches in
            an epoch (0 if a loader has no length).
        epoch, batch: complete epochs so far, and complete batches of the one in progress.
        interrupted: whether Ctrl-C ended the last `fit`.
        resumed_from: the checkpoint from which the last `fit` was resumed, or None.

    The same seed (`rv.manual_seed`) gives the same bits at any number of threads.

    Raises:
        TypeError, ValueError: a loss that cannot be called, an unknown metric, a setting out of range.

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
        l1: float | Mapping[str, float] = 0.0,
        l2: float | Mapping[str, float] = 0.0,
        accumulate: int = 1,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        compile: bool = True,
        on_nonfinite: str = "raise",
    ) -> None:
        if not callable(loss):
            raise TypeError(
                f"[Trainer] got loss of type {type(loss).__name__}; expected a function or loss module"
            )
        if not isinstance(compile, bool):
            raise TypeError(f"[Trainer] got compile {compile!r}; expected True or False")
        require_strength("l1", l1)
        require_strength("l2", l2)
        self.model = model
        self.loss = loss
        self.optimizer = optimizer
        self.on_nonfinite = require_mode(on_nonfinite)
        self.metrics = named_metrics(metrics)
        self.l1, self.l2 = l1, l2
        self.accumulate = positive("Trainer", "accumulate", accumulate)
        self.clip_grad_norm = limit("clip_grad_norm", clip_grad_norm)
        self.clip_grad_value = limit("clip_grad_value", clip_grad_value)
        Penalty(model, [], l1, l2)  # names that the model lacks are found now
        self.history = History()
        self.stop_training = self.interrupted = False
        self.last_epoch = self.steps_per_epoch = self.updates = 0
        self.resumed_from: Any = None
        self._run: Run | None = None
        self.compile = compile
        self._columns: list[str] | None = None  # of the data frame that `fit` was given
        self._parts = CompiledParts()

    def fit(
        self,
        x: Any,
        y: npt.ArrayLike | None = None,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: Any = None,
        validation_split: float = 0.0,
        class_weight: Any = None,
        sample_weight: npt.ArrayLike | None = None,
        callbacks: Iterable[Callback] = (),
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs; called again, it continues.

        Args:
            x: samples along axis 0, floats are converted to the model's dtype; or, without `y`, a DataLoader
                or anything else that gives batches `(x, y)` or `(x, y, sample_weight)` each time it is
                iterated over.
            y: targets: class indices or probabilities for CrossEntropyLoss, else of the output's shape.
            epochs: passes over the data.
            batch_size: samples per step; a last batch may be smaller. A loader has its own.
            shuffle: a new random order for each epoch. A loader has its own.
            validation_data: `(x, y)`, `(x, y, sample_weight)` or a loader, evaluated after each epoch:
                "val_loss" ...
            validation_split: instead of validation_data, this share of the samples, the last ones as they
                are given (Keras's choice: shuffle sorted data before).
            class_weight: mapping from label to weight, one weight per class, or "balanced".
            sample_weight: one weight per sample, multiplied with the class's. The loss of a batch is then
                `sum(w_i l_i) / sum(w_i)`. Metrics are not weighted.
            callbacks: see `rv.Callback`.
            resume: a checkpoint of `rv.Checkpoint`, or a folder, of which the newest undamaged one is taken.
                The run continues from there to the same number of `epochs`, with the bits of a run that was
                never stopped. A folder without a checkpoint starts a new run.

        Returns:
            The history of all epochs so far: "loss", the metrics (measured while training), and with
            validation data the same with "val_" in front.

        Ctrl-C ends the run between two steps (a second one at once), prints a line and returns the history.

        Raises:
            ValueError: arrays of unequal or no length, weights for a loss that cannot give one per sample, or
                a checkpoint that is damaged or of a run with another model, optimizer, data or settings;
                NaN or infinite numbers in the data.
            NonFiniteError: a loss, or a parameter at the end, is NaN or infinite (see `on_nonfinite`).
            TypeError: arrays that are not numbers.
            FileNotFoundError: no checkpoint or folder at `resume`.
        """
        name, link = "Trainer.fit", link_of(self.loss)
        epochs, batch_size = positive(name, "epochs", epochs), positive(name, "batch_size", batch_size)
        if not isinstance(shuffle, (bool, np.bool_)):
            raise TypeError(f"[{name}] got shuffle {shuffle!r}; expected True or False")
        self._columns = same_columns(name, x, None) or self._columns
        _require_parameters(self)
        source, valid = open_training(
            x,
            y,
            self._dtype(),
            link,
            batch_size,
            bool(shuffle),
            class_weight=class_weight,
            sample_weight=sample_weight,
            validation_data=validation_data,
            validation_split=validation_split,
            on_nonfinite=self.on_nonfinite,
        )
        if class_weight is not None or source.weighted:
            unreduced(self.loss)
        run = Run(self, self._parts, source, valid, in_order(callbacks), epochs)
        if resume is not None:
            run.find(resume)
        self._run = run
        try:
            with mode_kept(self.model):
                run.go()
        finally:
            self._run = None
        return self.history

    def evaluate(
        self,
        x: Any,
        y: npt.ArrayLike | None = None,
        *,
        batch_size: int = 256,
        sample_weight: npt.ArrayLike | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics over `x` and `y`, or over a loader, in evaluation mode without gradients.

        The loss has the penalties in it, as that of training.

        Raises:
            ValueError: arrays of unequal or no length, NaN or infinite numbers.
        """
        name, link = "Trainer.evaluate", link_of(self.loss)
        batch_size = positive(name, "batch_size", batch_size)
        same_columns(name, x, self._columns)
        mode = self.on_nonfinite
        source = open_source(name, x, y, self._dtype(), link, batch_size, sample_weight, mode)
        return Evaluator(self, self._parts).measure(source)

    def predict(self, x: Any, *, batch_size: int = 256) -> Array:
        """Labels (int64) for a classification loss, the model's output for any other.

        `x` are samples, or a loader of batches of them; of batches `(x, y)` the first part is taken. A data
        frame must have the columns of `fit`, in the same order.

        Labels are (n,) for CrossEntropyLoss, and of the output's shape for the binary losses.
        """
        output = self._output("Trainer.predict", x, batch_size)
        link = link_of(self.loss)
        return output if link is None else labels(output, link)

    def predict_proba(self, x: Any, *, batch_size: int = 256) -> Array:
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

    # --- for the run and its callbacks

    def settings(self) -> dict[str, Any]:
        """How steps are taken, as plain values: what a resumed run must have in common."""
        names = ("l1", "l2", "accumulate", "clip_grad_norm", "clip_grad_value")
        return {name: getattr(self, name) for name in names}

    @property
    def epoch(self) -> int:
        """Complete epochs so far."""
        return self.history.epochs

    @property
    def batch(self) -> int:
        """Complete batches of the epoch in progress."""
        return 0 if self._run is None else self._run.batch

    def where(self) -> str:
        """The progress of the training in words: "3 epochs and 17 batches"."""
        epochs = f"{self.epoch} epoch{'s' * (self.epoch != 1)}"
        return epochs if self.batch == 0 else f"{epochs} and {self.batch} batch{'es' * (self.batch != 1)}"

    def checkpoint(self) -> dict[str, Any]:
        """Everything that the rest of the running `fit` depends on, for `rv.Checkpoint`.

        Raises:
            RuntimeError: no `fit` is running.
        """
        if self._run is None:
            raise RuntimeError("[Trainer.checkpoint] no fit is running; expected a call from a callback")
        return self._run.state_dict()

    def programs(self, of: str = "fit") -> list[Any]:
        """The programs of compiled steps, one for each shape of batch; of: "fit", "evaluate" or "predict"."""
        return self._parts.programs(of)

    # --- parts

    def _output(self, name: str, x: Any, batch_size: int) -> Array:
        batch_size = positive(name, "batch_size", batch_size)
        same_columns(name, x, self._columns)
        batches = only_samples(name, x, self._dtype(), batch_size, self.on_nonfinite)
        return Evaluator(self, self._parts).output(name, batches)

    def _dtype(self) -> np.dtype[Any]:
        """The dtype of the model's parameters; float32 for a model without."""
        return next((np.dtype(p.dtype) for p in self.model.parameters()), np.dtype(np.float32))


def _require_parameters(trainer: Trainer) -> None:
    """Refuse an optimizer that updates nothing that the run computes with."""
    losses = trainer.loss.parameters() if isinstance(trainer.loss, Module) else ()
    known = {id(p) for p in (*trainer.model.parameters(), *losses)}
    updated = parameters_of(trainer.optimizer)
    if known and updated and not any(id(p) in known for p in updated):
        raise ValueError(
            "[Trainer.fit] got an optimizer that has none of the model's parameters; expected one made of "
            "model.parameters()"
        )
