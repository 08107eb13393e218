"""The settings of a Trainer and the callbacks of a run, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ranvier.metrics import METRICS, Metric
from ranvier.train.callbacks.base import Callback
from ranvier.train.callbacks.checkpoint import Checkpoint
from ranvier.train.weighting import name_of

__all__ = ["in_order", "limit", "named_metrics"]


def named_metrics(metrics: Sequence[str | Metric]) -> dict[str, Metric]:
    """The metric functions by name."""
    if isinstance(metrics, str):
        raise TypeError(f"[Trainer] got metrics {metrics!r}; expected a sequence such as [{metrics!r}]")
    named: dict[str, Metric] = {}
    for metric in metrics:
        if isinstance(metric, str):
            if metric not in METRICS:
                raise ValueError(
                    f"[Trainer] got metric '{metric}'; expected a function or one of {', '.join(METRICS)}"
                )
            named[metric] = METRICS[metric]
        elif not getattr(metric, "is_number", True):
            raise TypeError(f"[Trainer] got metric {metric!r}, which gives no single number")
        elif callable(metric):
            named[name_of(metric)] = metric
        else:
            raise TypeError(
                f"[Trainer] got metric of type {type(metric).__name__}; expected a name or a function"
            )
    return named


def limit(name: str, value: Any) -> float | None:
    """A number above 0, or None for no limit."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"[Trainer] got {name} of type {type(value).__name__}; expected a number or None")
    if not 0 < value < math.inf:
        raise ValueError(f"[Trainer] got {name} {value}; expected a finite number above 0")
    return float(value)


def in_order(callbacks: Iterable[Callback]) -> list[Callback]:
    """The callbacks as given, Checkpoints last, so that they see what the others have done."""
    hooks = list(callbacks)
    for hook in hooks:
        if not isinstance(hook, Callback):
            raise TypeError(
                f"[Trainer.fit] got a callback of type {type(hook).__name__}; expected rv.Callback"
            )
    return sorted(hooks, key=lambda hook: isinstance(hook, Checkpoint))
