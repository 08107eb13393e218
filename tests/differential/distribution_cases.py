"""Parameters and values of each distribution, and its answers in either library."""

import importlib

import numpy as np

RNG = np.random.default_rng(0)
NAN, INF = np.nan, np.inf
SQUARE = RNG.normal(size=(2, 3, 3))
MATRICES = SQUARE @ SQUARE.transpose(0, 2, 1) + np.eye(3)
SHARES = RNG.dirichlet(np.ones(3), 4)
REALS = [-INF, -1e30, -3.5, -1.0, -1e-300, 0.0, 0.25, 1.0, 2.5, 1e30, INF]
SHARED = [0.0, 1e-300, 0.1, 0.5, 1 - 1e-9, 1.0]
COUNTS = [0.0, 1.0, 2.0, 4.0, 5.0, 60.0]
ROWS = [[0.2, 0.3, 0.5], [1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.2, 0.2, 0.2], [1.2, -0.2, 0.0]]
TALLIES = [[1.0, 0.0, 4.0], [5.0, 0.0, 0.0], [2.0, 2.0, 1.0], [1.0, 1.0, 1.0], [4.0, 2.0, 0.0]]
WRONG = [-1.0, 0.5, NAN, 2.0, -INF]  # tried with every distribution of numbers

BATCH, POSITIVE = RNG.normal(size=(4, 3)), RNG.uniform(0.2, 3, (4, 3))
COLUMN, EMPTY = RNG.uniform(0.2, 3, (4, 1)), np.ones((0, 3))
PROBS = RNG.uniform(0.05, 0.95, (4, 3))


def located(limit=1e-3):
    scales = np.array([limit, 1.0, 1e3])
    return [(0.5, 1.5), (BATCH, POSITIVE), (BATCH, 2.0), (0.0, COLUMN), (EMPTY, EMPTY), (1e3, scales)]


# PyTorch makes no Beta or Dirichlet of no rows. The parameters (a name before one: by keyword), and values
TABLE = {
    "Normal": (located(), REALS),
    "LogNormal": ([(0.1, 0.5), (BATCH, POSITIVE / 2), (EMPTY, EMPTY), (0.0, COLUMN / 2)], REALS),
    "Laplace": (located(), REALS),
    "Cauchy": (located(), REALS),
    "Gumbel": (located(0.1), [x for x in REALS if abs(x) < 1e29]),
    "StudentT": (
        [(3.0,), (POSITIVE, BATCH, 2.0), (0.5,), (1.0,), (2.0,), (1e6, 0.0, COLUMN), (EMPTY,)],
        REALS,
    ),
    "Uniform": ([(0.0, 1.0), (BATCH, BATCH + POSITIVE), (-1e6, COLUMN), (EMPTY, EMPTY + 1)], REALS),
    "Exponential": ([(1.5,), (POSITIVE,), (1e-6,), (1e6,), (EMPTY,)], REALS),
    "HalfNormal": ([(1.5,), (POSITIVE,), (1e-3,), (EMPTY,)], REALS),
    "HalfCauchy": ([(1.5,), (POSITIVE,), (1e-3,), (EMPTY,)], REALS),
    "Gamma": (
        [(2.0, 3.0), (POSITIVE, COLUMN), (1.0, 1.0), (1e-3, 1.0), (1e4, 10.0), (EMPTY, EMPTY)],
        [x for x in REALS if x < 1e29],
    ),
    "Beta": ([(2.0, 3.0), (POSITIVE, COLUMN), (1.0, 1.0), (1e-3, 1e-2), (1e4, 0.5), (0.5, 0.5)], SHARED),
    "Dirichlet": (
        [(POSITIVE,), (np.ones(3),), (np.full(3, 0.5),), (np.array([0.5, 1.0, 3.0]),), (POSITIVE[:, None],)],
        ROWS,
    ),
    "Bernoulli": (
        [(0.3,), (PROBS,), (0.0,), (1.0,), (0.5,), ("logits", BATCH), ("logits", 10.0), (EMPTY,)],
        COUNTS,
    ),
    "Geometric": ([(0.3,), (PROBS,), (1.0,), (1e-6,), ("logits", BATCH), (EMPTY,)], COUNTS),
    "NegativeBinomial": (
        [(5, 0.3), (5.5, PROBS), (POSITIVE, 0.0), (5, "logits", BATCH), (np.array([1.0, 5.0]), 0.5)],
        COUNTS,
    ),
    "Poisson": ([(2.0,), (POSITIVE,), (0.0,), (1e4,), (2.5,), (EMPTY,)], COUNTS),
    "Binomial": (
        [
            (5, 0.3),
            (5, PROBS),
            (5, 0.0),
            (5, 1.0),
            (0, 0.5),
            (5, "logits", BATCH),
            (np.array([1.0, 5.0]), 0.5),
        ],
        COUNTS,
    ),
    "Categorical": (
        [
            (SHARES,),
            (np.array([0.0, 1.0, 3.0]),),
            ("logits", BATCH),
            (np.ones((2, 4, 3)),),
            (np.ones((0, 3)),),
        ],
        [0.0, 1.0, 2.0, 3.0],
    ),
    "OneHotCategorical": ([(SHARES,), (np.array([0.0, 1.0, 3.0]),), ("logits", BATCH)], [*np.eye(3), *ROWS]),
    "Multinomial": ([(5, SHARES), (5, "logits", BATCH), (5, np.array([0.0, 1.0, 1.0]))], TALLIES),
    "MultivariateNormal": (
        [
            (np.zeros(3), MATRICES[0]),
            (BATCH, MATRICES[0]),
            (BATCH[0], MATRICES),
            (BATCH[0], "precision_matrix", MATRICES),
            (BATCH[:, None], "scale_tril", np.linalg.cholesky(MATRICES)),
        ],
        [[0.0, 0.0, 0.0], [1.0, -2.0, 3.0], [1e3, 0.0, 0.0]],
    ),
}
METHODS = ["mean", "variance", "stddev", "mode", "entropy", "perplexity"]
FINITE = {"Bernoulli", "Binomial", "Categorical", "OneHotCategorical"}
# where PyTorch's answer is not the function's
KNOWN = {
    ("Gumbel", "cdf"): "PyTorch refuses arguments whose cdf is less than float64's eps",
    ("Gumbel", "icdf"): "PyTorch's icdf of 0 and 1 is that of numbers beside them",
    ("Multinomial", "entropy"): "PyTorch takes one logarithm in float32",
    ("Multinomial", "perplexity"): "the same",
}


