"""EarlyStopping: an end to runs that no longer improve."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.data.sampler import positive
from ranvier.train.callbacks.base import Callback
from ranvier.train.callbacks.monitor import Monitor

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Stops when a measured quantity has not improved for some epochs, and puts the best weights back.

    Args:
        monitor: the quantity to watch; "val_loss" if there is validation data, else "loss", when not given.
        patience: epochs without improvement after which the run stops.
        min_delta: the least change that counts as an improvement.
        mode: "min" or "max"; "auto" means max for accuracies, r2 and the like, else min.
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
        self._monitor = Monitor("EarlyStopping", monitor, mode, min_delta)
        self.patience = positive("EarlyStopping", "patience", patience)
        self.restore_best_weights = restore_best_weights
        self.on_train_begin()

    @property
    def mode(self) -> str:
        """ "min" or "max"."""
        return self._monitor.mode

    @property
    def best(self) -> float:
        return self._monitor.best

    @property
    def best_epoch(self) -> int | None:
        return self._monitor.best_epoch

    def on_train_begin(self) -> None:
        self._monitor.forget()
        self.stopped_epoch: int | None = None
        self._waited = 0
        self._weights: dict[str, npt.NDArray[Any]] | None = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        self._waited += 1
        if self._monitor.improved(epoch, logs):
            self._waited = 0
            if self.restore_best_weights:
                state = self.trainer.model.state_dict()
                self._weights = {name: np.array(_as_array(value)) for name, value in state.items()}
        elif self._waited >= self.patience:
            self.stopped_epoch = epoch
            self.trainer.stop_training = True

    def on_train_end(self) -> None:
        if self._weights is not None:
            self.trainer.model.load_state_dict(self._weights)
            self._weights = None

    def state_dict(self) -> dict[str, Any]:
        kept = {"waited": self._waited, "stopped_epoch": self.stopped_epoch, "weights": self._weights}
        return {**self._monitor.state_dict(), **kept}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._monitor.load_state_dict(state)
        self._waited, self.stopped_epoch = state["waited"], state["stopped_epoch"]
        self._weights = state["weights"]


def _as_array(value: Any) -> npt.NDArray[Any]:
    array: npt.NDArray[Any] = getattr(value, "_array", value)
    return array
