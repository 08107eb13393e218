"""Arithmetic, comparisons and activations that are no row of `one_to_one`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.onnx.registry import WRITERS, writes
from ranvier.onnx.site import Site


def number(s: Site, value: Any, i: int = 0) -> str:
    """A constant in the dtype of an operand."""
    return s.w.constant(np.array(value, s.dtype(i)))


_WITH_NUMBER = {"AddNumber": "Add", "MulNumber": "Mul", "DivNumber": "Div", "PowNumber": "Pow"}
for _kind, _op in _WITH_NUMBER.items():
    WRITERS[_kind] = lambda s, op=_op: s.w.node(op, s.input(0), number(s, s.get("number")))  # type: ignore[misc]
_NUMBER_FIRST = {"NumberSub": "Sub", "NumberDiv": "Div", "NumberPow": "Pow"}
for _kind, _op in _NUMBER_FIRST.items():
    WRITERS[_kind] = lambda s, op=_op: s.w.node(op, number(s, s.get("number")), s.input(0))  # type: ignore[misc]


@writes("Square")
def square(s: Site) -> str:
    return s.w.node("Mul", s.input(0), s.input(0))


@writes("Expm1")
def expm1(s: Site) -> str:
    return s.w.node("Sub", s.w.node("Exp", s.input(0)), number(s, 1))


@writes("Log1p")
def log1p(s: Site) -> str:
    return s.w.node("Log", s.w.node("Add", s.input(0), number(s, 1)))


@writes("RoundedDiv")
def rounded_div(s: Site) -> str:
    if s.get("mode") != "floor" or s.dtype().kind != "f":
        raise s.refuse(
            "rounding towards 0, or of integers, has no counterpart", "use rounding_mode='floor' of floats"
        )
    return s.w.node("Floor", s.w.node("Div", *s.inputs()))


@writes("Whole")
def whole(s: Site) -> str:
    """Arithmetic of integers."""
    ops = {"add": "Add", "sub": "Sub", "mul": "Mul", "maximum": "Max", "minimum": "Min"}
    if s.get("name") not in ops:
        raise s.refuse(f"{s.get('name')} of integers has no counterpart", "use floats")
    return s.w.node(ops[s.get("name")], *_in_dtype(s, s.get("dtype")))


def _in_dtype(s: Site, dtype: Any) -> list[str]:
    """The operands, cast where they have another dtype."""
    return [x if s.dtype(i) == dtype else s.w.cast(x, dtype) for i, x in enumerate(s.inputs())]


_COMPARISONS = {
    "eq": "Equal",
    "ne": "Equal",
    "lt": "Less",
    "le": "LessOrEqual",
    "gt": "Greater",
    "ge": "GreaterOrEqual",
}


@writes("Compare")
def compare(s: Site) -> str:
    """In the dtype in which the library compares: a number has that of the tensor beside it."""
    name, common = s.get("name"), s.get("dtype")
    if common == np.bool_ and name not in ("eq", "ne"):
        common = np.dtype(np.int64)
    op, operands = _COMPARISONS[name], _in_dtype(s, common)
    if not s.w.has(op):  # Or, not the opposite, which is true for NaN
        y = s.w.node("Or", s.w.node(op.removesuffix("OrEqual"), *operands), s.w.node("Equal", *operands))
    else:
        y = s.w.node(op, *operands)
    return s.w.node("Not", y) if name == "ne" else y


@writes("Logical")
def logical(s: Site) -> str:
    if any(v is not None and v.array.dtype != np.bool_ for v in s.calls[0].inputs):
        raise s.refuse("& | ^ ~ of integers are not supported", "use them on bools")
    ops = {"and": "And", "or": "Or", "xor": "Xor", "rand": "And", "ror": "Or", "rxor": "Xor", "invert": "Not"}
    return s.w.node(ops[s.get("name")], *s.inputs())


@writes("MaskedFill")
def masked_fill(s: Site) -> str:
    return s.w.node("Where", s.input(1), number(s, s.get("number")), s.input(0))


@writes("Cast")
def cast(s: Site) -> str:
    return s.w.cast(s.input(0), s.get("dtype"))


def clip(s: Site, low: Any, high: Any) -> str:
    bounds = [number(s, b) if math.isfinite(b) else "" for b in (low, high)]
    return s.w.node("Clip", s.input(0), *bounds) if any(bounds) else s.input(0)


@writes("Clip")
def clip_of(s: Site) -> str:
    return clip(s, s.get("low"), s.get("high"))


@writes("Hardtanh")
def hardtanh(s: Site) -> str:
    return clip(s, s.get("min_val"), s.get("max_val"))


@writes("Between")
def between(s: Site) -> str:
    x, low, high = s.inputs()
    return s.w.node("Min", high, s.w.node("Max", low, x))


@writes("Hardswish")
def hardswish(s: Site) -> str:
    if s.w.has("HardSwish"):
        return s.w.node("HardSwish", s.input(0))
    return s.w.node("Mul", s.input(0), s.w.node("HardSigmoid", s.input(0), alpha=1 / 6, beta=0.5))


@writes("Mish")
def mish(s: Site) -> str:
    if s.w.has("Mish"):
        return s.w.node("Mish", s.input(0))
    return s.w.node("Mul", s.input(0), s.w.node("Tanh", s.w.node("Softplus", s.input(0))))


@writes("Hardsigmoid")
def hardsigmoid(s: Site) -> str:
    return s.w.node("HardSigmoid", s.input(0), alpha=1 / 6, beta=0.5)


@writes("Heaviside")
def heaviside(s: Site) -> str:
    x, at_zero = s.input(0), number(s, s.get("setting"))
    positive = s.w.cast(s.w.node("Greater", x, number(s, 0)), s.dtype())
    return s.w.node("Where", s.w.node("Equal", x, number(s, 0)), at_zero, positive)


@writes("Softshrink")
def softshrink(s: Site) -> str:
    return s.w.node("Shrink", s.input(0), bias=float(s.get("setting")), lambd=float(s.get("setting")))


@writes("Hardshrink")
def hardshrink(s: Site) -> str:
    return s.w.node("Shrink", s.input(0), bias=0.0, lambd=float(s.get("setting")))


@writes("Tanhshrink")
def tanhshrink(s: Site) -> str:
    return s.w.node("Sub", s.input(0), s.w.node("Tanh", s.input(0)))


@writes("Silu")
def silu(s: Site) -> str:
    return s.w.node("Mul", s.input(0), s.w.node("Sigmoid", s.input(0)))


@writes("Logsigmoid")
def logsigmoid(s: Site) -> str:
    return s.w.node("Neg", s.w.node("Softplus", s.w.node("Neg", s.input(0))))


@writes("Softplus")
def softplus(s: Site) -> str:
    beta = s.get("beta")
    scaled = s.input(0) if beta == 1 else s.w.node("Mul", s.input(0), number(s, beta))
    y: str = s.w.node("Softplus", scaled)
    y = y if beta == 1 else s.w.node("Div", y, number(s, beta))
    if s.get("threshold") >= 20:  # beyond it softplus is x itself, for 20 in float32 too
        return y
    linear = s.w.node("Greater", scaled, number(s, s.get("threshold")))
    return str(s.w.node("Where", linear, s.input(0), y))


@writes("Gelu")
def gelu(s: Site) -> str:
    if s.w.has("Gelu"):
        return s.w.node("Gelu", s.input(0))
    x = s.input(0)
    share = s.w.node("Erf", s.w.node("Div", x, number(s, math.sqrt(2))))
    return s.w.node("Mul", s.w.node("Mul", x, s.w.node("Add", share, number(s, 1))), number(s, 0.5))


@writes("GeluTanh")
def gelu_tanh(s: Site) -> str:
    if s.w.has("Gelu"):
        return s.w.node("Gelu", s.input(0), approximate="tanh")
    x = s.input(0)
    cube = s.w.node("Mul", s.w.node("Mul", x, x), s.w.node("Mul", x, number(s, 0.044715)))
    inner = s.w.node("Mul", s.w.node("Add", x, cube), number(s, math.sqrt(2 / math.pi)))
    share = s.w.node("Add", s.w.node("Tanh", inner), number(s, 1))
    return s.w.node("Mul", s.w.node("Mul", x, share), number(s, 0.5))


@writes("Glu")
def glu(s: Site) -> str:
    axis = s.get("axis")
    half = s.size(0, axis) // 2
    a, b = s.w.node("Split", s.input(0), s.w.ints(half, half), outputs=2, axis=axis)
    return s.w.node("Mul", a, s.w.node("Sigmoid", b))


@writes("Prelu")
def prelu(s: Site) -> str:
    slope = s.input(1)
    if s.shapes(1)[0] != (1,):
        slope = s.w.reshape(slope, -1, *(1,) * (s.ndim() - 2))
    return s.w.node("PRelu", s.input(0), slope)


@writes("DropoutLayer")
def dropout(s: Site) -> str:
    return s.w.node("Dropout", s.input(0), s.w.constant(np.float32(s.get("p"))))
