"""Rules of arithmetic, powers, elementary functions and choices between values."""

from __future__ import annotations

import math
from typing import Any

from ranvier.autograd.graph import of_input, of_output, rule
from ranvier.autograd.memory import filled_like
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.piecewise import HeavisideOfTensors
from ranvier.ops.elementwise import arithmetic, extrema, functions, power
from ranvier.ops.elementwise.arithmetic import neg
from ranvier.ops.elementwise.compare import eq
from ranvier.ops.elementwise.functions import cos, log, sign, sin
from ranvier.ops.elementwise.power import pow
from ranvier.ops.elementwise.where import MaskedFill, Where, where
from ranvier.ops.rules import coefficients, diagonal, inputs, none, sum_to

Pair = tuple[Tensor | None, Tensor | None]

diagonal(arithmetic.Neg, arithmetic.MulNumber, arithmetic.DivNumber, extrema.Clip)


@rule(arithmetic.Add)
def _add(node: Any, dy: Tensor) -> Pair:
    return sum_to(dy, node.shapes[0]), sum_to(dy, node.shapes[1])


@rule(arithmetic.AddNumber)
def _add_number(node: Any, dy: Tensor) -> Tensor:
    return dy


@rule(arithmetic.Sub)
def _sub(node: Any, dy: Tensor) -> Pair:
    return sum_to(dy, node.shapes[0]), sum_to(neg(dy), node.shapes[1]) if node.needs[1] else None


@rule(arithmetic.NumberSub)
def _number_sub(node: Any, dy: Tensor) -> Tensor:
    return neg(dy)


@rule(arithmetic.Mul)
def _mul(node: Any, dy: Tensor) -> Pair:
    a, b = inputs(node, "a", "b")
    da = sum_to(dy * b, a.shape) if node.needs[0] else None
    return da, sum_to(dy * a, b.shape) if node.needs[1] else None


@rule(arithmetic.Div)
def _div(node: Any, dy: Tensor) -> Pair:
    b = of_input(node, 1, node.b)
    da = dy / b
    if not node.needs[1]:
        return sum_to(da, node.a_shape), None
    db = sum_to(neg(da * of_output(node, node.y)), b.shape)
    return sum_to(da, node.a_shape) if node.needs[0] else None, db


@rule(arithmetic.NumberDiv)
def _number_div(node: Any, dy: Tensor) -> Tensor:
    return neg(dy * of_output(node, node.y) / of_input(node, 0, node.x))


@rule(arithmetic.RoundedDiv)
def _rounded_div(node: Any, dy: Tensor) -> Pair:
    return none(node.shapes[0], dy), none(node.shapes[1], dy)


@rule(functions.Sign, functions.Round)
def _step(node: Any, dy: Tensor) -> Tensor:
    return none(dy.shape, dy)


@rule(HeavisideOfTensors)
def _heaviside(node: Any, dy: Tensor) -> Pair:
    of_values = sum_to(where(wrap(node.at_zero), dy, 0.0), node.shapes[1]) if node.needs[1] else None
    return none(node.shapes[0], dy), of_values


# --- y = f(x): dy f'(x), from x or from y

OF_INPUT: dict[Any, Any] = {
    arithmetic.Square: lambda dy, x: dy * x * 2.0,
    functions.Log: lambda dy, x: dy / x,
    functions.Log1p: lambda dy, x: dy / (x + 1.0),
    functions.Sin: lambda dy, x: dy * cos(x),
    functions.Cos: lambda dy, x: neg(dy * sin(x)),
    functions.Abs: lambda dy, x: dy * sign(x),
}
OF_OUTPUT: dict[Any, Any] = {
    arithmetic.Reciprocal: lambda dy, y: neg(dy * y * y),
    functions.Exp: lambda dy, y: dy * y,
    functions.Expm1: lambda dy, y: dy * (y + 1.0),
    functions.Sqrt: lambda dy, y: dy / (y * 2.0),
}


