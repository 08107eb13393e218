"""Guards on objects of the library: no code of the library is read, so its objects are guarded whole.

A class that holds more than a step depends on declares what that is, in ``step_state``: names of attributes,
with dots where they are attributes of an attribute. ``step_constants`` names attributes whose contents never
change. A wrapper that always refers to the same object names it in ``step_root``.
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.ops as ops
from ranvier.compile.capturable import CONTAINERS, SPECIAL, GuardKind
from ranvier.compile.equality import PLAIN, pairs_of
from ranvier.compile.guards import Guard, Guards
from ranvier.compile.origins import PACKAGE, is_of_library, is_python_class
from ranvier.nn import Module
from ranvier.observe import Lock
from ranvier.optim import Optimizer
from ranvier.tape import hooks
from ranvier.tensors.tensor import Tensor

ops.load_layers()  # guards on layers compare all names of this module, so no name comes later
STATE = "the state"  # the state of an optimizer, which its first steps make
# The attributes that hold an optimizer's settings.
SETTINGS = frozenset({"param_groups", "defaults", "state"})
READ_BY_KERNELS = (int, float, tuple, list, Tensor, np.ndarray)  # settings that no guard compares
# The attributes of an optimizer that have guards of their own, which are not those of an object.
OF_OPTIMIZERS = SETTINGS | {"_plans"}
_NOT_OTHERS = (PACKAGE, os.path.dirname(os.__file__), "<")  # the library's files, Python's, generated code
# Packages whose objects hold much that steps do not read. Where the code that ran is known, only the
# attributes that it names are guarded.
_AROUND = ("ranvier.train.", "ranvier.data.")
# The program may have replaced these.
METHODS = ("step", "zero_grad", "_settings", "_state_names")
# Attributes that show settings of an optimizer.
_OF_SETTINGS = (SETTINGS | set(dir(Optimizer))) - {"step", "zero_grad", "_finite"}


def in_class(kind: type, names: Iterable[str]) -> tuple[Any, ...]:
    """(name, value, ...) as a class has them, or NotImplemented: what a guard of kind NAMES compares."""
    members: dict[str, Any] = {}
    for base in reversed(kind.__mro__):
        members.update(vars(base))
    pairs: list[Any] = []
    for name in names:
        pairs += (name, members.get(name, NotImplemented))
    return tuple(pairs)


def names_of_class(kind: type) -> set[str]:
    names = _names.get(kind)
    if names is None:
        names = set().union(*[vars(base) for base in kind.__mro__ if is_python_class(base)])
        if kind.__module__.startswith("ranvier."):
            _names[kind] = names
    return names


_names: dict[type, set[str]] = {}  # the names in each class of the library


def guard_class(walk: Guards, kind: type) -> None:
    """A class of the library, those that it inherits from, and their modules: functions may be replaced."""
    made = _of_class.get(kind)
    if made is None:
        made = {}, []
        for owner, guard, files in _around(kind):
            if id(owner) not in _made:
                functions = [f for f in vars(owner).values() if type(f) is types.FunctionType]
                others = [(f, f.__name__) for f in functions if not f.__code__.co_filename.startswith(files)]
                with _lock:
                    _made[id(owner)] = guard, others
                    _comparison.clear()
            made[0][id(owner)] = _made[id(owner)][0]
            made[1].extend(_made[id(owner)][1])
        with _lock:
            _of_class[kind] = made
    walk.of_library.update(made[0])
    walk.stack += made[1]
    members = iter(in_class(kind, walk.names - SPECIAL))
    for name, value in zip(members, members, strict=True):
        if value is NotImplemented or callable(value) or hasattr(type(value), "__get__"):
            continue  # not there, a method or a property
        # perhaps the program's
        walk.add((GuardKind.NAMES, kind, "", (name, value), f"the class {kind.__name__}"))
        walk.stack.append((value, f"{kind.__name__}.{name}"))


def _around(kind: type) -> Iterator[tuple[Any, Guard, tuple[str, ...]]]:
    """(owner, guard, how the files begin of functions that belong there): the classes, and the modules that
    they are in or that these import."""
    for base in filter(is_of_library, kind.__mro__):
        values = in_class(base, names_of_class(base))
        yield base, (GuardKind.NAMES, base, "", values, f"the class {base.__name__}"), (PACKAGE,)
        module = sys.modules[base.__module__]
        imports = [m for m in vars(module).values() if type(m) is types.ModuleType]
        for space in [module, *[m for m in imports if m.__name__.startswith("ranvier.")]]:
            guard = GuardKind.DICT, vars(space), "", pairs_of(vars(space)), f"the module {space.__name__}"
            yield space, guard, _NOT_OTHERS


def renew() -> None:
    """Forgets all guards on classes and modules of the library where one has changed."""
    with _lock:
        if not _comparison:
            guards = _core.Guards()
            guards.set([guard for guard, _ in _made.values()])
            _comparison.append(guards)
        if _comparison[0].first_changed() >= 0:
            for table in (_of_class, _made, _comparison):
                table.clear()


_lock = Lock()
# These guards are made once, because they are the same for all steps. Each comes with the functions that
# others have put in the class or module.
# The guards of a class, with those of its bases and of their modules.
_of_class: dict[type, tuple[dict[int, Guard], list[tuple[Any, str]]]] = {}
# The guard of one class or module, by its id; it stays until one has changed.
_made: dict[int, tuple[Guard, list[tuple[Any, str]]]] = {}
_comparison: list[Any] = []  # The guards of all of them in one object of the core, if it is made.


def guard_object(walk: Guards, x: Any, text: str) -> None:
    kind = type(x)
    root = getattr(kind, "step_root", None)
    own = getattr(x, "__dict__", None) if root is None else None
    walk.add((GuardKind.TYPE, x, own, kind, f"the class of {text}"))
    if root is not None:
        walk.items(vars(x), walk.names & vars(x).keys(), f"{text}.")  # what the program has added
        walk.stack.append((getattr(x, root), text))
        return
    if id(kind) not in walk.seen:
        walk.stack.append((kind, f"the class of {text}"))
    declared = getattr(kind, "step_state", None)
    if declared is not None:  # enough, unless the user's code names other attributes
        named = walk.names & (names_of_class(kind) | set(own or ()))
        if not [name for name in named if not name.startswith("__") and name not in declared]:
            for path in declared:
                _guard_path(walk, x, path, text)
            return
    if own is not None and walk.library_names and kind.__module__.startswith(_AROUND):
        walk.items(own, own.keys() & (walk.names | walk.library_names), f"{text}.")
    elif own is not None:
        walk.whole(own, (f"{text}.", ""))
        for name, value in own.items():
            if type(value) not in PLAIN and name not in getattr(kind, "step_constants", ()):
                walk.stack.append((value, f"{text}.{name}"))
    guard_slots(walk, x, text)


def _guard_path(walk: Guards, x: Any, path: str, text: str) -> None:
    *owners, last = path.split(".")
    for name in owners:
        walk.items(vars(x), [name], f"{text}.", follow=False)
        x = getattr(x, name)
    value, text = vars(x).get(last, NotImplemented), f"the {last.lstrip('_')}"
    walk.add((GuardKind.ITEMS, vars(x), None, (last, value), text))
    if type(value) not in PLAIN:
        walk.stack.append((value, text))


# Where the classes are that layers of a program inherit from; a subclass of any other is guarded whole.
_BASES = {f"ranvier.nn.{name}" for name in ("module", "hooks", "container", "conversion", "state_dicts")}


def read_by_library(kind: type, own: dict[str, Any], names: set[str]) -> set[str]:
    """The attributes of an object of the user's that may be read: names, and what the library's code reads.

    own: its attributes. names: in the user's code.
    """
    bases = {base.__module__ for base in kind.__mro__ if is_of_library(base)}
    if not bases or issubclass(kind, Optimizer):
        return names
    if not bases <= _BASES:
        return set(own)
    known = names | names_of_class(Module)
    return {n for n, value in own.items() if type(value) not in PLAIN or n[:1] == "_" or n in known}


def guard_slots(walk: Guards, x: Any, text: str, names: Iterable[str] | None = None) -> None:
    """The values that an instance holds outside its dict; names: only these."""
    for base in type(x).__mro__:
        for name, member in () if base in CONTAINERS or base is object else vars(base).items():
            if type(member) is types.MemberDescriptorType and (names is None or name in names):
                if not hasattr(x, name):
                    walk.call(f"{text}.{name}", hasattr, x, name)
                else:
                    walk.attribute(x, name, text)
                    walk.stack.append((getattr(x, name), f"{text}.{name}"))


def guard_tensor(walk: Guards, x: Tensor, text: str) -> None:
    walk.tensors.append(x)
    walk.add((GuardKind.SLOT, x, "_array", x._array, f"the memory of {text}"))
    own = vars(x)  # what the program has added, which may hide a method
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
    """Hooks on tensors, which backward calls."""
    for table, text in (
        (hooks.before_accumulation, "the hooks of a tensor"),
        (hooks.after_accumulation, "the hooks after accumulation"),
    ):
        if table:
            walk.items(table, [id(leaf) for leaf in leaves], text, "")
        else:
            walk.whole(table, text)


# --- optimizers
def guard_settings(walk: Guards, optimizers: list[tuple[Any, str]]) -> None:
    """The settings and names of the state, where the user's code may read them."""
    names = {name for name in walk.names & _OF_SETTINGS if not name.startswith("__")}
    for x, text in optimizers if names else ():
        walk.items(vars(x), SETTINGS, f"{text}.", follow=False)  # The program may replace these attributes.
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
    """Follows the items of a dict whose names the code has as texts; all of them if it goes through dicts."""
    everything = walk.names & {"values", "items"}
    walk.stack += [(value, text) for name, value in items.items() if everything or name in walk.texts]


def guard_optimizer(walk: Guards, plan: Any, optimizer: Any, group: dict[str, Any]) -> None:
    """Guards on one group of an optimizer whose step was recorded; those on its class are `guard_methods`.

    Numbers among the settings are not compared: the kernel reads them at each replay (`Plan.refresh`).
    """
    name, own = type(optimizer).__name__, vars(optimizer)
    walk.items(own, ("param_groups", "state", "_plans", *METHODS), f"{name}.", follow=False)
    walk.list(optimizer.param_groups, f"the groups of {name}")
    walk.list(group["params"], f"the parameters of {name}")
    fixed = [key for key, value in group.items() if type(value) not in READ_BY_KERNELS]
    walk.items(group, ["params", *fixed], "", f" of {name}", follow=False)
    walk.items(optimizer._plans, [id(group)], f"{STATE} of {name} ", follow=False)
    states = [p for p in plan.active if optimizer.state.get(p) is not None]
    walk.items(optimizer.state, states, f"{STATE} of {name} ", follow=False)
    for p in states:
        walk.whole(optimizer.state[p], f"{STATE} of {name}")
