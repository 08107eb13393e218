"""Writes arithmetic, comparisons, activations and reductions that are no row of `one_to_one.py`.

A writer gets one call of a Function in all traced runs of the model (`TracedCall`), adds nodes, and returns
the name of the result. Names in lower case (`where`, `argmax`) are operations that no Function computes;
`tracing.Trace.computed` records them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ranvier.onnx.dims import Dims, count
from ranvier.onnx.registry import writes
from ranvier.onnx.sizes import Size, lower_bound, smallest
from ranvier.onnx.traced_call import TracedCall

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


def _in_dtype(call: TracedCall, dtype: np.dtype[Any], first: int = 0) -> list[str]:
    """The names of the operands from number `first` on, cast to a dtype."""
    names = []
    for i in range(first, len(call.calls[0].inputs)):
        name = call.input(i)
        if call.dtype(i) != dtype:
            name = call.graph.cast(name, dtype)
        names.append(name)
    return names


def _exact(call: TracedCall, write: Callable[..., str], first: int = 0) -> str:
    """write(operands), computed in the dtype of the result or in int64, then cast back."""
    dtype = call.calls[0].outputs[0].array.dtype
    y = write(*_in_dtype(call, wide(dtype), first))
    if dtype == wide(dtype):
        return y
    return str(call.graph.cast(y, dtype))


@writes("RoundedDiv")
def rounded_div(call: TracedCall) -> str:
    """Rounded down, or towards 0 as ONNX divides integers."""
    rounds_down = call.get("mode") == "floor"
    if call.dtype().kind != "f":
        return _exact(call, call.graph.floor_divided if rounds_down else call.graph.divided)
    y = call.node("Div", *call.inputs())
    if rounds_down:
        return call.node("Floor", y)
    size = call.node("Floor", call.node("Abs", y))
    return call.node("Mul", call.node("Sign", y), size)


@writes("Whole")
def whole(call: TracedCall) -> str:
    """Arithmetic of integers and bools."""
    name = call.get("name")
    if name == "floor_divide":
        return _exact(call, call.graph.floor_divided)
    if name == "square":
        return _exact(call, partial(_square, call))
    if name in ("floor", "ceil", "trunc", "round"):
        return str(call.node("Identity", call.input(0)))
    if name not in _WHOLE:
        raise call.refuse(f"{name} of integers has no counterpart", "use floats")
    if name == "fmod":
        return _exact(call, partial(call.node, "Mod", fmod=1))
    return _exact(call, partial(call.node, _WHOLE[name]))


def _square(call: TracedCall, x: str) -> str:
    return call.node("Mul", x, x)


_RELATIONS = {"lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual"}


@writes("Compare")
def compare(call: TracedCall) -> str:
    """A comparison, in the dtype in which the library compares (`tracing.Trace.computed` sets it)."""
    name = call.get("name")
    operands = _in_dtype(call, wide(call.get("dtype")))
    op = _RELATIONS.get(name, "Equal")
    if not call.graph.has(op):  # a <= b as (a < b) or (a == b): not (a > b) would be true for NaN
        y = call.node("Or", call.node(op.removesuffix("OrEqual"), *operands), call.node("Equal", *operands))
    else:
        y = call.node(op, *operands)
    if name == "ne":
        return call.node("Not", y)
    return y


@writes("Logical")
def logical(call: TracedCall) -> str:
    return call.node(
        call.get("name").removeprefix("bitwise_").capitalize(), *_in_dtype(call, np.dtype(np.bool_))
    )


@writes("where")
def where(call: TracedCall) -> str:

    def chosen(a: str, b: str) -> str:
        return call.node("Where", call.input(0), a, b)

    return _exact(call, chosen, 1)


@writes("isnan", "isinf", "isfinite")
def kinds_of_numbers(call: TracedCall) -> str:
    if call.dtype().kind == "f":
        x = call.input(0)
    else:
        x = call.graph.cast(call.input(0), np.float32)
    if call.kind == "isnan":
        return call.node("IsNaN", x)
    if call.kind == "isinf":
        return call.node("IsInf", x)
    return call.node("Not", call.node("Or", call.node("IsNaN", x), call.node("IsInf", x)))


@writes("isin")
def is_in(call: TracedCall) -> str:
    elements, among = _in_dtype(call, wide(call.get("dtype")))
    elements = call.node("Unsqueeze", elements, call.graph.ints(call.ndim()))
    y = call.node(
        "Greater", *_count(call, call.node("Equal", elements, call.graph.reshape(among, -1)), call.ndim())
    )
    if call.get("invert"):
        return call.node("Not", y)
    return y


@writes("searchsorted")
def searchsorted(call: TracedCall) -> str:
    """For each value the number of elements of its sorted row that are less (right: not greater) than it.

    For NaN it is the number of all elements.
    """
    rows, values = _in_dtype(call, wide(call.get("dtype")))
    if call.ndim() > 1:
        rows = call.node("Unsqueeze", rows, call.graph.ints(call.ndim() - 1))
    values = call.node("Unsqueeze", values, call.graph.ints(call.ndim(1)))
    beyond = call.node("Greater" if call.get("right") else "GreaterOrEqual", rows, values)
    return _count(call, call.node("Not", beyond), call.ndim(1))[0]


def _count(call: TracedCall, truth: str, axis: int) -> tuple[str, str]:
    """The names of the number of true elements along the axis, and of the constant 0, to compare with."""
    counted = call.node("ReduceSum", call.graph.cast(truth, np.int64), call.graph.ints(axis), keepdims=0)
    return counted, call.graph.constant(np.int64(0))


@writes("Between")
def between(call: TracedCall) -> str:
    x, low, high = call.inputs()
    return call.node("Min", high, call.node("Max", low, x))


@writes("Softplus")
def softplus(call: TracedCall) -> str:
    beta = call.get("beta")
    if beta == 1:
        scaled = call.input(0)
    else:
        scaled = call.node("Mul", call.input(0), call.scalar(beta))
    y: str = call.node("Softplus", scaled)
    if beta != 1:
        y = call.node("Div", y, call.scalar(beta))
    if call.get("threshold") >= 20:  # beyond 20, softplus(x) equals x in float32, so no threshold is needed
        return y
    linear = call.node("Greater", scaled, call.scalar(call.get("threshold")))
    return str(call.node("Where", linear, call.input(0), y))


@writes("Prelu")
def prelu(call: TracedCall) -> str:
    slope = call.input(1)
    if call.dims(1) != (1,):
        slope = call.graph.reshape(slope, -1, *(1,) * (call.ndim() - 2))
    return call.node("PRelu", call.input(0), slope)


# --- reductions
def _reduced(call: TracedCall, op: str, x: str = "", keep: bool | None = None) -> str:
    """The node of a reduction over the axes of the call.

    x, keep: operand and keepdims instead of the call's.
    """
    x = x or call.input(0)
    if call.ndim() == 0:
        return call.node("Identity", x)
    axes = call.get("axes")
    if keep is None:
        keep = call.get("keepdims")
    if axes is None:
        places = ""
    elif isinstance(axes, tuple):
        places = call.graph.ints(*axes)
    else:
        places = call.graph.ints(axes)
    return call.node(op, x, places, keepdims=int(keep))


def _averaged(call: TracedCall) -> Dims:
    """The sizes of the axes that the call reduces."""
    dims = call.dims(0)
    axes = call.get("axes")
    if axes is None:
        return dims
    if not isinstance(axes, tuple):
        axes = (axes,)
    return tuple(dims[axis] for axis in axes)


def _mean(call: TracedCall, x: str = "", keep: bool | None = None) -> str:
    """The mean over the axes of the call: NaN for no elements, of which ReduceMean of onnxruntime makes 0.

    Arguments as of `_reduced`.
    """
    y = _reduced(call, "ReduceMean", x, keep)
    elements = count(_averaged(call))
    if lower_bound(elements) > 0:
        return y
    has_some = call.graph.cast(call.scalar_size(smallest(elements, 1)), call.dtype())
    return call.node("Mul", y, call.node("Div", has_some, has_some))  # by 1, or by 0 / 0


@writes("Sum")
def sum_or_mean(call: TracedCall) -> str:
    if call.get("mean"):
        return _mean(call)
    return _reduced(call, "ReduceSum")


@writes("Extreme")
def extreme(call: TracedCall) -> str:
    if call.get("reduce").__name__ == "max":
        return _reduced(call, "ReduceMax")
    return _reduced(call, "ReduceMin")


@writes("Logsumexp")
def logsumexp(call: TracedCall) -> str:
    return _reduced(call, "ReduceLogSumExp")


@writes("Prod")
def prod(call: TracedCall) -> str:
    return _reduced(call, "ReduceProd")


@writes("sum", "prod", "max", "min")
def of_integers(call: TracedCall) -> str:
    return _exact(call, partial(_reduced, call, f"Reduce{call.kind.capitalize()}"))


@writes("any", "all")
def truth(call: TracedCall) -> str:
    """any: the count of true elements is above 0. all: that of false elements is 0. Sums also have a value
    for no elements."""
    (x,) = _in_dtype(call, np.dtype(np.bool_))
    relation = "Greater"
    if call.kind == "all":
        x = call.node("Not", x)
        relation = "Equal"
    total = _reduced(call, "ReduceSum", call.graph.cast(x, np.int64))
    return call.node(relation, total, call.graph.constant(np.int64(0)))


@writes("cumsum", "cumprod")
def running(call: TracedCall) -> str:
    axis = call.graph.constant(np.int64(call.get("axis")))
    op = {"cumsum": "CumSum", "cumprod": "CumProd"}[call.kind]

    def accumulated(x: str) -> str:
        return call.node(op, x, axis)

    return _exact(call, accumulated)


@writes("ExtremeAlong")
def extreme_along(call: TracedCall) -> tuple[str, str]:
    kind = call.get("find").__name__.removeprefix("_").removesuffix("_along").capitalize()  # Max or Min
    axis = call.get("axis")
    keep = int(call.get("keepdims"))
    values = call.node(f"Reduce{kind}", call.input(0), call.graph.ints(axis), keepdims=keep)
    return values, call.node(f"Arg{kind}", call.input(0), axis=axis, keepdims=keep)


@writes("argmax", "argmin")
def place(call: TracedCall) -> str:
    op = {"argmax": "ArgMax", "argmin": "ArgMin"}[call.kind]
    axis = call.get("axes")
    (x,) = _in_dtype(call, wide(call.dtype()))
    if axis is not None:
        return call.node(op, x, axis=axis, keepdims=int(call.get("keepdims")))
    y = call.node(op, call.graph.reshape(x, -1), axis=0, keepdims=0)
    if call.get("keepdims"):
        return call.graph.reshape(y, *(1,) * call.ndim())
    return y


@writes("Var")
def var(call: TracedCall) -> str:
    x = call.input(0)
    apart = call.node("Sub", x, _mean(call, x, True))
    squares = call.node("Mul", apart, apart)
    y = _mean(call, squares)
    correction = call.get("correction")
    if correction:  # the sum over count - correction
        y = _reduced(call, "ReduceSum", squares)
        elements = count(_averaged(call))
        if isinstance(elements, Size):
            left = call.node(
                "Sub", call.graph.cast(call.scalar_size(elements), call.dtype()), call.scalar(correction)
            )
            left = call.node("Max", left, call.scalar(0))
        else:
            left = call.scalar(max(elements - correction, 0))
        y = call.node("Div", y, left)
    if call.get("root"):
        return call.node("Sqrt", y)
    return y


@writes("Einsum")
def einsum(call: TracedCall) -> str:
    return call.node("Einsum", *call.inputs(), equation=call.get("equation"))


@writes("Softmax", "LogSoftmax")
def softmax(call: TracedCall) -> str:
    if call.graph.opset < 13 and call.get("dim") % call.ndim() != call.ndim() - 1:
        raise call.refuse(
            "softmax along another axis than the last needs a later version", "pass opset_version=13"
        )
    return call.node(call.kind, call.input(0), axis=call.get("dim"))


@writes("Sort", "sort")
def sort(call: TracedCall) -> tuple[str, str]:
    axis = call.get("axis")
    first = call.get("first")
    dtype = call.dtype()
    (x,) = _in_dtype(call, wide(dtype))
    count = call.number(call.get("last"))
    largest = int(call.get("descending"))
    values, places = call.node("TopK", x, count, outputs=2, axis=axis, largest=largest, sorted=1)
    if first:
        part = (call.graph.ints(first), call.graph.ints(2**62), call.graph.ints(axis))  # beyond every axis
        values = call.node("Slice", values, *part)
        places = call.node("Slice", places, *part)
    if dtype != wide(dtype):
        values = call.graph.cast(values, dtype)
    return values, places
