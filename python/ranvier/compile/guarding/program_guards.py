"""`ProgramGuards`: the guards of one program, on the values that its step reads besides its arguments.

Most guards come from a walk through all values that the step's code can reach by names (`walk.py`). The
others are on what no name leads to: modes, the random stream, optimizers, hooks, gradients of earlier steps.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from ranvier.compile.guarding import step_gradients
from ranvier.compile.guarding.capturable import GuardKind
from ranvier.compile.guarding.library_guards import STATE, guard_hooks, guard_optimizer
from ranvier.compile.guarding.walk import Walk
from ranvier.grad_mode import mode
from ranvier.ops.making import random
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.nn import Module

EARLIER = "the gradient of an earlier step"


class ProgramGuards:
    """The guards of one program.

    Attributes:
        core: the `_core.Program`. plans: (plan, optimizer, group) of each optimizer step.
        leaves: Tensors whose gradients the step leaves.
        roots: the function and the arguments that are no arrays, each with a text that names it.
        walk: the latest walk from the roots, with its guards.
        forward_only: whether the step runs without a tape.
        users: whether code of the user's runs in the step.
        _carried: (leaf, address of its gradient) of gradients of earlier steps that the step uses.
        _moves: by id, the leaves whose gradient a replay may find in other memory; None before the first run.
        _count_without_gradients: how many guards the walk had before those on gradients, which are the last.
    """

    def __init__(
        self,
        core: Any,
        plans: list[Any],
        leaves: list[Tensor],
        roots: list[tuple[Any, str]],
        forward_only: bool = False,
        users: bool = False,
    ) -> None:
        self.core = core
        self.plans = plans
        self.leaves = leaves
        self.roots = roots
        self.forward_only = forward_only
        self.users = users
        self.walk: Any = None
        self._carried: list[tuple[Any, int]] = []
        self._moves: dict[int, Tensor] | None = None
        self._count_without_gradients = 0

    def take(self, guards: Any) -> None:
        """Takes the guards of a program that was made of another step's: they have what is used here of a
        Walk (`GuardsOfForm` of `shared_programs.py`)."""
        self.walk = guards
        self.core.set_guards(guards.for_core())

    def from_run(
        self,
        recording: Recording,
        modules: list[Module],
        fixed: list[Tensor | None],
        walk: Walk | None = None,
    ) -> str:
        """Makes the guards from a recorded run; returns "", or why something that was read cannot be
        compared.

        modules: the modules that outlive the step. fixed: the results that outlive it, or None. walk: the
        guards of the step if they were found before the run.
        """
        if walk is None:
            walk = Walk(recording.traced)
            walk.run([*self.roots, *[(m, f"a layer {type(m).__name__}") for m in modules]])
        self._find_rest(walk)
        self._count_without_gradients = len(walk.guards)
        # Only at the first run, not at checks: `let_move` has then told the core which gradients may move.
        if self._moves is None:
            self._carried = step_gradients.carried_over(recording)
        self._find_gradients(recording, walk, fixed)  # last, since they may move
        self.core.set_guards(walk.for_core())
        return walk.fault

    def follow_gradients(self, recording: Recording, fixed: list[Tensor | None]) -> bool:
        """Makes the guards on gradients anew from another run of the same code; returns whether all guards
        hold then. Gradients move to other memory between the first run and the second."""
        del self.walk.guards[self._count_without_gradients :]
        self._find_gradients(recording, self.walk, fixed)
        self.core.set_guards(self.walk.for_core())
        return not self.changed()

    def _find_rest(self, walk: Walk) -> None:
        """Guards on what no name leads to: modes, the random stream, optimizers, hooks."""
        self.walk = walk
        walk.add((GuardKind.ATTRIBUTE, mode, "inference", mode.inference, "rv.inference_mode()"))
        if not self.forward_only:
            walk.add((GuardKind.ATTRIBUTE, mode, "enabled", mode.enabled, "rv.no_grad()"))
        stream = random.current()
        if self.core.overlaps([stream.state]):  # the step draws from it
            walk.add((GuardKind.CALL, random.current, "", stream, "the random stream of this thread"))
        for plan, optimizer, group in self.plans:
            guard_optimizer(walk, plan, optimizer, group)
        guard_hooks(walk, self.leaves)
        walk.drain()
        walk.refuse_unreached()

    def _find_gradients(self, recording: Recording, walk: Walk, fixed: list[Tensor | None]) -> None:
        """Guards on gradients of earlier steps, by the address of each: -1: it may be anywhere, 0: none."""
        updated = [p for plan, *_ in self.plans for p in plan.active]
        if self._moves is None:
            used = {id(t): t for t in [*updated, *(leaf for leaf, _ in self._carried)]}
            others = [*walk.tensors, *(t for t in fixed if t is not None)]
            moves = step_gradients.movable(recording, list(used.values()), others)
            self._moves = {id(leaf): leaf for leaf, _ in moves}
            self.core.let_move(moves)
        expected: dict[int, Any] = {key: (leaf, "grad", -1) for key, leaf in self._moves.items()}
        for leaf, address in self._carried:
            expected.setdefault(id(leaf), (leaf, "grad", address))
        for leaf, address in step_gradients.not_made(recording, [*updated, *walk.tensors]):
            expected.setdefault(id(leaf), (leaf, None, address))
        # key "grad": nothing else may refer to the gradient's array, since the step adds to it in place.
        for leaf, key, address in expected.values():
            walk.add((GuardKind.GRADIENT, leaf, key, address, EARLIER))
        # The step may test whether a Tensor has a gradient.
        if walk.reads_gradients():
            asked = [t for t in walk.tensors if id(t) not in expected]
        else:
            asked = []
        for t in asked:
            exists = step_gradients.before(recording, t) is not None
            walk.add((GuardKind.CALL, functools.partial(step_gradients.exists, t), "", exists, EARLIER))

    def changed(self) -> str:
        """A text that names the first guarded value that has changed; "" if none has."""
        place = self.core.first_changed()
        if place < 0:
            return ""
        return self.walk.text(place)


def may_change(text: str) -> bool:
    """True if the value that the text names may change although the step can be replayed: gradients move to
    other memory, and optimizers make their state in the first step."""
    return text == EARLIER or text.startswith(f"{STATE} of ")
