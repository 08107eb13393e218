"""What a step has read in Python, found by following the names in the user's code.

The recording notes which code ran (`executed.py`). From the step's function, the variables that this code
names and the arguments that are no arrays, the walk follows every attribute that is named in any of the code,
the contents of containers, closures and defaults. `kinds.py` says how each kind of value is guarded,
`library.py` how the library's objects are; what neither lists ends the walk, and the step runs eagerly. So
more is guarded than was read, never less.
"""

from __future__ import annotations

import builtins
import enum
import functools
import sys
import types
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor
from ranvier.compile import library
from ranvier.compile.executed import Executed, inner_of, names_of
from ranvier.compile.guards import Guards, is_empty, names_in
from ranvier.compile.kinds import (
    CONTAINERS,
    DUNDER,
    PACKAGE,
    PLAIN,
    SPECIAL,
    TAKES_FUNCTIONS,
    Kind,
    decorates,
    file_of,
    functions_of,
    is_listed,
    is_listed_type,
    is_numpy_function,
    is_python_class,
    is_read,
)
from ranvier.compile.library import in_class, is_of_library, names_of_class
from ranvier.ops.attach import Later
from ranvier.optim import Optimizer

_MOST_GUARDS = 20_000
_FUNCTION_ATTRIBUTES = frozenset({"__name__", "__qualname__", "__doc__", "__module__"})
_LIST_ATTRIBUTES = frozenset({"vars", "dir", "__dict__", "asdict", "astuple", "fields", "replace"})


