"""Probability distributions under PyTorch's names: samples, log_prob, entropy, kl_divergence.

>>> import ranvier as rv
>>> from ranvier.distributions import Normal, kl_divergence
>>> Normal(0.0, 1.0).log_prob(rv.tensor(0.0))
tensor(-0.9189)
>>> kl_divergence(Normal(1.0, 1.0), Normal(0.0, 1.0))
tensor(0.5000)
"""

from ranvier.distributions.base import Distribution, Independent
from ranvier.distributions.continuous import Exponential, Laplace, LogNormal, Normal, Uniform
from ranvier.distributions.discrete import Bernoulli, Categorical, OneHotCategorical
from ranvier.distributions.divergence import kl_divergence
from ranvier.distributions.gamma import Gamma
from ranvier.distributions.multivariate import MultivariateNormal

__all__ = [
    "Bernoulli",
    "Categorical",
    "Distribution",
    "Exponential",
    "Gamma",
    "Independent",
    "Laplace",
    "LogNormal",
    "MultivariateNormal",
    "Normal",
    "OneHotCategorical",
    "Uniform",
    "kl_divergence",
]
