"""Puts the operators and methods on Tensor: functions of this package whose first argument is the tensor."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ranvier.autograd.inplace import assign, check_leaf
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.arithmetic import add, div, mul, neg, sub
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.compare import eq, ge, gt, le, lt, ne
from ranvier.ops.elementwise.functions import abs, pow
from ranvier.ops.later import TENSOR_METHODS
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.shape.index import getitem
from ranvier.ops.shape.join import iterate
from ranvier.ops.shape.reshape import permute, transpose
from ranvier.ops.shape.view import IN_PLACE, in_place

MODULES = (  # those whose METHODS become methods of Tensor
    "activation.piecewise activation.smooth activation.softmax elementwise.arithmetic elementwise.compare "
    "elementwise.choice elementwise.functions matrix.matmul "
    "reduction.norms reduction.reduce reduction.scan reduction.sort reduction.variance shape.diagonal "
    "shape.index shape.join shape.repeat shape.reshape shape.scatter shape.view"
)


class _Later:
    """A method that its module, loaded at the first use, defines."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = f"ranvier.ops.{module}", name

    def __get__(self, tensor: Any, owner: Any) -> Any:
        module, name = importlib.import_module(self.module), self.name
        if name.startswith("__"):
            method = module.SYMBOLS[name]
            method = getattr(Tensor, method) if isinstance(method, str) else method
        elif name.endswith("_") and not hasattr(module, name):
            method = _in_place(module, name)
        else:
            method = getattr(module, name)
        setattr(Tensor, name, method)
        return method if tensor is None else method.__get__(tensor, owner)


def _methods() -> Iterator[tuple[str, Callable[..., Any]]]:
    for module in map(importlib.import_module, [f"ranvier.ops.{name}" for name in MODULES.split()]):
        for name in module.METHODS:
            yield name, getattr(module, name) if name[-1] != "_" else _in_place(module, name)


def _in_place(module: Any, name: str) -> Callable[..., Tensor]:
    """``x.add_(y)``: x takes the result of ``x.add(y)``, and on the tape its history."""
    op = name[:-1]
    function = getattr(module, op)

    def method(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        check_leaf(x, name)
        return assign(x, function(x, *args, **settings), name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`ranvier.{op}`, in place."
    method.__wrapped__ = function  # type: ignore[attr-defined]  # its signature
    return method


def _reflected(function: Callable[..., Any]) -> Callable[..., Any]:
    """``other op self``, which Python calls on the right operand."""

    def method(self: Tensor, other: Any) -> Any:
        return function(other, self)

    return method


def _equality(function: Callable[..., Any]) -> Callable[..., Any]:
    """Python itself compares a tensor with what is no tensor, array or number (None, a string)."""

    def method(self: Tensor, other: Any) -> Any:
        if isinstance(other, (Tensor, np.ndarray, np.generic, int, float)):
            return function(self, other)
        return NotImplemented

    return method


def _where(self: Tensor, condition: Any, other: Any) -> Any:
    """self where the condition is true, else other."""
    return where(condition, self, other)


METHODS: dict[str, Callable[..., Any]] = {
    **dict(_methods()),
    **{name: in_place(name, function) for name, function in IN_PLACE.items()},
    "where": _where,
}

OPERATORS: dict[str, Callable[..., Any]] = {
    **{f"__{op.__name__}__": op for op in (abs, add, ge, gt, le, lt, matmul, mul, neg, pow, sub)},
    "__truediv__": div,
    **{f"__r{op.__name__}__": _reflected(op) for op in (add, matmul, mul, pow, sub)},
    "__rtruediv__": _reflected(div),
    **{f"__i{op}__": METHODS[f"{op}_"] for op in ("add", "mul", "pow", "sub")},
    "__itruediv__": METHODS["div_"],
    "__eq__": _equality(eq),
    "__ne__": _equality(ne),
    "__getitem__": getitem,
    "__iter__": iterate,
}

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": lambda self: permute(self, tuple(range(self.ndim))[::-1]),
    "mT": lambda self: transpose(self, -2, -1),
    "mH": lambda self: transpose(self, -2, -1),  # real numbers are their own conjugates
}

for _name, _getter in PROPERTIES.items():
    setattr(Tensor, _name, property(_getter))
for _name, _function in {**OPERATORS, **METHODS}.items():
    setattr(Tensor, _name, _function)
for _module, _names in TENSOR_METHODS.items():
    for _name in _names.split():
        setattr(Tensor, _name, _Later(_module, _name))
