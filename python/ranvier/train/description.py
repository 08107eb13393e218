"""A Trainer in words, and what a resumed run must have in common with the run that wrote its checkpoint."""

from __future__ import annotations

from typing import Any

from ranvier.serialization import architecture
from ranvier.train.protocol import Training
from ranvier.train.source import Source
from ranvier.train.weighting import name_of

__all__ = ["describe", "difference", "require_same", "text"]


def describe(trainer: Training, source: Source, valid: Source | None) -> dict[str, Any]:
    """Model, optimizer, loss, settings and data of a run as plain values, without anything that changes."""
    state, groups = trainer.model.state_dict(), getattr(trainer.optimizer, "param_groups", ())
    return {
        "model": architecture.describe(trainer.model),
        "weights": [[name, list(value.shape), str(value.dtype)] for name, value in state.items()],
        "optimizer": [type(trainer.optimizer).__name__, [len(group["params"]) for group in groups]],
        "loss": name_of(trainer.loss),
        "metrics": list(trainer.metrics),
        "settings": trainer.settings(),
        "data": source.description(),
        "validation data": None if valid is None else valid.description(),
    }


def text(trainer: Training) -> str:
    """A Trainer in one line: model, loss, optimizer, metrics, and the last epoch's values."""
    parameters = sum(p.numel() for p in trainer.model.parameters())
    groups = getattr(trainer.optimizer, "param_groups", ())[:1]
    rate = "".join(f"lr={group['lr']:g}" for group in groups if "lr" in group)
    metrics = f", metrics={list(trainer.metrics)}" if trainer.metrics else ""
    last = "".join(f", {name} {value:.4g}" for name, value in trainer.history.last().items())
    epochs = f"{trainer.epoch} epoch{'s' * (trainer.epoch != 1)}{last}" if trainer.epoch else "not trained"
    optimizer = "no optimizer" if trainer.optimizer is None else f"{name_of(trainer.optimizer)}({rate})"
    return (
        f"<Trainer of {name_of(trainer.model)} ({parameters:,} parameters), {name_of(trainer.loss)}, "
        f"{optimizer}{metrics}: {epochs}>"
    )


def require_same(path: Any, state: Any, ours: dict[str, Any]) -> None:
    """Raise ValueError, which names the difference, unless the state is of a run of this description."""
    theirs = state.get("run")
    for what, value in ours.items():
        saved = theirs.get(what) if isinstance(theirs, dict) else None
        if saved != value:
            raise ValueError(
                f"[Trainer.fit] cannot resume from '{path}': the {what} of its run "
                f"{'are' if what.endswith('s') and what != 'loss' else 'is'} different: "
                f"{difference(saved, value)}"
            )


def difference(theirs: Any, ours: Any, place: str = "") -> str:
    """The first difference of two nested values, in words."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in [*ours, *theirs]:
            if theirs.get(key) != ours.get(key):
                return difference(theirs.get(key), ours.get(key), f"{place}{key}: ")
    if isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for a, b in zip(theirs, ours, strict=True):
            if a != b:
                return difference(a, b, place)
    return f"{place}{_short(theirs)} there, {_short(ours)} here"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 200 else text[:200] + "..."
