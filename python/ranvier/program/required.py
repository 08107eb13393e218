"""Whether a recording can be replayed."""

from __future__ import annotations

import gc
from collections import OrderedDict
from enum import Enum
from typing import Any

import numpy as np

from ranvier.autograd.recording import Recording
from ranvier.autograd.size import Size
from ranvier.autograd.tensor import Tensor
from ranvier.nn import Module
from ranvier.program.errors import CaptureError
from ranvier.program.signature import flattened, is_record

Array = np.ndarray[Any, Any]


def require_recorded(recording: Recording, result: Any, forward_only: bool) -> None:
    """Raises CaptureError where the run itself shows that it cannot be replayed."""
    fault = recording.fault or recording.core.fault or recording.reads.fault or not_plain(result)
    if "NumPy made" in fault:
        fault += _odd_dtype(recording)
    if not fault and not forward_only and any(map(_has_tape, _tensors_of(result))):
        fault = (
            "the step returns a Tensor whose gradients can still be computed, and a replay makes no tape; "
            "call backward() in it, or call it under rv.no_grad()"
        )
    if fault:
        raise CaptureError(f"[compile] {fault}", result)


def _tensors_of(result: Any) -> list[Tensor]:
    tensors: list[Tensor] = []
    flattened(result, tensors)
    return tensors


def _has_tape(x: Tensor) -> bool:
    """Whether backward() could be called on a result: no node that it leads to has been freed."""
    stack, seen = [x._grad_fn], set()
    while stack:
        node = stack.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if getattr(node, "released", False):
            return False
        stack.extend(node.edges)
    return x._requires_grad and x._grad_fn is not None


def require_replayable(recording: Recording, kinds: list[str], expected: list[Array], result: Any) -> None:
    """Raises CaptureError where it is not. kinds: of the results; expected: what may outlive the step."""
    core = recording.core
    fault = ""
    if "argument" in kinds:
        fault = "the step returns one of its arguments; return a clone() of it"
    elif any(map(_is_new_leaf, _tensors_of(result), kinds)):
        fault = "the step returns a leaf that it has made, which a replay would not make; return a detach()"
    elif "foreign" in kinds:
        fault = (
            "the step returns an array that NumPy made, which a replay would not make again; make it outside "
            "the step"
        )
        fault += _odd_dtype(recording)
    kept = not fault
    if not fault:
        held = core.still_referenced(expected)
        if held is not None:  # perhaps by a cycle only
            gc.collect()
            held = core.still_referenced(expected)
        if held is not None:
            fault = (
                f"the result of {held} is still referenced after the step, and a replay would not renew it; "
                "return it, or let it go"
            )
    if fault:
        error = CaptureError(f"[compile] {fault}", result)
        error.kept = kept
        raise error


def _is_new_leaf(x: Tensor, kind: str) -> bool:
    return kind == "temporary" and x._grad_fn is None and (x._requires_grad or x._grad is not None)


def holds_any(result: Any, reached: dict[Any, Any]) -> bool:
    """Whether a result has a list or dict that the step also reads."""
    if is_record(result):
        fields = [getattr(result, name) for name in type(result).__dataclass_fields__]
        return reached.get(id(result)) is result or any(holds_any(x, reached) for x in fields)
    if not isinstance(result, (list, dict, tuple)):
        return False
    if type(result) is not tuple and reached.get(id(result)) is result:
        return True
    return any(holds_any(x, reached) for x in (result.values() if isinstance(result, dict) else result))


def difference(program: Any, recording: Recording, settings: Any, changed: str, other: str) -> str:
    """Why a replay would not do what another eager run of the step has done, or "".

    settings: of the optimizers before it. changed: the first guard that does not hold; other: how its calls
    differ from the program's.
    """
    fault = ""
    if changed and not program.may_change(changed):
        fault = (
            f"the step changes {changed} each time it runs, which a replay would not; do that outside the "
            "step, or pass it as an argument"
        )
    elif other:
        fault = f"the step does not do the same each time: {other}"
    elif program.settings() != settings:
        fault = "the step changes the settings of its optimizer (a schedule?); do that outside"
    if recording.check is not None:
        fault = fault or recording.check.finish()
        recording.check = None
    return fault


def _odd_dtype(recording: Recording) -> str:
    """Names the first argument that has to be copied before the core can read it; or ""."""
    for number, array in enumerate(recording.arguments):
        dtype = array.dtype
        if not dtype.isnative:
            better = f"{dtype.newbyteorder('=')} (astype)"
            return f" (array {number} of the arguments is {dtype}: pass it as {better})"
    return ""


def not_plain(result: Any, seen: list[Any] | None = None) -> str:
    """Why a replay could not return such a result, or ""."""
    kind, seen = type(result), [] if seen is None else seen
    parts: Any = None
    if kind in (tuple, list) or (isinstance(result, tuple) and hasattr(kind, "_fields")):
        parts = result
    elif kind is dict or kind is OrderedDict:
        parts = result.values()
    elif is_record(result):
        parts = [getattr(result, name) for name in kind.__dataclass_fields__]
    if parts is not None:
        if kind is not tuple and any(x is result for x in seen):
            return f"the step returns the same {kind.__name__} in two places; return it once"
        seen.append(result)
        return next((fault for x in parts if (fault := not_plain(x, seen))), "")
    if isinstance(result, Tensor) and result.__dict__:
        return "the step sets an attribute of a result; set it outside"
    if result is None or isinstance(
        result, (Tensor, Size, bool, int, float, complex, str, bytes, np.generic, Enum, Module)
    ):
        return ""
    return (
        f"the step returns a {kind.__name__}, which a replay would not make again; return Tensors, plain "
        "values, or a tuple, list, dict, OrderedDict or dataclass of them"
    )
