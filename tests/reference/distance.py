"""Similarity and distance of vectors along one axis, which the result lacks; x1 and x2 have one shape."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


# --- the cosine of the angle between them; norms are at least eps


def cosine_similarity(x1: Array, x2: Array, axis: int = 1, eps: float = 1e-8) -> Array:
    norm1, norm2 = (np.maximum(np.linalg.norm(x, axis=axis), eps) for x in (x1, x2))
    return (x1 * x2).sum(axis) / (norm1 * norm2)


def cosine_similarity_backward(
    dy: Array, x1: Array, x2: Array, axis: int = 1, eps: float = 1e-8
) -> tuple[Array, Array]:
    """d(a.b / (|a| |b|)) / da = b / (|a| |b|) - y a / |a|^2; a norm held at eps does not change with a."""
    y = np.expand_dims(cosine_similarity(x1, x2, axis, eps), axis)
    norm1, norm2 = (np.linalg.norm(x, axis=axis, keepdims=True) for x in (x1, x2))
    n1, n2 = np.maximum(norm1, eps), np.maximum(norm2, eps)
    dy = np.expand_dims(dy, axis)
    dx1 = dy * (x2 / (n1 * n2) - (norm1 >= eps) * y * x1 / n1**2)
    dx2 = dy * (x1 / (n1 * n2) - (norm2 >= eps) * y * x2 / n2**2)
    return dx1, dx2


# --- the p-norm of their difference, to which eps is added


def pairwise_distance(x1: Array, x2: Array, axis: int = -1, p: float = 2.0, eps: float = 1e-6) -> Array:
    d = np.abs(x1 - x2 + eps)
    if p == 0:  # how many differ; NaN where one is
        return np.where(np.isnan(d), d, d != 0).sum(axis).astype(d.dtype)
    return d.max(axis, initial=0) if np.isinf(p) else (d**p).sum(axis) ** (1 / p)


def pairwise_distance_backward(
    dy: Array, x1: Array, x2: Array, axis: int = -1, p: float = 2.0, eps: float = 1e-6
) -> tuple[Array, Array]:
    """dy_i / dd_i = sign(d_i) (|d_i| / y)^(p - 1); for p infinite, where |d_i| is the largest, shared."""
    d, dy = x1 - x2 + eps, np.expand_dims(dy, axis)
    y = np.expand_dims(pairwise_distance(x1, x2, axis, p, eps), axis)
    if p == 0:
        slope = np.zeros_like(d)
    elif np.isinf(p):
        slope = (np.abs(d) == y) / (np.abs(d) == y).sum(axis, keepdims=True)
    else:
        slope = (np.abs(d) / y) ** (p - 1)
    dx = dy * np.sign(d) * slope
    return dx, -dx
