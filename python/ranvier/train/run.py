"""Run: one `fit`, epoch by epoch and batch by batch, and its state for checkpoints.

`Trainer.fit` makes a Run and calls `go`. Batches are computed in Python one by one, or by `_run_ahead` many
in one call of the core, where nothing in Python has to happen between them. `DistributedRun` of
ranvier.distributed is its subclass for several processes.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping
from functools import cached_property, partial
from math import isfinite
from time import perf_counter
from typing import TYPE_CHECKING, Any

import ranvier._core as _core
import ranvier.nn as nn
from ranvier.ops.making import random
from ranvier.tensors.memory import Array
from ranvier.train.batch_source import Ahead, ArraySource, Source
from ranvier.train.callbacks.base import (
    OF_BATCHES,
    OF_EPOCHS,
    Callback,
    Interrupt,
    LambdaCallback,
    Training,
    call,
    is_checkpoint,
    must_act,
    report,
)
from ranvier.train.compiled_parts import CompiledParts
from ranvier.train.evaluator import Evaluator, Measured
from ranvier.train.hints import raise_with_hint
from ranvier.train.history import History
from ranvier.train.losses import link_of
from ranvier.train.nonfinite import NonFinite
from ranvier.train.settings import follow_parameters
from ranvier.train.step import TrainingStep

if TYPE_CHECKING:
    from pathlib import Path

# The most epochs in one call of the core. Of few samples `_AHEAD` of batch_source.py alone would allow
# thousands.
MOST_EPOCHS = 64
# The entries of a checkpoint.
PARTS = (
    "run", "epoch", "batch", "updates", "stopped", "model", "frozen", "loss", "optimizer", "step", "random",
    "data", "validation data", "measured", "history", "callbacks",
)  # fmt: skip


def _find_sizes(model: nn.Module, first: Array) -> None:
    """Let the lazy layers of a model (nn/lazy.py) find their sizes. first: a batch of the first sample."""
    is_lazy = any(hasattr(module, "_materialise_from") for module in model.modules())
    if not is_lazy:
        return
    from ranvier.nn.lazy import find_sizes  # loads convolutions and norms

    try:
        find_sizes(model, first)
    except (TypeError, ValueError) as error:
        raise_with_hint(error, model, None, first)


def _may_save(hook: Callback) -> bool:
    """True for a Checkpoint, and for a callback with code of the program, which may ask for one."""
    return _has_user_code(hook) or is_checkpoint(hook)


def _has_user_code(hook: Callback) -> bool:
    """True for a callback with code of the program, not of the library alone."""
    return isinstance(hook, LambdaCallback) or not type(hook).__module__.startswith("ranvier.")


class Run:
    """One `fit`.

    Attributes:
        epoch, batch: epochs that are complete, of all `fit`s, and batches of the one in progress.
        first, last: `epoch` at the beginning and the end.
        alone: whether this process is the only one of the run.
    """

    alone = True

    def __init__(
        self,
        trainer: Training,
        parts: CompiledParts,
        source: Source,
        valid: Source | None,
        hooks: list[Callback],
        epochs: int,
    ) -> None:
        if isinstance(source, ArraySource):
            _find_sizes(trainer.model, source.data.x[:1])
        self.trainer = trainer
        self._evaluator = self._new_evaluator(trainer, parts)
        self.source = source
        self.valid = valid
        self.hooks = hooks
        self._called = hooks  # the callbacks that are notified in this process
        self.step: TrainingStep = self._new_step(trainer, parts)
        self.step.expect(epochs * source.batches)
        self._nonfinite = NonFinite(trainer)
        self.first = trainer.history.epochs
        self.epoch = self.first
        self.last = self.first + epochs
        self.batch = 0
        self._interrupt = Interrupt()
        self._link = link_of(trainer.loss)
        self._measured = self._new_measured()
        # the samples of the epoch in progress, and when it began
        self._samples = 0
        self._start = 0.0
        # the program that ran at the end of the last epoch, with its number of checks; see `_passes`
        self._crossed: Any = None
        # whether Python has something to do between two epochs
        measures = valid is not None or bool(trainer.metrics)
        self._between = measures or must_act(hooks, "every_epoch", OF_EPOCHS)
        # whether a callback has code of the program, which may replace layers
        self._may_replace = any(map(_has_user_code, hooks))
        # the checkpoint to resume from and its state, until they are restored
        self._resumed: tuple[Path, dict[str, Any]] | None = None
        for hook in hooks:
            if is_checkpoint(hook):
                self._require_resumable()

    @cached_property
    def _description(self) -> dict[str, Any]:
        """The facts that another run must have in common with this one to resume it, for a checkpoint."""
        from ranvier.train.descriptions import describe

        facts = describe(self.trainer, self.source, self.valid, self.hooks)
        return facts | {"first epoch": self.first}

    def find(self, path: str | os.PathLike[str]) -> None:
        """Find the checkpoint to resume from, in a folder the newest undamaged one.

        A folder that is empty, or that a Checkpoint of this run will make, has none: the run begins anew.
        Raises ValueError for the checkpoint of a different run.
        """
        from ranvier.tensors.reading import path_of
        from ranvier.train.checkpoints import newest
        from ranvier.train.descriptions import RATES, require_same

        self._require_resumable()
        checkpoints: list[Any] = [hook for hook in self.hooks if is_checkpoint(hook)]
        folders = [hook.folder for hook in checkpoints]
        path = path_of("Trainer.fit", "resume", path, "a checkpoint or its folder")
        if path in folders and not path.exists():
            return
        self._resumed = newest(path)
        if self._resumed is not None:
            origin, state = self._resumed
            missing = [key for key in PARTS if key not in state]
            if missing:
                raise ValueError(
                    f"[Trainer.fit] cannot resume from '{origin}': it lacks {', '.join(missing)}"
                )
            facts = self._description
            require_same(origin, state, {name: facts[name] for name in facts if name not in RATES})
            # A callback may know why the rates are others.
            for hook, saved in self._with_states(state):
                if hook is not None and saved:
                    hook.require_state(saved)
            require_same(origin, state, facts)

    def go(self) -> None:
        """Train up to the last epoch, or until something stops the run, and notify the callbacks."""
        trainer = self.trainer
        if any(map(_may_save, self.hooks)):
            self._description  # noqa: B018  # now, since the run changes rates and other settings
        report(trainer, last_epoch=self.last, steps_per_epoch=self.source.batches)
        report(trainer, stop_training=False, interrupted=False, resumed_from=None)
        if self._resumed is not None:
            origin, state = self._resumed
            report(trainer, resumed_from=origin)
            self.load_state_dict(state)
        for hook in self.hooks:
            hook.trainer = trainer
        _core.set_busy(True)  # fits in several threads run side by side, each on its own core
        try:
            with self._interrupt:
                try:
                    self._epochs()
                except KeyboardInterrupt:
                    if not self.alone:
                        raise  # The error ends the job, because the other ranks do not know of it.
                    if self._interrupt.between_steps:
                        call(self._called, "on_interrupt")
                    raise
                finally:
                    call(self._called, "on_train_end")
        except KeyboardInterrupt:
            if not self.alone:
                raise
            report(trainer, interrupted=True)
            where = trainer.where()
            print(f"\n[Trainer.fit] interrupted after {where}; the history is kept", file=sys.stderr)
        finally:
            _core.set_busy(False)
        self._nonfinite.parameters()

    def _epochs(self) -> None:
        call(self._called, "on_train_begin")
        if self._resumed is not None:
            self._load_callbacks(self._resumed[1])
            self._resumed = None
        while self.epoch < self.last and not self._is_stopped():
            self._begin_epoch()
            self._train_epoch()
            self._end_epoch()
            self._interrupt.check()

    def _call(self, method: str, *args: Any) -> None:
        """Call a method of all callbacks. A KeyboardInterrupt of one acts as Ctrl-C: between two steps, so
        that the others are called and a checkpoint can be written. A second one ends the run at once."""
        for hook in self._called:
            is_inherited = getattr(type(hook), method, None) is getattr(Callback, method)
            if is_inherited and method not in vars(hook):
                continue  # The method is that of Callback, which does nothing.
            try:
                getattr(hook, method)(*args)
            except KeyboardInterrupt:
                if not self.alone or not self._interrupt.note():
                    raise

    def _begin_epoch(self) -> None:
        self._call("on_epoch_begin", self.epoch)
        if self._may_replace:
            follow_parameters(self.trainer)
        self._samples = 0
        self._start = perf_counter()

    def _end_epoch(self) -> None:
        history = self.trainer.history
        seconds = perf_counter() - self._start
        logs = self._measured.logs()
        if self.valid is not None:
            measured = self._evaluator.measure(self.valid)
            logs.update({f"val_{key}": value for key, value in measured.items()})
        history.append(**logs)
        history.seconds[-1] = seconds
        history.samples[-1] = float(self._samples)
        self.epoch += 1
        self.batch = 0
        self._measured = self._new_measured()
        self._call("on_epoch_end", self.epoch - 1, logs)
        self._epoch_ended()

    def _train_epoch(self) -> None:
        """Train the rest of the epoch in progress; where nothing has to happen between epochs, further ones.

        If the epoch was resumed, `history.samples` counts only the samples since then.
        """
        trainer = self.trainer
        step = self.step
        trainer.model.train()
        step.check_soon()
        self._run_ahead()
        for x, y, weights in self.source:
            self._call("on_batch_begin", self.batch)
            is_last = self.batch + 1 == self.source.batches
            try:
                value, output, penalty, updated = step(x, y, weights, is_last)
            except (TypeError, ValueError) as error:
                raise_with_hint(error, trainer.model, self._link, x, y)
            if not isfinite(value + penalty) and trainer.on_nonfinite != "ignore":
                step.drop()
                updated = updated and isfinite(value)
                self._nonfinite.loss((x, y, weights), value, penalty)
            if updated:
                report(trainer, updates=trainer.updates + 1)
            value = self._measured.add(value, output, y, weights, penalty)
            self.batch += 1
            self._samples += self.source.samples(x)
            self._call("on_batch_end", self.batch - 1, {"loss": value})
            self._check_interrupt()
            self._run_ahead()
        # A loader without a known length may end while an update still waits for batches.
        if step.unfinished:
            step.finish()
            report(trainer, updates=trainer.updates + 1)
        if self.batch == 0:
            remedy = ""
            if self.epoch > 0:
                remedy = ": a generator gives them once, a list or a DataLoader in each epoch"
            raise ValueError(f"[Trainer.fit] got a loader without batches; expected at least one{remedy}")
        self._crossed = None if self._between else step.compiled.latest

    def _run_ahead(self) -> None:
        """Runs as many batches as the core can run without Python.

        It returns here every 50 ms (with other ranks 250), for callbacks and Ctrl-C.
        """
        while self.step.compiled.replays and not must_act(self._called, "every_batch", OF_BATCHES):
            ahead = self.source.ahead(self._passes())
            if ahead is None:
                break
            start = perf_counter()
            try:
                results = self.step.run_ahead(ahead)
            except BaseException as error:
                # The batches that have run count as updates, though their losses are lost.
                for i, (one_pass, _) in enumerate(ahead.parts()):
                    if i > 0:
                        self.source.begin_next()
                        self.batch = 0
                    self._count(one_pass.batches.done)
                if isinstance(error, (TypeError, ValueError)):
                    x, y, _ = self.source.batch(self.batch)
                    raise_with_hint(error, self.trainer.model, self._link, x, y)
                raise
            if results is None:
                break
            losses, outputs, penalties = results
            passes = ahead.parts()
            seconds_per_pass = (perf_counter() - start) / len(passes)
            for i, (one_pass, taken) in enumerate(passes):
                if i > 0:  # the epoch before is complete
                    # All passes have run already: move the clock back to the end of this one.
                    later = (len(passes) - i) * seconds_per_pass
                    self._start += later
                    self._end_epoch()
                    self.source.begin_next()
                    self._begin_epoch()
                    self._start -= later
                taken_outputs = None if outputs is None else outputs[taken]
                taken_penalties = None if penalties is None else penalties[taken]
                self._account(one_pass, losses[taken], taken_outputs, taken_penalties)
            self._check_interrupt()

    def _check_interrupt(self) -> None:
        """End the run after a Ctrl-C; after the last batch only when the epoch is in the history.

        A validation may take long, so it is not waited for.
        """
        if self.batch != self.source.batches or self.valid is not None:
            self._interrupt.check()

    def _passes(self) -> int:
        """The epochs that one call to the core may run: the rest of this one, and others where nothing in
        Python has to happen between them.

        What a step reads in Python is compared at each call. Something that changes with each epoch, such as
        the history, has changed since the program ran in an earlier epoch, so the program does not read it.
        """
        is_same = self._crossed is not None and self._crossed == self.step.compiled.latest
        if self._between or self.batch > 0 or not is_same:
            return 1
        # The orders of later epochs come from keys that the stream will give if nothing else draws from it
        # (`ArraySource.ahead`).
        draws = self.step.compiled.writes([random.current().state])
        if draws:
            return 1
        return min(self.last - self.epoch, MOST_EPOCHS)

    def _account(self, ahead: Ahead, losses: Array, outputs: Array | None, penalties: Array | None) -> None:
        """Count the batches of a pass that the core has run, and add what they give to the epoch's.

        losses, outputs, penalties: an entry for each batch. Only the last can have a loss that is not finite,
        at which the core ends.
        """
        done = ahead.batches.done
        last_loss = float(losses[-1])
        last_penalty = 0.0 if penalties is None else float(penalties[-1])
        failed = not isfinite(last_loss + last_penalty) and self.trainer.on_nonfinite != "ignore"
        if failed:
            self._count(done - 1)
            self._nonfinite.loss(self.source.batch(self.batch), last_loss, last_penalty)
            self._count(1, updated=isfinite(last_loss))  # a penalty does not keep the core from the update
        else:
            self._count(done)
        y = None if outputs is None else ahead.targets()
        weights = ahead.weight(self.source.counts(self.trainer.loss))
        self._measured.add_all(losses, outputs, y, weights, penalties)
        self._samples += done * ahead.batches.size
        self._call("on_batch_end", self.batch - 1, {"loss": last_loss + last_penalty})

    def _count(self, batches: int, updated: bool = True) -> None:
        """Count batches that have run; updated: whether each has updated the weights."""
        self.source.skip(batches)
        self.batch += batches
        if updated:
            report(self.trainer, updates=self.trainer.updates + batches)

    # --- overridden for runs of several processes

    def _is_stopped(self) -> bool:
        """True if no further epoch begins."""
        return self.trainer.stop_training

    def _epoch_ended(self) -> None:
        """After the callbacks of an epoch."""

    def _new_step(self, trainer: Training, parts: CompiledParts) -> TrainingStep:
        make = partial(TrainingStep, trainer, parts)
        step: TrainingStep = parts.kept(trainer, "step", make)
        step.begin(self.source)
        return step

    def _new_evaluator(self, trainer: Training, parts: CompiledParts) -> Evaluator:
        return Evaluator(trainer, parts)

    def _new_measured(self) -> Measured:
        trainer = self.trainer
        return Measured(trainer.loss, trainer.metrics, self._link, self.source)

    # --- checkpoints

    def _require_resumable(self) -> None:
        for source in (self.source, self.valid):
            if source is not None and source.state_dict() is None:
                raise TypeError(
                    "[Trainer.fit] checkpoints need a loader with state_dict and load_state_dict, such as "
                    "ranvier's DataLoader, so that a pass can be taken up; got one without"
                )

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        self._nonfinite.parameters()  # such a state cannot be resumed
        trainer = self.trainer
        loss_state = None
        if isinstance(trainer.loss, nn.Module):
            loss_state = dict(trainer.loss.state_dict())
        valid_state = None if self.valid is None else self.valid.state_dict()
        return {
            "run": self._description,
            "epoch": self.epoch,
            "batch": self.batch,
            "updates": trainer.updates,
            "stopped": trainer.stop_training,
            "model": dict(trainer.model.state_dict()),
            "frozen": [name for name, p in trainer.model.named_parameters() if not p.requires_grad],
            "loss": loss_state,
            "optimizer": trainer.optimizer.state_dict(),
            "step": self.step.state_dict(),
            "random": random.current().plain_state(),
            "data": self.source.state_dict(),
            "validation data": valid_state,
            "measured": self._measured.state_dict(),
            "history": trainer.history.to_dict(),
            "callbacks": [[type(hook).__name__, hook.state_dict()] for hook in self.hooks],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state, without that of the callbacks."""
        trainer = self.trainer
        trainer.model.load_state_dict(state["model"])
        for name, p in trainer.model.named_parameters():
            p.requires_grad = name not in state["frozen"]
        if isinstance(trainer.loss, nn.Module) and state["loss"]:
            trainer.loss.load_state_dict(state["loss"])
        trainer.optimizer.load_state_dict(state["optimizer"])
        self.step.load_state_dict(state["step"])
        report(trainer, history=History.from_dict(state["history"]))
        self.epoch = state["epoch"]
        self.batch = state["batch"]
        report(trainer, updates=state["updates"], stop_training=state["stopped"])
        self._measured.load_state_dict(state["measured"])
        self.source.load_state_dict(state["data"])
        if self.valid is not None:
            self.valid.load_state_dict(state["validation data"])
        random.set_rng_state(state["random"])

    def _with_states(self, state: Mapping[str, Any]) -> list[tuple[Callback | None, Any]]:
        """The states of a checkpoint's callbacks, each with that of this run: by class and order."""
        waiting = list(self.hooks)
        pairs = []
        for name, saved in state["callbacks"]:
            hook = next((hook for hook in waiting if type(hook).__name__ == name), None)
            if hook is not None:
                waiting.remove(hook)
            pairs.append((hook, saved))
        return pairs

    def _load_callbacks(self, state: Mapping[str, Any]) -> None:
        """Restore the callbacks' states."""
        names = [name for name, _ in state["callbacks"]]
        for name, (hook, saved) in zip(names, self._with_states(state), strict=True):
            if hook is not None:
                hook.load_state_dict(saved)
            elif saved and name != "Checkpoint":  # it does not affect the training
                warnings.warn(
                    f"[Trainer.fit] the checkpoint has the state of a callback {name}, which this run lacks",
                    stacklevel=4,
                )
