"""Distributions: densities that sum to 1, moments, refused parameters and values, compiled steps."""

import math
from functools import partial

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
    mean, variance = d.mean.item(), d.variance.item()
    np.testing.assert_allclose(integral(x * density, x), mean, atol=1e-3)
    np.testing.assert_allclose(integral((x - mean) ** 2 * density, x), variance, atol=1e-3)
    logs = np.log(density, out=np.zeros_like(density), where=density > 0)
    np.testing.assert_allclose(-integral(density * logs, x), d.entropy().item(), atol=1e-3)
    rv.manual_seed(0)
    draws = d.sample((20_000,)).numpy()
    np.testing.assert_allclose(draws.mean(), mean, atol=6 * (variance / 20_000) ** 0.5)
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


def test_parameters_outside_their_range():
    text = "[Normal] got loc outside its range; expected numbers, not"
    refused(ValueError, text, D.Normal, float("nan"), 1.0)
    refused(ValueError, "[Laplace] got scale outside its range", D.Laplace, 0.0, 0.0)
    for probs in (rv.tensor([INF, 1.0]), rv.zeros(2)):
        refused(ValueError, "[Categorical] got probs outside its range", D.Categorical, probs)
    refused(ValueError, "[Bernoulli] got probs outside its range", D.Bernoulli, 1.5)


def test_values_that_are_never_taken():
    for d, *values in (
        (D.Bernoulli(0.5), 2.0, 0.5),
        (D.Categorical(rv.ones(2)), 0.5, 2, -1, float("nan")),
        (D.OneHotCategorical(rv.ones(2)), [1.0, 1.0], [0.0, 0.0]),
    ):
        for value in values:
            refused(ValueError, "got a value outside its range; expected", d.log_prob, rv.tensor(value))


def test_a_shape_without_parentheses():
    refused(TypeError, "[Normal] got sample_shape 3; expected a tuple: (3,)", D.Normal(0.0, 1.0).sample, 3)


def gamma_cdf(a, x):
    """The series of Abramowitz and Stegun, 6.5.29."""
    terms = np.cumprod(x[:, None] / (a + np.arange(1, 400)), 1)
    return np.exp(a * np.log(x) - x - math.lgamma(a + 1)) * (1 + terms.sum(1))


@pytest.mark.parametrize("a", [0.05, 0.7, 3.0, 30.0])
def test_gradients_of_gamma_are_those_of_its_quantiles(a):
    rv.manual_seed(0)
    leaf = rv.full((50,), a, dtype=rv.float64).requires_grad_()
    draws = D.Gamma(leaf, 1.0).rsample()
    draws.sum().backward()
    x, h = draws.detach().numpy(), 1e-4 * a
    slope = (gamma_cdf(a + h, x) - gamma_cdf(a - h, x)) / (2 * h)
    density = np.exp((a - 1) * np.log(x) - x - math.lgamma(a))
    np.testing.assert_allclose(leaf.grad.numpy(), -slope / density, rtol=1e-5, atol=1e-12)
    np.testing.assert_allclose(D.Gamma(leaf, 1.0).cdf(draws).detach().numpy(), gamma_cdf(a, x), rtol=1e-9)


@pytest.mark.parametrize("c", [0.01, 0.5, 1.0, 7.0, 1e4])
def test_gradients_of_beta_with_a_closed_form(c):
    """x = u^(1/c) of a uniform u has Beta(c, 1), and 1 - x has Beta(1, c)."""
    rv.manual_seed(1)
    leaf, other = (rv.full((50,), c, dtype=rv.float64).requires_grad_() for _ in range(2))
    x, y = D.Beta(leaf, 1.0).rsample(), 1 - D.Beta(1.0, other).rsample()
    (x.sum() + y.sum()).backward()
    for p, draws, least in ((leaf, x, 1e-300), (other, y, 1e-6)):  # 1 - x has few digits near 0
        z = draws.detach().numpy()
        inside = (z > least) & (z < 1 - 1e-9)
        np.testing.assert_allclose(p.grad.numpy()[inside], (-z * np.log(z) / c)[inside], rtol=1e-6)


def test_gradients_of_dirichlet_have_the_mean_of_the_formula():
    c = np.array([0.3, 1.0, 4.0])
    leaf = rv.tensor(np.tile(c, (40_000, 1)), requires_grad=True)
    rv.manual_seed(2)
    D.Dirichlet(leaf).rsample()[:, 0].sum().backward()
    grads, total = leaf.grad.numpy(), c.sum()
    expected = (np.array([total, 0, 0]) - c[0]) / total**2
    np.testing.assert_array_less(np.abs(grads.mean(0) - expected), 6 * grads.std(0) / 200)


def test_small_concentrations_give_parts_that_add_up_to_1():
    rv.manual_seed(3)
    draws = D.Dirichlet(rv.full((4,), 1e-3)).sample((2000,)).numpy()
    np.testing.assert_allclose(draws.sum(-1), 1, rtol=1e-6)
    np.testing.assert_allclose(draws.mean(0), 0.25, atol=6 * 0.433 / 2000**0.5)


