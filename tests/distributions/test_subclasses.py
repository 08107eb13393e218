"""Distributions, constraints and transforms as libraries subclass and use them."""

import math
from typing import ClassVar

import numpy as np
import pytest
import ranvier as rv
from ranvier import distributions as D
from ranvier.distributions import constraints, left_out, utils
from ranvier.distributions.base import ExponentialFamily
from support.refused import refused

RNG = np.random.default_rng(5)
ROOT = RNG.normal(size=(6, 6))
COVARIANCE = ROOT @ ROOT.T + np.eye(6)


class Matrices(D.MultivariateNormal):
    """Vectors of 6 as matrices (2, 3): another event_shape, and a factor that is computed when it is read."""

    def __init__(self, mean, covariance):
        self._covariance = covariance
        super().__init__(mean, covariance)

    @property
    def event_shape(self):
        return rv.Size((2, 3))

    @property
    def _unbroadcasted_scale_tril(self):
        return rv.linalg.cholesky(self._covariance * 4)

    @_unbroadcasted_scale_tril.setter
    def _unbroadcasted_scale_tril(self, value):
        pass


def test_methods_read_what_a_subclass_overrides():
    mean = rv.zeros(6, dtype=rv.float64)
    d, plain = Matrices(mean, rv.tensor(COVARIANCE)), D.MultivariateNormal(mean, rv.tensor(4 * COVARIANCE))
    assert d.event_shape == (2, 3)
    assert d.entropy().item() == pytest.approx(plain.entropy().item())
    value = rv.tensor(RNG.normal(size=6))
    assert d.log_prob(value).item() == pytest.approx(plain.log_prob(value).item())
    np.testing.assert_allclose(d.variance.numpy(), plain.variance.numpy())
    np.testing.assert_allclose(d.scale_tril.numpy(), plain.scale_tril.numpy())
    assert D.kl_divergence(d, plain).item() == pytest.approx(0, abs=1e-12)


class Doubled(D.Normal):
    """With its own check of values, and of shapes of samples."""

    checked = 0

    def __init__(self, loc, scale):
        super().__init__(loc * 2, scale)

    def _validate_sample(self, value):
        self.checked += 1

    def _extended_shape(self, sample_shape=()):
        return (7, *super()._extended_shape(sample_shape))


class Expanded(Doubled):
    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Expanded, _instance)
        new.kept = "own"
        return super().expand(batch_shape, new)


def test_the_methods_that_a_subclass_may_override_are_called():
    d = Doubled(rv.ones(2), rv.ones(2))
    d.log_prob(rv.zeros(2))
    d.cdf(rv.zeros(2))
    assert d.checked == 2
    assert d.sample((3,)).shape == (7, 3, 2)
    wide = Expanded(rv.ones(2), rv.ones(2)).expand((5, 2))
    assert (type(wide), wide.kept, wide.batch_shape, wide.loc.shape) == (Expanded, "own", (5, 2), (5, 2))
    with pytest.raises(NotImplementedError, match="got another __init__ than Normal's; expected expand"):
        d._get_checked_instance(D.Normal)
    assert type(D.Normal(0.0, 1.0)._get_checked_instance(D.Normal)) is D.Normal
    refused(NotImplementedError, "[Unsupported] support is not defined", lambda: Unsupported((2,)).support)
    assert Unsupported((2,))._validate_sample(rv.zeros(2)) is None


class Unsupported(D.Distribution):
    pass


def test_lazy_parameters_reach_the_tape():
    logits = rv.tensor([0.5, -1.0], requires_grad=True)
    d = D.Bernoulli(logits=logits)
    d.sample()  # the first use of probs is off the tape
    d.probs.sum().backward()
    p = 1 / (1 + np.exp(-logits.detach().numpy()))
    np.testing.assert_allclose(logits.grad.numpy(), p * (1 - p), rtol=1e-6)
    assert "probs" not in vars(D.Categorical(logits=logits))
    assert isinstance(D.Categorical.probs, (property, utils.lazy_property))


def check(constraint, value):
    return constraint.check(rv.tensor(value)).tolist()


