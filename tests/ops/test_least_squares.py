"""lstsq and pinv: systems of equations without a solution, or with many, against NumPy."""

import numpy as np
import pytest
import ranvier as rv
from support.refused import refused


def test_least_squares(rng):
    A, B = rng.normal(size=(2, 4, 4)), rng.normal(size=(2, 4, 3))
    wanted = np.stack([np.linalg.lstsq(b, a, None)[0] for a, b in zip(A, B, strict=True)])
    np.testing.assert_allclose(rv.linalg.lstsq(rv.tensor(B), rv.tensor(A)).solution.numpy(), wanted)
    np.testing.assert_allclose(rv.tensor(B).pinverse().numpy(), np.linalg.pinv(B))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "size", [1.0, 1e30, 1e-30, lambda dtype: np.finfo(dtype).max / 8, lambda dtype: np.finfo(dtype).tiny]
)
@pytest.mark.parametrize("seed", range(4))
def test_least_squares_of_low_rank(dtype, size, seed):
    """Of any size: the rank is found, and no norm or inverse overflows (a warning is an error here)."""
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
