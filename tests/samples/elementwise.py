"""Samples of `ops/elementwise`: functions of one tensor, and choices between tensors.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from statistics import NormalDist

import numpy as np
from reference import special

from samples.sample import at_kink, call, fixed, op, refused

INF, NAN = np.inf, np.nan
EDGES = np.array([-INF, -2.0, -0.0, 0.0, 1.0, INF, NAN])


def between(low, high, edges=EDGES, integers=(1, 9)):
    """Samples of a function of one tensor whose domain has these limits."""

    def samples(x):
        yield call(x(3, 1, x.n, low=low, high=high))
        yield call(x(*x.shape(), low=low, high=high))
        yield call(x(low=low, high=high))
        yield call(x(0, 3))
        yield call(edges)
        yield call(x.integers(*integers, 3, x.n))
        yield call(x.integers(*integers, x.n, dtype=np.int32))
        yield refused(TypeError, f"[{x.name}] got str", "text")

    return samples


anywhere = between(-3.0, 3.0)
inside = between(-0.9, 0.9, integers=(-1, 2))
above_0 = between(0.25, 4.0)
exponents = between(-3.0, 3.0, integers=(-3, 3))

op(anywhere, names="neg", reference=np.negative, exact=True)
op(anywhere, names="abs", reference=np.abs, exact=True, kinks=(0.0,), apart="NaN")
op(anywhere, names="sign", reference=np.sign, exact=True, kinks=(0.0,), lacks="jet", apart="limits")
op(anywhere, names="square", reference=np.square)
op(between(0.5, 3.0), names="reciprocal", reference=lambda x: 1.0 / x, lacks="written")
op(above_0, names="sqrt", reference=np.sqrt, lacks="written")
op(above_0, names="rsqrt", reference=lambda x: 1.0 / np.sqrt(x), lacks="written")
op(exponents, names="exp", reference=np.exp, lacks="written")
op(exponents, names="exp2", reference=lambda x: np.exp2(x * 1.0), lacks="written")
op(exponents, names="expm1", reference=np.expm1, lacks="written")
op(above_0, names="log", reference=np.log)
op(above_0, names="log2", reference=np.log2)
op(above_0, names="log10", reference=np.log10)
op(between(-0.5, 3.0), names="log1p", reference=np.log1p)
op(anywhere, names="sin", reference=np.sin)
op(anywhere, names="cos", reference=np.cos)
op(between(-1.2, 1.2), names="tan", reference=np.tan)
op(inside, names="asin", reference=np.arcsin)
op(inside, names="acos", reference=np.arccos)
op(anywhere, names="atan", reference=np.arctan)
op(exponents, names="sinh", reference=np.sinh)
op(exponents, names="cosh", reference=np.cosh)
op(anywhere, names="asinh", reference=np.arcsinh)
op(between(1.2, 4.0), names="acosh", reference=np.arccosh)
op(inside, names="atanh", reference=np.arctanh)
op(anywhere, names="sinc", reference=np.sinc)
op(between(-90.0, 90.0), names="deg2rad", reference=np.deg2rad)
op(anywhere, names="rad2deg", reference=np.rad2deg)
op(anywhere, names="positive", reference=np.positive, exact=True)
op(anywhere, names="isneginf", reference=np.isneginf)
op(anywhere, names="isposinf", reference=np.isposinf)
op(anywhere, names="signbit", reference=np.signbit, lacks="C ONNX")
op(anywhere, names="logical_not", reference=np.logical_not)


def questions(x):
    *calls, _ = anywhere(x)
    yield from calls
    yield refused(TypeError, f"[{x.name}] got dtype <U4", "text")


op(questions, names="isnan", reference=np.isnan)
op(questions, names="isinf", reference=np.isinf)
op(questions, names="isfinite", reference=np.isfinite)

WHOLE = range(-3, 4)
op(anywhere, names="ceil", reference=np.ceil, exact=True, kinks=WHOLE)
op(anywhere, names="floor", reference=np.floor, exact=True, kinks=WHOLE)
op(anywhere, names="trunc", reference=np.trunc, exact=True, kinks=WHOLE)


def in_long_doubles(function, low=-INF, high=INF):
    """A function of `special`, from whose limits on it is constant."""
    return lambda x, **settings: function(np.clip(np.asarray(x, np.longdouble), low, high), **settings)


op(anywhere, names="erf", reference=in_long_doubles(lambda x: 1 - special.erfc(x), -9, 9))
op(anywhere, names="erfc", reference=in_long_doubles(special.erfc, -9, 40))
op(
    between(0.3, 6.0, np.array([1.5, NAN])),
    names="digamma",
    reference=in_long_doubles(special.digamma),
    lacks="C ONNX jet",
    apart="ties NaN infinity",
)
op(
    between(0.3, 6.0, np.array([-1.5, 1.5, NAN])),
    names="lgamma",
    reference=in_long_doubles(special.lgamma),
    lacks="ONNX limits",
)


def quantile_of_normal(x):
    """The inverse of erf by Python's quantiles of the normal distribution."""
    return NormalDist().inv_cdf((x + 1) / 2) / 2**0.5 if abs(x) < 1 else x * INF if abs(x) == 1 else NAN


