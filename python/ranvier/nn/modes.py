"""Training and evaluation mode of a model, restored afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ranvier.autograd import no_grad

__all__ = ["evaluating", "mode_kept"]


@contextmanager
def mode_kept(model: Any) -> Iterator[None]:
    """Restores the mode (training or evaluation) of every module."""
    before = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    with mode_kept(model), no_grad():
        model.eval()
        yield
