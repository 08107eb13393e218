"""Stacks of small matrices: factors, solutions, determinants and eigenvectors, beside NumPy in float64.

Errors are those of backward stable algorithms: a small number of units in the last place of the largest
element, for each row. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core
from support.refused import refused
from support.threads import same_bits

SIZES = range(33)
STACKS = (1, 3, 17)  # around the numbers of lanes
DTYPES = ("float32", "float64")
NAN = np.nan


def transposed(a):
    return np.swapaxes(a, -1, -2)


def general(rng, count, rows, columns, dtype):
    return rng.normal(size=(count, rows, columns)).astype(dtype)


def positive(rng, count, n, dtype):
    a = rng.normal(size=(count, n, n))
    return (a @ transposed(a) + np.eye(n)).astype(dtype)


def close(found, wanted, n, size=1.0):
    """Equal to 4 (n + 1) units in the last place of `size`, the largest number of the computation."""
    assert found.shape == wanted.shape
    limit = 4 * (n + 1) * np.finfo(found.dtype).eps
    allowed = np.broadcast_to(limit * size, found.shape)
    np.testing.assert_array_less(np.abs(found - wanted), allowed + np.finfo(found.dtype).tiny)


def largest(a):
    """The largest magnitude of each matrix, at least the smallest normal number."""
    return np.abs(a).max((-2, -1), initial=np.finfo(a.dtype).tiny, keepdims=True).astype(np.float64)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_cholesky(n, dtype, isa, rng):
    for count in STACKS:
        a = positive(rng, count, n, dtype)
        L, info, definite = _core.small_cholesky(a)
        assert definite
        assert not info.any()
        assert not np.triu(L, 1).any()
        wide = L.astype(np.float64)
        close((wide @ transposed(wide)).astype(dtype), a, n, largest(a))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_systems(n, dtype, isa, rng):
    """The residual of each column, relative to |A| |x|; an inverse is the solution of the unit matrix."""
    for count in STACKS:
        a = general(rng, count, n, n, dtype)
        for b in (general(rng, count, n, 1, dtype), general(rng, 1, n, 5, dtype), np.eye(n, dtype=dtype)):
            y, regular = _core.small_solve(a, b)
            assert regular
            x = y.astype(np.float64)
            size = np.linalg.norm(a, axis=(-2, -1))[:, None, None] * np.linalg.norm(x, axis=-2, keepdims=True)
            residual = (a @ x).astype(dtype)
            close(residual, np.broadcast_to(b, residual.shape), n, size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_determinants(n, dtype, isa, rng):
    for count in STACKS:
        a = general(rng, count, n, n, dtype) + 2 * np.eye(n, dtype=dtype)
        wide = a.astype(np.float64)
        signs, logs, info = _core.small_slogdet(a)
        wanted_signs, wanted = np.linalg.slogdet(wide)
        condition = np.linalg.cond(wide) if n else np.ones(count)
        np.testing.assert_array_equal(signs, wanted_signs)
        close(logs, wanted.astype(dtype), n, condition)
        close(_core.small_det(a), np.linalg.det(wide).astype(dtype), n, condition * np.exp(wanted))
        assert not info.any()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(n, n) for n in SIZES] + [(7, 3), (3, 7), (32, 1), (1, 32), (31, 30)])
def test_lu(shape, dtype, isa, rng):
    """The bits of elimination in NumPy, which rounds each product, too."""
    for count in STACKS:
        a = general(rng, count, *shape, dtype)
        both, pivots = _core.small_lu(a)
        for matrix, found, rows in zip(a, both, pivots, strict=True):
            wanted, exchanged = eliminated(matrix)
            np.testing.assert_array_equal(found, wanted)
            np.testing.assert_array_equal(rows, exchanged)


def eliminated(a):
    """L and U of a in one matrix, and the exchanged rows, from 1."""
    a = a.copy()
    exchanged = []
    for k in range(min(a.shape)):
        pivot = k + np.argmax(np.abs(a[k:, k]))
        a[[k, pivot]] = a[[pivot, k]]
        a[k + 1 :, k] /= a[k, k]
        a[k + 1 :, k + 1 :] -= a[k + 1 :, k, None] * a[k, None, k + 1 :]
        exchanged.append(pivot + 1)
    return a, exchanged


@pytest.mark.parametrize("mode", ["reduced", "complete", "r"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "shape", [(n, n) for n in SIZES] + [(7, 3), (3, 7), (32, 1), (1, 32), (0, 4), (4, 0)]
)
def test_qr(shape, dtype, mode, isa, rng):
    """Q R is A, Q has orthonormal columns, and the signs are those of LAPACK."""
    n = max(shape)
    for count in STACKS:
        a = general(rng, count, *shape, dtype)
        Q, R = _core.small_qr(a, mode)
        signs = np.sign(np.diagonal(np.linalg.qr(a.astype(np.float64), "r"), axis1=-2, axis2=-1))
        np.testing.assert_array_equal(np.sign(np.diagonal(R, axis1=-2, axis2=-1)), signs)
        assert not np.tril(R, -1).any()
        if mode == "r":
            assert Q is None
            continue
        wide = Q.astype(np.float64)
        close((wide @ R).astype(dtype), a, n, np.sqrt(n) * largest(a))
        unit = np.broadcast_to(np.eye(Q.shape[-1], dtype=dtype), (count, Q.shape[-1], Q.shape[-1]))
        close((transposed(wide) @ wide).astype(dtype), unit, n)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", SIZES)
def test_eigenvectors(n, dtype, isa, rng):
    """V diag(values) V^T is A, V is orthogonal, the values rise; one triangle is read."""
    for count in STACKS:
        a = general(rng, count, n, n, dtype)
        a = a + transposed(a)
        values, V = _core.small_eigh(np.tril(a) + np.triu(np.full_like(a, NAN), 1))
        wide = V.astype(np.float64)
        size = np.sqrt(n) * largest(a)
        close(values, np.linalg.eigvalsh(a.astype(np.float64)).astype(dtype), n, size[..., 0])
        close((wide * values[:, None, :] @ transposed(wide)).astype(dtype), a, n, size)
        close((transposed(wide) @ wide).astype(dtype), np.broadcast_to(np.eye(n, dtype=dtype), a.shape), n)
        upper, _ = _core.small_eigh(np.triu(a) + np.tril(np.full_like(a, NAN), -1), True, False)
        np.testing.assert_array_equal(upper, values)


SPECTRA = {
    "equal": np.ones(6),
    "zeros": np.zeros(6),
    "rank 1": np.array([0, 0, 0, 0, 0, 3.0]),
    "pairs": np.array([-2.0, -2, 0, 0, 5, 5]),
    "graded": np.array([1e-6, 1e-4, 1e-2, 1, 1e2, 1e4]),
    "close": 1 + 1e-7 * np.arange(6.0),
}


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECTRA)
def test_spectra(name, dtype, scale, isa, rng):
    values = SPECTRA[name]
    Q, _ = np.linalg.qr(rng.normal(size=(5, 6, 6)))
    a = (scale * (Q * values) @ transposed(Q)).astype(dtype)
    found, V = _core.small_eigh((a + transposed(a)) / 2)
    size = np.abs(values).max() * scale
    close(found, np.broadcast_to((np.sort(values) * scale).astype(dtype), (5, 6)), 6, 4 * size)
    wide = V.astype(np.float64)
    close((transposed(wide) @ wide).astype(dtype), np.broadcast_to(np.eye(6, dtype=dtype), a.shape), 6)


def test_signs_of_eigenvectors_do_not_turn(isa):
    """A matrix with equal diagonal elements, and its neighbours: here the angle of a rotation jumps."""
    a = np.array([[2.0, 1.0], [1.0, 2.0]])
    _, V = _core.small_eigh(a)
    for change in (1e-9, -1e-9):
        _, W = _core.small_eigh(a + np.diag([change, 0.0]))
        np.testing.assert_allclose(W, V, atol=1e-8)
    np.testing.assert_allclose(V, np.array([[-1, 1], [1, 1]]) / np.sqrt(2), atol=1e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_singular_matrices(dtype, isa):
    ones = np.ones((4, 4), dtype)
    of_rank_1 = np.outer([1, 2, 3, 4], [1, 2, 3, 4]).astype(dtype)
    a = np.stack(
        [
            np.eye(4, dtype=dtype),
            ones,
            of_rank_1,
            np.zeros((4, 4), dtype),
            np.diag([1, 2, 0, 4]).astype(dtype),
        ]
    )
    signs, logs, info = _core.small_slogdet(a)
    assert info.tolist() == [0, 2, 2, 1, 3]
    assert signs.tolist() == [1, 0, 0, 0, 0]
    assert logs.tolist() == [0, -np.inf, -np.inf, -np.inf, -np.inf]
    assert _core.small_det(a).tolist() == [1, 0, 0, 0, 0]
    assert not _core.small_solve(a, ones)[1]
    _, info, definite = _core.small_cholesky(a, False)
    assert info.tolist() == [0, 2, 2, 1, 3]
    assert definite  # not asked for
    assert not _core.small_cholesky(a)[2]


@pytest.mark.parametrize("power", [0.4, 0.8])
@pytest.mark.parametrize("n", [2, 3, 6, 20])
@pytest.mark.parametrize("dtype", DTYPES)
def test_determinants_out_of_range(dtype, n, power, isa):
    """A product of some pivots or elements leaves the range of the dtype, that of all does not."""
    great = np.finfo(dtype).max ** power
    pivots = np.array([great, 1 / great, 1, great, great, 1 / great, 1 / great] + [1] * 16)[:n]
    for order in (pivots, pivots[::-1]):
        a = np.stack([np.eye(n), np.diag(order), np.zeros((n, n))]).astype(dtype)
        wanted = np.exp(np.log(order).sum())
        rtol = 2000 * np.finfo(dtype).eps
        np.testing.assert_allclose(_core.small_det(a), [1, wanted, 0], rtol=rtol)


def definite(a):
    with np.errstate(invalid="ignore"):
        return a @ transposed(a) + np.eye(a.shape[-1], dtype=a.dtype)


CALLS = {
    "cholesky": lambda a, b: _core.small_cholesky(definite(a), False),
    "solve": _core.small_solve,
    "det": lambda a, b: _core.small_det(a),
    "slogdet": lambda a, b: _core.small_slogdet(a),
    "lu": lambda a, b: _core.small_lu(a),
    "qr": lambda a, b: _core.small_qr(a),
    "eigh": lambda a, b: _core.small_eigh(a + transposed(a)),
    "solve_triangular": _core.solve_triangular,
}


def arrays(results):
    results = results if isinstance(results, tuple) else (results,)
    return [y for y in results if isinstance(y, np.ndarray)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CALLS)
def test_matrices_do_not_depend_on_each_other(name, dtype, isa, rng):
    """A matrix with NaN, inf or zeros changes no bit of the others; nor does the place in a stack."""
    call = CALLS[name]
    for n in (2, 5):
        a = general(rng, 35, n, n, dtype)
        b = general(rng, 35, n, 2, dtype)
        wanted = arrays(call(a, b))
        for value in (NAN, np.inf):
            changed = a.copy()
            changed[7, n - 1, 0] = value
            for found, right in zip(arrays(call(changed, b)), wanted, strict=True):
                np.testing.assert_array_equal(np.delete(found, 7, 0), np.delete(right, 7, 0))
        for found, right in zip(arrays(call(a[5:], b[5:])), wanted, strict=True):
            np.testing.assert_array_equal(found, right[5:])


@pytest.mark.parametrize("name", CALLS)
def test_layouts(name, isa, rng):
    """Transposed, sliced, broadcast and reversed matrices have the bits of a copy."""
    call = CALLS[name]
    base = rng.normal(size=(6, 5, 8, 8))
    layouts = {
        "transposed": transposed(base[:, :, :4, :4].copy()),
        "rows apart": base[:, :, :4, :4],
        "elements apart": base[:, :, ::2, ::2],
        "reversed": base[::-1, :, 3::-1, 3::-1],
        "axes exchanged": np.swapaxes(base[:, :, :4, :4], 0, 1),
        "repeated": np.broadcast_to(base[0, 0, :4, :4], (6, 5, 4, 4)),
        "a single one": base[0, 0, :4, :4],
    }
    for a in layouts.values():
        b = np.ones((*a.shape[:-1], 2))
        for found, wanted in zip(arrays(call(a, b)), arrays(call(a.copy(), b)), strict=True):
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("name", CALLS)
def test_threads(name, rng, isa):
    a = general(rng, 1000, 6, 6, "float32")
    b = general(rng, 1000, 6, 2, "float32")
    same_bits(_core.set_num_threads, lambda: arrays(CALLS[name](a, b)))


@pytest.mark.parametrize("name", CALLS)
def test_empty_stacks(name):
    for shape in ((0, 3, 3), (2, 0, 4, 4), (3, 0, 0)):
        a = np.zeros(shape, np.float32)
        for y in arrays(CALLS[name](a, np.zeros((*shape[:-1], 2), np.float32))):
            assert y.shape[: len(shape) - 2] == shape[:-2]


@pytest.mark.parametrize("upper", [False, True])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_triangles(dtype, unit, upper, isa, rng):
    """Stacks of triangles beside solutions in float64; the other half may be NaN."""
    for n in (1, 2, 3, 8, 16, 31, 32, 33):
        for count in (1, 4, 33):
            a = (general(rng, count, n, n, dtype) / np.sqrt(n) + 2 * np.eye(n)).astype(dtype)
            half = (np.triu if upper else np.tril)(a, (1 if upper else -1) * unit) + unit * np.eye(n)
            other = (np.tril if upper else np.triu)(np.full_like(a, NAN), -1 if upper else 1)
            b = general(rng, count, n, 3, dtype)
            wanted = np.linalg.solve(half.astype(np.float64), b)
            found = _core.solve_triangular((a + other).astype(dtype), b, upper, unit)
            condition = np.linalg.cond(half)[:, None, None]
            close(found, wanted.astype(dtype), n, condition * largest(wanted.astype(dtype)))


def test_refused():
    ones = np.ones((2, 3, 4), np.float32)
    for name in ("cholesky", "det", "slogdet", "eigh"):
        text = f"[{name}] got a of shape (2, 3, 4); expected (..., n, n)"
        refused(ValueError, text, getattr(_core, f"small_{name}"), ones)
    large = np.ones((33, 3), np.float32)
    for name in ("lu", "qr"):
        text = f"[{name}] got a of shape (33, 3); expected (..., m, n) with m and n up to 32"
        refused(ValueError, text, getattr(_core, f"small_{name}"), large)
    square = np.ones((2, 3, 3), np.float32)
    for b in (np.ones((2, 4, 1)), np.ones((3, 3, 1)), np.ones(3)):
        refused(
            ValueError, "[solve] got a of shape (2, 3, 3) and b", _core.small_solve, square, b.astype("f")
        )


@pytest.mark.parametrize("name", ["cholesky", "solve", "det", "eigh", "qr"])
def test_replays_call_no_numpy(name):
    """A compiled step has the kernels; one that finds a singular matrix later raises the error."""
    functions = {
        "cholesky": lambda a: rv.linalg.cholesky(a),
        "solve": lambda a: rv.linalg.solve(a, rv.ones(3, 1)),
        "det": lambda a: rv.linalg.det(a),
        "eigh": lambda a: rv.linalg.eigh(a).eigenvalues,
        "qr": lambda a: rv.linalg.qr(a).R,
    }
    step = rv.compile(functions[name])
    for factor in range(1, 8):
        a = rv.eye(3).expand(4, 3, 3) * factor
        np.testing.assert_array_equal(step(a).numpy(), functions[name](a).numpy())
    (program,) = step.programs
    assert "numpy" not in str(program)
    wrong = rv.zeros(4, 3, 3)
    if name in ("cholesky", "solve"):
        with pytest.raises(rv.linalg.LinAlgError, match=rf"^\[{name}\] got a "):
            step(wrong)
