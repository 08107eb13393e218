"""Shares programs between a Trainer's steps of the same form, such as those of the fits of a
cross-validation.

The guards of such a step contain everything on which its kernel calls depend. If the objects in the guards
are replaced by numbers, in the order in which the walk meets them, two steps of the same form have equal
guards, and the second step would be recorded as the same program on other memory. So a program that was
checked once is kept here without its memory (`Shared`). A step of the same form gets a copy that is bound to
its own parameters, optimizer state and gradients. That step is neither recorded nor checked.
"""

from __future__ import annotations

import functools
import sys
from collections import OrderedDict
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding.capturable import GuardKind
from ranvier.compile.guarding.equality import canonical, pairs_of
from ranvier.compile.guarding.library_guards import READ_BY_KERNELS
from ranvier.compile.guarding.program_guards import ProgramGuards
from ranvier.compile.guarding.signature import is_array
from ranvier.compile.guarding.step_gradients import Left, renewed
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.program import Program
from ranvier.compile.record import OneCall
from ranvier.compile.results import Results
from ranvier.observe import Lock
from ranvier.ops.making import random
from ranvier.tensors.memory import Array

# Kinds of guards that are part of a form as they are.
_COMPARED = frozenset(
    {GuardKind.ITEMS, GuardKind.SLOT, GuardKind.ATTRIBUTE, GuardKind.LIST, GuardKind.DICT, GuardKind.TYPE}
)
_MOST = 64  # programs that are kept
# classes of arguments, besides arrays, of steps that share programs
_ARGUMENTS = (int, bool, str, type(None))
# Packages whose modules and classes are guarded: a program is dropped if the user's program changes one.
_FOLDERS = "tensors", "tape", "autograd", "ops", "nn", "optim", "train", "sklearn"
_PACKAGES = tuple(f"ranvier.{name}" for name in _FOLDERS)
_programs: OrderedDict[Any, Shared] = OrderedDict()  # by the key of a form, the one used last at the end
_guards: list[_core.Guards] = []  # at most one: the guards on the code with which the programs were made
_lock = Lock()


class StepForm:
    """The form of one step.

    Attributes:
        key: equal for all steps of the form that are called with the same signature.
        objects: the objects of this step by number. numbers: the numbers by the objects' id.
        optimizers: (optimizer, group) of each group that has a plan.
        arrays: the arrays that outlive the step, in the order of their numbers; last the random stream's
            state.
    """

    def __init__(self, walk: Walk, signature: Any) -> None:
        """signature: of the call. Raises ValueError for a value of which it is not known how it is
        compared."""
        self.walk = walk
        self.objects: list[Any] = []
        self.optimizers: list[tuple[Any, Any]] = []
        self.numbers: dict[int, int] = {}
        guards = [g[:4] if g[0] in _COMPARED else _call(*g[:4]) for g in walk.guards]
        owners = {id(thing) for _, owner, key, *_ in walk.guards for thing in (owner, key)}
        plans = [self._groups(x) for x in {id(x): x for x, _ in walk.optimizers}.values()]
        owners.update(id(group) for _, group in self.optimizers)
        values = tuple(canonical((*guards, *plans), self.numbers, self.objects))
        self.arrays = [x for x in self.objects if type(x) is np.ndarray] + [random.current().state]
        # An object that the walk has not followed has no guards on its contents, so the form does not
        # describe it. Arrays need no guards: they are described by `layouts`.
        unreached = self.numbers.keys() - walk.seen.keys() - owners - walk.described
        if any(type(self.objects[self.numbers[key]]) is not np.ndarray for key in unreached):
            raise ValueError
        kinds = tuple(map(type, self.objects))
        layouts = tuple([(str(a.dtype), a.shape, a.strides) for a in self.arrays])
        self.key = signature, tuple(walk.of_library), values, kinds, layouts

    def _groups(self, x: Any) -> tuple[Any, ...]:
        """All on which an optimizer's update depends, for the key. Numbers among its settings are left out:
        the kernel reads them at each replay."""
        described: list[Any] = [x]
        for group in x.param_groups:
            settings = [(k, type(v), v) for k, v in group.items() if type(v) not in READ_BY_KERNELS]
            plan = x._plans.get(id(group))
            described += tuple(group), tuple(settings), tuple(group["params"]), plan is None
            if plan is None:
                continue
            if not plan.fits(x, group, [p for p in group["params"] if p._grad is not None]):
                raise ValueError
            self.optimizers.append((x, group))
            rows = plan.by_dtype
            lists = [a for ps, steps, counts, states, _ in rows for a in (ps, steps, counts, *states)]
            described += plan.names, plan._numbers, *[None if a is None else tuple(a) for a in lists]
        return tuple(described)


