"""cumsum, cumprod: running sums and products along one dimension."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.memory import cast
from ranvier.autograd.tensor import Tensor, by_numpy, wrap
from ranvier.ops.elementwise.dtypes import Array, as_tensor, is_floating, require_no_gradient
from ranvier.ops.rules import linear, recomputed
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import _dim

__all__ = ["cumprod", "cumsum"]
METHODS = [*__all__, "cumprod_", "cumsum_"]


class CumSum(Function):
    """y[i] = x[0] + ... + x[i]; dx[i] = dy[i] + ... + dy[n - 1]"""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array) -> Array:
        return _core.cumsum(x, self.axis, False, None)

    def backward(self, dy: Array) -> Array:
        return _core.cumsum(dy, self.axis, True, None)


linear(CumSum)


class CumProd(CumSum):
    """y[i] = x[0] * ... * x[i]"""

    def forward(self, x: Array) -> Array:
        self.x = x
        return _core.cumprod(x, self.axis, False, None)

    def backward(self, dy: Array) -> Array:
        return _core.cumprod_backward(dy, self.x, self.axis)


@recomputed("x", kinds=(CumProd,))
def _by_doubling(node: Any, x: Tensor) -> Tensor:
    """After step k each element is the product of the 2^k elements that end with it."""
    y, step = x.movedim(node.axis, 0), 1
    while step < y.shape[0]:
        y = cat([y[:step], y[step:] * y[:-step]])
        step *= 2
    return y.movedim(0, node.axis)


def cumsum(input: Any, dim: int | None = None, *, dtype: Any = None, axis: int | None = None) -> Tensor:
    """y[.., i, ..] = x[.., 0, ..] + ... + x[.., i, ..] along dim; integers and bools give int64, unless dtype
    says otherwise.

    The order of the additions depends on the length of dim and the layout alone. Raises IndexError for a
    dimension that x does not have.

    >>> import ranvier as rv
    >>> rv.cumsum(rv.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), dim=1)
    tensor([[ 1.,  3.,  6.],
            [ 4.,  9., 15.]])
    """
    return _running("cumsum", CumSum, input, dim if axis is None else axis, dtype)


def cumprod(input: Any, dim: int | None = None, *, dtype: Any = None, axis: int | None = None) -> Tensor:
    """y[.., i, ..] = x[.., 0, ..] * ... * x[.., i, ..] along dim; integers and bools give int64, unless dtype
    says otherwise.

    The gradient needs no division: it is right where x is 0. Raises IndexError for a dimension that x does
    not have.

    >>> import ranvier as rv
    >>> rv.cumprod(rv.tensor([1.0, 2.0, 0.5, 3.0]), dim=0)
    tensor([1., 2., 1., 3.])
    """
    return _running("cumprod", CumProd, input, dim if axis is None else axis, dtype)


def _running(name: str, function: type[Any], x: Any, dim: Any, dtype: Any) -> Tensor:
    x = as_tensor(name, x)
    if dtype is not None:
        x = x.to(dtype)
    at = _dim(name, dim, max(x.ndim, 1))
    if is_floating(x):
        if x.ndim == 0:
            return x.clone()  # one element
        result: Tensor = function(at).apply(x)
        return result
    require_no_gradient(name, x)
    wide = x._array.dtype.kind == "b" or (x._array.dtype.kind in "iu" and dtype is None)
    exact = np.dtype(np.int64) if wide else x._array.dtype
    if x.ndim == 0:
        return wrap(cast(x._array, exact))
    return by_numpy(getattr(np, name), x._array, at, exact)
