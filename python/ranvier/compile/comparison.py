"""Compares a replay with an eager run that is not recorded: the later checks of a program.

The first check of a program records the run beside the replay, and notes the code that it enters
(`record.py`). From then on the guards, which hold before a run, say that it enters the same code. So a later
check only makes a replay, on copies of the memory that it changes, and the eager call. It compares what both
have left (results, gradients, parameters, state, all values that guards compare), and the kinds of kernel
calls that the eager run has made with those of the recorded run.
"""

from __future__ import annotations

from _thread import _count as other_threads
from collections.abc import Callable
from enum import Enum
from typing import Any, NamedTuple

import ranvier._core as _core
from ranvier.compile.guarding.signature import filled, flattened
from ranvier.compile.policy import Policy
from ranvier.compile.program import Program
from ranvier.compile.record import OneCall
from ranvier.observe import _local
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor


class Outcome(Enum):
    """What a comparison says of its program."""

    SAME = "the run has left what the replay has left"
    DIFFERENT = "they differ"
    UNKNOWN = "they cannot be compared without a recording, such as where a gradient has moved"
    DISTURBED = "another thread has drawn random numbers meanwhile"


class Comparison(NamedTuple):
    """A check: the result of the eager run, what is known of the program, and the difference as a text."""

    result: Any
    outcome: Outcome
    difference: str = ""


def compare(program: Program, call: OneCall, run: Callable[..., Any], policy: Policy) -> Comparison:
    """Makes the call by `run(args, kwargs)`, eagerly, and compares it with a replay.

    policy: that of the compiled function. Raises what the run raises.
    """
    settings = program.settings()
    library_settings = _core._signature((), {}, False)
    check = _core.Check(program.core, None, call.arrays)
    _local.compares = policy.clones
    try:
        result = run(call.args, call.kwargs)
    except BaseException:
        del check  # else the traceback would keep the copies of the state
        raise
    finally:
        _local.compares = False
    if policy.forward_only and policy.clones:
        # A model: an argument that it returns is a copy, as in a replay.
        result = _without_arguments(result, call.arrays)
    if check.disturbed():
        if other_threads():
            return Comparison(result, Outcome.DISTURBED)
        # The step itself has drawn more or less: a recording says where.
        return Comparison(result, Outcome.UNKNOWN)
    # What changes here is not compared with the replay: a recording says what it is.
    unchanged = not program.guards.changed() and program.settings() == settings
    if not unchanged or _core._signature((), {}, False) != library_settings:
        return Comparison(result, Outcome.UNKNOWN)
    tensors: list[Tensor] = []
    flattened(result, tensors)
    new_tensors = program.results.new_among(tensors)
    if new_tensors is None:
        return Comparison(result, Outcome.UNKNOWN)
    try:
        difference = check.compare([tensor._array for tensor in new_tensors])
        if difference == "":
            program.core.adopt_gradients()
    except MemoryError:  # The step has run. A later call may have enough memory.
        return Comparison(result, Outcome.UNKNOWN)
    if difference is None:
        return Comparison(result, Outcome.UNKNOWN)
    if difference:
        return Comparison(result, Outcome.DIFFERENT, f"the step does not do the same each time: {difference}")
    return Comparison(result, Outcome.SAME)


def _without_arguments(result: object, arguments: list[Array]) -> Any:
    """The result with a clone of each Tensor that shares memory with an argument."""
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    if not _core.share_memory([tensor._array for tensor in tensors], arguments):
        return result
    for i, tensor in enumerate(tensors):
        if _core.share_memory([tensor._array], arguments):
            tensors[i] = tensor.clone()
    return filled(form, tensors)
