"""Probability distributions under PyTorch's names: samples, log_prob, entropy, kl_divergence.

>>> import ranvier as rv
>>> from ranvier.distributions import Normal, kl_divergence
>>> Normal(0.0, 1.0).log_prob(rv.tensor(0.0))
tensor(-0.9189)
>>> kl_divergence(Normal(1.0, 1.0), Normal(0.0, 1.0))
tensor(0.5000)
"""

import importlib as _importlib
import typing as _typing
from contextlib import suppress as _suppress

import ranvier.distributions.constraints as constraints
import ranvier.distributions.transforms as transforms
from ranvier.distributions.base import Distribution, Independent
from ranvier.distributions.constraint_registry import biject_to, transform_to
from ranvier.distributions.continuous import (
    Exponential,
    Laplace,
    LogNormal,
    MultivariateNormal,
    Normal,
    Uniform,
)
from ranvier.distributions.counting import Binomial, Geometric, Multinomial, NegativeBinomial, Poisson
from ranvier.distributions.discrete import Bernoulli, Categorical, MixtureSameFamily, OneHotCategorical
from ranvier.distributions.divergence import kl_divergence, register_kl
from ranvier.distributions.gamma import Beta, Dirichlet, Gamma, LKJCholesky
from ranvier.distributions.heavy_tailed import Cauchy, Gumbel, HalfCauchy, HalfNormal, StudentT
from ranvier.distributions.relaxed import RelaxedBernoulli, RelaxedOneHotCategorical
from ranvier.distributions.transforms import *  # noqa: F403
from ranvier.distributions.transforms import TransformedDistribution

__all__ = [
    "Bernoulli", "Beta", "Binomial", "Categorical", "Cauchy", "Dirichlet", "Distribution", "Exponential",
    "Gamma", "Geometric", "Gumbel", "HalfCauchy", "HalfNormal", "Independent", "LKJCholesky", "Laplace",
    "LogNormal", "MixtureSameFamily", "Multinomial", "MultivariateNormal", "NegativeBinomial", "Normal",
    "OneHotCategorical", "Poisson", "RelaxedBernoulli", "RelaxedOneHotCategorical", "StudentT",
    "TransformedDistribution", "Uniform", "biject_to", "constraints", "kl_divergence", "register_kl",
    "transform_to", "transforms",
]  # fmt: skip
__all__ += transforms.__all__


def __getattr__(name: str) -> _typing.Any:
    """PyTorch's module paths, such as ``distributions.categorical``: see :mod:`ranvier.torch`."""
    if not name.startswith("_"):
        with _suppress(ModuleNotFoundError):
            return _importlib.import_module(f"ranvier.distributions.{name}")
    raise AttributeError(f"module 'ranvier.distributions' has no attribute {name!r}")
