"""Step: one captured step, ready to be replayed."""

from __future__ import annotations

import contextlib
import copy
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.mode import mode
from ranvier.autograd.recording import Recording, package
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.program.errors import CaptureError
from ranvier.program.gradients import (
    address_of,
    carried_over,
    given,
    has_gradient,
    renewed_gradient,
    shared_gradient,
)
from ranvier.program.guard_kinds import STATE, Kind, guard_optimizer
from ranvier.program.guards import Walk
from ranvier.program.names import names_of
from ranvier.program.randomness import drawn
from ranvier.program.reads import Reads
from ranvier.program.required import require_replayable
from ranvier.program.signature import Place, filled, flattened, replaced
from ranvier.program.touches import Touches

Array = np.ndarray[Any, Any]


Large = tuple[list[Any], dict[int, list[Any]]]  # arrays, and the containers that values lie in, by id
Entry = Sequence[tuple[Tensor, Array | None]]
EARLIER = "the gradient of an earlier step"


class Step:
    """A program and what surrounds it in Python: gradients, optimizers, guards, the form of the result.

    Attributes:
        checks_left: replays until the next check; negative: no more.
        checks: how many there were.
        renewed: made from the second eager run, since the first took another path.
    """

    def __init__(
        self,
        recording: Recording,
        arguments: list[Array],
        form: list[Any],
        roots: list[tuple[Any, str]],
        result: Any,
        forward_only: bool = False,
    ) -> None:
        """form: what the positional arguments of a call are: None for an array, else the value.

        roots: the step's function and the arguments that are no arrays, with their names.
        forward_only: the step is the forward pass of a model, always without a tape.
        """
        self.checks_left, self.checks, self.renewed = 0, 0, False
        tensors: list[Tensor] = []
        self._form = flattened(result, tensors)
        core = recording.core
        kinds = [core.kind_of(t._array) for t in tensors]
        self._fixed = [t if kind == "persistent" else None for t, kind in zip(tensors, kinds, strict=True)]
        outputs = [t._array for t, kind in zip(tensors, kinds, strict=True) if kind == "temporary"]
        gradients = [(leaf, leaf.grad) for leaf, *_ in recording.leaves.values() if leaf.grad is not None]
        dropped = [p for p in recording.zeroed.values() if p.grad is None]
        kept = [grad for _, grad in gradients if core.kind_of(grad._array) == "temporary"]
        kept_arrays = [grad._array for grad in kept]
        require_replayable(recording, kinds, outputs + kept_arrays, result)
        self._modules = _lasting(recording.modules)
        self.program = _core.Program(core, arguments, outputs, kept_arrays, self._watched())
        self.forward_only = forward_only
        self.arguments = arguments
        self.plans = recording.plans
        self.call = self.program.call
        self._roots, self._reads = roots, recording.reads
        touches = recording.reads.touches
        self._untouched: set[int] = set() if touches is None else touches.untouched
        self.large: Large | None = None
        self._leaves = [leaf for leaf, _ in gradients]
        self._carried = carried_over(recording)
        self._looked_up: set[str] = set()
        self._begins_with: list[tuple[Tensor, int | None]] = []
        self._has: list[Tensor] = []  # those that had a gradient
        fault = self.guard(recording) or shared_gradient(kept_arrays)
        if fault:
            error = CaptureError(f"[compile] {fault}", result)
            error.large = self.large
            raise error
        before = {key: grad for key, (_, grad, *_) in recording.leaves.items()}
        carried = {id(grad) for _, grad in gradients}
        number = {id(array): i for i, array in enumerate(kept_arrays)}
        self.program.set_call(
            form,
            [
                (leaf, grad, number.get(id(grad._array), -1))
                for leaf, grad in gradients
                if grad is not before[id(leaf)]
            ]
            + [(p, None, -1) for p in dropped],
            [t for t in recording.changed.values() if id(t) not in carried],
            renewed_gradient,
        )

    def guard(self, recording: Recording, entry: Entry = ()) -> str:
        """Finds what the step has read, for the core to compare before each replay; "" or why it cannot.

        recording: a run of it, whose reads are added. entry: the gradients that it began with.
        """
        if recording.reads.touches is not None:
            self._untouched &= recording.reads.touches.untouched
        self._reads.add(recording.reads)
        self._has = [t for t, array in entry if array is not None]
        self._begins_with = [
            (t, None if array is None else address_of(array))
            for t, array in entry
            if array is None or recording.core.region_of(array) >= 0
        ]
        walk = self._walk(recording)
        while not walk.fault and not walk.looked_up <= self._looked_up:
            self._looked_up |= walk.looked_up
            walk = self._walk(recording)
        self.texts, self.large = walk.texts, (walk.large, walk.parents) if walk.large else None
        self.program.set_guards(walk.guards)
        return walk.fault

    def _walk(self, recording: Recording) -> Walk:
        walk = Walk(self._reads, self.forward_only, self._looked_up)
        walk.untouched = set(self._untouched)
        if not self.forward_only:
            walk.add(Kind.ATTRIBUTE, mode, "enabled", mode.enabled, "rv.no_grad()")
        for plan, optimizer, group in self.plans:
            guard_optimizer(walk, plan, optimizer, group)
        walk.run([*self._roots, *[(m, f"a layer {type(m).__name__}") for m in self._modules]])
        walk.leaves(self._leaves)
        for leaf, address in [*self._carried, *self._begins_with]:  # the last ones: they may move
            walk.add(Kind.GRADIENT, leaf, "grad", address or 0, EARLIER)
        updated = [p for plan, *_ in self.plans for p in plan.active]
        for leaf, address in given(recording, [*updated, *walk.tensors]):
            walk.add(Kind.GRADIENT, leaf, None, address, EARLIER)
        for t in self._has:
            walk.call(functools.partial(has_gradient, t), True, EARLIER)
        self._tensors = walk.tensors if walk.reads_gradients else []
        return walk

    def entry(self) -> Entry:
        """The gradients at the beginning of a call, where the step's own code names `grad`."""
        carried = {id(leaf) for leaf, _ in self._carried}
        return [(t, None if t.grad is None else t.grad._array) for t in self._tensors if id(t) not in carried]

    def changed(self) -> str:
        """What a guard finds changed, in words; "" where nothing is."""
        place = self.program.first_changed()
        return "" if place < 0 else self.texts[place]

    def may_change(self, text: str) -> bool:
        """Whether this may change in a step that is captured: gradients move, optimizers make their state."""
        return text == EARLIER or text.startswith(f"{STATE} of ")

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

    def settings(self) -> list[tuple[float, ...]]:
        """What the optimizers read, brought up to date."""
        for plan, optimizer, group in self.plans:
            plan.refresh(optimizer, group)
        return [optimizer.settings(group) for _, optimizer, group in self.plans]

    def names(self) -> dict[int, str]:
        """Names of the memory that the step uses, by address."""
        return names_of(self._modules, self.program.gradients(), self.plans)


