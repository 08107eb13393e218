"""Elementary and special functions, activations and roots at every ISA level, beside the same function in a
wider dtype: errors in ulp (units in the last place), special values, poles.

The largest errors of docs/accuracy.md:

    RANVIER_EXHAUSTIVE=1 pytest -s tests/kernels/test_math.py -k "every_float32 or activation"

prints them; every float32 takes about an hour on one core.
"""

import math
import os

import numpy as np
import pytest
from ranvier import _core
from ranvier.ops.activation import piecewise, smooth  # noqa: F401  # fill the table
from ranvier.ops.activation.table import TABLE
from reference import activation, special
from support.grouped import grouped  # parametrize, with many cases a test

BOUND = 2.0  # ulp, of every function below, at every ISA level

_erf = np.vectorize(math.erf, otypes=[np.float64])


def ulp_error(got, exact):
    """|got - exact| in units of the last place of ``exact`` in the dtype of ``got``; infinity where a NaN, an
    infinity or the sign of a zero is wrong. ``exact`` has a wider dtype."""
    info = np.finfo(got.dtype)
    wide = exact.dtype.type
    overflow = np.ldexp(wide(1), info.maxexp)  # in place of infinity: one unit above the largest number
    _, exponent = np.frexp(exact)
    unit = np.ldexp(wide(1), np.maximum(exponent - info.nmant - 1, info.minexp - info.nmant))
    clipped = np.clip(exact, -overflow, overflow)
    error = np.abs(np.clip(got.astype(wide), -overflow, overflow) - clipped) / unit
    error = np.where(np.abs(clipped) == overflow, np.abs(got) != np.inf, error)
    error = np.where(exact == 0, (got != 0) | (np.signbit(got) != np.signbit(exact)), error)
    wrong = (np.isnan(got) != np.isnan(exact)) | (
        (error == 1) & ((exact == 0) | (np.abs(clipped) == overflow))
    )
    return np.where(wrong, np.inf, np.where(np.isnan(exact), 0, error))


def erf(x):
    """In float64; beyond 6 it is 1, below 1e-9 it is 2 x / sqrt(pi)."""
    y = np.where(np.abs(x) < 1e-9, x * (2 / math.sqrt(math.pi)), np.sign(x)).astype(np.float64)
    middle = (np.abs(x) >= 1e-9) & (np.abs(x) <= 6)
    y[middle] = _erf(x[middle].astype(np.float64))
    return np.where(np.isnan(x), np.nan, np.copysign(y, x))


# name -> (our kernel, the exact function in a wider dtype)
FUNCTIONS = {
    "exp": (_core.exp, np.exp),
    "expm1": (_core.expm1, np.expm1),
    "log": (_core.log, np.log),
    "log1p": (_core.log1p, np.log1p),
    "tanh": (_core.tanh, np.tanh),
    "sigmoid": (_core.sigmoid, activation.sigmoid),
    "erf": (_core.erf, erf),
    "sin": (_core.sin, np.sin),
    "cos": (_core.cos, np.cos),
}

EDGES = [0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 1e22]
EDGES += [88.72283, 88.72284, -103.97, -103.98, -87.34, 709.7827]  # where exp overflows and underflows
LONG_DOUBLE = pytest.mark.skipif(
    np.finfo(np.longdouble).nmant < 60, reason="the platform has no wider long double"
)


with_long_doubles = pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=LONG_DOUBLE)])


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
def test_one_exponent_for_all(exponent, dtype, bound, isas, rng):
    x = _samples(rng, dtype)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.longdouble), np.longdouble(exponent))
        for isa in isas:
            error = ulp_error(_core.pow(x, exponent, None), want)
            worst = int(np.argmax(error))
            assert error[worst] <= bound, f"{x[worst]!r} ** {exponent} at {isa}"


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


CHUNK = 1 << 22


@pytest.mark.skipif(not os.environ.get("RANVIER_EXHAUSTIVE"), reason="takes long: set RANVIER_EXHAUSTIVE=1")
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_float32(name, isa):
    kernel, exact = FUNCTIONS[name]
    worst, where = 0.0, 0.0
    for first in range(0, 1 << 32, CHUNK):
        x = np.arange(first, first + CHUNK, dtype=np.uint64).astype(np.uint32).view(np.float32)
        with np.errstate(all="ignore"):
            error = ulp_error(kernel(x, None), exact(x.astype(np.float64)))
        index = int(np.argmax(error))
        if error[index] > worst:
            worst, where = float(error[index]), float(x[index])
    print(f"\n{name:8} {isa}: {worst:.3f} ulp at {where.hex()}")
    assert worst <= BOUND


