"""Observers: objects that follow the operations of a run, such as a recording or an exporter of models.

While a thread has an observer of Functions, the core makes every operation a call of `Function.apply`, in the
order of the program. While it has any observer, no call is replayed, unless the observer allows it. Without
an observer, an operation only tests a number, or whether the list `observers` is empty.
"""

from __future__ import annotations

import os
import sys
from _thread import (
    RLock,
    _local as local,  # threading.local, without the import of threading
    get_ident,
)
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any
from weakref import WeakSet

import ranvier._core as _core

__all__ = ["Observer", "observers"]

observers: list[Observer] = []  # the observers of all threads
running: list[int] = []  # ids of threads in which compiled functions run eagerly: one entry for each such run
_locks: WeakSet[Lock] = WeakSet()
_PYTHON = os.path.dirname(os.__file__) + os.sep
_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Observer(_core._ObserverBase):
    """Follows what a thread computes inside ``with observer:``. A subclass has the methods that it needs.

    A method with the parameter `run` takes the place of an operation: ``run(*inputs)`` makes the operation.

    >>> import ranvier as rv
    >>> class Names(Observer):
    ...     def apply(self, run, function, *inputs):
    ...         print(type(function).__name__)
    ...         return run(*inputs)
    >>> with Names():
    ...     y = rv.ones(2).exp().sum()
    Exp
    Sum
    """

    everywhere = False  # True if it follows all threads
    allows_replays = False
    follows_functions = False  # True if it has `apply`
    thread = 0

    def __init_subclass__(cls) -> None:
        cls.follows_functions = cls.apply is not Observer.apply

    def apply(self, run: Any, function: Any, *inputs: Any) -> Any:
        """``function.apply(*inputs)``"""
        return run(*inputs)

    def call(self, run: Any, module: Any, *args: Any, **kwargs: Any) -> Any:
        """``module(*args, **kwargs)``"""
        return run(*args, **kwargs)

    def computed(self, name: str, inputs: Any, result: Any, **settings: Any) -> None:
        """Called after an element-wise operation, or another that may be no Function, for observers of
        Functions.

        result: a Tensor, or a tuple of Tensors."""

    def hosted(self, caller: FrameType) -> None:
        """Called before an operation calls NumPy. caller: the frame of the operation."""

    def stored(self, tensor: Any, value: Any) -> None:
        """Called after all elements of a tensor were changed in place, off the tape, to a number or an
        array."""

    def read(self, how: str, tensor: Any = None) -> None:
        """Called before values, such as a tensor's, go to Python. how: names what reads them."""

    def gradient_read(self, tensor: Any) -> None:
        """Called before ``tensor.grad`` is read, for observers of Functions."""

    def instead(self, method: str, owner: Any, argument: Any) -> bool:
        """True if the observer takes the place of backward, or of step or zero_grad of an optimizer or
        module."""
        return False


def _here() -> list[Observer]:
    """The observers of this thread."""
    thread = get_ident()
    # A copy of the list is read, because another thread may remove an observer meanwhile.
    return [one for one in tuple(observers) if one.everywhere or one.thread == thread]


def tell(event: str, *args: Any) -> list[Any]:
    """Calls this method of each observer of this thread."""
    return [getattr(one, event)(*args) for one in _here()]


def through(event: str, run: Any, owner: Any) -> Any:
    """`run`, wrapped by the method `event` of each observer of this thread; the first observer is
    innermost."""
    for one in _here():
        run = partial(getattr(one, event), run, owner)
    return run


def observed(event: str, run: Any) -> Any:
    """A function like ``run(owner, ...)``, each call of which goes through the observers of this thread."""
    return lambda owner, *args, **kwargs: through(event, partial(run, owner), owner)(*args, **kwargs)


def computed(name: str, inputs: Any, result: Any, **settings: Any) -> Any:
    """Tells observers of an operation that may be no Function, and returns its result."""
    for one in _here() if observers else ():
        one.computed(name, inputs, result, **settings)
    return result


def may_replay() -> bool:
    """True if calls of this thread may be replayed: no observer has to see each operation."""
    return not observers or all(one.allows_replays for one in _here())


def is_replaced(method: str, owner: Any, argument: Any = None) -> bool:
    """True if an observer takes the place of this method (backward, step, zero_grad) of the owner."""
    return any(tell("instead", method, owner, argument))


# --- for operations: the recording of a thread
class _Local(local):
    recording: Any = None


_local = _Local()
# The recording of this thread. Many operations call it, so it is a function without a Python frame.
current: Callable[[], Any] = partial(getattr, _local, "recording")


def hosted() -> Any:
    """Tells observers of a call of NumPy that the caller's caller makes; returns the thread's recording."""
    tell("hosted", sys._getframe(2))
    return _local.recording


def is_recording() -> bool:
    """True while this thread records a function."""
    return _local.recording is not None


def is_written() -> bool:
    """True while this thread's run is recorded to be written in another form (`tape/calls.py`)."""
    return _local.recording is not None and _local.recording.keeps


def refuse(what: str, remedy: str) -> None:
    """Called by operations that a replay cannot repeat: a recorded step then runs eagerly."""
    if _local.recording is not None:
        _local.recording.refuse(what, remedy)


def pass_over() -> None:
    """Called if this run is unlike later ones, such as the first run of a lazy layer: it is not replayed, but
    later runs may be recorded."""
    if _local.recording is not None:
        _local.recording.passing = True


def value_read(how: str, tensor: Any = None) -> None:
    """Called before an array's values go to Python, where a replay would not notice that they differ."""
    if observers:
        tell("read", how, tensor)


def place() -> str:
    """File and line of the innermost call from outside the library, Python's own and installed packages."""
    frame: Any = sys._getframe(1)
    outside = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith((_PACKAGE, "<frozen")):
            outside = outside or f"{file}:{frame.f_lineno}"
            if not (file.startswith(_PYTHON) or "-packages" in file):
                return f"{file}:{frame.f_lineno}"
        frame = frame.f_back
    return outside or "an unknown line"


def package() -> str:
    """The folder whose code is the library's own."""
    return _PACKAGE


_core._set_observers(
    observers,
    lambda function, *inputs: through("apply", function._apply, function)(*inputs),
    lambda tensor: tell("gradient_read", tensor),
)


# --- forked processes
class Lock(RLock):  # type: ignore[misc]  # which is not final
    """A lock that is free in a forked child, which does not have the thread that held it."""

    def __init__(self) -> None:
        _locks.add(self)


def _forget_others() -> None:
    """Called in a forked child: drops the state of the other threads, which do not exist there."""
    running[:] = [thread for thread in running if thread == get_ident()]
    for lock in _locks:
        if not lock._is_owned():  # type: ignore[attr-defined]
            lock._at_fork_reinit()  # type: ignore[attr-defined]


if hasattr(os, "register_at_fork"):  # Windows has no fork
    os.register_at_fork(after_in_child=_forget_others)
