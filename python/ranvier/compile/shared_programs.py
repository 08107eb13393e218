"""Programs by what they compute with: a step on other objects of the same form gets a program that is there.

A program belongs to the objects that its guards name: a model, an optimizer, a cache of keys and values. The
next text has a new cache, the next fold of a cross-validation a new model. If such a step reads equal values
in the same places, it does the same kernel calls on other memory. So a checked program is kept without its
memory and its objects (`SharedProgram`). The core compares another step with its guards, finds the objects
that stand in the places of the old ones (`_core.GuardForm`), and makes the program for their arrays
(`_core.ProgramForm`). That step is neither recorded nor checked at once.

`CompiledFunction` calls `find` before a recording, and `share` after checks.
"""

from __future__ import annotations

import builtins
import functools
import sys
import types
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.compile.build import is_alone
from ranvier.compile.guarding.capturable import CACHED, CONTAINERS, GuardKind
from ranvier.compile.guarding.equality import BY_VALUE, pairs_of
from ranvier.compile.guarding.guards import Guard, text_of
from ranvier.compile.guarding.library_guards import READ_BY_KERNELS, STATE
from ranvier.compile.guarding.origins import PACKAGE
from ranvier.compile.guarding.program_guards import EARLIER, ProgramGuards
from ranvier.compile.guarding.signature import Place, others, parts_of, with_parts
from ranvier.compile.guarding.step_gradients import Left
from ranvier.compile.guarding.traced_code import TracedCode
from ranvier.compile.guarding.walk import Walk
from ranvier.compile.program import Program
from ranvier.compile.record import OneCall
from ranvier.observe import Lock
from ranvier.ops.attach import Later
from ranvier.ops.making import random
from ranvier.optim import Optimizer
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.memory import Array, filled_like
from ranvier.tensors.tensor import Tensor, wrap

_MOST_PROGRAMS = 64  # more are dropped, the one used first of all
# Packages whose modules and classes are guarded: a program of a step in which no code of the user's runs is
# dropped if the user's program changes one.
_FOLDERS = "tensors", "tape", "autograd", "ops", "nn", "optim", "train", "sklearn"
_PACKAGES = tuple(f"ranvier.{name}" for name in _FOLDERS)
# By the code of the step and the form of its signature; the key used last is at the end, and of each key the
# program used last.
_programs: OrderedDict[tuple[int, int], list[SharedProgram]] = OrderedDict()
# The code with which the programs were made, and one `_core.Guards` on it, which says fast that nothing has
# changed.
_namespaces: list[_Namespace] = []
_guards: list[_core.Guards] = []
_lock = Lock()


class NoFormError(Exception):
    """The step has an object of its own that no number can stand for."""


class OwnObject(int):
    """Stands in the form of a result for an object that belongs to the step; its value is the number."""

    __slots__ = ()


class Match(NamedTuple):
    """What `find` has found: a program for the step; or whether its next call may have one.

    comes_later: the step needs something that its first call makes, such as the state of an optimizer.
    """

    program: Program | None = None
    comes_later: bool = False


class GuardsOfForm:
    """The guards of a program that was made of another step's.

    It has what `ProgramGuards` and checks need of a `Walk`.
    """

    reads_library_names = False

    def __init__(self, own: list[Guard], form: SharedProgram, tensors: list[Tensor]) -> None:
        """own: the guards on the step's own objects. form: has those that all steps of the form share.

        tensors: those that the step reads.
        """
        self._own = own
        self._common = form.common
        self._common_core = form.common_core
        self.tensors = tensors
        self.traced = TracedCode()  # no code is noted where a check is recorded (`CompiledFunction._record`)

    def for_core(self) -> list[Any]:
        """All guards as the core takes them: shared ones as one object, in the same places."""
        return [*[guard[:4] for guard in self._own], self._common_core]

    def text(self, place: int) -> str:
        """A text that names the value of the guard at this place, which does not hold."""
        return text_of([*self._own, *self._common][place])


class Numbers(NamedTuple):
    """The numbers, in the form of a step, of objects that its program uses.

    leaves: those that get a gradient, in the order of its memory. cleared: those that lose theirs. changed:
    the Tensors that the step changes in place. optimizers, groups: of each update. watched: the Tensors from
    which the program prepares data.
    """

    tensors: list[int]
    leaves: list[int]
    cleared: list[int]
    changed: list[int]
    modules: list[int]
    optimizers: list[int]
    groups: list[int]
    watched: list[int]


