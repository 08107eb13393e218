"""The Kullback-Leibler divergence between two distributions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

import ranvier.ops as ops
from ranvier import full
from ranvier.autograd import Tensor
from ranvier.distributions.base import Distribution, Independent
from ranvier.distributions.continuous import Exponential, Laplace, MultivariateNormal, Normal, Uniform
from ranvier.distributions.counting import Binomial, Geometric, Poisson
from ranvier.distributions.discrete import Bernoulli, Categorical, OneHotCategorical
from ranvier.distributions.gamma import Beta, Dirichlet, Gamma
from ranvier.distributions.heavy_tailed import EULER, Cauchy, Gumbel
from ranvier.distributions.transforms import TransformedDistribution
from ranvier.linalg import solve_triangular
from ranvier.settings import defined


def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = p.scale / q.scale
    shift = (p.loc - q.loc) / q.scale
    return 0.5 * (ratio * ratio + shift * shift - 1) - ops.log(ratio)


def _laplace(p: Laplace, q: Laplace) -> Tensor:
    ratio = p.scale / q.scale
    distance = ops.abs(p.loc - q.loc)
    return -ops.log(ratio) + distance / q.scale + ratio * ops.exp(-distance / p.scale) - 1


def _uniform(p: Uniform, q: Uniform) -> Tensor:
    inside = (q.low <= p.low) & (q.high >= p.high)
    return ops.where(inside, ops.log((q.high - q.low) / (p.high - p.low)), float("inf"))


def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ops.log(ratio) - 1


def _limits(terms: Tensor, never: Tensor, impossible: Tensor) -> Tensor:
    """The terms p log(p / q), with 0 where p is 0 (never) and infinity where only q is 0 (impossible)."""
    return ops.where(never, 0.0, ops.where(impossible, float("inf"), terms))


def _bernoulli(p: Bernoulli | Binomial, q: Bernoulli | Binomial) -> Tensor:
    success = p.probs * (ops.softplus(-q.logits) - ops.softplus(-p.logits))
    failure = (1 - p.probs) * (ops.softplus(q.logits) - ops.softplus(p.logits))
    success = _limits(success, ops.eq(p.probs, 0), ops.eq(q.probs, 0))
    return success + _limits(failure, ops.eq(p.probs, 1), ops.eq(q.probs, 1))


def _categorical(p: Categorical | OneHotCategorical, q: Categorical | OneHotCategorical) -> Tensor:
    terms = p.probs * ops.where(p.probs > 0, p.logits - q.logits, 0.0)
    return ops.sum(_limits(terms, ops.eq(p.probs, 0), ops.eq(q.probs, 0)), -1)


def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a = p.concentration
    b = q.concentration
    return (
        b * ops.log(p.rate / q.rate)
        + (ops.lgamma(b) - ops.lgamma(a))
        + (a - b) * ops.digamma(a)
        + (q.rate - p.rate) * (a / p.rate)
    )


def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    a = p.concentration
    b = q.concentration
    slopes = ops.digamma(a) - ops.digamma(ops.sum(a, -1, True))
    return q._log_norm() - p._log_norm() + ops.sum((a - b) * slopes, -1)


def _multivariate(p: MultivariateNormal, q: MultivariateNormal) -> Tensor:
    n = p._event_shape[0]
    lower = q._unbroadcasted_scale_tril
    shift = solve_triangular(lower, ops.unsqueeze(q.loc - p.loc, -1), upper=False)
    factor = solve_triangular(lower, ops.tril(p._unbroadcasted_scale_tril), upper=False)
    distance = ops.sum(factor * factor, (-2, -1)) + ops.sum(shift * shift, (-2, -1))
    return q._half_logdet() - p._half_logdet() + 0.5 * (distance - n)


def _binomial(p: Binomial, q: Binomial) -> Tensor:
    n = p.total_count
    if bool(ops.any(n < q.total_count)):
        raise NotImplementedError(
            "[kl_divergence] got fewer trials of p than of q; expected at least as many"
        )
    trials = ops.where(n > q.total_count, math.inf, n)
    share = _bernoulli(p, q)
    return ops.where(ops.eq(trials, 0), 0.0, trials * share)


def _geometric(p: Geometric, q: Geometric) -> Tensor:
    failures = ops.where(ops.eq(p.probs, 1), 0.0, p.mean * ops.log1p(-q.probs))
    return -p.entropy() - failures - ops.log(q.probs)


def _gumbel(p: Gumbel, q: Gumbel) -> Tensor:
    ratio = p.scale / q.scale
    shift = (q.loc - p.loc) / q.scale
    return -ops.log(ratio) - shift + ratio * EULER + ops.exp(shift + ops.lgamma(1 + ratio)) - (1 + EULER)


def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    scales = p.scale + q.scale
    shift = p.loc - q.loc
    return ops.log(scales * scales + shift * shift) - ops.log(4 * p.scale * q.scale)


def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return ops.xlogy(p.rate, p.rate / q.rate) - (p.rate - q.rate)


def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError(
            "[kl_divergence] got other transforms of p than of q; expected the same ones"
        )
    return kl_divergence(p.base_dist, q.base_dist)


def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError("[kl_divergence] got events of other dimensions; expected as many of both")
    return p._summed(kl_divergence(p.base_dist, q.base_dist))


# --- p and q of different classes: KL = -entropy(p) - (mean of log q(x) under p)
def _to_normal(p: Distribution, q: Normal) -> Tensor:
    away = p.mean - q.loc
    spread = (p.variance + away * away) / (2 * q.scale * q.scale)
    return spread + ops.log(q.scale) + 0.5 * math.log(2 * math.pi) - p.entropy()


def _mean_log(p: Beta | Exponential | Uniform) -> Tensor:
    """The mean of log x for Beta, Exponential and Uniform."""
    if isinstance(p, Beta):
        return ops.digamma(p.concentration1) - ops.digamma(p.concentration1 + p.concentration0)
    if isinstance(p, Exponential):
        return -EULER - ops.log(p.rate)
    return (ops.xlogy(p.high, p.high) - ops.xlogy(p.low, p.low)) / (p.high - p.low) - 1


def _low(p: Distribution) -> Any:
    """A mask of the distributions that have values below 0, which only a Uniform can have here: for the
    others, whose mean is above 0, it is False everywhere."""
    if isinstance(p, Uniform):
        return p.low < 0
    return p.mean < 0


def _to_gamma(p: Beta | Exponential | Uniform, q: Gamma) -> Tensor:
    a = q.concentration
    norm = ops.lgamma(a) - a * ops.log(q.rate)
    return ops.where(_low(p), math.inf, q.rate * p.mean - (a - 1) * _mean_log(p) + norm - p.entropy())


def _to_beta(p: Uniform, q: Beta) -> Tensor:
    """p is a Uniform."""
    a = q.concentration1
    b = q.concentration0
    turned = Uniform(1 - p.high, 1 - p.low, False)  # the distribution of 1 - x
    logs = (a - 1) * _mean_log(p) + (b - 1) * _mean_log(turned)
    outside = (p.low < 0) | (p.high > 1)
    return ops.where(outside, math.inf, q._dirichlet._log_norm() - logs - p.entropy())


def _to_uniform(p: Beta, q: Uniform) -> Tensor:
    """p is a Beta."""
    outside = (q.low > 0) | (q.high < 1)
    return ops.where(outside, math.inf, ops.log(q.high - q.low) - p.entropy())


def _to_gumbel(p: Exponential | Gamma | Normal | Uniform, q: Gumbel) -> Tensor:
    """KL(p, q) from the mean of exp(-x / q.scale) under p."""
    t = 1 / q.scale
    if isinstance(p, Normal):
        log_mean = 0.5 * (p.scale * t) ** 2 - p.loc * t
    elif isinstance(p, Uniform):
        log_mean = ops.log(-ops.expm1((p.low - p.high) * t) / ((p.high - p.low) * t)) - p.low * t
    else:  # Gamma; an Exponential is one of concentration 1
        concentration = getattr(p, "concentration", 1.0)
        log_mean = -concentration * ops.log1p(t / p.rate)
    return (p.mean - q.loc) * t + ops.exp(log_mean + q.loc * t) + ops.log(q.scale) - p.entropy()


def _normal_to_laplace(p: Normal, q: Laplace) -> Tensor:
    z = (p.loc - q.loc) / (p.scale * math.sqrt(2))
    distance = p.scale * math.sqrt(2) * (ops.exp(-z * z) / math.sqrt(math.pi) + z * ops.erf(z))
    return distance / q.scale + ops.log(2 * q.scale) - p.entropy()


def _infinite(p: Distribution, q: Distribution) -> Tensor:
    """p has values that q never takes."""
    return full(np.broadcast_shapes(p.batch_shape, q.batch_shape), math.inf, dtype=p.mean.dtype)


def _bernoulli_to_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return q.rate - p.probs * ops.log(q.rate) - p.entropy()  # log x! is 0 for x = 0 and x = 1


def _to_exponential(p: Beta | Gamma | Uniform, q: Exponential) -> Tensor:
    finite = q.rate * p.mean - ops.log(q.rate) - p.entropy()
    return ops.where(_low(p), math.inf, finite)


Divergence: TypeAlias = Callable[[Any, Any], Tensor]
"""The divergence of two distributions, each of the class for which it is registered."""

_REGISTRY: dict[tuple[type, type], Divergence] = {
    (Normal, Normal): _normal,
    (Laplace, Laplace): _laplace,
    (Uniform, Uniform): _uniform,
    (Exponential, Exponential): _exponential,
    (Bernoulli, Bernoulli): _bernoulli,
    (Binomial, Binomial): _binomial,
    (Categorical, Categorical): _categorical,
    (OneHotCategorical, OneHotCategorical): _categorical,
    (Geometric, Geometric): _geometric,
    (Poisson, Poisson): _poisson,
    (Gamma, Gamma): _gamma,
    (Beta, Beta): _beta,
    (Dirichlet, Dirichlet): _dirichlet,
    (Gumbel, Gumbel): _gumbel,
    (Cauchy, Cauchy): _cauchy,
    (MultivariateNormal, MultivariateNormal): _multivariate,
    (TransformedDistribution, TransformedDistribution): _transformed,
    (Independent, Independent): _independent,
    (Normal, Laplace): _normal_to_laplace,
    (Bernoulli, Poisson): _bernoulli_to_poisson,
    (Beta, Uniform): _to_uniform,
    (Uniform, Beta): _to_beta,
    (Beta, Normal): _to_normal,
    (Exponential, Normal): _to_normal,
    (Gamma, Normal): _to_normal,
    (Gumbel, Normal): _to_normal,
    (Laplace, Normal): _to_normal,
    (Uniform, Normal): _to_normal,
    (Beta, Exponential): _to_exponential,
    (Gamma, Exponential): _to_exponential,
    (Uniform, Exponential): _to_exponential,
    (Beta, Gamma): _to_gamma,
    (Exponential, Gamma): _to_gamma,
    (Uniform, Gamma): _to_gamma,
    (Exponential, Gumbel): _to_gumbel,
    (Gamma, Gumbel): _to_gumbel,
    (Normal, Gumbel): _to_gumbel,
    (Uniform, Gumbel): _to_gumbel,
    (Gumbel, Beta): _infinite,
    (Gumbel, Exponential): _infinite,
    (Gumbel, Gamma): _infinite,
    (Laplace, Beta): _infinite,
    (Laplace, Exponential): _infinite,
    (Laplace, Gamma): _infinite,
    (Normal, Beta): _infinite,
    (Normal, Exponential): _infinite,
    (Normal, Gamma): _infinite,
    (Exponential, Uniform): _infinite,
    (Gamma, Uniform): _infinite,
    (Gumbel, Uniform): _infinite,
    (Laplace, Uniform): _infinite,
    (Normal, Uniform): _infinite,
    (Exponential, Beta): _infinite,
    (Gamma, Beta): _infinite,
    (Poisson, Bernoulli): _infinite,
    (Poisson, Binomial): _infinite,
}


def register_kl(type_p: type, type_q: type) -> Callable[[Divergence], Divergence]:
    """A decorator: kl_divergence of these two classes, and of their subclasses, calls the function.

    >>> from ranvier.distributions import Normal, StudentT, register_kl
    >>> @register_kl(StudentT, Normal)
    ... def from_student(p, q):
    ...     return ((p.rsample((1000,)) - q.loc) / q.scale).square().mean(0)
    """
    if not all(isinstance(kind, type) for kind in (type_p, type_q)):
        raise TypeError(f"[register_kl] got {type_p!r} and {type_q!r}; expected two classes")

    def keep(function: Divergence) -> Divergence:
        _REGISTRY[type_p, type_q] = function
        defined()  # Compiled functions may have looked up another one: they are recorded again (settings.py).
        return function

    return keep


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The mean under p of log p(x) - log q(x).

    Defined for the pairs that PyTorch defines, as far as both distributions exist here, and for those of
    :func:`register_kl`. Raises NotImplementedError for others.

    >>> import ranvier as rv
    >>> rv.distributions.kl_divergence(rv.distributions.Bernoulli(0.5), rv.distributions.Bernoulli(0.25))
    tensor(0.1438)
    """
    for of_p in type(p).__mro__:
        for of_q in type(q).__mro__:
            if (of_p, of_q) in _REGISTRY:
                return _REGISTRY[of_p, of_q](p, q)
    raise _no_pair(p, q)


def _no_pair(p: Distribution, q: Distribution) -> NotImplementedError:
    return NotImplementedError(
        f"[kl_divergence] got {type(p).__name__} and {type(q).__name__}; expected two of the same kind, or a "
        "pair of register_kl"
    )