def module(library, path=""):
    return importlib.import_module(library + path)


def made(library, name, parameters, requires_grad=False, validate_args=None):
    """The distribution and its parameters."""
    given, keyword, leaves = [], {}, []
    waiting = ""
    for x in parameters:
        if isinstance(x, str):
            waiting = x
            continue
        if not (name in ("Binomial", "Multinomial") and isinstance(x, int)):
            x = module(library).tensor(np.asarray(x, np.float64), requires_grad=requires_grad)
            leaves.append(x)
        if waiting:
            keyword[waiting] = x
        else:
            given.append(x)
    kind = getattr(module(library, ".distributions"), name)
    return kind(*given, **keyword, validate_args=validate_args), leaves


def outcome(function):
    """Its result as an array, or the name of what it raises."""
    try:
        x = function()
    except NotImplementedError:
        return "NotImplementedError"
    except (ValueError, RuntimeError, AssertionError):  # PyTorch has all three for shapes
        return "ValueError"
    return x.detach().numpy() if hasattr(x, "detach") else x


def same(ours, theirs, what, rtol=1e-9, atol=1e-12):
    assert isinstance(ours, str) == isinstance(theirs, str), (what, ours, theirs)
    if isinstance(ours, str):
        assert ours == theirs, what
        return
    assert ours.shape == theirs.shape, what
    assert ours.dtype == theirs.dtype, what
    np.testing.assert_allclose(ours, theirs, rtol, atol, err_msg=str(what))


ROWS_OF_TABLE = [(name, p) for name, (several, _) in TABLE.items() for p in several]
IDS = [f"{name}-{i}" for name, (several, _) in TABLE.items() for i in range(len(several))]


def got(d, what, *arguments):
    """An attribute, or what a method returns."""

    def find():
        x = getattr(d, what)
        return x(*arguments) if callable(x) else x

    return outcome(find)
