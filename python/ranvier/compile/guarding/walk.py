"""Finds the values that a step may have read in Python, by following the names in the user's code.

The recording notes which code ran (`traced_code.py`). The walk starts from the step's function, the variables
that this code names, and the arguments that are no arrays. From each value it follows every attribute whose
name occurs anywhere in the code, the items of containers, closures and defaults of functions. The table
`_FOLLOW` below has for each class of values the function that adds the guards and puts what the value leads
to on a stack. A value of any other kind denies the step, which then runs eagerly. So more values are guarded
than were read, never fewer.
"""

from __future__ import annotations

import builtins
import copy
import dataclasses
import enum
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterable
from contextvars import ContextVar
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.compile.guarding.capturable as capturable
import ranvier.compile.guarding.library_guards as library
import ranvier.compile.guarding.python_guards as python_guards
import ranvier.compile.guarding.shared_guards as shared_guards
from ranvier.compile.guarding.capturable import CONTAINERS, GuardKind
from ranvier.compile.guarding.equality import PLAIN
from ranvier.compile.guarding.guards import Guards, SharedGuards, is_empty
from ranvier.compile.guarding.origins import LIBRARY, USER, is_of_library, is_python_class, is_read, origin_of
from ranvier.compile.guarding.shared_guards import is_lasting
from ranvier.compile.guarding.traced_code import TracedCode, inner_of
from ranvier.nn.parameter import Parameter
from ranvier.nn.registry import Registry, Transient
from ranvier.ops.attach import Later
from ranvier.optim import Optimizer
from ranvier.tensors.dtypes import dtype as DType
from ranvier.tensors.tensor import Tensor

_MOST_GUARDS = 20_000  # a step with more runs eagerly: comparing them would take longer than a replay saves
# Attributes of functions and classes, in the order in which a guard of kind FUNCTION has them.
_NAMES_OF_OWN = ("__name__", "__qualname__", "__doc__", "__module__")
# Stands in such a guard for the code and the defaults of a function that has not run.
_NOT_COMPARED = (NotImplemented, NotImplemented, NotImplemented)