@op(kinks=(-1.0, 1.0), reference=np.vectorize(quantile_of_normal, [float]), terms=lambda x: 4, lacks="C ONNX")
def erfinv(x):
    yield call(x(3, 1, x.n, low=-0.9, high=0.9))
    yield call(x(low=-0.9, high=0.9))
    yield call(x(0, 3))
    yield call(np.array([-2.0, -1.0, 0.0, 1.0, NAN]))
    yield call(x.integers(-1, 2, 5))
    yield refused(TypeError, "[erfinv] got str", "text")


@op(reference=lambda x: x - np.trunc(x), kinks=WHOLE)
def frac(x):
    yield call(x(3, 1, x.n, low=-3.0, high=3.0))
    yield call(x(low=-3.0, high=3.0))
    yield call(x(0, 3))
    yield call(np.array([-2.0, 0.0, 0.5, NAN]))


@op(
    reference=lambda x, decimals=0: np.round(x, decimals),
    kinks=(-2.5, -1.5, -0.5, 0.5, 1.5, 2.5),
    lacks="jet",
)
def round(x):
    yield call(x(3, 1, x.n, low=-3.0, high=3.0))
    yield call(x(low=-3.0, high=3.0))
    yield call(x(0, 3))
    yield call(np.array([-2.5, -1.5, 0.5, INF, NAN]))
    yield at_kink(x(x.n, low=-3.0, high=3.0), decimals=1)
    yield at_kink(x(x.n, low=-300.0, high=300.0), decimals=-1)
    yield call(x.integers(-5, 5, x.n))
    yield refused(TypeError, "[round] got x of dtype int64 and decimals 1", x.integers(-5, 5, 7), 1)


def logarithm_of_odds(x, eps=None):
    x = x if eps is None else np.clip(x, eps, 1 - eps)
    return np.log(x / (1 - x))


@op(reference=logarithm_of_odds, terms=lambda *args, **settings: 8, apart="ties NaN infinity")
def logit(x):
    yield call(x(3, x.n, low=0.05, high=0.95))
    yield call(x(low=0.05, high=0.95))
    yield call(x(0, 3))
    yield call(np.array([0.0, 1.0, 2.0, NAN]))
    yield at_kink(np.array([0.0, 0.1, 0.5, 1.0]), eps=0.25)
    yield call(x.integers(0, 2, 5))


def logarithm_of_gammas(x, p):
    return p * (p - 1) / 4 * np.log(np.pi) + sum(special.lgamma(x - j / 2) for j in range(p))


@op(reference=in_long_doubles(logarithm_of_gammas), terms=lambda x, p: p, lacks="ONNX limits")
def mvlgamma(x):
    yield call(x(3, 5, low=2.5, high=6.0), p=3)
    yield call(x(low=2.5, high=6.0), p=1)
    yield call(x(0, 3), p=2)
    yield refused(ValueError, "[mvlgamma] got p 0", x(3), 0)


def without_nan(x, nan=0.0, posinf=None, neginf=None):
    return np.nan_to_num(x, True, nan, posinf, neginf)


@op(reference=without_nan, exact=True)
def nan_to_num(x):
    yield call(x(3, x.n))
    yield call(x())
    yield call(np.array([1.0, NAN, 2.0]))
    yield call(np.array([-INF, -1.0, NAN, INF]), 0.5, 2.0, -4.0)
    yield call(np.array([-INF, NAN, INF, -0.0]), nan=0.5, posinf=-1.0, neginf=8.0)
    yield call(x.integers(-5, 5, x.n))
    yield refused(TypeError, "[nan_to_num] got nan 'a'", x.integers(0, 5, 3), "a")