class SharedProgram:
    """A checked program without its memory and its objects, for other steps of the same form.

    Attributes:
        signature: of the calls that the checked program fits.
        checks: how often programs of this form were checked.
        replays_left: until the next check of a program of this form; negative: no more checks. `latest` has
            the present number while it exists.
        latest: the program of this form that was made or checked last, as a weak reference.
        users: whether code of the user's runs in the step.
        common: guards that all steps of the form share. common_core: a `_core.Guards` with them.
    """

    def __init__(self, program: Program, function: Callable[..., Any], call: OneCall) -> None:
        """function: the step. call: the one that was checked. Raises NoFormError."""
        if not program.results.all_new:
            raise NoFormError
        guards = program.guards
        self.signature = program.signature
        self.checks = program.checks
        self.latest = ref(program)
        self.replays_left = 0
        self.users = guards.users
        self._forward_only = guards.forward_only
        rows = [*guards.walk.guards, *_rows_on_memory(program)]
        form = _core._guard_form(_roots(function, call), [row[:4] for row in rows], _described(program))
        if form is None:
            raise NoFormError
        self._form = form
        places = form.own_places()
        self._texts = [rows[place][4] for place in places]
        # How many of these are guards. The others are on memory.
        self._count = sum(place < len(guards.walk.guards) for place in places)
        self._keep_common(guards.walk, set(places))
        objects = form.take_objects()
        core = program.core.form(_arrays_of(objects))
        if core is None:
            raise NoFormError
        self._core = core
        numbers = {id(x): n for n, x in enumerate(objects)}
        self._numbers = _numbers_of(program, numbers)
        form_of_result = _with_other_leaves(program.results.form, functools.partial(_numbered_leaf, numbers))
        self._results = program.results.of_another_step(form_of_result)

    def _keep_common(self, walk: Walk, own: set[int]) -> None:
        """Keeps the guards that all steps of the form share. own: the places of the others."""
        common = [row for i, row in enumerate(walk.guards) if i not in own]
        common += walk.of_library.values()
        self.common_core = _core.Guards()
        self.common_core.set([*[row[:4] for row in common], *[shared.core for shared in walk.shared]])
        for shared in walk.shared:
            common += shared.guards
        self.common = common

    def bound(self, function: Callable[..., Any], call: OneCall) -> Match:
        """The program for another step, which is called now."""
        if self.common_core.first_changed() >= 0:
            return Match()
        found = self._form.match(_roots(function, call))
        if isinstance(found, int):
            return Match(comes_later=self._is_made_by_steps(found))
        objects, rows = found
        numbers = self._numbers
        tensors = _at(numbers.tensors, objects)
        if _core.share_memory([t._array for t in tensors], call.arrays):
            return Match()
        watched = _at(numbers.watched, objects)
        if not all(is_alone(t._array) for t in watched):
            return Match()
        leaves = _at(numbers.leaves, objects)
        gradients = [wrap(filled_like(None, leaf._array)) for leaf in leaves]
        new_memory = [gradient._array for gradient in gradients]
        core = self._core.bound(_arrays_of(objects), call.arrays, new_memory, watched)
        if core is None:
            return Match()
        plans = []
        optimizers = _at(numbers.optimizers, objects)
        for optimizer, group in zip(optimizers, _at(numbers.groups, objects), strict=True):
            plans.append((optimizer._plans[id(group)], optimizer, group))
        roots = [(function, "the step"), *_others(call)]
        guards = ProgramGuards(core, plans, leaves, roots, self._forward_only, self.users)
        named: list[Any] = [(*row, text) for row, text in zip(rows, self._texts, strict=True)]
        guards.take(GuardsOfForm(named[: self._count], self, tensors))
        form = _with_other_leaves(self._results.form, functools.partial(_object_of, objects))
        left: Left = list(zip(leaves, gradients, range(len(leaves)), strict=True))
        left += [(leaf, None, -1) for leaf in _at(numbers.cleared, objects)]
        program = Program(
            core,
            call.key,
            plans,
            _at(numbers.modules, objects),
            self._results.of_another_step(form),
            guards,
            _at(numbers.changed, objects),
            left,
        )
        self._plan_checks(program)
        return Match(program)

    def _plan_checks(self, program: Program) -> None:
        """A new program continues where the latest one of its form stands between two checks."""
        latest = self.latest()
        if latest is not None:
            self.replays_left = int(latest.checks_left)
        program.checks = self.checks
        program.may_compare = True
        program.shared = self
        program.grant(self.replays_left)
        self.latest = ref(program)

    def _is_made_by_steps(self, row: int) -> bool:
        """True if the guard at this place does not hold because the first call of a step makes what it
        compares."""
        if row < 0:
            return False
        text = self._texts[row]
        if isinstance(text, tuple):  # what stands before and after a name
            text = text[0]
        return text == EARLIER or text.startswith(STATE)


