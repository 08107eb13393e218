"""The functions of torch.cuda that programs call before they choose the CPU."""

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
    """Does nothing; :func:`ranvier.manual_seed` seeds all random numbers."""


manual_seed_all = manual_seed


def empty_cache() -> None:
    """Does nothing; :func:`ranvier.empty_cache` empties the cache of the CPU."""


def synchronize() -> None:
    """Does nothing."""
