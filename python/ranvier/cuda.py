"""What a PyTorch program asks before it decides to run on the CPU."""

from __future__ import annotations


def is_available() -> bool:
    """False: this library computes on the CPU.

    >>> import ranvier as rv
    >>> rv.cuda.is_available()
    False
    """
    return False


def device_count() -> int:
    return 0


def manual_seed(seed: int) -> None:
    """Nothing to seed here; :func:`ranvier.manual_seed` seeds everything."""


manual_seed_all = manual_seed


def empty_cache() -> None:
    """Nothing to free here; :func:`ranvier.empty_cache` empties the CPU's."""


def synchronize() -> None:
    """Nothing to wait for."""
