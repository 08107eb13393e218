"""Element-wise functions that NumPy computes, with their derivatives: the mechanism behind the tables of this
package; and erf, its inverse, the logarithm of gamma and its derivatives, for arrays, computed in float64.

Sources: Abramowitz and Stegun, Handbook of Mathematical Functions, 6.3 and 6.4 (digamma, trigamma); the
starting value of erfinv is Winitzki's (2008), followed by three steps of Halley's method on erf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.graph import of_input, of_output, refuse, rule
from ranvier.autograd.memory import copied
from ranvier.autograd.recording import host
from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import (
    Array,
    as_tensor,
    floating,
    is_floating,
    promoted,
    require_no_gradient,
    unbroadcast,
    unlike,
)
from ranvier.ops.elementwise.functions import abs, cos, exp, log, sqrt
from ranvier.ops.rules import none, sum_to

Slope = Callable[..., Any]


class ByNumpy(Function):
    """y = f(inputs); the gradient of input i is dy * slopes[i](f, *inputs, y), summed over repeated axes.

    A slope is a formula of arrays and of Tensors: f is numpy in backward, and TENSORS for create_graph. None:
    it is 0. ``steps``: slopes that are constant between jumps, of arrays only; ``once``: without a rule.
    """

    steps, once = False, False

    def __init__(self, function: Callable[..., Any], slopes: tuple[Slope | None, ...]) -> None:
        self.function, self.slopes = function, slopes

    def forward(self, *inputs: Array) -> Array:
        self.inputs = inputs
        self.y = host(_values, type(self).__name__.lower(), self.function, *inputs)
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        return tuple(
            unbroadcast(host(_gradient, slope, dy, *self.inputs, self.y), x.shape) if needed else None
            for x, slope, needed in zip(self.inputs, self.slopes, self.needs, strict=True)
        )


TENSORS = SimpleNamespace(abs=abs, cos=cos, exp=exp, log=log, sqrt=sqrt, where=where)
"""The functions of Tensors that formulas of slopes use, by NumPy's names."""


