"""Triangular systems, factors, the matrix exponential and least squares: the solution put into the equation,
or beside NumPy; gradients beside central differences (gradcheck).
"""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.autograd import gradcheck, gradgradcheck
from support.refused import refused

RNG = np.random.default_rng(4)
A, B = RNG.normal(size=(2, 4, 4)) + 3 * np.eye(4), RNG.normal(size=(2, 4, 3))
SYMMETRIC = A @ A.transpose(0, 2, 1)


def leaf(x):
    return rv.tensor(x, requires_grad=True)


@pytest.mark.parametrize(("b", "left"), [((3, 2, 0, 1), True), ((3, 2, 2, 0), False), ((0, 4, 0, 5), True)])
def test_one_empty_triangle_for_several(b, left):
    x, one = rv.zeros(*b), rv.zeros(0, 0)
    assert rv.linalg.solve_triangular(one, x, upper=True, left=left).shape == b
    if left:
        assert rv.cholesky_solve(x, one).shape == b


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-6), ("float64", 1e-14)])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unit", [False, True])
def test_edge_sizes(dtype, tolerance, upper, unit):
    """Around the rows that are solved without a product, its halves, and the columns of a thread."""
    for n in (0, 1, 7, 8, 9, 16, 17, 31, 32, 33, 65, 100, 129):
        half = (RNG.standard_normal((n, n)) * 0.3 / max(n, 1) ** 0.5 + 2 * np.eye(n)).astype(dtype)
        read = (np.triu if upper else np.tril)(half, (1 if upper else -1) * unit) + np.eye(n) * unit
        for columns in (0, 1, 4, 5, 128, 130):
            b = RNG.standard_normal((n, columns)).astype(dtype)
            for a in (half, np.ascontiguousarray(half.T).T, half[::-1, ::-1].copy()[::-1, ::-1]):
                x = rv.linalg.solve_triangular(
                    rv.tensor(a), rv.tensor(b), upper=upper, unitriangular=unit
                ).numpy()
                assert x.dtype == dtype
                scale = np.abs(x).max(initial=1)
                np.testing.assert_allclose(read.astype(np.float64) @ x, b, atol=20 * tolerance * scale)


def test_batches_broadcast():
    """The solution times the triangle is the right side, for matrices and right sides of different
    batches."""
    a, b = RNG.normal(size=(3, 1, 5, 5)) + 4 * np.eye(5), RNG.normal(size=(2, 5, 2))
    x = rv.linalg.solve_triangular(rv.tensor(a), rv.tensor(b), upper=True).numpy()
    np.testing.assert_allclose(np.triu(a) @ x, np.broadcast_to(b, (3, 2, 5, 2)), atol=1e-12)
    for columns in (1, 40):  # one matrix for many right sides
        b = RNG.normal(size=(7, 4, columns))
        x = rv.linalg.solve_triangular(rv.tensor(A[0]), rv.tensor(b), upper=False).numpy()
        np.testing.assert_allclose(np.tril(A[0]) @ x, b, atol=1e-12)
    wide = leaf(np.broadcast_to(A[0], (3, 4, 4)).copy())
    assert gradcheck(
        lambda a, b: rv.linalg.solve_triangular(a, b, upper=False),
        (leaf(A[0]), leaf(RNG.normal(size=(3, 4, 2)))),
    )
    assert gradcheck(lambda a, b: rv.cholesky_solve(b, a.tril()), (wide, leaf(B[0])))


@pytest.mark.parametrize("columns", [1, 300])
def test_bits_do_not_depend_on_threads(columns):
    a = (RNG.standard_normal((150, 150)) * 0.02 + np.eye(150)).astype(np.float32)
    b, found = RNG.standard_normal((150, columns)).astype(np.float32), []
    for threads in (1, 2, 3):
        rv.set_num_threads(threads)
        found.append(rv.linalg.solve_triangular(rv.tensor(a), rv.tensor(b), upper=False).numpy())
    rv.set_num_threads(1)
    for x in found[1:]:
        np.testing.assert_array_equal(x, found[0])


@pytest.mark.parametrize("transpose", [False, True])
def test_the_old_form(transpose):
    x, copy = rv.triangular_solve(rv.tensor(B), rv.tensor(A), transpose=transpose)
    upper = np.triu(A)
    np.testing.assert_allclose((upper.transpose(0, 2, 1) if transpose else upper) @ x.numpy(), B, atol=1e-12)
    np.testing.assert_array_equal(copy.numpy(), A)


