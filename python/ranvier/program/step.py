"""Step: one captured step, ready to be replayed."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.capture import Capture, package
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.program.errors import CaptureError
from ranvier.program.signature import filled, flattened, replaced

Array = np.ndarray[Any, Any]


class Step:
    """A program and what surrounds it in Python: gradients, optimizers, the form of the result."""

    checks_left = 0  # replays until the next check; negative: no more
    renewed = False  # made from the second eager run, since the first took another path

    def __init__(self, capture: Capture, arguments: list[Array], result: Any) -> None:
        tensors: list[Tensor] = []
        self._form = flattened(result, tensors)
        recording = capture.recording
        self._kinds = [recording.kind_of(t._array) for t in tensors]
        self._fixed = [
            t if kind == "persistent" else None for t, kind in zip(tensors, self._kinds, strict=True)
        ]
        outputs = [t._array for t, kind in zip(tensors, self._kinds, strict=True) if kind == "temporary"]
        self._gradients = [
            (leaf, leaf.grad) for leaf, _, _ in capture.leaves.values() if leaf.grad is not None
        ]
        self._dropped = [p for p in capture.zeroed.values() if p.grad is None]
        kept = [grad._array for _, grad in self._gradients if recording.kind_of(grad._array) == "temporary"]
        _require_replayable(capture, self._kinds, outputs + kept, result)
        self._program = _core.Program(recording, arguments, outputs, kept)
        self.arguments = arguments
        self._plans = capture.plans
        self._modules = [(m, m.training) for m in capture.modules.values()]
        parameters = {id(p): p for m in capture.modules.values() for p in m.parameters()}
        self._parameters = [(p, p._array, p.requires_grad) for p in parameters.values()]
        # gradients that the step adds to: they must be there, or absent, as they were
        self._carried = [
            (leaf, grad) for leaf, grad, _ in capture.leaves.values() if id(leaf) not in capture.zeroed
        ]
        # arrays of gradients: autograd asks who holds them, so no references
        befores = [array for leaf, _, array in capture.leaves.values() if id(leaf) not in capture.zeroed]
        self._places = [(grad, weakref.ref(grad._array)) for _, grad in self._gradients]
        self._places += [
            (grad, array) for (_, grad), array in zip(self._carried, befores, strict=True) if array
        ]

    def is_current(self) -> bool:
        """Whether modules, parameters and gradients are still those of the capture."""
        for module, training in self._modules:
            if module.training is not training:
                return False
        for p, array, requires_grad in self._parameters:
            if p._array is not array or p.requires_grad is not requires_grad:
                return False
        for leaf, grad in self._carried:
            if leaf.grad is not grad:
                return False
        for grad, array in self._places:
            if grad._array is not array():
                return False
        return all(plan.is_current(optimizer, group) for plan, optimizer, group in self._plans)

    def replay(self, arrays: tuple[Array, ...]) -> Any:
        for plan, optimizer, group in self._plans:
            plan.refresh(optimizer, group)
        results = self._program(arrays)
        for leaf, grad in self._gradients:
            leaf.grad = grad
        for leaf in self._dropped:
            leaf.grad = None
        if len(results) == 1 and type(self._form) is not tuple:
            return filled(self._form, [wrap(results[0])])
        arrived = iter(results)
        return filled(self._form, [wrap(next(arrived)) if t is None else t for t in self._fixed])

    def adopt_gradients(self) -> None:
        """Puts an eager run's gradients where the program's are: other programs go on from there."""
        for leaf, grad in self._gradients:
            if leaf.grad is not grad:
                grad._array[...] = leaf.grad._array
                leaf.grad = grad

    def settings(self) -> list[tuple[float, ...]]:
        """What the optimizers read, brought up to date."""
        for plan, optimizer, group in self._plans:
            plan.refresh(optimizer, group)
        return [optimizer.settings(group) for _, optimizer, group in self._plans]

    @property
    def program(self) -> Any:
        return self._program


def record(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    forms: list[Array] | None = None,
) -> tuple[Any, Capture, list[Array]]:
    """Runs the step once, eagerly and recorded: (its result off the tape, the capture, the arguments).

    forms: arrays in whose memory order the arguments are to arrive; else each in its own.
    """
    recorded = Capture(_core.Recording(package()))
    slots: list[Array] = []

    def own(array: Array) -> Tensor:  # a copy: two arguments may be one array, or share memory
        if forms is None:
            slots.append(np.array(array, order="K", subok=False))
        else:
            slots.append(np.empty_like(forms[len(slots)]))
            slots[-1][...] = array
        recorded.recording.add_argument(slots[-1])
        return wrap(slots[-1])

    args, kwargs = replaced(args, own), replaced(kwargs, own)
    with recorded:
        result = function(*args, **kwargs)
    tensors: list[Tensor] = []
    form = flattened(result, tensors)
    detached = [t.detach() if t.requires_grad and t.grad_fn is not None else t for t in tensors]
    return filled(form, detached), recorded, slots


def _require_replayable(capture: Capture, kinds: list[str], expected: list[Array], result: Any) -> None:
    recording = capture.recording
    fault = capture.fault or recording.fault
    if not fault and "argument" in kinds:
        fault = "the step returns one of its arguments; return a clone() of it"
    if not fault and "foreign" in kinds:
        fault = "the step returns an array that NumPy made, which a replay would not make again"
    if not fault:
        held = recording.still_referenced(expected)
        if held is not None:  # perhaps by a cycle only
            gc.collect()
            held = recording.still_referenced(expected)
        if held is not None:
            fault = (
                f"the result of {held} is still referenced after the step, and a replay would not renew it; "
                "return it, or let it go"
            )
    if fault:
        raise CaptureError(f"[compile] {fault}", result)