def _is_alone(array: Array) -> bool:
    """Whether the array is all of its memory, so that whoever changes that changes this Tensor."""
    base = array.base
    if base is None:
        return True
    return type(base) is np.ndarray and base.base is None and base.nbytes == array.nbytes


def _lasting(modules: dict[int, Any]) -> list[Any]:
    """The modules that outlive the step: not those that it made, used and let go."""
    held = list(modules.values())
    return [m for m in held if sys.getrefcount(m) > _OURS]


_OURS = 4  # the dict, the list, the variable of the loop, the argument of getrefcount


def record(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    forms: list[Array] | None = None,
    large: Large | None = None,
) -> tuple[Any, Recording, list[Array]]:
    """Runs the step once, eagerly and recorded: (its result off the tape, the recording, the arguments).

    forms: arrays in whose memory order the arguments are to arrive (else each in its own), for a run that a
    program is to be compared with: all its results are kept. large: arrays whose reading is watched.
    """
    recorded = Recording(_core.Recording(package(), forms is not None))
    touches = None if large is None else Touches(*large)
    recorded.reads = Reads(touches)
    slots: list[Array] = []

    def own(array: Array) -> Tensor:  # a copy: two arguments may be one array, or share memory
        slots.append(_copy(array) if forms is None else _alike(forms[len(slots)]))
        if forms is not None:
            slots[-1][...] = array
        recorded.core.add_argument(slots[-1])
        recorded.arguments.append((array, slots[-1]))
        return wrap(slots[-1])

    seen: dict[int, Tensor] = {}  # one Tensor for an array that is given twice: the step may ask with `is`
    containers: list[tuple[Any, Any]] = []
    args, kwargs = replaced(args, own, seen, containers), replaced(kwargs, own, seen)
    given = [copy.copy(inner) for _, inner in containers]
    before = drawn()
    with recorded, recorded.reads, touches or contextlib.nullcontext():
        result = function(*args, **kwargs)
    for (outer, inner), first in zip(containers, given, strict=True):
        if len(inner) != len(first) or any(
            a is not b for a, b in zip(_flat(inner), _flat(first), strict=True)
        ):
            _write_back(outer, inner)
            recorded.refuse("the step changes a list or dict among its arguments", "return what is new")
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


def _reach(array: Array) -> int:
    """Bytes from the first element to the end of the last."""
    return sum((n - 1) * s for n, s in zip(array.shape, array.strides, strict=True)) + array.itemsize


def keeps_strides(array: Array) -> bool:
    """Whether a copy of an argument, with room for its gaps, can have its strides."""
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


def _alike(form: Array) -> Array:
    """Memory of its own in the shape and strides of an earlier copy."""
    return _copy(form)


def _flat(x: Any) -> list[Any]:
    return [part for pair in x.items() for part in pair] if isinstance(x, dict) else list(x)


def _write_back(outer: Any, inner: Any) -> None:
    """The caller's list or dict as the step has left its own."""
    outer.clear()
    if isinstance(outer, dict):
        outer.update(inner)
    else:
        outer.extend(inner)
