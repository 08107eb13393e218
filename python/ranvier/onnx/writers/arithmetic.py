"""Writes arithmetic, comparisons, activations and reductions that are no row of `one_to_one.py`.

A writer gets a `site.Site` (s), which is one call of a Function, adds nodes, and returns the result's name.
Names in lower case (`where`, `argmax`) are operations that no Function computes; `tracing.Trace.computed`
records them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ranvier.onnx.dims import Dims, count
from ranvier.onnx.registry import writes
from ranvier.onnx.site import Site
from ranvier.onnx.sizes import Size, lower_bound, smallest

_WHOLE = {  # op on integers -> operator
    **{"add": "Add", "sub": "Sub", "mul": "Mul", "pow": "Pow", "remainder": "Mod", "fmod": "Mod"},
    **{
        "maximum": "Max",
        "minimum": "Min",
        "fmax": "Max",
        "fmin": "Min",
        "abs": "Abs",
        "neg": "Neg",
        "sign": "Sign",
    },
    **{f"bitwise_{name}": f"Bitwise{name.capitalize()}" for name in ("and", "or", "xor", "not")},
}


def wide(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype to compute in: int64 for bools and integers for which runtimes lack operators."""
    is_small = dtype.kind in "biu" and dtype.name not in ("int32", "uint64")
    if is_small:
        return np.dtype(np.int64)
    return dtype


def _in_dtype(s: Site, dtype: np.dtype[Any], first: int = 0) -> list[str]:
    """The names of the operands from number `first` on, cast to a dtype."""
    names = []
    for i in range(first, len(s.calls[0].inputs)):
        name = s.input(i)
        if s.dtype(i) != dtype:
            name = s.w.cast(name, dtype)
        names.append(name)
    return names


def _exact(s: Site, write: Callable[..., str], first: int = 0) -> str:
    """write(operands), computed in the dtype of the result or in int64, then cast back."""
    dtype = s.calls[0].outputs[0].array.dtype
    y = write(*_in_dtype(s, wide(dtype), first))
    if dtype == wide(dtype):
        return y
    return str(s.w.cast(y, dtype))


@writes("RoundedDiv")
def rounded_div(s: Site) -> str:
    """Rounded down, or towards 0 as ONNX divides integers."""
    rounds_down = s.get("mode") == "floor"
    if s.dtype().kind != "f":
        return _exact(s, s.w.floor_divided if rounds_down else s.w.divided)
    y = s.node("Div", *s.inputs())
    if rounds_down:
        return s.node("Floor", y)
    size = s.node("Floor", s.node("Abs", y))
    return s.node("Mul", s.node("Sign", y), size)


@writes("Whole")
def whole(s: Site) -> str:
    """Arithmetic of integers and bools."""
    name = s.get("name")
    if name == "floor_divide":
        return _exact(s, s.w.floor_divided)
    if name == "square":
        return _exact(s, partial(_square, s))
    if name in ("floor", "ceil", "trunc", "round"):
        return str(s.node("Identity", s.input(0)))
    if name not in _WHOLE:
        raise s.refuse(f"{name} of integers has no counterpart", "use floats")
    if name == "fmod":
        return _exact(s, partial(s.node, "Mod", fmod=1))
    return _exact(s, partial(s.node, _WHOLE[name]))


def _square(s: Site, x: str) -> str:
    return s.node("Mul", x, x)


_RELATIONS = {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}


@writes("Compare")
def compare(s: Site) -> str:
    """A comparison, in the dtype in which the library compares (`tracing.Trace.computed` sets it)."""
    name = s.get("name")
    operands = _in_dtype(s, wide(s.get("dtype")))
    op = _RELATIONS.get(name, "Equal")
    if not s.w.has(op):  # a <= b as (a < b) or (a == b): not (a > b) would be true for NaN
        y = s.node("Or", s.node(op.removesuffix("OrEqual"), *operands), s.node("Equal", *operands))
    else:
        y = s.node(op, *operands)
    if name == "ne":
        return s.node("Not", y)
    return y


@writes("Logical")
def logical(s: Site) -> str:
    return s.node(s.get("name").removeprefix("bitwise_").capitalize(), *_in_dtype(s, np.dtype(np.bool_)))


@writes("where")
def where(s: Site) -> str:

    def chosen(a: str, b: str) -> str:
        return s.node("Where", s.input(0), a, b)

    return _exact(s, chosen, 1)