@rule(*OF_INPUT)
def _of_input(node: Any, dy: Tensor) -> Tensor:
    dx: Tensor = OF_INPUT[type(node)](dy, of_input(node, 0, node.x))
    return dx


@rule(*OF_OUTPUT)
def _of_output(node: Any, dy: Tensor) -> Tensor:
    dx: Tensor = OF_OUTPUT[type(node)](dy, of_output(node, node.y))
    return dx


# --- powers


@rule(power.Pow)
def _pow(node: Any, dy: Tensor) -> Pair:
    a, b = inputs(node, "a", "b")
    da = db = None
    if node.needs[0]:
        flat = eq(wrap(node.b), 0.0)  # there the slope is 0, also at a = 0
        da = sum_to(where(flat, 0.0, dy * b * pow(a, where(flat, 1.0, b) - 1.0)), a.shape)
    if node.needs[1]:
        zero = eq(wrap(node.a), 0.0) & (wrap(node.b) >= 0.0)  # there the slope is 0
        db = sum_to(where(zero, 0.0, dy * of_output(node, node.y) * log(where(zero, 1.0, a))), b.shape)
    return da, db


@rule(power.PowNumber)
def _pow_number(node: Any, dy: Tensor) -> Tensor:
    if node.number == 0:
        return none(dy.shape, dy)
    x = of_input(node, 0, node.x)
    y = power.PowNumber(0.5).apply(x) if node.number == 1.5 else pow(x, node.number - 1.0)
    return dy * y * node.number  # sqrt(-inf) is nan, the power inf, as in the kernel


@rule(power.NumberPow)
def _number_pow(node: Any, dy: Tensor) -> Tensor:
    if node.number > 0:
        return dy * of_output(node, node.y) * math.log(node.number)
    return dy * coefficients(node, dy)  # 0 or infinite


# --- choices


@rule(extrema.Maximum, extrema.Minimum)
def _extremum(node: Any, dy: Tensor) -> Pair:
    a, b = node.a, node.b
    one = filled_like(1, dy._array)
    da = sum_to(dy * wrap(node.kernel_backward(one, a, b, None)), a.shape) if node.needs[0] else None
    return da, sum_to(dy * wrap(node.kernel_backward(one, b, a, None)), b.shape) if node.needs[1] else None


@rule(extrema.AtLeast, extrema.AtMost)
def _at_least(node: Any, dy: Tensor) -> Pair:
    x, limit, dx, dlimit = node.x, node.limit, None, None
    if node.needs[0]:
        dx = sum_to(where(wrap(node.compare(x, limit, None)), dy, 0.0), x.shape)
    if node.needs[1]:
        dlimit = sum_to(where(wrap(node.reverse(x, limit, None)), dy, 0.0), limit.shape)
    return dx, dlimit


@rule(extrema.Between)
def _between(node: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
    x, low, high = (wrap(array) for array in node.arrays)
    found = (
        where(x >= low, where(x <= high, dy, 0.0), 0.0),
        where(x < low, where(low < high, dy, 0.0), 0.0),
        where(x > high, dy, where(high < low, dy, 0.0)),
    )
    return tuple(
        sum_to(d, array.shape) if needed else None
        for d, array, needed in zip(found, node.arrays, node.needs, strict=True)
    )


@rule(Where)
def _where(node: Any, dy: Tensor) -> tuple[None, Tensor | None, Tensor | None]:
    condition = of_input(node, 0, node.condition)
    da = sum_to(where(condition, dy, 0.0), node.shapes[0]) if node.needs[1] else None
    return None, da, sum_to(where(condition, 0.0, dy), node.shapes[1]) if node.needs[2] else None


@rule(MaskedFill)
def _masked_fill(node: Any, dy: Tensor) -> tuple[Tensor, None]:
    return sum_to(where(of_input(node, 1, node.mask), 0.0, dy), node.shape), None
