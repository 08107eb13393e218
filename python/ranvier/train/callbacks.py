"""What may happen between the steps of a run: early stopping, a progress bar, callbacks of one's own."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ranvier.data.loader import positive

if TYPE_CHECKING:
    from ranvier.train.trainer import Trainer

__all__ = ["Callback", "EarlyStopping", "ProgressBar"]


class Callback:
    """Base of callbacks: override what is needed. The names are Keras's.

    `self.trainer` is the Trainer that runs; `self.trainer.stop_training = True` ends it after this epoch.
    `logs` are the epoch's measured values, such as `{"loss": 0.4, "val_loss": 0.5}`. Epochs and batches count
    from 0; a run that continues an earlier one counts on.

    >>> import ranvier as rv
    >>> class Printer(rv.Callback):
    ...     def on_epoch_end(self, epoch, logs):
    ...         print(epoch, sorted(logs))
    >>> model = rv.nn.Linear(1, 1)
    >>> trainer = rv.Trainer(model, rv.nn.MSELoss(), rv.optim.SGD(model.parameters(), lr=0.1))
    >>> history = trainer.fit([[1.0], [2.0]], [[2.0], [4.0]], epochs=2, callbacks=[Printer()])
    0 ['loss']
    1 ['loss']
    """

    trainer: Trainer

    def on_train_begin(self) -> None:
        """Before the first epoch of a `fit`."""

    def on_train_end(self) -> None:
        """After the last epoch, also when an exception or Ctrl-C ends the run."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before an epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """After an epoch, validation included."""

    def on_batch_begin(self, batch: int) -> None:
        """Before a step."""

    def on_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """After a step; `logs["loss"]` is the loss of this batch."""


class EarlyStopping(Callback):
    """Stops when a measured quantity has not improved for some epochs, and puts the best weights back.

    Args:
        monitor: the quantity to watch; "val_loss" if there is validation data, else "loss", when not given.
        patience: epochs without improvement after which the run stops.
        min_delta: the least change that counts as an improvement.
        mode: "min" or "max"; "auto" means max for accuracies and r2, else min.
        restore_best_weights: put the parameters and buffers of the best epoch back at the end of the run.

    Attributes:
        best, best_epoch: the best value, and the epoch (from 0) it was reached in.
        stopped_epoch: the epoch after which the run was stopped, or None.

    Raises:
        ValueError: an unknown mode, a patience below 1, or a quantity that is not measured.

    >>> import ranvier as rv
    >>> rv.EarlyStopping("val_accuracy", patience=3).mode
    'max'
    """

    def __init__(
        self,
        monitor: str | None = None,
        *,
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"[EarlyStopping] got mode '{mode}'; expected 'auto', 'min' or 'max'")
        self.monitor = monitor
        self.patience = positive("EarlyStopping", "patience", patience)
        self.min_delta = abs(min_delta)
        self._mode = mode
        self.restore_best_weights = restore_best_weights
        self._forget()

    def _forget(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._waited = 0
        self._weights: dict[str, npt.NDArray[Any]] | None = None

    @property
    def mode(self) -> str:
        """ "min" or "max"."""
        if self._mode != "auto":
            return self._mode
        return "max" if (self.monitor or "").endswith(("accuracy", "r2")) else "min"

    def on_train_begin(self) -> None:
        self._forget()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        monitor = self.monitor or ("val_loss" if "val_loss" in logs else "loss")
        if monitor not in logs:
            raise ValueError(f"[EarlyStopping] no '{monitor}' is measured; expected one of {', '.join(logs)}")
        value = logs[monitor]
        self._waited += 1
        if self._better(value):
            self.best, self.best_epoch, self._waited = value, epoch, 0
            if self.restore_best_weights:
                state = self.trainer.model.state_dict()
                self._weights = {name: np.array(as_array(value)) for name, value in state.items()}
        elif self._waited >= self.patience:
            self.stopped_epoch = epoch
            self.trainer.stop_training = True

    def _better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best_epoch is None:
            return True
        gain = self.best - value if self.mode == "min" else value - self.best
        return gain > self.min_delta

    def on_train_end(self) -> None:
        if self._weights is not None:
            self.trainer.model.load_state_dict(self._weights)
            self._weights = None


def as_array(value: Any) -> npt.NDArray[Any]:
    """The NumPy array behind a Tensor, or the array itself."""
    array: npt.NDArray[Any] = getattr(value, "_array", value)
    return array


class ProgressBar(Callback):
    """A bar over the batches of an epoch (tqdm, on stderr), and a line for each finished epoch (on stdout).

    Args:
        bar: False leaves only the lines.
    """

    def __init__(self, bar: bool = True) -> None:
        self.bar = bar
        self._tqdm: Any = None

    def on_train_begin(self) -> None:
        self._width = len(str(self.trainer.last_epoch))

    def on_epoch_begin(self, epoch: int) -> None:
        self._start = time.perf_counter()
        if self.bar:
            from tqdm import tqdm  # type: ignore[import-untyped]

            self._tqdm = tqdm(
                total=self.trainer.steps_per_epoch,
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
