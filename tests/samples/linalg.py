"""Samples of `linalg` and the factors of `ops/matrix`: inverses, determinants, decompositions, norms.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from functools import partial

import numpy as np

from samples.sample import call, op, refused

matrices = partial(op, lacks="halves C ONNX jet written")
matrices_of_numbers = partial(op, lacks="halves C ONNX jet NaN written")


def square(x, *shape):
    """Matrices that are far from singular, with several right-hand sides of their kind."""
    n = shape[-1]
    return x(*shape) + 2 * n * np.eye(n) / 3


def positive(x, *shape):
    """Symmetric positive definite matrices."""
    a = x(*shape)
    return a @ np.swapaxes(a, -1, -2) + np.eye(shape[-1])


def of_square(x):
    yield call(square(x, 4, 4))
    yield call(square(x, 2, 3, 3))
    yield call(square(x, 1, 1))
    name = x.name.removeprefix("linalg_")
    for shape in ((3, 4), (3,)):
        yield refused(ValueError, f"[{name}] got A of shape {shape}; expected (..., n, n)", x(*shape))
    yield refused(TypeError, f"[{name}] got A of dtype int64", x.integers(0, 5, 2, 2))
    if name in ("inverse", "inv"):
        yield refused(ValueError, f"[{name}] got a singular matrix", np.ones((2, 2)))


def many(*args, **settings):
    return 64


def of_numbers(function):
    """The function of a matrix; NaN for a matrix that has NaN, where LAPACK may take other rows as pivots."""

    def reference(a, *others, **settings):
        y = function(a, *others, **settings)
        unknown = np.isnan(a).any((-2, -1))
        return np.where(unknown.reshape(unknown.shape + (1,) * (y.ndim - unknown.ndim)), np.nan, y)

    return reference


inverted = of_numbers(np.linalg.inv)
invertible = partial(op, of_square, terms=many, apart="ties NaN infinity")
invertible(names="inverse", reference=inverted, lacks="halves C ONNX jet written")
invertible(names="linalg_inv", of="linalg.inv", reference=inverted, lacks="halves C ONNX jet written")
invertible(names="det", reference=np.linalg.det, lacks="halves C ONNX jet NaN infinity")
invertible(names="logdet", reference=lambda a: np.linalg.slogdet(a)[1], lacks="halves C ONNX jet limits")
invertible(names="slogdet", reference=np.linalg.slogdet, lacks="halves C ONNX jet")
op(of_square, names="matrix_exp", terms=many, lacks="C ONNX jet", apart="infinity")


@op(reference=np.linalg.matrix_power, terms=many, lacks="jet limits", apart="NaN infinity")
def matrix_power(x):
    yield call(square(x, 3, 3), 3)
    yield call(square(x, 2, 3, 3), -2)
    yield call(square(x, 3, 3), 0)
    yield call(square(x, 3, 3), 1)


def of_positive(x):
    yield call(positive(x, 4, 4))
    yield call(positive(x, 2, 3, 3))
    yield refused(ValueError, "not positive-definite", -np.eye(2))


def of_symmetric(function):
    """The function of the symmetric part: it reads one triangle, so that differences of the other are 0."""
    return lambda a, *others, **settings: function((a + a.mT) / 2, *others, **settings)


factored = partial(matrices_of_numbers, of_positive, around=of_symmetric, reference=np.linalg.cholesky)
factored(names="cholesky", terms=many, apart="ties NaN infinity infinities")
factored(names="linalg_cholesky", of="linalg.cholesky", terms=many, apart="ties NaN infinity infinities")


def of_lower(function):
    """The function of the lower triangle of its last argument."""
    return lambda *args, **settings: function(*args[:-1], args[-1].tril(), **settings)


@matrices(around=of_lower, apart="gradient NaN infinity")
def cholesky_inverse(x):
    yield call(np.linalg.cholesky(positive(x, 4, 4)))


@matrices(around=of_lower, apart="gradient infinity")
def cholesky_solve(x):
    yield call(x(4, 2), np.linalg.cholesky(positive(x, 4, 4)))


@matrices(apart="infinity")
def triangular_solve(x):
    yield call(x(4, 2), np.triu(square(x, 4, 4)))
    yield call(x(4, 2), np.tril(square(x, 4, 4)), upper=False)
    yield call(x(4, 2), np.triu(square(x, 4, 4)), transpose=True)
    yield refused(ValueError, "[triangular_solve] got", x(3, 2), np.triu(square(x, 4, 4)))


def triangle_solved(a, b, upper, left=True, unitriangular=False):
    """One triangle of the matrix is read; with unitriangular its diagonal is not, and counts as 1."""
    half = (np.triu if upper else np.tril)(a, (1 if upper else -1) * unitriangular)
    half = half + np.eye(a.shape[-1]) * unitriangular
    return np.linalg.solve(half, b) if left else b @ np.linalg.inv(half)


@matrices(
    of="linalg.solve_triangular",
    reference=triangle_solved,
    lacks="halves C ONNX jet limits written",
    apart="ties NaN infinity",
)
def linalg_solve_triangular(x):
    yield call(np.triu(square(x, 4, 4)), x(4, 2), upper=True)
    yield call(np.tril(square(x, 2, 3, 3)), x(2, 3, 2), upper=False)
    for upper, unitriangular in ((True, True), (True, False), (False, True), (False, False)):
        settings = {"upper": upper, "unitriangular": unitriangular}
        yield call(square(x, 2, 4, 4), x(2, 4, 3), **settings)
        yield call(square(x, 2, 4, 4), x(2, 3, 4), left=False, **settings)
    yield refused(ValueError, "[solve_triangular] got", square(x, 4, 4), x(3, 2), upper=True)


def solved(a, b, left=True):
    return np.linalg.solve(a, b) if left else b @ np.linalg.inv(a)


@matrices(of="linalg.solve", reference=of_numbers(solved), terms=many, apart="ties NaN infinity")
def linalg_solve(x):
    yield call(square(x, 4, 4), x(4, 2))
    yield call(square(x, 2, 3, 3), x(2, 3, 1))
    yield call(square(x, 4, 4), x(4))
    yield call(square(x, 4, 4), x(2, 4, 3))
    from_right = call(square(x, 2, 3, 3), x(2, 1, 3), left=False)
    yield from_right.without("the inverse spreads NaN", "nan")
    yield refused(ValueError, "[solve] got a singular matrix", np.zeros((2, 2)), x(2))
    yield refused(ValueError, "[solve] got A of shape", square(x, 2, 2), x(3))


@matrices_of_numbers(of="linalg.lstsq", apart="NaN infinity")
def linalg_lstsq(x):
    yield call(x(6, 3), x(6, 2))
    yield call(x(2, 3, 5), x(2, 3, 2)).without("squares in its gradient leave float32", "scales")
    yield call(square(x, 4, 4), x(4, 2))
    yield refused(ValueError, "[lstsq] got A of shape", x(2, 1), x(3, 1))


@matrices(apart="infinity")
def lu_solve(x):
    factors = np.tril(x(4, 4), -1) + np.triu(square(x, 4, 4))
    yield call(x(4, 2), factors, np.array([2, 2, 3, 4], np.int32))


@op(lacks="halves C ONNX jet")
def lu_unpack(x):
    yield call(x(4, 4), np.array([2, 2, 3, 4], np.int32))
    yield call(x(4, 4), np.array([1, 2, 3, 4], np.int32), unpack_pivots=False)


def of_any(x):
    yield call(x(5, 3))
    yield call(x(2, 3, 4))


op(of_any, names="lu", lacks="halves C ONNX jet infinity written", apart="NaN infinity")
# of equal or whole numbers a matrix may be singular: the last column of Q has either sign
matrices(of_any, names="qr", apart="ties NaN infinity")
matrices(of_any, names="linalg_qr", of="linalg.qr", apart="ties NaN infinity")
matrices_of_numbers(of_any, names="pinverse", reference=np.linalg.pinv, terms=many, apart="NaN infinity")
matrices_of_numbers(
    of_any, names="linalg_pinv", of="linalg.pinv", reference=np.linalg.pinv, terms=many, apart="NaN infinity"
)


matrices_of_numbers(
    of_any,
    names="linalg_svdvals",
    of="linalg.svdvals",
    reference=lambda a: np.linalg.svd(a, compute_uv=False),
    terms=many,
    apart="NaN infinity",
    anything="driver",
)


@matrices_of_numbers(
    of="linalg.eigvalsh", around=of_symmetric, reference=np.linalg.eigvalsh, terms=many, apart="NaN infinity"
)
def linalg_eigvalsh(x):
    yield call(positive(x, 4, 4))
    yield call(positive(x, 2, 3, 3))


@op(
    of="linalg.matrix_norm",
    terms=many,
    reference=lambda a, p="fro": np.linalg.norm(a, p, (-2, -1)),
    lacks="halves jet NaN written",
    apart="NaN infinity",
    anything="ord",
)
def linalg_matrix_norm(x):
    yield call(x(4, 3))
    yield call(x(2, 3, 3), "nuc")
    yield call(x(3, 5), 2)
    yield call(x(3, 5), float("inf"))


@op(of="linalg.vector_norm", terms=many, lacks="written C-infinity", apart="NaN")
def linalg_vector_norm(x):
    yield call(x(4, 3))
    yield call(x(4, 3), 3, 1)
    yield call(x(7), float("inf"))
