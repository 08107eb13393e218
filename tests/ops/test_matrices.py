"""Inverses, determinants, systems of equations and factors of matrices: factors multiply to the matrix,
gradients agree with central differences (gradcheck) or a formula, singular and degenerate matrices are as in
PyTorch.
"""

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused

RNG = np.random.default_rng(5)
A = RNG.normal(size=(2, 4, 4))
S = A @ np.swapaxes(A, -1, -2) + 4 * np.eye(4)
B = RNG.normal(size=(2, 4, 3))


def leaf(array):
    return rv.tensor(array, requires_grad=True)


SINGULAR = {
    "of rank 1": np.outer([1.0, 2, 3], [1, 0, 2]),
    "of rank 2": np.outer([1.0, 2, 3], [1, 0, 2]) + np.diag([0.0, 0, 1]),
    "0": np.zeros((3, 3)),
    "a number": np.zeros((1, 1)),
    "a batch": np.stack([np.ones((2, 2)), np.eye(2), [[1.0, 2], [3, 4]]]),
    "no matrix": np.zeros((0, 0)),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_gradients_of_det_need_no_inverse(name):
    """det is a polynomial: its gradients of all orders exist. Cofactors by minors, as in a textbook."""
    a = SINGULAR[name]
    n, expected = a.shape[-1], np.zeros_like(a)
    for i, j in np.ndindex(n, n):
        minor = np.delete(np.delete(a, i, -2), j, -1)
        expected[..., i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    for create_graph in (False, True):
        x = leaf(a)
        (gradient,) = rv.autograd.grad(rv.det(x).sum(), x, create_graph=create_graph)
        np.testing.assert_allclose(gradient.detach().numpy(), expected, atol=1e-12)
    if n:
        assert rv.autograd.gradcheck(rv.det, (leaf(a),))
        assert rv.autograd.gradgradcheck(rv.det, (leaf(a),))


@pytest.mark.parametrize("regular", [np.array([[1.0, 2], [3, 4]]), np.diag([1.0, 2, 3]) + 0.1])
def test_third_gradients_of_det(regular):
    def first(a):
        with rv.enable_grad():
            x = a if a.requires_grad else a.detach().requires_grad_()
            return rv.autograd.grad(rv.det(x), x, create_graph=True)[0]

    assert rv.autograd.gradgradcheck(first, (leaf(regular),))
    with pytest.raises(ValueError, match=r"^\[det\] got a singular matrix"):
        rv.autograd.gradgradcheck(first, (leaf(np.ones((2, 2))),))


@pytest.mark.parametrize("create_graph", [False, True])
@pytest.mark.parametrize(
    "name", ["slogdet", "logdet", "inverse", "solve", "matrix_power", "cholesky_solve", "qr"]
)
def test_a_singular_matrix_is_an_error_of_the_function_that_was_called(name, create_graph):
    b = rv.ones(3, 1, dtype=rv.float64)
    calls = {
        "slogdet": lambda x: rv.slogdet(x).logabsdet,
        "solve": lambda x: rv.linalg.solve(x, b),
        "matrix_power": lambda x: rv.linalg.matrix_power(x, -2),
        "cholesky_solve": lambda x: rv.cholesky_solve(b, x),
        "qr": lambda x: rv.qr(x).R,
    }
    x = leaf(np.diag([1.0, 0.0, 2.0]))
    with pytest.raises(ValueError, match=rf"^\[{name}\] got a singular matrix"):
        rv.autograd.grad(calls.get(name, getattr(rv, name, None))(x).sum(), x, create_graph=create_graph)


@pytest.mark.parametrize("columns", [32, 33, 300])
@pytest.mark.parametrize("n", [3, 16, 17, 33])
def test_systems_with_many_right_sides(n, columns):
    """Around the sizes from which on LAPACK solves them, a single system and a stack."""
    a = RNG.normal(size=(2, n, n)) + 2 * np.sqrt(n) * np.eye(n)
    b = RNG.normal(size=(2, n, columns))
    for left, right in ((a, b), (a[0], b[0]), (a, b[0]), (a[0], b)):
        y = rv.linalg.solve(rv.tensor(left), rv.tensor(right)).numpy()
        np.testing.assert_allclose(left @ y, np.broadcast_to(right, y.shape), atol=1e-12)


def test_slogdet_has_the_sign():
    sign, logs = rv.slogdet(rv.tensor(A))
    np.testing.assert_allclose((sign * logs.exp()).numpy(), np.linalg.det(A))
    assert np.isnan(rv.logdet(rv.tensor([[-1.0]])).item())


def test_factors_give_the_matrix_back():
    """LU, QR, SVD and eigenvectors: their product is the matrix."""
    p, low, up = rv.linalg.lu(rv.tensor(A))
    q, r = rv.linalg.qr(rv.tensor(B))
    u, s, vh = rv.linalg.svd(rv.tensor(B), full_matrices=False)
    values, vectors = rv.linalg.eigh(rv.tensor(S))
    for found, wanted in (
        (p @ low @ up, A),
        (q @ r, B),
        (u * s.unsqueeze(-2) @ vh, B),
        ((vectors * values.unsqueeze(-2)) @ vectors.mT, S),
    ):
        np.testing.assert_allclose(found.numpy(), wanted, atol=1e-12)
    assert rv.qr(rv.tensor(B), some=False).Q.shape == (2, 4, 4)
    assert rv.qr(rv.tensor(B)).R.shape == (2, 3, 3)


def test_the_rank_of_infinity_is_0(capfd):
    endless = [[float("inf"), 1.0], [1.0, 2.0]]
    assert rv.linalg.matrix_rank(rv.tensor([endless, [[1.0, 2.0], [3.0, 4.0]]])).tolist() == [0, 2]
    assert capfd.readouterr() == ("", "")  # LAPACK prints a warning about such numbers


SHAPES = {"square": (3, 3), "tall": (4, 2), "wide": (2, 4), "batch": (2, 3, 2)}


def first_columns(a):
    """U, S and Vh without what is arbitrary."""
    u, s, vh = rv.linalg.svd(a)
    return u[..., : s.shape[-1]], s, vh[..., : s.shape[-1], :]


def symmetric(function):
    return lambda a: function(a.mT @ a + a[..., :1, :].mT @ a[..., :1, :])


DECOMPOSED = {  # others are samples
    "svd": lambda a: (*rv.linalg.svd(a, full_matrices=False),),
    "all of svd": first_columns,
    "eigh": symmetric(lambda a: (*rv.linalg.eigh(a),)),
    "eigenvectors": symmetric(lambda a: rv.linalg.eigh(a, "U").eigenvectors),
    "least": lambda a: rv.linalg.matrix_norm(a, -2),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", DECOMPOSED)
def test_gradients_of_decompositions(name, shape):
    """First and second gradients against central differences: signs of vectors are continuous."""
    a = np.random.default_rng(3).normal(size=SHAPES[shape])
    if shape == "wide" and name in ("eigh", "eigenvectors"):
        a = np.concatenate([a, 2 * a[:, ::-1]])  # four different eigenvalues
    assert rv.autograd.gradcheck(DECOMPOSED[name], a)
    assert rv.autograd.gradgradcheck(DECOMPOSED[name], a)


@pytest.mark.parametrize("mode", ["complete", "reduced"])
def test_gradients_of_complete_qr(mode):
    assert rv.autograd.gradcheck(lambda a: (*rv.linalg.qr(a, mode),), A[0, :2])
    assert [part.shape for part in rv.linalg.qr(rv.tensor(B), "r")] == [(0,), (2, 3, 3)]


def test_third_derivatives_and_changed_results():
    a = leaf(A[0])
    norm = lambda a: rv.linalg.matrix_norm(a, "nuc")  # noqa: E731
    assert rv.autograd.gradgradcheck(rv.func.grad(norm), A[0])
    values, vectors = rv.linalg.eigh(a @ a.mT)
    with rv.no_grad():
        vectors.mul_(2)
    refused(RuntimeError, "modified by an inplace operation", values.sum().backward)
    q, r = rv.qr(a)
    a.data.mul_(3)  # not needed for the gradient
    (q.sum() + r.sum()).backward()
    assert a.grad.isfinite().all()


def degenerate(T):
    """Gradients at equal and at zero singular values: NaN is PyTorch's, too."""
    found = []
    for x in (T.eye(3), T.eye(3)[:, :2] * T.tensor([1.0, 0.0]), T.zeros(2, 2)):
        functions = [
            lambda x: T.linalg.svdvals(x).sum(),
            lambda x: T.linalg.svd(x, full_matrices=False)[0].sum(),
            lambda x: T.linalg.svd(x)[2].sum(),
            lambda x: T.linalg.matrix_norm(x, 2),
            lambda x: T.linalg.eigh(x.T @ x)[1].sum(),
            lambda x: T.linalg.pinv(x).sum(),
        ]
        for function in functions:
            leaf = x.clone().requires_grad_()
            function(leaf).backward()
            found.append(bool(T.isfinite(leaf.grad).all()))
    return found


def test_degenerate_values_are_as_in_pytorch(torch):
    assert degenerate(rv) == degenerate(torch)


def test_refused():
    refused(ValueError, "[lu] got pivot=False", rv.lu, rv.eye(2), pivot=False)
    refused(ValueError, "[qr] got mode 'x'; expected 'reduced'", rv.linalg.qr, rv.eye(2), "x")
    refused(ValueError, "[eigh] got UPLO 'x'; expected 'L' or 'U'", rv.linalg.eigh, rv.eye(2), "x")
    with pytest.raises(ValueError, match=r"\[svd\] got .*; expected finite values"):
        rv.linalg.svd(rv.tensor([[np.nan]]))
    refused(RuntimeError, "got mode 'r'", rv.linalg.qr(leaf(B), "r").R.sum().backward)
    refused(RuntimeError, "mode 'complete' and shape", rv.qr(leaf(B), False).R.sum().backward)
    refused(ValueError, "singular", rv.qr(rv.zeros(3, 2, requires_grad=True)).R.sum().backward)


def test_factors_under_no_grad():
    with rv.no_grad():
        assert rv.linalg.svdvals(leaf([[2.0]])).item() == 2.0


def test_constant_results_have_the_gradient_0():
    for function in (lambda a: rv.slogdet(a).sign, lambda a: rv.linalg.matrix_power(a, 0)):
        x = leaf(A)
        y = function(x)
        y.sum().backward()
        assert y.requires_grad
        assert not x.grad.any()
    x = leaf(np.zeros((0, 0)))
    rv.det(x).backward()
    assert x.grad.shape == (0, 0)


def test_which_singular_values_count():
    d = rv.tensor(np.diag([4.0, 1.0, 0.1]))
    assert rv.linalg.matrix_rank(d, atol=0.5) == rv.linalg.matrix_rank(d, atol=rv.tensor(0.5)) == 2
    assert rv.linalg.matrix_rank(d, rtol=0.3) == 1
    assert rv.linalg.matrix_rank(d, atol=2.0, rtol=0.01) == 1
    expected = np.diag([0.25, 1.0, 0.0])
    np.testing.assert_allclose(rv.linalg.pinv(d, atol=0.5).numpy(), expected, atol=1e-15)
    np.testing.assert_allclose(rv.linalg.pinv(d, rtol=0.1).numpy(), expected, atol=1e-15)
    refused(ValueError, "got hermitian=True", rv.linalg.pinv, d, hermitian=True)
    refused(ValueError, "got rtol Tensor", rv.linalg.matrix_rank, d, rtol=d)


def test_the_other_results_of_lstsq_and_lu():
    tall, b = rv.tensor([[1.0], [1.0]]), rv.tensor([[2.0], [4.0]])
    found = rv.linalg.lstsq(tall, b, driver="gelsd")
    assert found.residuals.tolist() == pytest.approx([2.0])
    assert (found.rank.item(), found.singular_values.shape) == (1, (1,))
    assert rv.linalg.lstsq(tall, b).residuals.shape == (0,)
    assert rv.linalg.lstsq(tall, b, driver="gels").rank.shape == (0,)
    assert rv.lu(rv.tensor(A), get_infos=True)[2].tolist() == [0, 0]
    factors = rv.lu(rv.tensor(A))
    assert [x.numel() > 0 for x in rv.lu_unpack(*factors, unpack_data=False)] == [True, False, False]
    assert [x.numel() > 0 for x in rv.lu_unpack(*factors, unpack_pivots=False)] == [False, True, True]
    refused(ValueError, "got pivot=False", rv.linalg.lu, rv.tensor(A), pivot=False)


def test_first_matrix_power_is_a_copy():
    x = rv.ones(2, 2)
    rv.linalg.matrix_power(x, 1).zero_()
    assert x.tolist() == [[1.0, 1.0], [1.0, 1.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("name", ["svdvals", "matrix_norm 2", "eigvalsh"])
def test_second_gradients_at_values_that_differ_by_rounding(rng, name, gap, dtype):
    """Finite and wrong before; NaN, as at equal values."""
    eps = np.finfo(dtype).eps
    q = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    A = (q * np.array([1, 1 + gap * eps, 1 - gap * eps, 3.0 if name == "eigvalsh" else 0.5])) @ q.T
    x = rv.tensor(A.astype(dtype), requires_grad=True)
    values = {
        "svdvals": rv.linalg.svdvals,
        "matrix_norm 2": lambda x: rv.linalg.matrix_norm(x, 2),
        "eigvalsh": rv.linalg.eigvalsh,
    }[name](x)
    weight = rv.tensor(np.arange(values.numel()).reshape(values.shape).astype(dtype) + 1)
    (g,) = rv.autograd.grad((values * weight).sum(), x, create_graph=True)
    (h,) = rv.autograd.grad((g * rv.tensor(rng.standard_normal((4, 4)).astype(dtype))).sum(), x)
    assert np.isfinite(g.detach().numpy()).all()
    assert np.isnan(h.numpy()).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_slogdet_of_matrices_without_a_determinant(dtype):
    """As PyTorch: the sign is 0 where the matrix is singular or has NaN; without a warning."""
    bad = np.array([[[np.nan, 1], [1, 2]], [[1, 1], [1, 1]], [[2, 0], [0, -1]]], dtype)
    sign, logs = rv.slogdet(rv.tensor(bad))
    np.testing.assert_array_equal(sign.numpy(), [0, 0, -1])
    np.testing.assert_array_equal(np.isnan(logs.numpy()), [True, False, False])
    assert sign.numpy().dtype == dtype


@pytest.mark.parametrize(
    ("pivots", "text"),
    [
        ([9, 9], "LU_pivots from 9 to 9; expected 1 to 2, the rows"),
        ([0, 1], "LU_pivots from 0 to 1; expected 1 to 2, the rows"),
        ([1], "LU_pivots of shape (1,); expected (..., 2)"),
    ],
)
def test_pivots_that_are_no_rows_are_refused(pivots, text):
    pivots = rv.tensor(pivots, dtype=rv.int32)
    refused(ValueError, f"[lu_unpack] got {text}", rv.lu_unpack, rv.eye(2), pivots)
    refused(ValueError, f"[lu_solve] got {text}", rv.lu_solve, rv.ones(2, 1), rv.eye(2), pivots)
    refused(TypeError, "expected integers", rv.lu_unpack, rv.eye(2), rv.tensor([1.0, 2.0]))
    assert rv.lu_unpack(rv.eye(2), pivots, unpack_pivots=False).L.tolist() == [[1, 0], [0, 1]]
