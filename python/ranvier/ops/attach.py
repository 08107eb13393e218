"""Puts the operators and methods on Tensor: functions of this package whose first argument is the tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import ranvier.ops.activation as activation
import ranvier.ops.diagonal as diagonal
import ranvier.ops.elementwise as elementwise
import ranvier.ops.index as index
import ranvier.ops.inplace as inplace
import ranvier.ops.join as join
import ranvier.ops.norms as norms
import ranvier.ops.products as products
import ranvier.ops.reduce as reduce
import ranvier.ops.repeat as repeat
import ranvier.ops.scan as scan
import ranvier.ops.scatter as scatter
import ranvier.ops.shape as shape
import ranvier.ops.softmax as softmax
import ranvier.ops.sort as sort
import ranvier.ops.variance as variance
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise import add, div, eq, ge, gt, le, lt, mul, ne, neg, pow, sub
from ranvier.ops.elementwise.whole import capturing, logic
from ranvier.ops.matmul import matmul
from ranvier.ops.triangle import tril, triu


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    """``other op self`` for the operator of which Python calls the right operand's method."""

    def method(self: Tensor, other: Any) -> Any:
        return function(other, self)

    return method


def _equality(function: Callable[..., Any]) -> Callable[..., Any]:
    """Comparison with something that is not a tensor, array or number (None, a string) is left to Python."""

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, (Tensor, np.ndarray, np.generic, int, float)):
            return function(self, other)
        return NotImplemented

    return method


def _where(self: Tensor, condition: Any, other: Any) -> Any:
    """self where the condition is true, else other."""
    return elementwise.where(condition, self, other)


def _reflected_logical(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    """``other & self`` and the like: these operators do not mind the order."""
    method = _logical(numpy_function)
    return lambda self, other: method(self, other)


def _logical(numpy_function: Callable[..., Any]) -> Callable[..., Any]:
    """``& | ^ ~`` on bool and integer tensors, outside the tape. Raises TypeError for others."""

    def method(self: Tensor, *other: Any) -> Any:
        raw = [getattr(x, "_array", x) for x in (self, *other)]
        out = object.__new__(Tensor)
        made = logic(numpy_function, *raw) if capturing() else None
        try:
            out._array = np.asarray(numpy_function(*raw)) if made is None else made
        except TypeError as error:
            kinds = ", ".join(str(np.asarray(x).dtype) for x in raw)
            name = numpy_function.__name__
            raise TypeError(f"[{name}] got dtypes {kinds}; expected bools or integers") from error
        out._grad, out._view, out._cell = None, None, [0, None, 0]
        out._requires_grad, out._grad_fn = False, None
        return out

    return method


def _iterate(self: Tensor) -> Iterator[Any]:
    if self.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(join.unbind(self, 0))


OPERATORS: dict[str, Callable[..., Any]] = {
    "__add__": add,
    "__radd__": _reflected(add),
    "__sub__": sub,
    "__rsub__": _reflected(sub),
    "__mul__": mul,
    "__rmul__": _reflected(mul),
    "__truediv__": div,
    "__rtruediv__": _reflected(div),
    "__pow__": pow,
    "__rpow__": _reflected(pow),
    "__matmul__": matmul,
    "__rmatmul__": _reflected(matmul),
    "__neg__": neg,
    "__abs__": elementwise.abs,
    "__eq__": _equality(eq),
    "__ne__": _equality(ne),
    "__lt__": lt,
    "__le__": le,
    "__gt__": gt,
    "__ge__": ge,
    "__and__": _logical(np.bitwise_and),
    "__rand__": _reflected_logical(np.bitwise_and),
    "__or__": _logical(np.bitwise_or),
    "__ror__": _reflected_logical(np.bitwise_or),
    "__xor__": _logical(np.bitwise_xor),
    "__rxor__": _reflected_logical(np.bitwise_xor),
    "__getitem__": index.getitem,
    "__invert__": _logical(np.invert),
    "__iter__": _iterate,
    **inplace.OPERATORS,
}

_ROOMS = (diagonal, index, join, norms, products, reduce, repeat, scan, scatter, shape, sort, variance)
METHODS: dict[str, Callable[..., Any]] = {
    **{name: getattr(elementwise, name) for name in elementwise.__all__ if name != "where"},
    **{name: getattr(room, name) for room in _ROOMS for name in room.METHODS},
    **inplace.METHODS,
    "where": _where,
    **{name: getattr(activation, name) for name in ("heaviside", "relu", "sigmoid", "tanh")},
    **{name: getattr(softmax, name) for name in ("softmax", "log_softmax")},
    "matmul": matmul,
    "multiply": mul,
    "divide": div,
    "subtract": sub,
    "negative": neg,
    "tril": tril,
    "triu": triu,
}

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": lambda self: shape.permute(self, tuple(range(self.ndim))[::-1]),
    "mT": lambda self: shape.transpose(self, -2, -1),
}

for _name, _getter in PROPERTIES.items():
    setattr(Tensor, _name, property(_getter))
for _name, _function in {**OPERATORS, **METHODS}.items():
    setattr(Tensor, _name, _function)