STEP = 8191
SMALLEST = {"silu": 1e-36, "mish": 1e-36}  # below, exp(x) is subnormal
LARGER_BOUNDS = {"mish": 4, "selu": 3, "silu": 4}  # ulp


CANCEL = ("gelu", "tanhshrink")  # whose terms lose all digits, of small or negative numbers
WITHOUT_CANCELLATION = [name for name in TABLE if hasattr(_core, name) and name not in CANCEL]


@pytest.mark.parametrize("name", WITHOUT_CANCELLATION)
def test_largest_error_of_an_activation(name, isa):
    x = np.arange(0, 1 << 32, STEP, dtype=np.uint64).astype(np.uint32).view(np.float32)
    x = x[np.isfinite(x)]
    if name == "mish":  # the activation's tanh(softplus(x)) loses digits below
        x = x[x > -16]
    with np.errstate(all="ignore"):
        exact = getattr(activation, name)(x.astype(np.float64))
        error = ulp_error(getattr(_core, name)(x), exact)
    error[np.abs(exact) < SMALLEST.get(name, np.finfo(np.float32).tiny)] = 0
    worst = int(np.argmax(error))
    print(f"\n{name:12} {isa}: {error[worst]:.2f} ulp at {x[worst]}")
    assert error[worst] <= LARGER_BOUNDS.get(name, BOUND)


def roots_of(c: int, bits: int) -> set[int]:
    """All n in [0, 2**bits) with n * n = c modulo 2**bits, for c = 1 modulo 8."""
    found = {1, 3, 5, 7}
    for bit in range(3, bits):
        found = {m for n in found for m in (n, n + (1 << bit)) if (m * m - c) % (1 << bit + 1) == 0}
    return found


def near_midpoints() -> np.ndarray:
    """Every x in [1, 4) whose root is within 2**-102 of itself from a midpoint.

    With the midpoint n / 2 for an odd n in (2**53, 2**54), 4 x = n**2 + c for a small c, and x has 53 bits.
    """
    found = []
    for bits in (54, 55):  # numbers of this many bits after the leading zeros: for x in [1, 2), [2, 4)
        for c in range(-257, 257, 8):  # 4 x is a multiple of 8: the others have no solution
            for n in roots_of(-c, bits):
                x4 = [m * m + c for m in (n, n + (1 << bits)) if 1 << 53 < m < 1 << 54]
                found += [x >> 54 for x in x4 if (x < 1 << 107) == (bits == 54)]
    return np.array(found, dtype=np.float64) / 2.0**52


def check_roots(x: np.ndarray) -> None:
    with np.errstate(invalid="ignore"):
        want = np.sqrt(x)
    kind = f"u{x.itemsize}"
    np.testing.assert_array_equal(_core.sqrt(x).view(kind), want.view(kind))


def test_roots_near_midpoints(isa):
    x = near_midpoints()
    assert x.size > 50
    assert x.min() >= 1
    assert x.max() < 4
    for exponent in range(-1022, 1022, 2):
        check_roots(np.ldexp(x, exponent))


def test_roots_of_random_numbers(isa, rng):
    bits = rng.integers(0, 1 << 64, 1 << 18, dtype=np.uint64, endpoint=False)
    x = bits.view(np.float64)
    check_roots(np.abs(x[~np.isnan(x)]))
    check_roots(rng.uniform(1, 4, 1 << 20))
    check_roots(rng.integers(0, 1 << 53, 1 << 18).astype(np.float64))


def test_roots_of_every_significand_of_float32(isa):
    x = np.arange(0x3F800000, 0x40800000, dtype=np.int32).view(np.float32)  # [1, 4)
    check_roots(x if isa == "x86-64-v4" else x[::97])  # other levels have the processor's root
    for exponent in (-146, -126, -72, -70, -68, 126):
        check_roots(np.ldexp(x[:: 1 << 8], exponent))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_roots_of_special_numbers_beside_others(dtype, isa):
    kind = np.finfo(dtype)
    special = [0.0, -0.0, kind.smallest_subnormal, kind.tiny, kind.tiny / 2, kind.max, np.inf]
    for number in [*special, 2.0**-900 if dtype == "float64" else 2.0**-70]:
        for lane in range(17):
            for next_to in (number, np.nextafter(number, 0, dtype=dtype)):
                x = np.arange(1, 40, dtype=dtype)
                x[lane] = next_to
                check_roots(x)
    got = _core.sqrt(np.array([4.0, -1.0, np.nan, -np.inf], dtype))
    assert got[0] == 2
    assert np.isnan(got[1:]).all()