def _numbers_of(program: Program, numbers: dict[int, int]) -> Numbers:
    """numbers: by the id of each object. Raises NoFormError for an object that has none."""

    def found(objects: list[Any]) -> list[int]:
        try:
            return [numbers[id(x)] for x in objects]
        except KeyError:
            raise NoFormError from None

    tensors = program.guards.walk.tensors
    gradients = program.core.gradients()
    of_cell = {id(tensor._cell): tensor for tensor in tensors}
    return Numbers(
        tensors=found(tensors),
        leaves=found([leaf for leaf, gradient in gradients if gradient is not None]),
        cleared=found([leaf for leaf, gradient in gradients if gradient is None]),
        changed=found(program.changed_in_place),
        modules=found(program.modules),
        optimizers=found([optimizer for _, optimizer, _ in program.plans]),
        groups=found([group for *_, group in program.plans]),
        watched=found([of_cell.get(id(cell)) for cell in program.core.watched()]),
    )


def _at(numbers: list[int], objects: list[Any]) -> list[Any]:
    """The objects with these numbers. objects: all of a step."""
    return [objects[number] for number in numbers]


def _arrays_of(objects: list[Any]) -> list[Array]:
    return [x for x in objects if type(x) is np.ndarray]


def _others(call: OneCall) -> list[tuple[Any, str]]:
    """The arguments that guards compare, each with a text that names it."""
    return [*others(call.args, "argument "), *others(call.kwargs, "argument ")]


def _roots(function: Callable[..., Any], call: OneCall) -> list[Any]:
    """What a step begins with: all that it reads is found from these objects."""
    return [function, *[x for x, _ in _others(call)]]


def _with_other_leaves(form: object, change: Callable[[object], object]) -> Any:
    """The form of a result with change(x) in the place of each part that is no container."""
    parts = parts_of(form)
    if parts is None:
        return change(form)
    return with_parts(form, [_with_other_leaves(part, change) for part in parts])


def _numbered_leaf(numbers: dict[int, int], leaf: object) -> object:
    """What stands for a leaf of the step's result in the form of the result."""
    if id(leaf) in numbers:
        return OwnObject(numbers[id(leaf)])
    if type(leaf) in (*BY_VALUE, Place) or isinstance(leaf, (type, np.generic)):
        return leaf
    raise NoFormError


def _object_of(objects: list[Any], leaf: object) -> object:
    """The object for which a leaf stands in the form of a result."""
    if isinstance(leaf, OwnObject):
        return objects[leaf]
    return leaf


def _described(program: Program) -> dict[int, bool]:
    """By the id of an object: True if guards compare all that the step reads of it; False if it is a value,
    which steps have in common."""
    walk = program.guards.walk
    described = dict.fromkeys(walk.described, True)
    described[id(random.current())] = True
    for key, x in walk.seen.items():
        if type(key) is int and not _hides_parts(x):
            described[key] = not isinstance(x, DType)
    for _, owner, key, *_ in walk.guards:
        if not _hides_parts(owner):
            described[id(owner)] = True
            described[id(key)] = True
    for shared in walk.shared:
        for key in shared.seen:
            if type(key) is int:
                described[key] = False
        for _, owner, *_ in shared.guards:
            described[id(owner)] = False
    for plan, _, group in program.plans:
        described[id(plan)] = True
        described[id(group)] = True
    return described


