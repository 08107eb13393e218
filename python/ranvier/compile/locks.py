"""What compiled functions do in other threads and in forked processes."""

from __future__ import annotations

import os
from _thread import RLock, get_ident
from typing import Any
from weakref import WeakSet

import ranvier._core as _core
from ranvier.autograd.recording import recordings

running: list[int] = []  # threads in which compiled functions run eagerly, one inside another
with_locks: WeakSet[Any] = WeakSet()
_core._set_call_state(recordings, running)


class Lock:
    """A lock for a ``with`` block, which a forked child has anew."""

    def __init__(self) -> None:
        self._lock = RLock()
        with_locks.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _renew_locks() -> None:
    """In a forked child, which does not have the other threads."""
    running[:] = [thread for thread in running if thread == get_ident()]
    for compiled in with_locks:
        compiled._lock = RLock()


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_locks)