@op(reference=np.bitwise_not)
def bitwise_not(x):
    yield call(x.integers(-5, 5, 3, x.n))
    yield call(x.integers(0, 9, x.n, dtype=np.uint8))
    yield call(x.bools(x.n))
    yield call(np.array(5))
    yield refused(TypeError, "[bitwise_not] got", x(3))


def limited(x, min=None, max=None):
    return np.clip(x, min, max)


@op(reference=limited, exact=True, kinks=(-1.0, 0.5, 2.0), lacks="jet", anything="min")
def clamp(x):
    yield call(x(3, 1, x.n, low=-3.0, high=3.0), -1.0, 2.0)
    yield call(x(low=-3.0, high=3.0), min=0.5)
    yield call(x(0, 3), max=0.5)
    yield call(EDGES, -1.0, 2.0)
    yield call(x(3, x.n), x(x.n, low=-1.0, high=0.0), x(3, 1, low=0.0, high=1.0))
    yield call(x(3, x.n), max=x(x.n))
    yield call(x.integers(-5, 5, x.n), -2, 3)
    yield refused(ValueError, "[clamp] got neither min nor max", x(3))


@op(reference=limited, exact=True, kinks=(-1.0,), lacks="jet")
def clamp_min(x):
    yield call(x(3, x.n, low=-3.0, high=3.0), -1.0)
    yield call(x(3, x.n), x(x.n))
    yield call(x.integers(-5, 5, x.n), 2)
    yield call(x(0, 3), -1.0)


@op(reference=lambda x, max: np.minimum(x, max), exact=True, kinks=(-1.0,), lacks="jet")
def clamp_max(x):
    yield call(x(3, x.n, low=-3.0, high=3.0), -1.0)
    yield call(x(3, x.n), x(x.n))
    yield call(x.integers(-5, 5, x.n), 2)
    yield call(x(0, 3), -1.0)


@op(reference=np.where, exact=True)
def where(x):
    yield call(x.bools(3, x.n), x(3, x.n), x(3, x.n))
    shape = x.shape()
    yield call(x.bools(*shape), x(*shape[-1:]), x(*shape[-2:]))
    yield call(x.bools(3, 1, 5), x(x.n, 1), x())
    yield call(x.bools(5), x(5), 2.0)
    yield call(x.bools(0, 3), x(3), x(0, 3))
    yield call(x.bools(5), x.integers(-5, 5, 5), x.integers(-5, 5))
    yield call(x.bools(3, x.n), x.integers(-9, 9, 3, x.n), x.integers(-9, 9, 3, x.n))
    yield call(x.bools(3, x.n), x.integers(2**62, 2**62 + 9, x.n), -(2**62) - 1)  # no doubles
    yield call(x.bools(3), np.array([INF, NAN, 1.0]), x(3))
    yield refused(TypeError, "[where] got", x(3), x(3), x(3))
    yield refused(ValueError, "[where] got", x.bools(3), x(4), x(3))


@op(reference=lambda x, mask, value: np.where(mask, value, x), exact=True)
def masked_fill(x):
    yield call(x(3, x.n), x.bools(3, x.n), -2.0)
    yield call(x(3, x.n, 5), x.bools(x.n, 1), 0.0)
    yield call(fixed(x()), np.array(True), INF)
    yield call(x(0, 3), x.bools(3), 1.0)
    yield call(x.integers(-5, 5, x.n), x.bools(x.n), 3)
    yield call(x(3, x.n), x.bools(x.n), x())
    yield refused(TypeError, "[masked_fill] got", x(3), x(3), 1.0)
    yield refused(ValueError, "[masked_fill] got", x(3), x.bools(3), fixed(x(2)))


def places_of_nonzero(x, as_tuple=False):
    return np.nonzero(x) if as_tuple else np.argwhere(x)


@op(reference=places_of_nonzero, lacks="C ONNX captured")
def nonzero(x):
    yield call(x.integers(0, 2, 3, x.n))
    yield call(x.bools(3, x.n), as_tuple=True)
    yield call(fixed(np.array([0.0, 1.5, NAN])))
    yield call(x.integers(0, 2, 0, 3))
