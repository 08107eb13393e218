"""mm, bmm, mv, dot, outer: matrix products of operands with a fixed number of dimensions."""

from __future__ import annotations

from typing import Any

from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise import mul
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.matmul import matmul
from ranvier.ops.shape import reshape

__all__ = ["bmm", "dot", "mm", "mv", "outer"]
METHODS = __all__


def mm(a: Any, b: Any) -> Tensor:
    """The product of two matrices: (m, k) (k, n) -> (m, n). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.mm(rv.tensor([[1.0, 2.0]]), rv.tensor([[3.0], [4.0]]))
    tensor([[11.]])
    """
    return matmul(*_of("mm", a, b, 2, 2))


def bmm(a: Any, b: Any) -> Tensor:
    """The products of two stacks of matrices: (n, m, k) (n, k, p) -> (n, m, p); the stacks do not broadcast.

    Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.bmm(rv.ones(5, 2, 3), rv.ones(5, 3, 4)).shape
    (5, 2, 4)
    """
    a, b = _of("bmm", a, b, 3, 3)
    if a.shape[0] != b.shape[0]:
        raise ValueError(f"[bmm] got shapes {a.shape} and {b.shape}; expected as many matrices")
    return matmul(a, b)


def mv(a: Any, b: Any) -> Tensor:
    """The product of a matrix and a vector: (m, k) (k) -> (m). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.mv(rv.tensor([[1.0, 2.0], [3.0, 4.0]]), rv.tensor([1.0, 1.0]))
    tensor([3., 7.])
    """
    return matmul(*_of("mv", a, b, 2, 1))


def dot(a: Any, b: Any) -> Tensor:
    """The sum of the products of two vectors' elements: (n) (n) -> (). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.dot(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor(11.)
    """
    return matmul(*_of("dot", a, b, 1, 1))


def outer(a: Any, b: Any) -> Tensor:
    """y[i, j] = a[i] b[j] for vectors: (m) (n) -> (m, n). Raises ValueError for other shapes.

    >>> import ranvier as rv
    >>> rv.outer(rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0]))
    tensor([[3., 4.],
            [6., 8.]])
    """
    a, b = _of("outer", a, b, 1, 1)
    return mul(reshape(a, -1, 1), b)


def _of(name: str, a: Any, b: Any, ndim_a: int, ndim_b: int) -> tuple[Tensor, Tensor]:
    a, b = as_tensor(name, a), as_tensor(name, b)
    if (a.ndim, b.ndim) != (ndim_a, ndim_b):
        raise ValueError(
            f"[{name}] got shapes {a.shape} and {b.shape}; expected {ndim_a} and {ndim_b} dimensions"
        )
    return a, b