@writes("isnan", "isinf", "isfinite")
def kinds_of_numbers(s: Site) -> str:
    if s.dtype().kind == "f":
        x = s.input(0)
    else:
        x = s.w.cast(s.input(0), np.float32)
    if s.kind == "isnan":
        return s.node("IsNaN", x)
    if s.kind == "isinf":
        return s.node("IsInf", x)
    return s.node("Not", s.node("Or", s.node("IsNaN", x), s.node("IsInf", x)))


@writes("isin")
def is_in(s: Site) -> str:
    elements, among = _in_dtype(s, wide(s.get("dtype")))
    elements = s.node("Unsqueeze", elements, s.w.ints(s.ndim()))
    y = s.node("Greater", *_count(s, s.node("Equal", elements, s.w.reshape(among, -1)), s.ndim()))
    if s.get("invert"):
        return s.node("Not", y)
    return y


@writes("searchsorted")
def searchsorted(s: Site) -> str:
    """For each value the number of elements of its sorted row that are less (right: not greater) than it.

    For NaN it is the number of all elements.
    """
    rows, values = _in_dtype(s, wide(s.get("dtype")))
    if s.ndim() > 1:
        rows = s.node("Unsqueeze", rows, s.w.ints(s.ndim() - 1))
    values = s.node("Unsqueeze", values, s.w.ints(s.ndim(1)))
    beyond = s.node("Greater" if s.get("right") else "GreaterOrEqual", rows, values)
    return _count(s, s.node("Not", beyond), s.ndim(1))[0]


def _count(s: Site, truth: str, axis: int) -> tuple[str, str]:
    """The names of the number of true elements along the axis, and of the constant 0, to compare with."""
    counted = s.node("ReduceSum", s.w.cast(truth, np.int64), s.w.ints(axis), keepdims=0)
    return counted, s.w.constant(np.int64(0))


@writes("Between")
def between(s: Site) -> str:
    x, low, high = s.inputs()
    return s.node("Min", high, s.node("Max", low, x))


@writes("Softplus")
def softplus(s: Site) -> str:
    beta = s.get("beta")
    if beta == 1:
        scaled = s.input(0)
    else:
        scaled = s.node("Mul", s.input(0), s.scalar(beta))
    y: str = s.node("Softplus", scaled)
    if beta != 1:
        y = s.node("Div", y, s.scalar(beta))
    if s.get("threshold") >= 20:  # beyond 20, softplus(x) equals x in float32, so no threshold is needed
        return y
    linear = s.node("Greater", scaled, s.scalar(s.get("threshold")))
    return str(s.node("Where", linear, s.input(0), y))


@writes("Prelu")
def prelu(s: Site) -> str:
    slope = s.input(1)
    if s.dims(1) != (1,):
        slope = s.w.reshape(slope, -1, *(1,) * (s.ndim() - 2))
    return s.node("PRelu", s.input(0), slope)


# --- reductions
def _reduced(s: Site, op: str, x: str = "", keep: bool | None = None) -> str:
    """The node of a reduction over the axes of the call.

    x, keep: operand and keepdims instead of the call's.
    """
    x = x or s.input(0)
    if s.ndim() == 0:
        return s.node("Identity", x)
    axes = s.get("axes")
    if keep is None:
        keep = s.get("keepdims")
    if axes is None:
        places = ""
    elif isinstance(axes, tuple):
        places = s.w.ints(*axes)
    else:
        places = s.w.ints(axes)
    return s.node(op, x, places, keepdims=int(keep))


def _averaged(s: Site) -> Dims:
    """The sizes of the axes that the call reduces."""
    dims = s.dims(0)
    axes = s.get("axes")
    if axes is None:
        return dims
    if not isinstance(axes, tuple):
        axes = (axes,)
    return tuple(dims[axis] for axis in axes)


def _mean(s: Site, x: str = "", keep: bool | None = None) -> str:
    """The mean over the axes of the call: NaN for no elements, of which ReduceMean of onnxruntime makes 0.

    Arguments as of `_reduced`.
    """
    y = _reduced(s, "ReduceMean", x, keep)
    elements = count(_averaged(s))
    if lower_bound(elements) > 0:
        return y
    has_some = s.w.cast(s.scalar_size(smallest(elements, 1)), s.dtype())
    return s.node("Mul", y, s.node("Div", has_some, has_some))  # by 1, or by 0 / 0


@writes("Sum")
def sum_or_mean(s: Site) -> str:
    if s.get("mean"):
        return _mean(s)
    return _reduced(s, "ReduceSum")


