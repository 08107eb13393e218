"""matrix_exp: the exponential of a matrix, computed by NumPy. forward saves the matrix for the gradient,
which is the exponential of a larger one."""

from __future__ import annotations

import numpy as np

from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.gradient_rules import by_rule
from ranvier.ops.matrix.inverse import matrix
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import transpose
from ranvier.tape.function import Function, in_dtypes
from ranvier.tape.higher_order import of_input, rule
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike


class MatrixExp(Function):
    """exp(A) (..., n, n); dA is the upper right block of exp([[A^T, dy], [0, A^T]])"""

    by_numpy = True  # NumPy computes it, not the core
    backward = by_rule

    def forward(self, A: Array) -> Array:
        self.A = A
        return _scaled(A.astype(np.float64)).astype(A.dtype)


@rule(MatrixExp)
def _of_matrix_exp(node: MatrixExp, dy: Tensor) -> Tensor:
    """The gradient as the exponential of a block matrix: Najfeld and Havel (1995)."""
    turned = transpose(of_input(node, 0, node.A), -1, -2)
    n = turned.shape[-1]
    upper = cat([turned, dy], -1)
    lower = cat([turned * 0.0, turned], -1)
    blocks = cat([upper, lower], -2)
    return MatrixExp().apply(blocks)[..., :n, n:]


def _scaled(A: Array) -> Array:
    """exp(A) by scaling and squaring: the Taylor series of exp(A / 2^s), squared s times.

    s is such that |A / 2^s| <= 1/2; the terms after order 18 are below 1e-22.
    """
    norms = np.abs(A).sum(-2).max(-1, initial=0.0)
    halvings = np.ceil(np.log2(np.maximum(norms, 0.5))) + 1
    if not np.isfinite(halvings).all():
        return np.full_like(A, np.nan)
    x = A / 2.0 ** halvings[..., None, None]
    one = np.broadcast_to(np.eye(A.shape[-1]), A.shape)
    y = one
    for k in range(18, 0, -1):
        y = one + x @ y / k
    for i in range(int(halvings.max(initial=0))):
        y = np.where(i < halvings[..., None, None], y @ y, y)
    return np.asarray(y)


@in_dtypes()
def matrix_exp(input: TensorLike) -> Tensor:
    """exp(A) = I + A + A A / 2 + ... of each matrix A (..., n, n) of the input.

    >>> import ranvier as rv
    >>> rv.linalg.matrix_exp(rv.tensor([[0.0, 1.0], [0.0, 0.0]]))
    tensor([[1., 1.],
            [0., 1.]])
    """
    return MatrixExp().apply(matrix("matrix_exp", input))
