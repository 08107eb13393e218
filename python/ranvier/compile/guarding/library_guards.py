"""Makes the guards on objects of the library, for the walk (`walk.py`).

The walk does not read the library's code, so all attributes of a library object are guarded. Class attributes
say where that is not needed:
- ``step_state``: the names of the only attributes that a step depends on ("a.b": the attribute b of a).
- ``step_constants``: the names of attributes whose contents never change.
- ``step_root``: of a wrapper, the name of the attribute with the wrapped object, which is guarded instead.

A change of an attribute that ``step_state`` leaves out is not noticed: replays go on.
"""

from __future__ import annotations

import builtins
import os
import sys
import types
from collections.abc import Iterable, Iterator
from itertools import chain, repeat
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

import ranvier._core as _core
import ranvier.nn.functional as functional
import ranvier.ops as ops
import ranvier.ops.table as names_of_ops
from ranvier.compile.guarding.capturable import CONTAINERS, SPECIAL, GuardKind
from ranvier.compile.guarding.equality import PLAIN, pairs_of
from ranvier.compile.guarding.guards import Guard, Guards
from ranvier.compile.guarding.origins import PACKAGE, is_of_library, is_python_class
from ranvier.nn import Module
from ranvier.nn.hooks import tables_of_all
from ranvier.observe import Lock
from ranvier.optim import Optimizer
from ranvier.tape import hooks
from ranvier.tensors.tensor import Tensor

if TYPE_CHECKING:
    from ranvier.optim.optimizer_state import Plan

# Modules to which the library adds names at their first use, and the names that it does not add: whatever
# has one of these is the program's.
_BUILT_IN = vars(builtins).keys() - names_of_ops.LATER.keys()
_LOADED_LATER: dict[Any, set[str]] = {
    ops: _BUILT_IN
    | {name for name, module in names_of_ops.LATER.items() if module not in names_of_ops.WITH_LAYERS},
    functional: _BUILT_IN | names_of_ops.FUNCTIONAL_OF.keys(),
}
# Begins the text of guards on the state of an optimizer, which its first steps make. `_is_same`
# (`compiled_function.py`) and `may_change` (`program_guards.py`) recognise these guards by the text.
STATE = "the state"
# The attributes that hold an optimizer's settings.
SETTINGS = frozenset({"param_groups", "defaults", "state"})
# Settings of an optimizer of these classes get no guard: the kernel reads their numbers at each replay.
READ_BY_KERNELS = (int, float, tuple, list, Tensor, np.ndarray)
# The attributes of an optimizer for which `guard_settings` and `guard_optimizer` make guards.
OF_OPTIMIZERS = SETTINGS | {"_plans"}
_NOT_OTHERS = (PACKAGE, os.path.dirname(os.__file__), "<")  # the library's files, Python's, generated code
# Packages whose objects hold much that steps do not read. Where the code that ran is known, only the
# attributes that it names are guarded.
_AROUND = ("ranvier.train.", "ranvier.data.")
# Methods of an optimizer that the user's program may have replaced by attributes of the object.
METHODS = ("step", "zero_grad", "_settings", "_state_names")
# Attributes that show settings of an optimizer.
_OF_SETTINGS = (SETTINGS | set(dir(Optimizer))) - {"step", "zero_grad", "_finite"}


def names_of_class(kind: type) -> set[str]:
    """The names of all attributes of a class and its bases, except bases made in C."""
    names = _names.get(kind)
    if names is None:
        names = set().union(*[vars(base) for base in kind.__mro__ if is_python_class(base)])
        if kind.__module__.startswith("ranvier."):
            _names[kind] = names
    return names


_names: dict[type, set[str]] = {}  # the names in each class of the library


def guard_class(walk: Guards, kind: type) -> None:
    """Adds the guards on a class of the library, on its bases and on their modules, in which the program may
    have replaced functions. Functions that are not the library's are followed."""
    made = _of_class.get(kind)
    if made is None:
        made = {}, []
        for owner, guard, files in _around(kind):
            if id(owner) not in _made:
                functions = [f for f in vars(owner).values() if type(f) is types.FunctionType]
                others = [(f, f.__name__) for f in functions if not f.__code__.co_filename.startswith(files)]
                with _lock:
                    _made[id(owner)] = _apart_from_later(owner, guard), others
                    _whole[id(owner)] = guard
                    _comparison.clear()
            made[0][id(owner)] = _made[id(owner)][0]
            made[1].extend(_made[id(owner)][1])
        with _lock:
            _of_class[kind] = made
    walk.of_library.update(made[0])
    walk.stack += made[1]
    for name in walk.names & _names_of_values(kind):
        value = getattr(kind, name)
        walk.add((GuardKind.NAMES, kind, "", (name, value), f"the class {kind.__name__}"))
        walk.stack.append((value, f"{kind.__name__}.{name}"))


