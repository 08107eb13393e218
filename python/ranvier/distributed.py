"""torch.distributed: one process, no group of processes."""

from __future__ import annotations

from typing import Any


def is_available() -> bool:
    """False: a model is trained by one process, with all its threads.

    >>> import ranvier as rv
    >>> rv.distributed.is_available()
    False
    """
    return False


def is_initialized() -> bool:
    return False


def get_rank(group: Any = None) -> int:
    """0, the number of this process."""
    return 0


def get_world_size(group: Any = None) -> int:
    """1, the number of processes."""
    return 1


def init_process_group(*args: Any, **settings: Any) -> None:
    """Raises RuntimeError: there are no groups of processes."""
    raise RuntimeError(
        "[distributed] got a group of processes; expected one process: this library trains with all threads "
        "of one process"
    )


def barrier(*args: Any, **settings: Any) -> None:
    """Does nothing: there is one process."""


def destroy_process_group(group: Any = None) -> None:
    """Does nothing."""
