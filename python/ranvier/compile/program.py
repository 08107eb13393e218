"""Program: the kernel calls of a recording, and all that a replay needs besides them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from operator import attrgetter
from typing import Any
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.compile import gradients as of_gradients
from ranvier.compile.batches import Batches
from ranvier.compile.kinds import GuardKind
from ranvier.compile.library import STATE, guard_hooks, guard_optimizer
from ranvier.compile.listing import Buffer, Instruction, Memory, buffers_of, instructions_of, names_of, table
from ranvier.compile.record import CHANGES_SETTINGS, CaptureError, holds_any, require_replayable
from ranvier.compile.signature import Place, filled, flattened
from ranvier.compile.walk import Walk
from ranvier.grad_mode import mode
from ranvier.ops.making import random
from ranvier.tensors.memory import Array
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.views import FLAG, INFERENCE

EARLIER = "the gradient of an earlier step"


class Program:
    """A recorded step as a list of instructions on numbered buffers; from `rv.compile(step).programs`.

    ``print(program)`` or ``program.explain()`` shows it as a table, `rv.plot.program(program)` as a picture.

    >>> import ranvier as rv
    >>> norm = rv.compile(lambda x: (x * x).sum().sqrt())
    >>> for _ in range(3): y = norm(rv.tensor([3.0, 4.0]))
    >>> [i.op for i in norm.programs[0].instructions]
    ['elementwise', 'reduce', 'elementwise']
    """

    # For CompiledFunction:
    #   core            the instructions, replayed as one call into the core
    #   call            a whole replay: the results, or None where these arguments or the guards do not fit
    #   plans           (plan, optimizer, group) of each optimizer step
    #   checks          how many checks there were; after the last one `granted` replays were left
    #   renewed         made from the second eager run, because the first took another path
    #   size            bytes of all its memory that does not outlive it
    #   reads_users     whether code of the user's runs in the step
    #   signature       of the calls that it serves (`_core.Signature`)
    #   result_form     what the step returns, with places of Tensors
    #   changed_in_place  Tensors whose changes a replay counts
    #   modules         those that outlive the step

    def __init__(
        self,
        recording: Recording,
        signature: Any,
        arguments: list[Array],
        roots: list[tuple[Any, str]],
        result: Any,
        forward_only: bool = False,
        walk: Walk | None = None,
    ) -> None:
        """arguments: the arrays of the call. signature: of the call.

        roots: the function and the arguments that are no arrays, with their names.
        forward_only: the function is the forward pass of a model, always without a tape.
        walk: what a step of the library's own leads to, of which no code was read.
        """
        self.checks, self.granted, self.renewed = 0, 0, False
        tensors: list[Tensor] = []
        self.result_form = flattened(result, tensors)
        kinds = [recording.core.kind_of(t._array) for t in tensors]
        of_mode = INFERENCE * mode.inference
        self._of_other_mode = [
            (i, INFERENCE - of_mode) for i, t in enumerate(tensors) if t._cell[FLAG] & INFERENCE != of_mode
        ]
        self._fixed = [t if kind == "persistent" else None for t, kind in zip(tensors, kinds, strict=True)]
        self._made_by: list[tuple[int, Callable[[], Tensor]]] = []  # results that no array is made for
        same = {id(t._cell): i for i, t in enumerate(tensors)}  # views count changes together
        self._joined = [(i, same[id(t._cell)]) for i, t in enumerate(tensors) if self._fixed[i] is None]
        outputs = [t._array for t, kind in zip(tensors, kinds, strict=True) if kind == "temporary"]
        of_gradients.forget_local(recording)
        gradients: list[tuple[Tensor, Tensor]] = []
        kept: list[Array] = []
        number: dict[int, int] = {}
        for leaf, *_ in recording.leaves.values():
            if (grad := leaf._grad) is not None:
                gradients.append((leaf, grad))
                if recording.core.kind_of(grad._array) == "temporary":
                    number[id(grad._array)] = len(kept)
                    kept.append(grad._array)
        require_replayable(recording, kinds, outputs + kept, result)
        self.modules = _lasting(recording.modules)
        self.core = _core.Program(recording.core, arguments, outputs, kept, self._watched())
        self.call = self.core.call
        self.plans, self._forward_only = recording.plans, forward_only
        self._roots = roots
        self._leaves = [leaf for leaf, _ in gradients]
        self._carried = of_gradients.carried_over(recording)
        self.reads_users = walk is None
        self._moves: dict[int, Tensor] | None = None  # those whose gradient may be in other memory
        fault = self.guard(recording, walk) or of_gradients.shared(kept)
        fault = fault or of_gradients.odd(recording, gradients)
        if not fault and _core.share_memory([t._array for t in self._walk.tensors], arguments):
            fault = "an argument shares memory with a Tensor that the step reads otherwise, too; pass a copy"
        held = [array for plan, *_ in self.plans for array in plan.in_memory]
        if not fault and _core.share_memory(held, [t._array for t in recording.changed.values()]):
            fault = CHANGES_SETTINGS
        groups = {id(g): g for _, optimizer, _ in self.plans for g in optimizer.param_groups}
        if not fault and holds_any(result, self._walk.seen | groups):
            fault = (
                "the step returns a list or dict that it reads, which a replay would copy; return what is new"
            )
        if fault:
            raise CaptureError(fault, result)
        left: list[tuple[Tensor, Tensor | None, int]] = []
        carried = set()
        for leaf, before, _ in recording.leaves.values():
            grad = leaf._grad
            carried |= {id(grad), id(before)}
            if grad is None or grad is not before:
                left.append((leaf, grad, -1 if grad is None else number.get(id(grad._array), -1)))
        self.changed_in_place = [t for t in recording.changed.values() if id(t) not in carried]
        self.signature = signature
        self._find_makers(tensors, gradients)
        self._set_call(left)

    def _find_makers(self, results: list[Tensor], gradients: list[tuple[Tensor, Tensor]]) -> None:
        """Results that are the gradient of a Tensor, and new views of what outlives the step."""
        leaf_of = {id(t._grad): t for t in self._walk.tensors} | {id(grad): leaf for leaf, grad in gradients}
        lasting = set(map(id, self._walk.tensors))
        for i, t in enumerate(results):
            if id(t) in leaf_of:
                self._made_by.append((i, functools.partial(getattr, leaf_of[id(t)], "grad")))
            elif self._fixed[i] is not None and id(t) not in lasting:
                self._made_by.append((i, t.detach))

    @classmethod
    def of_form(
        cls, core: Any, walk: Walk, left: list[tuple[Any, Any, int]], parts: dict[str, Any]
    ) -> Program:
        """A program that another step was recorded for (`shared.py`).

        walk: what this step leads to. left: as of `_core.Program.set_call`. parts: the attributes that
        follow from the form.
        """
        self = cls.__new__(cls)
        vars(self).update(parts)
        self.checks, self.renewed, self.granted = 1, False, 0
        self.core, self.call, self._fixed = core, core.call, [None] * core.results
        self.checks_left = -1
        self._forward_only, self.reads_users = False, False
        self._roots, self._leaves = [], [leaf for leaf, *_ in left]
        self._carried, self._moves, self._of_itself = [], {}, True
        self._made_by, self._joined, self._of_other_mode = [], [], []
        self._guard_rest(walk)
        core.set_guards(walk.all())
        self._set_call(left)
        return self

    def needs_nothing_else(self) -> bool:
        """True if a replay needs no more than the arrays that its form names."""
        more = self.reads_users or self._forward_only or self._walk.names or self._made_by
        return self._of_itself and not (more or any(t is not None for t in self._fixed))

    def _set_call(self, left: list[tuple[Any, Any, int]]) -> None:
        """left is not kept: gradients that others refer to are not written to."""
        memory = self.memory
        self.size = memory.arena + memory.workspace + memory.made + memory.prepared
        made = self.changed_in_place, of_gradients.renewed, self._walk.tensors
        self.core.set_call(self.signature, left, *made)
        one = type(self.result_form) is Place and not (self._made_by or self._of_other_mode)
        self._one_tensor = one and self._fixed[0] is None
        self._may_arm = not (self.plans or any(isinstance(x, Tensor) for x, _ in self._roots))

    def arm(self, function: Any, model: Any = None) -> None:
        """Lets the core answer the next calls of a compiled function by itself, if it may."""
        if self._may_arm:
            function._arm(self, self.core, self._one_tensor, model, function._lock)

    checks_left: Any = property(
        attrgetter("core.checks_left"),
        lambda self, replays: setattr(self.core, "checks_left", replays),
        doc="Replays until the next check; negative: no more checks.",
    )

    # --- guards
    def guard(self, recording: Recording, walk: Walk | None = None) -> str:
        """Finds what the step has read, for the core to compare before each replay; "" or why it cannot.

        recording: a run of it. walk: what it leads to, where that is known.
        """
        if walk is None:
            walk = Walk(recording.executed)
            walk.run([*self._roots, *[(m, f"a layer {type(m).__name__}") for m in self.modules]])
        self._guard_rest(walk)
        self._guard_gradients(recording, walk)  # last, since they may move
        self.core.set_guards(walk.all())
        return walk.fault

    def _guard_rest(self, walk: Walk) -> None:
        """Guards on what no name leads to: modes, the random stream, optimizers, hooks."""
        self._walk = walk
        walk.add((GuardKind.ATTRIBUTE, mode, "inference", mode.inference, "rv.inference_mode()"))
        if not self._forward_only:
            walk.add((GuardKind.ATTRIBUTE, mode, "enabled", mode.enabled, "rv.no_grad()"))
        stream = random.current()
        if self.core.overlaps([stream.state]):  # the step draws from it
            walk.add((GuardKind.CALL, random.current, "", stream, "the random stream of this thread"))
        for plan, optimizer, group in self.plans:
            guard_optimizer(walk, plan, optimizer, group)
        guard_hooks(walk, self._leaves)
        walk.drain()
        walk.refuse_unreached()

    def _guard_gradients(self, recording: Recording, walk: Walk) -> None:
        updated = [p for plan, *_ in self.plans for p in plan.active]
        if self._moves is None:
            used = {id(t): t for t in [*updated, *(leaf for leaf, _ in self._carried)]}
            others = [*walk.tensors, *(t for t in self._fixed if t is not None)]
            moves = of_gradients.movable(recording, list(used.values()), others)
            self._moves = {id(leaf): leaf for leaf, _ in moves}
            self.core.let_move(moves)
        expected: dict[int, Any] = {key: (leaf, "grad", -1) for key, leaf in self._moves.items()}
        for leaf, address in self._carried:
            expected.setdefault(id(leaf), (leaf, "grad", address))
        for leaf, address in of_gradients.not_made(recording, [*updated, *walk.tensors]):
            expected.setdefault(id(leaf), (leaf, None, address))
        for leaf, key, address in expected.values():
            walk.add((GuardKind.GRADIENT, leaf, key, address, EARLIER))
        # The step may ask whether there is one.
        asked = [t for t in walk.tensors if id(t) not in expected] if walk.reads_gradients else []
        for t in asked:
            exists = of_gradients.before(recording, t) is not None
            walk.add((GuardKind.CALL, functools.partial(of_gradients.exists, t), "", exists, EARLIER))
        self._of_itself = not (expected or asked)  # it needs no gradient of an earlier step

    def changed(self) -> str:
        """The first guarded value that has changed, in words; "" where none has."""
        place = self.core.first_changed()
        return "" if place < 0 else self._walk.text(place)

    def accept(self, recording: Recording) -> str:
        """Takes in what another run has read, after which replays go on; "" or why they cannot."""
        fault = self.guard(recording)
        recording.leaves.clear()  # adopt_gradients counts the references to them
        self.core.adopt_gradients()
        return fault

    def may_change(self, text: str) -> bool:
        """True if this may change in a step that is replayed: gradients move, optimizers make their state."""
        return text == EARLIER or text.startswith(f"{STATE} of ")

    def _watched(self) -> list[Tensor]:
        """Parameters and buffers, each in separate memory, of a step without a tape.

        With a tape they are likely to change, and what was prepared from them would not last.
        """
        if mode.enabled:
            return []
        tensors = {id(t): t for m in self.modules for t in (*m.parameters(), *m.buffers())}
        return [t for t in tensors.values() if hasattr(t, "_array") and _is_alone(t._array)]

    # --- replays
    def is_current(self) -> bool:
        """True if a replay would still do what the step does."""
        return self.refreshed() and self.core.is_current()

    def refreshed(self) -> bool:
        """Copies the settings of the optimizers for the kernels; False where they are no longer possible."""
        try:
            for plan, optimizer, group in self.plans:
                if not plan.refresh(optimizer, group):
                    return False
        except Exception:  # A setting is out of range. The eager step refuses it in its turn.
            return False
        return True

    def grant(self, replays: int) -> None:
        """The number of replays until the next check; negative: no more checks."""
        self.granted += replays - self.checks_left
        self.checks_left = replays

    def replays_since(self) -> int:
        """Replays since the last call of this."""
        replays = self.granted - self.checks_left
        self.granted = self.checks_left
        return int(replays)

    def run_batches(self, args: tuple[Any, ...], kwargs: dict[str, Any], batches: Batches) -> Any:
        """See `CompiledFunction.run_batches`."""
        if not self.refreshed() or any(t is not None for t in self._fixed):
            return None
        try:
            b = batches
            results = self.core.run_batches(args, kwargs, b.order, b.size, b.first, b.count, b.entries)
        finally:
            batches.done = self.core.batches_done
        return None if results is None else self.result(results)

    def result(self, arrays: tuple[Array, ...]) -> Any:
        """The result of the step, made from the arrays of a run."""
        if self._one_tensor:
            return wrap(arrays[0])
        arrived = iter(arrays)
        tensors = [wrap(next(arrived)) if t is None else t for t in self._fixed]
        for i, make in self._made_by:
            tensors[i] = make()
        for i, j in self._joined:
            tensors[i]._cell = tensors[j]._cell
        for i, flag in self._of_other_mode:
            tensors[i]._cell[FLAG] = tensors[i]._cell[FLAG] & ~INFERENCE | flag
        return filled(self.result_form, tensors)

    def settings(self) -> list[tuple[float, ...]]:
        """The numbers that the optimizers' kernels read, brought up to date."""
        for plan, optimizer, group in self.plans:
            plan.refresh(optimizer, group)
        return [(*plan.values,) for plan, *_ in self.plans]

    # --- what a user sees
    @property
    def instructions(self) -> list[Instruction]:
        """In the order of execution; the first replays measure their times."""
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

        Times are those of the first replays; "?" before that. `Operand.name` says how operands are named.
        """
        print(self)

    def __str__(self) -> str:
        return table(self.instructions, self.memory)

    def __repr__(self) -> str:
        return f"<Program of {len(self.core.instructions())} instructions>"

    def _names(self) -> dict[int, str]:
        return names_of(self.modules, self.core.gradients(), self.plans)


def _is_alone(array: Array) -> bool:
    """True if the array is all of its memory: who changes the memory then changes this Tensor."""
    base = array.base
    if base is None:
        return True
    return type(base) is np.ndarray and base.base is None and base.nbytes == array.nbytes


def _lasting(modules: dict[int, Any]) -> list[Any]:
    """The modules that outlive the step: others were made in it, and end with the recording's reference."""
    references = [ref(m) for m in modules.values()]
    modules.clear()
    return [m for r in references if (m := r()) is not None]