class Walk(Guards):
    """The guards of one recorded step.

    Attributes:
        reads_gradients: whether the user's code names `grad`.
        users: whether anything of the user's own was reached.
        optimizers: those that were reached, with their names.
    """

    def __init__(self, executed: Executed, forward_only: bool = False) -> None:
        super().__init__(executed.fault, forward_only)
        self.users = False
        self._codes, self._library = executed.codes, executed.library.keys()
        self._library_codes = executed.library.values()
        self._code_names = [names_of(code) for code, _ in executed.codes.values()]
        union: Callable[..., set[str]] = set[str]().union
        self.names = union(*[n.names for n in self._code_names])
        self._keywords = union(*[n.keywords for n in self._code_names])
        self.dynamic = executed.dynamic or any(n.dynamic for n in self._code_names)
        if self.dynamic:  # a text may be the name of an attribute
            texts = union(*[n.texts for n in self._code_names])
            self.names |= {part for text in texts for part in text.split(".") if part.isidentifier()}
        self.looks_up = self.dynamic or any(n.catches for n in self._code_names)
        self.reads_gradients = "grad" in self.names
        self._super = any("super" in n.variables for n in self._code_names)
        self._reached: set[int] = set()  # ids of code whose functions are guarded
        self.optimizers: list[tuple[Any, str]] = []
        self._setting_names: set[str] = set()  # texts that are names of an optimizer's settings
        self._unlisted = ""  # a function made in C that is noticed only where Python calls it ...
        self._takes_functions = False  # ... and whether another function may call it

    def run(self, roots: Iterable[tuple[Any, str]]) -> None:
        """Follows what can be reached from the roots and from the variables of the code that ran."""
        library.renew()
        self._refuse_names()
        self.stack.extend(roots)
        for names, (code, variables) in zip(self._code_names, self._codes.values(), strict=True):
            self._variables(names.variables, variables, code.co_name)
            self._imports(names.names, variables)
        if self.names:  # the methods of Tensors; no Tensor is followed for them
            own = vars(Tensor)  # a method that is not loaded yet was not called
            loaded = [name for name in self.names | SPECIAL if type(own.get(name)) is not Later]
            self.add((Kind.NAMES, Tensor, "", in_class(Tensor, loaded), "the class Tensor"))
        if "__match_args__" in self.names:
            self.abstract_classes()
        self.drain()
        reads_all = bool(self.names & _LIST_ATTRIBUTES)
        library.guard_settings(self, self.optimizers, self._setting_names | self.names, reads_all)
        if self._unlisted and self._takes_functions:
            self.deny(self._unlisted, "which another function may call")

    def refuse_unreached(self) -> None:
        """After hooks were followed, too: code that ran, but to which nothing leads."""
        nested = {id(c) for code, _ in self._codes.values() for c in inner_of(code)}  # comes with the outer
        for key, (code, _) in self._codes.items():
            if key not in self._reached and key not in nested and not self.fault:
                place = f"{code.co_filename}:{code.co_firstlineno}"
                self.fault = f"the step calls {code.co_name} ({place}), to which no name in the step leads"

    def branch(self) -> Walk:
        """The same walk, to be continued without a change of this one."""
        other = Walk.__new__(Walk)
        vars(other).update(vars(self))
        other.guards, other.seen = [*self.guards], dict(self.seen)
        other.add = other.guards.append
        other.tensors, other.of_library = [*self.tensors], dict(self.of_library)
        return other

    @functools.cached_property
    def _library_names(self) -> set[str]:
        return library.names_in_code(self._library_codes)

    def drain(self) -> None:
        """Follows all values that were reached, and what they lead to."""
        while self.stack and not self.fault:
            x, text = self.stack.pop()
            try:
                kind = type(x)
                if kind in PLAIN or id(x) in self.seen:
                    if kind is str and x in library.SETTINGS:
                        self._setting_names.add(x)
                    continue
                self.seen[id(x)] = x
                (_FOLLOW.get(kind) or _follower(kind))(self, x, text)
            except Exception as error:  # of a method or a metaclass of x
                self.deny(text, f"a value that raises {type(error).__name__} when it is looked at")
            if len(self.guards) + len(self.of_library) > _MOST_GUARDS:
                self.fault = "the step can reach too many Python values; pass what it needs as an argument"

    # --- what code names
    def _refuse_names(self) -> None:
        dunder = {n for n in self.names if n.startswith("__") and n.endswith("__")} - DUNDER
        unguarded = {n for n in dunder if n not in sys.modules}
        unguarded |= self.names & (library.STATE_OF_TENSORS | {"get_type_hints", "get_annotations"})
        if unguarded and not self.fault:
            self.fault = f"the step names {min(unguarded)}, which no guard compares; use it outside the step"

    def _variables(self, names: Iterable[str], variables: dict[str, Any], place: str) -> None:
        names = tuple(names)
        self.items(variables, names, "the variable ", f" in {place}")
        missing = [name for name in names if name not in variables]
        if missing and variables.get("__builtins__") not in (builtins, vars(builtins)):
            self.deny("built-in names", "of a namespace of its own")
        self.items(vars(builtins), missing, "the built-in ")

    def _imports(self, names: Iterable[str], variables: dict[str, Any]) -> None:
        """Modules that a name may be of: an import in the code, absolute or relative."""
        package_name = variables.get("__package__")
        modules = {path for n in names if n not in variables for path in (n, f"{package_name}.{n}")}
        self.items(sys.modules, modules & sys.modules.keys(), "the module ")

    # --- what a value leads to
    def _object(self, x: Any, text: str) -> None:
        """An object of a class that _FOLLOW lacks."""
        kind = type(x)
        base = next((base for base in kind.__mro__ if base in CONTAINERS or base in PLAIN), None)
        if base in CONTAINERS:
            self.container(base, x, text)
        if self.fault:
            return
        if kind.__module__ == "ranvier._core":
            self.deny(text, "an object of the core")
        elif is_of_library(kind):
            library.guard_object(self, x, text)
        elif kind.__module__ == "numpy" and not is_python_class(kind):
            self._of_numpy(x, text)
        else:
            self._instance(x, text, base)

    def _of_numpy(self, x: Any, text: str) -> None:
        self.numpy()
        if not (isinstance(x, np.dtype) or is_numpy_function(x)):
            self.deny(text, "a function of NumPy that is not listed")

    def _scalar(self, x: Any, text: str) -> None:
        self.numpy()
        if isinstance(x, np.void):  # a row of a table, which can be written to
            self.deny(text, "a row of a table of NumPy")

    def _array(self, x: Any, text: str) -> None:
        self.array(x, text, bool(self.names & {"flags", "strides"}))
        if x.base is not None and "base" in self.names:
            self.stack.append((x.base, f"{text}.base"))

    def _optimizer(self, x: Any, text: str) -> None:
        if not is_of_library(type(x)):
            self._instance(x, text, None)
        library.guard_methods(self, x, text)
        others = names_of_class(type(x)) if self.looks_up else self.names - vars(x).keys()
        self.items(vars(x), self.names - others - library.OF_OPTIMIZERS, f"{text}.")
        self.optimizers.append((x, text))

    def _namespace(self, x: types.SimpleNamespace, text: str) -> None:  # C makes its text and comparisons
        self.users = True
        self.whole(vars(x), (f"{text}.", ""))
        self.stack += [(value, f"{text}.{name}") for name, value in vars(x).items()]

    def _cell(self, cell: Any, text: str) -> None:
        try:
            content = cell.cell_contents
        except ValueError:  # empty as yet
            self.call(is_empty, cell, text)
            return
        self.add((Kind.CELL, cell, "", content, text))
        self.stack.append((content, text))

    # --- functions
    def _function(self, f: Any, text: str) -> None:
        code, own = f.__code__, vars(f)
        of_library = code.co_filename.startswith(PACKAGE)
        if id(code) in self._codes or decorates(code):
            for name, cell in zip(code.co_freevars, f.__closure__ or (), strict=True):
                self._cell(cell, f"the variable {name} in {f.__name__}")
        if of_library:
            library.guard_settings_of(self, f)
            return
        self.users = True
        self.items(own, {*own, *self.names} if self.looks_up else self.names & own.keys(), f"{f.__name__}.")
        if self.dynamic:
            self.whole(own, (f"{f.__name__}.", ""))
        for name in self.names & _FUNCTION_ATTRIBUTES:
            self.add((Kind.ATTRIBUTE, f, name, getattr(f, name), f"{f.__name__}.{name}"))
        if id(code) in self._codes:
            self._reached.add(id(code))
            expected = code, f.__defaults__, f.__kwdefaults__
            self.add((Kind.FUNCTION, f, "", expected, f"the function {f.__name__}"))
            self.stack += [(value, f"a default of {f.__name__}") for value in expected[1:]]

    def _method(self, x: Any, text: str) -> None:
        self.stack += [(x.__func__, text), (x.__self__, text.rpartition(".")[0] or "self")]

    def _builtin(self, x: Any, text: str) -> None:
        owner = getattr(x, "__self__", None)
        if not is_listed(x):
            self._unlisted = self._unlisted or text
        elif owner is not None and not isinstance(owner, (types.ModuleType, type)):
            self.stack.append((owner, text.rpartition(".")[0] or "self"))
        elif x in (isinstance, issubclass):
            self.abstract_classes()
        if x in (min, max, sorted) and "key" in self._keywords:
            self._takes_functions = True

    def _wrapper(self, x: Any, text: str) -> None:
        if not is_listed_type(x.__objclass__):
            self.deny(text, "which is made in C")

    def _module(self, x: types.ModuleType, text: str) -> None:
        own = vars(x)
        self.add((Kind.TYPE, x, None, type(x), f"the class of the module {x.__name__}"))
        built_in = x.__name__.partition(".")[0] in sys.builtin_module_names
        users = self.dynamic and not built_in and is_read(own.get("__file__") or "")
        names = {n for n in own if not n.startswith("__")} if users else set[str]()
        names |= self.names & own.keys()
        if "__getattr__" in own or self.looks_up:
            names |= {name for name in self.names if not name.startswith("__")}
        self.items(own, names, f"{x.__name__}.")
        if self.dynamic:
            self.whole(own, f"the module {x.__name__}")

    # --- classes and their instances
    def _class(self, kind: type, text: str) -> None:
        """Guards what the code can read of a class."""
        asks = functions_of(vars(kind).get("__subclasshook__"))
        if vars(kind).get("_is_protocol") or any(is_read(f.__code__.co_filename) for f in asks):
            self.deny(text, "a protocol, which looks for names of its own")
        self._takes_functions = self._takes_functions or kind in TAKES_FUNCTIONS
        if is_of_library(kind):
            library.guard_class(self, kind)
            return
        values: dict[str, Any] = {}
        for base in kind.__mro__:
            if base is object or (base in CONTAINERS and base is not kind):
                continue
            if is_of_library(base):
                library.guard_class(self, base)
            elif is_python_class(base):
                if is_read(file_of(base)):
                    self._users_class(base, values)
            elif not is_listed_type(base) and base.__module__ not in ("typing", "abc", "types", "enum"):
                self.deny(text, f"the class {base.__name__}, which is made in C")
                return
        if not is_python_class(kind):
            return
        if self._super:  # it finds what a class hides
            self.stack.extend((base, base.__name__) for base in kind.__mro__[1:-1])
        if type(kind) is not type:
            self.stack.append((type(kind), f"the class of {kind.__name__}"))
        names = (self.names | SPECIAL | values.keys()) - {"__dict__"}
        names |= self._library_names & names_of_class(kind)
        self.add((Kind.NAMES, kind, kind.__mro__, in_class(kind, names), f"the class {kind.__name__}"))
        for name in self.names & _FUNCTION_ATTRIBUTES:
            self.add((Kind.ATTRIBUTE, kind, name, getattr(kind, name, None), f"{kind.__name__}.{name}"))
        if isinstance(kind, enum.EnumMeta):  # by a name or a value
            self.stack += [(kind._member_map_, text), (kind._value2member_map_, text)]
        if self.dynamic:
            self.call(names_in, kind, f"the names in {kind.__name__}")

    def _users_class(self, kind: type, values: dict[str, Any]) -> None:
        self.users, read = True, self.names | self._library_names
        for name, value in list(vars(kind).items()):
            functions, text = functions_of(value), f"{kind.__name__}.{name}"
            codes = [f.__code__ for f in functions]
            ran = any(id(c) in self._codes or decorates(c) for c in codes)
            named = name in read or (self.dynamic and not name.startswith("__"))
            if ran or (named and not isinstance(value, _DESCRIPTORS)):
                values.setdefault(name, value)
                self.stack.extend((part, text) for part in (value, *functions))
            elif not self._library.isdisjoint(map(id, codes)):  # of a named tuple
                for f in functions:
                    expected = f.__code__, f.__defaults__, f.__kwdefaults__
                    self.add((Kind.FUNCTION, f, "", expected, text))
            elif name in SPECIAL:
                self.callable_parts([value], text)

    def _instance(self, x: Any, text: str, base: type | None) -> None:
        kind, own = type(x), getattr(x, "__dict__", None)
        self.users = True
        named = f"a {kind.__name__}"
        if not all(b is object or b is base or is_python_class(b) for b in kind.__mro__):
            self.deny(text, f"{named}, a kind of value that is not listed")
            return
        if "__getattribute__" in self.names | names_of_class(kind):
            self.deny(text, f"{named}, whose attributes are looked up in its own way")
            return
        self.add((Kind.TYPE, x, own, kind, f"the class of {text}"))
        self.stack.append((kind, f"the class of {text}"))
        # The library's code reads what no name in the user's code says, except in optimizers.
        named_only = isinstance(x, Optimizer)
        read = all(
            named_only if is_of_library(b) else is_read(file_of(b))
            for b in kind.__mro__
            if is_python_class(b)
        )
        if own is not None:
            self._attributes(kind, own, text, read)
        library.guard_slots(self, x, text, self.names if read and not self.dynamic else None)

    def _attributes(self, kind: type, own: dict[str, Any], text: str, read: bool) -> None:
        """read: whether the code of the class is read, so that it names what it reads."""
        names = self.names
        if self.dynamic or not read:
            unread = set() if read or self.dynamic else library.unread(kind, own, names | self._library_names)
            if unread:
                self.call(len, own, f"the attributes of {text}")
            else:
                self.whole(own, (f"{text}.", ""))
            names = names | (own.keys() - unread)
        if not (self.looks_up or hasattr(kind, "__getattr__")):
            names = names & (own.keys() | names_of_class(kind))
        self.items(own, [name for name in names if isinstance(name, str)], f"{text}.")


# What follows a value, by its class.
_FOLLOW: dict[Any, Callable[[Walk, Any, str], None]] = {
    Tensor: library.guard_tensor,
    np.ndarray: Walk._array,
    np.generic: Walk._scalar,
    np.ufunc: Walk._of_numpy,
    np.dtype: Walk._of_numpy,
    types.FunctionType: Walk._function,
    types.MethodType: Walk._method,
    types.BuiltinFunctionType: Walk._builtin,
    types.MethodDescriptorType: Walk._builtin,
    types.WrapperDescriptorType: Walk._wrapper,
    types.ModuleType: Walk._module,
    types.CellType: Walk._cell,
    types.SimpleNamespace: Walk._namespace,
    type: Walk._class,
    Optimizer: Walk._optimizer,
}


_FOLLOW_BASES = tuple(_FOLLOW.items())  # before _FOLLOW gets the library's classes, as they are met
_FOLLOW |= dict.fromkeys(CONTAINERS, lambda walk, x, text: walk.container(type(x), x, text))


def _follower(kind: type) -> Callable[[Walk, Any, str], None]:
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
