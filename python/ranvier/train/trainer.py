"""Trainer: training, validation and prediction over whole arrays or loaders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any

import ranvier.train.settings as checked
from ranvier.config import float32_matmul_precision
from ranvier.nn.modes import require_untrained, training
from ranvier.tensors.errors import count, flag, one_of
from ranvier.tensors.memory import Array
from ranvier.train.callbacks.base import Callback, report
from ranvier.train.compiled_parts import CompiledParts
from ranvier.train.data_sources import is_loader, only_samples, open_source, open_training
from ranvier.train.evaluator import Evaluator
from ranvier.train.hints import advise, judge, note_left_out, note_order, note_untrained, warning_once
from ranvier.train.history import History
from ranvier.train.losses import Loss, labels, link_of, name_of, probabilities, unreduced
from ranvier.train.prepared_data import ClassWeight, DataSpec, Samples, ValidationData
from ranvier.train.run import Run

if TYPE_CHECKING:
    import numpy.typing as npt

    from ranvier.compile.program import Program
    from ranvier.metrics.named import Metric
    from ranvier.nn.module import Module

__all__ = ["Trainer"]


def _require_usual(name: str, loader: Samples, **settings: tuple[int, int]) -> None:
    """Raise ValueError for a setting of arrays that a loader has itself.

    settings: by name (the value of the argument, its default).
    """
    for setting, (value, default) in settings.items():
        if value not in (default, getattr(loader, setting, default)):
            raise ValueError(
                f"[{name}] got {setting} {value} with a loader, which has its own; expected it in the loader"
            )


class Trainer(checked.Settings):
    """Trains a model on arrays or batches of a loader, and evaluates and predicts with it.

    Args:
        model: a Module; called with a batch of `x`.
        loss: a name ("cross_entropy", "mse", "bce_with_logits" ...: the class without "Loss"), a function of
            `nn.functional`, or called as `loss(output, target)`; CrossEntropyLoss, BCEWithLogitsLoss and
            BCELoss make it a classification: `predict` gives labels.
        optimizer: an optimizer over the model's parameters, its name ("adam", "sgd" ...), a function that
            makes it of the parameters, or None to predict.
        lr: the learning rate of an optimizer that is given by name or class; its default if None. As an
            attribute the rate of the optimizer's groups: a number, or a list where they differ.
        metrics: names of `rv.metrics.METRICS` ("accuracy", "f1_macro", "roc_auc" ...), or
            functions `(y_true, y_pred)` and scorers such as scikit-learn's. They receive class indices, or
            probabilities if they need these: by the name of the second parameter (`y_score`, `y_prob` ...),
            or an attribute `scored` (see `rv.metrics`). Once per epoch over all samples.
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
            before the batch. "ignore": the update is made. NaN and infinity in the data are treated alike.
        precision: the precision of products, see `rv.set_float32_matmul_precision`; None: the process's.
        distributed: train on all processes of `mpirun`. Each calls `fit` and `evaluate` with the same data,
            computes a part of every batch and makes the same updates. Rank 0 writes files and lines.
        shards: parts of a batch, a power of two, not below the ranks. Batch norm normalises within a part.
        deterministic: the same bits at any power of two of ranks; False: one part a rank and MPI's own sums.

    The arguments are attributes, too, and may be changed between fits; `lr`, the rate of all groups of the
    optimizer, also during one. Another attribute is an error that names the nearest, so that a misspelled
    setting is not lost; a subclass may have its own, whose names are not close to these.

    An optimizer given by name, class or function is the Trainer's own: a layer or parameter that is put into
    the model later is trained by the next `fit`, or from the next epoch on if a callback does it. One that is
    given as an object keeps its parameters, and `fit` gives a hint where it lacks some of the model's.

    Attributes:
        history: all epochs so far.
        classes_: the labels, in the order of the outputs, if `fit` was given labels other than indices.
            `predict` returns these labels; metrics receive indices.
        stop_training: set it (from a callback) to end the run after this epoch; a fit begins with False.
        updates: updates of the weights so far.
        last_epoch, steps_per_epoch: the number of epochs at the end of the running `fit`, and of batches in
            an epoch (0 if a loader has no length).
        epoch, batch: complete epochs so far, and complete batches of the one in progress.
        interrupted: whether Ctrl-C ended the last `fit`.
        gives_hints: whether the last `fit` gave hints (`verbose`).
        leads: whether this process writes files and lines; if `distributed`, that of rank 0.
        resumed_from: the checkpoint from which the last `fit` was resumed, or None.

    The same seed (`rv.manual_seed`) gives the same bits at any number of threads.

    Raises:
        TypeError, ValueError: a loss that cannot be called, an unknown metric, a setting out of range.
        RuntimeError: a setting is changed while a fit is running, whose steps have those of its beginning.
        AttributeError: an attribute that is not known, or that runs report (`updates`, `epoch` ...) is set.

    >>> import numpy as np
    >>> import ranvier as rv
    >>> from ranvier import nn
    >>> _ = rv.manual_seed(0)
    >>> x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32); y = np.array([0, 1, 1, 0])
    >>> model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> trainer = rv.Trainer(model, loss="cross_entropy", optimizer="adam", lr=0.05, metrics=["accuracy"])
    >>> history = trainer.fit(x, y, epochs=200, batch_size=4)
    >>> history["accuracy"][-1], trainer.predict(x).tolist()
    (1.0, [0, 1, 1, 0])
    """

    def __init__(
        self,
        model: Module,
        loss: str | Loss,
        optimizer: checked.OptimizerLike | None = None,
        *,
        lr: float | None = None,
        metrics: Sequence[str | Metric] = (),
        l1: float | Mapping[str, float] = 0.0,
        l2: float | Mapping[str, float] = 0.0,
        accumulate: int = 1,
        clip_grad_norm: float | None = None,
        clip_grad_value: float | None = None,
        compile: bool = True,
        on_nonfinite: str = "raise",
        precision: str | None = None,
        distributed: bool = False,
        shards: int = 8,
        deterministic: bool = True,
    ) -> None:
        self.model = model
        self.loss = loss
        # past the check of `Settings.optimizer`, which takes no lr and would note it as not the Trainer's own
        vars(self)["optimizer"] = checked.take_optimizer(self, optimizer, lr)
        self.on_nonfinite = on_nonfinite
        self.metrics = metrics
        self.l1 = l1
        self.l2 = l2
        self.clip_grad_norm = clip_grad_norm
        self.clip_grad_value = clip_grad_value
        self.accumulate = accumulate
        self.compile = compile
        self.precision = precision
        self.distributed = distributed
        self.shards = shards
        self.deterministic = deterministic
        checked.require_processes(self)
        self.history = History()
        self._run: Run | None = None
        report(self, gives_hints=True)
        self._said_left_out: list[str] = []  # the parameters that the last hint was about
        report(self, updates=0, last_epoch=0, steps_per_epoch=0)
        report(self, stop_training=False, interrupted=False, resumed_from=None)
        self._spec = DataSpec(model, self.loss)
        self._parts = CompiledParts()

    def fit(
        self,
        x: Samples,
        y: npt.ArrayLike | None = None,
        *,
        epochs: int,
        batch_size: int = 32,
        shuffle: bool = True,
        validation_data: ValidationData | None = None,
        validation_split: float = 0.0,
        class_weight: ClassWeight | None = None,
        sample_weight: npt.ArrayLike | None = None,
        callbacks: Iterable[Callback] = (),
        verbose: bool | int | None = None,
        resume: str | os.PathLike[str] | None = None,
    ) -> History:
        """Train for some epochs; called again, it continues.

        Args:
            x: samples along axis 0: an array, a data frame, a tensor of PyTorch, lists. They are converted to
                the model's dtype; integers stay if the model takes them (Embedding). Or, without
                `y`, a DataLoader or anything else that gives batches `(x, y)` or `(x, y, sample_weight)` each
                time it is iterated over.
            y: targets: class indices, labels of any kind (strings, booleans, categories: they are numbered
                in sorted order, see `classes_`), one-hot rows or probabilities for CrossEntropyLoss; else of
                the output's shape, where (n,) and (n, 1) are the same. Binary losses take two labels.
            epochs: passes over the data.
            batch_size: samples per step; a last batch may be smaller. A loader has its own: another is an
                error, as is another `shuffle`.
            shuffle: a new random order for each epoch. A loader has its own.
            validation_data: `(x, y)`, `(x, y, sample_weight)` or a loader, evaluated after each epoch:
                "val_loss" ... With `class_weight`, its loss has the weights of the classes, too, so that
                an epoch is chosen by what is trained.
            validation_split: instead of validation_data, this share of the samples, the last ones as they
                are given (Keras's choice: shuffle sorted data before).
            class_weight: mapping from label to weight, one weight per class, or "balanced": by the labels of
                the training data.
            sample_weight: one weight per sample, multiplied with the class's. The loss of a batch is then
                `sum(w_i l_i) / sum(w_i)`. Metrics are not weighted.
            callbacks: see `rv.Callback`.
            verbose: True or 1 prints a line for each epoch (or about 50 lines in all) and a bar over the
                batches of long epochs, 2 the lines alone, False or 0 nothing. None: as 1 on a terminal and in
                a notebook; where the output goes to a file or a pipe, the lines of a fit that takes more than
                ten seconds, from then on; in tests nothing. Where `callbacks` has a ProgressBar, `fit` adds
                none. Hints are warnings of the category `rv.train.HintWarning`; verbose=0 leaves them out.
            resume: a checkpoint of `rv.Checkpoint`, or a folder, of which the newest undamaged one is taken.
                The run continues from there to the same number of `epochs`, with the bits of a run that was
                never stopped. A folder without a checkpoint starts a new run. Settings, loss, schedules and
                data that are not those of the run are an error; `self.trainer.lr = ` in `on_train_begin` of a
                callback gives it another rate after the checkpoint is read.

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
            RuntimeError: a fit, prediction or evaluation of the model is running in another thread.
        """
        name = "Trainer.fit"
        if self._run is not None:
            raise RuntimeError(f"[{name}] a fit of this Trainer is running; expected one at a time")
        epochs = count(name, "epochs", epochs)
        batch_size = count(name, "batch_size", batch_size)
        flag(name, "shuffle", shuffle)
        if y is None:
            _require_usual(name, x, batch_size=(batch_size, 32), shuffle=(shuffle, True))
        if checked.follow_parameters(self):
            self._parts = CompiledParts()
        checked.require_parameters(self)
        checked.require_processes(self)
        spec = self._current_spec(first=self.history.epochs == 0)
        report(self, gives_hints=verbose != 0)
        hook_list = checked.in_order(callbacks)
        is_silent = isinstance(verbose, int) and verbose == 0  # a bool is an int, too
        if not is_silent:
            from ranvier.train.callbacks.logs import own_progress

            progress = own_progress(verbose, hook_list, epochs)
            if progress is not None:
                hook_list.insert(0, progress)
        with warning_once(self.leads):
            source, valid = open_training(
                x,
                y,
                spec,
                batch_size,
                bool(shuffle),
                class_weight=class_weight,
                sample_weight=sample_weight,
                validation_data=validation_data,
                validation_split=validation_split,
            )
            if class_weight is not None or source.weighted:
                unreduced(self.loss)  # raises for a loss that cannot give one number per sample
            gives_hints = self.gives_hints and self.leads
            is_first_fit = self.history.epochs == 0
            if source.data is not None:
                spec.flat = source.data.y.ndim == 1
                if gives_hints and is_first_fit:
                    advise(self, source.data, spec.classes, class_weight)
            if gives_hints:
                note_left_out(self)
            self._spec = spec
            run_class = checked.processes().DistributedRun if self.distributed else Run
            run = run_class(self, self._parts, source, valid, hook_list, epochs)
            self._run = run
            try:
                if resume is not None:
                    run.find(resume)
                with training(self.model, name), float32_matmul_precision(self.precision):
                    run.go()
            finally:
                self._run = None
            if gives_hints and is_first_fit and source.data is not None and self.history.epochs:
                judge(self, source.data, self.history["loss"])
        return self.history

    def evaluate(
        self,
        x: Samples,
        y: npt.ArrayLike | None = None,
        *,
        batch_size: int = 256,
        sample_weight: npt.ArrayLike | None = None,
    ) -> dict[str, float]:
        """The loss and the metrics over `x` and `y`, or over a loader, in evaluation mode without gradients.

        The loss has the penalties in it, as that of training. If `distributed`, every process calls it.

        Raises:
            ValueError: arrays of unequal or no length, NaN or infinite numbers.
            RuntimeError: a fit of the model is running in another thread.
        """
        require_untrained(self.model, "Trainer.evaluate")
        batch_size = count("Trainer.evaluate", "batch_size", batch_size)
        spec = self._current_spec()
        if y is None:
            _require_usual("Trainer.evaluate", x, batch_size=(batch_size, 256))
        evaluator_class = checked.processes().SharedEvaluator if self.distributed else Evaluator
        with warning_once(self.leads), float32_matmul_precision(self.precision):
            source = open_source("Trainer.evaluate", x, y, spec, batch_size, sample_weight)
            measured: dict[str, float] = evaluator_class(self, self._parts).measure(source)
            return measured

    def predict(self, x: Samples, *, batch_size: int = 256) -> Array:
        """Labels (int64) for a classification loss, the model's output for any other.

        `x` are samples, or a loader of batches of them; of batches `(x, y)` the first part is taken. The
        answers of a loader are in its order: one that shuffles gives a `rv.train.HintWarning`. A data
        frame must have the columns of `fit`, in the same order. Before the first fit of a Trainer that has an
        optimizer this gives a `rv.train.HintWarning`, if the model's layers drew their weights and nothing
        has changed them since.

        Labels are (n,) for CrossEntropyLoss, and of the output's shape for the binary losses.

        Raises:
            RuntimeError: a fit of the model is running in another thread.
        """
        output = self._output("Trainer.predict", x, batch_size)
        spec = self._current_spec()
        if spec.flat and spec.link != "softmax" and output.shape[1:] == (1,):
            output = output[:, 0]
        if spec.link is None:
            return output
        return spec.decoded("Trainer.predict", labels(output, spec.link))

    def predict_proba(self, x: Samples, *, batch_size: int = 256) -> Array:
        """Probabilities: the loss's link (softmax, sigmoid) applied to the model's output; same shape.

        Raises:
            ValueError: the loss is not one of classification.
            RuntimeError: a fit of the model is running in another thread.
        """
        link = link_of(self.loss)
        if link is None:
            raise ValueError(
                f"[Trainer.predict_proba] {name_of(self.loss)} gives no probabilities; expected a "
                "classification loss (CrossEntropyLoss, BCEWithLogitsLoss, BCELoss)"
            )
        return probabilities(self._output("Trainer.predict_proba", x, batch_size), link)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Save model, loss, optimizer, settings, history, labels and column names as a safetensors file.

        The file has arrays and JSON, no code. `rv.load(path, into=model)` takes the weights alone.

        Raises:
            TypeError: something in the optimizer's state that cannot be saved.

        >>> import pathlib, tempfile
        >>> import ranvier as rv
        >>> path = pathlib.Path(tempfile.mkdtemp(), "trainer.safetensors")
        >>> trainer = rv.Trainer(rv.nn.Linear(1, 2), "cross_entropy", "sgd", lr=0.1)
        >>> _ = trainer.fit([[0.0], [0.1], [0.9], [1.0]], ["no", "no", "yes", "yes"], epochs=100)
        >>> trainer.save(path)
        >>> rv.Trainer.load(path).predict([[0.0], [1.0]]).tolist()
        ['no', 'yes']
        """
        from ranvier.train.saving import write_trainer

        write_trainer(path, self, self._spec)

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        model: Module | None = None,
        *,
        loss: str | Loss | None = None,
        metrics: Sequence[str | Metric] | None = None,
    ) -> Trainer:
        """The Trainer of a file of `save`: it predicts, evaluates, and `fit` continues its training.

        Args:
            model, loss, metrics: needed where those of the file are of your own classes or functions.

        Raises:
            FileNotFoundError: no such file.
            ValueError: the file is damaged or of another kind, or has a part of your own that is not given.
        """
        from ranvier.train.saving import Replacements, read_trainer

        trainer: Trainer
        trainer, spec = read_trainer(cls, path, Replacements(model, loss, metrics))
        trainer._spec = spec
        return trainer

    def __repr__(self) -> str:
        from ranvier.train.saving import text

        return text(self)

    # --- for the run and its callbacks

    def settings(self) -> dict[str, Any]:
        """The settings of steps as plain values, which a resumed run must have in common."""
        names = ["l1", "l2", "accumulate", "clip_grad_norm", "clip_grad_value"]
        if self.precision is not None:
            names.append("precision")
        if self.distributed:
            names += ["distributed", "shards", "deterministic"]
        return {name: getattr(self, name) for name in names}

    @property
    def leads(self) -> bool:
        """Whether this process writes files and lines; if `distributed`, that of rank 0."""
        if not self.distributed:
            return True
        return bool(checked.processes().require_ranks(self.shards, self.deterministic).rank == 0)

    @property
    def classes_(self) -> Array | None:
        """The labels, in the order of the outputs; None where they are the class indices themselves."""
        return self._spec.classes

    @property
    def epoch(self) -> int:
        """Complete epochs so far."""
        return self.history.epochs

    @property
    def batch(self) -> int:
        """Complete batches of the epoch in progress."""
        if self._run is None:
            return 0
        return self._run.batch

    def where(self) -> str:
        """The progress of the training in words: "3 epochs and 17 batches"."""
        epochs = f"{self.epoch} epoch{'s' * (self.epoch != 1)}"
        if self.batch == 0:
            return epochs
        return f"{epochs} and {self.batch} batch{'es' * (self.batch != 1)}"

    def checkpoint(self) -> dict[str, Any]:
        """Everything that the rest of the running `fit` depends on, for `rv.Checkpoint`.

        Raises:
            RuntimeError: no `fit` is running.
        """
        if self._run is None:
            raise RuntimeError("[Trainer.checkpoint] no fit is running; expected a call from a callback")
        return self._run.state_dict()

    def programs(self, of: str = "fit") -> list[Program]:
        """The programs of compiled steps, one for each shape of batch; of: "fit", "evaluate" or "predict"."""
        return self._parts.programs(one_of("Trainer.programs", "of", of, ("fit", "evaluate", "predict")))

    # --- for predictions and checks

    def _output(self, name: str, x: Samples, batch_size: int) -> Array:
        """The model's output for all samples; `name` is the method that errors name."""
        require_untrained(self.model, name)
        size = count(name, "batch_size", batch_size)
        if is_loader(x):
            _require_usual(name, x, batch_size=(size, 256))
        if self._run is None:
            note_untrained(self, name)
        note_order(name, x)  # looks at loaders only
        batches = only_samples(name, x, self._current_spec(), size)
        with float32_matmul_precision(self.precision):
            return Evaluator(self, self._parts).output(name, batches)

    def _current_spec(self, first: bool = False) -> DataSpec:
        """The DataSpec for the present model and loss; the first `fit` finds it anew."""
        spec = DataSpec(self.model, self.loss) if first else self._spec
        integers = spec.integers if spec.model is self.model else None
        spec = copy(spec)
        spec.model = self.model
        spec.loss = self.loss
        spec.on_nonfinite = self.on_nonfinite
        spec.integers = integers
        return spec
