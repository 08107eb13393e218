"""What compiled functions do in other threads and in forked processes."""

from __future__ import annotations

import os
from _thread import RLock, get_ident
from weakref import WeakSet

from ranvier.observe import running

_locks: WeakSet[Lock] = WeakSet()


class Lock(RLock):  # type: ignore[misc]  # which is not final
    """A lock that is free in a forked child, which does not have the thread that held it."""

    def __init__(self) -> None:
        _locks.add(self)


def _forget_others() -> None:
    """In a forked child, which does not have the other threads."""
    running[:] = [thread for thread in running if thread == get_ident()]
    for lock in _locks:
        if not lock._is_owned():  # type: ignore[attr-defined]
            lock._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_others)
