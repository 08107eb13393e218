"""Step: one captured step, ready to be replayed."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.capture import Capture, package
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.program.errors import CaptureError
from ranvier.program.names import names_of
from ranvier.program.randomness import drawn
from ranvier.program.signature import Place, filled, flattened, replaced

Array = np.ndarray[Any, Any]


class Step:
    """A program and what surrounds it in Python: gradients, optimizers, the form of the result."""

    checks_left = 0  # replays until the next check; negative: no more
    renewed = False  # made from the second eager run, since the first took another path

    def __init__(
        self,
        capture: Capture,
        arguments: list[Array],
        form: list[Any],
        result: Any,
        forward_only: bool = False,
    ) -> None:
        """form: what the positional arguments of a call are: None for an array, else the value.

        forward_only: the step is the forward pass of a model, always without a tape.
        """
        tensors: list[Tensor] = []
        self._form = flattened(result, tensors)
        recording = capture.recording
        kinds = [recording.kind_of(t._array) for t in tensors]
        self._fixed = [t if kind == "persistent" else None for t, kind in zip(tensors, kinds, strict=True)]
        outputs = [t._array for t, kind in zip(tensors, kinds, strict=True) if kind == "temporary"]
        self._gradients = [
            (leaf, leaf.grad) for leaf, _, _ in capture.leaves.values() if leaf.grad is not None
        ]
        dropped = [p for p in capture.zeroed.values() if p.grad is None]
        kept = [grad._array for _, grad in self._gradients if recording.kind_of(grad._array) == "temporary"]
        _require_replayable(capture, kinds, outputs + kept, result)
        self._modules = list(capture.modules.values())
        self.program = _core.Program(recording, arguments, outputs, kept, self._watched())
        self.forward_only = forward_only
        self.arguments = arguments
        self.plans = capture.plans
        self.call = self.program.call
        after = [*self._gradients, *[(p, None) for p in dropped]]
        gradients = [(leaf, "_grad", grad) for leaf, grad in after]
        self.program.set_call(form, self._guards(capture), gradients, list(capture.changed.values()))

    def _watched(self) -> list[Tensor]:
        """Parameters and buffers, each in memory of its own, of a step without a tape.

        With a tape they are most likely about to change, and what was prepared from them would not last.
        """
        if mode.enabled:
            return []
        tensors = {
            id(t): t for m in self._modules for t in (*m.parameters(), *m.buffers()) if _is_alone(t._array)
        }
        return list(tensors.values())

    def _guards(self, capture: Capture) -> list[tuple[Any, Any, Any]]:
        """What must be as it was: modes, parameters, settings, and the gradients that the step adds to.

        Of gradients it is the address that counts: autograd asks who refers to an array. In a forward pass
        that is always without a tape, neither that nor `requires_grad` has a part.
        """
        parameters = {id(p): p for m in self._modules for p in (*m.parameters(), *m.buffers())}.values()
        carried = [entry for key, entry in capture.leaves.items() if key not in capture.zeroed]
        before = [(grad, array()) for _, grad, array in carried if array is not None]
        recording: list[tuple[Any, Any, Any]] = []
        if not self.forward_only:
            recording = [
                (mode, "enabled", mode.enabled),
                *[(p, "requires_grad", p.requires_grad) for p in parameters],
            ]
        return [
            *recording,
            *[(m, "training", m.training) for m in self._modules],
            *[(vars(m), name, getattr(m, name)) for m in self._modules for name in _parts(m)],
            *[(p, "_array", p._array) for p in parameters],
            *[(leaf, "_grad", grad) for leaf, grad, _ in carried],
            *[(grad, "_array", _address(grad._array)) for _, grad in self._gradients],
            *[(grad, "_array", _address(array) if array is not None else 0) for grad, array in before],
            *[(optimizer._plans, id(group), plan) for plan, optimizer, group in self.plans],
            *[
                (group, key, value)
                for _, _, group in self.plans
                for key, value in group.items()
                if type(value) is bool
            ],
        ]

    def is_current(self) -> bool:
        """Whether a replay would still do what the step does."""
        fits = [plan.refresh(optimizer, group) for plan, optimizer, group in self.plans]
        return all(fits) and self.program.is_current()

    def result(self, arrays: tuple[Array, ...]) -> Any:
        """What the step returns, from the arrays of a run."""
        if type(self._form) is Place:
            return wrap(arrays[0]) if arrays else self._fixed[0]
        arrived = iter(arrays)
        return filled(self._form, [wrap(next(arrived)) if t is None else t for t in self._fixed])

    def replay(self, arrays: tuple[Array, ...]) -> Any:
        self.settings()
        return self.result(self.program(arrays))

    def adopt_gradients(self) -> None:
        """Puts an eager run's gradients where the program's are: other programs go on from there."""
        for leaf, grad in self._gradients:
            if leaf.grad is not grad:
                grad._array[...] = leaf.grad._array
                leaf.grad = grad

    def settings(self) -> list[tuple[float, ...]]:
        """What the optimizers read, brought up to date."""
        for plan, optimizer, group in self.plans:
            plan.refresh(optimizer, group)
        return [optimizer.settings(group) for _, optimizer, group in self.plans]

    def names(self) -> dict[int, str]:
        """Names of the memory that the step uses, by address."""
        return names_of(self._modules, self._gradients, self.plans)


def _parts(module: Any) -> list[str]:
    """Names of a module's own parameters, buffers and modules, so that another one in its place is seen."""
    names = (*module._parameter_names, *module._buffer_names, *module._module_names)
    return [name for name in names if name in vars(module)]


def _is_alone(array: Array) -> bool:
    """Whether the array is all of its memory, so that whoever changes that changes this Tensor."""
    base = array.base
    if base is None:
        return True
    return type(base) is np.ndarray and base.base is None and base.nbytes == array.nbytes


def _address(array: Array) -> int:
    return int(array.__array_interface__["data"][0])


def record(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    forms: list[Array] | None = None,
) -> tuple[Any, Capture, list[Array]]:
    """Runs the step once, eagerly and recorded: (its result off the tape, the capture, the arguments).

    forms: arrays in whose memory order the arguments are to arrive (else each in its own), for a run that a
    program is to be compared with: all its results are kept.
    """
    recorded = Capture(_core.Recording(package(), forms is not None))
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
    before = drawn()
    with recorded:
        result = function(*args, **kwargs)
    if drawn() != before and not recorded.fault:
        recorded.fault = (
            "the step draws random numbers in Python (random, numpy.random, rv.randint, rv.randperm), which "
            "a replay would not draw again; pass them as arguments, or draw floats with rv.rand or rv.randn"
        )
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