def test_a_gradient_reaches_what_draws_depend_on():
    for make in (
        lambda p: D.StudentT(p),
        lambda p: D.Gamma(p, p),
        lambda p: D.Independent(D.Beta(p, 2.0), 1),
        lambda p: D.TransformedDistribution(D.Gamma(p, 1.0), [D.ExpTransform().inv]),
    ):
        p = rv.tensor([0.5, 2.0], requires_grad=True)
        d = make(p)
        assert d.has_rsample
        d.rsample((3,)).sum().backward()
        assert np.isfinite(p.grad.numpy()).all()
        assert (p.grad.numpy() != 0).all()
        assert not d.sample().requires_grad
        with pytest.raises(NotImplementedError, match="expected ops that can be differentiated twice"):
            rv.autograd.grad(d.rsample().sum(), [p], create_graph=True)


def test_checks_of_all_distributions_can_be_switched_off():
    D.Distribution.set_default_validate_args(False)
    try:
        assert np.isnan(D.Normal(float("nan"), 1.0).mean.item())
        assert D.Exponential(1.0).log_prob(rv.tensor(-1.0)).item() == -INF
    finally:
        D.Distribution.set_default_validate_args(True)
    refused(ValueError, "got loc outside its range", D.Normal, float("nan"), 1.0)


class Low(D.constraints.Constraint):
    """A constraint of a program."""

    def check(self, value):
        return value < 5


class Point(D.Distribution):
    """A distribution of a program, with constraints of its own."""

    arg_constraints = {"at": D.constraints.positive, "below": Low()}  # noqa: RUF012
    support = D.constraints.unit_interval

    def __init__(self, at, validate_args=None):
        self.at = self.below = at
        super().__init__(at.shape, validate_args=validate_args)


def test_a_distribution_of_a_program():
    refused(ValueError, "[Point] got at outside its range; expected numbers > 0", Point, rv.zeros(2))
    refused(ValueError, "[Point] got below outside its range; expected Low()", Point, rv.ones(2) * 5)
    assert Point(rv.ones(3)).expand((2, 3)).at.shape == (2, 3)
    refused(NotImplementedError, "[Point] mode is not defined", lambda: Point(rv.ones(3)).mode)
    D.register_kl(Point, D.Normal)(lambda p, q: p.at * 2)
    assert D.kl_divergence(Point(rv.ones(1)), D.Normal(0.0, 1.0)).item() == 2
    text = "got Point and Laplace"
    refused(NotImplementedError, text, D.kl_divergence, Point(rv.ones(1)), D.Laplace(0.0, 1.0))
    refused(TypeError, "expected two classes", D.register_kl, 1, Point)


def test_values_of_other_shapes_and_nan():
    text = "expected one that broadcasts with (3,)"
    refused(ValueError, text, D.Normal(rv.zeros(3), 1.0).log_prob, rv.zeros(2))
    text = "expected last dimensions (3,)"
    refused(ValueError, text, D.Dirichlet(rv.ones(3)).log_prob, rv.ones(2) / 2)
    refused(ValueError, text, D.OneHotCategorical(rv.ones(3)).log_prob, rv.eye(2))
    normal = D.MultivariateNormal(rv.zeros(2), rv.eye(2))
    refused(ValueError, "numbers, not nan", normal.log_prob, rv.tensor([0.0, float("nan")]))


def test_a_vector_with_an_infinite_element_is_impossible():
    factor = rv.tensor([[1.0, 0.0], [0.5, 2.0]], requires_grad=True)
    y = D.MultivariateNormal(rv.zeros(2), scale_tril=factor).log_prob(
        rv.tensor([[INF, 0.0], [1.0, -INF], [1, 2]])
    )
    y.sum().backward()
    assert y.tolist()[:2] == [-INF, -INF]
    assert np.isfinite(y.tolist()[2])
    assert np.isfinite(factor.grad.numpy()).all()


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "int64", "float16", "float32", "float64"])
def test_sets_of_whole_numbers_in_each_dtype(dtype):
    sets = D.constraints.integer_interval(0, 2), D.constraints.integer_interval(0.5, 2), D.constraints.boolean
    for x in [[], [0, 1], [1, 2], [0, 3], [-1, 1], [2**53, 1], [0.5, 1]]:
        with np.errstate(over="ignore"):
            values = rv.tensor(np.array(x).astype(dtype))
        given = np.array(values.tolist(), np.float64)
        whole = given == np.floor(given)
        assert sets[0].holds(values) == (whole & (given >= 0) & (given <= 2)).all()
        said = ((given - 0.5 >= 0) & (given - 0.5 == np.floor(given - 0.5)) & (given <= 2)).all()
        assert sets[1].holds(values) == said
        assert sets[2].holds(values) == ((given == 0) | (given == 1)).all()


def test_a_check_of_ones_own_holds_for_independent_dimensions():
    class Even(D.constraints.integer_interval):
        def check(self, value):
            return value % 2 == 0

    assert not D.constraints.independent(Even(0, 9), 1).holds(rv.tensor([[2, 3]]))
    assert D.constraints.independent(Even(0, 9), 1).holds(rv.tensor([[2, 12]]))


