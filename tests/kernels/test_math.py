"""The elementary functions at every ISA level, sampled: see test_math_exhaustive.py for every float32."""

import numpy as np
import pytest
from ranvier import _core
from support.grouped import grouped
from support.ulp import BOUND, FUNCTIONS, ulp_error

EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e22]
EDGES += [88.72283, 88.72284, -103.97, -103.98, -87.34, 709.7827]  # where exp overflows and underflows
LONG_DOUBLE = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="the platform has no wider long double"
)


def _samples(rng, dtype):
    """All binades by random bits, the range in which functions vary, numbers near 0 and near 1."""
    bits = {"float32": np.uint32, "float64": np.uint64}[dtype]
    info = np.finfo(dtype)
    anywhere = rng.integers(0, np.iinfo(bits).max, 20000, dtype=bits).view(dtype)
    tiny = [info.smallest_subnormal, -info.smallest_subnormal, info.smallest_normal, info.max, info.min]
    parts = [anywhere, rng.uniform(-110, 110, 20000), rng.uniform(-8, 8, 20000), EDGES, tiny]
    parts += [np.arange(-100, 101) / 8]  # where one polynomial ends and the next begins
    parts += [np.outer(np.arange(-161, 162) * np.log(2) / 16, [1 - 1e-15, 1, 1 + 1e-15]).ravel()]
    parts += [rng.uniform(-1, 1, 4000) * 2.0 ** -rng.integers(0, 40, 4000), 1 + rng.uniform(-0.1, 0.1, 4000)]
    return np.concatenate([np.asarray(part, dtype) for part in parts])


@pytest.mark.parametrize(
    ("dtype", "wider"), [("float32", np.float64), pytest.param("float64", np.longdouble, marks=LONG_DOUBLE)]
)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_within_2_ulp(name, dtype, wider, isa, rng):
    kernel, exact = FUNCTIONS[name]
    x = _samples(rng, dtype)
    with np.errstate(all="ignore"):
        error = ulp_error(kernel(x, None), exact(x.astype(wider)).astype(wider))
    worst = int(np.argmax(error))
    # Python has no erf in long double: math.erf adds its own error of up to one unit.
    bound = BOUND + (name == "erf" and dtype == "float64")
    assert error[worst] <= bound, f"{name}({x[worst]!r})"


@LONG_DOUBLE
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2.0), ("float64", 4.0)])
def test_pow(dtype, bound, isa, rng):
    x = np.concatenate([np.exp(rng.uniform(-80, 80, 20000)), 1 + rng.uniform(-0.01, 0.01, 20000)]).astype(
        dtype
    )
    y = np.concatenate([rng.uniform(-1.2, 1.2, 20000), rng.uniform(-8000, 8000, 20000)]).astype(dtype)
    with np.errstate(all="ignore"):
        error = ulp_error(_core.pow(x, y, None), np.power(x.astype(np.longdouble), y.astype(np.longdouble)))
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{x[worst]!r} ** {y[worst]!r}"


@LONG_DOUBLE
@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2.0), ("float64", 4.0)])
@grouped("exponent", [2, 3, 0.5, -1, -0.5, -2, 1, 4, 2.5])
def test_one_exponent_for_all(exponent, dtype, bound, isa, rng):
    x = _samples(rng, dtype)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), np.longdouble(exponent))
        error = ulp_error(_core.pow(x, exponent, None), want)
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{x[worst]!r} ** {exponent}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sine_and_cosine_are_at_most_1(dtype, isa, rng):
    """Near the multiples of pi / 2, where one of them is 1; and the sign of 0."""
    near = np.arange(-4000, 4001) * (np.pi / 2)
    x = np.outer(near, 1 + rng.uniform(-1, 1, 64) * 2.0 ** -rng.integers(10, 60, 64)).astype(dtype)
    for function in (_core.sin, _core.cos, _core.tanh):
        assert np.abs(function(x, None)).max() == 1
    zeros = np.array([0.0, -0.0] * 9, dtype)
    np.testing.assert_array_equal(np.signbit(_core.sin(zeros, None)), np.signbit(zeros))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rare", [0.0, -0.0, -1.5, np.inf, -np.inf, np.nan, 5e-324, 1e-40, 1e-310])
def test_rare_numbers_change_no_lane_beside_them(rare, dtype, isa, rng):
    """A vector with a rare number is computed in another way, with the same bits elsewhere."""
    x, y = rng.uniform(0.1, 4, 333).astype(dtype), rng.uniform(-9, 9, 333).astype(dtype)
    beside = np.arange(333) % 5 != 2
    mixed, exponents = np.where(beside, x, rare).astype(dtype), y.copy()
    exponents[~beside] = rare
    for name in ("log", "log1p", "exp"):
        function = getattr(_core, name)
        np.testing.assert_array_equal(function(mixed, None)[beside], function(x, None)[beside], err_msg=name)
    powers = _core.pow(x, y, None)
    np.testing.assert_array_equal(_core.pow(mixed, y, None)[beside], powers[beside])
    np.testing.assert_array_equal(_core.pow(x, exponents, None)[beside], powers[beside])
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(np.isnan(_core.log(mixed, None)), np.isnan(np.log(mixed)))


def test_pow_special_cases(isa):
    """Those of C99, Annex F, which are NumPy's: every pair of special numbers."""
    special = [0.0, -0.0, 1, -1, 2, -2, 0.5, -0.5, np.inf, -np.inf, np.nan]
    special += [3, -3, 1e30, -1e30, 2.5, -2.5, 1e-40]
    x, y = (a.ravel() for a in np.meshgrid(np.array(special, np.float32), np.array(special, np.float32)))
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64)).astype(np.float32)
    got = _core.pow(x, y, None)
    np.testing.assert_allclose(got, want, rtol=2.5e-7)
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))
