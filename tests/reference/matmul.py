"""Matrix products in plain NumPy: three loops, of which NumPy runs the inner two."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def matmul(a: Array, b: Array) -> Array:
    """y[i, j] = sum over p of a[i, p] b[p, j]: a (..., m, k), b (..., k, n), y (..., m, n).

    A vector on the left is a row, on the right a column; the result loses that dimension.
    """
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    y = np.zeros((*batch, rows.shape[-2], columns.shape[-1]))
    for p in range(rows.shape[-1]):
        y += rows[..., :, p, None] * columns[..., None, p, :]  # (..., m, 1) (..., 1, n)
    return y.reshape(
        [*batch, *([] if a.ndim == 1 else [y.shape[-2]]), *([] if b.ndim == 1 else [y.shape[-1]])]
    )


def matmul_backward(dy: Array, a: Array, b: Array) -> tuple[Array, Array]:
    """da = dy b^T, db = a^T dy; what was repeated along leading dimensions is summed over them."""
    rows = a[None, :] if a.ndim == 1 else a
    columns = b[:, None] if b.ndim == 1 else b
    batch = np.broadcast_shapes(rows.shape[:-2], columns.shape[:-2])
    dy = np.asarray(dy).reshape(*batch, rows.shape[-2], columns.shape[-1])
    da = matmul(dy, np.swapaxes(columns, -1, -2))
    db = matmul(np.swapaxes(rows, -1, -2), dy)
    return _summed(da, rows).reshape(a.shape), _summed(db, columns).reshape(b.shape)


def _summed(dx: Array, x: Array) -> Array:
    """dx summed over the leading dimensions along which x was repeated."""
    dx = dx.sum(tuple(range(dx.ndim - x.ndim)))
    return dx.sum(tuple(d for d, n in enumerate(x.shape[:-2]) if n == 1), keepdims=True)


def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    """y = x W^T + b: x (..., in), W (out, in), b (out), y (..., out)."""
    y = matmul(x, weight.T)
    return y if bias is None else y + bias


def linear_backward(
    dy: Array, x: Array, weight: Array, bias: Array | None = None
) -> tuple[Array, Array, Array | None]:
    """dx = dy W, dW = dy^T x, db = sum of dy over everything but its last dimension."""
    dx = matmul(dy, weight)
    rows, columns = dy.reshape(-1, weight.shape[0]), x.reshape(-1, weight.shape[1])
    return dx, matmul(rows.T, columns), None if bias is None else rows.sum(0)


# einsum in plain NumPy: every operand over the whole grid of all indices, multiplied and added up.
#
# For "ij,jk->ik" the grid has the axes i, j, k; element (i, j, k) of the product is a[i, j] b[j, k], and is
# added to y[i, k]. This is slow, but it is the definition.


def _grid(equation: str, arrays: tuple[Array, ...]) -> tuple[list[tuple[Array, ...]], tuple[Array, ...]]:
    """For each operand, and for the result, the indices of each point of the grid; letters only."""
    left, right = equation.split("->")
    sizes: dict[str, int] = {}
    for letters, array in zip(left.split(","), arrays, strict=True):
        for letter, n in zip(letters, array.shape, strict=True):
            sizes[letter] = max(n, sizes.get(letter, 0)) if n else 0
    axes = dict(zip(sizes, np.indices(tuple(sizes.values())), strict=True))
    places = [
        tuple(axes[letter] % n for letter, n in zip(letters, array.shape, strict=True))  # size 1: place 0
        for letters, array in zip(left.split(","), arrays, strict=True)
    ]
    return places, tuple(axes[letter] for letter in right)


def _product(arrays: tuple[Array, ...], places: list[tuple[Array, ...]]) -> Any:
    result: Any = 1.0
    for array, place in zip(arrays, places, strict=True):
        result = result * array[place]
    return result


def _add_at(target: Array, places: tuple[Array, ...], values: Any) -> None:
    if places:
        np.add.at(target, places, values)
    else:  # one place for all
        target += np.sum(values)


def einsum(equation: str, *arrays: Array) -> Array:
    places, to = _grid(equation, arrays)
    y = np.zeros([int(axis.max()) + 1 if axis.size else 0 for axis in to])
    _add_at(y, to, _product(arrays, places))
    return y


def einsum_backward(dy: Array, equation: str, *arrays: Array) -> tuple[Array, ...]:
    """Each operand's element gets, from every point it is part of, dy times the other operands."""
    places, to = _grid(equation, arrays)
    gradients = []
    for i, array in enumerate(arrays):
        others = _product(arrays[:i] + arrays[i + 1 :], places[:i] + places[i + 1 :])
        dx = np.zeros(array.shape)
        _add_at(dx, places[i], np.asarray(dy)[to] * others)
        gradients.append(dx)
    return tuple(gradients)
