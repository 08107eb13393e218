"""TensorBoard: event files through tensorboardX (the extra `tensorboard`)."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from typing import Any

from ranvier.train.callbacks.base import Callback

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Writes what is measured as event files, for `tensorboard --logdir FOLDER`.

    Tags are "loss/train", "loss/validation" and so on, and "lr"; the step is the epoch, from 1. A resumed run
    hides what the stopped run wrote after the checkpoint.

    Args:
        folder: of the event files.
        batches: also write each batch's loss, as "loss" over the updates of the weights, in a separate run
            in the subfolder "batches".

    Raises:
        ImportError: tensorboardX is not installed (`pip install 'ranvier[tensorboard]'`).
    """

    everywhere = False

    def __init__(self, folder: str | os.PathLike[str], *, batches: bool = False) -> None:
        if find_spec("tensorboardX") is None:
            raise ImportError(
                "[TensorBoard] event files need tensorboardX: pip install 'ranvier[tensorboard]'"
            )
        self.folder, self.batches = os.fspath(folder), batches
        self.every_batch = batches
        self._writer: Any = None
        self._batch_writer: Any = None

    def on_train_begin(self) -> None:
        self._writer = self._open(self.folder, self.trainer.history.epochs)
        if self.batches:
            self._batch_writer = self._open(os.path.join(self.folder, "batches"), self.trainer.updates)

    def _open(self, folder: str, last_step: int) -> Any:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]

        resumed = self.trainer.resumed_from is not None
        # The file's name has the second only: a run that begins in the same one would replace the file.
        return SummaryWriter(
            folder, purge_step=last_step + 1 if resumed else None, filename_suffix=f".{time.time_ns()}"
        )

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        if self._batch_writer is not None:
            self._batch_writer.add_scalar("loss", logs["loss"], self.trainer.updates)

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        for name, value in logs.items():
            part = "validation" if name.startswith("val_") else "train"
            self._writer.add_scalar(f"{name.removeprefix('val_')}/{part}", value, epoch + 1)
        self._writer.add_scalar("lr", self.trainer.optimizer.param_groups[0]["lr"], epoch + 1)
        self._writer.flush()

    def on_train_end(self) -> None:
        for writer in (self._writer, self._batch_writer):
            if writer is not None:
                writer.close()
        self._writer = self._batch_writer = None
