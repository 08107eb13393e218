"""The methods that change a Tensor in place by an op: ``x.add_(y)`` is ``x = x + y`` in the memory of x."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ranvier.ops.activation as activation
import ranvier.ops.elementwise as elementwise
import ranvier.ops.scatter as scatter
from ranvier.autograd.inplace import assign, check_leaf
from ranvier.autograd.tensor import Tensor


def in_place(function: Callable[..., Any], op: str) -> Callable[..., Tensor]:
    """The method named after an op: its tensor takes the result, and on the tape the result's history."""
    name = f"{op}_"

    @functools.wraps(function)
    def method(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        check_leaf(x, name)
        return assign(x, function(x, *args, **settings), name)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`ranvier.{op}`, in place."
    return method


_OPS = {
    elementwise: "add sub mul div pow neg exp sqrt clamp masked_fill",
    activation: "relu sigmoid tanh",
    scatter: "scatter scatter_add index_add",
}
METHODS = {f"{op}_": in_place(getattr(m, op), op) for m, ops in _OPS.items() for op in ops.split()}
OPERATORS = {f"__i{name}__": METHODS[f"{name}_"] for name in ("add", "sub", "mul", "pow")}
OPERATORS["__itruediv__"] = METHODS["div_"]
