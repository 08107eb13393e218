"""The Kullback-Leibler divergence between two distributions."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor
from ranvier.distributions.base import Independent
from ranvier.distributions.continuous import Exponential, Laplace, Normal, Uniform
from ranvier.distributions.discrete import Bernoulli, Categorical


def _normal(p: Any, q: Any) -> Tensor:
    ratio, shift = p.scale / q.scale, (p.loc - q.loc) / q.scale
    return 0.5 * (ratio * ratio + shift * shift - 1) - ops.log(ratio)


def _laplace(p: Any, q: Any) -> Tensor:
    ratio, distance = p.scale / q.scale, ops.abs(p.loc - q.loc)
    return -ops.log(ratio) + distance / q.scale + ratio * ops.exp(-distance / p.scale) - 1


def _uniform(p: Any, q: Any) -> Tensor:
    inside = (q.low <= p.low) & (q.high >= p.high)
    return ops.where(inside, ops.log((q.high - q.low) / (p.high - p.low)), float("inf"))


def _exponential(p: Any, q: Any) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ops.log(ratio) - 1


def _bernoulli(p: Any, q: Any) -> Tensor:
    return p.probs * (p.logits - q.logits) - ops.softplus(p.logits) + ops.softplus(q.logits)


def _categorical(p: Any, q: Any) -> Tensor:
    return ops.sum(p.probs * ops.where(p.probs > 0, p.logits - q.logits, 0.0), -1)


_FORMULAS = {
    Normal: _normal,
    Laplace: _laplace,
    Uniform: _uniform,
    Exponential: _exponential,
    Bernoulli: _bernoulli,
    Categorical: _categorical,
}


def kl_divergence(p: Any, q: Any) -> Tensor:
    """The mean under p of log p(x) - log q(x).

    For two of Normal (LogNormal too), Laplace, Uniform, Exponential, Bernoulli, Categorical
    (OneHotCategorical too) or Independent of them; raises TypeError for others.

    >>> import ranvier as rv
    >>> rv.distributions.kl_divergence(rv.distributions.Bernoulli(0.5), rv.distributions.Bernoulli(0.25))
    tensor(0.1438)
    """
    if isinstance(p, Independent) and isinstance(q, Independent) and len(p._dims) == len(q._dims):
        return p._summed(kl_divergence(p.base_dist, q.base_dist))
    if type(p) is type(q):
        for kind, formula in _FORMULAS.items():
            if isinstance(p, kind):
                return formula(p, q)
    raise TypeError(
        f"[kl_divergence] got {type(p).__name__} and {type(q).__name__}; expected two of the same kind"
    )
