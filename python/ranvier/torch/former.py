"""Functions that PyTorch still has beside those of torch.linalg and torch.distributions."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import ranvier as rv

SVD = namedtuple("SVD", "U S V")


def svd(input: Any, some: bool = True, compute_uv: bool = True) -> SVD:
    """(U, S, V) with input = U diag(S) V^T; some: without the columns for singular values that are not there.

    compute_uv=False: U and V are zeros.

    >>> import ranvier as rv
    >>> u, s, v = svd(rv.tensor([[0.0, 2.0], [1.0, 0.0]]))
    >>> (u @ rv.diag(s) @ v.mT).round(decimals=4).tolist()
    [[0.0, 2.0], [1.0, 0.0]]
    """
    u, s, vh = rv.linalg.svd(input, full_matrices=not some)
    if not compute_uv:
        return SVD(rv.zeros_like(u), s, rv.zeros_like(vh.mT))
    return SVD(u, s, vh.mT)


def scale_tril(P: Any) -> rv.Tensor:
    """The lower triangular L with L L^T the inverse of P.

    >>> scale_tril(rv.tensor([[4.0]]))
    tensor([[0.5000]])
    """
    return rv.linalg.cholesky(rv.linalg.inv(P))


def clipped_sigmoid(x: Any) -> rv.Tensor:
    """The sigmoid, neither 0 nor 1."""
    limits = rv.finfo(x.dtype)
    return rv.clamp(rv.sigmoid(x), min=limits.tiny, max=1.0 - limits.eps)
