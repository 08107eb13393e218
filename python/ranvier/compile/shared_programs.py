"""Shares programs between a Trainer's steps that are alike, such as those of the fits of a cross-validation.

The guards of such a step contain everything on which its kernel calls depend. If the objects in the guards
are replaced by numbers, in the order in which the walk meets them, two steps that are alike have equal
guards, and the second one would be recorded as the same program on other memory. So `StepForm` describes a
step in this way, and a program that was checked once is saved without its memory (`Shared`), under the key of
its step's form. A step with the same key gets a copy that is bound to its own parameters, optimizer state and
gradients. That step is neither recorded nor checked.

The policy of a Trainer's steps (`train/program_policy.py`) calls `form` and `find` before a recording, and
`share` after the check of a program.
"""

from __future__ import annotations

import builtins
import functools
import sys
import types
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.compile.guarding.capturable import GuardKind
from ranvier.compile.guarding.equality import canonical, pairs_of
from ranvier.compile.guarding.guards import Guard
from ranvier.compile.guarding.library_guards import READ_BY_KERNELS
from ranvier.compile.guarding.origins import PACKAGE
from ranvier.compile.guarding.program_guards import ProgramGuards
from ranvier.compile.guarding.signature import is_array
from ranvier.compile.guarding.step_gradients import Left, renewed
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.program import Program
from ranvier.compile.record import OneCall
from ranvier.compile.results import Results
from ranvier.observe import Lock
from ranvier.ops.attach import Later
from ranvier.ops.making import random
from ranvier.optim import Optimizer
from ranvier.tensors.memory import Array

# The kinds of guards that a form contains as they are. With any other kind, except some calls
# (`_comparable`), a step has no form.
_COMPARED = frozenset(
    {GuardKind.ITEMS, GuardKind.SLOT, GuardKind.ATTRIBUTE, GuardKind.LIST, GuardKind.DICT, GuardKind.TYPE}
)
_MOST_PROGRAMS = 64  # more are dropped, the one used first of all
# classes of arguments, besides arrays, of steps that share programs
_ARGUMENTS = (int, bool, str, type(None))
# Packages whose modules and classes are guarded: a program is dropped if the user's program changes one.
_FOLDERS = "tensors", "tape", "autograd", "ops", "nn", "optim", "train", "sklearn"
_PACKAGES = tuple(f"ranvier.{name}" for name in _FOLDERS)
_programs: OrderedDict[Any, Shared] = OrderedDict()  # by the key of a form, the one used last at the end
# The code with which the programs were made, and one `_core.Guards` on it, which says fast that nothing has
# changed.
_namespaces: list[_Namespace] = []
_guards: list[_core.Guards] = []
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

    def __init__(self, walk: Walk, signature: _core.Signature) -> None:
        """signature: of the call. Raises ValueError for a value of which it is not known how it is
        compared."""
        self.walk = walk
        self.objects: list[Any] = []
        self.optimizers: list[tuple[Any, Any]] = []
        self.numbers: dict[int, int] = {}
        guards = [_comparable(guard) for guard in walk.guards]
        optimizers = {id(optimizer): optimizer for optimizer, _ in walk.optimizers}
        updates = [self._update_of(optimizer) for optimizer in optimizers.values()]
        values = tuple(canonical((*guards, *updates), self.numbers, self.objects))
        self.arrays = [x for x in self.objects if type(x) is np.ndarray]
        self.arrays.append(random.current().state)
        self._require_described()  # needs `objects`, `numbers` and `optimizers`, which are complete now
        classes = tuple(map(type, self.objects))
        layouts = tuple([(str(a.dtype), a.shape, a.strides) for a in self.arrays])
        self.key = signature, tuple(walk.of_library), values, classes, layouts

    def _require_described(self) -> None:
        """Raises ValueError for an object that the walk has not followed: it has no guards on its contents,
        so the form does not describe it. Arrays need no guards: their layouts are in the key."""
        walk = self.walk
        described = walk.seen.keys() | walk.described
        for _, owner, key, *_ in walk.guards:
            described |= {id(owner), id(key)}
        described |= {id(group) for _, group in self.optimizers}
        for key in self.numbers.keys() - described:
            if type(self.objects[self.numbers[key]]) is not np.ndarray:
                raise ValueError

    def _update_of(self, optimizer: Optimizer) -> tuple[Any, ...]:
        """All on which an optimizer's update depends, for the key. Numbers among its settings are left out:
        the kernel reads them at each replay."""
        described: list[Any] = [optimizer]
        for group in optimizer.param_groups:
            settings = [(k, type(v), v) for k, v in group.items() if type(v) not in READ_BY_KERNELS]
            plan = optimizer._plans.get(id(group))
            described += tuple(group), tuple(settings), tuple(group["params"]), plan is None
            if plan is None:
                continue
            updated = [p for p in group["params"] if p._grad is not None]
            if not plan.fits(optimizer, group, updated):
                raise ValueError
            self.optimizers.append((optimizer, group))
            described += plan.names, plan._numbers  # an array, so its layout is compared and not its numbers
            # `StepArguments` of optim/optimizer_state.py
            for parameters, steps, counts, states, _ in plan.by_dtype:
                for arrays in (parameters, steps, counts, *states):
                    described_arrays = None if arrays is None else tuple(arrays)
                    described.append(described_arrays)
        return tuple(described)


