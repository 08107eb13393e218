"""Element-wise kernels: every way through their loops (short rows, parts of rows, transposed and repeated
operands, any alignment) gives the bits of NumPy. Jets (derivatives of several orders at once) are compared
with the reference in float64. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import math
from fractions import Fraction

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import activation as reference
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits
from support.tolerance import tolerance


@pytest.fixture(autouse=True)
def _quiet():
    """NumPy warns of 1 / 0; the kernels do not."""
    with np.errstate(all="ignore"):
        yield


LARGE = (70, 5, 21)  # more than a block; its rows are parts of one
PARTS = {  # an operand of the shape (..., m, r, n), which a view of other arrays gives
    "end": lambda a: a(70, 5, 22)[..., 1:],
    "steps": lambda a: a(70, 5, 42)[..., ::2],
    "backwards": lambda a: a(70, 5, 21)[:, :, ::-1],
    "gaps": lambda a: a(70, 6, 21)[:, 1:],
    "inner rows": lambda a: a(5, 22)[:, 1:],
    "outer rows": lambda a: a(70, 1, 22)[..., 1:],
    "columns": lambda a: a(70, 6, 1)[:, 1:],
    "one a row": lambda a: a(70, 5, 2)[..., 1:],
    "one": lambda a: a(1, 1, 1),
    "some columns": lambda a: a(5, 1),
}


def check(a, b):
    """Both orders of the operands, and each of the three of where."""
    np.testing.assert_array_equal(kernels.sub(a, b), a - b)
    np.testing.assert_array_equal(kernels.sub(b, a), b - a)
    np.testing.assert_array_equal(kernels.le(b, a), b <= a)
    for condition, x, y in ((a > 0, b, a), (b > 0, a, b), (b > 0, a, 1.0)):
        np.testing.assert_array_equal(kernels.where(condition, x, y), np.where(condition, x, y))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("part", PARTS)
def test_parts_of_rows(part, dtype, isa, rng, threads):
    """Short rows of a view, which are copied together where they are evenly apart."""
    views = [
        f(lambda *shape: rng.standard_normal(shape).astype(dtype)) for f in (PARTS[part], *PARTS.values())
    ]
    a, b = np.broadcast_to(views[0], LARGE), rng.standard_normal(LARGE).astype(dtype)
    for other in (b, *views[1:]):
        check(a, other)
    np.testing.assert_array_equal(kernels.where((b > 0)[..., ::-1], a, b), np.where((b > 0)[..., ::-1], a, b))
    np.testing.assert_array_equal(_core.relu(a), np.maximum(a, 0))
    np.testing.assert_array_equal(_core.relu_backward(a, b), np.where(b > 0, a, 0))
    np.testing.assert_array_equal(_core.relu_backward(b, a), np.where(a > 0, b, 0))
    for shape, out in {
        (70, 5, 22): np.s_[..., 1:],
        (70, 6, 21): np.s_[:, 1:],
        (70, 5, 42): np.s_[..., ::2],
    }.items():
        memory = np.full(shape, 9, dtype)
        expected = memory.copy()
        expected[out] = b - a
        kernels.sub(b, a, out=memory[out])
        np.testing.assert_array_equal(memory, expected)  # and nothing beside it


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped(
    "shape", [(3, 1), (1, 3), (33, 10), (300, 7), (5, 127), (5, 128), (17, 129), (3, 600), (16, 64), (65, 63)]
)
def test_rows_columns_and_transposed_operands(shape, dtype, isa, rng):
    """Each way through the loops: whole rows, several short rows in a block, transposed tiles."""
    m, n = shape
    a, x = rng.standard_normal((m, n)).astype(dtype), rng.standard_normal((n, m)).astype(dtype)
    for b in (a[0], a[:, :1], a[:1, :1], x.T, np.stack([a, a], -1)[..., 0]):
        check(a, b)
        np.testing.assert_array_equal(kernels.clip(a, b, x.T), np.minimum(np.maximum(a, b), x.T))
    images = rng.standard_normal((2, 3, m, n)).astype(dtype)
    last = in_layout(images, "channels_last")
    np.testing.assert_array_equal(kernels.add(images, last), images + images)


REPEATED = [  # rows that are the same along one dimension and not along another, and a short row for many
    *(((64, 49, 8), (64, 1, 8)), ((300, 1, 5), (1, 40, 5)), ((30, 1, 1), (1, 40, 5))),
    *(((3, 7, 5, 9), (3, 1, 5, 9)), ((3, 7, 5, 9), (1, 7, 1, 9)), ((6, 2, 3, 2), (6, 1, 3, 1))),
    *(((2, 3, 50, 60), (2, 1, 1, 60)), ((5, 40, 127), (5, 1, 127))),
    *(((60_003 // n, n), (1, n)) for n in (1, 2, 3, 5, 7, 8, 15, 16, 17, 33)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("shapes", REPEATED, ids=str)
def test_repeated_rows(shapes, dtype, isa, rng, threads):
    """Forwards, backwards and with gaps, begun within by a thread."""
    a, b = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    for other in (b, b[::-1, ..., ::-1], np.repeat(b, 2, -1)[..., ::2]):
        check(a, other)
        both = lambda other=other: (kernels.sub(a, other), kernels.where(other > 0, a, other))  # noqa: E731
        same_bits(threads, both, (1, 2, 3))
    np.testing.assert_array_equal(kernels.maximum(b[0], a[:1]), np.maximum(b[0], a[:1]))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [40, 511, 512, 513, 600])
def test_any_alignment(n, dtype, isa, rng):
    """Long rows begin with what leads to an aligned store, in place too: nothing may be computed twice."""
    for offset in range(0, 16, 3):
        a = rng.uniform(0, 2, n + 16).astype(dtype)[offset : offset + n]
        expected = a + 1
        np.testing.assert_array_equal(kernels.add(a, 1.0, out=a), expected)
        mask = np.zeros(n + 16, bool)[offset : offset + n]
        np.testing.assert_array_equal(kernels.gt(a, a[::-1], out=mask), a > a[::-1])
        assert not mask.base[:offset].any()
        assert not mask.base[offset + n :].any()
        np.testing.assert_array_equal(kernels.where(mask, a, -a), np.where(mask, a, -a))


@pytest.mark.parametrize("axes", [(0, 1, 2, 3), (0, 3, 1, 2), (3, 2, 1, 0), (1, 0, 3, 2)])
def test_the_result_keeps_the_layout(axes):
    x = np.ones((2, 3, 4, 5), "float32").transpose(axes)
    results = _core.relu(x), _core.relu_backward(np.ones_like(x, order="C"), x), kernels.exp(x)
    for y in (*results, kernels.add(x, 1.0), kernels.mul(np.ones_like(x[:1, :1]), x)):
        assert y.strides == x.strides


REMAINDERS = ("fmod", "remainder", "floor_divide")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REMAINDERS)
def test_remainders_of_any_quotient(name, dtype, isa, rng):
    """Quotients to 10^16 and beyond, whole ones, signs; floor_divide to its last bit."""
    a, b = (rng.standard_normal(2000) * 10.0 ** rng.integers(-12, 13, 2000) for _ in range(2))
    a[:300], b[:300] = rng.integers(-9, 10, 300) * 0.1, rng.choice([0.1, 0.7, -0.3, 2, -1], 300)
    a, b = a.astype(dtype), b.astype(dtype)
    if name == "floor_divide":
        pairs = zip(map(Fraction, a.tolist()), map(Fraction, b.tolist()), strict=True)
        wanted = np.array([float(math.floor(p / q)) for p, q in pairs]).astype(dtype)
        y, small = kernels.floor_divide(a, b), np.abs(wanted) < 2**23
        assert (np.abs(y - wanted) <= np.spacing(np.abs(wanted))).all()  # two roundings
        np.testing.assert_array_equal(y[small], wanted[small])
    else:
        np.testing.assert_array_equal(getattr(kernels, name)(a, b), getattr(np, name)(a, b))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", REMAINDERS)
def test_remainders_at_borders(name, dtype, isa):
    """NumPy's values and signs of zero for 0, infinity and NaN, beside others and alone; a remainder of 0
    has the sign of a, as in PyTorch."""
    borders = np.array([0.0, -0.0, 1, -1, 2.5, -7, 1e30, -1e30, np.inf, -np.inf, np.nan], dtype)
    a, b = (v.ravel().copy() for v in np.meshgrid(borders, borders))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(a, b)
    if name == "remainder":
        expected = np.where(expected == 0, np.copysign(0, a), expected)
    y = getattr(kernels, name)(a, b)
    np.testing.assert_array_equal(y, expected)
    said = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(y)[said], np.signbit(expected)[said])
    for i in range(0, a.size, 7):
        np.testing.assert_array_equal(getattr(kernels, name)(a[i : i + 1], b[i : i + 1]), y[i : i + 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_several_ops_in_one_round_as_they_do(dtype, isa, rng):
    """NumPy rounds after each operation, too."""
    one = {"addcmul": lambda a, b, c, d: a + b * c * d, "addcdiv": lambda a, b, c, d: a + b / c * d}
    one["lerp"] = lambda a, b, c, d: a + d * (c - b)
    for n in (0, 1, 3, 8, 17, 300):
        a, b, c, d = rng.standard_normal((4, n)).astype(dtype)
        number = np.dtype(dtype).type(0.3)
        for name, function in one.items():
            kernel = getattr(_core, name)
            np.testing.assert_array_equal(kernel(a, b, c, d), function(a, b, c, d))
            np.testing.assert_array_equal(kernel(a, b, c, 0.3), function(a, b, c, number))
            np.testing.assert_array_equal(kernel(a, b, 0.3, d), function(a, b, number, d))
            np.testing.assert_array_equal(kernel(a[:, None], b, c, 2), function(a[:, None], b, c, 2))
            expected = function(a, b, c, d)
            assert kernel(a, b, c, d, a) is a
            np.testing.assert_array_equal(a, expected)


WEIGHTS = np.array([1.0, -0.5])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_jets_of_every_width(dtype, weights, isa, rng):
    """t: Taylor coefficients of the inputs along a curve, of orders 1 to 3; with weights the first
    derivatives by two variables, and the weighted sum of their second ones. Lines around the width of
    vectors, dense and strided."""
    for n in [0, 1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 33, 64, 65]:
        y, t, dy = (rng.uniform(-0.9, 0.9, shape) for shape in ((n,), (3, n), (3, n)))
        given = None if weights is None else weights.astype(dtype)
        want = reference.jet(y, t, "tanh", weights)
        dx, dt = reference.jet_backward(dy, y, t, "tanh", weights)
        for layout in (lambda a: a, lambda a: np.repeat(a, 2, -1)[..., ::2]):
            args = [layout(a.astype(dtype)) for a in (dy, y, t)]
            got = _core.jet(args[1], args[2], "tanh", given)
            np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, 16, 4))
            got_dx, got_dt = _core.jet_backward(*args, "tanh", given)
            np.testing.assert_allclose(got_dx, dx, rtol=0, atol=tolerance(dtype, 16, 16))
            np.testing.assert_allclose(got_dt, dt, rtol=0, atol=tolerance(dtype, 16, 16))


@pytest.mark.parametrize("weights", [None, np.ones(5, np.float32)])
def test_jets_on_threads(weights, threads, rng):
    x, t = rng.uniform(-2, 2, (300, 400)).astype("f"), rng.uniform(-1, 1, (6, 300, 400)).astype("f")
    run = lambda: (_core.jet(x, t, "gelu", weights), *_core.jet_backward(t, x, t, "gelu", weights))  # noqa: E731
    same_bits(threads, run, (1, 2, 4))


def test_jets_at_infinity():
    """Far from 0 the derivatives have their limits."""
    x, t = np.array([-np.inf, -1e30, 1e30, np.inf], "f"), np.ones((2, 4), "f")
    for name in ("silu", "gelu", "softplus"):
        assert _core.jet(x, t, name).tolist() == [[0, 0, 1, 1]] * 2


def test_results_of_broadcast_operands_keep_the_order_of_memory():
    """That of the strides of the operands, the first one first; C order where they do not tell."""
    columns = np.arange(24, dtype=np.float32).reshape(4, 6).T  # (6, 4), stored by columns
    y = kernels.mul(columns[:, :, None], columns[:, None, :])
    assert [stride // 4 for stride in y.strides] == [1, 24, 6]  # as PyTorch's
    np.testing.assert_array_equal(y, columns[:, :, None] * columns[:, None, :])
    rows = np.arange(6, dtype=np.float32)
    assert kernels.add(rows[:, None], rows).flags.c_contiguous
    turned = kernels.add(columns[:, :, None], rows[:5])  # (6, 4, 5)
    assert [stride // 4 for stride in turned.strides] == [5, 30, 1]
    assert (turned == columns[:, :, None] + rows[:5]).all()
