"""Distributions beside PyTorch's: each method of each distribution, at limits, in batches, for no rows."""

import numpy as np
import pytest
import ranvier as rv

torch = pytest.importorskip("torch")
pytest.importorskip("torch.distributions")

from differential.distribution_cases import (  # noqa: E402
    BATCH,
    COLUMN,
    FINITE,
    IDS,
    INF,
    KNOWN,
    MATRICES,
    METHODS,
    NAN,
    POSITIVE,
    PROBS,
    RNG,
    ROWS_OF_TABLE,
    SHARES,
    TABLE,
    WRONG,
    got,
    made,
    module,
    outcome,
    same,
)


@pytest.mark.parametrize(("name", "parameters"), ROWS_OF_TABLE, ids=IDS)
def test_properties_and_shapes(name, parameters):
    ours, theirs = (made(library, name, parameters)[0] for library in ("ranvier", "torch"))
    for what in METHODS:
        if (name, what) not in KNOWN:
            same(got(ours, what), got(theirs, what), (name, what), rtol=1e-8)
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    assert ours.support.event_dim == theirs.support.event_dim
    assert ours.support.is_discrete == theirs.support.is_discrete
    wide = [d.expand((2, *d.batch_shape)) for d in (ours, theirs)]
    assert type(wide[0]) is type(ours)
    for mine, other in ((ours, theirs), wide):
        for attribute in ("batch_shape", "event_shape"):
            assert tuple(getattr(mine, attribute)) == tuple(getattr(other, attribute)), attribute
        for what in ("mean", "variance"):
            same(got(mine, what), got(other, what), what, 1e-8)
        for expand in (True, False):
            arguments = "enumerate_support", expand
            same(got(mine, *arguments), got(other, *arguments), "enumerate_support")
        for shape in ((), (5,), (2, 1)):
            drawn, expected = got(mine, "sample", shape), got(other, "sample", shape)
            assert (drawn.shape, drawn.dtype) == (expected.shape, expected.dtype)
            value = torch.tensor(drawn)
            same(got(mine, "log_prob", drawn), got(other, "log_prob", value), (name, "log_prob", drawn), 1e-7)
        assert got(mine, "sample", (0,)).shape == (0, *mine.batch_shape, *mine.event_shape)


def answers(library, name, parameters, value):
    """The results of a distribution's methods for a value, with the gradients of log_prob."""
    d, leaves = made(library, name, parameters, requires_grad=True)
    full = np.broadcast_to(np.asarray(value, np.float64), (*d.batch_shape, *np.shape(value)))
    x = module(library).tensor(full.copy(), requires_grad=name not in FINITE)
    found = {"log_prob": got(d, "log_prob", x), "cdf": got(d, "cdf", x)}
    if not isinstance(found["log_prob"], str) and np.isfinite(found["log_prob"]).all():
        d.log_prob(x).sum().backward()
        grads = {f"gradient {i}": leaf.grad for i, leaf in enumerate([*leaves, x])}
        found |= {k: g.numpy() for k, g in grads.items() if g is not None}
    if np.ndim(value) == 0 and 0 <= value <= 1:
        found["icdf"] = got(d, "icdf", x)
    return found


@pytest.mark.parametrize(("name", "parameters"), ROWS_OF_TABLE, ids=IDS)
def test_values(name, parameters):
    """log_prob, cdf and icdf, value by value: refused, or equal; and the gradients of log_prob."""
    values = TABLE[name][1]
    for value in [*values, *WRONG] if np.ndim(values[0]) == 0 else values:
        ours, theirs = (answers(library, name, parameters, value) for library in ("ranvier", "torch"))
        assert ours.keys() == theirs.keys(), (name, value)
        for what, expected in theirs.items():
            if (name, what) not in KNOWN:
                same(ours[what], expected, (name, what, value), 1e-7, 1e-11)