def _hides_parts(x: object) -> bool:
    """True if no guard is on the link from x to what it contains."""
    kind = type(x)
    if kind is CACHED:
        return True
    return kind in CONTAINERS and CONTAINERS[kind][0] is None and kind is not functools.partial


# --- what a step depends on besides its guards: the layout of the memory that its kernels use
def _rows_on_memory(program: Program) -> list[Guard]:
    """Guards that only a form has: on the memory of the random stream and of the optimizers' plans."""
    rows: list[Guard] = [(GuardKind.CALL, _random_state, "", _random_state(), "the random stream")]
    for _, optimizer, group in program.plans:
        update = functools.partial(_update_of, optimizer, group)
        rows.append((GuardKind.CALL, update, "", update(), f"{STATE} of {type(optimizer).__name__}"))
    return rows


def _random_state() -> Array:
    return random.current().state


def _update_of(optimizer: Optimizer, group: dict[str, Any]) -> tuple[Any, ...]:
    """All on which the update of a parameter group depends, besides numbers that the kernel reads. ():
    there was no update yet."""
    plan = optimizer._plans.get(id(group))
    if plan is None or not plan.fits(optimizer, group, plan.active):
        return ()
    settings = [(k, type(v), v) for k, v in group.items() if type(v) not in READ_BY_KERNELS]
    described: list[Any] = [tuple(group), tuple(settings), tuple(plan.active), plan.names, plan._numbers]
    # `StepArguments` of optim/optimizer_state.py
    for parameters, steps, counts, states, wide in plan.by_dtype:
        for arrays in (parameters, steps, counts, *states):
            described.append(None if arrays is None else tuple(arrays))
        described.append(wide)
    return tuple(described)


# --- the programs
def has_any(code: int) -> bool:
    """True if there is a program of a step with this code."""
    return any(key[0] == code for key in _programs)


def find(code: int, function: Callable[..., Any], call: OneCall) -> Match:
    """A program for this call, made of one with the same code and the same form."""
    key = code, call.key.hash_of_form()
    with _lock:
        if key not in _programs:
            return Match()
        _forget_outdated()
        candidates = [*reversed(_programs.get(key, []))]
    comes_later = False
    for shared in candidates:
        if not shared.signature.has_same_form(call.key):
            continue
        match = shared.bound(function, call)
        if match.program is not None:
            _put(key, shared)
            return match
        comes_later = comes_later or match.comes_later
    return Match(None, comes_later)


def share(code: int, program: Program, function: Callable[..., Any], call: OneCall) -> None:
    """Keeps a program that was checked, for other steps of its form. call: the one that was checked."""
    if program.has_no_form:
        return
    try:
        shared = SharedProgram(program, function, call)
    except NoFormError:
        program.has_no_form = True
        return
    program.shared = shared
    with _lock:
        _forget_outdated()
        if not (_namespaces or shared.users):
            _remember_library()
    _put((code, call.key.hash_of_form()), shared)


def _put(key: tuple[int, int], shared: SharedProgram) -> None:
    """Enters a program as the one used last, and drops the one used first if there are too many."""
    with _lock:
        programs = _programs.setdefault(key, [])
        if shared in programs:
            programs.remove(shared)
        programs.append(shared)
        _programs.move_to_end(key)
        while sum(map(len, _programs.values())) > _MOST_PROGRAMS:
            first = next(iter(_programs))
            _programs[first].pop(0)
            if not _programs[first]:
                del _programs[first]


def drop(shared: SharedProgram) -> None:
    """Drops a program of which a check has found a difference."""
    with _lock:
        for key, programs in [*_programs.items()]:
            if shared in programs:
                programs.remove(shared)
            if not programs:
                del _programs[key]


def forget() -> None:
    """Drops all programs."""
    with _lock:
        _programs.clear()
        _namespaces.clear()


def _forget_outdated() -> None:
    """Drops programs of steps without code of the user's if functions of the library have been replaced since
    they were made.

    Such programs have no guards on that, but a new step must use the new functions. The caller has the lock.
    """
    if not _namespaces or _guards[0].first_changed() < 0:
        return
    if all(map(_only_loaded_more, _namespaces)):
        _remember_library()
        return
    _namespaces.clear()
    for key, programs in [*_programs.items()]:
        programs[:] = [shared for shared in programs if shared.users]
        if not programs:
            del _programs[key]


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