class Walk(Guards):
    """The guards of one recorded step, found by following what its code names.

    ProgramGuards calls `run`, adds guards on what no name leads to, then calls `drain` and
    `refuse_unreached`. A Trainer makes a walk before a step has run, to see whether it reaches code of the
    user's.
    """

    def __init__(self, traced: TracedCode) -> None:
        super().__init__(traced)
        self._names_of_own = [name for name in _NAMES_OF_OWN if name in self.names]
        # Whether guards on classes and functions of modules are shared with other programs.
        self._shares = bool(self._codes)
        self._lasting: dict[int, tuple[Any, str]] = {}  # such classes and functions, which are followed last
        self.library_classes: list[type] = []

    def run(self, roots: Iterable[tuple[Any, str]]) -> None:
        """Follows what can be reached from the roots and from the variables of the code that ran."""
        library.renew()
        self._refuse_names()
        # The step first: what it leads to is found from it, and not as a layer or an argument (`GuardForm`).
        self.stack.extend(reversed([*roots]))
        for names, (code, variables) in zip(self._code_names, self._codes.values(), strict=True):
            self._variables(names.variables, variables, code.co_name)
            paths = {p for n in names.imports for p in (n, f"{variables.get('__package__')}.{n}")}
            self.items(sys.modules, paths & sys.modules.keys(), "the module ")
        if self.names:  # One guard on the class Tensor stands for the methods of all Tensors.
            own = vars(Tensor)  # A method that is not loaded yet (`Later`) was not called.
            loaded = [name for name in self.names | capturable.SPECIAL if type(own.get(name)) is not Later]
            members = _core._class_members(Tensor, loaded)
            self.add((GuardKind.NAMES, Tensor, "", members, "the class Tensor"))
        if "__instancecheck__" in self.names:  # a `case Class(...)` has this name, too (`Names`)
            self.abstract_classes()
        self.drain()
        library.guard_settings(self, self.optimizers)  # after the first drain, which finds the optimizers
        self.drain()

    def refuse_unreached(self) -> None:
        """Refuses a step in which code ran to which no name leads. Called after hooks were followed, too."""
        # guarded with the outer code
        nested = {id(c) for code, _ in self._codes.values() for c in inner_of(code)}
        for key, (code, _) in self._codes.items():
            if key not in self._reached and key not in nested and not self.fault:
                place = f"{code.co_filename}:{code.co_firstlineno}"
                self.fault = f"the step calls {code.co_name} ({place}), to which no name in the step leads"

    def drain(self) -> None:
        """Follows all values that were reached, and what they lead to."""
        compares = self.looks_up or self.stores or bool(self.names)
        while not self.fault:
            found = _COMMON.follow(
                self.stack, self.seen, self.guards, self.tensors, self.texts, library.LAYERS, compares
            )
            count = len(self.guards) + len(self.of_library) + sum(len(s.guards) for s in self.shared)
            if count > _MOST_GUARDS:
                self.fault = "the step can reach too many Python values; pass what it needs as an argument"
            if found is None:
                if not self._lasting:
                    return
                self._follow_lasting()
                continue
            x, text = found
            try:
                kind = type(x)
                (_FOLLOW.get(kind) or _follower(kind))(self, x, text)
            except Exception as error:  # A method or a metaclass of x may raise anything.
                self.deny(text, f"a value that raises {type(error).__name__} when it is looked at")

    def _follow_lasting(self) -> None:
        """Follows the classes and functions of modules that were reached, or takes the guards of another walk
        that has followed them."""
        lasting = self._lasting
        self._lasting = {}
        # Where the code may store by a name that is a text, guards on modules depend on the texts.
        texts = self.texts if self.stores else set()
        key = shared_guards.key_of(self.traced, lasting, texts)
        found = shared_guards.find(key)
        if found is None:
            alone = self._apart(list(lasting.values()), texts)
            alone.drain()
            if alone.fault or alone.tensors or alone.optimizers or alone.reads_library_names:
                # These belong to this step.
                self._shares = False
                for number in lasting:
                    del self.seen[number]
                self.stack.extend(lasting.values())
                return
            core = _core.Guards()
            core.set(alone.guards)
            found = SharedGuards(
                alone.guards, core, alone.library_classes, alone.seen, alone.texts, alone._reached,
                alone.users, self.traced.code(),
            )  # fmt: skip
            shared_guards.keep(key, found)
        self.shared.append(found)
        self.seen.update(found.seen)
        self.texts |= found.texts
        self._reached |= found.reached
        self.users = self.users or found.users
        for kind in found.library_classes:  # not shared, since `library.renew` makes these guards anew
            library.guard_class(self, kind)

    def _apart(self, stack: list[tuple[Any, str]], texts: set[str]) -> Walk:
        """A walk of the same code that begins with this stack, and has found nothing but these texts."""
        walk = copy.copy(self)
        walk.guards = []
        walk.add = walk.guards.append
        walk.of_library = {}
        walk.shared = []
        walk.tensors = []
        walk.optimizers = []
        walk.stack = stack
        walk.seen = {}
        walk.described = set()
        walk.users = False
        walk.texts = set(texts)
        walk.library_classes = []
        walk._reached = set()
        walk._shares = False
        return walk

    # --- what code names
    def _refuse_names(self) -> None:
        """Refuses a step whose code has a name that looks into Python's own objects, or into Tensors."""
        hidden = {name for n in self._code_names for name in n.hidden if name not in sys.modules}
        hidden |= self.names & (capturable.STATE_OF_TENSORS | {"get_type_hints", "get_annotations"})
        if hidden and not self.fault:
            self.fault = f"the step names {min(hidden)}, which no guard compares; use it outside the step"

    def _variables(self, names: set[str], variables: dict[str, Any], place: str) -> None:
        """Guards global variables, or the built-in names of those that do not exist.

        names: named by the code of the function `place`. variables: its globals.
        """
        self.items(variables, names, "the variable ", f" in {place}")
        missing = [name for name in names if name not in variables]
        if missing and variables.get("__builtins__") not in (builtins, vars(builtins)):
            self.deny("built-in names", "of a namespace of its own")
        # Those of `_watched` were replaced while the step was recorded (`dynamic_names.py`): not followed.
        self.items(vars(builtins), set(missing) - self._watched, "the built-in ")
        self.items(vars(builtins), self._watched.intersection(missing), "the built-in ", follow=False)

    # --- what a value leads to
    def _object(self, x: object, text: str) -> None:
        """Follows an object of a class that is not in _FOLLOW."""
        kind = type(x)
        base = next((base for base in kind.__mro__ if base in CONTAINERS or base in PLAIN), None)
        if base in CONTAINERS:
            self.container(x, text, base)
        if kind.__module__ == "ranvier._core":
            self.deny(text, "an object of the core")
        elif is_of_library(kind) or hasattr(kind, "step_root"):
            library.guard_object(self, x, text)
        elif kind.__module__ == "numpy" and not is_python_class(kind):
            python_guards.guard_numpy(self, x, text)
        else:
            self._instance(x, text, base)

    def _optimizer(self, x: Any, text: str) -> None:
        if not is_of_library(type(x)):
            self._instance(x, text, None)
        self.kind(x, text)
        self.items(vars(x), (*library.METHODS, "_hooks"), f"{text}.")
        # Names in the code that need no guard here: those of the class, or all that the object does not have.
        if self.looks_up:
            others = library.names_of_class(type(x))
        else:
            others = self.names - vars(x).keys()
        self.items(vars(x), self.names - others - library.OF_OPTIMIZERS, f"{text}.")
        library.guard_groups(self, x, text)
        self.optimizers.append((x, text))

    def _cell(self, cell: Any, name: str, f: Any, of_library: bool) -> None:
        """Guards the content of a closure's cell: the variable `name` of the function f.

        of_library: f is the library's. Then only functions and classes are followed, since f may be the
        wrapper that a decorator of the library has made of a function of the user's.
        """
        text = f"the variable {name} in {f.__name__}"
        if is_empty(cell):
            self.call(text, is_empty, cell)
            return
        content = cell.cell_contents
        if of_library and type(content) not in (types.FunctionType, types.MethodType, type):
            return
        self.add((GuardKind.CELL, cell, "", content, text))
        if type(content) is types.ModuleType:
            self.module(content, name)
        else:
            self.stack.append((content, text))

    # --- functions
    def _function(self, f: Any, text: str) -> None:
        code = f.__code__
        own = vars(f)
        of_library = origin_of(code.co_filename) == LIBRARY
        if self._shares and not of_library and is_lasting(f):
            self._lasting[id(f)] = f, text
            return
        if id(code) in self._codes or id(code) in self._library:
            for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
                if id(cell) not in self.seen:
                    self.seen[id(cell)] = cell
                    self._cell(cell, name, f, of_library)
        if id(code) in self._called or (of_library and f.__name__ in capturable.NOT_PURE):
            self.deny(text, "a function whose effect or result a replay would not repeat")
        if of_library:
            self.items(own, self.names & own.keys() - {"__wrapped__"}, f"{f.__name__}.")
            return
        self.users = True
        if self.looks_up or self.stores:
            every = {*own, *self.names}
        else:
            every = self.names & own.keys()
        self.items(own, every, f"{f.__name__}.")
        if id(code) in self._codes:
            self._reached.add(id(code))
        # `_library` also has code that is in no file of the library: that of named tuples and Python's pure
        # modules, such as the wrappers which functools makes.
        ran = id(code) in self._codes or id(code) in self._library
        if ran or self._reads_code:
            compared: tuple[Any, ...] = code, f.__defaults__, f.__kwdefaults__
            default = f"a default of {f.__name__}"
            self.stack += (compared[1], default), (compared[2], default)
        elif self._names_of_own:
            compared = _NOT_COMPARED
        else:
            return
        own_names = [
            getattr(f, name) if name in self._names_of_own else NotImplemented for name in _NAMES_OF_OWN
        ]
        self.add((GuardKind.FUNCTION, f, "", (*compared, *own_names), f"the function {f.__name__}"))

    def _method(self, x: Any, text: str) -> None:
        self.stack += [(x.__func__, text), (x.__self__, text.rpartition(".")[0] or "self")]

    def _builtin(self, x: Any, text: str) -> None:
        owner = getattr(x, "__self__", None)
        if not capturable.is_listed(x):
            # A call of it by the user's code would have refused the step. Other calls are not seen.
            self.deny(text, "which another function may call")
        elif owner is not None and not isinstance(owner, (types.ModuleType, type)):
            self.stack.append((owner, text.rpartition(".")[0] or "self"))
        elif x in (isinstance, issubclass):
            self.abstract_classes()

    def _context_variable(self, x: ContextVar[Any], text: str) -> None:
        # Python code that calls the variable's `get` is refused when it runs. A call from C is not seen, so a
        # `get` that is passed on is denied here.
        if "get" in self.passed:
            self.deny(text, "a context variable, whose value no guard compares")

    # --- classes and their instances
    def _class(self, kind: type, text: str) -> None:
        """Guards the attributes of a class that the code can read."""
        if self._shares and not is_of_library(kind) and is_lasting(kind):
            self._lasting[id(kind)] = kind, text
            return
        hook = vars(kind).get("__subclasshook__")
        asks = any(origin_of(f.__code__.co_filename) == USER for f in capturable.functions_of(hook))
        if asks or "_is_protocol" in vars(kind):
            self.deny(text, "a protocol, which looks for names of its own")
        if isinstance(kind, enum.EnumMeta):
            for name in ("_member_map_", "_value2member_map_", "_member_names_"):
                self.container(getattr(kind, name), f"the members of {kind.__name__}")
        if is_of_library(kind):
            self._library_class(kind)
            return
        for base in kind.__mro__:
            if base is object or (base in CONTAINERS and base is not kind):
                continue
            if is_of_library(base):
                self._library_class(base)
            elif is_python_class(base):
                # Each base is followed, since super() finds attributes that a subclass overrides.
                if is_read(base):
                    self.stack.append((base, base.__name__))
            elif not capturable.is_listed_type(base) and base.__module__ not in ("typing", "abc", "types"):
                self.deny(text, f"the class {base.__name__}, which is made in C")
                return
        if not is_python_class(kind):
            return
        if type(kind) is not type:
            self.stack.append((type(kind), f"the class of {kind.__name__}"))
        names = (self.names | capturable.SPECIAL | library.names_of_class(kind)) - {"__dict__"}
        members = _core._class_members(kind, names)
        self.add((GuardKind.NAMES, kind, kind.__mro__, members, f"the class {kind.__name__}"))
        for name in self._names_of_own:
            self.add((GuardKind.ATTRIBUTE, kind, name, getattr(kind, name, None), f"{kind.__name__}.{name}"))
        if is_read(kind):
            self._members(kind)

    def _library_class(self, kind: type) -> None:
        self.library_classes.append(kind)
        library.guard_class(self, kind)

    def _members(self, kind: type) -> None:
        """Follows the members of a class of the user's that the code has used."""
        self.users = True
        everything = self.stores or "__getattribute__" in library.names_of_class(kind)
        for name, value in list(vars(kind).items()):
            functions = capturable.functions_of(value)
            text = f"{kind.__name__}.{name}"
            codes = [f.__code__ for f in functions]
            special = name in capturable.SPECIAL
            in_c = isinstance(value, types.BuiltinFunctionType)
            if in_c and special and not capturable.is_listed(value):
                self.deny(text, f"which calls {value.__name__}")  # no recording sees that call
            if special and type(value) is capturable.CACHED:
                self.stack.append((value, text))  # its function need not have run
            ran = any(id(c) in self._codes or id(c) in self._library for c in codes)
            named = name in self.names or (everything and type(value) in CONTAINERS and name[:2] != "__")
            if ran or (named and not isinstance(value, _DESCRIPTORS)):
                self.stack.extend((part, text) for part in (value, *functions))

    def _instance(self, x: object, text: str, base: type | None) -> None:
        """Guards the attributes of an object of the user's. base: the class of `_object` that it inherits
        from."""
        kind, own = type(x), getattr(x, "__dict__", None)
        self.users = True
        compared = object if base is None else base  # `container` has compared what it holds
        if not all(is_python_class(b) or b in compared.__mro__ for b in kind.__mro__):
            self.deny(text, f"a {kind.__name__}, a kind of value that is not listed")
            return
        # True if a method of the class finds attributes by names that are made at run time.
        own_way = "__getattribute__" in library.names_of_class(kind)
        self.kind(x, text)
        # True if a base class is of Python's library or NumPy, whose code is not read for names.
        unread = any(is_python_class(b) and not is_of_library(b) and not is_read(b) for b in kind.__mro__)
        everything = unread or own_way or self.stores
        if everything:
            names = set(own or ())
        else:
            names = library.read_by_library(kind, own or {}, self.names)
        # `names` is `self.names` itself where only the user's code reads attributes: those it does not
        # name need no guard. Else a new attribute, which other code may read, has to be noticed, too.
        if own is not None:
            if names is not self.names and names >= own.keys():
                self.whole(own, (f"{text}.", ""))
            elif names is not self.names:
                self.call(f"the number of attributes of {text}", len, own)
            names = names | self.names
            if not (self.looks_up or hasattr(kind, "__getattr__")):
                names = names & (own.keys() | library.names_of_class(kind))
            self.items(own, names, f"{text}.")
        library.guard_slots(self, x, text, None if unread or own_way else self.names)


