"""Guards: what a step has read in Python, found by following the names in its code.

The recording notes which code ran (`reads.py`). From the step's function, the variables that this code
names and the arguments that are no arrays, the walk follows every attribute that occurs in any of the code,
the contents of containers, closures and defaults. Each value on the way is a guard, which the core compares
before a replay. So more is guarded than was read, never less: an attribute that changes without having been
read costs one more recording.
"""

from __future__ import annotations

import _thread
import abc
import builtins
import copy
import functools
import gc
import operator
import sys
import types
from collections.abc import Iterable
from typing import Any

import numpy as np

import ranvier.program.contents as contents
import ranvier.program.objects as objects
from ranvier.autograd import hooks
from ranvier.autograd.tensor import Tensor
from ranvier.optim import Optimizer
from ranvier.program.attributes import AttributeGuards
from ranvier.program.guard_kinds import STATE, Kind
from ranvier.program.pure import is_stateful
from ranvier.program.reads import Names, Reads, absolute

__all__ = ["Walk"]

_MOST = 20_000  # guards of one step
_PLAIN_SET = frozenset(objects.PLAIN)
_LOOKS_UP = frozenset({"attrgetter", "itemgetter", "methodcaller"})


class Walk(AttributeGuards):
    """The guards of one recorded step.

    Attributes:
        tensors: those that were reached. looked_up: names that no code has, as those of operator.attrgetter.
        searched: whether functions were looked for among all objects of the process.
    """

    def __init__(self, reads: Reads, forward_only: bool = False, names: set[str] | None = None) -> None:
        super().__init__(reads, names)
        self.tensors: list[Tensor] = []
        self.looked_up: set[str] = set()
        self._forward_only = forward_only
        self._seen: dict[int, Any] = {}
        self.searched = False

    def branch(self) -> Walk:
        """The same walk, to be continued without a change of this one."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (list, dict, set)):
                setattr(other, name, value.copy())
        return other

    def run(self, roots: Iterable[tuple[Any, str]]) -> None:
        """Follows what can be reached from the roots and from the variables of the code that ran."""
        self.stack.extend(roots)
        for names, (code, variables) in zip(self._all_names, self._codes.values(), strict=True):
            self._variables(names, variables, code)
        for name in self._imported & sys.modules.keys():
            self.item(sys.modules, name, f"the module {name}")
        for file in self._settings:
            function, text = contents.NUMPY_SETTINGS[file]
            self._call(function, text)
        self._tensors()
        self._drain()
        self._unreached()
        self._drain()
        if self.large and self._names & _LOOKS_UP:  # C functions that call others with what they find
            self.untouched.clear()
        self.fault = self.fault or self._too_large

    def _drain(self) -> None:
        while self.stack and not self.fault:
            value, text = self.stack.pop()
            self._follow(value, text)
            if len(self.guards) > _MOST:
                self.fault = (
                    f"the step can reach more than {_MOST} Python values (at {text}); pass what it needs "
                    "as an argument"
                )

    # --- what code names
    def _variables(self, names: Names, variables: dict[str, Any], code: types.CodeType) -> None:
        where = f"in {code.co_name}" if objects.is_user(code) else f"of {variables.get('__name__', '?')}"
        for name in names.variables:
            if objects.is_our_own(variables.get(name), variables):
                if isinstance(variables[name], types.ModuleType):
                    self.stack.append((variables[name], name))
                continue  # the library's own code
            if name in ("isinstance", "issubclass") and objects.is_user(code):
                self.call(abc.get_cache_token, abc.get_cache_token(), "the abstract classes")
            if name in variables:
                self.item(variables, name, f"the variable {name} {where}")
            elif hasattr(builtins, name):
                self.add(Kind.MISSING, variables, name, None, f"the variable {name} {where}")
                self.item(vars(builtins), name, f"the built-in {name}")
            else:
                self.add(Kind.MISSING, variables, name, None, f"the variable {name} {where}")
        for name, level in names.imports:
            full = absolute(name, level, variables.get("__package__"))
            if full in sys.modules:
                self.item(sys.modules, full, f"the module {full}")

    def _tensors(self) -> None:
        """The methods of Tensors that the step's own code names; no Tensor is followed for them."""
        found = [(name, objects.in_class(Tensor, name)) for name in self._user_names]
        values = tuple(part for name, value in found if value is not None for part in (name, value))
        self.add(Kind.NAMES, Tensor, "", values, "the class Tensor")

    # --- what a value leads to
    def _follow(self, x: Any, text: str) -> None:
        kind = type(x)
        if kind in _PLAIN_SET or id(x) in self._seen:
            return
        self._seen[id(x)] = x
        if issubclass(kind, (np.generic, np.ndarray)):  # whose arithmetic may warn or raise
            self.call(contents.error_handling, contents.error_handling(), "np.errstate")
        if issubclass(kind, objects.PLAIN):
            if kind is np.void:  # a row of a table, which can be written to
                self._call(x.tobytes, f"the contents of {text}")
            if not objects.is_builtin(kind):  # a subclass, which may have attributes
                self._instance(x, text)
            return
        if issubclass(kind, Tensor):
            self._tensor(x, text)
        elif issubclass(kind, np.ndarray):
            self._array(x, text)
            if not self.fault and not objects.is_builtin(kind):
                self._instance(x, text)
        elif issubclass(kind, Optimizer):
            self._optimizer(x, text)
        elif is_stateful(x):
            self.fault = (
                f"the step depends on {text}, {objects.with_article(kind.__name__)}, which gives another "
                "answer each time; take from it outside the step and pass that as an argument"
            )
        elif kind is types.FunctionType:
            self._function(x, text)
        elif kind is types.MethodType:
            self.stack += [(x.__func__, text), (x.__self__, objects.owner_in_words(text))]
        elif kind is types.BuiltinFunctionType:
            if not isinstance(x.__self__, (types.ModuleType, type)):
                self.stack.append((x.__self__, objects.owner_in_words(text)))
        elif issubclass(kind, types.ModuleType):
            self._python_module(x)
        elif issubclass(kind, type):
            if contents.is_decimal(x):
                self.call(contents.decimal_context, contents.decimal_context(), "the decimal context")
            self._class(x, text)
        else:
            self._other(x, text)

    def _python_module(self, x: types.ModuleType) -> None:
        own = vars(x)
        if self._dynamic:  # any of its names
            self.add(Kind.DICT, own, "", objects.pairs_of(own), f"the module {x.__name__}")
        for name in list(own) if self._dynamic and objects.is_users_module(x) else self._names & own.keys():
            self.item(own, name, f"{x.__name__}.{name}")
        if (self._misses and objects.is_users_module(x)) or "__getattr__" in own:
            self._missing(own, self._names, x.__name__)

    def _optimizer(self, x: Any, text: str) -> None:
        """The settings are guarded for each step that it takes: `guard_optimizer`."""
        for name in self._user_names & {"param_groups", "defaults"} & vars(x).keys():
            self.item(vars(x), name, f"{text}.{name}")
        if "state" in self._user_names and "state" in vars(x):
            where = f"{STATE} of {type(x).__name__}"
            for owner in (x.state, *x.state.values()):
                self.add(Kind.DICT, owner, "", objects.pairs_of(owner), where)
        if type(x).__module__.startswith("ranvier.optim"):
            return
        self._instance(x, text)

    def _other(self, x: Any, text: str) -> None:
        kind = type(x)
        if kind is _thread._local:
            names = self._names & set(dir(x))
            if self._dynamic:  # any of its names
                names |= vars(x).keys()
                self.call(functools.partial(_names_in, x), _names_in(x), f"the attributes of {text}")
            for name in names:
                self.add(Kind.ATTRIBUTE, x, name, getattr(x, name), f"{text}.{name}")
                self.stack.append((getattr(x, name), f"{text}.{name}"))
            if self._misses or self._dynamic:
                self._absent(x, self._names - set(dir(x)), text)
        elif issubclass(kind, types.CellType):
            self._cell(x, text)
        elif issubclass(kind, (operator.attrgetter, operator.methodcaller)):
            self.looked_up |= objects.names_within(x)
        else:
            for function, what in contents.compared(x):
                self._call(function, f"{what} of {text}")
            if kind is list:
                self.add(Kind.LIST, x, "", tuple(x), f"the items of {text}")
            elif issubclass(kind, dict):
                self.add(Kind.DICT, x, "", objects.pairs_of(x), f"the items of {text}")
            for part, where in contents.parts(x):
                self.stack.append((part, where.format(text)))
                self.parents.setdefault(id(part), []).append(x)
            self.fault = self.fault or contents.unknown(x, text, self._names)
            if contents.is_decimal(kind):
                self.call(contents.decimal_context, contents.decimal_context(), "the decimal context")
            if kind.__module__ != "builtins" and not objects.is_inner(x):
                self._instance(x, text)

    def _tensor(self, x: Tensor, text: str) -> None:
        self.tensors.append(x)
        self.add(Kind.SLOT, x, "_array", x._array, f"the memory of {text}")
        own = vars(x)  # what the program has added
        for name in self._user_names & own.keys():
            self.item(own, name, f"{text}.{name}")
        if self._dynamic:
            self.add(Kind.DICT, own, "", objects.pairs_of(own), f"the attributes of {text}")
        elif self._misses:
            self._missing(own, {n for n in self._user_names if not hasattr(Tensor, n)}, text)
        if self._forward_only:
            return
        self.add(Kind.SLOT, x, "_requires_grad", x._requires_grad, f"requires_grad of {text}")
        self.add(Kind.SLOT, x, "_grad_fn", x._grad_fn, f"grad_fn of {text}")

    @property
    def reads_gradients(self) -> bool:
        """Whether the step's own code names `grad`."""
        return "grad" in self._user_names

    # --- functions that no name leads to: hooks, and what the library keeps for the step
    def _unreached(self) -> None:
        """Functions whose code ran, but to which no name leads: found by their own name, else by a search."""
        missing = [
            (code, variables)
            for key, (code, variables) in self._codes.items()
            if key not in self._functions
            and key not in self._inner
            and (code.co_freevars or code.co_argcount)
        ]
        if not missing or self.fault:
            return
        named = [(code, objects.named_function(code, variables)) for code, variables in missing]
        self.stack.extend((found, found.__name__) for _, found in named if found is not None)
        nameless = [code for code, found in named if found is None]
        if nameless:
            self.searched = True
            for referrer in gc.get_referrers(*nameless):
                if type(referrer) is types.FunctionType and id(referrer.__code__) in self._codes:
                    self.stack.append((referrer, referrer.__name__))

    def leaves(self, leaves: Iterable[Tensor]) -> None:
        """Hooks on tensors, which backward calls."""
        for table, text in (
            (hooks.before_accumulation, "the hooks of a tensor"),
            (hooks.after_accumulation, "the hooks after accumulation"),
        ):
            if not table:
                self.add(Kind.DICT, table, "", (), text)
                continue
            for leaf in leaves:
                if id(leaf) in table:
                    self.add(Kind.ITEM, table, id(leaf), table[id(leaf)], text)
                    self.stack.append((table[id(leaf)], text))
                else:
                    self.add(Kind.MISSING, table, id(leaf), None, text)
        self._drain()


def _names_in(x: Any) -> tuple[str, ...]:
    """The names of an object's attributes; of a `threading.local`, those of this thread."""
    return tuple(vars(x))
