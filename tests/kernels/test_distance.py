"""cdist, the distances of all pairs of rows of two sets, and its gradients, beside the reference in NumPy in
float64; kernels of other distances: tests/ops. The tolerance is that of a sum over the elements of a row (of
a gradient: of all rows, too), of terms up to 16 times the largest result. A test with the fixture `isa` runs
at each ISA level (instruction set).
"""

import numpy as np
import pytest
from ranvier import kernels
from reference import distance as reference
from support.threads import same_bits
from support.tolerance import tolerance


def all_pairs(x, z):
    """Both arrays repeated, so that their rows stand beside each other in all pairs: (..., m, n, d)."""
    shape = (*x.shape[:-1], *z.shape[-2:])
    return np.broadcast_to(x[..., :, None, :], shape), np.broadcast_to(z[..., None, :, :], shape)


def close(got, want, dtype, terms):
    size = max(1.0, float(np.abs(want).max(initial=0)))
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance(dtype, terms, 16 * size))
    assert (got.shape, got.dtype) == (want.shape, want.dtype)


SHAPES = [
    (1, 1, 1),
    (3, 5, 2),
    (4, 33, 128),
    (5, 64, 129),
    (17, 8, 16),
    (34, 70, 3),
    (70, 1, 40),
    (6, 65, 300),
]


POWERS = [(dtype, p) for dtype in ("float32", "float64") for p in (0.0, 1.0, 1.5, 2.0, 3.0, np.inf)]


@pytest.mark.parametrize(("dtype", "p"), [*POWERS, ("float64", 0.5)])
@pytest.mark.parametrize(("m", "n", "d"), SHAPES)
def test_all_pairs(m, n, d, p, dtype, isa, rng):
    """Around the widths of a tile and a group; pairs of one set have the bits of those of two."""
    x, z = (rng.uniform(-1, 1, (2, rows, d)).astype(dtype) for rows in (m, n))
    z[0, n // 2] = x[0, m // 2]
    dy = rng.uniform(0.5, 1, (2, m, n)).astype(dtype)
    wide = [a.astype(np.float64) for a in (x, z, dy)]
    pairs = all_pairs(*wide[:2])
    y = kernels.cdist(x, z, p)
    wanted = reference.pairwise_distance(*pairs, p=p, eps=0.0)
    close(y, wanted.astype(dtype), dtype, d)
    with np.errstate(invalid="ignore", divide="ignore"):
        dx, dz = reference.pairwise_distance_backward(wide[2], *pairs, p=p, eps=0.0)
    dx, dz = (np.where(pairs[0] == pairs[1], 0, g) for g in (dx, dz))  # equal rows have no slope
    close(kernels.cdist_backward(dy, y, x, z, p), dx.sum(2).astype(dtype), dtype, 8 * n * d)
    close(kernels.cdist_backward(dy, y, x, z, p, True), dz.sum(1).astype(dtype), dtype, 8 * m * d)
    i, j = np.triu_indices(m, 1)
    one = kernels.cdist(x[0], None, p)
    both = kernels.cdist(x[0], x[0], p)
    np.testing.assert_array_equal(one, both[i, j])
    above = np.zeros((m, m), dtype)
    above[i, j] = rng.uniform(0.5, 1, i.size)
    dx = sum(kernels.cdist_backward(above, both, x[0], x[0], p, second) for second in (False, True))
    close(kernels.cdist_backward(above[i, j], one, x[0], None, p), dx, dtype, 16 * m * d)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("d", [1, 5, 16, 40, 130])
def test_all_pairs_of_equal_differences(d, dtype, isa, rng):
    """For small whole numbers p = 0 counts the elements that differ; for p infinite all that are largest
    share the slope."""
    x, z = (rng.integers(-2, 3, (rows, d)).astype(dtype) for rows in (21, 70))
    dy = rng.uniform(0.5, 1, (21, 70)).astype(dtype)
    pairs = all_pairs(x.astype(np.float64), z.astype(np.float64))
    np.testing.assert_array_equal(kernels.cdist(x, z, 0.0), (pairs[0] != pairs[1]).sum(-1))
    y = kernels.cdist(x, z, np.inf)
    np.testing.assert_array_equal(y, np.abs(pairs[0] - pairs[1]).max(-1))
    dx, dz = reference.pairwise_distance_backward(dy.astype(np.float64), *pairs, p=np.inf, eps=0.0)
    close(kernels.cdist_backward(dy, y, x, z, np.inf), dx.sum(1).astype(dtype), dtype, 8 * 70 * d)
    close(kernels.cdist_backward(dy, y, x, z, np.inf, True), dz.sum(0).astype(dtype), dtype, 8 * 21 * d)


def test_the_largest_difference_is_nan_where_one_is(isa):
    """The distance of a pair is NaN where a difference is, and so is the gradient of that element alone; also
    where infinity minus infinity is NaN."""
    x, z = np.zeros((3, 150)), np.ones((20, 150))
    x[1, 3], z[17, 140] = np.nan, np.nan
    nan = np.isnan(x).any(1)[:, None] | np.isnan(z).any(1)
    y = kernels.cdist(x, z, np.inf)
    np.testing.assert_array_equal(y, np.where(nan, np.nan, 1))
    np.testing.assert_array_equal(kernels.cdist(x, z, 0.0), np.where(nan, np.nan, 150))
    dx = kernels.cdist_backward(np.ones((3, 20)), y, x, z, np.inf)
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(x) | np.isnan(z[17]))  # only those differences
    dx = kernels.cdist_backward(np.ones((3, 17)), y[:, :17], x, z[:17], np.inf)
    np.testing.assert_array_equal(np.isnan(dx), np.isnan(x))
    x[1, 3] = z[17, 140] = np.inf  # infinity from itself is NaN, and else the largest
    dx = kernels.cdist_backward(np.ones((3, 3)), kernels.cdist(x, x, np.inf), x, x, np.inf)
    np.testing.assert_array_equal(np.isnan(dx), np.isinf(x))


