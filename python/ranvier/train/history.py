"""What a training run measured, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

__all__ = ["History"]


class History(Mapping[str, list[float]]):
    """A mapping from a measured quantity ("loss", "val_accuracy" ...) to its values, one per epoch.

    A quantity that was not measured in some epoch (validation data only in a later `fit`) has NaN there,
    so that all lists have the same length.

    >>> from ranvier.train import History
    >>> history = History()
    >>> history.append(loss=0.9, accuracy=0.6); history.append(loss=0.4, accuracy=0.9)
    >>> history["loss"], history.epochs, history.last()
    ([0.9, 0.4], 2, {'loss': 0.4, 'accuracy': 0.9})
    """

    def __init__(self) -> None:
        self.epochs = 0
        self._values: dict[str, list[float]] = {}

    def append(self, **measured: float) -> None:
        """Add one epoch."""
        for name, value in measured.items():
            self._values.setdefault(name, [float("nan")] * self.epochs).append(float(value))
        self.epochs += 1
        for values in self._values.values():
            if len(values) < self.epochs:
                values.append(float("nan"))

    def last(self) -> dict[str, float]:
        """The values of the last epoch; empty before the first."""
        return {name: values[-1] for name, values in self._values.items()}

    def to_dict(self) -> dict[str, list[float]]:
        """A copy as a plain dict of lists, fit for JSON."""
        return {name: list(values) for name, values in self._values.items()}

    def __getitem__(self, name: str) -> list[float]:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(
                f"[History] no '{name}'; measured were {', '.join(self._values) or 'none yet'}"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        last = ", ".join(f"{name} {value:.4g}" for name, value in self.last().items())
        return f"<History of {self.epochs} epochs{': ' + last if last else ''}>"
