"""Element-wise functions that NumPy or a kernel computes, with formulas as their derivatives: the mechanism
behind the tables of this package.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ranvier.ops.elementwise.arithmetic import no_bools
from ranvier.ops.elementwise.dtypes import Array, unlike
from ranvier.ops.elementwise.row import DIVIDES, FLOATS, Row, binary, unary
from ranvier.ops.rules import none
from ranvier.ops.slopes import TENSORS, sum_to, written_once
from ranvier.tape.function import Dtypes, Function
from ranvier.tape.graph import of_input, of_output, rule
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import unbroadcast
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap

Slope = Callable[..., Any]


class ByNumpy(Function):
    """y = f(inputs); the gradient of input i is dy * slopes[i](f, *inputs, y), summed over repeated axes.

    A slope is a formula of arrays and of Tensors: f is numpy in backward, and TENSORS for create_graph. None:
    it is 0. ``steps``: slopes that are constant between jumps, of arrays only; ``core``: the kernel that
    computes the values in place of f.
    """

    steps = False
    frees_result = True
    core: Any = None

    def __init__(self, function: Callable[..., Any], slopes: tuple[Slope | None, ...]) -> None:
        self.function, self.slopes = function, slopes

    def forward(self, *inputs: Array) -> Array:
        self.inputs = inputs
        if self.core is not None:
            self.y = self.core(*inputs, None)
        else:
            self.y = host(_values, type(self).__name__.lower(), self.function, *inputs)
        return self.y

    def check_saved(self, *more: Array) -> None:
        # With steps, or without a slope, backward of one input reads none of its values.
        if len(self.inputs) > 1 or not (self.steps or self.slopes == (None,)):
            super().check_saved(*more)

    def backward(self, dy: Array) -> Any:
        return tuple(
            unbroadcast(host(_gradient, slope, dy, *self.inputs, self.y), x.shape) if needed else None
            for x, slope, needed in zip(self.inputs, self.slopes, self.needs, strict=True)
        )


@rule(ByNumpy)
def _by_formula(node: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    gradients: list[Tensor | None] = []
    xs = [of_input(node, i, array) for i, array in enumerate(node.inputs)]
    for x, slope, needed in zip(xs, node.slopes, node.needs, strict=True):
        if not needed:
            gradients.append(None)
        elif slope is None:
            gradients.append(none(x.shape, dy))
        elif node.steps:
            with np.errstate(all="ignore"):
                array = np.asarray(slope(np, *node.inputs, node.y), dy.dtype)
            gradients.append(sum_to(dy * wrap(array), x.shape))
        else:
            gradients.append(sum_to(dy * slope(TENSORS, *xs, of_output(node, node.y)), x.shape))
    return tuple(gradients)


def _values(name: str, function: Callable[..., Any], *inputs: Array) -> Array:
    try:
        with np.errstate(all="ignore"):
            y = np.asarray(function(*inputs))
    except ValueError as error:
        raise OpError(unlike(name, *inputs)) from error
    return y.astype(np.result_type(*inputs), copy=False)


def _gradient(slope: Slope | None, dy: Array, *saved: Array) -> Array:
    with np.errstate(all="ignore"):
        dx = np.zeros_like(dy) if slope is None else dy * slope(np, *saved)
    return np.ascontiguousarray(dx, dtype=dy.dtype)


@written_once()
class NoDerivative(Function):
    """Values that depend on the inputs in a way that has no derivative here: backward raises RuntimeError."""

    def __init__(self, name: str, values: Any) -> None:
        self.op, self.values = name, values

    def forward(self, *inputs: Array) -> Array:
        values, self.values = self.values, None
        return np.asarray(values)

    def backward(self, *gradients: Any, f: Any = None) -> Any:
        raise RuntimeError(f"[{self.op}] has no derivative; expected a detached input: detach() it first")


def without_derivative(name: str, values: Any, *inputs: Any) -> Tensor:
    """The values as a Tensor; a backward through it is refused, where one of the inputs needs a gradient."""
    values = np.asarray(values)
    if values.dtype.kind == "f" and any(getattr(x, "requires_grad", False) for x in inputs):
        return NoDerivative(name, values).apply(*inputs)
    return wrap(values)


def _row(name: str, function: Any, slopes: Any, dtypes: Dtypes, kind: dict[str, Any]) -> Row:
    node = partial(type(name.capitalize(), (ByNumpy,), {**kind, "dtypes": dtypes}), function, slopes)
    check = no_bools if name in DIVIDES else None
    return Row(name, node, kind.get("core"), function, dtypes=dtypes, check=check)


def of_one(
    name: str, function: Callable[..., Any], slope: Slope | None, dtypes: Dtypes = FLOATS, **kind: Any
) -> Callable[[Any], Tensor]:
    """A public function y = f(x) with dy/dx = slope(f, x, y). kind: settings of ByNumpy.

    >>> import ranvier as rv
    >>> cube = of_one("cube", lambda x: x**3, lambda f, x, y: 3 * x * x)
    >>> cube(rv.tensor([2.0]))
    tensor([8.])
    """
    return unary(_row(name, function, (slope,), dtypes, kind))


def of_two(
    name: str,
    function: Callable[..., Any],
    slopes: tuple[Slope | None, Slope | None],
    dtypes: Dtypes = FLOATS,
    **kind: Any,
) -> Callable[[Any, Any], Tensor]:
    """A public function y = f(a, b) of operands that broadcast; slopes(f, a, b, y) are dy/da and dy/db."""
    return binary(_row(name, function, slopes, dtypes, kind))