@pytest.mark.parametrize("p", [0.0, 1.0, 2.0, 3.0, np.inf])
def test_all_pairs_have_the_same_bits_on_any_team(p, threads, isa, rng):
    x, z, dy = rng.standard_normal((200, 37)), rng.standard_normal((300, 37)), rng.standard_normal((200, 300))

    def run():
        y, one = kernels.cdist(x, z, p), kernels.cdist(x, None, p)
        first, second = (kernels.cdist_backward(dy, y, x, z, p, of) for of in (False, True))
        return y, one, first, second, kernels.cdist_backward(one, one, x, None, p)

    same_bits(threads, run, (1, 2))


@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e20, 1e30])
def test_all_pairs_far_from_one(scale, isa, rng):
    """Squares that leave the range of float32: the distances are those of numbers near 1, times the scale; so
    are the gradients, without it."""
    x, z = (rng.uniform(0.5, 1, (9, 40)) for _ in range(2))
    small, other = (x * scale).astype("float32"), (z * scale).astype("float32")
    y = kernels.cdist(small, other)
    near = {"rtol": tolerance("float32", 40, 16), "atol": 0}
    np.testing.assert_allclose(y, kernels.cdist(x, z) * scale, **near)
    dy = np.ones((9, 9))
    got = kernels.cdist_backward(dy.astype("float32"), y, small, other)
    want = kernels.cdist_backward(dy, kernels.cdist(x, z), x, z)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance("float32", 400, 16))


def test_a_row_that_is_not_finite_does_not_change_others(isa, rng):
    x = rng.standard_normal((65, 5))
    dy = np.ones(65 * 32)
    whole = kernels.cdist(x)
    x[64, 2] = np.inf
    y = kernels.cdist(x)
    _, j = np.triu_indices(65, 1)
    np.testing.assert_array_equal(y[j != 64], whole[j != 64])
    assert np.isinf(y[j == 64]).all()
    assert np.isfinite(kernels.cdist_backward(np.where(j == 64, 0, dy), y, x)[:64, :2]).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 4), (20, 70, 33)])
def test_the_number_of_unequal_elements_beside_nan(dtype, shape, isa, rng):
    """p = 0 counts unequal elements; NaN where one is NaN."""
    m, n, d = shape
    a, b = (rng.integers(0, 3, size).astype(dtype) for size in ((m, d), (n, d)))
    a[m // 2, d // 2] = b[n // 3, 0] = np.nan
    differences = a[:, None] - b
    expected = np.where(np.isnan(differences), differences, differences != 0).sum(-1)
    np.testing.assert_array_equal(kernels.cdist(a, b, 0.0), expected)
