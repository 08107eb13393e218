"""Builds a program from a recorded run, for `CompiledFunction`.

The run has left kernel calls, results and gradients, and has read values in Python. `build` puts these
together, and raises CaptureError with the reason where a replay could not do what the run has done.
The core sorts the memory that a run uses into kinds: "temporary" (allocated by the core during the run),
"argument", "persistent" (existed before the run) and "foreign" (made by NumPy during the run).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding import step_gradients
from ranvier.compile.guarding.program_guards import ProgramGuards
from ranvier.compile.guarding.signature import flattened
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.policy import Policy
from ranvier.compile.program import Program
from ranvier.compile.record import CHANGES_SETTINGS, CaptureError, Run, holds_any, require_replayable
from ranvier.compile.results import Results
from ranvier.grad_mode import mode
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor


def build(
    run: Run, key: _core.Signature, function: Callable[..., Any], policy: Policy, walk: Walk | None = None
) -> Program:
    """The program of a recorded run. Raises CaptureError where a replay could not repeat it.

    key: the signature of the call. function: the one that ran.
    walk: the guards of a step that is the library's own (a Trainer's), which were found before the run; None:
    they are found here, from the code that ran.
    """
    result = run.result
    recording = run.recording
    arguments = run.arguments.arrays
    tensors: list[Tensor] = []
    form = flattened(result, tensors)  # appends the result's Tensors to `tensors`
    kinds = [recording.core.kind_of(t._array) for t in tensors]
    fixed = list(map(_if_persistent, tensors, kinds))
    results = Results(form, fixed, tensors)
    outputs = [t._array for t, kind in zip(tensors, kinds, strict=True) if kind == "temporary"]
    # Before `left_by`: else leaves that end with the step would count as leaves with a gradient to leave.
    step_gradients.forget_local(recording)
    gradients = step_gradients.left_by(recording)
    kept = [g._array for _, g in gradients if recording.core.kind_of(g._array) == "temporary"]
    require_replayable(recording, kinds, outputs + kept, result)
    modules = _lasting(recording.modules)
    core = _core.Program(recording.core, arguments, outputs, kept, _watched(modules))
    leaves = [leaf for leaf, _ in gradients]
    roots = [(function, "the step"), *run.arguments.others]
    # `walk is None` is the field `users`: without such a walk, code of the user's may have run.
    guards = ProgramGuards(core, recording.plans, leaves, roots, policy.forward_only, walk is None)
    fault = guards.from_run(recording, modules, fixed, walk)
    if not fault:
        fault = step_gradients.shared(kept)
    if not fault:
        fault = step_gradients.odd(recording, gradients)
    if not fault:
        fault = _shares_memory(recording, arguments, guards)
    if not fault and holds_any(result, guards.walk.seen | _param_groups(recording)):
        fault = "the step returns a list or dict that it reads, which a replay would copy; return what is new"
    if fault:
        raise CaptureError(fault, result)
    results.find_makers(tensors, gradients, guards.walk.tensors)
    left, changed = step_gradients.changes(recording, kept)
    return Program(core, key, recording.plans, modules, results, guards, changed, left)


def _if_persistent(tensor: Tensor, kind: str) -> Tensor | None:
    """A Tensor of the result, if it existed before the run. kind: that of its memory."""
    return tensor if kind == "persistent" else None


def _param_groups(recording: Recording) -> dict[int, Any]:
    """The settings of all optimizers that took part in the run, by the id of each group."""
    groups: dict[int, Any] = {}
    for _, optimizer, _ in recording.plans:
        for group in optimizer.param_groups:
            groups[id(group)] = group
    return groups


def _shares_memory(recording: Recording, arguments: list[Array], guards: ProgramGuards) -> str:
    """The reason why the program cannot tell two uses of the same memory apart, or "".

    An argument may share memory with a Tensor that the step reads, or a setting of an optimizer with a Tensor
    that the step changes.
    """
    if _core.share_memory([t._array for t in guards.walk.tensors], arguments):
        return "an argument shares memory with a Tensor that the step reads otherwise, too; pass a copy"
    settings: list[Array] = []
    for plan, _, _ in recording.plans:
        settings += plan.in_memory
    if _core.share_memory(settings, [t._array for t in recording.changed.values()]):
        return CHANGES_SETTINGS
    return ""


def _lasting(modules: dict[int, Any]) -> list[Any]:
    """The modules that outlive the step: those made in it are freed when the recording drops its reference.

    modules: `Recording.modules`; it is emptied.
    """
    references = [ref(module) for module in modules.values()]
    modules.clear()
    lasting = []
    for reference in references:
        module = reference()
        if module is not None:
            lasting.append(module)
    return lasting


def _watched(modules: list[Any]) -> list[Tensor]:
    """The parameters and buffers from which the program may prepare data, such as packed weights.

    The core prepares again after a change of such a Tensor, so each must be the only one on its memory. With
    a tape there are none, because parameters then change at nearly every step.
    """
    if mode.enabled:
        return []
    tensors: dict[int, Tensor] = {}
    for module in modules:
        for tensor in (*module.parameters(), *module.buffers()):
            tensors[id(tensor)] = tensor
    return [t for t in tensors.values() if hasattr(t, "_array") and is_alone(t._array)]


def is_alone(array: Array) -> bool:
    """True if the array covers all of its memory: every change of the memory is a change of this array."""
    base = array.base
    return base is None or (type(base) is np.ndarray and base.base is None and base.nbytes == array.nbytes)
