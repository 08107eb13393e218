"""The measured values of a training run, epoch by epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import ranvier.extension as extension

__all__ = ["History"]

PathLike = str | os.PathLike[str]


class History(dict[str, list[float]]):
    """A dict from a measured quantity ("loss", "val_accuracy" ...) to its values, one per epoch,
    so that `json.dumps(history)` and `pandas.DataFrame(history)` work.

    A quantity that was not measured in some epoch (validation data in one `fit` and not in another) has NaN
    there, so that all lists have the same length; `last()` and what is printed leave it out then.

    Attributes:
        epochs: how many there are.
        seconds, samples: for each epoch the duration of its pass over the training data, and
            the number of samples in it; NaN in a history that was loaded.

    >>> from ranvier.train import History
    >>> history = History()
    >>> history.append(loss=0.9, accuracy=0.6); history.append(loss=0.4, accuracy=0.9)
    >>> history["loss"], history.epochs, history.last()
    ([0.9, 0.4], 2, {'loss': 0.4, 'accuracy': 0.9})
    """

    def __init__(self) -> None:
        super().__init__()
        self.epochs = 0
        self.seconds: list[float] = []
        self.samples: list[float] = []
        self._last: frozenset[str] = frozenset()  # what the last epoch measured

    def append(self, **measured: float) -> None:
        """Add one epoch."""
        self.seconds.append(float("nan"))
        self.samples.append(float("nan"))
        for name, value in measured.items():
            if name not in self:
                self[name] = [float("nan")] * self.epochs
            self[name].append(float(value))
        self.epochs += 1
        self._last = frozenset(measured)
        for values in self.values():
            if len(values) < self.epochs:
                values.append(float("nan"))

    def last(self) -> dict[str, float]:
        """The measured values of the last epoch; empty before the first."""
        return {name: values[-1] for name, values in self.items() if name in self._last}

    def to_dict(self) -> dict[str, list[float]]:
        """A copy as a plain dict of lists, fit for JSON."""
        return {name: list(values) for name, values in self.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Sequence[float]]) -> History:
        """The History of which `to_dict` made `values`.

        Raises:
            ValueError: lists of different lengths, or values that are no numbers.
        """
        history = cls()
        try:
            for name, column in values.items():
                history[str(name)] = [float(value) for value in column]
        except (TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"[History] expected lists of numbers by name: {error}") from None
        lengths = {len(column) for column in history.values()}
        if len(lengths) > 1:
            raise ValueError(f"[History] got lists of lengths {sorted(lengths)}; expected equal lengths")
        history.epochs = lengths.pop() if lengths else 0
        last = {name: column[-1] for name, column in history.items() if column}
        measured = frozenset(name for name, value in last.items() if not math.isnan(value))
        history._last = measured or frozenset(last)  # a NaN among numbers was most likely not measured
        history.seconds = [float("nan")] * history.epochs
        history.samples = [float("nan")] * history.epochs
        return history

    def plot(self, path: PathLike | None = None) -> Any:
        """Draw the curves, and save the picture if a path is given: see `rv.plot.history`."""
        return extension.provider("pictures").history(self, path)

    def __missing__(self, name: str) -> list[float]:
        raise KeyError(f"[History] no '{name}'; measured were {', '.join(self) or 'none yet'}")

    def __repr__(self) -> str:
        text = f"<History of {self.epochs} epochs"
        last = ", ".join(f"{name} {value:.4g}" for name, value in self.last().items())
        if last:
            text += f": {last}"
        return text + ">"