def _names_of_values(kind: type) -> set[str]:
    """The names in a class of the library under which it has values, which the program may have set, and no
    methods or properties."""
    (version,) = _core._class_members(kind, ())
    known = _values.get(kind)
    if known is not None and known[0] == version:
        return known[1]
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        members.update(vars(base))
    plain = [name for name, x in members.items() if not (callable(x) or hasattr(type(x), "__get__"))]
    names = set(plain) - SPECIAL
    if version:  # 0: Python has no version for the class
        _values[kind] = version, names
    return names


# By class of the library: its version, and the names of its values.
_values: WeakKeyDictionary[type, tuple[int, set[str]]] = WeakKeyDictionary()


def _around(kind: type) -> Iterator[tuple[Any, Guard, tuple[str, ...]]]:
    """(owner, guard, prefixes) of the class and its bases, of their modules, and of the library's modules
    which these import. prefixes: how the file names of the functions begin that belong in the owner."""
    for base in filter(is_of_library, kind.__mro__):
        values = _core._class_members(base, names_of_class(base))
        yield base, (GuardKind.NAMES, base, "", values, f"the class {base.__name__}"), (PACKAGE,)
        module = sys.modules[base.__module__]
        imports = [m for m in vars(module).values() if type(m) is types.ModuleType]
        for space in [module, *[m for m in imports if m.__name__.startswith("ranvier.")]]:
            guard = GuardKind.DICT, vars(space), "", pairs_of(vars(space)), f"the module {space.__name__}"
            yield space, guard, _NOT_OTHERS


def _apart_from_later(owner: Any, guard: Guard) -> Guard:
    """A guard on a module or class, without a comparison of the names that the library may still add.

    A step does not use these: what it uses is loaded when it has run.
    """
    if owner not in _LOADED_LATER:
        return guard
    _, variables, _, pairs, text = guard
    absent = _LOADED_LATER[owner] - variables.keys()
    expected = (*pairs, *chain.from_iterable(zip(absent, repeat(NotImplemented))))
    return GuardKind.ITEMS, variables, None, expected, text


def renew() -> None:
    """Forgets all guards on classes and modules of the library if one of these has changed, or if the library
    has loaded more names."""
    with _lock:
        if not _comparison:
            guards = _core.Guards()
            guards.set([*_whole.values()])
            _comparison.append(guards)
        if _comparison[0].first_changed() >= 0:
            for known in (_of_class, _made, _whole, _comparison):
                known.clear()


_lock = Lock()
# Guards on classes and modules are the same for all steps, so they are made once. Each is stored with the
# functions, and their names, that code outside the library has put in the class or module.
# By class: the guards on it, on its bases and on their modules, by the id of each.
_of_class: dict[type, tuple[dict[int, Guard], list[tuple[Any, str]]]] = {}
# The guard on one class or module, by its id, until `renew` finds a change.
_made: dict[int, tuple[Guard, list[tuple[Any, str]]]] = {}
# The guard on all of the same class or module, with the names that the library may add.
_whole: dict[int, Guard] = {}
# One `_core.Guards` with all guards of `_whole`, or empty if it has to be made again.
_comparison: list[Any] = []
# Classes of objects whose attributes all get guards, such as layers: the version of each, and the names of
# attributes whose contents never change. The walk makes the guards on further objects of such a class in the
# core (`_core.Follower`).
LAYERS: dict[type, tuple[int, frozenset[str]]] = {}


def guard_object(walk: Guards, x: object, text: str) -> None:
    """Adds the guards on an object of the library, other than Tensors and optimizers. text: names it."""
    kind = type(x)
    root = getattr(kind, "step_root", None)
    own = getattr(x, "__dict__", None) if root is None else None
    walk.add((GuardKind.TYPE, x, own, kind, f"the class of {text}"))
    if root is not None:
        _guard_added(walk, x, walk.names, text)
        walk.stack.append((getattr(x, root), text))
        return
    if id(kind) not in walk.seen:
        walk.stack.append((kind, f"the class of {text}"))
    declared = getattr(kind, "step_state", None)
    if declared is not None:  # These suffice, unless the user's code names other attributes.
        named = walk.names & (names_of_class(kind) | set(own or ()))
        if not [name for name in named if not name.startswith("__") and name not in declared]:
            for path in declared:
                _guard_path(walk, x, path, text)
            if own is not None:
                _guard_added(walk, x, walk.names - set(declared) - names_of_class(kind), text)
            return
    if own is not None and kind.__module__.startswith(_AROUND) and walk.library_names:
        walk.reads_library_names = True
        walk.items(own, own.keys() & (walk.names | walk.library_names), f"{text}.")
    elif own is not None:
        walk.whole(own, (f"{text}.", ""))
        constants = frozenset(getattr(kind, "step_constants", ()))
        for name, value in own.items():
            if type(value) not in PLAIN and name not in constants:
                walk.stack.append((value, f"{text}.{name}"))
        if declared is None and type(kind) is type and not _slots_of(kind):
            (version,) = _core._class_members(kind, ())
            LAYERS[kind] = version, constants
    guard_slots(walk, x, text)


