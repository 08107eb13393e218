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
