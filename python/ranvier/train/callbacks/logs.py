"""Callbacks that show and record a run: ProgressBar (with tqdm, loaded for the first bar), TensorBoard."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterable
from typing import Any, TextIO

import ranvier.extension as extension
from ranvier.tensors.errors import count, flag, number, own_errors
from ranvier.train.attributes import Checked, Known
from ranvier.train.callbacks.base import Callback

__all__ = ["ProgressBar", "TensorBoard"]

LONG = 10.0  # seconds after which a fit is long enough for lines in a file
SOON = 0.2  # seconds between two updates of the bar


def is_shown(stream: TextIO | None) -> bool:
    """True if what is written to the stream appears at once, in a terminal or a notebook.

    The stream is None in a process without a console.
    """
    is_terminal = getattr(stream, "isatty", None)
    open_terminal = is_terminal is not None and not getattr(stream, "closed", False) and is_terminal()
    return open_terminal or "ipykernel" in sys.modules


def bar(**settings: Any) -> Any:
    """A tqdm bar on stderr; nothing is shown if stderr is neither a terminal nor a notebook's."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # without ipywidgets, a text is shown in notebooks
        from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        # No thread that outlives the bar: beside another thread, compiled calls take turns in Python.
        monitor_interval = 0

    return Bar(disable=not is_shown(sys.stderr), **settings)


def _seconds(owner: str, name: str, value: object) -> float:
    return number(owner, name, value, low=0.0)


class ProgressBar(Known, Callback):
    """A bar over the batches of an epoch (tqdm, on stderr), and a line for each finished epoch (on stdout).

    `Trainer.fit` makes one where it is not told otherwise (`verbose`). The line has the epoch, what was
    measured, the epoch's time and the time left; the bar the loss of the last batch and the time
    left. The bar is shown on a terminal and in a notebook; where stderr goes to a file or a pipe only the
    lines are left.

    Args:
        bar: False leaves only the lines everywhere.
        every: a line for the first epoch, every this many, and the last.
        delay: seconds after which an epoch gets a bar.
        after: seconds of the run after which the lines begin.

    Raises:
        ValueError: every below 1, delay or after below 0.
    """

    # It only shows: the core may run several batches or epochs in one call.
    every_batch = False
    every_epoch = False
    everywhere = False  # on several processes, that of rank 0 alone

    bar: Any = Checked(flag)
    every: Any = Checked(count)
    delay: Any = Checked(_seconds)
    after: Any = Checked(_seconds)

    def __init__(self, bar: bool = True, every: int = 1, delay: float = 0.0, after: float = 0.0) -> None:
        self.bar = bar
        self.every = every
        self.delay = delay
        self.after = after
        self._tqdm: Any = None
        self._next = float("inf")  # the time from which on a batch updates the bar
        self._made = True

    def on_train_begin(self) -> None:
        self._width = len(str(self.trainer.last_epoch))
        self._first = self.trainer.epoch
        self._began = time.perf_counter()
        path = self.trainer.resumed_from
        if path is not None and not self.after:
            print(f"continues {path}: {self.trainer.where()}", flush=True)

    def on_epoch_begin(self, epoch: int) -> None:
        self._start = time.perf_counter()
        self._next = float("inf")
        if self.bar and is_shown(sys.stderr):
            self._next = self._start + self.delay
            if not self.delay:
                self._open(epoch)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        now = time.perf_counter()
        if now < self._next:
            return
        if self._tqdm is None:
            self._open(self.trainer.epoch)
        self._next = now + SOON
        text = f"loss {logs['loss']:.4g}"
        left = self._left(now)
        if left:
            text += f", {left}"
        self._tqdm.set_postfix_str(text, refresh=False)
        self._tqdm.n = batch + 1
        self._tqdm.refresh()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._close()
        done = epoch + 1
        last = done == self.trainer.last_epoch or self.trainer.stop_training
        if not (last or done % self.every == 0 or done == 1):
            return
        now = time.perf_counter()
        if now - self._began < self.after:
            return
        measured = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        line = f"{self._name(epoch)}  {measured}  {now - self._start:.1f} s"
        left = "" if last else self._left(now)
        if left:
            line += f", {left}"
        print(line, flush=True)

    def on_train_end(self) -> None:
        self._close()

    def _left(self, now: float) -> str:
        """The time left as text, estimated from the pace of this `fit`; empty for less than a second."""
        trainer = self.trainer
        done = float(trainer.epoch - self._first)  # epochs of this fit, with the fraction of the present one
        if trainer.steps_per_epoch:
            done += trainer.batch / trainer.steps_per_epoch
        if done <= 0:
            return ""
        seconds_per_epoch = (now - self._began) / done
        seconds = seconds_per_epoch * (trainer.last_epoch - self._first - done)
        if seconds < 1:
            return ""
        return f"{duration(seconds)} left"

    def _name(self, epoch: int) -> str:
        return f"epoch {epoch + 1:{self._width}d}/{self.trainer.last_epoch}"

    def _open(self, epoch: int) -> None:
        total = self.trainer.steps_per_epoch or None
        layout = None if total is None else "{desc} {bar} {n_fmt}/{total_fmt} {postfix}"
        self._tqdm = bar(
            total=total,
            initial=self.trainer.batch,
            desc=self._name(epoch),
            unit="batch",
            leave=False,
            mininterval=SOON,
            bar_format=layout,
        )

    def _close(self) -> None:
        self._next = float("inf")
        if self._tqdm is not None:
            self._tqdm.close()
            self._tqdm = None


