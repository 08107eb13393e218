"""ProgressBar: a bar over the batches of an epoch and a line for each epoch."""

from __future__ import annotations

import sys
import time
from typing import Any

from ranvier.data.sampler import positive
from ranvier.train.callbacks.base import Callback

__all__ = ["ProgressBar"]


class ProgressBar(Callback):
    """A bar over the batches of an epoch (tqdm, on stderr), and a line for each finished epoch (on stdout).

    The bar is shown on a terminal and in a notebook; where stderr goes to a file or a pipe only the lines
    are left.

    Args:
        bar: False leaves only the lines everywhere.
        every: a line for the first epoch, every so many, and the last.

    Raises:
        ValueError: every below 1.
    """

    def __init__(self, bar: bool = True, every: int = 1) -> None:
        self.bar, self.every = bar, positive("ProgressBar", "every", every)
        self._tqdm: Any = None

    def on_train_begin(self) -> None:
        self._width = len(str(self.trainer.last_epoch))
        path = self.trainer.resumed_from
        if path is not None:
            print(f"continues {path}: {self.trainer.where()}", flush=True)

    def on_epoch_begin(self, epoch: int) -> None:
        self._start = time.perf_counter()
        if self.bar and (sys.stderr.isatty() or "ipykernel" in sys.modules):
            from tqdm.auto import tqdm  # type: ignore[import-untyped]

            self._tqdm = tqdm(
                total=self.trainer.steps_per_epoch or None,
                initial=self.trainer.batch,
                desc=self._name(epoch),
                unit="batch",
                leave=False,
                mininterval=0.2,
            )

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self._tqdm is not None:
            self._tqdm.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._close()
        done = epoch + 1
        last = done == self.trainer.last_epoch or self.trainer.stop_training
        if not (last or done % self.every == 0 or done == 1):
            return
        measured = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        print(f"{self._name(epoch)}  {measured}  {time.perf_counter() - self._start:.1f} s", flush=True)

    def on_train_end(self) -> None:
        self._close()

    def _name(self, epoch: int) -> str:
        return f"epoch {epoch + 1:{self._width}d}/{self.trainer.last_epoch}"

    def _close(self) -> None:
        if self._tqdm is not None:
            self._tqdm.close()
            self._tqdm = None
