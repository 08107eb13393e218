"""The Kullback-Leibler divergence between two distributions."""

from __future__ import annotations

from typing import Any

import ranvier.ops as ops
from ranvier.autograd.tensor import Tensor
from ranvier.distributions.base import Independent
from ranvier.distributions.continuous import Exponential, Laplace, Normal, Uniform
from ranvier.distributions.counting import Poisson
from ranvier.distributions.discrete import Bernoulli, Categorical
from ranvier.distributions.gamma import Beta, Dirichlet, Gamma
from ranvier.distributions.multivariate import MultivariateNormal
from ranvier.ops.numeric.matrices import solve


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


def _limits(terms: Tensor, never: Tensor, impossible: Tensor) -> Tensor:
    """p log(p / q): 0 where p is 0, infinite where q alone is."""
    return ops.where(never, 0.0, ops.where(impossible, float("inf"), terms))


def _bernoulli(p: Any, q: Any) -> Tensor:
    success = p.probs * (ops.softplus(-q.logits) - ops.softplus(-p.logits))
    failure = (1 - p.probs) * (ops.softplus(q.logits) - ops.softplus(p.logits))
    success = _limits(success, ops.eq(p.probs, 0), ops.eq(q.probs, 0))
    return success + _limits(failure, ops.eq(p.probs, 1), ops.eq(q.probs, 1))


def _categorical(p: Any, q: Any) -> Tensor:
    terms = p.probs * ops.where(p.probs > 0, p.logits - q.logits, 0.0)
    return ops.sum(_limits(terms, ops.eq(p.probs, 0), ops.eq(q.probs, 0)), -1)


def _poisson(p: Any, q: Any) -> Tensor:
    return ops.xlogy(p.rate, p.rate / q.rate) - (p.rate - q.rate)


def _gamma(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    return (
        b * ops.log(p.rate / q.rate)
        + (ops.lgamma(b) - ops.lgamma(a))
        + (a - b) * ops.digamma(a)
        + (q.rate - p.rate) * (a / p.rate)
    )


def _dirichlet(p: Any, q: Any) -> Tensor:
    a, b = p.concentration, q.concentration
    slopes = ops.digamma(a) - ops.digamma(ops.sum(a, -1, True))
    return q._log_norm() - p._log_norm() + ops.sum((a - b) * slopes, -1)


def _beta(p: Any, q: Any) -> Tensor:
    return _dirichlet(p._parts, q._parts)


def _multivariate(p: Any, q: Any) -> Tensor:
    n = p.event_shape[0]
    lower = ops.tril(q.scale_tril)
    shift = solve(lower, ops.unsqueeze(q.loc - p.loc, -1))
    factor = solve(lower, ops.tril(p.scale_tril))
    distance = ops.sum(factor * factor, (-2, -1)) + ops.sum(shift * shift, (-2, -1))
    return q._half_logdet() - p._half_logdet() + 0.5 * (distance - n)


_FORMULAS = {
    Normal: _normal,
    Laplace: _laplace,
    Uniform: _uniform,
    Exponential: _exponential,
    Bernoulli: _bernoulli,
    Categorical: _categorical,
    Poisson: _poisson,
    Gamma: _gamma,
    Beta: _beta,
    Dirichlet: _dirichlet,
    MultivariateNormal: _multivariate,
}


def kl_divergence(p: Any, q: Any) -> Tensor:
    """The mean under p of log p(x) - log q(x).

    For two of Normal (LogNormal too), MultivariateNormal, Laplace, Uniform, Exponential, Gamma, Beta,
    Dirichlet, Bernoulli, Categorical (OneHotCategorical too), Poisson or Independent of them; raises
    TypeError for others.

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
