"""Arithmetic of shapes in a loaded graph while a model is written again: sizes of dynamic axes are symbols.

`Shape` then gives an array of Sizes (`onnx/sizes.py`), as NumPy's arrays of objects. The operators of this
table compute with them; to any other operator they are operands of its own function, which takes them as
sizes (`values.ints`) or as Tensors (`values.tensor_of`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ranvier as rv
from ranvier.onnx.sizes import Real, Size, exact_quotient, greatest, lower_bound, number, smallest
from ranvier.onnx.values import dtype_of, ints, tensor_of

Array = np.ndarray[Any, Any]


def is_sized(value: Any) -> bool:
    """True for an array that holds sizes."""
    return isinstance(value, np.ndarray) and value.dtype == object


def in_numbers(value: Any) -> Any:
    """The value, with the numbers of the present run in place of sizes."""
    if not is_sized(value):
        return value
    return np.vectorize(number, otypes=[np.float64 if _has_fractions(value) else np.int64])(value)


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
    return [tensor_of(value) if is_sized(value) else value for value in operands]


def of_sizes(name: str, operands: list[Any], settings: dict[str, Any]) -> Any:
    """The result of an operator on sizes; NotImplemented for one that is not in the table."""
    function = _TABLE.get(name)
    if function is None or not all(x is None or isinstance(x, np.ndarray) for x in operands):
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
    if not isinstance(value, np.ndarray):
        array = np.asarray(value, object)
    else:
        array = value
    if array.dtype != object or any(isinstance(n, (Size, Real)) for n in array.reshape(-1)):
        return array
    is_truth = all(isinstance(n, (bool, np.bool_)) for n in array.reshape(-1))
    return array.astype(np.bool_ if is_truth and array.size else np.int64)


def _each(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """The function of each pair of elements of two arrays."""
    computed = np.frompyfunc(function, 2, 1)

    def on_arrays(a: Any, b: Any) -> Any:
        return np.asarray(computed(a.astype(object), b.astype(object)), object)

    return on_arrays


def _each_of(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The function of each element of an array."""
    computed = np.frompyfunc(function, 1, 1)
    return lambda x: np.asarray(computed(x.astype(object)), object)


def _rounded(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function that makes a whole number of each fraction, as a float."""
    return _each_of(lambda x: Real.compute("float", function(x)))


def _extreme(name: str, of_sizes: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    def of_two(a: Any, b: Any) -> Any:
        has_fractions = isinstance(a, float) or isinstance(b, float)
        if has_fractions:
            return Real.compute(name, a, b)
        return of_sizes(a, b)

    return _each(of_two)


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


def _cast(x: Array, *, to: Any, **settings: Any) -> Any:
    dtype = dtype_of(to)
    if dtype.kind in "iu":
        if _has_fractions(x):
            return _each_of(_whole)(x)
        return x
    if dtype == np.float64:
        return _each_of(partial(Real.compute, "float"))(x)
    return tensor_of(x).to(dtype)


def _remainder(a: Any, b: Any) -> Any:
    """The remainder of a quotient that is rounded towards 0."""
    return a - _quotient(a, b) * b


_rests = _each(operator.mod)
_remainders = _each(_remainder)


def _whole(x: Any) -> Any:
    """A fraction rounded towards 0."""
    is_whole = isinstance(x, Real) and x.op == "float"
    if is_whole:
        return x.operands[0]
    return math.trunc(x)


def _sliced(x: Array, starts: Any, ends: Any, axes: Any = None, steps: Any = None) -> Any:
    if any(map(is_sized, (starts, ends))):
        return NotImplemented
    chosen = range(len(ints(starts))) if axes is None else ints(axes)
    step = [1] * len(ints(starts)) if steps is None else ints(steps)
    key = [slice(None)] * x.ndim
    for at, *part in zip(chosen, ints(starts), ints(ends), step, strict=True):
        key[at] = slice(*part)
    return x[tuple(key)]


def _reduced(choose: Callable[..., Any]) -> Callable[..., Any]:
    def of_all(x: Array, axes: Any = None, *, keepdims: int = 1, **settings: Any) -> Any:
        if x.ndim != 1:
            return NotImplemented
        result = np.empty((1,) if keepdims else (), object)
        result[...] = choose(*x)
        return result

    return of_all


def _product(*sizes: Any) -> Any:
    total: Any = 1
    for n in sizes:
        total = total * n
    return total


def _filled(shape: Array, *, value: Any = None) -> Any:
    if value is None:
        number = np.zeros((), np.float32)
    else:
        number = np.asarray(value).reshape(())
    return rv.full(ints(shape), number.item(), dtype=number.dtype)


def _range(start: Array, limit: Array, delta: Array) -> Any:
    return rv.arange(*(x.reshape(-1)[0] if is_sized(x) else x.item() for x in (start, limit, delta)))


def _squeezed(x: Array, axes: Any = None) -> Any:
    return np.squeeze(x, None if axes is None else ints(axes))


def _joined(*parts: Array, axis: int = 0) -> Any:
    return np.concatenate([part.astype(object) for part in parts], axis)


def _chosen(condition: Array, a: Array, b: Array) -> Any:
    if is_sized(condition):
        return NotImplemented
    return np.where(condition, a.astype(object), b.astype(object))


_TABLE: dict[str, Callable[..., Any]] = {
    "Add": _each(lambda a, b: a + b),
    "Sub": _each(lambda a, b: a - b),
    "Mul": _each(lambda a, b: a * b),
    "Div": _each(_quotient),
    "Mod": lambda a, b, *, fmod=0: _remainders(a, b) if fmod else _rests(a, b),
    "Min": _extreme("min", smallest),
    "Max": _extreme("max", greatest),
    "Pow": _each(partial(Real.compute, "pow")),
    "Reciprocal": _each_of(partial(Real.compute, "truediv", 1)),
    "Sqrt": _each_of(partial(Real.compute, "sqrt")),
    "Exp": _each_of(partial(Real.compute, "exp")),
    "Log": _each_of(partial(Real.compute, "log")),
    "Floor": _rounded(math.floor),
    "Ceil": _rounded(math.ceil),
    "Round": _rounded(round),
    "Equal": _each(lambda a, b: a == b),
    "Less": _each(lambda a, b: a < b),
    "LessOrEqual": _each(lambda a, b: a <= b),
    "Greater": _each(lambda a, b: a > b),
    "GreaterOrEqual": _each(lambda a, b: a >= b),
    "Neg": lambda x: -x,
    "Identity": lambda x: x,
    "Cast": _cast,
    "Gather": lambda x, index, *, axis=0: NotImplemented if is_sized(index) else np.take(x, index, axis),
    "Concat": _joined,
    "Squeeze": _squeezed,
    "Unsqueeze": lambda x, axes: np.expand_dims(x, ints(axes)),
    "Reshape": lambda x, shape, *, allowzero=0: np.reshape(x, ints(shape)),
    "Slice": _sliced,
    "Where": _chosen,
    "ReduceProd": _reduced(_product),
    "ReduceSum": _reduced(lambda *n: sum(n)),
    "ReduceMin": _reduced(smallest),
    "ReduceMax": _reduced(greatest),
    "ConstantOfShape": _filled,
    "Range": _range,
}
