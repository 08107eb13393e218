"""Recording: one eager run of a function that `rv.compile` records (see `ranvier.program`).

The core records the kernel calls. The layers above add what the core cannot see: which arrays made by NumPy
are constants, which values were read, which leaves got gradients, which modules and optimizers took part.
While nothing is recorded, each of these functions only tests whether a list is empty.
"""

from __future__ import annotations

import os
import sys
from _thread import _local as local  # as in mode.py
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ranvier._core as _core

_PYTHON = os.path.dirname(os.__file__) + os.sep
_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

# One entry for each thread that records now. While it is empty, the thread need not be looked up.
recordings: list[Recording] = []


class Recording:
    """The core's recording of a run, and what the Python layers add to it.

    Attributes:
        core: the kernel calls and the memory that they use.
        executed: the Python code that ran (`program/executed.py`).
        fault: the first reason why the run cannot be replayed, or "".
        passing: this run is an exception: it is not replayed, but a later one may be.
        leaves: (tensor, its gradient before the run, whether the run first adds to that) of each tensor whose
            gradient the run makes, adds to, sets or drops, by id.
        changed: tensors that outlive the run and were changed in place.
        arguments: the arrays among the arguments.
        modules: the modules that were called.
        plans: (plan, optimizer, group) of each optimizer step.
        check: of a program beside this run (`_core.Check`), or None.
    """

    def __init__(self, core: Any) -> None:
        self.core = core
        self.executed: Any = None
        self.fault = ""
        self.passing = False
        self.leaves: dict[int, tuple[Any, Any, bool]] = {}
        self.changed: dict[int, Any] = {}
        self.arguments: list[Any] = []
        self.modules: dict[int, Any] = {}
        self.plans: list[tuple[Any, Any, Any]] = []
        self.check: Any = None

    def __enter__(self) -> Recording:
        recordings.append(self)
        _local.recording = self
        self.core.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.core.end()
        _local.recording = None
        recordings.remove(self)

    def gets_gradient(self, leaf: Any) -> None:
        """Called before a gradient is added to that of a leaf."""
        if id(leaf) not in self.leaves:  # no reference to the array: autograd counts them
            self.leaves[id(leaf)] = leaf, leaf.grad, True

    def sets_gradient(self, leaf: Any) -> None:
        """Called before the gradient of a leaf becomes another Tensor, or None."""
        if id(leaf) not in self.leaves:
            self.leaves[id(leaf)] = leaf, leaf.grad, False

    def changes(self, tensor: Any) -> None:
        """Called after a change in place: replays count it, too, of tensors that outlive the step."""
        array = tensor._array
        if self.core.kind_of(array) == "persistent":
            self.changed[id(tensor)] = tensor
        if _core.share_memory([array], self.arguments):
            self.refuse("the step changes memory of one of its arguments", "change a clone() of it")

    def refuse(self, what: str, remedy: str) -> None:
        """Notes why the step cannot be replayed. The step itself continues."""
        if not self.fault:
            self.fault = f"{what} at {place()}; {remedy}"


class _Local(local):
    recording: Recording | None = None


_local = _Local()


def current() -> Recording | None:
    """The recording of this thread."""
    return _local.recording


def is_recording() -> bool:
    """Whether this thread records a function."""
    return bool(recordings) and _local.recording is not None


@contextmanager
def paused() -> Iterator[None]:
    """A block whose calls this thread's recording does not note."""
    recording = _local.recording if recordings else None
    if recording is None:
        yield
        return
    _local.recording = None
    recording.core.pause(True)
    try:
        yield
    finally:
        recording.core.pause(False)
        _local.recording = recording


def references(array: Any) -> int:
    """How many references to an array the recording of this thread holds."""
    return 0 if _local.recording is None else int(_local.recording.core.references(array))


def refuse(what: str, remedy: str) -> None:
    """Called by operations that a replay cannot repeat."""
    if _local.recording is not None:
        _local.recording.refuse(what, remedy)


def pass_over() -> None:
    """Called where this run is an exception, as the first of a lazy layer: a later one may be replayed."""
    if _local.recording is not None:
        _local.recording.passing = True


def value_read(how: str) -> None:
    """Called before an array's values go to Python: a replay would not see that they have changed."""
    refuse(
        f"{how} reads a value", "a replay computes no Python values: return the Tensor and read it outside"
    )


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