BAD = {
    "Normal": [(NAN, 1.0), (0.0, 0.0), (0.0, -1e-6), (0.0, NAN)],
    "LogNormal": [(0.0, 0.0), (NAN, 1.0)],
    "Laplace": [(0.0, 0.0), ([1.0, 1.0], [1.0, -1.0])],
    "Cauchy": [(0.0, -1.0), (NAN, 1.0)],
    "Gumbel": [([1.0, 1.0], [0.0, 1.0]), (NAN, 1.0)],
    "StudentT": [(0.0,), (-2.0,), (1.0, NAN), (1.0, 0.0, 0.0)],
    "Uniform": [(2.0, 2.0), (1.0, 0.0), (NAN, 0.0), (0.0, NAN)],
    "Exponential": [(0.0,), (-2.0,), (NAN,)],
    "HalfNormal": [([0.0, 1.0],), (-1.0,)],
    "HalfCauchy": [([0.0, 1.0],), (-1.0,)],
    "Gamma": [(0.0, 1.0), (1.0, 0.0), (NAN, 1.0)],
    "Beta": [(0.0, 1.0), (-1.0, -2.0), (1.0, NAN)],
    "Dirichlet": [([0.0],), ([-2.0, 1.0],), ([1.0, NAN],), (1.0,)],
    "Bernoulli": [(1.1,), (-0.5,), (NAN,), ("logits", NAN), (), (0.5, 0.5)],
    "Geometric": [(0.0,), (1.1,), (-0.3,), ("logits", NAN), ()],
    "NegativeBinomial": [(-1.0, 0.5), (1.0, 1.0), (1.0, -0.1), (1.0, NAN), (1.0, "logits", NAN)],
    "Poisson": [(-0.1,), (NAN,)],
    "Binomial": [(10, -1e-7), (10, 2.0), (np.array(-1.0), 0.5), (np.array(1.5), 0.5), (5,)],
    "Categorical": [
        ([[-0.1, 0.2, 0.3], [0.5, 0.3, 0.2]],),
        ([0.0, 0.0],),
        ([INF, 1.0],),
        ("logits", [NAN, 1.0]),
        (1.0,),
    ],
    "OneHotCategorical": [([0.1, -10.0],), ([0.0, 0.0],), ()],
    "Multinomial": [(5, [-0.1, 0.2]), (5,)],
    "MultivariateNormal": [
        ([1.0, 1.0], [[1.0, 0.0], [0.0, -2.0]]),
        ([1.0, 1.0], [[1.0, 0.5], [0.2, 1.0]]),
        ([1.0, NAN], np.eye(2)),
        ([1.0, 1.0], "scale_tril", [[1.0, 1.0], [0.0, 1.0]]),
        ([1.0, 1.0], "scale_tril", [[0.0, 0.0], [0.0, 1.0]]),
        (1.0, np.eye(1)),
        ([1.0, 1.0],),
    ],
}


@pytest.mark.parametrize("name", BAD)
def test_parameters_that_are_refused(name):
    for parameters in BAD[name]:
        for library in ("torch", "ranvier"):
            assert outcome(lambda k=library, p=parameters: made(k, name, p)) == "ValueError", parameters


@pytest.mark.parametrize("concentration", [0.5, 1.0, POSITIVE])
def test_correlations(concentration):
    values = RNG.normal(size=(2, 4, 3, 6))
    found = []
    for library in ("ranvier", "torch"):
        d = module(library, ".distributions")
        prior, to_factor = d.LKJCholesky(4, module(library).tensor(concentration)), d.CorrCholeskyTransform()
        x = module(library).tensor(values, requires_grad=True)
        factors = to_factor(x)
        logs = prior.log_prob(factors) + to_factor.log_abs_det_jacobian(x, factors)
        logs.sum().backward()
        found.append([y.detach().numpy() for y in (factors, logs, x.grad, to_factor.inv(factors))])
    for ours, theirs in zip(*found, strict=True):
        same(ours, theirs, concentration, 1e-6)


# --- transforms: random compositions of those of numbers, then those of vectors
ONE = [
    "ExpTransform()",
    "SigmoidTransform()",
    "TanhTransform()",
    "SoftplusTransform()",
    "PowerTransform(1.5)",
]
ONE += ["AffineTransform(0.5, {s})", "ComposeTransform([TanhTransform(), AffineTransform(1.0, 2.0)])"]
ONE += ["ExpTransform().inv", "CumulativeDistributionTransform(Laplace({s}, 2.0))"]
OF_VECTORS = ["StickBreakingTransform()", "SoftmaxTransform()", "IndependentTransform({one}, 1)"]
OF_VECTORS += ["AffineTransform({s}, {s}, 1)", "CatTransform([{one}, ExpTransform()], -1, [1, 2])"]
OF_VECTORS += ["ReshapeTransform((3,), (3, 1))", "StackTransform([{one}, ExpTransform(), {one}], -1)"]


