"""What the eager layers tell a capture: see `ranvier.program`.

While a step is captured (`rv.compile`), its kernel calls are recorded by the core. What the core cannot know
is said here: which arrays made by NumPy are constants, which values were read, which leaves got gradients,
which modules and optimizers took part. Outside a capture each of these is the test of an empty list.
"""

from __future__ import annotations

import os
import sys
import weakref
from _thread import _local as local  # as in mode.py
from typing import Any

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep

# One entry for each thread that captures now; while it is empty nobody asks which thread that is.
captures: list[Capture] = []


class Capture:
    """One capture of a step: the core's recording, and what the Python layers add to it."""

    def __init__(self, recording: Any) -> None:
        self.recording = recording
        self.reads: Any = None  # what Python code the step runs: program/reads.py
        self.fault = ""  # the first reason why the step cannot be replayed
        self.passing = False  # this run is like no other: it is not to be replayed, but the next may be
        # tensors that got gradients: the older ones that they were added to, the arrays of those, and whether
        # they were not dropped by the step itself before
        self.leaves: dict[int, tuple[Any, Any, Any, bool]] = {}
        self.changed: dict[int, Any] = {}  # tensors that outlive the step and were changed in place
        self.zeroed: dict[int, Any] = {}  # those whose gradients the step itself has dropped
        self.dropped: dict[int, tuple[Any, Any]] = {}  # and the arrays of those, where there were some
        self.arguments: list[tuple[Any, Any]] = []  # the caller's array and the step's copy of each
        self.modules: dict[int, Any] = {}
        self.plans: list[tuple[Any, Any, Any]] = []  # (plan, optimizer, group) of each optimizer step

    def __enter__(self) -> Capture:
        captures.append(self)
        _local.capture = self
        self.recording.begin()
        return self

    def __exit__(self, *error: object) -> None:
        self.recording.end()
        _local.capture = None
        captures.remove(self)

    def gets_gradient(self, leaf: Any) -> None:
        """Called before a gradient is added to that of a leaf."""
        if id(leaf) not in self.leaves:
            grad = leaf.grad
            array = None if grad is None else weakref.ref(grad._array)  # autograd asks who else holds it
            self.leaves[id(leaf)] = leaf, grad, array, id(leaf) not in self.zeroed

    def drops_gradient(self, leaf: Any) -> None:
        """Called before the gradient of a leaf is set to None."""
        self.zeroed[id(leaf)] = leaf
        if leaf.grad is not None and id(leaf) not in self.leaves:
            self.dropped.setdefault(id(leaf), (leaf, leaf.grad._array))

    def changes(self, tensor: Any) -> None:
        """Called after a change in place: replays count it, too, of tensors that outlive the step."""
        array = tensor._array
        if self.recording.kind_of(array) == "persistent":
            self.changed[id(tensor)] = tensor
        for original, copy in self.arguments:
            if np.may_share_memory(array, copy) and original.flags.writeable:
                original[...] = copy
            elif np.may_share_memory(array, original):
                copy[...] = original
                self.refuse(
                    "the step changes memory that one of its arguments shares",
                    "pass a copy of that argument",
                )

    def refuse(self, what: str, remedy: str) -> None:
        """Notes why the step cannot be captured. The step itself goes on."""
        if not self.fault:
            self.fault = f"{what} at {place()}; {remedy}"


class _Local(local):
    capture: Capture | None = None


_local = _Local()


def current() -> Capture | None:
    """The capture of this thread."""
    return _local.capture


def keep(array: Any) -> Any:
    """The array itself; a capture takes it for a constant, or for state that outlives the step."""
    if captures and _local.capture is not None:
        _local.capture.recording.keep(array)
    return array


def references(array: Any) -> int:
    """How many references to an array the recording of this thread holds."""
    return 0 if _local.capture is None else int(_local.capture.recording.references(array))


def refuse(what: str, remedy: str) -> None:
    """Called by what no replay repeats."""
    if _local.capture is not None:
        _local.capture.refuse(what, remedy)


def value_read(how: str) -> None:
    """Called before an array's values go to Python: a replay would not see that they have changed."""
    refuse(
        f"{how} reads a value", "a replay computes no Python values: return the Tensor and read it outside"
    )


def place() -> str:
    """File and line of the innermost call from outside the library."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown line"


def package() -> str:
    """The folder whose code is the library's own."""
    return _PACKAGE
