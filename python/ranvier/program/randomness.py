"""Random numbers that Python draws: a captured step would draw them once and for all."""

from __future__ import annotations

import sys
from typing import Any

from ranvier.autograd import random


def drawn() -> tuple[Any, ...]:
    """Where the streams of Python, NumPy and the integers of this library stand; comparable."""
    python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    ours = random.current()._numpy
    return (
        None if python is None else python.getstate(),
        None if numpy is None else _plain(numpy.get_state(legacy=False)),
        None if ours is None else _plain(ours.bit_generator.state),
    )


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tobytes() if hasattr(state, "tobytes") else state
