"""What NumPy computes inside a compiled step: a replay calls NumPy again.

``host(function, *operands)`` is ``function(*operands)``. While a step is recorded, the core notes the call as
an instruction, if NumPy has made the result. In a replay the function gets arrays on the program's memory;
what it returns is copied to where the program has the result. So the function may depend on nothing but its
operands, and the shapes of its results follow from those of the operands. Where a replay finds other shapes,
or an exception is raised, all is put back, and the step runs eagerly.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.recording import Recording, current, paused, recordings

__all__ = ["Call", "host", "host_in_place"]

Array = np.ndarray[Any, Any]
_CONSTANT = (np.ndarray, np.generic, np.dtype, int, float, str, slice, type(None), type(...))
_MOST_ARRAYS, _MOST_DIMENSIONS = 16, 8  # that an instruction takes


def host(function: Callable[..., Any], *operands: Any) -> Any:
    """function(*operands): an array, or a tuple of arrays, that follow from the operands alone.

    Operands that are no arrays are constants of the step. The function keeps no array, and changes none.
    """
    recording = current() if recordings else None
    return function(*operands) if recording is None else _recorded(recording, function, operands)


def host_in_place(function: Callable[..., Any], target: Array, *operands: Any) -> None:
    """function(target, *operands), which changes the elements of the target alone."""
    recording = current() if recordings else None
    if recording is None:
        function(target, *operands)
        return
    operands = target, *operands
    call = _FunctionCall(_Changed(function), operands)
    if not (call.fits(_arrays(operands), [target]) and _are_constant(operands)):
        recording.refuse("a change in place by NumPy", "make a new tensor instead")
        function(*operands)
        return
    with paused():
        (changed,) = call.function(*operands)
    recording.core.host(call, _arrays(operands), [changed], target)


def _recorded(recording: Recording, function: Callable[..., Any], operands: tuple[Any, ...]) -> Any:
    if not _are_constant(operands):
        return function(*operands)
    with paused():
        made = function(*operands)
    parts = [np.asarray(part) for part in (made if isinstance(made, tuple) else (made,))]
    call = _FunctionCall(function, operands)
    call.kept = [i for i, part in enumerate(parts) if recording.core.kind_of(part) == "foreign"]
    arrays, kept = _arrays(operands), [parts[i] for i in call.kept]
    if kept and call.fits(arrays, kept):
        for i, array in zip(call.kept, recording.core.host(call, arrays, kept, None), strict=True):
            parts[i] = array
    return tuple(parts) if isinstance(made, tuple) else parts[0]


class _Changed:
    """A function that changes its first argument, as one that returns a changed copy."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function

    def __call__(self, target: Array, *operands: Any) -> tuple[Array]:
        changed = np.array(target, order="K", subok=False)
        self.function(changed, *operands)
        return (changed,)


def _are_constant(operands: Any) -> bool:
    """Whether the operands that are no arrays hold none, as a list of Tensors does."""
    for x in operands:
        if isinstance(x, (tuple, list)):
            if any(isinstance(part, np.ndarray) for part in x) or not _are_constant(x):
                return False
        elif not isinstance(x, _CONSTANT) and not callable(x):
            return False
    return True


def _arrays(operands: tuple[Any, ...]) -> list[Array]:
    return [x for x in operands if isinstance(x, np.ndarray)]


class Call:
    """What a replay calls, with the arrays that the instruction reads.

    Attributes:
        kept: the numbers of the results that the instruction writes.
    """

    kept: list[int]

    def run(self, arrays: tuple[Array, ...]) -> Any:
        raise NotImplementedError

    def fits(self, read: list[Array], made: list[Any]) -> bool:
        """Whether an instruction takes these arrays."""
        return len(read) + len(made) <= _MOST_ARRAYS and all(x.ndim <= _MOST_DIMENSIONS for x in read)

    def __call__(self, *arrays: Array) -> tuple[Array, ...] | None:
        """The results, or None where an exception was raised: the eager step raises it, too."""
        try:
            with paused():
                made = self.run(arrays)
        except Exception as error:
            if _is_of_signal(error):
                raise
            return None
        parts = made if isinstance(made, tuple) else (made,)
        if len(parts) <= self.kept[-1]:
            return None
        return tuple([np.asarray(parts[i]) for i in self.kept])


class _FunctionCall(Call):
    """A function with its constants."""

    def __init__(self, function: Callable[..., Any], operands: tuple[Any, ...]) -> None:
        self.function, self.kept = function, [0]
        self.constants = [None if isinstance(x, np.ndarray) else x for x in operands]
        self.places = [i for i, x in enumerate(operands) if isinstance(x, np.ndarray)]

    def run(self, arrays: tuple[Array, ...]) -> Any:
        operands = [*self.constants]
        for place, array in zip(self.places, arrays, strict=True):
            operands[place] = array
        return self.function(*operands)


def _is_of_signal(error: Exception) -> bool:
    """Whether a signal handler has raised it, which came just then."""
    handlers: list[Any] = [signal.getsignal(number) for number in signal.valid_signals()]
    codes = [handler.__code__ for handler in handlers if hasattr(handler, "__code__")]
    traceback = error.__traceback__
    while traceback is not None:
        if any(traceback.tb_frame.f_code is code for code in codes):
            return True
        traceback = traceback.tb_next
    return False