@pytest.mark.parametrize("seed", range(60))
def test_transformed_distributions(seed):
    draw = np.random.default_rng(seed)
    scale = draw.uniform(0.5, 2, 3)
    one = ONE[draw.integers(len(ONE))]
    texts = [ONE[0], one, OF_VECTORS[draw.integers(len(OF_VECTORS))]][draw.integers(2) :]
    noise, found = draw.uniform(0.2, 0.9, (4, 3)), []
    for library in ("ranvier", "torch"):
        names = vars(module(library, ".distributions"))
        s = module(library).tensor(scale, requires_grad=True)
        parts = [eval(t.format(one=one.format(s="s"), s="s"), dict(names, s=s)) for t in texts]
        base = names["Gamma"](s, module(library).tensor(2.0, dtype=s.dtype))
        d = names["TransformedDistribution"](base, parts, validate_args=False)
        x = module(library).tensor(noise)
        for part in parts:
            x = part(x)
        logs = outcome(lambda d=d, x=x: d.log_prob(x))
        results = [logs, np.array([*d.batch_shape, -1, *d.event_shape]), repr(parts), x.detach().numpy()]
        if not isinstance(logs, str):
            d.log_prob(x).sum().backward()
            results += [s.grad.numpy(), d.support.event_dim]
        found.append(results)
    assert len(found[0]) == len(found[1]), texts
    for ours, theirs in zip(*found, strict=True):
        if isinstance(ours, np.ndarray):
            same(ours, theirs, texts, 1e-7, 1e-9)
    assert found[0][1].tolist() == found[1][1].tolist()


# --- divergences of all pairs
PAIRED = {
    **{name: several[:2] for name, (several, _) in TABLE.items()},
    "Beta": [(2.0, 3.0), (POSITIVE, COLUMN)],
    "Uniform": [(0.0, 1.0), (0.2, 0.7), (BATCH, BATCH + POSITIVE)],
    "Gamma": [(2.0, 3.0), (POSITIVE + 1, COLUMN)],
    "Bernoulli": [(0.3,), (PROBS,), (0.0,), (1.0,)],
    "Geometric": [(0.3,), (PROBS,)],
    "Binomial": [(5, 0.3), (5, 0.0), (5, 1.0), (4, PROBS)],
    "Categorical": [(SHARES,), (np.array([0.0, 1.0, 3.0]),), (np.ones(3),)],
    "Multinomial": [(5, SHARES)],
    "MultivariateNormal": [(np.zeros(3), MATRICES[0]), (BATCH[0], MATRICES)],
}


@pytest.mark.parametrize("first", PAIRED)
def test_divergences(first):
    for second in PAIRED:
        for p in PAIRED[first]:
            for q in PAIRED[second]:
                results = []
                for library in ("ranvier", "torch"):
                    d = module(library, ".distributions")
                    two = made(library, first, p)[0], made(library, second, q)[0]
                    results.append(outcome(lambda d=d, two=two: d.kl_divergence(*two)))
                if not isinstance(results[1], str) and np.isinf(results[1]).all():
                    results[1] = np.broadcast_to(results[1], results[0].shape)  # PyTorch's has the shape of p
                limits = first == second == "Binomial" and any(
                    x[1] in (0.0, 1.0) for x in (p, q) if x[0] == 5
                )
                if not limits:  # where PyTorch's logits are clamped
                    same(*results, (first, second, p, q), 1e-8, 1e-10)


def differences(f, a):
    """f' by Richardson's extrapolation, with steps in proportion to the spread of a Gamma(a)."""
    step = 2e-2 * a / (1 + a) ** 0.5
    d1, d2, d3 = ((f(a + h) - f(a - h)) / (2 * h) for h in (step, step / 2, step / 4))
    first, second = (4 * d2 - d1) / 3, (4 * d3 - d2) / 3
    return (16 * second - first) / 15


@pytest.mark.parametrize("a", np.logspace(-3, 4, 15))
def test_implicit_gradients(a):
    """The derivative of a quantile by a concentration: -(dF/da) / p, F of SciPy. PyTorch is off by 1e-3."""
    special = pytest.importorskip("scipy.special")
    from ranvier.distributions import gamma

    shares = np.array([1e-4, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 0.9999])
    x = special.gammaincinv(a, shares)
    x = x[x > 1e-290]
    above = special.gammainc(a, x) > 0.5
    slope = differences(lambda b: np.where(above, -special.gammaincc(b, x), special.gammainc(b, x)), a)
    density = np.exp(a * np.log(x) - x - special.gammaln(a))  # the density of log x
    found = gamma._in_parts(gamma._of_gamma, np.full_like(x, a), x)[:, 0]
    np.testing.assert_allclose(found, -slope / density, rtol=1e-7)
    for b in np.logspace(-3, 4, 8):
        x = special.betaincinv(a, b, shares)
        x = x[(x > 1e-290) & (x < 0.999)]  # beyond, 1 - x has few digits
        above = special.betainc(a, b, x) > 0.5
        slope = differences(
            lambda c, x=x, b=b, above=above: np.where(
                above, -special.betaincc(c, b, x), special.betainc(c, b, x)
            ),
            a,
        )
        density = np.exp(a * np.log(x) + b * np.log1p(-x) - special.betaln(a, b))  # the density of logit x
        found = gamma._in_parts(gamma._of_beta, np.full_like(x, a), np.full_like(x, b), x, np.log(x))
        np.testing.assert_allclose(found, -slope / density, rtol=2e-6)


