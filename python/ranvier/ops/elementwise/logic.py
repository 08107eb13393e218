"""Functions of integers and bools, comparisons by name, and logic."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.compare import ne
from ranvier.ops.elementwise.dtypes import F32, Array, as_number, as_tensor, singles, unlike
from ranvier.ops.elementwise.row import elementwise
from ranvier.ops.rows import document, examples
from ranvier.tape.function import OWN
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import in_dtype
from ranvier.tensors.tensor import Tensor, by_numpy


def _integers(name: str, dtype: np.dtype[Any], *operands: Any) -> None:
    wanted = "integers" if name.endswith("shift") else "bools or integers"
    if dtype.kind not in ("iu" if wanted == "integers" else "biu"):
        kinds = ", ".join(str(np.asarray(getattr(x, "_array", x)).dtype) for x in operands)
        raise DtypeError(f"[{name}] got dtypes {kinds}; expected {wanted}")


def _bits(name: str, x: Any, dtype: np.dtype[Any]) -> Any:
    """The lowest bits of a number: -2 is a mask for any integers."""
    if dtype.kind == "b" or name.endswith("shift"):
        return as_number(name, x, dtype)
    return np.array(x & (1 << 8 * dtype.itemsize) - 1, f"u{dtype.itemsize}").view(dtype)[()]


def _bitwise(function: Callable[..., Any], of_bools: Any = None) -> elementwise:
    """of_bools: a kernel that gives the function of 0 and 1."""

    def instead(*operands: Any) -> Array | None:
        if of_bools is None or not all(isinstance(x, np.ndarray) and x.dtype == np.bool_ for x in operands):
            return None
        return in_dtype(of_bools(*(in_dtype(x, F32) for x in operands), None), np.dtype(np.bool_))

    return elementwise(numpy=function, dtypes=OWN, check_dtype=_integers, number=_bits, instead=instead)


@_bitwise(np.bitwise_and, _core.mul)
def bitwise_and(input: Any, other: Any) -> Tensor:
    """a & b, bit by bit. | rv.bitwise_and(rv.tensor([6, 5]), 3) -> tensor([2, 1])"""


@_bitwise(np.bitwise_or, _core.maximum)
def bitwise_or(input: Any, other: Any) -> Tensor:
    """a | b, bit by bit. | rv.bitwise_or(rv.tensor([6, 5]), 3) -> tensor([7, 7])"""


@_bitwise(np.bitwise_xor, _core.ne)
def bitwise_xor(input: Any, other: Any) -> Tensor:
    """a ^ b, bit by bit. | rv.bitwise_xor(rv.tensor([6, 5]), 3) -> tensor([5, 6])"""


@_bitwise(np.invert, lambda x, out: _core.eq(x, 0.0, out))
def bitwise_not(input: Any) -> Tensor:
    """~x, bit by bit. | rv.bitwise_not(rv.tensor([0, 5])) -> tensor([-1, -6])"""


@_bitwise(np.left_shift)
def bitwise_left_shift(input: Any, other: Any) -> Tensor:
    """a * 2^b, of integers. | rv.bitwise_left_shift(rv.tensor([1, 3]), 2) -> tensor([ 4, 12])"""


@_bitwise(np.right_shift)
def bitwise_right_shift(input: Any, other: Any) -> Tensor:
    """floor(a / 2^b), of integers. | rv.bitwise_right_shift(rv.tensor([8, 5]), 1) -> tensor([4, 2])"""


def _truth(name: str, x: Any) -> Any:
    x = as_tensor(name, x)
    return x if x.dtype == np.bool_ else ne(x, 0)


def _logical(name: str, join: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    return lambda input, other: join(_truth(name, input), _truth(name, other))


def logical_not(input: Any) -> Tensor:
    return ~_truth("logical_not", input)


def _comparison(name: str, compare: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    return lambda input, other: compare(as_tensor(name, input), other)


logical_and, logical_or = _logical("logical_and", operator.and_), _logical("logical_or", operator.or_)
logical_xor = _logical("logical_xor", operator.xor)
greater, greater_equal = _comparison("greater", operator.gt), _comparison("greater_equal", operator.ge)
less, less_equal = _comparison("less", operator.lt), _comparison("less_equal", operator.le)


def not_equal(input: Any, other: Any) -> Tensor:
    return ne(input, other)


document(
    globals(),
    """
logical_and: True where a and b are not 0; bool. | [1, 1], [0, 2] -> [False,  True]
logical_or: True where a or b is not 0; bool. | [0, 1], [0, 0] -> [False,  True]
logical_xor: True where exactly one of a and b is not 0; bool. | [1, 1], [0, 2] -> [ True, False]
logical_not: True where x is 0; bool. | [0, 2] -> [ True, False]
greater: a > b | [1, 3], 2 -> [False,  True]
greater_equal: a >= b | [1, 2], 2 -> [False,  True]
less: a < b | [1, 3], 2 -> [ True, False]
less_equal: a <= b | [2, 3], 2 -> [ True, False]
not_equal: a != b | [1, 2], 2 -> [ True, False]
""",
)


def isclose(
    input: Any, other: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Tensor:
    """True where |a - b| <= atol + rtol |b|, and for equal infinities; bool. NaNs are equal with equal_nan.

    >>> import ranvier as rv
    >>> rv.isclose(rv.tensor([1.0, 1.1]), rv.tensor([1.0000001, 1.0]))
    tensor([ True, False])
    """
    input, other = as_tensor("isclose", input), as_tensor("isclose", other)
    if not (rtol >= 0 and atol >= 0):
        raise OpError(f"[isclose] got rtol {rtol} and atol {atol}; expected numbers >= 0")
    return by_numpy(_isclose, *singles(input, other), rtol, atol, equal_nan)


def _isclose(a: Any, b: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
    try:
        with np.errstate(all="ignore"):
            if not (rtol or atol):
                return np.asarray((a == b) | (equal_nan & (a != a) & (b != b)))
            close = np.asarray(np.isclose(a, b, rtol, atol, equal_nan))
            if math.inf in (rtol, atol):  # an infinite difference is not close
                close &= (a == b) | (np.isinf(a) == np.isinf(b))
            return close
    except ValueError as error:
        raise OpError(unlike("isclose", a, b)) from error


examples(globals())
