"""Factors of matrices, determinants and triangular systems, beside NumPy in float64: sizes around tiles,
strips and blocks, strides, levels, threads, and matrices without factors.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as core

RNG = np.random.default_rng(11)
SIZES = (*range(71), 95, 96, 97, 127, 128, 129, 257)
FEW = (0, 1, 3, 8, 17, 31, 32, 33, 65, 130)
DTYPES = ("float32", "float64")


@contextmanager
def at_level(level: str) -> Iterator[None]:
    before = core.isa()
    core.set_isa(level)
    try:
        yield
    finally:
        core.set_isa(before)


def bound(dtype, n, factor=20):
    """Of the error of factors of matrices whose elements are about 1, by n roundings each."""
    return factor * max(n, 1) * float(np.finfo(dtype).eps)


def definite(n, dtype):
    A = RNG.normal(size=(n, n))
    return (A @ A.T / max(n, 1) + np.eye(n)).astype(dtype)


def strided(A):
    """The same values: transposed in memory, and with reversed and skipped elements."""
    wide = np.zeros((*A.shape[:-1], 2 * A.shape[-1]), A.dtype)[..., ::-2]
    wide[...] = A
    return np.ascontiguousarray(A.swapaxes(-1, -2)).swapaxes(-1, -2), wide


def exchanged(pivots, m):
    """The order of the rows after the exchanges."""
    order = list(range(m))
    for i, pivot in enumerate(pivots - 1):
        order[i], order[pivot] = order[pivot], order[i]
    return order


def check_lu(A):
    m, n = A.shape
    size = min(m, n)
    both, pivots, info = core._lu(A)
    L = np.tril(both[:, :size], -1).astype(np.float64) + np.eye(m, size)
    U = np.triu(both[:size]).astype(np.float64)
    assert np.abs(L).max(initial=0) <= 1
    np.testing.assert_allclose(L @ U, A[exchanged(pivots, m)], rtol=0, atol=bound(A.dtype, n))
    assert (info == 0) == (np.diagonal(U) != 0).all()


def check_qr(A, complete):
    m, n = A.shape
    Q, R = core._qr(A, complete)
    size = m if complete else min(m, n)
    assert Q.shape == (m, size)
    assert R.shape == (size, n)
    Q64 = Q.astype(np.float64)
    limit = bound(A.dtype, max(m, n))
    np.testing.assert_allclose(Q64 @ R, A, rtol=0, atol=limit)
    np.testing.assert_allclose(Q64.T @ Q64, np.eye(size), rtol=0, atol=limit)
    assert not np.tril(R, -1).any()
    assert (core._qr_r(A) == R[: min(m, n)]).all()
    if min(m, n) > 1:  # LAPACK's sign: not that of the first element of a column
        assert np.sign(R[0, 0]) == -np.sign(A[0, 0])


@pytest.mark.parametrize("level", core.supported_isas())
@pytest.mark.parametrize("dtype", DTYPES)
def test_cholesky(dtype, level):
    with at_level(level):
        for n in SIZES:
            A = definite(n, dtype)
            L, info = core._cholesky(A)
            assert info == 0
            np.testing.assert_allclose(
                L, np.linalg.cholesky(A.astype(np.float64)), rtol=0, atol=bound(dtype, n)
            )
            lower = np.tril(A) + np.triu(np.full_like(A, np.nan), 1)  # only the lower triangle is read
            for same in (lower, *strided(lower)):
                assert (core._cholesky(same)[0] == L).all()


@pytest.mark.parametrize("level", core.supported_isas())
@pytest.mark.parametrize("dtype", DTYPES)
def test_lu_and_qr(dtype, level):
    with at_level(level):
        for n in SIZES:
            for m in sorted({n, n + 5, max(n - 7, 0), 2 * n}):
                A = RNG.normal(size=(m, n)).astype(dtype)
                check_lu(A)
                check_qr(A, False)
        for n in FEW:
            A = RNG.normal(size=(n + 3, n)).astype(dtype)
            check_qr(A, True)
            check_qr(A.T, True)
            for same in strided(A):
                for function in (core._lu, core._qr):
                    for found, wanted in zip(function(same), function(A), strict=True):
                        assert (found == wanted).all()


@pytest.mark.parametrize("level", core.supported_isas())
@pytest.mark.parametrize("dtype", DTYPES)
def test_systems(dtype, level):
    """Also one matrix for several right sides, and one right side for several matrices."""
    with at_level(level):
        for n in (*FEW, 300, 600):
            A = definite(n, dtype)
            A64 = A.astype(np.float64)
            for columns in (0, 1, 5, 33, 70):
                b = RNG.normal(size=(n, columns)).astype(dtype)
                y, info = core._solve(A, b)
                assert info == 0
                limit = bound(dtype, n, 100)
                np.testing.assert_allclose(y, np.linalg.solve(A64, b), rtol=0, atol=limit)
                y, _ = core._solve(A, np.stack([b, 2 * b]))
                np.testing.assert_allclose(y[1], 2 * y[0], rtol=0, atol=limit)
                for upper in (False, True):
                    half = np.triu(A64) if upper else np.tril(A64)
                    y = core.solve_triangular(A, b, upper)
                    np.testing.assert_allclose(half @ y, b, rtol=0, atol=limit)
    A = definite(6, dtype)
    y, info = core._solve(np.stack([A, 2 * A]), np.eye(6, dtype=dtype))
    assert info.shape == (2,)
    np.testing.assert_allclose(y[0], 2 * y[1], rtol=1e-4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_determinants(dtype):
    for n in FEW:
        A = definite(n, dtype)
        if n > 1:
            A[[0, 1]] = A[[1, 0]]
        sign, log = core._slogdet(A)
        wanted_sign, wanted_log = np.linalg.slogdet(A.astype(np.float64))
        assert sign == wanted_sign
        assert abs(log - wanted_log) <= bound(dtype, n, 100)
        assert abs(core._det(A) / (wanted_sign * np.exp(wanted_log)) - 1) <= bound(dtype, n, 100)
    # products that overflow or vanish before their end
    great, little = (1e30, 1e-30) if dtype == "float32" else (1e250, 1e-250)
    for diagonal in ([great, great, little, little], [little, little, great, great]):
        np.testing.assert_allclose(core._det(np.diag(diagonal).astype(dtype)), 1, rtol=1e-5)
    zero = np.zeros((2, 2), dtype)
    assert core._det(zero) == 0
    assert core._slogdet(zero) == (0, -np.inf)
    assert np.isnan(core._det(np.full((2, 2), np.nan, dtype)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_matrices_without_factors(dtype):
    """info is the place of the first row without a factor; rows before it have that of their part."""
    for n in (1, 2, 9, 33, 70):
        for place in {0, n // 2, n - 1}:
            for wrong in (-1.0, 0.0, np.nan, -np.inf):
                A = np.eye(n, dtype=dtype) * 4
                A[place, place] = wrong
                L, info = core._cholesky(A)
                assert info == place + 1
                assert (L[:place] == 2 * np.eye(n)[:place]).all()
                assert np.isnan(L[place:][np.tril(np.ones((n, n), bool))[place:]]).all()
            A[place, place] = np.inf
            L, info = core._cholesky(A)
            assert info == (place + 2 if place + 1 < n else 0)
            A = RNG.normal(size=(n, n)).astype(dtype)
            A[:, place] = 0
            assert core._lu(A)[2] == place + 1
            assert core._solve(A, A)[1] == place + 1


@pytest.mark.parametrize("dtype", DTYPES)
def test_numbers_whose_squares_have_no_place(dtype):
    great, little = (1e30, 1e-30) if dtype == "float32" else (1e250, 1e-250)
    A = RNG.normal(size=(40, 9))
    R = core._qr_r(A.astype(dtype)).astype(np.float64)
    for scale in (great, little):
        scaled = core._qr_r((A * scale).astype(dtype)) / scale
        np.testing.assert_allclose(scaled, R, rtol=0, atol=bound(dtype, 40))
    # a column of zeros, and one that is already reduced
    A = np.array([[2.0, 1.0], [0.0, 3.0], [0.0, 0.0]], dtype)
    Q, R = core._qr(A)
    assert (A[:2] == R).all()
    assert (np.eye(3, 2) == Q).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_threads(dtype):
    before = rv.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 5):
            rv.set_num_threads(threads)
            rng = np.random.default_rng(3)
            for shape in ((200, 200), (3, 90, 90)):
                A = rng.normal(size=shape).astype(dtype)
                S = (A @ A.swapaxes(-1, -2) + np.eye(shape[-1])).astype(dtype)
                calls = (
                    *core._cholesky(S),
                    *core._lu(A),
                    *core._qr(A),
                    *core._solve(S, A),
                    *core._slogdet(A),
                    core.solve_triangular(S, A),
                )
                results.append((threads, shape, [array.tobytes() for array in calls]))
    finally:
        rv.set_num_threads(before)
    for threads, shape, found in results[2:]:
        wanted = results[0 if shape == (200, 200) else 1][2]
        assert found == wanted, (threads, shape)


def test_wrong_arguments():
    A = np.ones((2, 3))
    for call, text in (
        (lambda: core._cholesky(A), r"expected \(..., n, n\)"),
        (lambda: core._det(A), r"expected \(..., n, n\)"),
        (lambda: core._lu(A[0]), r"expected \(..., m, n\)"),
        (lambda: core._qr_r(A, 3), "expected 0 to 2"),
        (lambda: core._solve(A, A), "square matrices a"),
        (lambda: core._solve(np.eye(2), np.ones((3, 1))), "the last dimension of a"),
        (lambda: core._solve(np.ones((2, 2, 2)), np.ones((3, 2, 1))), "batch dimensions"),
        (lambda: core._exchange_rows(np.array([3], np.int32), A), "expected 1 to 2"),
    ):
        with pytest.raises(ValueError, match=text):
            call()


@pytest.mark.parametrize("dtype", DTYPES)
def test_exchange_rows(dtype):
    y = RNG.normal(size=(2, 4, 3)).astype(dtype)
    pivots = np.array([[2, 2, 4], [1, 4, 3]], np.int32)
    found = core._exchange_rows(pivots, y)
    for i in range(2):
        assert (found[i] == y[i][exchanged(pivots[i], 4)]).all()
