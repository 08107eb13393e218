"""Program: the kernel calls of a recording, and what a replay needs besides them.

A replay is one call into the core (`call`), which compares arguments and guards, runs the instructions
and gives arrays. Before it, the settings of optimizers are copied for the kernels; after it, `results.py`
makes Tensors of the arrays.
"""

from __future__ import annotations

from operator import attrgetter
from typing import TYPE_CHECKING, Any

from ranvier.compile.guarding import step_gradients
from ranvier.compile.guarding.program_guards import ProgramGuards
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.results import Results
from ranvier.tensors.recording import Recording
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    import ranvier._core as _core
    from ranvier.compile.listing import Buffer, Instruction, MemoryUse


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
    #   core            the `_core.Program`: the instructions, replayed as one call into the core
    #   call            makes a whole replay: the arrays of the results, or None where the arguments or the
    #                   guards do not fit; False where a check of values has failed in it
    #   result          a function: what the step returns, made from the arrays of a replay
    #   plans           (plan, optimizer, group) of each optimizer step
    #   checks          how many checks there were
    #   granted         what `checks_left` would be without the replays since the last `replays_since()`
    #   renewed         whether it was made from the run of a check, because the first run took another path
    #   may_compare     whether its next check needs no recording (`comparison.py`)
    #   shared          the form in which other steps may use it (`shared_programs.py`), or None
    #   has_no_form     whether it was found that other steps cannot use it
    #   may_arm         whether the core may answer calls with this program without asking Python
    #   size            bytes of the memory that is freed with the program: the cache limits their sum. Memory
    #                   that programs share counts in equal parts
    #   signature       of the calls that it fits (`_core.Signature`)
    #   guards          on what the step reads
    #   changed_in_place  Tensors of the caller that the step changes: a replay raises their counts of changes
    #   modules         the modules that were called and outlive the step

    def __init__(
        self,
        core: _core.Program,
        signature: _core.Signature,
        plans: list[Any],
        modules: list[Any],
        results: Results,
        guards: ProgramGuards,
        changed_in_place: list[Tensor],
        left: step_gradients.Left,
    ) -> None:
        """left: (leaf, gradient, index) as `_core.Program.set_call` takes it. It is not stored here: a replay
        writes only to gradients to which nothing else refers."""
        self.core = core
        self.result = results.made
        self.call = self._refreshed_call if plans else core.call
        self.signature = signature
        self.plans = plans
        self.modules = modules
        self.results = results
        self.guards = guards
        self.changed_in_place = changed_in_place
        self.checks = 0
        self.granted = 0
        self.renewed = False
        self.may_compare = False
        self.shared: Any = None
        self.has_no_form = False
        # With plans Python has to refresh the settings of the optimizers before each replay.
        self.may_arm = not (plans or any(isinstance(x, Tensor) for x, _ in guards.roots))
        memory = core.memory()
        self._own_size = memory["arena"] + memory["workspace"] + memory["made"]
        core.set_call(signature, left, changed_in_place, step_gradients.renewed, guards.walk.tensors)

    @property
    def size(self) -> int:
        return self._own_size + self.core.prepared_share()

    def _set_checks_left(self, replays: int) -> None:
        self.core.checks_left = replays

    checks_left: Any = property(
        attrgetter("core.checks_left"),
        _set_checks_left,
        doc="Replays until the next check; negative: no more checks.",
    )

    def accept(self, recording: Recording, changed: str) -> str:
        """Makes those guards anew, after a check, that the recorded run may need; returns "", or why that
        fails. changed: the text of the first guard that does not hold after the run, or ""."""
        guards = self.guards
        fixed = self.results.fixed
        # If the walk has read all code of this run, another one would find the same names, and the same
        # guards where all values are the same.
        walk = guards.walk
        is_known = isinstance(walk, Walk) and recording.traced.is_within(
            walk.traced, walk.reads_library_names
        )
        if is_known and changed:
            is_known = guards.follow_gradients(recording, fixed)
        fault = "" if is_known else guards.from_run(recording, self.modules, fixed)
        recording.leaves.clear()  # adopt_gradients counts the references to them
        self.core.adopt_gradients()
        return fault

    # --- replays
    def is_current(self) -> bool:
        """True if a replay would still do what the step does."""
        return self.refreshed() and self.core.is_current()

    def _refreshed_call(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.refreshed():
            return self.core.call(args, kwargs)
        return None

    def refreshed(self) -> bool:
        """Copies the settings of the optimizers to the arrays that the kernels read.

        False if a setting has a value with which the program cannot run.
        """
        try:
            for plan, optimizer, group in self.plans:
                if not plan.refresh(optimizer, group):
                    return False
        except Exception:  # A setting is out of range. The eager step refuses it in its turn.
            return False
        return True

    def grant(self, replays: int) -> None:
        """Allow this many replays until the next check; negative: no more checks."""
        self.granted += replays - self.checks_left
        self.checks_left = replays

    def replays_since(self) -> int:
        """Replays since the last call of this."""
        replays = self.granted - self.checks_left
        self.granted = self.checks_left
        return int(replays)

    def may_repeat(self) -> bool:
        """True if several calls may be made in one. Copies the settings of the optimizers."""
        return bool(self.checks_left) and self.refreshed() and not self.results.has_fixed

    def settings(self) -> list[tuple[float, ...]]:
        """The numbers that the optimizers' kernels read, brought up to date."""
        for plan, optimizer, group in self.plans:
            plan.refresh(optimizer, group)
        return [(*plan.values,) for plan, *_ in self.plans]

    # --- what a user sees: the module that makes it is loaded at its first use
    @property
    def instructions(self) -> list[Instruction]:
        """The kernel calls in the order of execution; the first replays measure their times."""
        from ranvier.compile import listing

        return listing.instructions_of(self.core, self._names())

    @property
    def buffers(self) -> list[Buffer]:
        """The blocks of memory that the instructions use, by number."""
        from ranvier.compile import listing

        return listing.buffers_of(self.core, self._names())

    @property
    def memory(self) -> MemoryUse:
        from ranvier.compile.listing import MemoryUse

        return MemoryUse(**self.core.memory())

    def explain(self) -> None:
        """Prints the table of instructions: operands, what was fused, threads, time and share of the whole.

        Times are those of the first replays; "?" before that. `Operand.name` says how operands are named.
        """
        print(self)

    def __str__(self) -> str:
        from ranvier.compile import listing

        return listing.table(self.instructions, self.memory)

    def __repr__(self) -> str:
        return f"<Program of {len(self.core.instructions())} instructions>"

    def _names(self) -> dict[int, str]:
        from ranvier.compile import listing

        return listing.names_of(self.modules, self.core.gradients(), self.plans)
