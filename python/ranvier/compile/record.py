"""Records one eager run of a function, and finds out whether a replay could repeat it.

While `record` runs the function, the core keeps its kernel calls, `step_arguments.py` watches what is done
with the arguments, and `traced_code.py` notes the code that runs. The other functions here give the
reason why a replay would not give the result of the run, or the result of a second run.
"""

from __future__ import annotations

import contextlib
import gc
from _thread import _count as other_threads
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding.origins import PACKAGE
from ranvier.compile.guarding.program_guards import may_change
from ranvier.compile.guarding.signature import filled, flattened, parts_of, tensors_of
from ranvier.compile.guarding.traced_code import TracedCode
from ranvier.compile.step_arguments import Arguments
from ranvier.nn import Module
from ranvier.tape.autocast import casts
from ranvier.tensors.data import Size
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.compile.program import Program

_RETURNABLE = (type(None), Tensor, Size, bool, int, float, complex, str, bytes, np.generic, Enum, Module)

_MOST_CONTAINERS = 256  # containers in a result; each is compared with all others, by identity
CHANGES_SETTINGS = "the step changes the settings of its optimizer (a schedule?); do that outside"


class CaptureError(RuntimeError):
    """A step that cannot be replayed: the message names the line and the remedy.

    The step itself has run once, eagerly; ``result`` is what it returned.
    """

    def __init__(self, why: str, result: object = None) -> None:
        super().__init__(why)
        self.result = result
        # Whether the reason is that the step keeps a Tensor. A step that stores something in its first call
        # only may be recorded at a later call.
        self.kept = False

    def __str__(self) -> str:
        return f"[compile] {self.args[0]}"


