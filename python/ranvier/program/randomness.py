"""Random numbers that NumPy draws: a captured step would draw them once and for all.

Those of Python are seen as calls (`reads.py`), the integers of this library say so themselves
(`autograd/random.py`), and what names can reach of NumPy's is refused by the walk (`pure.py`). What is left
is NumPy's global stream by a way that no name shows.
"""

from __future__ import annotations

import sys
from _thread import _count as other_threads
from typing import Any


def drawn() -> Any:
    """Where NumPy's global stream stands; None where it cannot be said who draws from it."""
    numpy = sys.modules.get("numpy.random")
    if numpy is None or other_threads():
        return None
    return _plain(numpy.get_state(legacy=False))


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tobytes() if hasattr(state, "tobytes") else state
