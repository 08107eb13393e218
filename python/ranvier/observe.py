"""Observers: objects that follow the operations of a run, such as a recording or an exporter of models.

While a thread has an observer of Functions, the core makes every operation a call of `Function.apply`, in the
order of the program. While it has any observer, no call is replayed, unless the observer allows it. Without
an observer, an operation only tests a number, or whether the list `observers` is empty.

Functions, Tensors and modules are `Any` here, as they belong to folders above this file.

A *recording* (compile/record.py) is what a thread has while the kernel calls of a compiled function are
stored. Operations that a replay could not repeat say so to it, by the functions in the middle of this file.
"""

from __future__ import annotations

import os
import sys
from _thread import (
    RLock,
    _local as local,  # threading.local, without the import of threading
    get_ident,
)
from collections.abc import Callable, Sequence
from functools import partial
from types import FrameType
from typing import Any
from weakref import WeakSet

import ranvier._core as _core

__all__ = ["Observer", "observers"]

observers: list[Observer] = []  # the observers of all threads
# ids of threads in which compiled functions run eagerly: one entry for each such run, which the core adds and
# removes (`_run_eagerly`)
running: list[int] = []
_locks: WeakSet[Lock] = WeakSet()  # all locks of the library, for forked processes
_PYTHON = os.path.dirname(os.__file__) + os.sep  # the folder of Python's own library
_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep


class Observer(_core._ObserverBase):
    """Follows what a thread computes inside ``with observer:``. A subclass has the methods that it needs:
    recordings (tensors/recording.py), exporters (tape/calls.py), tools such as those of tape/trace.py.

    A method with the parameter `run` takes the place of an operation: ``run(*inputs)`` makes the operation.
    The base class, of the core, adds the observer to `observers` for the time of the block.

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
    allows_replays = False  # True if compiled functions may be replayed while it observes
    follows_functions = False  # True if it has `apply`
    thread = 0  # the thread that has entered the block

    def __init_subclass__(cls) -> None:
        cls.follows_functions = cls.apply is not Observer.apply

    def apply(self, run: Callable[..., Any], function: Any, *inputs: Any) -> Any:
        """``function.apply(*inputs)``"""
        return run(*inputs)

    def call(self, run: Callable[..., Any], module: Any, *args: Any, **kwargs: Any) -> Any:
        """``module(*args, **kwargs)``"""
        return run(*args, **kwargs)

    def computed(self, name: str, inputs: Sequence[Any], result: Any, **settings: Any) -> None:
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

    def instead(self, method: str, owner: object, argument: object) -> bool:
        """True if the observer takes the place of backward, or of step or zero_grad of an optimizer or
        module."""
        return False


def _observers_of_thread() -> list[Observer]:
    """The observers that follow this thread."""
    thread = get_ident()
    found = []
    for one in tuple(observers):  # a copy, because another thread may remove an observer meanwhile
        if one.everywhere or one.thread == thread:
            found.append(one)
    return found


def tell(event: str, *args: Any) -> list[Any]:
    """Calls the method `event` of each observer of this thread, and returns their results."""
    return [getattr(observer, event)(*args) for observer in _observers_of_thread()]


def through(event: str, run: Callable[..., Any], owner: object) -> Callable[..., Any]:
    """`run`, wrapped by the method `event` ("apply" or "call") of each observer of this thread that has it;
    the first observer is innermost. owner: the Function or module to which `run` belongs."""
    of_base = getattr(Observer, event)
    for observer in _observers_of_thread():
        if getattr(type(observer), event) is not of_base:
            run = partial(getattr(observer, event), run, owner)
    return run


def observed(event: str, run: Callable[..., Any]) -> Callable[..., Any]:
    """A function like ``run(owner, ...)``, each call of which goes through the observers of this thread."""

    def call(owner: object, *args: Any, **kwargs: Any) -> Any:
        wrapped = through(event, partial(run, owner), owner)
        return wrapped(*args, **kwargs)

    return call


def computed(name: str, inputs: Sequence[Any], result: Any, **settings: Any) -> Any:
    """Tells observers of an operation that may be no Function, and returns its result."""
    if observers:
        for observer in _observers_of_thread():
            observer.computed(name, inputs, result, **settings)
    return result


def may_replay() -> bool:
    """True if calls of this thread may be replayed: no observer has to see each operation."""
    return not observers or all(observer.allows_replays for observer in _observers_of_thread())


def is_replaced(method: str, owner: object, argument: object = None) -> bool:
    """True if an observer takes the place of this method (backward, step, zero_grad) of the owner."""
    return any(tell("instead", method, owner, argument))


# --- for operations: the recording of a thread


class _Local(local):
    # A Recording (tensors/recording.py), which this module does not know. That file sets it.
    recording: Any = None
    # True while an eager call is compared with a replay. compile/comparison.py sets it.
    compares: bool = False


_local = _Local()
# The recording of this thread. Many operations call it, so it is a function without a Python frame.
current: Callable[[], Any] = partial(getattr, _local, "recording")


def hosted() -> Any:
    """Tells observers of a call of NumPy that the caller's caller makes; returns the thread's recording.

    `host` and `host_in_place` must call it directly: frame 2 is then the function that has called these."""
    tell("hosted", sys._getframe(2))
    return _local.recording


def is_recording() -> bool:
    """True while this thread records a function."""
    return _local.recording is not None


def is_compiling() -> bool:
    """True while this thread records a function that the user has compiled, or compares it with a replay.

    The library may also record without being asked; then the answer is False.
    """
    if _local.recording is None:
        return _local.compares
    return bool(_local.recording.wanted)


def is_written() -> bool:
    """True while this thread's run is recorded to be written in another form (`tape/calls.py`)."""
    return _local.recording is not None and _local.recording.keeps