@pytest.mark.parametrize("n", [1, 64, 65, 200])
def test_triangles_in_blocks(n):
    """One matrix for many right sides, and a matrix for each."""
    lower = np.tril(RNG.normal(size=(n, n))) / n + np.eye(n)
    b = RNG.normal(size=(3, n, 2))
    expected = np.linalg.solve(np.stack([lower] * 3), b)
    for matrix in (lower, np.stack([lower] * 3)):
        x = rv.linalg.solve_triangular(rv.tensor(matrix), rv.tensor(b), upper=False)
        np.testing.assert_allclose(x.numpy(), expected, rtol=1e-10, atol=1e-12)
        x = rv.linalg.solve_triangular(rv.tensor(matrix).mT, rv.tensor(b), upper=True).numpy()
        np.testing.assert_allclose(lower.T @ x, b, rtol=1e-10, atol=1e-12)
    x = rv.cholesky_solve(rv.tensor(b), rv.tensor(lower)).numpy()
    np.testing.assert_allclose(lower @ (lower.T @ x), b, rtol=1e-9, atol=1e-11)
    whole = rv.cholesky_inverse(rv.tensor(lower)).numpy() @ lower @ lower.T
    np.testing.assert_allclose(whole, np.eye(n), atol=1e-10)


def test_cholesky_ex_tells_how_far_a_factor_goes():
    found = rv.linalg.cholesky_ex(rv.tensor(np.stack([np.diag([1.0, 4.0, -1.0]), np.diag([1.0, 4.0, 9.0])])))
    assert found.info.tolist() == [3, 0]
    np.testing.assert_array_equal(found.L[1].numpy(), np.diag([1.0, 2.0, 3.0]))
    assert found.L[0, 1].tolist() == [0.0, 2.0, 0.0]
    assert math.isnan(found.L[0, 2, 2].item())
    not_a_number = rv.linalg.cholesky_ex(rv.full((2, 2), math.nan))
    assert not_a_number.info.item() == 1
    with pytest.raises(rv.linalg.LinAlgError, match="not positive-definite"):
        rv.linalg.cholesky_ex(-rv.eye(2), check_errors=True)
    assert issubclass(rv.linalg.LinAlgError, RuntimeError)
    compiled = rv.compile(lambda x: rv.linalg.cholesky_ex(x).info)
    assert [compiled(rv.eye(2) * k).item() for k in (1.0, -1.0, 2.0, -2.0, 3.0)] == [0, 1, 0, 1, 0]


@pytest.mark.parametrize("upper", [False, True])
def test_gradients_of_factors(upper):
    """First and second ones beside central differences, of symmetric matrices."""

    def symmetric(a):
        return (a + a.mT) / 2

    for function in (
        lambda a: rv.linalg.cholesky(symmetric(a), upper=upper),
        lambda a: rv.linalg.cholesky_ex(symmetric(a), upper=upper).L,
        lambda a: rv.cholesky_inverse(a.triu() if upper else a.tril(), upper),
        lambda a: rv.linalg.lu(a)[1 + upper],
        lambda a: rv.lu_solve(rv.tensor(B), *rv.linalg.lu_factor(a)),
        lambda a: rv.linalg.matrix_exp(a / 4),
    ):
        assert gradcheck(function, (leaf(SYMMETRIC),))
        assert gradgradcheck(function, (leaf(SYMMETRIC),))


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 5), (0, 4, 2), (3, 0)])
def test_factors_of_matrices_that_are_not_square(shape):
    a = np.random.default_rng(0).normal(size=shape)
    p, low, up = rv.linalg.lu(rv.tensor(a))
    np.testing.assert_allclose((p @ low @ up).numpy(), a, atol=1e-12)
    assert low.shape[-1] == up.shape[-2] == min(shape[-2:])
    if a.size:
        for part in (1, 2):
            assert gradcheck(lambda a, part=part: rv.linalg.lu(a)[part], (leaf(a),))
            assert gradgradcheck(lambda a, part=part: rv.linalg.lu(a)[part], (leaf(a),))


def test_lu_solve():
    x = rv.lu_solve(rv.tensor(B), *rv.lu(rv.tensor(A))).numpy()
    np.testing.assert_allclose(A @ x, B, atol=1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 30.0])