def test_relaxed_variables():
    """Log-densities are PyTorch's; samples lie in the support, at a low temperature near its corners."""
    p, t = rv.tensor([0.2, 0.7]), rv.tensor(0.5)
    y = D.RelaxedBernoulli(t, p).log_prob(rv.tensor([0.3, 0.6]))
    np.testing.assert_allclose(y.numpy(), [-0.7420366, -0.7544413], rtol=1e-6)
    d = D.RelaxedOneHotCategorical(rv.tensor(2.0), logits=rv.tensor([[0.0, 1.0], [1.0, 3.0]]))
    y = d.log_prob(rv.tensor([[0.4, 0.6], [0.5, 0.5]]))
    np.testing.assert_allclose(y.numpy(), [0.7250456, -0.1744146], rtol=1e-6)
    assert d.expand((3, 2)).sample((4,)).shape == (4, 3, 2, 2)
    rv.manual_seed(0)
    cold = D.RelaxedOneHotCategorical(0.01, rv.tensor([0.2, 0.3, 0.5], requires_grad=True)).rsample((5000,))
    assert D.constraints.simplex.check(cold).all()
    np.testing.assert_allclose(cold.detach().mean(0).numpy(), [0.2, 0.3, 0.5], atol=0.03)
    cold[:, 0].sum().backward()
    many = D.RelaxedBernoulli(0.01, p.requires_grad_()).rsample((5000,))
    np.testing.assert_allclose(many.detach().mean(0).numpy(), p.tolist(), atol=0.03)
    many.sum().backward()
    assert p.grad.isfinite().all()
    for make in (D.RelaxedBernoulli, D.RelaxedOneHotCategorical):
        refused(ValueError, "got temperature outside its range; expected numbers > 0", make, -1.0, p.detach())


def test_the_support_of_a_mixture():
    mixture, parts = (
        D.Categorical(rv.tensor([0.3, 0.7])),
        D.Uniform(rv.tensor([0.0, 1.0]), rv.tensor([2.0, 3.0])),
    )
    support = D.MixtureSameFamily(mixture, parts).support
    assert type(support) is D.constraints.MixtureSameFamilyConstraint
    assert support.check(rv.tensor(1.5)).shape == ()
    assert support.check(rv.tensor([[0.5], [1.5]])).tolist() == [[False], [True]]
    rows = D.MixtureSameFamily(mixture, D.MultivariateNormal(rv.zeros(2, 3), rv.eye(3)))
    assert (rows.support.event_dim, rows.support.check(rv.zeros(4, 3)).shape) == (1, (4,))
    assert repr(rows).startswith("MixtureSameFamily(\n  Categorical(probs: (2,)),\n  MultivariateNormal(")


def test_shapes_of_parameters():
    p = rv.tensor([[0.2, 0.8]])
    for d in (D.Bernoulli(p), D.Categorical(p), D.OneHotCategorical(logits=p), D.Multinomial(2, p)):
        assert d.param_shape == (1, 2)
    assert D.Bernoulli(p).log_prob(rv.ones(1, 2, dtype=rv.float64)).dtype == np.float64


@pytest.mark.parametrize("make", [D.Categorical, D.OneHotCategorical, partial(D.Multinomial, 2)])
@pytest.mark.parametrize("validate_args", [None, True])
def test_parameters_without_normalized_probabilities_are_refused(make, validate_args):
    inf = math.inf
    logits = [[-inf, -inf], [inf, 0.0], [inf, inf], [[0.0, 1.0], [-inf, -inf]], [-inf], [math.nan, 0.0]]
    for wrong in logits:
        x = rv.tensor(wrong)
        refused(ValueError, "got logits outside its range", make, logits=x, validate_args=validate_args)
        make(logits=x, validate_args=False)
    for wrong in ([3e38, 3e38], [0.0, 0.0], [inf, 1.0], [math.nan, 1.0], [-0.1, 1.1], []):
        x = rv.tensor(wrong)
        refused(ValueError, "got probs outside its range", make, probs=x, validate_args=validate_args)
    right = make(logits=rv.tensor([-inf, 0.0]), validate_args=validate_args)
    np.testing.assert_array_equal(right.probs.numpy(), [0.0, 1.0])


def test_a_covariance_that_is_not_finite_is_refused():
    for a in ([[math.nan, 0.0], [0.0, 1.0]], [[1.0, 0.0], [0.0, math.nan]], [[math.inf, 0.0], [0.0, 1.0]]):
        for name in ("covariance_matrix", "precision_matrix"):
            matrix = {name: rv.tensor(a)}
            refused(ValueError, "[MultivariateNormal] got", D.MultivariateNormal, rv.zeros(2), **matrix)


def test_slope_of_the_exponential_distribution_function():
    """rate exp(-rate x), also where the function is 1."""
    rate, x = np.array([2.0, 5.0, 0.3]), np.array([30.0, 20.0, 0.1])
    at = rv.from_numpy(x).requires_grad_()
    D.Exponential(rv.from_numpy(rate)).cdf(at).sum().backward()
    np.testing.assert_allclose(at.grad.numpy(), rate * np.exp(-rate * x), rtol=1e-15)
