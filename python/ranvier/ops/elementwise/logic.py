"""Functions of integers and bools, comparisons by name, and logic."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.compare import ge, gt, le, lt, ne
from ranvier.ops.elementwise.dtypes import F32, Array, as_number, as_tensor, singles, unlike
from ranvier.ops.elementwise.row import elementwise
from ranvier.tape.function import OWN
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import in_dtype
from ranvier.tensors.tensor import Tensor, by_numpy


def _integers(name: str, dtype: np.dtype[Any], *operands: Any) -> None:
    """Raises TypeError for a dtype that an op on bits does not take."""
    if name.endswith("shift"):
        wanted = "integers"
    else:
        wanted = "bools or integers"
    if dtype.kind not in ("iu" if wanted == "integers" else "biu"):
        kinds = ", ".join(str(np.asarray(getattr(x, "_array", x)).dtype) for x in operands)
        raise DtypeError(f"[{name}] got dtypes {kinds}; expected {wanted}")


def _bits(name: str, x: Any, dtype: np.dtype[Any]) -> Any:
    """The number x in this dtype. Its lowest bits are taken, so that -2 can be a mask for integers of any
    dtype."""
    if dtype.kind == "b" or name.endswith("shift"):
        return as_number(name, x, dtype)
    return np.array(x & (1 << 8 * dtype.itemsize) - 1, f"u{dtype.itemsize}").view(dtype)[()]


def _bitwise(function: Callable[..., Any], of_bools: Any = None) -> elementwise:
    """The declaration of an op on bits, by NumPy's function. of_bools: a kernel for floats that computes the
    same of 0 and 1, with which a recorded step computes bools."""

    def instead(*operands: Any) -> Array | None:
        if of_bools is None or not all(isinstance(x, np.ndarray) and x.dtype == np.bool_ for x in operands):
            return None
        return in_dtype(of_bools(*(in_dtype(x, F32) for x in operands), None), np.dtype(np.bool_))

    return elementwise(numpy=function, dtypes=OWN, check_dtype=_integers, number=_bits, instead=instead)


@_bitwise(np.bitwise_and, _core.mul)
def bitwise_and(input: Any, other: Any) -> Tensor:
    """a & b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_and(rv.tensor([6, 5]), 3)
    tensor([2, 1])
    """


@_bitwise(np.bitwise_or, _core.maximum)
def bitwise_or(input: Any, other: Any) -> Tensor:
    """a | b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_or(rv.tensor([6, 5]), 3)
    tensor([7, 7])
    """


@_bitwise(np.bitwise_xor, _core.ne)
def bitwise_xor(input: Any, other: Any) -> Tensor:
    """a ^ b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_xor(rv.tensor([6, 5]), 3)
    tensor([5, 6])
    """


@_bitwise(np.invert, lambda x, out: _core.eq(x, 0.0, out))
def bitwise_not(input: Any) -> Tensor:
    """~x, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_not(rv.tensor([0, 5]))
    tensor([-1, -6])
    """


@_bitwise(np.left_shift)
def bitwise_left_shift(input: Any, other: Any) -> Tensor:
    """a * 2^b, of integers.

    >>> import ranvier as rv
    >>> rv.bitwise_left_shift(rv.tensor([1, 3]), 2)
    tensor([ 4, 12])
    """


@_bitwise(np.right_shift)
def bitwise_right_shift(input: Any, other: Any) -> Tensor:
    """floor(a / 2^b), of integers.

    >>> import ranvier as rv
    >>> rv.bitwise_right_shift(rv.tensor([8, 5]), 1)
    tensor([4, 2])
    """


def _truth(name: str, x: Any) -> Any:
    """x as bools: True where it is not 0."""
    x = as_tensor(name, x)
    if x.dtype == np.bool_:
        return x
    return ne(x, 0)


def logical_and(input: Any, other: Any) -> Tensor:
    """True where a and b are not 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_and(rv.tensor([1, 1]), rv.tensor([0, 2]))
    tensor([False,  True])
    """
    return _truth("logical_and", input) & _truth("logical_and", other)


def logical_or(input: Any, other: Any) -> Tensor:
    """True where a or b is not 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_or(rv.tensor([0, 1]), rv.tensor([0, 0]))
    tensor([False,  True])
    """
    return _truth("logical_or", input) | _truth("logical_or", other)


def logical_xor(input: Any, other: Any) -> Tensor:
    """True where exactly one of a and b is not 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_xor(rv.tensor([1, 1]), rv.tensor([0, 2]))
    tensor([ True, False])
    """
    return _truth("logical_xor", input) ^ _truth("logical_xor", other)


def logical_not(input: Any) -> Tensor:
    """True where x is 0; bool.

    >>> import ranvier as rv
    >>> rv.logical_not(rv.tensor([0, 2]))
    tensor([ True, False])
    """
    return ~_truth("logical_not", input)


def greater(input: Any, other: Any) -> Tensor:
    """a > b

    >>> import ranvier as rv
    >>> rv.greater(rv.tensor([1, 3]), 2)
    tensor([False,  True])
    """
    return gt(input, other)


def greater_equal(input: Any, other: Any) -> Tensor:
    """a >= b

    >>> import ranvier as rv
    >>> rv.greater_equal(rv.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return ge(input, other)


def less(input: Any, other: Any) -> Tensor:
    """a < b

    >>> import ranvier as rv
    >>> rv.less(rv.tensor([1, 3]), 2)
    tensor([ True, False])
    """
    return lt(input, other)


def less_equal(input: Any, other: Any) -> Tensor:
    """a <= b

    >>> import ranvier as rv
    >>> rv.less_equal(rv.tensor([2, 3]), 2)
    tensor([ True, False])
    """
    return le(input, other)


def not_equal(input: Any, other: Any) -> Tensor:
    """a != b

    >>> import ranvier as rv
    >>> rv.not_equal(rv.tensor([1, 2]), 2)
    tensor([ True, False])
    """
    return ne(input, other)


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
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


def _isclose(a: Any, b: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    try:
        with np.errstate(all="ignore"):
            if not (rtol or atol):
                return np.asarray((a == b) | (equal_nan & (a != a) & (b != b)))
            close = np.asarray(np.isclose(a, b, rtol, atol, equal_nan))
            # An infinite difference is not close, even with an infinite tolerance.
            if math.inf in (rtol, atol):
                close &= (a == b) | (np.isinf(a) == np.isinf(b))
            return close
    except ValueError as error:
        raise OpError(unlike("isclose", a, b)) from error