class OneCall(NamedTuple):
    """One call of a compiled function. key: its signature. arrays: the arrays among the arguments, in
    order."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    key: Any = None
    arrays: Any = ()


class Run(NamedTuple):
    """A recorded call: its result, its recording and its arguments."""

    result: Any
    recording: Recording
    arguments: Arguments


def record(
    function: Callable[..., Any],
    call: OneCall,
    policy: Any,
    known: TracedCode | None,
    program: _core.Program | None,
) -> Run:
    """Runs the step once, eagerly and recorded.

    policy: the policy of the compiled function. If the function is the forward pass of a model and returns an
    argument, as dropout in evaluation mode does, `policy.clones` makes the result a copy, so that a replay
    can make it in new memory. Without `clones` the library itself has decided to record, not the user.
    known: of a step without code of the user's, the code that its guards were made from; no other is noted.
    None: the code that runs is noted.
    program: a `_core.Program` that runs beside the step and is compared with it, or None; the differences are
    then in `check` of the recording.
    """
    recorded = Recording(_core.Recording(PACKAGE))
    recorded.wanted = policy.clones
    arguments = Arguments(recorded, call.args, call.kwargs, policy.as_tensors)
    recorded.traced = known or TracedCode(arguments.has_arrays)
    if program is not None:
        recorded.check = _core.Check(program, recorded.core, arguments.arrays)
    # The signature of a call without arguments has nothing but the library's settings (default dtype ...).
    settings = _core._signature((), {}, False)
    # An empty cache of autocast, so that the casts of weights are recorded, and each replay makes them.
    kept = casts.kept
    casts.kept = {}
    noted = recorded.traced if known is None else contextlib.nullcontext()
    try:
        with arguments, recorded, noted:
            result = function(*arguments.args, **arguments.kwargs)
            unlike = _why_not_plain(result, [], [*call.args, *call.kwargs.values()])
            if policy.forward_only and policy.clones and not unlike:
                result = _arguments_cloned(result, recorded)
    except BaseException:
        recorded.check = None  # else the traceback would keep the check, with its copies of the state
        recorded.__exit__()  # once more, since a signal may have come while the recording began
        raise
    finally:
        casts.kept = kept
    _compare_settings(recorded, settings)
    if not (policy.forward_only or policy.as_tensors):
        with contextlib.suppress(RecursionError):  # A result that contains itself raises it.
            result = arguments.callers(result)
    # The first reason stays: of the Python layers, of the core, of the code that ran, of the result's form.
    for fault in (recorded.core.fault, recorded.traced.fault, unlike):
        if not recorded.fault:
            recorded.fault = fault
    if not (recorded.fault or policy.forward_only) and any(map(_has_tape, tensors_of(result))):
        recorded.fault = (
            "the step returns a Tensor whose gradients can still be computed, and a replay makes no tape; "
            "call backward() in it, or call it under rv.no_grad()"
        )
    return Run(result, recorded, arguments)


def _compare_settings(recorded: Recording, before: tuple[_core.Signature, Any] | str) -> None:
    """After the run, refuses a step that has changed a setting of the library.

    If another thread may have changed the setting, or data of the step, the run only passes
    (`Recording.passing`): it gives no program, and a later one may.
    """
    if recorded.check is not None and other_threads() and recorded.check.disturbed():
        # Another thread has drawn from a random stream of the program, so the run cannot be compared with the
        # replay.
        recorded.passing = True
        recorded.check = None
    if _core._signature((), {}, False) == before:
        return
    if other_threads():
        recorded.passing = True
    elif not recorded.fault:
        recorded.fault = (
            "the step changes a setting of the library (threads, precision of products, a default, "
            "gradients ...), which a replay would not; do that outside the step"
        )


def detached(result: object) -> Any:
    """The result of a step, with detached Tensors in place of those that have a tape."""
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    if not any(t._grad_fn for t in tensors):
        return result
    return filled(form, list(map(_off_tape, tensors)))


def _off_tape(tensor: Tensor) -> Tensor:
    return tensor if tensor._grad_fn is None else tensor.detach()


def _arguments_cloned(result: object, recorded: Recording) -> Any:
    """The result with a clone of each Tensor that shares memory with an argument."""
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    cloned = {id(t): t.clone() for t in tensors if recorded.core.kind_of(t._array) == "argument"}
    if cloned:
        return filled(form, [cloned.get(id(t), t) for t in tensors])
    return result


def _has_tape(x: Tensor) -> bool:
    """True if backward() could still be called on a result: no node of its graph has been freed. With one
    freed node it would raise an error."""
    stack = [x._grad_fn]
    seen = set()
    while stack:
        node = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if getattr(node, "released", False):
            return False
        stack.extend(node.edges)
    return x._requires_grad and x._grad_fn is not None


def require_replayable(recording: Recording, kinds: list[str], expected: list[Array], result: object) -> None:
    """Raises CaptureError if a replay could not make the results.

    kinds: the kinds of the memory of the results' Tensors (see `build.py`). expected: the arrays of results
    and gradients, the only new arrays that may outlive the step.
    """
    fault = ""
    held = None
    if "argument" in kinds:
        fault = "the step returns one of its arguments; return a clone() of it"
    elif any(map(_is_new_leaf, tensors_of(result), kinds)):
        fault = "the step returns a leaf that it has made, which a replay would not make; return a detach()"
    elif "foreign" in kinds:
        fault = (
            "the step returns an array that NumPy made, which a replay would not make again; make it outside "
            "the step"
        )
    else:
        held = recording.core.still_referenced(expected)
        if held is not None:  # perhaps only by a reference cycle, which the garbage collector frees
            gc.collect()
            held = recording.core.still_referenced(expected)
    if held is not None:
        fault = (
            f"the result of {held} is still referenced after the step, and a replay would not renew it; "
            "return it, or let it go"
        )
    if fault:
        error = CaptureError(fault, result)
        error.kept = held is not None
        raise error


def _is_new_leaf(x: Tensor, kind: str) -> bool:
    """True if the step has made the Tensor x, and made it a leaf of the tape."""
    return kind == "temporary" and x._grad_fn is None and (x._requires_grad or x._grad is not None)


def holds_any(result: object, reached: dict[Any, Any]) -> bool:
    """True if a result has a list or dict that the step also reads. reached: the values read, by id
    (`Guards.seen`, and the groups of optimizers)."""
    items = parts_of(result)
    if items is None:
        return False
    read = type(result) is not tuple and reached.get(id(result)) is result
    return read or any(holds_any(item, reached) for item in items)


def difference(
    program: Program,
    recording: Recording,
    settings: list[tuple[float, ...]] | None,
    changed: str,
    other: str,
) -> str:
    """The difference between a replay and the eager run of the step that was recorded beside it, or "".

    Says of the program whether its next check needs a recording (`Program.may_compare`).

    settings: the optimizers' numbers before the run. changed: the text of the first guard that does not hold
    after it, or "". other: how the kernel calls of the run differ from the program's, or "".
    """
    fault = ""
    if changed and not may_change(changed):
        fault = (
            f"the step changes {changed} each time it runs, which a replay would not; do that outside the "
            "step, or pass it as an argument"
        )
    elif other:
        fault = f"the step does not do the same each time: {other}"
    elif program.settings() != settings:
        fault = CHANGES_SETTINGS
    if recording.check is not None:
        if not fault:
            fault = recording.check.finish()
            program.may_compare = recording.check.is_complete()
        recording.check = None
    return fault


def _why_not_plain(result: object, seen: list[Any], given: list[Any]) -> str:
    """The reason why a replay could not return such a result, or "".

    seen: receives the containers in the result. given: the arguments of the call. An argument that is no
    array is compared by identity in the signature, so a replay can return the same object (a cache).
    """
    kind = type(result)
    parts = parts_of(result)
    if parts is not None:
        if (kind is not tuple and any(x is result for x in seen)) or len(seen) > _MOST_CONTAINERS:
            return f"the step returns the same {kind.__name__} in two places, or hundreds; return it once"
        seen.append(result)
        for part in parts:
            fault = _why_not_plain(part, seen, given)
            if fault:
                return fault
        return ""
    if isinstance(result, Tensor) and result.__dict__:
        return "the step sets an attribute of a result; set it outside"
    if isinstance(result, _RETURNABLE) or (kind is not np.ndarray and any(x is result for x in given)):
        return ""
    return (
        f"the step returns a {kind.__name__}, which a replay would not make again; return Tensors, plain "
        "values, a tuple, list, dict, OrderedDict or dataclass of them, or an object that it is given"
    )