def test_exponential(size):
    values, vectors = np.linalg.eigh(SYMMETRIC / np.abs(SYMMETRIC).max() * size)
    expected = vectors * np.exp(values)[:, None, :] @ vectors.transpose(0, 2, 1)
    found = rv.matrix_exp(rv.tensor(vectors * values[:, None, :] @ vectors.transpose(0, 2, 1))).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13 * np.exp(size))
    assert np.isnan(rv.matrix_exp(rv.full((2, 2), math.inf)).numpy()).all()


def test_inv_ex_tells_which_matrix_is_singular():
    both = leaf(np.stack([np.ones((2, 2)), np.diag([2.0, 4.0])]))
    found = rv.linalg.inv_ex(both)
    assert found.info.tolist() == [2, 0]
    assert np.isnan(found.inverse[0].detach().numpy()).all()
    found.inverse[1].sum().backward()
    np.testing.assert_allclose(both.grad[1].numpy(), -np.outer([0.5, 0.25], [0.5, 0.25]))
    assert both.grad[0].tolist() == [[0.0, 0.0], [0.0, 0.0]]
    refused(rv.linalg.LinAlgError, "singular", rv.linalg.inv_ex, rv.ones(2, 2), check_errors=True)


def test_refused():
    eye = rv.eye(2)
    solve = rv.linalg.solve_triangular
    refused(ValueError, "[solve_triangular] got a singular matrix", solve, eye * 0, eye, upper=True)
    refused(ValueError, "expected rows alike", solve, eye, rv.ones(3, 1), upper=True)
    refused(ValueError, "[cholesky_inverse] got A of shape", rv.cholesky_inverse, rv.ones(2, 3))
    refused(TypeError, "expected None", rv.linalg.cholesky_ex, eye, out=(eye, eye))


def test_least_squares(rng):
    A, B = rng.normal(size=(2, 4, 4)), rng.normal(size=(2, 4, 3))
    wanted = np.stack([np.linalg.lstsq(b, a, None)[0] for a, b in zip(A, B, strict=True)])
    np.testing.assert_allclose(rv.linalg.lstsq(rv.tensor(B), rv.tensor(A)).solution.numpy(), wanted)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "size", [1.0, 1e30, 1e-30, lambda dtype: np.finfo(dtype).max / 8, lambda dtype: np.finfo(dtype).tiny]
)
@pytest.mark.parametrize("seed", range(4))
def test_least_squares_of_low_rank(dtype, size, seed):
    """For values of any size the rank is found, and no norm or inverse overflows (a warning is an error)."""
    size = dtype(size(dtype) if callable(size) else size)
    rows = np.random.default_rng(seed).choice([-1.0, -0.5, 0.5, 1.0], 5)  # products of these are exact
    low = np.outer(rows, [1.0, 0.5, -1.0]).astype(dtype) * size
    got = rv.linalg.lstsq(rv.tensor(low), rv.tensor(low))
    assert got.rank.item() == rv.linalg.matrix_rank(rv.tensor(low)).item() == 1
    wanted = np.outer([1.0, 0.5, -1.0], [1.0, 0.5, -1.0]) / 2.25
    np.testing.assert_allclose(got.solution.numpy(), wanted, atol=32 * np.finfo(dtype).eps)
    with_ones = rv.tensor(np.ones((3, 3), dtype) * size)
    assert rv.linalg.lstsq(with_ones, with_ones).rank.item() == 1


@pytest.mark.parametrize("driver", [None, "gels", "gelsd"])
@pytest.mark.parametrize("shape", [(4, 3), (2, 4, 3), (3, 3), (2, 3), (0, 3), (2, 4, 0)])
def test_least_squares_of_vectors(shape, driver, rng):
    a, b = (rv.tensor(rng.normal(size=size)) for size in (shape, shape[:-1]))
    found, columns = (rv.linalg.lstsq(a, y, driver=driver) for y in (b, b.unsqueeze(-1)))
    assert found.solution.shape == shape[:-2] + shape[-1:]
    assert found.solution.tolist() == columns.solution.squeeze(-1).tolist()
    assert [x.tolist() for x in found[1:]] == [x.tolist() for x in columns[1:]]


def test_least_squares_of_other_shapes():
    for b in (rv.ones(4), rv.ones(1, 4), rv.ones(2, 3)):
        refused(ValueError, "[lstsq] got", rv.linalg.lstsq, rv.ones(2, 4, 3), b)
