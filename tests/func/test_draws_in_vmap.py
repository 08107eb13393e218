"""Random functions within vmap: refused with randomness="error", and what the other values draw."""

from __future__ import annotations

import numpy as np
import pytest
import ranvier as rv
from ranvier import distributions, nn
from ranvier.distributions.gamma import standard_gamma
from ranvier.func import vmap
from support.refused import refused

# Some draws run slice by slice.
pytestmark = pytest.mark.filterwarnings("ignore:.vmap. .* has no batching rule")

F = nn.functional
init = nn.init


def square():
    return rv.zeros(3, 3)


# Each gets a slice of ones (4,).
IN_PLACE = {
    "normal_": lambda x: x.clone().normal_(),
    "normal_ of a new tensor": lambda _: rv.empty(4).normal_(),
    "normal_ of halves": lambda x: x.half().normal_(),
    "normal_ of a transposed one": lambda _: rv.zeros(4, 4).t().normal_(),
    "uniform_": lambda x: x.clone().uniform_(),
    "uniform_ of a new tensor": lambda _: rv.empty(4).uniform_(),
    "uniform_ of a part": lambda _: rv.zeros(4, 4)[::2, ::2].uniform_(),
    "exponential_": lambda x: x.clone().exponential_(),
    "cauchy_": lambda x: x.clone().cauchy_(),
    "geometric_": lambda x: x.clone().geometric_(0.001),
    "log_normal_": lambda x: x.clone().log_normal_(),
    "random_": lambda x: x.clone().random_(),
    "random_ of integers": lambda _: rv.zeros(4, dtype=rv.int64).random_(),
    "random_ of a range": lambda x: x.clone().random_(2, 10**6),
    "bernoulli_": lambda _: rv.empty(64).bernoulli_(0.5),
    "bernoulli_ of probabilities": lambda _: rv.empty(64).bernoulli_(rv.full((64,), 0.5)),
    "init.uniform_": lambda _: init.uniform_(square()),
    "init.normal_": lambda _: init.normal_(square()),
    "init.trunc_normal_": lambda _: init.trunc_normal_(square()),
    "init.xavier_uniform_": lambda _: init.xavier_uniform_(square()),
    "init.xavier_normal_": lambda _: init.xavier_normal_(square()),
    "init.kaiming_uniform_": lambda _: init.kaiming_uniform_(square()),
    "init.kaiming_normal_": lambda _: init.kaiming_normal_(square()),
    "init.orthogonal_": lambda _: init.orthogonal_(square()),
    "init.sparse_": lambda _: init.sparse_(square(), 0.4),
}
NEW = {
    "normal of a mean": lambda x: rv.normal(x, 1.0),
    "normal of a deviation": lambda x: rv.normal(0.0, x),
    "normal of two tensors": lambda x: rv.normal(x, x),
    "normal of a size": lambda _: rv.normal(0.0, 1.0, (4,)),
    "rand": lambda _: rv.rand(4),
    "randn": lambda _: rv.randn(4),
    "rand_like": rv.rand_like,
    "randn_like": rv.randn_like,
    "randint": lambda _: rv.randint(0, 10**6, (4,)),
    "randint_like": lambda x: rv.randint_like(x, 10**6),
    "randperm": lambda _: rv.randperm(64),
    "bernoulli": lambda _: rv.bernoulli(rv.full((64,), 0.5)),
    "bernoulli of a number": lambda _: rv.bernoulli(rv.zeros(64), 0.5),
    "multinomial": lambda _: rv.multinomial(rv.ones(64), 64),
    "multinomial with replacement": lambda _: rv.multinomial(rv.ones(64), 64, True),
    "poisson": lambda _: rv.poisson(rv.full((64,), 50.0)),
    "binomial": lambda _: rv.binomial(rv.full((64,), 50.0), rv.full((64,), 0.5)),
}
LAYERS = {
    "dropout": lambda _: F.dropout(rv.ones(64)),
    "dropout in place": lambda _: F.dropout(rv.ones(64), inplace=True),
    "dropout1d": lambda _: F.dropout1d(rv.ones(1, 64, 2)),
    "dropout2d": lambda _: F.dropout2d(rv.ones(1, 64, 2, 2)),
    "alpha_dropout": lambda _: F.alpha_dropout(rv.ones(64), 0.5, True),
    "feature_alpha_dropout": lambda _: F.feature_alpha_dropout(rv.ones(1, 64, 2), 0.5, True),
    "Dropout": lambda _: nn.Dropout()(rv.ones(64)),
    "rrelu": lambda x: F.rrelu(-x, training=True),
    "RReLU": lambda x: nn.RReLU()(-x),
    "gumbel_softmax": F.gumbel_softmax,
    "scaled_dot_product_attention": lambda _: F.scaled_dot_product_attention(
        *[rv.ones(1, 1, 8, 8)] * 3, dropout_p=0.5
    ),
    "Linear": lambda x: nn.Linear(4, 4)(x),
}
SAMPLES = {
    "Bernoulli": lambda x: distributions.Bernoulli(x / 2).sample((16,)),
    "Beta": lambda x: distributions.Beta(x, x).sample(),
    "Binomial": lambda x: distributions.Binomial(50, x / 2).sample((16,)),
    "Categorical": lambda x: distributions.Categorical(x).sample((64,)),
    "Cauchy": lambda x: distributions.Cauchy(x, x).sample(),
    "Dirichlet": lambda x: distributions.Dirichlet(x).sample(),
    "Exponential": lambda x: distributions.Exponential(x).sample(),
    "Gamma": lambda x: distributions.Gamma(x, x).sample(),
    "Geometric": lambda x: distributions.Geometric(x / 100).sample((16,)),
    "Gumbel": lambda x: distributions.Gumbel(x, x).sample(),
    "HalfNormal": lambda x: distributions.HalfNormal(x).sample(),
    "Laplace": lambda x: distributions.Laplace(x, x).sample(),
    "Multinomial": lambda x: distributions.Multinomial(999, x).sample((16,)),
    "MultivariateNormal": lambda x: distributions.MultivariateNormal(x, rv.eye(4)).sample(),
    "Normal": lambda x: distributions.Normal(x, x).sample(),
    "Poisson": lambda x: distributions.Poisson(x * 50).sample((16,)),
    "StudentT": lambda x: distributions.StudentT(x * 3).sample(),
    "Uniform": lambda x: distributions.Uniform(x * 0, x).sample(),
}
DRAWS = {**IN_PLACE, **NEW, **LAYERS, **SAMPLES}
X = rv.ones(3, 4)


