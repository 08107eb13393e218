"""The lower or upper triangle of a matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.recording import keep
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise import masked_fill
from ranvier.ops.elementwise.dtypes import as_tensor, is_floating
from ranvier.ops.elementwise.where import MaskedFill

__all__ = ["tril", "triu"]
METHODS = __all__


class Triangle(MaskedFill):
    """y = x with zeros where a mask made by the op is true"""

    def release(self) -> None:  # the mask depends on the shape only: backward may run again
        return


def tril(x: Any, diagonal: int = 0) -> Tensor:
    """x (..., m, n) with zeros above the diagonal: y[i, j] = x[i, j] where j - i <= diagonal, else 0.

    Raises ValueError where x has fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> rv.tril(rv.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """
    return _keep("tril", x, np.tri, diagonal)


def triu(x: Any, diagonal: int = 0) -> Tensor:
    """x (..., m, n) with zeros below the diagonal: y[i, j] = x[i, j] where j - i >= diagonal, else 0.

    Raises ValueError where x has fewer than 2 dimensions.

    >>> import ranvier as rv
    >>> rv.triu(rv.ones(2, 2), 1)
    tensor([[0., 1.],
            [0., 0.]])
    """
    return _keep("triu", x, lambda m, n, k: 1 - np.tri(m, n, k - 1), diagonal)


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