def _comparable(guard: Guard) -> tuple[Any, ...]:
    """A guard without its text, as `canonical` compares it. Raises ValueError if it cannot be compared."""
    kind, owner, key, expected, _ = guard
    if kind in _COMPARED:
        return kind, owner, key, expected
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
        leaves = self._objects(form, self.leaves)
        if any(leaf._grad is None for leaf in leaves):
            return None
        if _core.share_memory([t._array for t in form.walk.tensors], arrays):
            return None
        gradients = [renewed(leaf._grad) for leaf in leaves]
        core = self.core.bound(form.arrays, arrays, [g._array for g in gradients])
        if core is None:
            return None
        updates = [form.optimizers[n] for n in self.plans]
        plans = [(optimizer._plans[id(group)], optimizer, group) for optimizer, group in updates]
        guards = ProgramGuards(core, plans, leaves, [])
        guards.from_walk(form.walk)
        modules = self._objects(form, self.modules)
        changed = self._objects(form, self.changed)
        left: Left = list(zip(leaves, gradients, range(len(leaves)), strict=True))
        results = Results(self.results, [None] * core.results)
        program = Program(core, self.signature, plans, modules, results, guards, changed, left)
        # it was checked, and is not checked again
        program.checks = 1
        program.checks_left = -1
        if program.is_current():
            return program
        return None

    @staticmethod
    def _objects(form: StepForm, numbers: list[int]) -> list[Any]:
        return [form.objects[number] for number in numbers]


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
        _namespaces.clear()


def _forget_outdated() -> None:
    """Drops all programs if functions of the library have been replaced since the programs were made.

    The programs of one fit have no guards on that, but a new fit must use the new functions.
    """
    if not _namespaces or _guards[0].first_changed() < 0:
        return
    if all(map(_only_loaded_more, _namespaces)):
        _remember_library()
    else:
        forget()


class _Namespace(NamedTuple):
    """The variables of a module, or the attributes of a class, and their values when they were remembered."""

    owner: types.ModuleType | type
    values: dict[str, Any]


def _only_loaded_more(space: _Namespace) -> bool:
    """True if all that has changed in a namespace is what the library itself loads at its first use."""
    for name, value in vars(space.owner).items():
        before = space.values.get(name, NotImplemented)
        if value is before or name == "__slotnames__":  # which the module copyreg adds to classes
            continue
        function = getattr(value, "__wrapped__", value)
        if function is before:  # a function that became a public one
            continue
        is_later = type(before) is Later
        if before is NotImplemented and isinstance(space.owner, types.ModuleType):
            is_later = name not in vars(builtins)
        if not is_later or not _is_of_library(function):
            return False
    return space.values.keys() <= vars(space.owner).keys()


def _is_of_library(value: object) -> bool:
    """True for a module, class or function of the library."""
    if isinstance(value, types.ModuleType):
        return value.__name__.startswith("ranvier.")
    if isinstance(value, type):
        return value.__module__.startswith("ranvier.")
    return isinstance(value, types.FunctionType) and value.__code__.co_filename.startswith(PACKAGE)


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


def _remember_library() -> None:
    """Notes the modules and classes of the library that take part in steps, and makes guards on them."""
    _namespaces.clear()
    rows: list[tuple[int, Any, Any, Any]] = []
    for name, module in sorted(sys.modules.items()):
        if not name.startswith(_PACKAGES) or module is None:
            continue
        variables = vars(module)
        _namespaces.append(_Namespace(module, dict(variables)))
        rows.append((GuardKind.DICT, variables, "", pairs_of(variables)))
        for value in variables.values():
            if isinstance(value, type) and value.__module__ == name:
                _namespaces.append(_Namespace(value, dict(vars(value))))
                rows.append((GuardKind.NAMES, value, "", pairs_of(vars(value))))
    guards = _core.Guards()
    guards.set(rows)
    _guards[:] = [guards]


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
        if not _namespaces:
            _remember_library()
        _programs[form.key] = shared
        if len(_programs) > _MOST_PROGRAMS:
            _programs.popitem(last=False)