# The function that follows a value, by the value's class.
_FOLLOW: dict[Any, Callable[[Walk, Any, str], None]] = {
    Tensor: library.guard_tensor,
    np.ndarray: python_guards.guard_array,
    np.generic: python_guards.guard_scalar,
    np.ufunc: python_guards.guard_numpy,
    np.dtype: python_guards.guard_numpy,
    DType: lambda walk, x, text: None,
    types.FunctionType: Walk._function,
    types.MethodType: Walk._method,
    types.BuiltinFunctionType: Walk._builtin,
    types.MethodDescriptorType: Walk._builtin,
    types.WrapperDescriptorType: python_guards.guard_wrapper,
    types.ModuleType: lambda walk, x, text: walk._module(x, walk.names),
    **dict.fromkeys(capturable.PUBLIC, lambda walk, x, text: walk.stack.append((x.__wrapped__, text))),
    types.SimpleNamespace: python_guards.guard_namespace,
    type: Walk._class,
    set: python_guards.guard_set,
    dataclasses.Field: python_guards.guard_field,
    capturable.CACHED: python_guards.guard_cached,
    ContextVar: Walk._context_variable,
    Optimizer: Walk._optimizer,
    Registry: lambda walk, x, text: walk.container(x, text, dict),
    Transient: lambda walk, x, text: None,  # It marks what files leave out, on which no step depends.
}


