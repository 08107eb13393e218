"""Functions of matrices that PyTorch has under older names."""

from __future__ import annotations

import ranvier as rv

__all__ = ["svd"]


def svd(input: rv.Tensor, some: bool = True) -> tuple[rv.Tensor, rv.Tensor, rv.Tensor]:
    """U, S and V, not its transpose, of input = U @ diag(S) @ V.T.

    >>> import ranvier as rv
    >>> [x.shape for x in svd(rv.ones(3, 2))]
    [(3, 2), (2,), (2, 2)]
    """
    u, s, vh = rv.linalg.svd(input, full_matrices=not some)
    return u, s, vh.transpose(-2, -1)
