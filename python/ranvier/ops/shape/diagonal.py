"""diagonal, trace, tril, triu: the diagonal of matrices, and the elements on one side of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.memory import keep
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.choice import MaskedFill, masked_fill
from ranvier.ops.elementwise.dtypes import Array, as_tensor, is_floating
from ranvier.ops.layout import fill_part, zeros
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.rules import linear
from ranvier.ops.shape.reshape import some_dim

__all__ = ["diagonal", "trace", "tril", "triu"]
METHODS = [*__all__, "tril_", "triu_"]


class Diagonal(Function):
    """y[.., i] = x[.., i, .., i + offset, ..]"""

    is_view = True

    def __init__(self, offset: int, dim1: int, dim2: int) -> None:
        self.offset, self.dim1, self.dim2 = offset, dim1, dim2

    def _view(self, x: Array) -> Array:
        y = np.diagonal(x, self.offset, self.dim1, self.dim2)
        if x.flags.writeable:  # NumPy gives a read-only view
            y.flags.writeable = True
        return y

    def forward(self, x: Array) -> Array:
        self.shape = x.shape
        return self._view(x)

    def backward(self, dy: Array) -> Array:
        dx = zeros(self.shape, dy.dtype)
        fill_part(self._view(dx), dy)
        return dx


linear(Diagonal)


def diagonal(input: Any, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A view of x: the elements x[.., i, .., i + offset, ..] of dim1 and dim2, as a last dimension.

    Raises IndexError for a dimension that x lacks, ValueError where both are one.

    >>> import ranvier as rv
    >>> rv.diagonal(rv.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor([1., 4.])
    """
    input = as_tensor("diagonal", input)
    a, b = some_dim("diagonal", input, dim1), some_dim("diagonal", input, dim2)
    if isinstance(offset, bool) or not isinstance(offset, (int, np.integer)):
        raise TypeError(f"[diagonal] got offset {offset!r}; expected a whole number")
    if a == b:
        raise ValueError(f"[diagonal] got dimension {a} twice; expected two dimensions")
    most = max(input.shape)  # larger offsets: the diagonal is empty
    return Diagonal(min(max(int(offset), -most), most), a, b).apply(input)


def trace(input: Any) -> Tensor:
    """The sum of a matrix's diagonal. Raises ValueError unless x has 2 dimensions.

    >>> import ranvier as rv
    >>> rv.trace(rv.tensor([[1.0, 2.0], [3.0, 4.0]]))
    tensor(5.)
    """
    input = as_tensor("trace", input)
    if input.ndim != 2:
        raise ValueError(f"[trace] got x of shape {input.shape}; expected 2 dimensions")
    return total(diagonal(input))


class Triangle(MaskedFill):
    """y = x with zeros where a mask made by the op is true"""

    def release(self) -> None:  # the mask depends on the shape only: backward may run again
        return


def tril(input: Any, diagonal: int = 0) -> Tensor:
    """x (..., m, n) with zeros above the diagonal: y[i, j] = x[i, j] where j - i <= diagonal, else 0.

    Raises ValueError where x has fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> rv.tril(rv.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return _keep("tril", input, np.tri, diagonal)


def triu(input: Any, diagonal: int = 0) -> Tensor:
    """x (..., m, n) with zeros below the diagonal: y[i, j] = x[i, j] where j - i >= diagonal, else 0.

    Raises ValueError where x has fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> rv.triu(rv.ones(2, 2), 1)
    tensor([[0., 1.],
            [0., 0.]])
    """
    return _keep("triu", input, lambda m, n, k: 1 - np.tri(m, n, k - 1), diagonal)


def _keep(name: str, x: Any, triangle: Any, diagonal: int) -> Tensor:
    x = as_tensor(name, x)
    if not isinstance(diagonal, (int, np.integer)):
        raise TypeError(f"[{name}] got diagonal {diagonal!r}; expected a whole number")
    if x.ndim < 2:
        raise ValueError(f"[{name}] got x of shape {tuple(x.shape)}; expected at least 2 dimensions")
    rows, columns = x.shape[-2:]
    diagonal = min(max(int(diagonal), -rows - 1), columns + 1)  # larger values give the same
    outside = keep(triangle(rows, columns, diagonal) == 0)
    return Triangle(0.0).apply(x, outside) if is_floating(x) else masked_fill(x, outside, 0)