# Follows, in the core, Tensors, tables, and objects of the classes in `library.LAYERS`, as the functions
# above do; of each such class the first object is followed here.
_COMMON = _core.Follower(
    tuple(PLAIN), Registry, Transient, (Tensor, Parameter), capturable.MOST, _MOST_GUARDS
)


# A copy, because `_follower` adds classes of the library to _FOLLOW. It has no containers: an object of a
# subclass of list, say, has attributes, too, and goes to `_object`.
_FOLLOW_BASES = tuple(_FOLLOW.items())
_FOLLOW |= dict.fromkeys(CONTAINERS, Walk.container)
_FOLLOW[OrderedDict] = Walk._object  # it may have attributes, too


def _follower(kind: type) -> Callable[[Walk, Any, str], None]:
    """The function that follows values of a class which is not in _FOLLOW itself."""
    logging = sys.modules.get("logging")  # there is no logger without it
    if logging is not None and issubclass(kind, logging.Logger):
        return python_guards.guard_logger
    follower = next((f for base, f in _FOLLOW_BASES if issubclass(kind, base)), Walk._object)
    if is_of_library(kind):
        if follower is Walk._object and CONTAINERS.keys().isdisjoint(kind.__mro__):
            follower = library.guard_object
        _FOLLOW[kind] = follower
    return follower


_DESCRIPTORS = (
    types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType,
    types.MethodDescriptorType, types.ClassMethodDescriptorType, types.FunctionType,
)  # fmt: skip
