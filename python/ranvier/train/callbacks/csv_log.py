"""CSVLog: the history as a CSV file, a line for each epoch as it ends."""

from __future__ import annotations

import csv
import os
from pathlib import Path

from ranvier.train.callbacks.base import Callback

__all__ = ["CSVLog"]


class CSVLog(Callback):
    """Writes the Trainer's history to a CSV file, epoch by epoch: "epoch" (from 1) and what was measured.

    The file always holds the whole history: that of earlier `fit`s comes first, and a resumed run leaves out
    what the stopped run wrote after the checkpoint. `rv.History.load` reads it.

    Args:
        path: of the file; its folder is made if it does not exist.

    >>> import pathlib, tempfile
    >>> import ranvier as rv
    >>> path = pathlib.Path(tempfile.mkdtemp(), "run.csv")
    >>> model = rv.nn.Linear(1, 1)
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    >>> history = trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=2, callbacks=[rv.train.CSVLog(path)])
    >>> rv.History.load(path) == history
    True
    """

    everywhere = False

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def on_train_begin(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._write_all()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        if list(self.trainer.history) != self._columns:  # something new is measured: it gets a column
            self._write_all()
            return
        row = [column[-1] for column in self.trainer.history.values()]
        with open(self.path, "a", newline="") as stream:
            csv.writer(stream).writerow([epoch + 1, *row])

    def _write_all(self) -> None:
        self._columns = list(self.trainer.history)
        self.trainer.history.save(self.path, format="csv")
