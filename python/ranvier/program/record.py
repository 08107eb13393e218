"""One eager run of a function, recorded."""

from __future__ import annotations

import contextlib
from _thread import _count as other_threads
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.recording import Recording, package
from ranvier.autograd.tensor import Tensor
from ranvier.program.arguments import Arguments
from ranvier.program.reads import Reads
from ranvier.program.signature import environment, filled, flattened

__all__ = ["detached", "record"]

Array = np.ndarray[Any, Any]


def record(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    tensors: bool = False,
    read: bool = True,
    forward_only: bool = False,
    program: Any = None,
) -> tuple[Any, Recording, list[Array]]:
    """Runs the step once, eagerly and recorded: (its result, the recording, its arrays among the arguments).

    tensors: arrays of NumPy arrive as Tensors. read: whether to note the user's code that runs.
    forward_only: the function is the forward pass of a model; where it returns an argument, as dropout in
    evaluation mode does, the result is a copy, so that a replay can make it in new memory.
    program: of the core, run beside the step and compared with it; `check` of the recording then knows what
    differs.
    """
    recorded = Recording(_core.Recording(package()))
    arguments = Arguments(recorded, args, kwargs, tensors)
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    recorded.reads = Reads(arguments.has_arrays, code)
    if program is not None:
        recorded.check = _core.Check(program, recorded.core, tuple(arguments.arrays))
    settings = environment()
    try:
        with arguments, recorded, recorded.reads if read else contextlib.nullcontext():
            result = function(*arguments.args, **arguments.kwargs)
            if forward_only:
                result = _arguments_cloned(result, recorded)
    except BaseException:
        recorded.check = None  # a traceback would keep it, and its copies of the state
        raise
    if environment() != settings:
        if other_threads():  # one of them may have changed it
            recorded.passing = True
        elif not recorded.fault:
            recorded.fault = (
                "the step changes a setting of the library (threads, Winograd, subnormal numbers, level, "
                "gradients), which a replay would not; do that outside the step"
            )
    if not (forward_only or tensors):
        result = arguments.result(result)
    return result, recorded, arguments.arrays


def detached(result: Any) -> Any:
    """The result of a step off the tape."""
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    if not any(t._grad_fn for t in tensors):
        return result
    return filled(form, [t.detach() if t._grad_fn is not None else t for t in tensors])


def _arguments_cloned(result: Any, recorded: Recording) -> Any:
    """The result with a clone of each Tensor that shares memory with an argument."""
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    cloned = {id(t): t.clone() for t in tensors if recorded.core.kind_of(t._array) == "argument"}
    return filled(form, [cloned.get(id(t), t) for t in tensors]) if cloned else result
