"""Matrices with NaN or inf, singular ones and empty ones: the value or the error is PyTorch's, with and
without gradients, and the error has the name of the function that was called.
"""

import math

import numpy as np
import pytest
import ranvier as rv
from ranvier.torch.functions.linalg import cond, lu_factor_ex, solve_ex
from support.refused import refused

NAN = math.nan
INF = math.inf
NOT_DEFINITE = {  # the matrix, and PyTorch's info
    "nan first": ([[NAN, 0, 0], [0, 4, 0], [0, 0, 4]], 1),
    "nan last": ([[4, 0, 0], [0, 4, 0], [0, 0, NAN]], 3),
    "nan below": ([[4, 0, 0], [0, 4, 0], [0, NAN, 4]], 3),
    "inf first": ([[INF, 0], [0, 1]], 2),
    "inf in the middle": ([[4, 1, 0], [1, INF, 1], [0, 1, 4]], 3),
    "inf below": ([[4, 0, 0], [0, 4, 0], [INF, 0, 4]], 3),
    "-inf": ([[-INF, 0], [0, 1]], 1),
    "nan before a negative pivot": ([[NAN, 0], [0, -1]], 1),
}
SINGULAR = {  # the matrix, and the place of the first pivot that is 0
    "diagonal": (np.diag([1.0, 2, 0, 4]), 3),
    "two zeros": (np.diag([1.0, 0, 0, 4]), 2),
    "zeros": (np.zeros((3, 3)), 1),
    "rank 1": (np.outer([1.0, 2, 3], [1, 2, 3]), 2),
    "zero column": (np.array([[0.0, 1], [0, 2]]), 1),
    "exchanged rows": (np.array([[0.0, 1, 1], [1, 0, 0], [2, 0, 0]]), 3),
    "infinite": (np.array([[1.0, 0], [-INF, 1]]), 2),
    "regular": (np.array([[0.0, 1], [1, 0]]), 0),
    "nan": (np.array([[NAN, 2], [2, 4]]), 0),
}


def given(rows, requires_grad=False):
    return rv.tensor(np.array(rows, np.float64), requires_grad=requires_grad)


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("case", NOT_DEFINITE)
def test_cholesky_refuses_nan_and_inf(case, upper, requires_grad):
    rows, info = NOT_DEFINITE[case]
    rows = np.transpose(rows) if upper else rows
    a = given(rows, requires_grad)
    regular = np.eye(len(rows))
    batch = given([regular, rows], requires_grad)
    for x in (a, batch):
        refused(rv.linalg.LinAlgError, "[cholesky] got a matrix that is not", rv.linalg.cholesky, x, upper)
        call = {"upper": upper, "check_errors": True}
        refused(rv.linalg.LinAlgError, "[cholesky_ex] got a matrix that", rv.linalg.cholesky_ex, x, **call)
    found = rv.linalg.cholesky_ex(batch, upper=upper)
    assert found.info.tolist() == [0, info]
    np.testing.assert_array_equal(found.L[0].detach().numpy(), regular)
    assert np.isnan(found.L[1].detach().numpy()[info - 1, info - 1])


def test_cholesky_reads_one_triangle():
    rows = [[4.0, NAN], [2.0, 5.0]]
    lower = rv.linalg.cholesky(given(rows))
    upper = rv.linalg.cholesky(given(np.transpose(rows)), upper=True)
    np.testing.assert_array_equal(lower.numpy(), [[2, 0], [1, 2]])
    np.testing.assert_array_equal(upper.numpy(), [[2, 1], [0, 2]])


def test_cholesky_takes_inf_as_the_last_element():
    np.testing.assert_array_equal(rv.linalg.cholesky(given([[4, 0], [0, INF]])).numpy(), [[2, 0], [0, INF]])


@pytest.mark.parametrize("case", SINGULAR)
@pytest.mark.parametrize("dtype", [rv.float32, rv.float64])
def test_info_is_the_place_of_the_first_zero_pivot(case, dtype):
    rows, place = SINGULAR[case]
    n = len(rows)
    a = rv.tensor(np.stack([np.eye(n), rows]), dtype=dtype)
    right = rv.ones(2, n, 1, dtype=dtype)
    assert rv.linalg.inv_ex(a).info.tolist() == [0, place]
    assert solve_ex(a, right).info.tolist() == [0, place]
    assert lu_factor_ex(a).info.tolist() == [0, place]
    assert rv.linalg.inv_ex(a[1]).info.item() == place
    np.testing.assert_array_equal(rv.linalg.inv_ex(a).inverse[0].numpy(), np.eye(n))
    if place:
        checked = {"check_errors": True}
        refused(rv.linalg.LinAlgError, "[inv_ex] got a singular", rv.linalg.inv_ex, a, **checked)
        refused(rv.linalg.LinAlgError, "[solve_ex] got a singular", solve_ex, a, right, **checked)
        refused(rv.linalg.LinAlgError, "[lu_factor_ex] got a singular", lu_factor_ex, a, **checked)