# --- erfc, erfinv, lgamma, digamma and trigamma

SPECIAL = ("erfc", "erfinv", "lgamma", "digamma", "trigamma")
INF, NAN = math.inf, math.nan


def special_samples(name, rng):
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


# In ulp. Where float32 is computed as a double, its error is that of one rounding, 1/2. The largest of 5000
# numbers against 40 digits are 4.2, 2.4, 3.8 and 4.0 of float64, 2.5 of float32 erfinv.
SPECIAL_BOUNDS = {
    "float32": {"erfc": 0.51, "lgamma": 0.51, "trigamma": 0.51},
    "float64": {"erfc": 2.5, "lgamma": 2.2, "trigamma": 5.0},
}


@with_long_doubles
@pytest.mark.parametrize("name", SPECIAL_BOUNDS["float32"])
def test_error_in_ulp(name, dtype, isas, rng):
    x = special_samples(name, rng).astype(dtype)
    want = getattr(special, name)(x.astype(np.longdouble))
    for isa in isas:
        error = ulp_error(getattr(_core, name)(x), want)
        worst = int(np.argmax(error))
        assert error[worst] <= SPECIAL_BOUNDS[dtype][name], f"{name}({x[worst]!r}) at {isa}"


@with_long_doubles
def test_erfinv_solves_erf(dtype, isa, rng):
    y = special_samples("erfinv", rng).astype(dtype)
    y = y[np.abs(y) < 1]
    x, wide = _core.erfinv(y).astype(np.longdouble), y.astype(np.longdouble)
    small = np.abs(wide) < 0.9  # beyond, 1 - |y| has the digits
    left = np.where(
        small, special.erf_series(np.clip(x, -2, 2)) - wide, 1 - np.abs(wide) - special.erfc(np.abs(x))
    )
    error = np.abs(left) / (2 / np.sqrt(special.PI) * np.exp(-x * x))
    assert (error <= 3 * np.spacing(np.abs(x).astype(dtype))).all()
    np.testing.assert_array_equal(_core.erfinv(-y), -_core.erfinv(y))


@with_long_doubles
def test_where_terms_cancel(dtype, isas, rng):
    """digamma and, below 0, lgamma have zeros between their poles: errors in ulp of the terms."""
    eps = np.finfo(dtype).eps if dtype == "float64" else np.finfo(dtype).eps / 2
    above, below = special_samples("digamma", rng).astype(dtype), rng.uniform(-30, 0, 4000).astype(dtype)
    wide = below.astype(np.longdouble)
    cotangent = special.PI / np.abs(special.sine_of_pi(wide))
    terms = np.abs(special.lgamma(1 - wide)) + np.abs(np.log(cotangent)) + 1
    digamma, lgamma = special.digamma(wide), special.lgamma(wide)
    of_above = special.digamma(above.astype(np.longdouble))
    for _ in isas:
        assert (np.abs(_core.digamma(above) - of_above) <= 8 * eps * np.maximum(np.abs(of_above), 1)).all()
        assert (np.abs(_core.digamma(below) - digamma) <= 8 * eps * (4 + cotangent)).all()
        assert (np.abs(_core.lgamma(below) - lgamma) <= 4 * eps * terms).all()


POINTS = [0.0, -0.0, 1, -1, 2, -2, INF, -INF, NAN, -3e9]
SPECIAL_VALUES = {
    "erfc": [1, 1, math.erfc(1), math.erfc(-1), math.erfc(2), math.erfc(-2), 0, 2, NAN, 2],
    "erfinv": [0.0, -0.0, INF, -INF, NAN, NAN, NAN, NAN, NAN, NAN],
    "lgamma": [INF, INF, 0, INF, 0, INF, INF, INF, NAN, INF],
    "digamma": [-INF, INF, -0.5772156649015329, NAN, 0.42278433509846714, NAN, INF, NAN, NAN, NAN],
    "trigamma": [INF, INF, math.pi**2 / 6, INF, math.pi**2 / 6 - 1, INF, 0, INF, NAN, INF],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", SPECIAL)
def test_poles_infinities_and_nan(name, dtype, isa):
    y, want = getattr(_core, name)(np.array(POINTS, dtype)), np.array(SPECIAL_VALUES[name], dtype)
    np.testing.assert_allclose(y, want, rtol=4 * np.finfo(dtype).eps)
    zero = want == 0
    np.testing.assert_array_equal(np.signbit(y[zero]), np.signbit(want[zero]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_smallest_and_largest_numbers(dtype, isa):
    """Beside the leading term of each function there, by hand."""
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
