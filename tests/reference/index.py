"""Elements picked and put along an axis, in plain NumPy loops over the places of the index.

index has as many dimensions as x. It may be smaller than src, and than x except along the axis: only that
corner is used.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def _places(index: Array, axis: int) -> tuple[Array, ...]:
    """For each element of index, the place it points to: its own, but with the index along the axis."""
    places: list[Any] = list(np.indices(index.shape))
    places[axis] = index
    return tuple(places)


def gather(x: Array, index: Array, axis: int) -> Array:
    """y[.., j, ..] = x[.., index[.., j, ..], ..]"""
    return x[_places(index, axis)]


def scatter(x: Array, index: Array, src: Array, axis: int) -> Array:
    """y = x, then y[.., index[.., j, ..], ..] = src[.., j, ..]; the last j stays."""
    y = x.copy()
    for place in np.ndindex(index.shape):  # in C order, so j rises
        to = (*place[:axis], index[place], *place[axis + 1 :])
        y[to] = src[place]
    return y


def scatter_add(x: Array, index: Array, src: Array, axis: int) -> Array:
    """y = x, then y[.., index[.., j, ..], ..] += src[.., j, ..]"""
    y = x.copy()
    np.add.at(y, _places(index, axis), src[tuple(map(slice, index.shape))])
    return y


def index_add(x: Array, index: Array, source: Array, axis: int, alpha: float = 1) -> Array:
    """y = x, then y[.., index[j], ..] += alpha source[.., j, ..]"""
    y = np.moveaxis(x.copy(), axis, 0)
    for j, at in enumerate(index):
        y[at] += alpha * np.moveaxis(source, axis, 0)[j]
    return np.moveaxis(y, 0, axis)


def index_add_backward(
    dy: Array, x: Array, index: Array, source: Array, axis: int, alpha: float = 1
) -> tuple[Array, Array]:
    return dy, alpha * np.take(dy, index, axis)


# Embedding: rows of a table picked by number.
#
# y[i] = weight[index[i]]. It is a matrix product with one-hot rows, without the zeros; so its gradient adds
# each row of dy to the row of the table that it came from.


def embedding(index: Array, weight: Array) -> Array:
    return weight[index]


def embedding_backward(
    dy: Array, index: Array, rows: int, padding: int | None = None, by_frequency: bool = False
) -> Array:
    """padding: a row that gets no gradient. by_frequency: the mean of a row's gradients, not their sum."""
    dweight = np.zeros((rows, dy.shape[-1]), dy.dtype)
    flat = index.reshape(-1)
    np.add.at(dweight, flat, dy.reshape(flat.size, dy.shape[-1]))
    if by_frequency:
        dweight /= np.maximum(np.bincount(flat, minlength=rows), 1)[:, None]
    if padding is not None:
        dweight[padding] = 0
    return dweight