def own_progress(verbose: bool | int | None, hooks: Iterable[Callback], epochs: int) -> ProgressBar | None:
    """The ProgressBar that `fit` adds if it is not silent; None where `hooks` have one.

    `verbose` decides where it is not None; else a bar is added in a terminal or a notebook. Elsewhere, as
    where the output goes to a file or a pipe, lines are written once a fit has taken `LONG` seconds, and none
    in a test (pytest).
    """
    if not isinstance(verbose, (bool, int, type(None))) or verbose not in (None, 1, 2):
        raise ValueError(f"[Trainer.fit] got verbose {verbose!r}; expected True, False, None, 0, 1 or 2")
    if any(isinstance(hook, ProgressBar) for hook in hooks):
        return None
    silent = verbose is None and "PYTEST_CURRENT_TEST" in os.environ
    if silent:
        return None
    if verbose is None and not is_shown(sys.stdout):
        after = LONG
    else:
        after = 0.0
    # about 50 lines in a fit; no bar in epochs of less than half a second
    return ProgressBar(bar=verbose != 2, every=max(1, epochs // 50), delay=0.5, after=after)


def duration(seconds: float) -> str:
    """Seconds as 12 s, 3:20 or 1:02:05."""
    rounded = round(seconds)
    if rounded < 60:
        return f"{rounded} s"
    minutes, seconds_left = divmod(rounded, 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{seconds_left:02d}"
    return f"{minutes}:{seconds_left:02d}"


class TensorBoard(Known, Callback):
    """Writes what is measured as event files, for `tensorboard --logdir FOLDER`.

    Tags are "loss/train", "loss/validation" and so on, and "lr"; the step is the epoch, from 1. A resumed run
    hides what the stopped run wrote after the checkpoint.

    Args:
        folder: the folder of the event files.
        batches: also write each batch's loss, as "loss" over the updates of the weights, in a separate run
            in the subfolder "batches".

    Raises:
        ModuleNotFoundError: the part of ranvier that writes event files is not installed.
    """

    everywhere = False

    batches: Any = Checked(flag)

    def __init__(self, folder: str | os.PathLike[str], *, batches: bool = False) -> None:
        self._home = extension.provider("event files")
        self.folder = os.fspath(folder)
        self.batches = batches
        self._writer: Any = None
        self._batch_writer: Any = None
        self._made = True

    @property
    def every_batch(self) -> bool:  # type: ignore[override]
        return bool(self.batches)

    def on_train_begin(self) -> None:
        self._writer = self._open(self.folder, self.trainer.history.epochs)
        if self.batches:
            self._batch_writer = self._open(os.path.join(self.folder, "batches"), self.trainer.updates)

    def _open(self, folder: str, last_step: int) -> Any:
        purge_step = None  # steps from this one on are hidden
        if self.trainer.resumed_from is not None:
            purge_step = last_step + 1
        return self._home.SummaryWriter(folder, purge_step=purge_step)

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self._batch_writer is not None:
            self._batch_writer.add_scalar("loss", logs["loss"], self.trainer.updates)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        for name, value in logs.items():
            data = "validation" if name.startswith("val_") else "train"
            self._writer.add_scalar(f"{name.removeprefix('val_')}/{data}", value, epoch + 1)
        self._writer.add_scalar("lr", self.trainer.optimizer.param_groups[0]["lr"], epoch + 1)
        self._writer.flush()

    def on_train_end(self) -> None:
        for writer in (self._writer, self._batch_writer):
            if writer is not None:
                writer.close()
        self._writer = self._batch_writer = None


own_errors(globals(), __all__)
