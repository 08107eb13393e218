"""Monitor: which measured quantity is watched, and whether a value of it is the best so far."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ranvier.metrics.named import higher_is_better

__all__ = ["Monitor", "watched"]


def watched(owner: str, monitor: str | None, logs: Mapping[str, float]) -> float:
    """The value of `monitor` in the epoch's logs; of "val_loss", else "loss", where it is None.

    Raises:
        ValueError: no such quantity is measured.
    """
    name = monitor or ("val_loss" if "val_loss" in logs else "loss")
    if name not in logs:
        raise ValueError(f"[{owner}] no '{name}' is measured; expected one of {', '.join(logs)}")
    return logs[name]


class Monitor:
    """The best value so far of one measured quantity.

    mode: "min" or "max"; "auto" means max for accuracies, r2 and the like, else min.
    """

    def __init__(self, owner: str, monitor: str | None, mode: str, min_delta: float = 0.0) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"[{owner}] got mode '{mode}'; expected 'auto', 'min' or 'max'")
        self.owner, self.name, self.min_delta = owner, monitor, abs(min_delta)
        rises = mode == "max" or (mode == "auto" and higher_is_better(monitor or ""))
        self.mode = "max" if rises else "min"
        self.forget()

    def forget(self) -> None:
        self.best = math.nan
        self.best_epoch: int | None = None

    def improved(self, epoch: int, logs: Mapping[str, float]) -> bool:
        """Whether this epoch is the best so far, which is then kept. NaN never is."""
        value = watched(self.owner, self.name, logs)
        gain = self.best - value if self.mode == "min" else value - self.best
        if math.isnan(value) or not (self.best_epoch is None or gain > self.min_delta):
            return False
        self.best, self.best_epoch = value, epoch
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]