@rule(ByNumpy)
def _slopes_times_dy(node: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    if node.once:
        refuse(node)
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
        raise ValueError(unlike(name, *inputs)) from error
    return y.astype(np.result_type(*inputs), copy=False)


def _gradient(slope: Slope | None, dy: Array, *saved: Array) -> Array:
    with np.errstate(all="ignore"):
        dx = np.zeros_like(dy) if slope is None else dy * slope(np, *saved)
    return np.ascontiguousarray(dx, dtype=dy.dtype)


class NoDerivative(Function):
    """Values that depend on the inputs in a way that has no derivative here: backward raises RuntimeError."""

    def __init__(self, name: str, values: Any) -> None:
        self.name, self.values = name, values

    def forward(self, *inputs: Array) -> Array:
        values, self.values = self.values, None
        return np.asarray(values)

    def backward(self, *gradients: Array) -> Array:
        raise RuntimeError(f"[{self.name}] has no derivative; expected a detached input: detach() it first")


@rule(NoDerivative)
def _no_derivative(node: Any, *dys: Tensor) -> Any:
    return node.backward(*dys)  # raises


def without_derivative(name: str, values: Any, *inputs: Any) -> Tensor:
    """The values as a Tensor; a backward through it is refused, where one of the inputs needs a gradient."""
    values = np.asarray(values)
    if values.dtype.kind == "f" and any(getattr(x, "requires_grad", False) for x in inputs):
        return NoDerivative(name, values).apply(*inputs)
    return wrap(values)


def of_one(
    name: str, function: Callable[..., Any], slope: Slope | None, integers: bool = False, **kind: bool
) -> Callable[[Any], Tensor]:
    """A public function y = f(x) with dy/dx = slope(f, x, y). kind: settings of ByNumpy.

    Integers are computed in float32, or keep their dtype where `integers` is set.

    >>> import ranvier as rv
    >>> cube = of_one("cube", lambda x: x**3, lambda f, x, y: 3 * x * x)
    >>> cube(rv.tensor([2.0]))
    tensor([8.])
    """
    node = type(name.capitalize(), (ByNumpy,), kind)

    def op(input: Any) -> Tensor:
        x = as_tensor(name, input)
        if not is_floating(x) and (integers or x._array.dtype.kind == "f"):
            require_no_gradient(name, x)
            if x._array.dtype.kind in "biu":
                return wrap(copied(x._array))
            # float16: NumPy computes it, without a gradient
            return by_numpy(function, x._array) if integers else by_numpy(_values, name, function, x._array)
        return node(function, (slope,)).apply(floating(x))

    return op


def of_two(
    name: str,
    function: Callable[..., Any],
    slopes: tuple[Slope | None, Slope | None],
    integers: bool = False,
    **kind: bool,
) -> Callable[[Any, Any], Tensor]:
    """A public function y = f(a, b) of operands that broadcast; slopes(f, a, b, y) are dy/da and dy/db."""
    node = partial(type(name.capitalize(), (ByNumpy,), kind), function, slopes)

    def op(input: Any, other: Any) -> Tensor:
        return promoted(name, node, function, input, other, integers=integers)

    return op


def _of_each(function: Any, x: Array) -> Array:
    """A function of Python's math module, for each element of an array."""
    every = np.frompyfunc(function, 1, 1)
    return np.asarray(every(x.astype(np.float64)), dtype=np.float64).astype(x.dtype)


def _lgamma(x: float) -> float:
    if math.isinf(x) or (x <= 0 and x == math.floor(x)):  # a pole
        return math.inf
    try:
        return math.lgamma(x)
    except OverflowError:  # beyond about 2.5e305
        return math.inf


erf_of, erfc_of, lgamma_of = (partial(_of_each, f) for f in (math.erf, math.erfc, _lgamma))


def erfinv_of(y: Array) -> Array:
    """x with erf(x) = y."""
    v = y.astype(np.float64)
    inside = np.where(np.abs(v) < 1, v, 0.0)
    w = np.log1p(-inside * inside)
    t = 2 / (math.pi * 0.147) + w / 2
    x = np.copysign(np.sqrt(np.sqrt(t * t - w / 0.147) - t), inside)
    for _ in range(3):
        small = np.abs(inside) < 0.5  # beyond, erfc keeps the digits that 1 - erf would lose
        error = np.where(
            small, erf_of(x) - inside, np.sign(inside) * (1 - np.abs(inside) - erfc_of(np.abs(x)))
        )
        step = error / (2 / math.sqrt(math.pi) * np.exp(-x * x))
        x = x - step / (1 + x * step)
    x = np.where(np.abs(v) == 1, np.copysign(np.inf, v), x)
    return np.where(np.abs(v) <= 1, x, np.nan).astype(y.dtype)


def _asymptotic(x: Array, poles: float, reflected: Any, step: Any, series: Any) -> Array:
    """A function by reflection to x >= 1/2, recurrence up to x >= 8, and its asymptotic series there."""
    v = np.atleast_1d(x.astype(np.float64))
    low = v < 0.5
    z, total = np.where(low, 1 - v, v), np.zeros_like(v)
    for _ in range(8):
        small = z < 8
        total = total + np.where(small, step(z), 0.0)
        z = np.where(small, z + 1, z)
    y = total + series(z)
    y = np.where(low, reflected(v, y), y)
    y = np.where((v <= 0) & (v == np.floor(v)), poles, y)
    return y.reshape(x.shape)


def digamma_of(x: Array) -> Array:
    """The derivative of the logarithm of gamma."""

    def series(z: Array) -> Array:
        s = 1 / (z * z)
        tail = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s * (1 / 240 - s * (1 / 132 - s * 691 / 32760)))))
        return np.log(z) - 0.5 / z - tail

    # the tangent of a multiple of pi is taken of the distance to the nearest integer, which is exact
    y = _asymptotic(
        x, np.nan, lambda v, z: z - math.pi / np.tan(math.pi * (v - np.round(v))), lambda z: -1 / z, series
    )
    y = np.where(x == 0, np.copysign(np.inf, -x), y)
    return np.where(x == -np.inf, np.nan, y).astype(x.dtype)


def trigamma_of(x: Array) -> Array:
    """The second derivative of the logarithm of gamma."""

    def series(z: Array) -> Array:
        s = 1 / (z * z)
        tail = s / z * (1 / 6 - s * (1 / 30 - s * (1 / 42 - s * (1 / 30 - s * (5 / 66 - s * 691 / 2730)))))
        return 1 / z + 0.5 * s + tail

    return _asymptotic(
        x,
        np.inf,
        lambda v, z: (math.pi / np.sin(math.pi * (v - np.round(v)))) ** 2 - z,
        lambda z: 1 / (z * z),
        series,
    ).astype(x.dtype)