def test_constraints_as_classes():
    assert isinstance(constraints.greater_than(2.0), constraints._GreaterThan)
    assert constraints.greater_than(2.0).lower_bound == 2.0
    vectors = constraints.independent(constraints.interval(0.0, 1.0), 1)
    assert isinstance(vectors.base_constraint, constraints._Interval)
    assert (vectors.event_dim, check(vectors, [[0.5, 1.0], [0.5, 1.5]])) == (1, [True, False])
    assert repr(vectors) == "IndependentConstraint(Interval(lower_bound=0.0, upper_bound=1.0), 1)"
    assert check(constraints.half_open_interval(0.0, 1.0), [0.0, 1.0]) == [True, False]
    assert check(constraints.less_than(1.0), [0.0, 1.0]) == [True, False]
    assert check(constraints.positive_integer, [0.0, 1.0, 1.5]) == [False, True, False]
    parts = constraints.cat([constraints.positive, constraints.real], -1, [1, 2])
    assert check(parts, [[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0]]) == [[False, True, True], [True] * 3]
    stacked = constraints.stack([constraints.positive, constraints.real], -1)
    assert (check(stacked, [-1.0, -1.0]), stacked.event_dim) == ([False, True], 1)
    two = [np.eye(2).tolist(), [[1.0, 2.0], [2.0, 1.0]]]
    assert check(constraints.positive_definite, two) == [True, False]
    assert check(constraints.positive_semidefinite, [np.ones((2, 2)).tolist(), two[1]]) == [True, False]
    assert check(constraints.square, [[[1.0, 2.0]]]) == [False]
    assert check(constraints.corr_cholesky, [[[1.0, 0.0], [0.6, 0.8]], two[0], two[1]]) == [True, True, False]
    assert check(constraints.lower_triangular, two) == [True, False]


def test_dependent_constraints():
    support = D.Uniform.support
    assert constraints.is_dependent(support)
    assert (support.event_dim, support.is_discrete) == (0, False)
    refused(ValueError, "expected an instance", support.check, rv.zeros(1))
    refused(NotImplementedError, "event_dim is not the same", lambda: D.Independent.support.event_dim)
    assert constraints.dependent(is_discrete=True, event_dim=1).event_dim == 1

    class Low(constraints._GreaterThan):
        """Its own check decides, not the bounds of its class."""

        def check(self, value):
            return value > -5

    class Point(D.Distribution):
        arg_constraints = {"at": constraints.dependent, "base": Low(0.0)}  # noqa: RUF012

        def __init__(self, at):
            self.at = self.base = at
            super().__init__(at.shape)

    Point(rv.ones(2) * -4)
    refused(ValueError, "[Point] got base outside its range", Point, rv.ones(2) * -6)


TRANSFORMS = [
    D.PowerTransform(2.5),
    D.IndependentTransform(D.ExpTransform(), 1),
    D.IndependentTransform(D.ComposeTransform([D.SigmoidTransform(), D.AffineTransform(1.0, 2.0)]), 1),
    D.StickBreakingTransform(),
    D.CumulativeDistributionTransform(D.Normal(rv.zeros(3, dtype=rv.float64), 2.0)),
    D.CatTransform([D.ExpTransform(), D.TanhTransform()], -1, [1, 2]),
    D.StackTransform([D.ExpTransform(), D.TanhTransform(), D.identity_transform], -1),
    D.ReshapeTransform((3,), (1, 3)),
    D.CorrCholeskyTransform(),
    D.AffineTransform(0.5, rv.tensor([2.0, -1.0, 3.0], dtype=rv.float64), 1),
]


@pytest.mark.parametrize("transform", TRANSFORMS, ids=lambda t: type(t).__name__)
def test_slopes_are_those_of_the_jacobian(transform):
    x = rv.tensor(RNG.uniform(0.2, 0.8, 3))
    y = transform(x)
    assert transform.codomain.check(y).all()
    np.testing.assert_allclose(transform.inv(y).numpy(), x.numpy(), rtol=1e-6)
    assert y.shape == transform.forward_shape(x.shape)
    assert x.shape == transform.inverse_shape(y.shape)

    def free(v):  # the elements of a result that its other elements do not fix
        z = transform(v)
        if isinstance(transform, D.StickBreakingTransform):
            return z[:-1]
        return z[tuple(rv.tril_indices(3, 3, -1))] if z.shape == (3, 3) else z.reshape(-1)

    J = rv.autograd.functional.jacobian(free, x).numpy()
    found = transform.log_abs_det_jacobian(x, y).sum().item()
    assert found == pytest.approx(np.linalg.slogdet(J)[1], rel=1e-6, abs=1e-9)
    assert transform.inv.inv is transform
    assert isinstance(transform.inv, D.transforms._InverseTransform)
    assert transform.inv.log_abs_det_jacobian(y, x).sum().item() == pytest.approx(-found)


