"""Functions of integers and bools, comparisons by name, and logic."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.errors import own_errors
from ranvier.autograd.failures import DtypeError, OpError
from ranvier.autograd.memory import in_dtype
from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.compare import ne
from ranvier.ops.elementwise.dtypes import as_number, as_operand, as_tensor, logic, result_dtype, unlike
from ranvier.ops.rows import document


def _integers(name: str, function: Callable[..., Any], *operands: Any) -> Tensor:
    """A function of integers (or bools), which has no gradient."""
    raw = [as_operand(name, x) for x in operands]
    dtype = result_dtype(*raw) if len(raw) == 2 else raw[0].dtype
    wanted = "integers" if name.endswith("shift") else "bools or integers"
    if dtype.kind not in ("iu" if wanted == "integers" else "biu"):
        kinds = ", ".join(str(np.asarray(getattr(x, "_array", x)).dtype) for x in raw)
        raise DtypeError(f"[{name}] got dtypes {kinds}; expected {wanted}")
    arrays = [in_dtype(x._array, dtype) if isinstance(x, Tensor) else _bits(name, x, dtype) for x in raw]
    if (y := logic(function, *arrays)) is not None:
        return wrap(y)
    try:
        return by_numpy(function, *arrays)
    except ValueError as error:
        raise OpError(unlike(name, *arrays)) from error
    except TypeError as error:
        raise DtypeError(f"[{name}] got dtype {dtype}; expected integers") from error


def _bits(name: str, x: Any, dtype: np.dtype[Any]) -> Any:
    """The lowest bits of a number: -2 is a mask for any integers."""
    if dtype.kind == "b" or name.endswith("shift"):
        return as_number(name, x, dtype)
    return np.array(x & (1 << 8 * dtype.itemsize) - 1, f"u{dtype.itemsize}").view(dtype)[()]


def _bitwise(name: str, function: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    known = _core._elementwise(None, function)

    def op(input: Any, other: Any) -> Tensor:
        y = known(input, other)
        return _integers(name, function, input, other) if y is None else y

    return op


_INVERT = _core._elementwise(None, np.invert)


def bitwise_not(input: Any) -> Tensor:
    y = _INVERT(input)
    return _integers("bitwise_not", np.invert, as_tensor("bitwise_not", input)) if y is None else y


def _truth(name: str, x: Any) -> Any:
    x = as_tensor(name, x)
    return x if x.dtype == np.bool_ else ne(x, 0)


def _logical(name: str, join: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    return lambda input, other: join(_truth(name, input), _truth(name, other))


def logical_not(input: Any) -> Tensor:
    return ~_truth("logical_not", input)


def _comparison(name: str, compare: Callable[..., Any]) -> Callable[[Any, Any], Tensor]:
    return lambda input, other: compare(as_tensor(name, input), other)


bitwise_and, bitwise_or = _bitwise("bitwise_and", np.bitwise_and), _bitwise("bitwise_or", np.bitwise_or)
bitwise_xor = _bitwise("bitwise_xor", np.bitwise_xor)
bitwise_left_shift = _bitwise("bitwise_left_shift", np.left_shift)
bitwise_right_shift = _bitwise("bitwise_right_shift", np.right_shift)
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
    return by_numpy(_isclose, input._array, other._array, rtol, atol, equal_nan)


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


SYMBOLS: dict[str, Any] = {
    "__lshift__": bitwise_left_shift,
    "__rlshift__": lambda self, other: bitwise_left_shift(other, self),
    "__ilshift__": "bitwise_left_shift_",
    "__rshift__": bitwise_right_shift,
    "__rrshift__": lambda self, other: bitwise_right_shift(other, self),
    "__irshift__": "bitwise_right_shift_",
    "__and__": bitwise_and,
    "__or__": bitwise_or,
    "__xor__": bitwise_xor,
    "__rand__": bitwise_and,
    "__ror__": bitwise_or,
    "__rxor__": bitwise_xor,
    "__iand__": "bitwise_and_",
    "__ior__": "bitwise_or_",
    "__ixor__": "bitwise_xor_",
    "__invert__": bitwise_not,
}


own_errors(globals())
