"""Functions of integers and bools, comparisons by name, and logic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.memory import in_dtype
from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.compare import ne
from ranvier.ops.elementwise.dtypes import as_number, as_operand, as_tensor, logic, result_dtype, unlike


def _integers(name: str, function: Callable[..., Any], *operands: Any) -> Tensor:
    """A function of integers (or bools), which has no gradient."""
    raw = [as_operand(name, x) for x in operands]
    dtype = result_dtype(*raw) if len(raw) == 2 else raw[0].dtype
    if dtype.kind not in "biu":
        kinds = ", ".join(str(np.asarray(getattr(x, "_array", x)).dtype) for x in raw)
        raise TypeError(f"[{name}] got dtypes {kinds}; expected bools or integers")
    arrays = [in_dtype(x._array, dtype) if isinstance(x, Tensor) else as_number(name, x, dtype) for x in raw]
    if (y := logic(function, *arrays)) is not None:
        return wrap(y)
    try:
        return by_numpy(function, *arrays)
    except ValueError as error:
        raise ValueError(unlike(name, *arrays)) from error
    except TypeError as error:
        raise TypeError(f"[{name}] got dtype {dtype}; expected integers") from error


def bitwise_and(input: Any, other: Any) -> Tensor:
    """a & b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_and(rv.tensor([6, 5]), 3)
    tensor([2, 1])
    """
    return _integers("bitwise_and", np.bitwise_and, input, other)


def bitwise_or(input: Any, other: Any) -> Tensor:
    """a | b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_or(rv.tensor([6, 5]), 3)
    tensor([7, 7])
    """
    return _integers("bitwise_or", np.bitwise_or, input, other)


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """a ^ b, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_xor(rv.tensor([6, 5]), 3)
    tensor([5, 6])
    """
    return _integers("bitwise_xor", np.bitwise_xor, input, other)


def bitwise_not(input: Any) -> Tensor:
    """~x, bit by bit.

    >>> import ranvier as rv
    >>> rv.bitwise_not(rv.tensor([0, 5]))
    tensor([-1, -6])
    """
    return _integers("bitwise_not", np.invert, as_tensor("bitwise_not", input))


def bitwise_left_shift(input: Any, other: Any) -> Tensor:
    """a * 2^b, of integers.

    >>> import ranvier as rv
    >>> rv.bitwise_left_shift(rv.tensor([1, 3]), 2)
    tensor([ 4, 12])
    """
    return _integers("bitwise_left_shift", np.left_shift, input, other)


def bitwise_right_shift(input: Any, other: Any) -> Tensor:
    """floor(a / 2^b), of integers.

    >>> import ranvier as rv
    >>> rv.bitwise_right_shift(rv.tensor([8, 5]), 1)
    tensor([4, 2])
    """
    return _integers("bitwise_right_shift", np.right_shift, input, other)


def gcd(input: Any, other: Any) -> Tensor:
    """The greatest common divisor, >= 0, of integers.

    >>> import ranvier as rv
    >>> rv.gcd(rv.tensor([12, 7]), 18)
    tensor([6, 1])
    """
    return _integers("gcd", np.gcd, input, other)


def lcm(input: Any, other: Any) -> Tensor:
    """The least common multiple, >= 0, of integers.

    >>> import ranvier as rv
    >>> rv.lcm(rv.tensor([4, 7]), 6)
    tensor([12, 42])
    """
    return _integers("lcm", np.lcm, input, other)


def _truth(name: str, x: Any) -> Any:
    x = as_tensor(name, x)
    return x if x.dtype == np.bool_ else ne(x, 0)


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
    return as_tensor("greater", input) > other


def greater_equal(input: Any, other: Any) -> Tensor:
    """a >= b

    >>> import ranvier as rv
    >>> rv.greater_equal(rv.tensor([1, 2]), 2)
    tensor([False,  True])
    """
    return as_tensor("greater_equal", input) >= other


def less(input: Any, other: Any) -> Tensor:
    """a < b

    >>> import ranvier as rv
    >>> rv.less(rv.tensor([1, 3]), 2)
    tensor([ True, False])
    """
    return as_tensor("less", input) < other


def less_equal(input: Any, other: Any) -> Tensor:
    """a <= b

    >>> import ranvier as rv
    >>> rv.less_equal(rv.tensor([2, 3]), 2)
    tensor([ True, False])
    """
    return as_tensor("less_equal", input) <= other


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
    input, other = as_tensor("isclose", input), as_tensor("isclose", other)
    if rtol < 0 or atol < 0:
        raise ValueError(f"[isclose] got rtol {rtol} and atol {atol}; expected numbers >= 0")
    return by_numpy(_isclose, input._array, other._array, rtol, atol, equal_nan)


def _isclose(a: Any, b: Any, *settings: Any) -> Any:
    try:
        with np.errstate(all="ignore"):
            return np.asarray(np.isclose(a, b, *settings))
    except ValueError as error:
        raise ValueError(unlike("isclose", a, b)) from error


SYMBOLS: dict[str, Any] = {
    "__lshift__": bitwise_left_shift,
    "__rlshift__": lambda self, other: bitwise_left_shift(other, self),
    "__rshift__": bitwise_right_shift,
    "__rrshift__": lambda self, other: bitwise_right_shift(other, self),
    "__and__": bitwise_and,
    "__or__": bitwise_or,
    "__xor__": bitwise_xor,
    "__rand__": lambda self, other: bitwise_and(self, other),
    "__ror__": lambda self, other: bitwise_or(self, other),
    "__rxor__": lambda self, other: bitwise_xor(self, other),
    "__invert__": bitwise_not,
}
