"""Arithmetic, comparisons, activations and reductions that are no row of `one_to_one`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.onnx.registry import WRITERS, writes
from ranvier.onnx.site import Site


@writes("RoundedDiv")
def rounded_div(s: Site) -> str:
    if s.get("mode") != "floor" or s.dtype().kind != "f":
        raise s.refuse(
            "rounding towards 0, or of integers, has no counterpart", "use rounding_mode='floor' of floats"
        )
    return s.node("Floor", s.node("Div", *s.inputs()))


@writes("Whole")
def whole(s: Site) -> str:
    """Arithmetic of integers."""
    ops = {"add": "Add", "sub": "Sub", "mul": "Mul", "maximum": "Max", "minimum": "Min"}
    if s.get("name") not in ops:
        raise s.refuse(f"{s.get('name')} of integers has no counterpart", "use floats")
    return s.node(ops[s.get("name")], *_in_dtype(s, s.get("dtype")))


def _in_dtype(s: Site, dtype: Any) -> list[str]:
    """The operands, cast where they have another dtype."""
    return [x if s.dtype(i) == dtype else s.w.cast(x, dtype) for i, x in enumerate(s.inputs())]


@writes("Compare")
def compare(s: Site) -> str:
    """In the dtype in which the library compares: a number has that of the tensor beside it."""
    name, common = s.get("name"), s.get("dtype")
    if common == np.bool_ and name not in ("eq", "ne"):
        common = np.dtype(np.int64)
    operands = _in_dtype(s, common)
    op = {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}.get(name, "Equal")
    if not s.w.has(op):  # Or, not the opposite, which is true for NaN
        y = s.node("Or", s.node(op.removesuffix("OrEqual"), *operands), s.node("Equal", *operands))
    else:
        y = s.node(op, *operands)
    return s.node("Not", y) if name == "ne" else y


@writes("Logical")
def logical(s: Site) -> str:
    if any(v is not None and v.array.dtype != np.bool_ for v in s.calls[0].inputs):
        raise s.refuse("& | ^ ~ of integers are not supported", "use them on bools")
    return s.node(s.get("name").removeprefix("bitwise_").capitalize(), *s.inputs())


@writes("Between")
def between(s: Site) -> str:
    x, low, high = s.inputs()
    return s.node("Min", high, s.node("Max", low, x))


@writes("Softplus")
def softplus(s: Site) -> str:
    beta = s.get("beta")
    scaled = s.input(0) if beta == 1 else s.node("Mul", s.input(0), s.scalar(beta))
    y: str = s.node("Softplus", scaled)
    y = y if beta == 1 else s.node("Div", y, s.scalar(beta))
    if s.get("threshold") >= 20:  # beyond it softplus is x itself, for 20 in float32 too
        return y
    linear = s.node("Greater", scaled, s.scalar(s.get("threshold")))
    return str(s.node("Where", linear, s.input(0), y))


@writes("Prelu")
def prelu(s: Site) -> str:
    slope = s.input(1)
    if s.shapes(1)[0] != (1,):
        slope = s.w.reshape(slope, -1, *(1,) * (s.ndim() - 2))
    return s.node("PRelu", s.input(0), slope)


# --- reductions
def _reduced(s: Site, op: str, x: str = "", keep: bool | None = None) -> str:
    """Over the axes of the call, None for all; x and keep: operand and keepdims, if not those of the call."""
    x = x or s.input(0)
    if s.ndim() == 0:
        return s.node("Identity", x)
    axes, keep = s.get("axes"), s.get("keepdims") if keep is None else keep
    places = "" if axes is None else s.w.ints(*axes) if isinstance(axes, tuple) else s.w.ints(axes)
    return s.node(op, x, places, keepdims=int(keep))


WRITERS.update(
    Sum=lambda s: _reduced(s, "ReduceMean" if s.get("mean") else "ReduceSum"),
    Extreme=lambda s: _reduced(s, "ReduceMax" if s.get("reduce").__name__ == "max" else "ReduceMin"),
    LogSumExp=lambda s: _reduced(s, "ReduceLogSumExp"),
    Prod=lambda s: _reduced(s, "ReduceProd"),
)


@writes("ExtremeAlong")
def extreme_along(s: Site) -> tuple[str, str]:
    kind = s.get("find").__name__.removeprefix("_").removesuffix("_along").capitalize()  # Max or Min
    axis, keep = s.get("axis"), int(s.get("keepdims"))
    values = s.node(f"Reduce{kind}", s.input(0), s.w.ints(axis), keepdims=keep)
    return values, s.node(f"Arg{kind}", s.input(0), axis=axis, keepdims=keep)


@writes("Place")
def place(s: Site) -> str:
    op = {"argmax": "ArgMax", "argmin": "ArgMin"}[s.get("name")]
    axis, x = s.get("axis"), s.input(0)
    if axis is not None:
        return s.node(op, x, axis=axis, keepdims=int(s.get("keepdims")))
    y = s.node(op, s.w.reshape(x, -1), axis=0, keepdims=0)
    return s.w.reshape(y, *(1,) * s.ndim()) if s.get("keepdims") else y


@writes("Var")
def var(s: Site) -> str:
    x = s.input(0)
    apart = s.node("Sub", x, _reduced(s, "ReduceMean", x, True))
    squares = s.node("Mul", apart, apart)
    y = _reduced(s, "ReduceMean", squares)
    correction = s.get("correction")
    if correction:  # the sum over count - correction
        y = _reduced(s, "ReduceSum", squares)
        counts = {math.prod(g) // max(math.prod(r), 1) for g, r in zip(s.shapes(0), s.results(), strict=True)}
        if len(counts) == 1:
            left = s.scalar(counts.pop() - correction)
        else:
            count = s.node("Div", s.node("Size", x), s.node("Size", y))
            left = s.node("Sub", s.w.cast(count, s.dtype()), s.scalar(correction))
        y = s.node("Div", y, left)
    return s.node("Sqrt", y) if s.get("root") else y


@writes("Norm")
def norm(s: Site) -> str:
    p = s.get("p")
    if p in (1, 2):
        return _reduced(s, f"ReduceL{int(p)}")
    if p not in (math.inf, -math.inf):
        raise s.refuse(f"a norm with p = {p} has no counterpart", "use p = 1, 2 or inf")
    return _reduced(s, "ReduceMax" if p > 0 else "ReduceMin", s.node("Abs", s.input(0)))


@writes("Softmax", "LogSoftmax")
def softmax(s: Site) -> str:
    if s.w.opset < 13 and s.get("dim") % s.ndim() != s.ndim() - 1:
        raise s.refuse(
            "softmax along another axis than the last needs a later version", "pass opset_version=13"
        )
    return s.node(s.kind, s.input(0), axis=s.get("dim"))


@writes("Sort")
def sort(s: Site) -> tuple[str, str]:
    axis, first = s.get("axis"), s.get("first")
    count = s.number(tuple(call.settings["last"] for call in s.calls), s.input(0), s.shapes(0))
    largest = int(s.get("descending"))
    values, places = s.node("TopK", s.input(0), count, outputs=2, axis=axis, largest=largest, sorted=1)
    if first:
        part = (s.w.ints(first), s.w.ints(2**62), s.w.ints(axis))
        values, places = s.node("Slice", values, *part), s.node("Slice", places, *part)
    return values, places
