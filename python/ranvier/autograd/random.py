"""The one global source of randomness, seeded by :func:`manual_seed`.

Values drawn in Python (``randn``, initialisation, shuffling) come from ``generator()``; a kernel that draws
its own numbers (dropout, augmentation) is counter-based and asks ``next_key()`` for a fresh key each time.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_lock = threading.Lock()
_MASK = (1 << 64) - 1


class _State:
    generator: np.random.Generator | None = None
    seed: int | None = None  # None until the program seeds or a first number is drawn
    calls = 0


_state = _State()


def manual_seed(seed: int) -> None:
    """Seeds every random number of the library.

    >>> import ranvier as rv
    >>> rv.manual_seed(0); a = rv.rand(3).tolist()
    >>> rv.manual_seed(0); a == rv.rand(3).tolist()
    True
    """
    with _lock:
        _state.generator, _state.seed, _state.calls = None, int(seed) & _MASK, 0


def initial_seed() -> int:
    """The seed in force: the one given to manual_seed, else one drawn from the system."""
    generator()
    assert _state.seed is not None
    return _state.seed


def generator() -> np.random.Generator:
    """NumPy's generator behind every random value made in Python."""
    if _state.generator is None:
        import secrets

        import numpy as np  # numpy.random is loaded on first use only

        with _lock:
            if _state.seed is None:
                _state.seed = secrets.randbits(63)
            if _state.generator is None:
                _state.generator = np.random.Generator(np.random.Philox(_state.seed))
    return _state.generator


def next_key() -> int:
    """A fresh key for a counter-based kernel: a function of the seed and of how many were drawn before."""
    seed = initial_seed()
    with _lock:
        _state.calls += 1
        return _mix(_mix(seed) + _state.calls)


def get_rng_state() -> dict[str, Any]:
    """The state of the randomness as plain Python values, for checkpoints."""
    return {
        "seed": initial_seed(),
        "calls": _state.calls,
        "generator": _plain(generator().bit_generator.state),
    }


def set_rng_state(state: dict[str, Any]) -> None:
    """Goes back to a state from get_rng_state."""
    import numpy as np

    manual_seed(state["seed"])
    generator().bit_generator.state = _arrays(state["generator"], np)
    _state.calls = int(state["calls"])


def _mix(x: int) -> int:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014): neighbouring numbers give unrelated keys."""
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _MASK
    return x ^ (x >> 31)


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if hasattr(state, "tolist") else state


def _arrays(state: Any, np: Any) -> Any:
    if isinstance(state, dict):
        return {key: _arrays(value, np) for key, value in state.items()}
    return np.array(state, np.uint64) if isinstance(state, list) else state