@pytest.mark.parametrize(("name", "parameters"), ROWS_OF_TABLE, ids=IDS)
def test_draws_follow_the_distribution_function(name, parameters):
    """Kolmogorov and Smirnov's distance of 4,000 draws for each parameter."""
    stats, n = pytest.importorskip("scipy.stats"), 4000
    below = {
        "Beta": lambda d: stats.beta(d.concentration1.numpy(), d.concentration0.numpy()).cdf,
        "StudentT": lambda d: stats.t(d.df.numpy(), d.loc.numpy(), d.scale.numpy()).cdf,
    }
    d = made("ranvier", name, parameters)[0]
    rv.manual_seed(5)
    x = d.sample((n,))
    if name in below:
        share = below[name](d)(x.numpy())
    elif isinstance(share := got(d, "cdf", x), str):
        return  # compared by moments, in tests/distributions/test_as_pytorch.py
    share, spots = np.sort(share.reshape(n, -1), 0), np.arange(1, n + 1)[:, None] / n
    distance = np.maximum(np.abs(share - spots), np.abs(share - spots + 1 / n)).max(0, initial=0.0)
    least = (x.numpy() == np.finfo(np.float64).tiny).mean(0).max(initial=0.0)  # draws that would be less
    assert (distance < 2.5 / n**0.5 + least).all(), distance  # 2.5: one in 130,000


# --- transforms alone, at their edges
TRANSFORMS = {
    "ExpTransform": lambda d, t: d.ExpTransform(),
    "SigmoidTransform": lambda d, t: d.SigmoidTransform(),
    "TanhTransform": lambda d, t: d.TanhTransform(),
    "SoftplusTransform": lambda d, t: d.SoftplusTransform(),
    "AffineTransform": lambda d, t: d.AffineTransform(t.tensor([1.0, -2.0]).double(), -3.0),
    "ComposeTransform": lambda d, t: d.ComposeTransform([d.AffineTransform(1.0, -2.0), d.SigmoidTransform()]),
    "inverse": lambda d, t: d.ComposeTransform([d.ExpTransform(), d.AffineTransform(0.5, 2.0)]).inv,
}
EDGES = [-INF, -700.0, -40.0, -1.0, -1e-12, 0.0, 0.25, 0.5, 1 - 1e-12, 1.0, 2.0, 40.0, 700.0, INF, NAN]


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name):
    results = []
    for library in ("ranvier", "torch"):
        t, d = module(library), module(library, ".distributions.transforms")
        f = TRANSFORMS[name](d, t)
        x = t.tensor(np.stack([EDGES, EDGES], -1))
        y = f(x)
        found = {"y": y, "inverse": f.inv(x), "slope": f.log_abs_det_jacobian(x, y), "back": f.inv(y)}
        normal = module(library, ".distributions").Normal(t.zeros(2).double(), t.ones(2).double())
        wide = module(library, ".distributions").TransformedDistribution(normal, [f])
        inside = f(t.tensor(np.array([[-2.0, -1.0], [0.5, 3.0]]))) if name != "inverse" else None
        if inside is not None:
            found |= {"log_prob": wide.log_prob(inside), "cdf": wide.cdf(inside)}
            found["icdf"] = wide.icdf(t.tensor(np.array([[0.1, 0.3], [0.5, 0.9]])))
            found["expanded"] = wide.expand((3, 2)).log_prob(inside[0])
        results.append({k: outcome(lambda v=v: v) for k, v in found.items()})
    for what, theirs in results[1].items():
        same(results[0][what], theirs, (name, what), 1e-9, 1e-12)


@pytest.mark.parametrize("first", TRANSFORMS)
def test_equal_transforms_and_divergences_between_them(first):
    for second in TRANSFORMS:
        results = []
        for library in ("ranvier", "torch"):
            t, d = module(library), module(library, ".distributions")
            f, g = (TRANSFORMS[name](d.transforms, t) for name in (first, second))
            p = d.TransformedDistribution(d.Normal(t.zeros(2).double(), 1.0), [f])
            q = d.TransformedDistribution(d.Normal(t.zeros(2).double(), 2.0), [g])
            results.append((f == g, outcome(lambda d=d, p=p, q=q: d.kl_divergence(p, q))))
        assert results[0][0] == results[1][0]
        same(results[0][1], results[1][1], (first, second))