def _guard_added(walk: Guards, x: object, names: set[str], text: str) -> None:
    """Adds the guards on attributes of a library object that the program may have added, or may look for.

    names: in the user's code.
    """
    own = vars(x)
    if walk.stores:  # the code reads `x.__dict__`
        walk.call(f"the names of the attributes of {text}", tuple, own)
        names = names | (walk.texts & own.keys())
    if not walk.looks_up:
        names = names & own.keys()
    walk.items(own, names, f"{text}.")


def _guard_path(walk: Guards, x: object, path: str, text: str) -> None:
    """Adds the guards on the attribute "a.b" of x, and on each attribute before it in the path."""
    *owners, last = path.split(".")
    for name in owners:
        walk.items(vars(x), [name], f"{text}.", follow=False)
        x = getattr(x, name)
        walk.described.add(id(x))
    text = f"the {last.lstrip('_')}"
    if last in vars(x) or not hasattr(x, last):
        value = vars(x).get(last, NotImplemented)
        walk.add((GuardKind.ITEMS, vars(x), None, (last, value), text))
    else:  # a property, as a subclass of the user's may have
        value = getattr(x, last)
        walk.call(text, getattr, x, last)
    if type(value) not in PLAIN:
        walk.stack.append((value, text))


# Modules of the library whose base classes read few attributes of a subclass (those with names in `Module`).
# Of an object that also inherits from a class of any other module, all attributes are guarded.
_BASES = {f"ranvier.nn.{name}" for name in ("module", "hooks", "container", "conversion", "state_dicts")}


def read_by_library(kind: type, own: dict[str, Any], names: set[str]) -> set[str]:
    """The names of the attributes of an object of the user's that the user's or the library's code may read.

    kind: its class. own: its `__dict__`. names: the names in the user's code.
    """
    bases = {base.__module__ for base in kind.__mro__ if is_of_library(base)}
    if not bases or issubclass(kind, Optimizer):
        return names
    if not bases <= _BASES:
        return set(own)
    known = names | names_of_class(Module)
    return {n for n, value in own.items() if type(value) not in PLAIN or n[:1] == "_" or n in known}


def guard_slots(walk: Guards, x: object, text: str, names: Iterable[str] | None = None) -> None:
    """Adds the guards on the values in `__slots__` of x, which are followed. names: only on these."""
    for name in _slots_of(type(x)):
        if names is not None and name not in names:
            continue
        if not hasattr(x, name):
            walk.call(f"{text}.{name}", hasattr, x, name)
        else:
            walk.attribute(x, name, text)
            walk.stack.append((getattr(x, name), f"{text}.{name}"))


def _slots_of(kind: type) -> tuple[str, ...]:
    """The names in `__slots__` of a class and its bases, except containers. A class gets no others later."""
    found = _slots.get(kind)
    if found is None:
        bases = [base for base in kind.__mro__ if base is not object and base not in CONTAINERS]
        members = [item for base in bases for item in vars(base).items()]
        found = tuple([name for name, x in members if type(x) is types.MemberDescriptorType])
        _slots[kind] = found
    return found


_slots: WeakKeyDictionary[type, tuple[str, ...]] = WeakKeyDictionary()


def guard_tensor(walk: Guards, x: Tensor, text: str) -> None:
    """Adds the guards on a Tensor: its memory and its place on the tape, not its elements, which replays
    read."""
    walk.tensors.append(x)
    walk.add((GuardKind.TYPE, x, None, type(x), f"the class of {text}"))
    walk.add((GuardKind.SLOT, x, "_array", x._array, f"the memory of {text}"))
    own = vars(x)  # attributes that the program has added, and which may hide a method
    if own:
        walk.items(own, walk.names & {*own, *names_of_class(Tensor)}, f"{text}.")
    if walk.looks_up or walk.stores or (walk.names and not own):
        walk.whole(own, (f"{text}.", ""))
    if _core._has_hook(x):
        walk.deny(text, f"a {type(x).__name__}, which is asked about calls (__torch_function__)")
    if type(x) is not Tensor and not is_of_library(type(x)):
        walk.kind(x, text)
    walk.add((GuardKind.SLOT, x, "_requires_grad", x._requires_grad, f"requires_grad of {text}"))
    walk.add((GuardKind.SLOT, x, "_grad_fn", x._grad_fn, f"grad_fn of {text}"))


