"""bfloat16 as a dtype of NumPy's arrays: what NumPy does with them, and the dtype that results have."""

import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from support.halves import BF16, F16, as_half

NAMES = [
    "negative", "absolute", "exp", "log1p", "sqrt", "tanh", "rint", "floor", "sign", "square", "reciprocal",
    "add", "subtract", "multiply", "true_divide", "maximum", "fmin", "power", "arctan2", "fmod", "hypot",
]  # fmt: skip
TESTS = ["less", "equal", "greater_equal", "not_equal", "logical_and", "isnan", "isfinite", "signbit"]
SIZES = (0, 1, 63, 64, 65, 1000)


@pytest.fixture
def arrays(rng):
    return lambda n: [(rng.standard_normal(2 * n) ** 2 + 0.1).astype(BF16)[::2] for _ in range(2)]


@pytest.mark.parametrize("name", NAMES + TESTS)
def test_a_ufunc_is_that_of_float32_rounded_once(name, arrays):
    function = getattr(np, name)
    for n in SIZES:
        given = arrays(n)[: function.nin]
        wanted = function(*(x.astype(np.float32) for x in given))
        got = function(*given)
        assert got.dtype == (bool if name in TESTS else BF16)
        wanted = wanted if name in TESTS else as_half(wanted, BF16)
        np.testing.assert_array_equal(got.astype(np.float32), wanted)


def test_several_outputs(arrays):
    x = arrays(100)[0]
    for got, wanted in zip(np.modf(x), np.modf(x.astype(np.float32)), strict=True):
        np.testing.assert_array_equal(got.astype(np.float32), as_half(wanted, BF16))
    mantissa, exponent = np.frexp(x)
    np.testing.assert_array_equal(mantissa.astype(np.float32) * 2.0**exponent, x.astype(np.float32))


def test_a_sum_is_rounded_once_and_a_running_sum_each_time(arrays):
    ones = np.ones(1000, BF16)
    assert ones.sum() == 1000
    assert np.cumsum(ones)[-1] == 256
    x = arrays(5000)[0].reshape(50, 100)
    for axis in (0, 1):
        assert np.maximum.reduce(x, axis).tolist() == x.astype(np.float32).max(axis).tolist()
    assert x.sum(1).dtype == BF16
    np.testing.assert_allclose(x.sum(1).astype(float), x.astype(float).sum(1), rtol=2**-8 + 100 * 2**-24)


def test_orders_and_places():
    x = np.array([3, np.nan, -1, 7, 7], BF16)
    assert x.argmax() == x.argmin() == 1
    assert (x[2:].argmax(), x[2:].argmin()) == (1, 0)
    assert np.sort(x)[:4].tolist() == [-1, 3, 7, 7]
    assert np.argsort(x[2:], kind="stable").tolist() == [0, 1, 2]
    assert np.nonzero(np.array([0, -0.0, 2], BF16))[0].tolist() == [2]


def test_copies_views_and_pickles(arrays):
    x = arrays(12)[0].reshape(3, 4)
    for y in (x.copy(), pickle.loads(pickle.dumps(x)), x[:, ::-1][:, ::-1], np.concatenate([x[:1], x[1:]])):
        assert y.dtype == BF16
        assert y.tolist() == x.tolist()
    assert pickle.loads(pickle.dumps(BF16)) == BF16
    x[0] = 1.00390625  # halfway: to even
    assert x[0].tolist() == [1.0] * 4
    x[1] = np.arange(4)
    assert x[1].tolist() == [0, 1, 2, 3]
    assert x[1, 3] == 3.0
    assert float(x[1, 2]) == 2.0


def test_values_of_other_dtypes():
    for kind in "?bBhHiIlLqQefdg":
        x = np.array([0, 1, 2, 0.5] if kind in "efdg" else [0, 1, 2, 0]).astype(kind)
        y = x.astype(BF16)
        assert y.tolist() == [float(v) for v in x]
        assert y.astype(kind).tolist() == x.tolist()


@pytest.mark.parametrize(
    ("a", "b", "wanted"),
    [
        (BF16, BF16, BF16),
        (BF16, F16, "float32"),
        (BF16, "float32", "float32"),
        (BF16, "float64", "float64"),
        (BF16, "int64", BF16),
        (BF16, "bool", BF16),
        (BF16, "uint8", BF16),
    ],
    ids=str,
)
def test_promotion(a, b, wanted):
    for pair in ((a, b), (b, a)):
        kinds = [np.dtype(kind) for kind in pair]
        assert _core._result_dtype(*kinds) == wanted
        x, y = (rv.ones(2, dtype=kind) for kind in kinds)
        assert (x + y).dtype == (x * y).dtype == rv.promote_types(*kinds) == rv.dtype(np.dtype(wanted))
        scalar = rv.ones(2, dtype=kinds[0]) + rv.ones((), dtype=kinds[1])  # in its kind it does not decide
        assert scalar.dtype == (kinds[0] if kinds[0].kind == "f" else kinds[1])
    x = rv.ones(2, dtype=rv.bfloat16)
    assert (x + 1).dtype == (x * 2.5).dtype == (1 / x).dtype == rv.bfloat16


@pytest.mark.parametrize("value", [2e5, 1e-8, 1 / 3, -1e9, 10**30])
@pytest.mark.parametrize("name", ["eq", "ne", "lt", "le", "gt", "ge"])
def test_a_number_compared_is_rounded_as_a_tensor(name, value):
    x = rv.tensor([3e5, 2e5, 2e-8, 1e-8, 1 / 3, -1e9, 10.0**30, float("inf"), float("-inf")]).bfloat16()
    compare = getattr(rv, name)
    expected = compare(x, rv.full_like(x, value)).tolist()
    assert compare(x, value).tolist() == expected
    assert rv.compile(lambda x: compare(x, value))(x).tolist() == expected
