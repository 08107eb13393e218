"""Losses of scores x (N, C, d1, ...) for C classes against class indices t (N, d1, ...).

Each function gives the loss of every line of C scores, the line's share in the divisor of a mean (1, or the
weight of its class), and the slopes by x and t. `ClassLoss` makes of these ``nll(x, t, reduction=...)`` and
``nll.backward(dy, x, t, reduction=...)``, as in loss.py.

Lines whose index is ``ignore_index`` have loss 0. ``weight`` (C,) has a factor for each class, or is None.
"""

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from reference.loss import reduced
from reference.softmax import log_softmax

Array = np.ndarray[Any, Any]
Parts = tuple[Array, Array, Array, Array | None]  # losses, shares, slopes by x and by t


class ClassLoss:
    def __init__(self, parts: Callable[..., Parts]) -> None:
        self.parts = parts
        functools.update_wrapper(self, parts)

    def __call__(self, x: Array, t: Array, reduction: str = "mean", **settings: Any) -> Array:
        losses, shares, _, _ = self.parts(x, t, **settings)
        with np.errstate(invalid="ignore"):  # the mean of nothing is NaN
            return losses if reduction == "none" else losses.sum() / _divisor(shares, reduction)

    def backward(
        self, dy: Array, x: Array, t: Array, reduction: str = "mean", **settings: Any
    ) -> tuple[Array, Array | None]:
        """The gradients: dy, divided like the loss, times each slope."""
        _, shares, by_x, by_t = self.parts(x, t, **settings)
        with np.errstate(divide="ignore", invalid="ignore"):
            dy = np.broadcast_to(dy / _divisor(shares, reduction), shares.shape)[:, None]
        return dy * by_x, None if by_t is None else dy * by_t


def _divisor(shares: Array, reduction: str) -> Any:
    return shares.sum() if reduction == "mean" else 1


def one_hot(t: Array, x: Array) -> Array:
    """Class indices as probabilities in the shape of x; all 0 for an index that is no class."""
    return (t[:, None] == _column(np.arange(x.shape[1]), x)).astype(x.dtype)


def _column(per_class: Array, x: Array) -> Array:
    """(C,) as (C, 1, ...), which broadcasts against x."""
    return per_class.reshape(-1, *[1] * (x.ndim - 2))


def _weights(x: Array, weight: Array | None) -> Array:
    return _column(np.ones(x.shape[1]) if weight is None else weight, x)


@ClassLoss
def cross_entropy(
    x: Array, t: Array, weight: Array | None = None, ignore_index: int = -100, label_smoothing: float = 0.0
) -> Parts:
    """-sum over c of q_c log(softmax(x)_c): x are logits, t may also be probabilities in the shape of x."""
    w, log_y, by_t = _weights(x, weight), log_softmax(x, 1), None
    uniform = label_smoothing / max(x.shape[1], 1)
    if t.dtype.kind == "f":
        q, shares = w * ((1 - label_smoothing) * t + uniform), np.ones((x.shape[0], *x.shape[2:]))
        by_t = -w * (1 - label_smoothing) * log_y
    else:
        used, target = (t != ignore_index)[:, None] * w, one_hot(t, x)
        q, shares = used * ((1 - label_smoothing) * target + uniform), (used * target).sum(1)
    return -(q * log_y).sum(1), shares, np.exp(log_y) * q.sum(1, keepdims=True) - q, by_t


@ClassLoss
def nll(x: Array, t: Array, weight: Array | None = None, ignore_index: int = -100) -> Parts:
    """Negative log-likelihood: x are log-probabilities."""
    q = (t != ignore_index)[:, None] * _weights(x, weight) * one_hot(t, x)
    return -(q * x).sum(1), q.sum(1), -q, None


# Losses that nn.functional alone has: values, no slopes.


def multi_margin(x, t, p=1, margin=1.0, weight=None, reduction="mean"):
    """How far each other class comes within a margin of the right one: the mean over classes. NaN is not
    above 0, and counts nothing."""
    right = np.take_along_axis(x, t[:, None], 1)
    excess = margin - right + x
    excess = np.where(excess > 0, excess, 0) ** p
    np.put_along_axis(excess, t[:, None], 0, 1)
    factor = 1 if weight is None else weight[t]
    return reduced(factor * excess.sum(1) / x.shape[1], reduction)


def multilabel_margin(x, t, reduction="mean"):
    """The same for each class that t lists before its first -1, against those that it does not list."""
    rows = []
    for scores, labels in zip(np.atleast_2d(x), np.atleast_2d(t), strict=True):
        listed = labels[: list(labels).index(-1)] if -1 in labels else labels
        others = np.delete(scores, listed)
        excess = 1 - scores[listed][:, None] + others
        rows.append(np.where(excess > 0, excess, 0).sum() / scores.size)
    losses = np.array(rows)
    return reduced(losses if x.ndim == 2 else losses[0], reduction)


def multilabel_soft_margin(x, t, weight=None, reduction="mean"):
    losses = t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x)
    return reduced((losses if weight is None else weight * losses).mean(1), reduction)