def refuse(what: str, remedy: str) -> None:
    """Called by operations that a replay cannot repeat: a recorded step then runs eagerly."""
    if _local.recording is not None:
        _local.recording.refuse(what, remedy)


def leave_unrecorded() -> None:
    """Called if this run is unlike later ones, such as the first run of a lazy layer: it is not replayed, but
    later runs may be recorded."""
    if _local.recording is not None:
        _local.recording.passing = True


def value_read(how: str, tensor: Any = None) -> None:
    """Called before an array's values go to Python, where a replay would not notice that they differ. how:
    names what reads them."""
    if observers:
        tell("read", how, tensor)


def place() -> str:
    """File and line of the innermost call from outside the library, Python's own and installed packages. If
    all calls are from packages: of the innermost of these."""
    frame: FrameType | None = sys._getframe(1)
    in_package = None
    while frame is not None:
        file = frame.f_code.co_filename
        is_of_library = file.startswith((_PACKAGE, "<frozen"))
        if not is_of_library:
            line = f"{file}:{frame.f_lineno}"
            is_of_package = file.startswith(_PYTHON) or "-packages" in file
            if not is_of_package:
                return line
            if in_package is None:
                in_package = line
        frame = frame.f_back
    return in_package or "an unknown line"


def callers_level() -> int:
    """The `stacklevel` of a warning, for the line at which code outside the library called the library. The
    function that warns must call this itself: level 1 is the caller's frame."""
    frame: FrameType | None = sys._getframe(1)
    level = 1
    while frame is not None and frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level = level + 1
    return level


def package() -> str:
    """The folder whose code is the library's own."""
    return _PACKAGE


def _apply_observed(function: Any, *inputs: Any) -> Any:
    """Function.apply while a thread has observers of Functions."""
    own = _observers_of_thread()
    if len(own) == 1:
        return own[0].apply(function._apply, function, *inputs)
    return through("apply", function._apply, function)(*inputs)


def _tell_gradient_read(tensor: Any) -> None:
    tell("gradient_read", tensor)


_core._set_observers(observers, _apply_observed, _tell_gradient_read)  # The core calls these two functions.


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
