"""matmul: the product of matrices, vectors and stacks of matrices."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.dtypes import Array, as_operand, is_pair, unbroadcast

__all__ = ["matmul"]
METHODS = __all__


class Matmul(Function):
    """y = a b: (..., m, k) (..., k, n) -> (..., m, n)"""

    reads: ClassVar = {"a": 1, "b": 0}

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return _core.matmul(a, b, None, "none", None)

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        a, b = self.a, self.b
        if a.ndim == 1 or b.ndim == 1:  # vectors as matrices of one row or column, a dimension that y lacks
            dy = np.expand_dims(dy, tuple(axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1))
            a = a[None, :] if a.ndim == 1 else a
            b = b[:, None] if b.ndim == 1 else b
        da = db = None
        if self.needs[0]:  # dy (..., m, n) b^T (..., n, k)
            da = _core.matmul(dy, b.swapaxes(-1, -2), None, "none", None)
            da = unbroadcast(da, a.shape).reshape(self.a.shape)
        if self.needs[1]:  # a^T (..., k, m) dy (..., m, n)
            db = _core.matmul(a.swapaxes(-1, -2), dy, None, "none", None)
            db = unbroadcast(db, b.shape).reshape(self.b.shape)
        return da, db


def matmul(a: Any, b: Any) -> Tensor:
    """The matrix product a b: y[..., i, j] = sum over p of a[..., i, p] b[..., p, j].

    a (..., m, k), b (..., k, n), y (..., m, n). A vector on the left is a row, on the right a column, and
    the result loses that dimension; leading dimensions broadcast. a and b are both float32 or both float64;
    integers are multiplied by NumPy. Raises ValueError where the shapes do not fit, TypeError where the
    dtypes differ.

    >>> import ranvier as rv
    >>> rv.tensor([[1.0, 2.0], [3.0, 4.0]]) @ rv.tensor([1.0, -1.0])
    tensor([-1., -1.])
    """
    if is_pair(a, b):
        return Matmul().apply(a, b)
    a, b = as_operand("matmul", a), as_operand("matmul", b)
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        raise TypeError("[matmul] got a number; expected tensors of at least one dimension")
    if a._array.dtype.kind in "biu" and b._array.dtype.kind in "biu":
        return wrap(np.asarray(np.matmul(a._array, b._array)))
    return Matmul().apply(a, b)
