"""Distributions: log_prob, its gradients and moments of composed ones beside PyTorch's; half precision;
moments of samples; what is refused.
"""

from __future__ import annotations

import importlib

import numpy as np
import pytest
import ranvier as rv
from ranvier import distributions as D
from support.refused import refused

RNG = np.random.default_rng(3)
SQUARE = RNG.normal(size=(3, 3))
COVARIANCE = SQUARE @ SQUARE.T + np.eye(3)
POSITIVE, ANY = RNG.uniform(0.3, 2, (4, 3)), RNG.normal(size=(4, 3))
ROWS = RNG.dirichlet(np.ones(3), 4)
COUNTS = np.array([[1.0, 0, 4], [2, 2, 1], [0, 5, 0], [5, 0, 0]])
CASES = {  # the parameters, and values
    "AffineOfNormal": ((ANY, POSITIVE), ANY + 1),
    "Bernoulli": ((ROWS,), (COUNTS > 0) * 1.0),
    "Beta": ((POSITIVE, POSITIVE[::-1].copy()), RNG.uniform(0.1, 0.9, (4, 3))),
    "Binomial": ((np.full((4, 3), 5.0), ROWS), COUNTS),
    "Cauchy": ((ANY, POSITIVE), ANY * 3),
    "Dirichlet": ((POSITIVE,), ROWS),
    "Gamma": ((POSITIVE, POSITIVE[::-1].copy()), POSITIVE * 2),
    "Geometric": ((ROWS,), COUNTS),
    "Gumbel": ((ANY, POSITIVE), ANY * 2),
    "HalfNormal": ((POSITIVE,), POSITIVE),
    "Laplace": ((ANY, POSITIVE), ANY * 2),
    "MixtureOfNormals": (
        (RNG.uniform(0.2, 1, (4, 3, 2)), RNG.normal(size=(4, 3, 2)), np.ones((4, 3, 2))),
        ANY,
    ),
    "MixtureOfVectors": ((ROWS[:, :2], RNG.normal(size=(4, 2, 3)), np.ones((4, 2, 3)) / 2), ANY),
    "Multinomial": ((ROWS,), COUNTS),
    "MultivariateNormal": ((ANY, COVARIANCE), ANY * 2),
    "Poisson": ((POSITIVE,), COUNTS),
    "RelaxedBernoulli": ((POSITIVE, ROWS), ROWS),
    "SquashedNormal": ((ANY, POSITIVE), np.tanh(ANY)),
    "StudentT": ((POSITIVE + 2, ANY, POSITIVE), ANY * 2),
}
# the others: tests/differential/test_distributions.py
COMPOSED = ("AffineOfNormal", "MixtureOfNormals", "MixtureOfVectors", "SquashedNormal")


def made(library, name, parameters):
    d = importlib.import_module(f"{library}.distributions")
    normal = lambda: d.Normal(*parameters)  # noqa: E731
    if name == "Multinomial":
        return d.Multinomial(5, *parameters)
    if name.startswith("Mixture"):
        weights, loc, scale = parameters
        parts = d.Normal(loc, scale)
        parts = parts if name == "MixtureOfNormals" else d.Independent(parts, 1)
        return d.MixtureSameFamily(d.Categorical(weights), parts)
    if name == "SquashedNormal":
        return d.Independent(d.TransformedDistribution(normal(), d.TanhTransform().with_cache()), 1)
    if name == "AffineOfNormal":
        return d.TransformedDistribution(normal(), [d.AffineTransform(2.0, 3.0), d.SigmoidTransform().inv])
    return getattr(d, name)(*parameters)


def leaves(library, arrays):
    module = importlib.import_module(library)
    return [module.tensor(a, requires_grad=True) for a in arrays]


@pytest.mark.parametrize("name", COMPOSED)
def test_as_pytorch(name, torch):
    arrays, values = CASES[name]
    both = []
    for library in ("ranvier", "torch"):
        parameters = leaves(library, arrays)
        d = made(library, name, parameters)
        got = {"log_prob": d.log_prob(importlib.import_module(library).tensor(values))}
        got["log_prob"].sum().backward()
        got |= {f"gradient {i}": p.grad for i, p in enumerate(parameters)}
        if name.startswith("Mixture"):
            got |= {"mean": d.mean, "variance": d.variance}
        assert tuple(d.batch_shape) + tuple(d.event_shape) == (4, 3)
        both.append({k: v.detach().numpy() for k, v in got.items()})
    for key, want in both[1].items():
        np.testing.assert_allclose(both[0][key], want, rtol=1e-6, atol=1e-9, err_msg=key)


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16], ids=str)
@pytest.mark.parametrize("name", sorted(set(CASES) - {"MultivariateNormal"}))  # halves have no factors
def test_half_precision(name, dtype):
    """Draws are of the dtype. Logarithms of densities are those in float64 but for some roundings, of the
    parameters and values to the dtype, too."""
    arrays, values = CASES[name]
    d = made("ranvier", name, [rv.tensor(a, dtype=dtype) for a in arrays])
    rv.manual_seed(0)
    draws, found = d.sample((50,)), d.log_prob(rv.tensor(values, dtype=dtype))
    assert draws.dtype == found.dtype == dtype
    assert draws.isfinite().all()
    expected = made("ranvier", name, [rv.tensor(a) for a in arrays]).log_prob(rv.tensor(values))
    np.testing.assert_allclose(found.double(), expected, rtol=0, atol=40 * rv.finfo(dtype).eps)


