"""Distributions: densities that sum to 1, moments, refused parameters and values, compiled steps."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import distributions as D
from support.refused import refused

RNG = np.random.default_rng(0)
CONTINUOUS = {
    "Normal": (0.5, 1.5),
    "LogNormal": (0.1, 0.4),
    "Laplace": (0.5, 0.7),
    "Uniform": (-1.0, 2.0),
    "Exponential": (1.5,),
    "Gamma": (2.5, 1.5),
}


def integral(y, x):
    """The trapezoidal rule."""
    return ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_and_samples(name):
    d = getattr(D, name)(*CONTINUOUS[name], validate_args=False)
    x = np.linspace(-12, 15, 270_001)  # outside of the support as well, where the density is 0
    density = np.exp(d.log_prob(rv.tensor(x)).numpy().astype(np.float64))
    np.testing.assert_allclose(integral(density, x), 1, atol=1e-4)
    np.testing.assert_allclose(integral(x * density, x), d.mean.item(), atol=1e-3)
    logs = np.log(density, out=np.zeros_like(density), where=density > 0)
    np.testing.assert_allclose(-integral(density * logs, x), d.entropy().item(), atol=1e-3)
    rv.manual_seed(0)
    draws = d.sample((20_000,)).numpy()
    np.testing.assert_allclose(draws.mean(), d.mean.item(), atol=6 * draws.std() / 20_000**0.5)
    checked = getattr(D, name)(*CONTINUOUS[name])
    refused(ValueError, "got a value outside its range", checked.log_prob, rv.tensor(float("nan")))


@pytest.mark.parametrize("dtype", [rv.float32, rv.float64])
def test_probabilities_near_0_keep_the_digits_of_the_dtype(dtype):
    small = rv.tensor([float(np.finfo(dtype).eps) * 4, 1.0], dtype=dtype)
    assert D.Categorical(small).log_prob(rv.tensor(0)).item() == pytest.approx(np.log(small[0].item()))
    assert D.Bernoulli(small).log_prob(rv.ones(2))[0].item() == pytest.approx(np.log(small[0].item()))


INF = float("inf")
LIMITS = [  # the distribution, a value, the logarithm of its probability
    (lambda: D.Geometric(1.0), 0.0, 0.0),
    (lambda: D.Geometric(1.0), 1.0, -INF),
    (lambda: D.Geometric(1e-30), 0.0, np.log(1e-30)),
    (lambda: D.Geometric(rv.tensor(1e-300, dtype=rv.float64)), 1.0, np.log(1e-300)),
    (lambda: D.Geometric(logits=40.0), 1.0, -40.0),
    (lambda: D.Poisson(0.0), 0.0, 0.0),
    (lambda: D.Poisson(0.0), 1.0, -INF),
    (lambda: D.Exponential(2.0, False), -1.0, -INF),
    (lambda: D.Uniform(0.0, 1.0, False), 2.0, -INF),
    (lambda: D.Multinomial(2, rv.tensor([0.0, 1.0])), rv.tensor([0.0, 2.0]), 0.0),
]


@pytest.mark.parametrize(("made", "value", "expected"), LIMITS)
def test_probabilities_at_the_limits_of_the_parameters(made, value, expected):
    assert made().log_prob(value).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("kind", [D.Categorical, D.OneHotCategorical, D.Bernoulli])
def test_divergences_from_what_is_impossible(kind):
    rows = [0.0, 0.25, 1.0]
    for p in rows:
        for q in rows:
            first, second = (kind(rv.tensor(x if kind is D.Bernoulli else [x, 1 - x])) for x in (p, q))
            with np.errstate(all="ignore"):
                parts = [a * (np.log(a) - np.log(b)) if a else 0.0 for a, b in ((p, q), (1 - p, 1 - q))]
            assert D.kl_divergence(first, second).item() == pytest.approx(sum(parts), abs=1e-6)


def test_the_gradient_of_a_geometric_that_succeeds_at_once():
    p = rv.tensor(1.0, requires_grad=True)
    D.Geometric(p).log_prob(rv.tensor(0.0)).backward()
    assert p.grad.item() == 1.0


BESIDE_NUMBERS = {
    "Normal": (D.Normal, 0.1, 1.3),
    "Laplace": (D.Laplace, 0.1, 1.3),
    "Cauchy": (D.Cauchy, 0.1, 1.3),
    "Gumbel": (D.Gumbel, 0.1, 1.3),
    "Gamma": (D.Gamma, 1.1, 1.3),
    "Beta": (D.Beta, 1.1, 1.3),
    "Uniform": (D.Uniform, 0.1, 1.3),
    "Binomial": (D.Binomial, 1, 0.3),
    "StudentT": (D.StudentT, 3.1, 0.3),
    "Affine": (lambda a, b: D.TransformedDistribution(D.Normal(a, b), [D.ExpTransform()]), 0.1, 1.3),
}


@pytest.mark.parametrize("name", BESIDE_NUMBERS)
def test_numbers_beside_float64_keep_its_digits(name):
    kind, first, second = BESIDE_NUMBERS[name]
    value = 1 if name == "Binomial" else 0.7
    wide = [rv.tensor(x, dtype=rv.float64) for x in (first, second)]
    expected = kind(*wide).log_prob(rv.tensor(value, dtype=rv.float64))
    for arguments in ((first, wide[1]), (wide[0], second)):
        y = kind(*arguments).log_prob(value)
        assert (y.dtype, y.item()) == (rv.float64, expected.item())
    assert kind(first, second).log_prob(value).dtype == rv.float32


def test_no_gradient_above_the_diagonal_of_a_factor():
    for of in (
        lambda d: d.log_prob(rv.tensor([1.0, 2.0])),
        lambda d: D.kl_divergence(d, D.MultivariateNormal(rv.zeros(2), rv.eye(2))),
        lambda d: D.kl_divergence(D.MultivariateNormal(rv.zeros(2), rv.eye(2)), d),
    ):
        factor = rv.tensor([[1.0, 0.0], [0.5, 2.0]], requires_grad=True)
        of(D.MultivariateNormal(rv.zeros(2), scale_tril=factor)).backward()
        assert factor.grad[0, 1].item() == 0.0
        assert factor.grad[1, 0].item() != 0.0


@pytest.mark.parametrize(
    ("text", "made"),
    [
        (
            "[Normal] got loc outside its range; expected numbers, not nan",
            lambda: D.Normal(float("nan"), 1.0),
        ),
        ("[Laplace] got scale outside its range", lambda: D.Laplace(0.0, 0.0)),
        ("[Categorical] got probs outside its range", lambda: D.Categorical(rv.tensor([float("inf"), 1.0]))),
        ("[Categorical] got probs outside its range", lambda: D.Categorical(rv.zeros(2))),
        ("[Bernoulli] got probs outside its range", lambda: D.Bernoulli(1.5)),
    ],
)
def test_parameters_outside_their_range(text, made):
    refused(ValueError, text, made)


@pytest.mark.parametrize(
    ("d", "value"),
    [
        (D.Bernoulli(0.5), 2.0),
        (D.Bernoulli(0.5), 0.5),
        (D.Categorical(rv.ones(2)), 0.5),
        (D.Categorical(rv.ones(2)), 2),
        (D.Categorical(rv.ones(2)), -1),
        (D.Categorical(rv.ones(2)), float("nan")),
        (D.OneHotCategorical(rv.ones(2)), [1.0, 1.0]),
        (D.OneHotCategorical(rv.ones(2)), [0.0, 0.0]),
    ],
)
def test_values_that_are_never_taken(d, value):
    refused(ValueError, "got a value outside its range; expected", d.log_prob, rv.tensor(value))


def test_a_shape_without_parentheses():
    refused(TypeError, "[Normal] got sample_shape 3; expected a tuple: (3,)", D.Normal(0.0, 1.0).sample, 3)


def test_a_compiled_step_without_checks():
    def loss(x):
        return D.Normal(x, 1.0, validate_args=False).log_prob(x + 1).sum()

    step = rv.compile(loss)
    for draw in RNG.standard_normal((4, 4)).astype(np.float32):
        assert step(rv.tensor(draw)).item() == loss(rv.tensor(draw)).item()
