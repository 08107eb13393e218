"""eq, ne, lt, le, gt, ge: comparisons, which give bool tensors and carry no gradient.

A comparison with NaN is false (ne: true). NumPy compares integers and bools.

>>> import ranvier as rv
>>> rv.tensor([1.0, float("nan")]) == float("nan")
tensor([False, False])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import F64, Array
from ranvier.ops.elementwise.op import Elementwise
from ranvier.tape.function import OWN
from ranvier.tensors.memory import HALVES, in_dtype, keep, number_in
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Number, TensorLike


def _number(name: str, x: Number, dtype: np.dtype[Any]) -> Any:
    """The number x as NumPy's function gets it beside operands of this dtype. Beside half floats it is an
    array of their dtype, because NumPy would treat a plain number beside bfloat16 as float16."""
    if dtype not in HALVES:
        return x
    with np.errstate(all="ignore"):
        return keep(np.array(number_in(name, x, dtype), dtype))


def _comparison(kernel: Callable[..., Array], function: Callable[..., Any]) -> Elementwise:
    """The declaration of a comparison, by its kernel and NumPy's function."""

    def of_integers(a: Array | Number, b: Array | Number) -> Array | None:
        """Compares integers with a Python int by the kernel, in float64; None if the int may be rounded
        there."""
        if not isinstance(a, np.ndarray) or type(b) is not int or abs(b) >= 2**53:
            return None
        return kernel(in_dtype(a, F64), float(b), None)

    return Elementwise(kernel, numpy=function, dtypes=OWN, number=_number, instead=of_integers)


_eq_op = _comparison(_core.eq, np.equal).op("eq")


def eq(input: TensorLike, other: TensorLike) -> Tensor:
    """a == b

    >>> import ranvier as rv
    >>> rv.eq(rv.tensor([1.0, 2.0]), rv.tensor([1.0, 3.0]))
    tensor([ True, False])
    """
    return _eq_op(input, other)


_ne_op = _comparison(_core.ne, np.not_equal).op("ne")


def ne(input: TensorLike, other: TensorLike) -> Tensor:
    """a != b

    >>> import ranvier as rv
    >>> rv.ne(rv.tensor([1.0, 2.0]), rv.tensor([1.0, 3.0]))
    tensor([False,  True])
    """
    return _ne_op(input, other)


_lt_op = _comparison(_core.lt, np.less).op("lt")


def lt(input: TensorLike, other: TensorLike) -> Tensor:
    """a < b

    >>> import ranvier as rv
    >>> rv.lt(rv.tensor([0.2, 0.7]), 0.5)
    tensor([ True, False])
    """
    return _lt_op(input, other)


_le_op = _comparison(_core.le, np.less_equal).op("le")


def le(input: TensorLike, other: TensorLike) -> Tensor:
    """a <= b

    >>> import ranvier as rv
    >>> rv.le(rv.tensor([0.2, 0.5]), 0.5)
    tensor([True, True])
    """
    return _le_op(input, other)


_gt_op = _comparison(_core.gt, np.greater).op("gt")


def gt(input: TensorLike, other: TensorLike) -> Tensor:
    """a > b

    >>> import ranvier as rv
    >>> rv.gt(rv.tensor([0.2, 0.7]), 0.5)
    tensor([False,  True])
    """
    return _gt_op(input, other)


_ge_op = _comparison(_core.ge, np.greater_equal).op("ge")


def ge(input: TensorLike, other: TensorLike) -> Tensor:
    """a >= b

    >>> import ranvier as rv
    >>> rv.ge(rv.tensor([0.5, 0.7]), 0.5)
    tensor([True, True])
    """
    return _ge_op(input, other)
