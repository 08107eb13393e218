"""Program: the kernel calls of a recording, and all that a replay needs besides them."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.program.gradients as of_gradients
from ranvier.autograd.mode import mode
from ranvier.autograd.recording import Recording
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.program.batches import Batches
from ranvier.program.errors import CaptureError
from ranvier.program.explain import table
from ranvier.program.guard_kinds import STATE, Kind, guard_optimizer
from ranvier.program.guards import Walk
from ranvier.program.names import names_of
from ranvier.program.parts import Buffer, Instruction, Memory, buffers_of, instructions_of
from ranvier.program.required import require_replayable
from ranvier.program.signature import Place, filled, flattened
from ranvier.program.touches import Large

__all__ = ["EARLIER", "Entry", "Program"]

Array = np.ndarray[Any, Any]
Entry = Sequence[tuple[Tensor, Array | None]]
EARLIER = "the gradient of an earlier step"


class Program:
    """A recorded step as a list of instructions on numbered buffers; from `rv.compile(step).programs`.

    ``print(program)`` or ``program.explain()`` shows it as a table, `rv.plot.program(program)` as a picture.

    >>> import numpy as np, ranvier as rv
    >>> norm = rv.compile(lambda x: (x * x).sum().sqrt())
    >>> for _ in range(3): y = norm(np.array([3.0, 4.0], np.float32))
    >>> [i.op for i in norm.programs[0].instructions]
    ['elementwise', 'reduce', 'elementwise']
    """

    # For CompiledFunction:
    #   core            the instructions, replayed as one call into the core
    #   call            a whole replay: the results, or None where these arguments or the guards do not fit
    #   plans           (plan, optimizer, group) of each optimizer step
    #   checks_left     replays until the next check; negative: no more checks
    #   checks          how many checks there were
    #   renewed         made from the second eager run, because the first took another path
    #   large           arrays that are too large to be compared, if there are any

    def __init__(
        self,
        recording: Recording,
        arguments: list[Array],
        form: list[Any],
        roots: list[tuple[Any, str]],
        result: Any,
        forward_only: bool = False,
        known: Sequence[Program] = (),
    ) -> None:
        """form: the positional arguments of a call: None for an array, else the value.

        roots: the function and the arguments that are no arrays, with their names.
        forward_only: the function is the forward pass of a model, always without a tape.
        known: programs of the same function; what one has found need not be looked for again.
        """
        self.checks_left, self.checks, self.renewed = 0, 0, False
        tensors: list[Tensor] = []
        self._form = flattened(result, tensors)
        kinds = [recording.core.kind_of(t._array) for t in tensors]
        self._fixed = [t if kind == "persistent" else None for t, kind in zip(tensors, kinds, strict=True)]
        outputs = [t._array for t, kind in zip(tensors, kinds, strict=True) if kind == "temporary"]
        of_gradients.forget_local(recording)
        gradients = [(leaf, leaf.grad) for leaf, *_ in recording.leaves.values() if leaf.grad is not None]
        dropped = [p for p in recording.zeroed.values() if p.grad is None]
        kept = [g._array for _, g in gradients if recording.core.kind_of(g._array) == "temporary"]
        require_replayable(recording, kinds, outputs + kept, result)
        self._modules = _lasting(recording.modules)
        self.core = _core.Program(recording.core, arguments, outputs, kept, self._watched())
        self.call = self.core.call
        self.arguments, self.plans, self._forward_only = arguments, recording.plans, forward_only
        self._roots, self._reads = roots, recording.reads
        touches = recording.reads.touches
        self._untouched: set[int] = set() if touches is None else touches.untouched
        self.large: Large | None = None
        self._leaves = [leaf for leaf, _ in gradients]
        self._carried = of_gradients.carried_over(recording)
        self._looked_up: set[str] = set()
        self._found: Walk | None = None  # what the step leads to
        self._begins_with: list[tuple[Tensor, int | None]] = []
        self._has: list[Tensor] = []  # those that had a gradient
        found = next((other for other in known if other._finds_the_same(self)), None)
        if found is not None:
            self._found, self._looked_up = found._found, set(found._looked_up)
            self._reads.add(found._reads)
        fault = self.guard(recording, (), found is not None) or of_gradients.shared(kept)
        if fault:
            error = CaptureError(f"[compile] {fault}", result)
            error.large = self.large
            raise error
        before = {key: grad for key, (_, grad, *_) in recording.leaves.items()}
        carried = {id(grad) for _, grad in gradients}
        number = {id(array): i for i, array in enumerate(kept)}
        left = [
            (leaf, grad, number.get(id(grad._array), -1))
            for leaf, grad in gradients
            if grad is not before[id(leaf)]
        ]
        changed = [t for t in recording.changed.values() if id(t) not in carried]
        self.core.set_call(form, left + [(p, None, -1) for p in dropped], changed, of_gradients.renewed)

    # --- guards
    def guard(self, recording: Recording, entry: Entry = (), holds: bool = False) -> str:
        """Finds what the step has read, for the core to compare before each replay; "" or why it cannot.

        recording: a run of it, whose reads are added. entry: the gradients that it began with.
        holds: all that was found before is as it was, except gradients.
        """
        if recording.reads.touches is not None:
            self._untouched &= recording.reads.touches.untouched
            holds = False
        if not (holds and self._reads.include(recording.reads)):
            self._found = None
        self._reads.add(recording.reads)
        self._has = [t for t, array in entry if array is not None]
        self._begins_with = [
            (t, None if array is None else of_gradients.address_of(array))
            for t, array in entry
            if array is None or recording.core.region_of(array) >= 0
        ]
        walk = self._walk(recording)
        while not walk.fault and not walk.looked_up <= self._looked_up:
            self._looked_up |= walk.looked_up
            self._found = None
            walk = self._walk(recording)
        self._texts, self.large = walk.texts, (walk.large, walk.parents) if walk.large else None
        self.core.set_guards(walk.guards)
        return walk.fault

    def _finds_the_same(self, new: Program) -> bool:
        """Whether a walk for another program would find what this one's has found."""
        roots = [thing for thing, _ in new._roots] + new._modules
        mine = [thing for thing, _ in self._roots] + self._modules
        if self._found is None or self.large or self._untouched or len(roots) != len(mine):
            return False
        same = all(a is b for a, b in zip(roots, mine, strict=True)) and self._reads.include(new._reads)
        return same and self.changed() in ("", EARLIER)

    def _walk(self, recording: Recording) -> Walk:
        if self._found is None:
            self._found = Walk(self._reads, self._forward_only, self._looked_up)
            self._found.untouched = set(self._untouched)
            self._found.run([*self._roots, *[(m, f"a layer {type(m).__name__}") for m in self._modules]])
        walk = self._found.branch()
        if walk.searched:  # for functions, among objects that no guard is on
            self._found = None
        if not self._forward_only:
            walk.add(Kind.ATTRIBUTE, mode, "enabled", mode.enabled, "rv.no_grad()")
        for plan, optimizer, group in self.plans:
            guard_optimizer(walk, plan, optimizer, group)
        walk.leaves(self._leaves)
        for leaf, address in [*self._carried, *self._begins_with]:  # last, since they may move
            walk.add(Kind.GRADIENT, leaf, "grad", address or 0, EARLIER)
        updated = [p for plan, *_ in self.plans for p in plan.active]
        for leaf, address in of_gradients.given(recording, [*updated, *walk.tensors]):
            walk.add(Kind.GRADIENT, leaf, None, address, EARLIER)
        for t in self._has:
            walk.call(functools.partial(of_gradients.is_there, t), True, EARLIER)
        self._tensors = walk.tensors if walk.reads_gradients else []
        return walk

    def entry(self) -> Entry:
        """The gradients at the beginning of a call, where the step's own code names `grad`."""
        carried = {id(leaf) for leaf, _ in self._carried}
        return [(t, None if t.grad is None else t.grad._array) for t in self._tensors if id(t) not in carried]

    def changed(self) -> str:
        """The first guarded value that has changed, in words; "" where none has."""
        place = self.core.first_changed()
        return "" if place < 0 else self._texts[place]

    def may_change(self, text: str) -> bool:
        """Whether this may change in a step that is replayed: gradients move, optimizers make their state."""
        return text == EARLIER or text.startswith(f"{STATE} of ")

    def _watched(self) -> list[Tensor]:
        """Parameters and buffers, each in separate memory, of a step without a tape.

        With a tape they are likely to change, and what was prepared from them would not last.
        """
        if mode.enabled:
            return []
        tensors = {
            id(t): t for m in self._modules for t in (*m.parameters(), *m.buffers()) if _is_alone(t._array)
        }
        return list(tensors.values())

    # --- replays
    def is_current(self) -> bool:
        """Whether a replay would still do what the step does."""
        fits = [plan.refresh(optimizer, group) for plan, optimizer, group in self.plans]
        return all(fits) and self.core.is_current()

    def replay(self, arrays: tuple[Array, ...]) -> Any:
        """The arrays of the results; None where a check of values fails: the eager step raises the error."""
        self.settings()
        return self.core(arrays)

    def run_batches(self, args: tuple[Any, ...], batches: Batches) -> Any:
        """See `CompiledFunction.run_batches`."""
        fits = [plan.refresh(optimizer, group) for plan, optimizer, group in self.plans]
        if not all(fits) or any(t is not None for t in self._fixed):
            return None
        try:
            results = self.core.run_batches(args, batches.order, batches.size, batches.first, batches.count)
        finally:
            batches.done = self.core.batches_done
        return None if results is None else self.result(results)

    def result(self, arrays: tuple[Array, ...]) -> Any:
        """What the step returns, from the arrays of a run."""
        if type(self._form) is Place:
            return wrap(arrays[0]) if arrays else self._fixed[0]
        arrived = iter(arrays)
        return filled(self._form, [wrap(next(arrived)) if t is None else t for t in self._fixed])

    def settings(self) -> list[tuple[float, ...]]:
        """The numbers that the optimizers' kernels read, brought up to date."""
        for plan, optimizer, group in self.plans:
            plan.refresh(optimizer, group)
        return [optimizer.settings(group) for _, optimizer, group in self.plans]

    # --- what a user sees
    @property
    def instructions(self) -> list[Instruction]:
        """In the order of execution, each measured, if there are as many threads as when it was recorded."""
        self.core.measure_now()
        return instructions_of(self.core, self._names())

    @property
    def buffers(self) -> list[Buffer]:
        """Memory that the instructions use, by number."""
        return buffers_of(self.core, self._names())

    @property
    def memory(self) -> Memory:
        return Memory(**self.core.memory())

    def explain(self) -> None:
        """Prints the table of instructions: operands, what was fused, threads, time and share of the whole.

        Times are those of the first replays. Where there were too few, some are run now, on a copy of the
        state. `Operand.name` says how operands are named.
        """
        print(self)

    def __str__(self) -> str:
        return table(self.instructions, self.memory)

    def __repr__(self) -> str:
        return f"<Program of {len(self.core.instructions())} instructions>"

    def _names(self) -> dict[int, str]:
        return names_of(self._modules, self.core.gradients(), self.plans)


def _is_alone(array: Array) -> bool:
    """Whether the array is all of its memory: who changes the memory then changes this Tensor."""
    base = array.base
    if base is None:
        return True
    return type(base) is np.ndarray and base.base is None and base.nbytes == array.nbytes


def _references(modules: list[Any]) -> list[int]:
    return [sys.getrefcount(m) for m in modules]


_OURS = _references(list({0: object()}.values()))[0] + 1  # and the dict; it depends on Python's version


def _lasting(modules: dict[int, Any]) -> list[Any]:
    """The modules that outlive the step: others were made in it and are already unused."""
    held = list(modules.values())
    return [m for m, count in zip(held, _references(held), strict=True) if count > _OURS]