@pytest.mark.parametrize("registry", [D.biject_to, D.transform_to])
@pytest.mark.parametrize(
    ("constraint", "shape"),
    [
        (constraints.real, (3,)),
        (constraints.positive, (3,)),
        (constraints.greater_than_eq(2.0), (3,)),
        (constraints.less_than(rv.tensor([1.0, 2.0, 3.0])), (3,)),
        (constraints.unit_interval, (3,)),
        (constraints.half_open_interval(-1.0, 3.0), (3,)),
        (constraints.simplex, (2, 3)),
        (constraints.lower_cholesky, (2, 3, 3)),
        (constraints.positive_definite, (2, 3, 3)),
        (constraints.corr_cholesky, (6,)),
        (constraints.independent(constraints.positive, 1), (2, 3)),
        (constraints.cat([constraints.positive, constraints.real], -1, [1, 2]), (2, 3)),
        (constraints.stack([constraints.positive, constraints.real], -1), (3, 2)),
    ],
)
def test_transforms_lead_onto_their_sets(registry, constraint, shape):
    transform = registry(constraint)
    y = transform(rv.tensor(RNG.normal(size=shape)))
    assert constraint.check(y).all()
    np.testing.assert_allclose(transform(transform.inv(y)).numpy(), y.numpy(), rtol=1e-5, atol=1e-9)


def test_registries():
    class Even(constraints.Constraint):
        pass

    refused(NotImplementedError, "got Even(), which has no transform", D.biject_to, Even())
    refused(TypeError, "expected a Constraint", D.biject_to.register, 3, len)

    @D.biject_to.register(Even)
    def _(constraint):
        return D.AffineTransform(0.0, 2.0)

    assert D.biject_to(Even())(rv.ones(1)).item() == 2


def test_transforms_of_other_dimensions():
    """A base that is expanded, a batch that becomes an event, and the shapes of the result."""
    scale = rv.tensor([1.0, 2.0, 4.0])
    d = D.TransformedDistribution(D.Normal(0.0, 1.0), D.AffineTransform(0.0, scale))
    assert (d.batch_shape, d.sample((2,)).shape) == ((3,), (2, 3))
    np.testing.assert_allclose(
        d.log_prob(scale).numpy(), D.Normal(rv.zeros(3), scale).log_prob(scale).numpy(), rtol=1e-6
    )
    sticks = D.TransformedDistribution(D.Normal(rv.zeros(2, 3), 1.0), D.StickBreakingTransform())
    assert (sticks.batch_shape, sticks.event_shape) == ((2,), (4,))
    assert sticks.log_prob(sticks.sample((5,))).shape == (5, 2)
    assert isinstance(sticks.base_dist, D.Independent)
    matrices = D.TransformedDistribution(D.Normal(rv.zeros(6), 1.0), D.ReshapeTransform((6,), (2, 3)))
    assert (matrices.event_shape, matrices.log_prob(rv.zeros(2, 3)).shape) == ((2, 3), ())
    refused(ValueError, "expected at least 1 dim", D.TransformedDistribution, D.Normal(0.0, 1.0),
            D.StickBreakingTransform())  # fmt: skip
    assert d.expand((2, 3)).base_dist.batch_shape == (2, 3)


def test_correlations_have_their_marginal_distribution():
    """2 x Beta(a, a) - 1 with a = concentration + (dim - 2) / 2: variance 1 / (2 a + 1)."""
    rv.manual_seed(0)
    for c in (0.5, 1.0, 3.0):
        lower = D.LKJCholesky(4, c).sample((20_000,)).numpy().astype(np.float64)
        assert constraints.corr_cholesky.check(rv.tensor(lower.astype(np.float32))).all()
        correlations = lower @ lower.transpose(0, 2, 1)
        for i, j in ((1, 0), (2, 0), (3, 1), (3, 2)):
            assert correlations[:, i, j].var() == pytest.approx(1 / (2 * (c + 1) + 1), rel=0.05)
    refused(ValueError, "got dim 1; expected a whole number", D.LKJCholesky, 1)


