"""The settings of a Trainer and the callbacks of a run, checked before anything starts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from ranvier.metrics.named import METRICS, Metric
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
        name = metric if isinstance(metric, str) else name_of(metric)
        if name in named or name == "loss":
            raise ValueError(
                f"[Trainer] got two quantities called '{name}'; expected metrics of different names, none of "
                "them 'loss' (a function's is its __name__)"
            )
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
    """The callbacks as given, Checkpoints last, so that they see what the others have done.

    Raises:
        TypeError: no callbacks, or one with a method whose name is almost that of a hook.
        ValueError: one is given twice.
    """
    if isinstance(callbacks, Callback):
        raise TypeError(f"[Trainer.fit] got callbacks {name_of(callbacks)}; expected a sequence of them")
    hooks = list(callbacks)
    for hook in hooks:
        if not isinstance(hook, Callback):
            raise TypeError(
                f"[Trainer.fit] got a callback of type {type(hook).__name__}; expected rv.Callback"
            )
        _require_hooks(hook)
    if len({id(hook) for hook in hooks}) < len(hooks):
        raise ValueError("[Trainer.fit] got a callback twice; expected each once")
    return sorted(hooks, key=lambda hook: isinstance(hook, Checkpoint))


def _require_hooks(hook: Callback) -> None:
    """Refuse a method that looks like a hook, and that nothing would call."""
    known = [name for name in vars(Callback) if name.startswith("on_")]
    for kind in type(hook).__mro__:
        if kind is Callback:
            break
        for name in vars(kind):
            meant = get_close_matches(name, known, 1, 0.8) if name.startswith("on_") else []
            if meant and name not in known:
                raise TypeError(
                    f"[Trainer.fit] {kind.__name__} has a method {name}, which nothing calls; expected "
                    f"{meant[0]}, or a name that is not so close to it"
                )
