"""Distributions: densities that sum to 1, moments, refused parameters and values, compiled steps."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import distributions as D
from support.refused import refused

RNG = np.random.default_rng(0)
CONTINUOUS = {
    "Normal": lambda: D.Normal(0.5, 1.5),
    "LogNormal": lambda: D.LogNormal(0.1, 0.4),
    "Laplace": lambda: D.Laplace(0.5, 0.7),
    "Uniform": lambda: D.Uniform(-1.0, 2.0),
    "Exponential": lambda: D.Exponential(1.5),
    "Gamma": lambda: D.Gamma(2.5, 1.5),
}


def integral(y, x):
    """The trapezoidal rule."""
    return ((y[1:] + y[:-1]) / 2 * np.diff(x)).sum()


@pytest.mark.parametrize("name", CONTINUOUS)
def test_densities_and_samples(name):
    d = CONTINUOUS[name]()
    x = np.linspace(-12, 15, 270_001)  # outside of the support as well, where the density is 0
    density = np.exp(d.log_prob(rv.tensor(x)).numpy().astype(np.float64))
    np.testing.assert_allclose(integral(density, x), 1, atol=1e-4)
    np.testing.assert_allclose(integral(x * density, x), d.mean.item(), atol=1e-3)
    logs = np.log(density, out=np.zeros_like(density), where=density > 0)
    np.testing.assert_allclose(-integral(density * logs, x), d.entropy().item(), atol=1e-3)
    rv.manual_seed(0)
    draws = d.sample((20_000,)).numpy()
    np.testing.assert_allclose(draws.mean(), d.mean.item(), atol=6 * draws.std() / 20_000**0.5)
    assert np.isnan(d.log_prob(rv.tensor(float("nan"))).item()) or name == "Uniform"


@pytest.mark.parametrize("dtype", [rv.float32, rv.float64])
def test_probabilities_near_0_keep_the_digits_of_the_dtype(dtype):
    small = rv.tensor([float(np.finfo(dtype).eps) * 4, 1.0], dtype=dtype)
    assert D.Categorical(small).log_prob(rv.tensor(0)).item() == pytest.approx(np.log(small[0].item()))
    assert D.Bernoulli(small).log_prob(rv.ones(2))[0].item() == pytest.approx(np.log(small[0].item()))


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
