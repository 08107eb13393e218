"""A run of a model as a list of calls of Functions, with names for the values.

An array that no call made and that is no parameter is a constant; runs with other inputs show whether it
depends on them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn as nn
import ranvier.ops.elementwise.row as row
import ranvier.ops.reduction.reduce as reduce
from ranvier.autograd import Tensor, wrap
from ranvier.compile.calls import Calls
from ranvier.ops.elementwise.compare import COMPARISONS
from ranvier.ops.elementwise.dtypes import as_operand, result_dtype
from ranvier.ops.elementwise.row import Row

__all__ = ["Trace", "Value"]

Array = np.ndarray[Any, Any]


class Value(NamedTuple):
    """An operand or result of a call: a value of the graph, or without a name a constant.

    array: of a constant its numbers; of others only shape and dtype are right.
    """

    name: str
    array: Array


class Trace(Calls):
    """The calls of one run. enter is called with each module that is called."""

    op = "onnx.export"

    def __init__(self, enter: Callable[[Any], None] | None = None) -> None:
        super().__init__()
        self.enter = enter or (lambda module: None)
        self._count = 0

    def name(self, tensor: Tensor, name: str, is_computed: bool = True) -> Value:
        """Gives a tensor's array a name."""
        self.see(tensor, name, is_computed)
        return Value(name, _outline(tensor._array))

    def operand(self, x: Any) -> Value | None:
        if x is None:
            return None
        array = getattr(x, "_array", x)
        array = array if isinstance(array, np.ndarray) else np.asarray(array)
        entry = self.unchanged(array)
        if entry is None:
            self.alive.append(array)
            return Value("", array)
        return Value(entry.value, _outline(array))

    def result(self, kind: str, x: Tensor) -> Value:
        self._count += 1
        return self.name(x, f"{kind.lower()}_{self._count}")

    def add(self, kind: str, settings: dict[str, Any], inputs: Any, results: Any) -> None:
        super().add(kind, {name: self._setting(x) for name, x in settings.items()}, inputs, results)

    def _setting(self, value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return self.operand(value)
        if isinstance(value, tuple):
            return tuple(map(self._setting, value))
        return value

    def replaced(self) -> list[tuple[Any, str, Callable[..., Any]]]:
        return [
            *super().replaced(),
            (row, "compute", self._computed),
            (reduce, "_arg", self._place),
            (nn.Module, "__call__", self._module),
            *((Tensor, name, functools.partial(self._logic, name.strip("_"))) for name in _LOGIC),
        ]

    def _computed(self, original: Any, row: Row, *given: Any) -> Any:
        result = original(row, *given)
        if row.name in COMPARISONS:
            dtype = result_dtype(*(as_operand(row.name, x) for x in given))
            self.add("Compare", {"name": row.name, "dtype": dtype}, given, (result,))
        elif len(given) == 2 and row.node is not None and result.dtype.kind in "iu":  # floats call a Function
            self.add("Whole", {"name": row.name, "dtype": result.dtype}, given, (result,))
        return result

    def _place(self, original: Any, name: str, x: Any, axis: Any, keepdims: bool) -> Any:
        result = original(name, x, axis, keepdims)
        self.add("Place", {"name": name, "axis": axis, "keepdims": keepdims}, (x,), (result,))
        return result

    def _module(self, original: Any, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        self.enter(module)
        result = original(module, *args, **kwargs)
        if isinstance(module, nn.Dropout) and module.p > 0:
            same = wrap(result._array[...])  # the same numbers as another value
            self.add("DropoutLayer", {"p": module.p}, (result,), (same,))
            return same
        return result

    def _logic(self, name: str, original: Any, tensor: Tensor, *other: Any) -> Any:
        result = original(tensor, *other)
        if isinstance(result, Tensor):
            self.add("Logical", {"name": name}, (tensor, *other), (result,))
        return result


_LOGIC = ("__and__", "__or__", "__xor__", "__rand__", "__ror__", "__rxor__", "__invert__")


def _outline(array: Array) -> Array:
    """An array of the same shape and dtype, without its memory."""
    return np.broadcast_to(np.zeros((), array.dtype), array.shape)
