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
from ranvier.ops.elementwise.row import Row, binary, unary
from ranvier.ops.rows import document
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


def _bitwise(name: str, function: Callable[..., Any], of_bools: Any = None) -> Row:
    """of_bools: a kernel that gives the function of 0 and 1."""

    def instead(*operands: Any) -> Array | None:
        if of_bools is None or not all(isinstance(x, np.ndarray) and x.dtype == np.bool_ for x in operands):
            return None
        return in_dtype(of_bools(*(in_dtype(x, F32) for x in operands), None), np.dtype(np.bool_))

    return Row(name, None, None, function, dtypes=OWN, check=_integers, number=_bits, instead=instead)


def _truth(name: str, x: Any) -> Any:
    x = as_tensor(name, x)
    return x if x.dtype == np.bool_ else ne(x, 0)


def _logical(name: str, join: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    return lambda input, other: join(_truth(name, input), _truth(name, other))


def logical_not(input: Any) -> Tensor:
    return ~_truth("logical_not", input)


def _comparison(name: str, compare: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    return lambda input, other: compare(as_tensor(name, input), other)


bitwise_and = binary(_bitwise("bitwise_and", np.bitwise_and, _core.mul))
bitwise_or = binary(_bitwise("bitwise_or", np.bitwise_or, _core.maximum))
bitwise_xor = binary(_bitwise("bitwise_xor", np.bitwise_xor, _core.ne))
bitwise_not = unary(_bitwise("bitwise_not", np.invert, lambda x, out: _core.eq(x, 0.0, out)))
bitwise_left_shift = binary(_bitwise("bitwise_left_shift", np.left_shift))
bitwise_right_shift = binary(_bitwise("bitwise_right_shift", np.right_shift))
logical_and, logical_or = _logical("logical_and", operator.and_), _logical("logical_or", operator.or_)
logical_xor = _logical("logical_xor", operator.xor)
greater, greater_equal = _comparison("greater", operator.gt), _comparison("greater_equal", operator.ge)
less, less_equal = _comparison("less", operator.lt), _comparison("less_equal", operator.le)


def not_equal(input: Any, other: Any) -> Tensor:
    return ne(input, other)


document(
    globals(),
    """
bitwise_and: a & b, bit by bit. | [6, 5], 3 -> [2, 1]
bitwise_or: a | b, bit by bit. | [6, 5], 3 -> [7, 7]
bitwise_xor: a ^ b, bit by bit. | [6, 5], 3 -> [5, 6]
bitwise_not: ~x, bit by bit. | [0, 5] -> [-1, -6]
bitwise_left_shift: a * 2^b, of integers. | [1, 3], 2 -> [ 4, 12]
bitwise_right_shift: floor(a / 2^b), of integers. | [8, 5], 1 -> [4, 2]
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