def _call(kind: int, owner: Any, key: Any, expected: Any) -> Any:
    """A guard of kind CALL in the form in which `canonical` compares it."""
    if kind == GuardKind.CALL and type(owner) is functools.partial and not owner.keywords:
        return kind, owner.func, owner.args, expected
    raise ValueError


class Shared:
    """A checked program without its memory, and the numbers in the form of the objects that it uses."""

    def __init__(self, core: Any, program: Program, form: StepForm) -> None:
        """core: of `_core.Program.form`. Raises KeyError or ValueError if the program uses an object that is
        no part of the form."""
        self.core = core
        self.signature = program.signature
        self.results = program.results.form
        self.leaves = [form.numbers[id(leaf)] for leaf, _ in program.core.gradients()]
        self.changed = [form.numbers[id(t)] for t in program.changed_in_place]
        self.modules = [form.numbers[id(m)] for m in program.modules]
        places = [(id(x), id(group)) for x, group in form.optimizers]
        self.plans = [places.index((id(x), id(group))) for _, x, group in program.plans]

    def bound(self, form: StepForm, arrays: list[Array]) -> Program | None:
        """The program for a step of the same form, called with these arrays as arguments; None if a gradient
        does not exist yet, or the memory differs from that of the checked step."""
        leaves = [form.objects[n] for n in self.leaves]
        tensors = [t._array for t in form.walk.tensors]
        if any(leaf._grad is None for leaf in leaves) or _core.share_memory(tensors, arrays):
            return None
        gradients = [renewed(leaf._grad) for leaf in leaves]
        core = self.core.bound(form.arrays, arrays, [g._array for g in gradients])
        if core is None:
            return None
        plans = [(x._plans[id(group)], x, group) for x, group in (form.optimizers[n] for n in self.plans)]
        guards = ProgramGuards(core, plans, leaves, [])
        guards.from_walk(form.walk)
        modules, changed = ([form.objects[n] for n in numbers] for numbers in (self.modules, self.changed))
        left: Left = [(leaf, grad, i) for i, (leaf, grad) in enumerate(zip(leaves, gradients, strict=True))]
        results = Results(self.results, [None] * core.results)
        program = Program(core, self.signature, plans, modules, results, guards, changed, left)
        # it was checked, and is not checked again
        program.checks = 1
        program.checks_left = -1
        if program.is_current():
            return program
        return None


def form(walk: Walk | None, call: OneCall) -> StepForm | None:
    """The form of a step of the library's own; None if the step has none. walk: its guards, or None."""
    if walk is None or call.kwargs or not all(type(x) in _ARGUMENTS or is_array(x) for x in call.args):
        return None
    try:
        return StepForm(walk, call.key)
    except ValueError:
        return None


def forget() -> None:
    """Drops all programs."""
    with _lock:
        _programs.clear()
        _guards.clear()


def _forget_outdated() -> None:
    """Drops all programs if functions of the library have been replaced since the programs were made.

    The programs of one fit have no guards on that, but a new fit must use the new functions.
    """
    if _guards and _guards[0].first_changed() >= 0:
        forget()


def find(form: StepForm, arrays: list[Array]) -> Program | None:
    """A program of this form for this step, or None."""
    with _lock:
        _forget_outdated()
        shared = _programs.get(form.key)
        if shared is not None:
            _programs.move_to_end(form.key)
    if shared is None:
        return None
    return shared.bound(form, arrays)


def share(program: Program, form: StepForm) -> None:
    """Keeps a program that was checked, for other steps of its form."""
    by_form = program.results.all_new and program.guards.nothing_else
    core = program.core.form(form.arrays) if by_form else None
    if core is None:
        return
    try:
        shared = Shared(core, program, form)
    except (KeyError, ValueError):
        return
    with _lock:
        _forget_outdated()
        if not _guards:  # on the modules and classes of the library that take part in steps
            rows: list[tuple[int, Any, Any, Any]] = []
            for name, module in sorted(sys.modules.items()):
                if name.startswith(_PACKAGES) and module is not None:
                    own = vars(module)
                    rows.append((GuardKind.DICT, own, "", pairs_of(own)))
                    kinds = [x for x in own.values() if isinstance(x, type) and x.__module__ == name]
                    rows += [(GuardKind.NAMES, x, "", pairs_of(vars(x))) for x in kinds]
            _guards.append(_core.Guards())
            _guards[0].set(rows)
        _programs[form.key] = shared
        if len(_programs) > _MOST:
            _programs.popitem(last=False)