# the mean of Cauchy is NaN, those of the others have no formula
WITHOUT_MEAN = {"AffineOfNormal", "Cauchy", "RelaxedBernoulli", "SquashedNormal"}


@pytest.mark.parametrize("name", sorted(set(CASES) - WITHOUT_MEAN))
def test_moments_of_samples(name):
    arrays, _ = CASES[name]
    d = made("ranvier", name, [rv.tensor(a) for a in arrays])
    rv.manual_seed(1)
    draws = d.sample((40_000,)).numpy().astype(np.float64)
    assert draws.shape == (40_000, 4, 3)
    error = np.sqrt(d.variance.numpy() / 40_000)
    np.testing.assert_array_less(np.abs(draws.mean(0) - d.mean.numpy()), 6 * error + 1e-3)
    again = made("ranvier", name, [rv.tensor(a) for a in arrays])
    rv.manual_seed(1)
    np.testing.assert_array_equal(again.sample((40_000,)).numpy().astype(np.float64), draws)
    if name != "StudentT":  # the fourth moment is infinite, so variances of samples vary without bound
        np.testing.assert_allclose(draws.var(0), d.variance.numpy(), rtol=0.2, atol=0.05)


def test_a_squashed_policy_as_sac_writes_it():
    """Its own TanhTransform, paths as attributes, and the gradient through rsample and log_prob."""
    import math

    import ranvier.nn.functional as F

    class TanhTransform(D.transforms.Transform):
        domain = D.constraints.real
        codomain = D.constraints.interval(-1.0, 1.0)
        bijective = True
        sign = +1

        def __init__(self, cache_size=1):
            super().__init__(cache_size=cache_size)

        def _call(self, x):
            return x.tanh()

        def _inverse(self, y):
            return 0.5 * (y.log1p() - (-y).log1p())

        def log_abs_det_jacobian(self, x, y):
            return 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))

    class SquashedNormal(D.transformed_distribution.TransformedDistribution):
        def __init__(self, loc, scale):
            self.base_dist = D.Normal(loc, scale)
            super().__init__(self.base_dist, [TanhTransform()])

    loc = rv.zeros(2, 3, requires_grad=True)
    policy = SquashedNormal(loc, rv.ones(2, 3))
    action = policy.rsample()
    x = policy.transforms[0].inv(action)
    assert x is policy.transforms[0]._cached_x_y[0]  # exact, also where tanh is 1
    policy.log_prob(action).sum().backward()
    # the noise is fixed: d/dloc of log N(x) is 0, the rest is -d/dx log(1 - tanh(x)^2) = 2 tanh(x)
    np.testing.assert_allclose(loc.grad.numpy(), 2 * action.detach().numpy(), rtol=1e-4, atol=1e-5)
    assert not policy.sample().requires_grad
    np.testing.assert_allclose(
        policy.cdf(action).detach().numpy(), policy.base_dist.cdf(x).detach().numpy(), rtol=1e-5
    )


def test_refused():
    eye = rv.eye(2)
    refused(ValueError, "got 0 matrices; expected one of", D.MultivariateNormal, rv.zeros(2))
    refused(ValueError, "got 2 matrices", D.MultivariateNormal, rv.zeros(2), eye, eye)
    refused(ValueError, "expected (..., n) and (..., n, n)", D.MultivariateNormal, rv.zeros(3), eye)
    refused(ValueError, "got a matrix that is not", D.MultivariateNormal, rv.zeros(2), rv.ones(2, 2).triu())
    refused(ValueError, "positive", D.MultivariateNormal, rv.zeros(2), -eye)
    text = "expected a lower factor"
    refused(ValueError, text, D.MultivariateNormal, rv.zeros(2), scale_tril=rv.ones(2, 2))
    refused(ValueError, "got a value outside its range", D.Poisson(1.0).log_prob, rv.tensor(0.5))
    refused(ValueError, "add up to at most 2", D.Multinomial(2, rv.ones(2)).log_prob, rv.ones(2) * 2)
    refused(ValueError, "whole numbers from 0 to ", D.Binomial(1, 0.5).log_prob, rv.tensor(2.0))
    refused(NotImplementedError, "rsample is not defined", D.Poisson(1.0).rsample)
    refused(ValueError, "expected a Transform", D.TransformedDistribution, D.Normal(0.0, 1.0), [3])