def test_info_of_no_matrices():
    for shape in ((0, 0), (0, 2, 2), (2, 0, 0)):
        a = rv.zeros(*shape)
        assert rv.linalg.inv_ex(a).info.shape == lu_factor_ex(a).info.shape == shape[:-2]
        assert not rv.linalg.inv_ex(a).info.any()


def test_info_in_a_compiled_step():
    compiled = rv.compile(lambda a: rv.linalg.inv_ex(a).info)
    found = [compiled(rv.diag(rv.tensor(d))).item() for d in ([1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [2.0, 2.0])]
    assert found == [0, 2, 1, 0]


def test_a_nan_is_not_lost_in_a_determinant():
    """NumPy takes the second matrix as singular; the third one's product of pivots is -inf times 0."""
    a = given([np.eye(2), [[NAN, 2], [2, 4]], [[1, 0], [-INF, 1]], np.ones((2, 2)), [[0, INF], [0, 1]]])
    np.testing.assert_array_equal(rv.det(a).numpy(), [1, NAN, NAN, 0, NAN])
    np.testing.assert_array_equal(rv.slogdet(a).sign.numpy(), [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(rv.slogdet(a).logabsdet.numpy(), [0, NAN, NAN, -INF, NAN])


@pytest.mark.parametrize("name", ["inverse", "solve", "matrix_power"])
def test_a_matrix_with_nan_is_not_called_singular(name):
    a = given([np.eye(2), [[NAN, 2], [2, 4]]])
    calls = {
        "inverse": rv.inverse,
        "solve": lambda x: rv.linalg.solve(x, rv.ones(2, 2, 2, dtype=rv.float64)),
        "matrix_power": lambda x: rv.linalg.matrix_power(x, -1),
    }
    found = calls[name](a).numpy()
    np.testing.assert_array_equal(found[0], np.ones((2, 2)) if name == "solve" else np.eye(2))
    assert np.isnan(found[1]).all()


CALLS = {
    "svdvals": rv.linalg.svdvals,
    "matrix_rank": rv.linalg.matrix_rank,
    "cond": cond,
    "svd": rv.linalg.svd,
    "pinv": rv.linalg.pinv,
    "lstsq": lambda x: rv.linalg.lstsq(x, x),
}


@pytest.mark.parametrize("requires_grad", [False, True])
@pytest.mark.parametrize("name", CALLS)
def test_nan_is_an_error_of_the_function_that_was_called(name, requires_grad):
    for rows in ([[NAN, 0], [0, 1]], [np.eye(2), [[1, 0], [NAN, 1]]]):
        text = f"[{name}] got a matrix without a result; expected finite values"
        refused(rv.linalg.LinAlgError, text, CALLS[name], given(rows, requires_grad))


@pytest.mark.parametrize("function", [rv.inverse, rv.linalg.inv])
def test_a_singular_matrix_is_an_error_of_the_name_that_was_called(function):
    refused(rv.linalg.LinAlgError, f"[{function.__name__}] got a singular matrix", function, rv.ones(2, 2))


@pytest.mark.parametrize("requires_grad", [False, True])
def test_singular_values_of_inf_are_nan(requires_grad):
    a = given([np.diag([3.0, 2]), [[INF, 0], [0, 1]]], requires_grad)
    np.testing.assert_allclose(rv.linalg.svdvals(a).detach().numpy(), [[3, 2], [NAN, NAN]], rtol=1e-15)
    assert rv.linalg.matrix_rank(a).tolist() == [2, 0]
    np.testing.assert_allclose(cond(a).detach().numpy(), [1.5, NAN], rtol=1e-15)


def test_eigvalsh_says_its_own_name(monkeypatch):
    def none(*args):
        raise np.linalg.LinAlgError("Eigenvalues did not converge")

    for name in ("eigh", "eigvalsh"):
        monkeypatch.setattr(np.linalg, name, none)
    text = "[eigvalsh] got a matrix without a result; expected finite values"
    large = np.eye(100)  # of a size that LAPACK computes
    for requires_grad in (False, True):
        refused(rv.linalg.LinAlgError, text, rv.linalg.eigvalsh, given(large, requires_grad))


@pytest.mark.parametrize("p", [None, 2, -2, "nuc", "fro", 1, -1, INF, -INF])
def test_cond_of_what_has_no_inverse(p):
    assert cond(rv.zeros(0, 0), p).item() == 0
    assert cond(rv.zeros(3, 0, 0), p).tolist() == [0, 0, 0]
    if p != -2:
        assert cond(rv.diag(rv.tensor([2.0, 0.0])), p).item() == INF
    if p in ("fro", 1, -1, INF, -INF):
        assert cond(given([[NAN, 0], [0, 1]]), p).item() == INF  # as in PyTorch
    else:
        refused(rv.linalg.LinAlgError, "[cond] got a matrix", cond, given([[NAN, 0], [0, 1]]), p)


def test_cond_of_the_nuclear_norm():
    assert cond(given(np.diag([4.0, 2, 1])), "nuc").item() == pytest.approx(7 * 1.75, rel=1e-14)
