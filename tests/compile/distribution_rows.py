"""Distributions whose parameters and values are checked in a step, as rows of `test_value_checks.py`."""

import numpy as np
import ranvier as rv
from ranvier import distributions as D

__all__ = ["DISTRIBUTIONS"]

NAN = float("nan")
of_classes, of_rows = D.Categorical, D.OneHotCategorical
CLASSES = np.array([0, 2, 1, 0])


def column(made):
    """A loss of what is made from an output (4, 3) and values (4, 1)."""
    return lambda out, value: made(out, value[:, None]).mean()


def with_drawn(made):
    """A loss of a distribution made from the same, at what is drawn from it."""

    def loss(out, value):
        d = made(out, value[:, None])
        return (d.log_prob(d.rsample()) + d.log_prob(d.sample())).mean()

    return loss


def squashed(out, scale):
    """A loss of a policy that keeps what it has drawn for log_prob."""
    d = D.TransformedDistribution(D.Normal(out, scale), [D.TanhTransform(cache_size=1)])
    return d.log_prob(d.rsample())


def mixture(out, scale):
    return D.MixtureSameFamily(of_classes(logits=out), D.Normal(out, scale[:, None]))


def with_factors(made):
    """A loss of a draw with lower factors that depend on one number."""

    def loss(out, value):
        factors = made(rv.ones(3, 3).tril() * out.exp()[:, :, None], value[2])
        return D.MultivariateNormal(out, scale_tril=factors).rsample().mean()

    return loss


def with_covariance(out, value):
    """A loss of a matrix that has to be symmetric: one element above the diagonal is added."""
    covariance = rv.eye(3) + value[2] * rv.tensor([[0.0, 0.5, 0.0], [0.0] * 3, [0.0] * 3])
    return D.MultivariateNormal(out, covariance_matrix=covariance).log_prob(out * 0.5).mean()


def drawn(out):
    """0 or 1 of each element."""
    return (out.detach() > 0).float()


LOCATED = (D.Normal, D.Laplace, D.Cauchy, D.Gumbel, D.LogNormal)
ROWS = [
    *((f"loc of {kind.__name__}", with_drawn(lambda o, v, k=kind: k(o * v, 1)), 1, NAN) for kind in LOCATED),
    *((f"scale of {kind.__name__}", with_drawn(lambda o, v, k=kind: k(o, v)), 1, 0) for kind in LOCATED),
    ("scale of float64", column(lambda o, v: D.Normal(o.double(), v.double()).log_prob(0.5).float()), 1, -1),
    ("HalfNormal", with_drawn(lambda o, v: D.HalfNormal(o.exp() * v)), 1, -1),
    ("Uniform", with_drawn(lambda o, v: D.Uniform(o, o + v)), 1, 0),
    ("Exponential", with_drawn(lambda o, v: D.Exponential(o.exp() * v)), 1, 0),
    ("Independent", with_drawn(lambda o, v: D.Independent(D.Normal(o, v), 1)), 1, 0),
    ("TransformedDistribution", column(squashed), 1, 0),
    ("MixtureSameFamily", lambda out, v: mixture(out, v).log_prob(v).mean(), 1, 0),
    ("kl_divergence", column(lambda o, v: D.kl_divergence(D.Normal(o, v), D.Normal(0.0, 1.0))), 1, 0),
    ("Bernoulli", column(lambda o, v: D.Bernoulli(o.sigmoid() * v).log_prob(drawn(o))), 1, 3),
    ("a value of Bernoulli", column(lambda o, v: D.Bernoulli(logits=o).log_prob(v)), 1, 0.5),
    ("Geometric", column(lambda o, v: D.Geometric(o.sigmoid() * v).log_prob(drawn(o))), 1, 0),
    ("a value of Geometric", column(lambda o, v: D.Geometric(logits=o).log_prob(v)), 1e20, 0.5),
    ("an infinite value of Geometric", column(lambda o, v: D.Geometric(logits=o).log_prob(v)), 0, np.inf),
    ("probs of Categorical", column(lambda o, v: of_classes(o.exp() * v).entropy()), 1, 0),
    ("infinite probs", column(lambda o, v: of_classes(o.exp() * v).entropy()), 1, np.inf),
    ("logits of Categorical", column(lambda o, v: of_classes(logits=o * v).entropy()), 1, NAN),
    (
        "OneHotCategorical",
        lambda o, v: D.OneHotCategorical(logits=o).log_prob(rv.eye(3)[:1] * v[2]).mean(),
        1,
        2,
    ),
    ("Poisson", column(lambda o, v: D.Poisson(o.exp() * v).variance), 0, -1),
    ("Binomial", column(lambda o, v: D.Binomial(v, logits=o).variance), 4, 4.5),
    ("Multinomial", column(lambda o, v: D.Multinomial(2, o.exp() * v).variance), 1, -1),
    ("Gamma", column(lambda o, v: D.Gamma(o.exp(), v).variance), 1, 0),
    ("Beta", column(lambda o, v: D.Beta(o.exp(), v).variance), 1, 0),
    ("Dirichlet", column(lambda o, v: D.Dirichlet(o.exp() * v).variance), 1, 0),
    ("StudentT", column(lambda o, v: D.StudentT(3 + o.exp(), o, v).variance), 1, 0),
    ("the diagonal of scale_tril", with_factors(lambda factors, n: factors + n * rv.eye(3)), 1, -90),
    ("a covariance", with_covariance, 0, 1),
    ("above the diagonal", with_factors(lambda factors, n: factors + n * rv.ones(3, 3).triu(1)), 0, 1),
]


def values(n):
    return np.array([1, 1, n, 1], np.float32)


DISTRIBUTIONS = [(name, loss, values(good), values(bad)) for name, loss, good, bad in ROWS]
DISTRIBUTIONS += [
    ("classes of Categorical", lambda o, v: of_classes(logits=o).log_prob(v).mean(), CLASSES, 2 * CLASSES),
    ("classes in floats", lambda o, v: of_classes(logits=o).log_prob(v).mean(), values(2), values(0.5)),
]
