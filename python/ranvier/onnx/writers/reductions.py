"""Reductions, softmax, sorting and running sums."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.onnx.registry import writes
from ranvier.onnx.site import Site
from ranvier.onnx.writers.elementwise import number


def _axes(s: Site, axes: Any) -> str:
    """The axes as a vector; "" for all."""
    if axes is None:
        return ""
    return s.w.ints(*axes) if isinstance(axes, tuple) else s.w.ints(axes)


def _reduced(s: Site, op: str, x: str, axes: Any, keep: bool) -> str:
    if s.ndim() == 0:
        return s.w.node("Identity", x)
    return s.w.node(op, x, _axes(s, axes), keepdims=int(keep))


@writes("Sum")
def total(s: Site) -> str:
    return _reduced(
        s, "ReduceMean" if s.get("mean") else "ReduceSum", s.input(0), s.get("axes"), s.get("keepdims")
    )


@writes("Extreme")
def extreme(s: Site) -> str:
    op = "ReduceMax" if s.get("reduce").__name__ == "max" else "ReduceMin"
    return _reduced(s, op, s.input(0), s.get("axes"), s.get("keepdims"))


@writes("ExtremeAlong")
def extreme_along(s: Site) -> tuple[str, str]:
    greatest = s.get("find").__name__ == "argmax"
    axis, keep = s.get("axis"), int(s.get("keepdims"))
    values = s.w.node("ReduceMax" if greatest else "ReduceMin", s.input(0), s.w.ints(axis), keepdims=keep)
    return values, s.w.node("ArgMax" if greatest else "ArgMin", s.input(0), axis=axis, keepdims=keep)


@writes("Place")
def place(s: Site) -> str:
    op = {"argmax": "ArgMax", "argmin": "ArgMin"}[s.get("name")]
    axis, x = s.get("axis"), s.input(0)
    if axis is not None:
        return s.w.node(op, x, axis=axis, keepdims=int(s.get("keepdims")))
    y = s.w.node(op, s.w.reshape(x, -1), axis=0, keepdims=0)
    return s.w.reshape(y, *(1,) * s.ndim()) if s.get("keepdims") else y


@writes("Var")
def var(s: Site) -> str:
    axes, keep, x = s.get("axes"), s.get("keepdims"), s.input(0)
    apart = s.w.node("Sub", x, _reduced(s, "ReduceMean", x, axes, True))
    squares = s.w.node("Mul", apart, apart)
    y = _reduced(s, "ReduceMean", squares, axes, keep)
    correction = s.get("correction")
    if correction:  # the sum over count - correction
        y = _reduced(s, "ReduceSum", squares, axes, keep)
        counts = {math.prod(g) // max(math.prod(r), 1) for g, r in zip(s.shapes(0), s.results(), strict=True)}
        if len(counts) == 1:
            left = number(s, counts.pop() - correction)
        else:
            count = s.w.node("Div", s.w.node("Size", x), s.w.node("Size", y))
            left = s.w.node("Sub", s.w.cast(count, s.dtype()), number(s, correction))
        y = s.w.node("Div", y, left)
    return s.w.node("Sqrt", y) if s.get("root") else y


@writes("Norm")
def norm(s: Site) -> str:
    p, axes, keep, x = s.get("p"), s.get("axes"), s.get("keepdims"), s.input(0)
    if p in (1, 2):
        return _reduced(s, f"ReduceL{int(p)}", x, axes, keep)
    if p not in (math.inf, -math.inf):
        raise s.refuse(f"a norm with p = {p} has no counterpart", "use p = 1, 2 or inf")
    return _reduced(s, "ReduceMax" if p > 0 else "ReduceMin", s.w.node("Abs", x), axes, keep)


@writes("LogSumExp")
def logsumexp(s: Site) -> str:
    return _reduced(s, "ReduceLogSumExp", s.input(0), s.get("axes"), s.get("keepdims"))


@writes("Softmax", "LogSoftmax")
def softmax(s: Site) -> str:
    if s.w.opset < 13 and s.get("dim") % s.ndim() != s.ndim() - 1:
        raise s.refuse(
            "softmax along another axis than the last needs a later version", "pass opset_version=13"
        )
    return s.w.node(s.kind, s.input(0), axis=s.get("dim"))


@writes("Sort")
def sort(s: Site) -> tuple[str, str]:
    axis, first = s.get("axis"), s.get("first")
    lasts = tuple(call.settings["last"] for call in s.calls)
    count = s.number(lasts, s.input(0), s.shapes(0))
    values, places = s.w.node(
        "TopK", s.input(0), count, outputs=2, axis=axis, largest=int(s.get("descending")), sorted=1
    )
    if first:
        part = (s.w.ints(first), s.w.ints(2**62), s.w.ints(axis))
        values, places = s.w.node("Slice", values, *part), s.w.node("Slice", places, *part)
    return values, places


@writes("CumSum")
def cumsum(s: Site) -> str:
    return s.w.node("CumSum", s.input(0), s.w.constant(np.int64(s.get("axis"))))


@writes("CumProd")
def cumprod(s: Site) -> str:
    return s.w.node("CumProd", s.input(0), s.w.constant(np.int64(s.get("axis"))))


@writes("Prod")
def product(s: Site) -> str:
    return _reduced(s, "ReduceProd", s.input(0), s.get("axes"), s.get("keepdims"))
