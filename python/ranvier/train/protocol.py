"""Training: the Trainer, as its callbacks and the parts of a run see it."""

from __future__ import annotations

from typing import Any, Protocol

from ranvier.metrics.named import Metric
from ranvier.train.history import History

__all__ = ["Training"]


class Training(Protocol):
    """What callbacks and the parts of a run use of a Trainer; `Trainer` says what each is."""

    model: Any
    loss: Any
    optimizer: Any
    metrics: dict[str, Metric]
    l1: Any
    l2: Any
    accumulate: int
    clip_grad_norm: float | None
    clip_grad_value: float | None
    compile: bool
    on_nonfinite: str
    distributed: bool
    shards: int
    deterministic: bool
    leads: bool
    history: History
    stop_training: bool
    interrupted: bool
    updates: int
    last_epoch: int
    steps_per_epoch: int
    resumed_from: Any

    @property
    def classes_(self) -> Any: ...
    @property
    def epoch(self) -> int: ...
    @property
    def batch(self) -> int: ...
    def where(self) -> str: ...
    def checkpoint(self) -> dict[str, Any]: ...
    def settings(self) -> dict[str, Any]: ...
