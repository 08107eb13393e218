"""Random numbers that NumPy draws: a compiled step would draw them only once.

Python's are noticed as calls (`reads.py`), the library's integers by the library itself
(`autograd/random.py`), and NumPy generators that names lead to by the walk (`pure.py`). Here NumPy's global
stream is compared before and after the step.
"""

from __future__ import annotations

import sys
from _thread import _count as other_threads
from typing import Any


def drawn() -> Any:
    """The state of NumPy's global stream; None where other threads may draw from it."""
    numpy = sys.modules.get("numpy.random")
    if numpy is None or other_threads():
        return None
    return _plain(numpy.get_state(legacy=False))


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tobytes() if hasattr(state, "tobytes") else state
