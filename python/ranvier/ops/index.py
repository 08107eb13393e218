"""x[key] and gather: elements picked, and their gradients put back.

Integers, slices, None and Ellipsis give views. Integer and bool arrays or tensors pick copies; an element
picked several times receives the sum of its gradients, added in order, whatever the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier import _core
from ranvier.autograd.function import Function
from ranvier.autograd.inplace import raw_index
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.elementwise.dtypes import Array, as_tensor, is_floating
from ranvier.ops.layout import is_channels_last, zeros

_BASIC = (int, slice, type(None), type(Ellipsis), np.integer)


class GetItem(Function):
    """y = x[key] for a key of integers, slices, None and Ellipsis"""

    is_view = True

    def __init__(self, key: Any) -> None:
        self.key = key

    def forward(self, x: Array) -> Array:
        self.shape, self.channels_last = x.shape, is_channels_last(x)
        y = x[self.key]
        # one element comes as a number, which would be a copy: ask for the view
        if isinstance(y, np.ndarray):
            return y
        view = (*_tuple(self.key), Ellipsis)
        return x[view]

    def backward(self, dy: Array) -> Array:
        dx = zeros(self.shape, dy.dtype, self.channels_last)
        key = _tuple(self.key)
        view = key if Ellipsis in key else (*key, Ellipsis)
        _core.copy(dy, False, dx[view])
        return dx


class TakeRows(Function):
    """y[j, ...] = x[index[j], ...]"""

    def __init__(self, index: Array) -> None:
        self.index = index

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        y = _core.gather(x.reshape(x.shape[0], -1), self.index.reshape(-1, 1), 0, None)
        return y.reshape(self.index.shape + x.shape[1:])

    def backward(self, dy: Array) -> Array:
        flat = self.index.reshape(-1, 1)
        rows = dy.reshape(flat.size, -1) if dy.size else dy.reshape(flat.size, 0)
        return _core.scatter_add(rows, flat, 0, self.shape[0], None).reshape(self.shape)


class Pick(Function):
    """y = x[key] for any key: its gradient goes through the flat index of every picked element"""

    def __init__(self, key: Any) -> None:
        self.key = key

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return np.asarray(x[self.key])

    def backward(self, dy: Array) -> Array:
        size = int(np.prod(self.shape))
        flat = np.arange(size).reshape(self.shape)[self.key].reshape(-1)
        return _core.scatter_add(dy.reshape(-1), flat, 0, size, None).reshape(self.shape)


class Gather(Function):
    """y[.., j, ..] = x[.., index[.., j, ..], ..] along one axis"""

    def __init__(self, axis: int) -> None:
        self.axis = axis

    def forward(self, x: Array, index: Array) -> Array:
        self.index, self.length = index, x.shape[self.axis]
        return _core.gather(x, index, self.axis, None)

    def backward(self, dy: Array) -> tuple[Array, None]:
        return _core.scatter_add(dy, self.index, self.axis, self.length, None), None


def _tuple(key: Any) -> tuple[Any, ...]:
    return key if isinstance(key, tuple) else (key,)


def _is_basic(key: Any) -> bool:
    return all(isinstance(part, _BASIC) and not isinstance(part, (bool, np.bool_)) for part in _tuple(key))


def getitem(x: Any, key: Any) -> Tensor:
    """x[key]: a view for integers, slices, None and Ellipsis; a copy for integer and bool arrays.

    Raises IndexError where an index is out of range.

    >>> import ranvier as rv
    >>> x = rv.tensor([[1.0, 2.0], [3.0, 4.0]])
    >>> x[:, 1], x[x > 1.5]
    (tensor([2., 4.]), tensor([2., 3., 4.]))
    """
    if _is_basic(key):
        return GetItem(key).apply(x)
    key = raw_index(key)
    if isinstance(key, list):
        key = np.asarray(key)
    if _is_basic(key):
        return GetItem(key).apply(x)
    if not is_floating(x):
        return wrap(np.asarray(x._array[key]))
    rows = isinstance(key, np.ndarray) and key.dtype.kind in "iu" and x.ndim > 0 and x._array.size
    return (TakeRows(key) if rows else Pick(key)).apply(x)


def gather(x: Any, dim: int, index: Any) -> Tensor:
    """y[.., j, ..] = x[.., index[.., j, ..], ..] along dim.

    index: integers, as many dimensions as x; sizes 1 broadcast along the others. Raises IndexError where an
    index is out of range, ValueError where the shapes do not fit.

    >>> import ranvier as rv
    >>> rv.gather(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), 1, rv.tensor([[0], [1]]))
    tensor([[1.],
            [4.]])
    """
    x, index = as_tensor("gather", x), as_tensor("gather", index)
    if not is_floating(x):
        return wrap(np.take_along_axis(x._array, index._array, dim))
    return Gather(dim).apply(x, index)
