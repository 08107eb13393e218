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
from ranvier.program.signature import is_record

Array = np.ndarray[Any, Any]
_COMPUTED = frozenset("fd?lq")  # dtypes that the core computes in


def require_replayable(recording: Recording, kinds: list[str], expected: list[Array], result: Any) -> None:
    """Raises CaptureError where it is not. kinds: of the results; expected: what may outlive the step."""
    core = recording.core
    fault = recording.fault or core.fault
    if not fault:
        fault = recording.reads.fault or _not_plain(result)
    if not fault and "argument" in kinds:
        fault = "the step returns one of its arguments; return a clone() of it"
    if not fault and "foreign" in kinds:
        fault = (
            "the step returns an array that NumPy made, which a replay would not make again; make it outside "
            "the step"
        )
    if "NumPy made" in fault:
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


def _odd_dtype(recording: Recording) -> str:
    """Names the first argument in whose dtype only NumPy computes; or ""."""
    for number, (array, _) in enumerate(recording.arguments):
        dtype = array.dtype
        if dtype.char not in _COMPUTED or not dtype.isnative:
            other = "float32" if dtype.kind == "f" else "int64, or as floats"
            better = other if dtype.isnative else f"{dtype.newbyteorder('=')} (astype)"
            return (
                f" (array {number} of the arguments is {dtype}, in which NumPy computes: pass it as {better})"
            )
    return ""


def _not_plain(result: Any) -> str:
    """Why a replay could not return such a result, or ""."""
    kind = type(result)
    if kind in (tuple, list) or (isinstance(result, tuple) and hasattr(kind, "_fields")):
        return next((fault for fault in map(_not_plain, result) if fault), "")
    if kind is dict or kind is OrderedDict:
        return next((fault for fault in map(_not_plain, result.values()) if fault), "")
    if is_record(result):
        fields = (getattr(result, name) for name in kind.__dataclass_fields__)
        return next((fault for fault in map(_not_plain, fields) if fault), "")
    if result is None or isinstance(
        result, (Tensor, Size, bool, int, float, complex, str, bytes, np.generic, Enum, Module)
    ):
        return ""
    return (
        f"the step returns a {kind.__name__}, which a replay would not make again; return Tensors, plain "
        "values, or a tuple, list, dict, OrderedDict or dataclass of them"
    )
