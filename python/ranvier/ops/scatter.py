"""scatter, scatter_add, index_add: values put or added where an index says, and their gradients.

Where several values go to one place, the last one stays (scatter) or they are added in order (scatter_add):
the same whatever the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.function import Function
from ranvier.autograd.inplace import assign, check_leaf
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.dtypes import Array, as_number, as_tensor, cast, is_floating
from ranvier.ops.elementwise.whole import back
from ranvier.ops.index import index_array
from ranvier.ops.layout import zeros
from ranvier.ops.shape import _dim, reshape

METHODS = ("index_add", "index_add_", "scatter", "scatter_", "scatter_add", "scatter_add_")


class Scatter(Function):
    """y = x, then y[.., index[.., j, ..], ..] = src[.., j, ..], or += where add is set"""

    def __init__(self, axis: int, add: bool) -> None:
        self.axis, self.add = axis, add

    def forward(self, x: Array, index: Array, src: Array) -> Array:
        # as in PyTorch, index may be smaller than x and src: only so much of both takes part
        self.index, self.src_shape = index, src.shape
        self.part = tuple(slice(None) if d == self.axis else slice(n) for d, n in enumerate(index.shape))
        src = src[tuple(map(slice, index.shape))]
        if x[self.part].shape == x.shape:
            return _core.scatter(x, index, src, self.axis, self.add, None)
        y = _core.copy(x, False, None)
        _core.scatter(x[self.part], index, src, self.axis, self.add, y[self.part])
        return y

    def backward(self, dy: Array) -> tuple[Array | None, None, Array | None]:
        part = dy[self.part]
        if self.add:
            dx, dsrc = dy, _core.gather(part, self.index, self.axis, None) if self.needs[2] else None
        else:
            dx, dsrc = _core.scatter_backward(part, self.index, self.axis)
            if dx.shape != dy.shape:
                whole = _core.copy(dy, False, None)
                _core.copy(dx, False, whole[self.part])
                dx = whole
        if dsrc is not None and dsrc.shape != self.src_shape:
            whole = zeros(self.src_shape, dy.dtype)
            _core.copy(dsrc, False, whole[tuple(map(slice, dsrc.shape))])
            dsrc = whole
        return dx, None, dsrc


def scatter(x: Any, dim: int, index: Any, src: Any = None, *, value: float | None = None) -> Tensor:
    """x with y[.., index[.., j, ..], ..] = src[.., j, ..] along dim, in a new tensor.

    index: integers, as many dimensions as x and src, at most src's sizes, and but for dim at most x's. src is
    a tensor of x's dtype, or a number for all places. Where several values go to one place the last stays,
    and it alone gets a gradient. Raises IndexError where an index is out of range, ValueError where the
    shapes do not fit.

    >>> import ranvier as rv
    >>> rv.scatter(rv.zeros(2, 3), 1, rv.tensor([[2], [0]]), 1.0)
    tensor([[0., 0., 1.],
            [1., 0., 0.]])
    """
    if (src is None) == (value is None):
        raise TypeError("[scatter] got src and value, or neither; expected one of them")
    return _scatter("scatter", x, dim, index, value if src is None else src, add=False)


def scatter_add(x: Any, dim: int, index: Any, src: Any) -> Tensor:
    """x with y[.., index[.., j, ..], ..] += src[.., j, ..] along dim, in the order of j, in a new tensor.

    Shapes and errors as :func:`scatter`.

    >>> import ranvier as rv
    >>> rv.scatter_add(rv.zeros(3), 0, rv.tensor([2, 0, 2]), rv.tensor([1.0, 2.0, 3.0]))
    tensor([2., 0., 4.])
    """
    return _scatter("scatter_add", x, dim, index, src, add=True)


def _scatter(name: str, x: Any, dim: int, index: Any, src: Any, add: bool) -> Tensor:
    x, places, src = as_tensor(name, x), index_array(name, index), as_tensor(name, src)
    if x.ndim == 0:
        return reshape(_scatter(name, reshape(x, 1), dim, places.reshape(-1), reshape(src, -1), add), ())
    at = _dim(name, dim, x.ndim)
    if src.ndim == 0 and places.ndim:  # a number
        number = back(src._array, x.dtype) if is_floating(x) else as_number(name, src.item(), x.dtype)
        src = wrap(np.broadcast_to(number, places.shape))
    fits = places.ndim == x.ndim == src.ndim
    fits = fits and all(n <= m for n, m in zip(places.shape, src.shape, strict=True))
    fits = fits and all(n <= m or d == at for d, (n, m) in enumerate(zip(places.shape, x.shape, strict=True)))
    if not fits:
        raise ValueError(
            f"[{name}] got index of shape {places.shape}, x of shape {x.shape} and src of shape {src.shape}; "
            f"expected an index no larger than src, nor than x but for dimension {at}"
        )
    if is_floating(x):
        return Scatter(at, add).apply(x, places, _like(x, src, name))
    y, where = x._array.copy(), list(np.ogrid[tuple(map(slice, places.shape))])
    where[at] = places
    values = src._array[tuple(map(slice, places.shape))].astype(y.dtype)
    if add:
        np.add.at(y, tuple(where), values)
    else:
        y[tuple(where)] = values
    return wrap(y)


def _like(x: Tensor, src: Tensor, name: str) -> Tensor:
    if src.dtype == x.dtype:
        return src
    if src.dtype.kind not in "biu":
        raise TypeError(
            f"[{name}] got src of dtype {src.dtype} for x of dtype {x.dtype}; expected equal dtypes"
        )
    return cast(src, x.dtype)


def index_add(x: Any, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """x with y[.., index[j], ..] += alpha * source[.., j, ..] along dim, in the order of j, in a new tensor.

    index has one dimension, as long as source's dimension dim; source has x's other sizes. Raises IndexError
    where an index is out of range, ValueError where the shapes do not fit.

    >>> import ranvier as rv
    >>> rv.index_add(rv.zeros(2, 2), 0, rv.tensor([1, 1]), rv.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([[0., 0.],
            [4., 6.]])
    """
    x, rows, source = (
        as_tensor("index_add", x),
        index_array("index_add", index, 1),
        as_tensor("index_add", source),
    )
    at = _dim("index_add", dim, x.ndim)
    if source.shape != (*x.shape[:at], rows.size, *x.shape[at + 1 :]):
        raise ValueError(
            f"[index_add] got x of shape {x.shape}, index of shape {rows.shape} and source of shape "
            f"{source.shape}; expected source to be as x, and as long as index along dimension {at}"
        )
    if alpha != 1:
        source = source * alpha
    places = rows.reshape((1,) * at + (-1,) + (1,) * (x.ndim - at - 1))
    return _scatter("index_add", x, at, np.broadcast_to(places, source.shape), source, add=True)


def scatter_(x: Tensor, dim: int, index: Any, src: Any = None, *, value: float | None = None) -> Tensor:
    """:func:`scatter` in place."""
    check_leaf(x, "scatter_")
    return assign(x, scatter(x, dim, index, src, value=value), "scatter_")


def scatter_add_(x: Tensor, dim: int, index: Any, src: Any) -> Tensor:
    """:func:`scatter_add` in place."""
    check_leaf(x, "scatter_add_")
    return assign(x, scatter_add(x, dim, index, src), "scatter_add_")


def index_add_(x: Tensor, dim: int, index: Any, source: Any, *, alpha: float = 1) -> Tensor:
    """:func:`index_add` in place."""
    check_leaf(x, "index_add_")
    return assign(x, index_add(x, dim, index, source, alpha=alpha), "index_add_")