def test_a_negative_binomial_has_its_moments():
    rv.manual_seed(0)
    d = D.NegativeBinomial(rv.tensor([0.5, 4.0]), rv.tensor([0.3, 0.6]))
    draws = d.sample((40_000,)).numpy()
    np.testing.assert_allclose(draws.mean(0), d.mean.numpy(), rtol=0.05)
    np.testing.assert_allclose(draws.var(0), d.variance.numpy(), rtol=0.08)
    k = rv.arange(60, dtype=rv.float32).unsqueeze(-1)
    np.testing.assert_allclose(d.log_prob(k).exp().sum(0).numpy(), 1.0, rtol=1e-4)


def test_utils():
    a, b = utils.broadcast_all(rv.zeros(2, dtype=rv.float64), 1)
    assert (a.shape, b.shape, b.dtype) == ((2,), (2,), rv.float64)
    matrix = rv.arange(9.0).reshape(3, 3)
    for diag in (-1, 0):
        vector = utils.tril_matrix_to_vec(matrix, diag)
        np.testing.assert_array_equal(
            utils.vec_to_tril_matrix(vector, diag).numpy(), matrix.tril(diag).numpy()
        )
    refused(ValueError, "got 2 values", utils.vec_to_tril_matrix, rv.zeros(2))
    assert utils._sum_rightmost(rv.ones(2, 3), 1).tolist() == [3.0, 3.0]
    assert utils.probs_to_logits(rv.tensor(0.25), True).item() == pytest.approx(math.log(1 / 3))
    assert utils.logits_to_probs(rv.zeros(4)).tolist() == [0.25] * 4


@pytest.mark.parametrize("kind", [D.Normal, D.Gumbel])
def test_sample_does_not_ask_rsample(kind):
    class Quarter(kind):
        def rsample(self, sample_shape=()):
            return super().rsample(sample_shape) * 0 + 0.25

    d = Quarter(rv.zeros(3), rv.ones(3))
    assert d.rsample().tolist() == [0.25] * 3
    assert 0.25 not in d.sample().tolist()
    assert not d.sample().requires_grad


def test_classes_are_derived_as_pytorchs_are():
    """Programs choose by `isinstance`."""
    p = rv.tensor([0.25, 0.75])
    vector = D.OneHotCategorical(p)
    assert not isinstance(vector, D.Categorical)
    assert not isinstance(D.Categorical(p), D.OneHotCategorical)
    exponential = (D.Bernoulli, D.Beta, D.Dirichlet, D.Exponential, D.Gamma, D.Normal, D.Poisson)
    assert all(issubclass(kind, ExponentialFamily) for kind in exponential)
    others = (D.Categorical, D.Binomial, D.Laplace, D.Uniform, D.StudentT)
    assert not any(issubclass(kind, ExponentialFamily) for kind in others)
    assert issubclass(left_out.Chi2, D.Gamma)
    assert issubclass(left_out.Pareto, D.TransformedDistribution)
    assert issubclass(left_out.OneHotCategoricalStraightThrough, D.OneHotCategorical)


def test_divergences_of_vectors_of_one_1():
    p, q = rv.tensor([0.25, 0.75]), rv.tensor([0.5, 0.5])
    expected = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)
    vectors = D.kl_divergence(D.OneHotCategorical(p), D.OneHotCategorical(q))
    assert vectors.item() == pytest.approx(expected, rel=1e-6)
    refused(
        NotImplementedError,
        "[kl_divergence] got Categorical and OneHotCategorical",
        D.kl_divergence,
        D.Categorical(p),
        D.OneHotCategorical(q),
    )


class Decay(ExponentialFamily):
    """The density rate exp(-rate x), by its natural parameter."""

    arg_constraints: ClassVar = {}

    def __init__(self, rate):
        self.rate = rate
        super().__init__(rate.shape)

    @property
    def _natural_params(self):
        return (-self.rate,)

    def _log_normalizer(self, natural):
        return -rv.log(-natural)

    _mean_carrier_measure = 0.0


def test_the_entropy_of_an_exponential_family():
    rate = np.array([0.5, 2.0, 7.0])
    given = Decay(rv.tensor(rate)).entropy()
    np.testing.assert_allclose(given.detach().numpy(), 1 - np.log(rate), rtol=1e-12)
