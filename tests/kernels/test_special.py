"""erfc, erfinv, lgamma, digamma and trigamma: errors in ulp at every ISA level, poles, infinities, places."""

import math

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import special
from support.ulp import ulp_error

NAMES = ("erfc", "erfinv", "lgamma", "digamma", "trigamma")
DTYPES = [
    "float32",
    pytest.param(
        "float64",
        marks=pytest.mark.skipif(
            np.finfo(np.longdouble).nmant < 60, reason="the platform has no wider long double"
        ),
    ),
]
INF, NAN = math.inf, math.nan


def samples(name, rng):
    """Random numbers where the function varies, and all binades in which it is normal."""
    parts = {
        "erfc": [rng.uniform(-7, 27, 4000), rng.uniform(-1, 1, 2000)],
        "erfinv": [
            rng.uniform(-1, 1, 4000),
            1 - np.exp(rng.uniform(-36, 0, 2000)),
            [0.9999, 0.99966, 0.9966],
        ],
        "lgamma": [
            rng.uniform(0.001, 6, 4000),
            *(at + rng.uniform(-1, 1, 200) * 2.0**-15 for at in (1, 2)),
            np.exp(rng.uniform(-80, 80, 1000)),
        ],
        "digamma": [rng.uniform(0.001, 12, 4000), np.exp(rng.uniform(-80, 80, 1000))],
        "trigamma": [rng.uniform(-8, 12, 4000), np.exp(rng.uniform(-30, 80, 1000))],
    }[name]
    return np.concatenate(parts)


# ulp: 1/2 of float32 where it is computed as a double; 4.2, 2.4, 3.8 and 4.0 are the largest of 5000 against
# 40 digits, of float32 3.3 and 2.5
BOUNDS = {"erfc": (4.0, 5.0), "lgamma": (0.51, 5.0), "trigamma": (0.51, 5.0)}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", BOUNDS)
def test_error_in_ulp(name, dtype, isa, rng):
    x = samples(name, rng).astype(dtype)
    error = ulp_error(getattr(_core, name)(x), getattr(special, name)(x.astype(np.longdouble)))
    worst = int(np.argmax(error))
    assert error[worst] <= BOUNDS[name][dtype == "float64"], f"{name}({x[worst]!r})"


@pytest.mark.parametrize("dtype", DTYPES)
def test_erfinv_solves_erf(dtype, isa, rng):
    y = samples("erfinv", rng).astype(dtype)
    y = y[np.abs(y) < 1]
    x, wide = _core.erfinv(y).astype(np.longdouble), y.astype(np.longdouble)
    small = np.abs(wide) < 0.9  # beyond, 1 - |y| has the digits
    left = np.where(
        small, special.erf_series(np.clip(x, -2, 2)) - wide, 1 - np.abs(wide) - special.erfc(np.abs(x))
    )
    error = np.abs(left) / (2 / np.sqrt(special.PI) * np.exp(-x * x))
    assert (error <= 3.5 * np.spacing(np.abs(x).astype(dtype))).all()
    np.testing.assert_array_equal(_core.erfinv(-y), -_core.erfinv(y))


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_terms_cancel(dtype, isa, rng):
    """digamma and, below 0, lgamma have zeros between their poles: errors in ulp of the terms."""
    eps = np.finfo(dtype).eps if dtype == "float64" else np.finfo(dtype).eps / 2
    x = samples("digamma", rng).astype(dtype)
    want = special.digamma(x.astype(np.longdouble))
    assert (np.abs(_core.digamma(x) - want) <= 8 * eps * np.maximum(np.abs(want), 1)).all()
    x = rng.uniform(-30, 0, 4000).astype(dtype)
    wide = x.astype(np.longdouble)
    cotangent = special.PI / np.abs(special.sine_of_pi(wide))
    assert (np.abs(_core.digamma(x) - special.digamma(wide)) <= 8 * eps * (4 + cotangent)).all()
    terms = np.abs(special.lgamma(1 - wide)) + np.abs(np.log(cotangent)) + 1
    assert (np.abs(_core.lgamma(x) - special.lgamma(wide)) <= 4 * eps * terms).all()


POINTS = [0.0, -0.0, 1, -1, 2, -2, INF, -INF, NAN, -3e9]
SPECIAL_VALUES = {
    "erfc": [1, 1, math.erfc(1), math.erfc(-1), math.erfc(2), math.erfc(-2), 0, 2, NAN, 2],
    "erfinv": [0.0, -0.0, INF, -INF, NAN, NAN, NAN, NAN, NAN, NAN],
    "lgamma": [INF, INF, 0, INF, 0, INF, INF, INF, NAN, INF],
    "digamma": [-INF, INF, -0.5772156649015329, NAN, 0.42278433509846714, NAN, INF, NAN, NAN, NAN],
    "trigamma": [INF, INF, math.pi**2 / 6, INF, math.pi**2 / 6 - 1, INF, 0, INF, NAN, INF],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_poles_infinities_and_nan(name, dtype, isa):
    y, want = getattr(_core, name)(np.array(POINTS, dtype)), np.array(SPECIAL_VALUES[name], dtype)
    np.testing.assert_allclose(y, want, rtol=4 * np.finfo(dtype).eps)
    zero = want == 0
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smallest_and_largest_numbers(dtype, isa):
    info = np.finfo(dtype)
    tiny = np.array([info.smallest_subnormal, info.smallest_normal], dtype)
    np.testing.assert_allclose(_core.lgamma(tiny), -np.log(tiny), rtol=info.eps)
    np.testing.assert_allclose(_core.lgamma(-tiny), -np.log(tiny), rtol=info.eps)
    np.testing.assert_allclose(_core.erfinv(tiny[1:]) / tiny[1:], math.sqrt(math.pi) / 2, rtol=4 * info.eps)
    np.testing.assert_array_equal(_core.erfc(np.array([info.max, -info.max], dtype)), np.array([0, 2], dtype))
    assert _core.lgamma(np.array([info.max], dtype))[0] == INF
    np.testing.assert_allclose(_core.digamma(np.array([info.max], dtype)), np.log(info.max), rtol=info.eps)
    # erfc ends in subnormal numbers
    x = np.linspace(9.2, 10.2, 200) if dtype == "float32" else np.linspace(26.5, 27.3, 200)
    x = x.astype(dtype)
    want = [math.erfc(v) for v in x.tolist()]
    np.testing.assert_allclose(_core.erfc(x), want, rtol=2e-6, atol=2 * float(info.smallest_subnormal))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_place(name, dtype, isa, rng, threads):
    """Beside numbers of other ranges, in rows of any length, strided, in place, on several threads."""
    function = getattr(kernels, name)
    x = rng.uniform(-1, 1, 40_000) if name == "erfinv" else rng.uniform(-9, 30, 40_000)
    x = x.astype(dtype)
    x[::97], x[5::89] = -0.0, NAN
    threads(1)
    y = function(x)
    for n in (0, 1, 2, 3, 7, 8, 9, 17, 33):
        np.testing.assert_array_equal(function(x[n : 2 * n]), y[n : 2 * n])
    wide = np.repeat(x, 2)
    np.testing.assert_array_equal(function(wide[::2][::-1]), y[::-1])
    np.testing.assert_array_equal(function(x.reshape(200, 200).T), y.reshape(200, 200).T)
    for count in (2, 3):
        threads(count)
        np.testing.assert_array_equal(function(x), y)
    np.testing.assert_array_equal(function(x, out=x), y)
