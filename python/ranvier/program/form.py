"""Form: all that a step of the library depends on, without its own objects; equal for steps that do the same.

The guards of a step name everything that its calls follow from. Where the objects among them have numbers in
the order in which the walk comes to them, two steps of the same form have the same guards: the second would
be recorded as the same program on other memory.
"""

from __future__ import annotations

import functools
import types
from typing import Any

import numpy as np

from ranvier.autograd import random
from ranvier.program.kinds import Kind
from ranvier.program.walk import Walk

__all__ = ["Form", "form_of"]

Array = np.ndarray[Any, Any]
_BY_VALUE = frozenset({int, bool, str, bytes, type(None), type(...), type(NotImplemented)})
_LASTING = (type, types.ModuleType, types.BuiltinFunctionType, np.ufunc, np.dtype)
_READ_BY_KERNELS = (int, float, tuple, list)
_UNKNOWN = (np.generic, complex, types.FunctionType, frozenset, slice, range, property)
_COMPARED = frozenset({Kind.ITEMS, Kind.SLOT, Kind.ATTRIBUTE, Kind.LIST, Kind.DICT, Kind.TYPE})


class _Unknown(Exception):
    """A value of which it is not known how it is compared."""


class Form:
    """The form of one step.

    Attributes:
        key: equal for all steps of the form that are called with the same signature.
        objects: of this step, by number. arrays: those that outlive the step, as they are found.
    """

    def __init__(self, walk: Walk, signature: Any) -> None:
        """Raises _Unknown."""
        self.walk = walk
        self.objects: list[Any] = []
        self.arrays: list[Array] = []
        self.optimizers: list[tuple[Any, int]] = []  # with the place of a group
        self._numbers: dict[int, int] = {}
        guards = [guard if guard[0] in _COMPARED else _call(*guard) for guard in walk.guards]
        owners = {id(thing) for _, owner, key, _ in walk.guards for thing in (owner, key)}
        plans = [self._groups(x) for x in {id(x): x for x, _ in walk.optimizers}.values()]
        owners.update(id(group) for x, _ in self.optimizers for group in x.param_groups)
        values = tuple(self._values((*guards, *plans)))
        self.arrays.append(random.current().state)
        numbers = self._numbers.keys() - walk.seen.keys() - owners
        if any(type(self.objects[self._numbers[number]]) is not np.ndarray for number in numbers):
            raise _Unknown
        kinds = tuple(map(type, self.objects))
        layouts = tuple([(a.dtype.str, a.shape, a.strides) for a in self.arrays])
        self.key = signature, tuple(walk.parts), values, kinds, layouts

    def number(self, x: Any) -> int:
        """Raises KeyError for an object that is no part of the form."""
        return self._numbers[id(x)]

    def group(self, place: int) -> tuple[Any, Any, Any]:
        """(plan, optimizer, group)."""
        x, i = self.optimizers[place]
        group = x.param_groups[i]
        return x._plans[id(group)], x, group

    def _values(self, x: Any) -> list[Any]:
        """A value as a list that is equal for equal values; objects are numbers in it."""
        found: list[Any] = []
        stack = [x]
        numbers, objects = self._numbers, self.objects
        while stack:
            x = stack.pop()
            kind = type(x)
            if kind in _BY_VALUE:
                found += kind, x
            elif kind is tuple:
                found += kind, len(x)
                stack += x
            elif kind is float:
                found += kind, repr(x)
            elif isinstance(x, _LASTING) or (kind is types.FunctionType and x.__closure__ is None):
                if kind is types.BuiltinFunctionType and type(x.__self__) is not types.ModuleType:
                    raise _Unknown
                found += "the same", x
            elif kind is types.MethodType:
                found.append(kind)
                stack += x.__func__, x.__self__
            elif isinstance(x, _UNKNOWN):
                raise _Unknown
            else:
                number = numbers.setdefault(id(x), len(objects))
                found += "object", number
                if number == len(objects):
                    objects.append(x)
                    if kind is np.ndarray:
                        self.arrays.append(x)
        return found

    def _groups(self, x: Any) -> tuple[Any, ...]:
        """Of an optimizer, without the numbers among its settings, which a kernel reads at each replay."""
        found: list[Any] = [x]
        for place, group in enumerate(x.param_groups):
            settings = [(k, type(v), v) for k, v in group.items() if type(v) not in _READ_BY_KERNELS]
            plan = x._plans.get(id(group))
            found += tuple(group), tuple(settings), tuple(group["params"]), plan is None
            if plan is None:
                continue
            if not plan.fits(x, group, [p for p in group["params"] if p._grad is not None]):
                raise _Unknown
            self.optimizers.append((x, place))
            lists = [a for ps, steps, products, states in plan.parts for a in (ps, steps, products, *states)]
            found += plan.names, plan.numbers, *[None if a is None else tuple(a) for a in lists]
        return tuple(found)


def _call(kind: int, owner: Any, key: Any, expected: Any) -> Any:
    """A guard on what a function gives."""
    if kind == Kind.CALL and type(owner) is functools.partial and not owner.keywords:
        return kind, owner.func, owner.args, expected
    raise _Unknown


def form_of(walk: Walk, signature: Any) -> Form | None:
    """None where something is read of which it is not known whether it is the same for two steps."""
    try:
        return Form(walk, signature)
    except _Unknown:
        return None
