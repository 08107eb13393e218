"""Which matrices are computed one in each lane; cpp/kernels/factor and LAPACK compute the others.

The kernels (cpp/kernels/small_matrices) have a matrix in each lane of a vector. So a stack of small matrices
takes a fraction of the time, while a single larger matrix leaves most lanes unused.
"""

from __future__ import annotations

import math

from ranvier.ops.elementwise.dtypes import Array

_MOST = 32  # rows and columns that the kernels take
_FEW = 16  # up to this many, the kernels are faster for a single matrix, too

# Jacobi's rotations: the most rows, and the number of matrices from which on they pay.
_ROTATED = ((8, 1), (16, 4), (24, 8))


def eliminates(A: Array) -> bool:
    """True if the kernels are faster for A (..., m, n) where a matrix takes one pass: factors, systems of
    equations, determinants. That does not depend on the number of matrices in a stack, so that the bits of a
    matrix do not, either."""
    is_stack = A.ndim > 2
    return max(A.shape[-2:]) <= (_MOST if is_stack else _FEW)


def solves(A: Array, b: Array) -> bool:
    """The same for A^-1 b. Many columns of b fill vectors without a stack."""
    return eliminates(A) and b.shape[-1] <= _MOST


def rotates(A: Array) -> bool:
    """True if the kernels are faster for A (..., m, n) where a matrix takes many rotations: eigenvectors."""
    size = max(A.shape[-2:])
    count = math.prod(A.shape[:-2])
    return any(size <= most and count >= stack for most, stack in _ROTATED)
