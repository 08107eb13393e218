"""Functions of integers and bools, comparisons by name, and logic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.compare import ge, gt, le, lt, ne
from ranvier.ops.elementwise.dtypes import F32, Array, as_number, as_tensor, singles, unlike
from ranvier.ops.elementwise.op import Elementwise
from ranvier.tape.function import OWN
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import array_from, in_dtype
from ranvier.tensors.tensor import Tensor, by_numpy
from ranvier.tensors.types import Number, TensorLike


def _integers(name: str, dtype: np.dtype[Any], *operands: Any) -> None:
    """Raises TypeError for a dtype that an op on bits does not take."""
    if dtype.kind in "iu":
        return
    if name.endswith("shift"):
        expected = "integers"
    elif dtype.kind == "b":
        return
    else:
        expected = "bools or integers"
    arrays = [array_from(getattr(x, "_array", x)) for x in operands]
    dtypes = ", ".join(str(array.dtype) for array in arrays)
    raise DtypeError(f"[{name}] got dtypes {dtypes}; expected {expected}")


def _bits(name: str, x: int, dtype: np.dtype[Any]) -> Any:
    """The number x in this dtype. Its lowest bits are taken, so that -2 can be a mask for integers of any
    dtype."""
    if dtype.kind == "b" or name.endswith("shift"):
        return as_number(name, x, dtype)
    all_bits = (1 << 8 * dtype.itemsize) - 1
    unsigned = np.array(x & all_bits, f"u{dtype.itemsize}")
    return unsigned.view(dtype)[()]


def _bitwise(function: Callable[..., Any], of_bools: Callable[..., Array] | None = None) -> Elementwise:
    """The declaration of an op on bits, by NumPy's function. of_bools: a kernel for floats that computes the
    same of 0 and 1, with which a recorded step computes bools."""

    def instead(*operands: Array | Number) -> Array | None:
        if of_bools is None:
            return None
        arrays = [x for x in operands if isinstance(x, np.ndarray) and x.dtype == np.bool_]
        if len(arrays) < len(operands):
            return None
        floats = [in_dtype(x, F32) for x in arrays]
        return in_dtype(of_bools(*floats, None), np.dtype(np.bool_))

    return Elementwise(numpy=function, dtypes=OWN, check_dtype=_integers, number=_bits, instead=instead)


_bitwise_and_op = _bitwise(np.bitwise_and, _core.mul).op("bitwise_and")


def bitwise_and(input: TensorLike, other: TensorLike) -> Tensor:
    """a & b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_and(rv.tensor([6, 5]), 3)
    tensor([2, 1])
    """
    return _bitwise_and_op(input, other)


_bitwise_or_op = _bitwise(np.bitwise_or, _core.maximum).op("bitwise_or")


def bitwise_or(input: TensorLike, other: TensorLike) -> Tensor:
    """a | b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_or(rv.tensor([6, 5]), 3)
    tensor([7, 7])
    """
    return _bitwise_or_op(input, other)


_bitwise_xor_op = _bitwise(np.bitwise_xor, _core.ne).op("bitwise_xor")


def bitwise_xor(input: TensorLike, other: TensorLike) -> Tensor:
    """a ^ b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_xor(rv.tensor([6, 5]), 3)
    tensor([5, 6])
    """
    return _bitwise_xor_op(input, other)


def _not(x: Array, out: Array | None) -> Array:
    return _core.eq(x, 0.0, out)


_bitwise_not_op = _bitwise(np.invert, _not).op("bitwise_not")


def bitwise_not(input: TensorLike) -> Tensor:
    """~x, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_not(rv.tensor([0, 5]))
    tensor([-1, -6])
    """
    return _bitwise_not_op(input)


_bitwise_left_shift_op = _bitwise(np.left_shift).op("bitwise_left_shift")


def bitwise_left_shift(input: TensorLike, other: TensorLike) -> Tensor:
    """a * 2^b, of integers.

    >>> import ranvier as rv
    >>> rv.bitwise_left_shift(rv.tensor([1, 3]), 2)
    tensor([ 4, 12])
    """
    return _bitwise_left_shift_op(input, other)


_bitwise_right_shift_op = _bitwise(np.right_shift).op("bitwise_right_shift")


def bitwise_right_shift(input: TensorLike, other: TensorLike) -> Tensor:
    """floor(a / 2^b), of integers.

    >>> import ranvier as rv
    >>> rv.bitwise_right_shift(rv.tensor([8, 5]), 1)
    tensor([4, 2])
    """
    return _bitwise_right_shift_op(input, other)


def _truth(name: str, x: TensorLike) -> Tensor:
    """x as bools: True where it is not 0."""
    x = as_tensor(name, x)
    if x.dtype == np.bool_:
        return x
    return ne(x, 0)


def logical_and(input: TensorLike, other: TensorLike) -> Tensor:
    """True where a and b are not 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_and(rv.tensor([1, 1]), rv.tensor([0, 2]))
    tensor([False,  True])
    """
    return _truth("logical_and", input) & _truth("logical_and", other)


def logical_or(input: TensorLike, other: TensorLike) -> Tensor:
    """True where a or b is not 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_or(rv.tensor([0, 1]), rv.tensor([0, 0]))
    tensor([False,  True])
    """
    return _truth("logical_or", input) | _truth("logical_or", other)


def logical_xor(input: TensorLike, other: TensorLike) -> Tensor:
    """True where exactly one of a and b is not 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_xor(rv.tensor([1, 1]), rv.tensor([0, 2]))
    tensor([ True, False])
    """
    return _truth("logical_xor", input) ^ _truth("logical_xor", other)


def logical_not(input: TensorLike) -> Tensor:
    """True where x is 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_not(rv.tensor([0, 2]))
    tensor([ True, False])
    """
    return ~_truth("logical_not", input)


def greater(input: TensorLike, other: TensorLike) -> Tensor:
    """a > b

    >>> import ranvier as rv
    >>> rv.greater(rv.tensor([1, 3]), 2)
    tensor([False,  True])
    """
    return gt(input, other)


def greater_equal(input: TensorLike, other: TensorLike) -> Tensor:
    """a >= b

    >>> import ranvier as rv
    >>> rv.greater_equal(rv.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return ge(input, other)


def less(input: TensorLike, other: TensorLike) -> Tensor:
    """a < b

    >>> import ranvier as rv
    >>> rv.less(rv.tensor([1, 3]), 2)
    tensor([ True, False])
    """
    return lt(input, other)


def less_equal(input: TensorLike, other: TensorLike) -> Tensor:
    """a <= b

    >>> import ranvier as rv
    >>> rv.less_equal(rv.tensor([2, 3]), 2)
    tensor([ True, False])
    """
    return le(input, other)


def not_equal(input: TensorLike, other: TensorLike) -> Tensor:
    """a != b

    >>> import ranvier as rv
    >>> rv.not_equal(rv.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return ne(input, other)


def isclose(
    input: TensorLike, other: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """True where |a - b| <= atol + rtol |b|, and for equal infinities; bool. NaNs are equal with equal_nan.

    >>> import ranvier as rv
    >>> rv.isclose(rv.tensor([1.0, 1.1]), rv.tensor([1.0000001, 1.0]))
    tensor([ True, False])
    """
    input = as_tensor("isclose", input)
    other = as_tensor("isclose", other)
    if not (rtol >= 0 and atol >= 0):
        raise OpError(f"[isclose] got rtol {rtol} and atol {atol}; expected numbers >= 0")
    return by_numpy(_isclose, *singles(input, other), rtol, atol, equal_nan)


def _isclose(a: Array, b: Array, rtol: float, atol: float, equal_nan: bool) -> Array:
    try:
        with np.errstate(all="ignore"):
            if not (rtol or atol):
                return array_from((a == b) | (equal_nan & (a != a) & (b != b)))
            close = array_from(np.isclose(a, b, rtol, atol, equal_nan))
            # An infinite difference is not close, even with an infinite tolerance.
            if math.inf in (rtol, atol):
                close &= (a == b) | (np.isinf(a) == np.isinf(b))
            return close
    except ValueError as error:
        raise OpError(unlike("isclose", a, b)) from error