@writes("Extreme")
def extreme(s: Site) -> str:
    if s.get("reduce").__name__ == "max":
        return _reduced(s, "ReduceMax")
    return _reduced(s, "ReduceMin")


@writes("Logsumexp")
def logsumexp(s: Site) -> str:
    return _reduced(s, "ReduceLogSumExp")


@writes("Prod")
def prod(s: Site) -> str:
    return _reduced(s, "ReduceProd")


@writes("sum", "prod", "max", "min")
def of_integers(s: Site) -> str:
    return _exact(s, partial(_reduced, s, f"Reduce{s.kind.capitalize()}"))


@writes("any", "all")
def truth(s: Site) -> str:
    """any: the count of true elements is above 0. all: that of false elements is 0. Sums also have a value
    for no elements."""
    (x,) = _in_dtype(s, np.dtype(np.bool_))
    relation = "Greater"
    if s.kind == "all":
        x = s.node("Not", x)
        relation = "Equal"
    total = _reduced(s, "ReduceSum", s.w.cast(x, np.int64))
    return s.node(relation, total, s.w.constant(np.int64(0)))


@writes("cumsum", "cumprod")
def running(s: Site) -> str:
    axis = s.w.constant(np.int64(s.get("axis")))
    op = {"cumsum": "CumSum", "cumprod": "CumProd"}[s.kind]

    def accumulated(x: str) -> str:
        return s.node(op, x, axis)

    return _exact(s, accumulated)


@writes("ExtremeAlong")
def extreme_along(s: Site) -> tuple[str, str]:
    kind = s.get("find").__name__.removeprefix("_").removesuffix("_along").capitalize()  # Max or Min
    axis = s.get("axis")
    keep = int(s.get("keepdims"))
    values = s.node(f"Reduce{kind}", s.input(0), s.w.ints(axis), keepdims=keep)
    return values, s.node(f"Arg{kind}", s.input(0), axis=axis, keepdims=keep)


@writes("argmax", "argmin")
def place(s: Site) -> str:
    op = {"argmax": "ArgMax", "argmin": "ArgMin"}[s.kind]
    axis = s.get("axes")
    (x,) = _in_dtype(s, wide(s.dtype()))
    if axis is not None:
        return s.node(op, x, axis=axis, keepdims=int(s.get("keepdims")))
    y = s.node(op, s.w.reshape(x, -1), axis=0, keepdims=0)
    if s.get("keepdims"):
        return s.w.reshape(y, *(1,) * s.ndim())
    return y


@writes("Var")
def var(s: Site) -> str:
    x = s.input(0)
    apart = s.node("Sub", x, _mean(s, x, True))
    squares = s.node("Mul", apart, apart)
    y = _mean(s, squares)
    correction = s.get("correction")
    if correction:  # the sum over count - correction
        y = _reduced(s, "ReduceSum", squares)
        elements = count(_averaged(s))
        if isinstance(elements, Size):
            left = s.node("Sub", s.w.cast(s.scalar_size(elements), s.dtype()), s.scalar(correction))
            left = s.node("Max", left, s.scalar(0))
        else:
            left = s.scalar(max(elements - correction, 0))
        y = s.node("Div", y, left)
    if s.get("root"):
        return s.node("Sqrt", y)
    return y


@writes("Einsum")
def einsum(s: Site) -> str:
    return s.node("Einsum", *s.inputs(), equation=s.get("equation"))


@writes("Softmax", "LogSoftmax")
def softmax(s: Site) -> str:
    if s.w.opset < 13 and s.get("dim") % s.ndim() != s.ndim() - 1:
        raise s.refuse(
            "softmax along another axis than the last needs a later version", "pass opset_version=13"
        )
    return s.node(s.kind, s.input(0), axis=s.get("dim"))


@writes("Sort", "sort")
def sort(s: Site) -> tuple[str, str]:
    axis = s.get("axis")
    first = s.get("first")
    dtype = s.dtype()
    (x,) = _in_dtype(s, wide(dtype))
    count = s.number(s.get("last"))
    largest = int(s.get("descending"))
    values, places = s.node("TopK", x, count, outputs=2, axis=axis, largest=largest, sorted=1)
    if first:
        part = (s.w.ints(first), s.w.ints(2**62), s.w.ints(axis))
        values = s.node("Slice", values, *part)
        places = s.node("Slice", places, *part)
    if dtype != wide(dtype):
        values = s.w.cast(values, dtype)
    return values, places