def guard_hooks(walk: Guards, leaves: Iterable[Tensor]) -> None:
    """Adds the guards on the hooks of all modules, and on those that backward calls: at these leaves and the
    Tensors that the walk has reached, and at the nodes of graphs that were made before the step."""
    for table in tables_of_all():
        walk.whole(table, "the hooks of all modules")
    nodes = _nodes_before(walk.tensors)
    for node in nodes:
        walk.attribute(node, "hooks", f"the node {type(node).__name__}")
        walk.stack.append((node.hooks, "the hooks of a tensor"))
    keys = [id(x) for x in (*leaves, *walk.tensors, *nodes)]
    for table in hooks.TABLES:
        if table:
            walk.items(table, keys, "the hooks of a tensor", "")
        else:
            walk.whole(table, "the hooks of a tensor")


def _nodes_before(tensors: Iterable[Tensor]) -> list[Any]:
    """The nodes of the graphs of these Tensors, which outlive the step. A leaf is no node of its own."""
    found: dict[int, Any] = {}
    waiting = [t._grad_fn for t in tensors]
    while waiting:
        node = waiting.pop()
        if node is None or isinstance(node, Tensor) or id(node) in found:
            continue
        found[id(node)] = node
        waiting.extend(node.edges)
    return list(found.values())


# --- optimizers
def guard_settings(walk: Guards, optimizers: list[tuple[Any, str]]) -> None:
    """Adds guards on the settings and the state of optimizers, if the user's code may read them.

    optimizers: each with the text that names it.
    """
    names = {name for name in walk.names & _OF_SETTINGS if not name.startswith("__")}
    for x, text in optimizers if names else ():
        walk.items(vars(x), SETTINGS, f"{text}.", follow=False)  # The program may set these attributes anew.
        walk.list(x.param_groups, f"the groups of {text}")
        for group in (getattr(x, "defaults", {}), *x.param_groups):
            walk.whole(group, f"the settings of {text}")
            _follow_named(walk, group, f"the settings of {text}")
        for owner in (x.state, *x.state.values()) if names & {"state", "state_dict"} else ():
            if isinstance(owner, dict):
                walk.whole(owner, f"{STATE} of {type(x).__name__}")
                _follow_named(walk, owner, f"{STATE} of {text}")
            elif type(owner) not in PLAIN:
                walk.stack.append((owner, f"{STATE} of {text}"))


def _follow_named(walk: Guards, items: dict[Any, Any], text: str) -> None:
    """Follows the values in a dict whose keys are strings in the code; all values if the code names `values`
    or `items`, with which it may iterate over the dict."""
    everything = walk.names & {"values", "items"}
    walk.stack += [(value, text) for name, value in items.items() if everything or name in walk.texts]


def guard_groups(walk: Guards, optimizer: Optimizer, text: str) -> None:
    """Adds the guards on the parameters of each group, which `step` and `zero_grad` read, once for each
    optimizer. The settings of groups are left out."""
    if ("groups", id(optimizer)) in walk.seen:
        return
    walk.seen["groups", id(optimizer)] = optimizer
    walk.items(vars(optimizer), ["param_groups"], f"{text}.", follow=False)
    groups = vars(optimizer).get("param_groups", ())
    walk.sequence(groups, f"the groups of {text}")
    for group in groups:
        if isinstance(group, dict):
            walk.items(group, ["params"], "", f" of {text}", follow=False)
            walk.sequence(group.get("params", ()), f"the parameters of {text}")


def guard_optimizer(walk: Guards, plan: Plan, optimizer: Optimizer, group: dict[str, Any]) -> None:
    """Adds the guards on one parameter group of an optimizer whose step was recorded. The parameters that it
    updates are followed.

    plan: the group's plan (`optim/optimizer_state.py`), with the arrays that the kernel reads. Numbers among
    the settings are not compared: the kernel reads them at each replay (`Plan.refresh`).
    """
    name, own = type(optimizer).__name__, vars(optimizer)
    walk.items(own, ("state", "_plans"), f"{name}.", follow=False)
    walk.items(own, METHODS, f"{name}.")
    guard_groups(walk, optimizer, name)
    fixed = [key for key, value in group.items() if type(value) not in READ_BY_KERNELS]
    walk.items(group, fixed, "", f" of {name}", follow=False)
    walk.items(optimizer._plans, [id(group)], f"{STATE} of {name} ", follow=False)
    walk.stack += [(p, f"a parameter of {name}") for p in plan.active]
    states = [p for p in plan.active if optimizer.state.get(p) is not None]
    walk.items(optimizer.state, states, f"{STATE} of {name} ", follow=False)
    for p in states:
        state = optimizer.state[p]
        walk.whole(state, f"{STATE} of {name}")
        for x in state.values():
            if isinstance(x, Tensor):
                walk.add((GuardKind.SLOT, x, "_array", x._array, f"{STATE} of {name}"))