@pytest.mark.parametrize("name", DRAWS)
def test_a_draw_is_refused_the_same_or_different(name):
    draw = DRAWS[name]
    rv.manual_seed(0)
    refused(RuntimeError, "[vmap] got a function that draws random numbers; expected", vmap(draw), X)
    same = vmap(draw, randomness="same")(X).detach().numpy()
    assert all(np.array_equal(row, same[0]) for row in same)
    different = vmap(draw, randomness="different")(X).detach().numpy()
    assert not any(np.array_equal(different[i], different[i - 1]) for i in range(3))


@pytest.mark.parametrize("draw", ["normal_", "uniform_", "rand", "Gamma"])
def test_a_refused_draw_takes_no_number_of_the_stream(draw):
    rv.manual_seed(0)
    after = rv.rand(2)
    rv.manual_seed(0)
    refused(RuntimeError, "draws random numbers", vmap(DRAWS[draw]), X)
    assert (rv.rand(2) == after).all()


def test_what_draws_nothing_is_no_draw():
    for function in (lambda x: F.dropout(x, training=False), lambda x: F.dropout(x, 0.0), F.rrelu):
        assert vmap(function)(X).tolist() == X.tolist()


@pytest.mark.parametrize("randomness", ["error", "same"])
def test_gamma_of_a_given_generator(randomness):
    given = rv.Generator().manual_seed(0)
    draw = vmap(lambda x: standard_gamma(x, given), randomness=randomness)
    refused(RuntimeError, "[vmap] got a function that draws from its own generator", draw, X)
