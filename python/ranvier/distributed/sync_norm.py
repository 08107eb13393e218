"""Batch norm with the statistics of all parts of a batch, added in float64 along one binary tree."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

import ranvier._core as _core
from ranvier.autograd import Function
from ranvier.distributed.meeting import Join

__all__ = ["SyncBatchNorm"]

Array = npt.NDArray[Any]


class SyncBatchNorm(Function):
    """y = (x - mean) rstd weight + bias, mean and rstd of all parts; forward sets `count`, `mean` and `var`.

    With sums over all parts, as for batch norm:

        dx = weight rstd (dy - (sum dy + xhat sum(dy xhat)) / count)

    The gradients of weight and bias are those of this part.
    """

    def __init__(self, join: Join, eps: float) -> None:
        self.join, self.eps = join, eps

    def forward(self, x: Array, weight: Array | None, bias: Array | None) -> Array:
        _core.batch_norm(x[:0], weight, bias)  # checks shapes and dtypes
        with np.errstate(all="ignore"):
            moments = self.join(_moments(x), _joined)
        self.count, self.mean, squares = _split(moments)
        if self.count == 1:
            raise ValueError(
                f"[batch_norm] got x of shape {x.shape} when training, and no other values on all ranks; "
                "expected more than 1 value per channel"
            )
        self.var = squares / max(self.count, 1.0)
        self.rstd = 1 / np.sqrt(self.var + self.eps)
        self.x, self.weight = x, weight
        scale = self.rstd if weight is None else self.rstd * weight
        return _affine(x, self.mean, scale, np.zeros(len(scale)) if bias is None else bias)

    def backward(self, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, weight = self.x, self.weight
        statistics = self.mean, self.rstd, False
        found: Any = _core.batch_norm_backward(dy, x, weight, *statistics, True, True, True)
        direct, dots, sums = found
        given = np.concatenate([dots, sums]).astype(np.float64)
        dot, total = np.split(self.join(given, np.add), 2)
        scale = self.rstd if weight is None else self.rstd * weight
        scale = -scale / max(self.count, 1.0)
        rest = _affine(x, self.mean, scale * dot * self.rstd, scale * total)
        _core.add(direct, rest, direct)
        wanted = zip(self.needs, (direct, dots, sums), strict=True)
        dx, dweight, dbias = (gradient if needed else None for needed, gradient in wanted)
        return dx, dweight, dbias


def _moments(x: Array) -> Array:
    """(1 + 2 C): the number of values of a channel, their means, and their sums of squared differences."""
    channels = x.shape[1]
    count = x.size // max(channels, 1)
    mean = squares = np.zeros(channels)
    if count == 1:
        mean = x.reshape(channels).astype(np.float64)
    elif x.size:
        _, mean, rstd = _core.batch_norm(x, training=True, eps=0.0)
        squares = count / (rstd * rstd)
    return np.concatenate([[count], mean, squares])


def _split(moments: Array) -> tuple[Any, Array, Array]:
    channels = moments.shape[-1] // 2
    return moments[..., 0], moments[..., 1 : 1 + channels], moments[..., 1 + channels :]


def _joined(a: Array, b: Array) -> Array:
    """The moments of two sets of values together: Chan, Golub and LeVeque (1979)."""
    (of_a, mean_a, squares_a), (of_b, mean_b, squares_b) = _split(a), _split(b)
    of_a, of_b = of_a[..., None], of_b[..., None]
    count = of_a + of_b
    share, apart = of_b / np.maximum(count, 1), mean_b - mean_a
    squares = squares_a + squares_b + apart * apart * of_a * share
    return np.concatenate([count, mean_a + apart * share, squares], -1)


def _affine(x: Array, mean: Array, scale: Array, shift: Array) -> Array:
    """(x - mean) scale + shift, by the kernel of batch norm with a mean that is rounded to x's dtype."""
    near = mean.astype(x.dtype)
    shift = shift + (near - mean) * scale
    one = np.ones_like(near)
    given = scale.astype(x.dtype), shift.astype(x.dtype), near, one
    y, _, _ = _core.batch_norm(x, *given, training=False, eps=0.0)
    return y
