"""sort on raw arrays: lengths around its thresholds, ties, signed zeros, NaN, layouts, threads, errors."""

import numpy as np
import pytest
from ranvier import kernels
from reference import reduce as reference
from support.grouped import grouped


def hard(rng, shape, dtype):
    """Ties, both zeros, infinities, NaN of both signs, the smallest and the greatest numbers."""
    info = np.finfo(dtype)
    pool = np.array(
        [0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, -np.nan, info.tiny, info.max, info.min, 3], dtype
    )
    return np.where(
        rng.random(shape) < 0.5, rng.choice(pool, shape), rng.standard_normal(shape).astype(dtype)
    )


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("n", [1, 2, 31, 32, 33, 47, 48, 49, 100, 256, 257, 263, 264, 300, 5000])
def test_lengths(n, dtype, descending, rng):
    x = hard(rng, (3, n), dtype)
    order = reference.argsort(x, 1, descending)
    for count in {None, 0, 1, n, *(c for c in (2, 31, 32, 33, 100, 600, 625, 626) if c < n)}:
        values, indices = kernels.sort(x, 1, descending, count)
        np.testing.assert_array_equal(indices, order[:, : n if count is None else count])
        assert values.tobytes() == np.take_along_axis(x, indices, 1).tobytes()


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("count", [1, 5, 32, 33, 64, 200])
def test_first_of_rising_falling_and_even_lines(count, descending, rng):
    """Every element is one of the best so far, none is, or all are alike; NaN at either end."""
    rising = np.arange(2000, dtype=np.float32)
    lines = np.stack([rising, rising[::-1], rising // 100, np.zeros(2000, np.float32)])
    for _ in range(2):
        for view in (lines, np.asfortranarray(lines)):
            order = reference.argsort(lines, 1, descending)[:, :count]
            np.testing.assert_array_equal(kernels.sort(view, 1, descending, count)[1], order)
        lines = lines.copy()
        lines[:, [3, 1000, 1999]] = np.nan
