"""Arithmetic of shapes in a loaded graph while a model is written again: sizes of dynamic axes are symbols.

`Shape` then gives an array of Sizes (`onnx/sizes.py`), as NumPy's arrays of objects. The operators of this
table compute with them; to any other operator they are operands of its own function, which takes them as
sizes (`values.ints`) or as Tensors (`values.tensor_of`). `execution._results` calls `of_sizes` and
`as_operands` for each node that has such an array among its operands.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard

import numpy as np

import ranvier as rv
from ranvier.onnx.sizes import (
    Dim,
    Real,
    Size,
    exact_quotient,
    greatest,
    is_symbol,
    lower_bound,
    number,
    smallest,
)
from ranvier.onnx.values import Value, dtype_of, ints, tensor_of

Array = np.ndarray[Any, Any]


def is_sized(value: Value | None) -> TypeGuard[Array]:
    """True for an array that holds sizes."""
    return isinstance(value, np.ndarray) and value.dtype == object


def in_numbers(value: Value | None) -> Value | None:
    """The value, with the numbers of the present run in place of sizes."""
    if not is_sized(value):
        return value
    dtype: type = np.float64 if _has_fractions(value) else np.int64
    return np.vectorize(number, otypes=[dtype])(value)


def _has_fractions(value: Array) -> bool:
    return any(isinstance(n, float) for n in value.reshape(-1))  # a Real, too


TAKES_SIZES = frozenset(
    ["ConstantOfShape", "Expand", "OneHot", "Pad", "Range", "Reshape", "Resize", "Slice", "Split", "Squeeze",
     "Tile", "TopK", "Trilu", "Unsqueeze", "Upsample"]
)  # fmt: skip
"""The operators whose functions take sizes as numbers; to all others they are Tensors."""


def as_operands(name: str, operands: list[Any]) -> list[Any]:
    """The operands, with Tensors in the place of sizes where the operator takes values."""
    if name in TAKES_SIZES:
        return operands
    return [_in_tensor(value) for value in operands]


def _in_tensor(value: Value | None) -> Value | None:
    if is_sized(value):
        return tensor_of(value)
    return value


def of_sizes(name: str, operands: list[Any], settings: dict[str, Any]) -> Any:
    """The result of an operator on sizes; NotImplemented for one that is not in the table."""
    function = _TABLE.get(name)
    if function is None:
        return NotImplemented
    for operand in operands:
        if operand is not None and not isinstance(operand, np.ndarray):
            return NotImplemented
    result = function(*operands, **settings)
    if isinstance(result, tuple):
        return tuple(map(_plain, result))
    if result is NotImplemented:
        return result
    return _plain(result)


def _plain(value: Any) -> Any:
    """An array of objects that holds numbers alone, as an array of these numbers."""
    if not isinstance(value, (np.ndarray, int, bool, Size, Real)):
        return value
    array: Any = value
    if not isinstance(value, np.ndarray):
        array = np.asarray(value, object)
    elements = array.reshape(-1)
    if array.dtype != object or any(map(is_symbol, elements)):
        return array
    is_truth = array.size > 0 and all(isinstance(n, (bool, np.bool_)) for n in elements)
    if is_truth:
        return array.astype(np.bool_)
    return array.astype(np.int64)


def _on_pairs(function: Callable[[Any, Any], Any]) -> Callable[[Array, Array], Array]:
    """The function of each pair of elements of two arrays."""
    computed = np.frompyfunc(function, 2, 1)

    def on_arrays(a: Array, b: Array) -> Array:
        return np.asarray(computed(a.astype(object), b.astype(object)), object)

    return on_arrays


def _on_elements(function: Callable[[Any], Any]) -> Callable[[Array], Array]:
    """The function of each element of an array."""
    computed = np.frompyfunc(function, 1, 1)

    def on_array(x: Array) -> Array:
        return np.asarray(computed(x.astype(object)), object)

    return on_array


# --- of elements
def _floor(x: Any) -> Any:
    return Real.compute("float", math.floor(x))


def _ceil(x: Any) -> Any:
    return Real.compute("float", math.ceil(x))


def _round(x: Any) -> Any:
    return Real.compute("float", round(x))


def _minimum(a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return Real.compute("min", a, b)
    return smallest(a, b)


def _maximum(a: Any, b: Any) -> Any:
    if isinstance(a, float) or isinstance(b, float):
        return Real.compute("max", a, b)
    return greatest(a, b)


def _quotient(a: Any, b: Any) -> Any:
    """a / b; of whole numbers rounded towards 0, as ONNX divides them."""
    if isinstance(a, float) or isinstance(b, float):
        return a / b
    exact = exact_quotient(a, b)
    if exact is not None:
        return exact
    if lower_bound(a) < 0 or lower_bound(b) <= 0:
        raise ValueError(f"got the quotient of {a!r} and {b!r}; expected sizes of one sign")
    return a // b


def _remainder(a: Any, b: Any) -> Any:
    """The remainder of a quotient that is rounded towards 0."""
    return a - _quotient(a, b) * b


def _truncated(x: Any) -> Any:
    """A fraction rounded towards 0."""
    is_whole = isinstance(x, Real) and x.op == "float"
    if is_whole:
        return x.operands[0]
    return math.trunc(x)


_floats = _on_elements(partial(Real.compute, "float"))
_wholes = _on_elements(_truncated)
_remainders = _on_pairs(operator.mod)
_remainders_towards_0 = _on_pairs(_remainder)


# --- of arrays
def _mod(a: Array, b: Array, *, fmod: int = 0) -> Array:
    if fmod:
        return _remainders_towards_0(a, b)
    return _remainders(a, b)


def _negated(x: Array) -> Any:
    return -x


def _identity(x: Array) -> Array:
    return x


def _cast(x: Array, *, to: int, **settings: Any) -> Any:
    dtype = dtype_of(to)
    if dtype.kind in "iu":
        if _has_fractions(x):
            return _wholes(x)
        return x
    if dtype == np.float64:
        return _floats(x)
    return tensor_of(x).to(dtype)


def _taken(x: Array, index: Array, *, axis: int = 0) -> Any:
    if is_sized(index):
        return NotImplemented
    return np.take(x, index, axis)


def _unsqueezed(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, ints(axes))


def _reshaped(x: Array, shape: Array, *, allowzero: int = 0) -> Array:
    return np.reshape(x, ints(shape))


def _sliced(
    x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Any:
    if is_sized(starts) or is_sized(ends):
        return NotImplemented
    count = len(ints(starts))
    sliced_axes = range(count) if axes is None else ints(axes)
    strides = [1] * count if steps is None else ints(steps)
    key = [slice(None)] * x.ndim
    for axis, start, end, step in zip(sliced_axes, ints(starts), ints(ends), strides, strict=True):
        key[axis] = slice(start, end, step)
    return x[tuple(key)]


def _reduced(choose: Callable[..., Any]) -> Callable[..., Any]:
    """A reduction of all elements of a vector."""

    def on_vector(x: Array, axes: Array | None = None, *, keepdims: int = 1, **settings: Any) -> Any:
        if x.ndim != 1:
            return NotImplemented
        shape = (1,) if keepdims else ()
        result = np.empty(shape, object)
        result[...] = choose(*x)
        return result

    return on_vector


def _product(*sizes: Dim) -> Any:
    total: Any = 1
    for n in sizes:
        total = total * n
    return total


def _total(*sizes: Dim) -> Any:
    return sum(sizes)


def _filled(shape: Array, *, value: Array | None = None) -> Any:
    fill = np.zeros((), np.float32)
    if value is not None:
        fill = np.asarray(value).reshape(())
    return rv.full(ints(shape), fill.item(), dtype=fill.dtype)


def _range(start: Array, limit: Array, delta: Array) -> Any:
    return rv.arange(_only_element(start), _only_element(limit), _only_element(delta))


def _only_element(x: Array) -> Any:
    if is_sized(x):
        return x.reshape(-1)[0]
    return x.item()


def _squeezed(x: Array, axes: Array | None = None) -> Array:
    if axes is None:
        return np.squeeze(x)
    return np.squeeze(x, ints(axes))


def _joined(*operands: Array, axis: int = 0) -> Array:
    return np.concatenate([operand.astype(object) for operand in operands], axis)


def _chosen(condition: Array, a: Array, b: Array) -> Any:
    if is_sized(condition):
        return NotImplemented
    return np.where(condition, a.astype(object), b.astype(object))


_TABLE: dict[str, Callable[..., Any]] = {
    "Add": _on_pairs(operator.add),
    "Sub": _on_pairs(operator.sub),
    "Mul": _on_pairs(operator.mul),
    "Div": _on_pairs(_quotient),
    "Mod": _mod,
    "Min": _on_pairs(_minimum),
    "Max": _on_pairs(_maximum),
    "Pow": _on_pairs(partial(Real.compute, "pow")),
    "Reciprocal": _on_elements(partial(Real.compute, "truediv", 1)),
    "Sqrt": _on_elements(partial(Real.compute, "sqrt")),
    "Exp": _on_elements(partial(Real.compute, "exp")),
    "Log": _on_elements(partial(Real.compute, "log")),
    "Floor": _on_elements(_floor),
    "Ceil": _on_elements(_ceil),
    "Round": _on_elements(_round),
    "Equal": _on_pairs(operator.eq),
    "Less": _on_pairs(operator.lt),
    "LessOrEqual": _on_pairs(operator.le),
    "Greater": _on_pairs(operator.gt),
    "GreaterOrEqual": _on_pairs(operator.ge),
    "Neg": _negated,
    "Identity": _identity,
    "Cast": _cast,
    "Gather": _taken,
    "Concat": _joined,
    "Squeeze": _squeezed,
    "Unsqueeze": _unsqueezed,
    "Reshape": _reshaped,
    "Slice": _sliced,
    "Where": _chosen,
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(_total),
    "ReduceMin": _reduced(smallest),
    "ReduceMax": _reduced(greatest),
    "ConstantOfShape": _filled,
    "Range": _range,
}
