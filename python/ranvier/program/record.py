"""One eager run of a function, recorded."""

from __future__ import annotations

import contextlib
import copy
from _thread import _count as other_threads
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.recording import Recording, package
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.program.randomness import drawn
from ranvier.program.reads import Reads
from ranvier.program.signature import environment, filled, flattened, replaced
from ranvier.program.touches import Large, Touches

__all__ = ["keeps_strides", "record"]

Array = np.ndarray[Any, Any]


def record(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    forms: list[Array] | None = None,
    large: Large | None = None,
    forward_only: bool = False,
    program: Any = None,
) -> tuple[Any, Recording, list[Array]]:
    """Runs the step once, eagerly and recorded: (its result off the tape, the recording, the arguments).

    forms: of a run that a program was made for; the arguments get the strides of these arrays. large: arrays
    whose reading is watched. forward_only: the function is the forward pass of a model; where it returns an
    argument, as dropout in evaluation mode does, the result is a copy, so that a replay can make it in new
    memory. program: of the core, run beside the step and compared with it; `check` of the recording then
    knows what differs.
    """
    recorded = Recording(_core.Recording(package()))
    touches = None if large is None else Touches(*large)
    recorded.reads = Reads(touches)
    slots: list[Array] = []

    def own(array: Array) -> Tensor:  # a copy: two arguments may be one array, or share memory
        slots.append(_copy(array if forms is None else forms[len(slots)]))
        if forms is not None:
            slots[-1][...] = array
        recorded.core.add_argument(slots[-1])
        recorded.arguments.append((array, slots[-1]))
        return wrap(slots[-1])

    seen: dict[int, Tensor] = {}  # one Tensor for an array that is given twice: the step may use `is`
    containers: list[tuple[Any, Any]] = []
    args, kwargs = replaced(args, own, seen, containers), replaced(kwargs, own, seen)
    given = [copy.copy(inner) for _, inner in containers]
    if program is not None:
        recorded.check = _core.Check(program, recorded.core, tuple(slots))
    settings, before = environment(), drawn()
    try:
        with recorded, recorded.reads, touches or contextlib.nullcontext():
            result = function(*args, **kwargs)
            if forward_only:
                result = _arguments_cloned(result, recorded)
    except BaseException:
        recorded.check = None  # a traceback would keep it, and its copies of the state
        raise
    for (outer, inner), first in zip(containers, given, strict=True):
        if len(inner) != len(first) or any(
            a is not b for a, b in zip(_flat(inner), _flat(first), strict=True)
        ):
            _write_back(outer, inner)
            recorded.refuse("the step changes a list or dict among its arguments", "return what is new")
    if environment() != settings:
        if other_threads():  # one of them may have changed it
            recorded.passing = True
        elif not recorded.fault:
            recorded.fault = (
                "the step changes a setting of the library (threads, Winograd, subnormal numbers, level, "
                "gradients), which a replay would not; do that outside the step"
            )
    after = None if before is None else drawn()
    if before is not None and after is not None and after != before and not recorded.fault:
        recorded.fault = (
            "the step draws random numbers of NumPy, which a replay would not draw again; pass them as "
            "arguments, or draw floats with rv.rand or rv.randn"
        )
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    detached = [t.detach() if t.requires_grad and t.grad_fn is not None else t for t in tensors]
    return filled(form, detached), recorded, slots


def _arguments_cloned(result: Any, recorded: Recording) -> Any:
    """The result with a clone of each Tensor that shares memory with an argument."""
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    cloned = {id(t): t.clone() for t in tensors if recorded.core.kind_of(t._array) == "argument"}
    return filled(form, [cloned.get(id(t), t) for t in tensors]) if cloned else result


def _reach(array: Array) -> int:
    """Bytes from the first element to the end of the last."""
    return sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize


def keeps_strides(array: Array) -> bool:
    """Whether a copy of an argument, including its gaps, can have its strides."""
    if array.flags.c_contiguous or array.size == 0:
        return True
    if any(s < 0 or s % array.itemsize for s in array.strides):
        return False
    return _reach(array) <= 64 * array.nbytes + (1 << 24)


def _copy(array: Array) -> Array:
    """The same values with the same strides: kernels choose the order of a sum by them."""
    dense = np.array(array, order="K", subok=False)
    if dense.strides == array.strides or array.size == 0 or not keeps_strides(array):
        return dense
    reach = _reach(array)
    memory = np.zeros(reach // array.itemsize, array.dtype)
    strided = np.lib.stride_tricks.as_strided(memory, array.shape, array.strides)
    strided[...] = array
    return strided


def _flat(x: Any) -> list[Any]:
    return [part for pair in x.items() for part in pair] if isinstance(x, dict) else list(x)


def _write_back(outer: Any, inner: Any) -> None:
    """The caller's list or dict as the step has left its own."""
    outer.clear()
    if isinstance(outer, dict):
        outer.update(inner)
    else:
        outer.extend(inner)
