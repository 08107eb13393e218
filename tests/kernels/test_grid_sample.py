"""The kernel of grid_sample: every mode, memory order, edge sizes, errors."""

from itertools import product

import numpy as np
import pytest
from ranvier import kernels
from reference import images as reference
from support.tolerance import tolerance

SETTINGS = list(product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)))
SHAPES = [((2, 3, 4, 5), (3, 7)), ((1, 17, 3, 2), (1, 65)), ((2, 2, 1, 6), (5, 1)), ((1, 1, 1, 1), (2, 2))]


def arrays(rng, shape, points, dtype):
    x = rng.uniform(-1, 1, shape).astype(dtype)
    grid = rng.uniform(-1.6, 1.6, (shape[0], *points, 2)).astype(dtype)
    return x, grid, rng.uniform(-1, 1, (*shape[:2], *points)).astype(dtype)


def orders(x):
    """The same images in both layouts, and as every other pixel."""
    wide = np.zeros((*x.shape[:2], x.shape[2], 2 * x.shape[3]), x.dtype)
    wide[..., ::2] = x
    return x, np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2), wide[..., ::2]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "points"), SHAPES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_values_and_gradients(settings, shape, points, dtype, isa, rng):
    x, grid, dy = arrays(rng, shape, points, dtype)
    wide = [a.astype(np.float64) for a in (dy, x, grid)]
    expected = reference.grid_sample(*wide[1:], *settings)
    dx, dgrid = reference.grid_sample_backward(*wide, *settings)
    rounded = tolerance(dtype, 16, 16)  # of places in pixels
    for image in orders(x):
        y = kernels.grid_sample(image, grid, *settings)
        np.testing.assert_allclose(y, expected, rtol=0, atol=rounded)
        found = kernels.grid_sample_backward(dy, image, grid, *settings)
        np.testing.assert_allclose(found[0], dx, rtol=0, atol=rounded * dy[0, 0].size)
        np.testing.assert_allclose(found[1], dgrid, rtol=0, atol=1e-6 + 16 * rounded * shape[1])
        assert found[0].dtype == found[1].dtype == y.dtype == dtype
        one = kernels.grid_sample_backward(dy, image, grid, *settings, True, False)
        other = kernels.grid_sample_backward(dy, image, grid, *settings, False, True)
        np.testing.assert_array_equal(one[0], found[0])
        np.testing.assert_array_equal(other[1], found[1])
        assert one[1] is None
        assert other[0] is None


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_places_at_and_beyond_the_edge(settings, isa):
    """Pixels outside do not count, also where those at the edge are not finite; NaN stays NaN."""
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    line = np.array([-30.0, -2.5, -1.0, -0.75, 0.0, 0.75, 1.0, 1.25, 1.75, 30.0])
    grid = np.stack(np.meshgrid(line, line), -1)[None]
    expected = reference.grid_sample(x, grid, *settings)
    np.testing.assert_allclose(kernels.grid_sample(x, grid, *settings), expected, rtol=0, atol=1e-12)
    far = np.array([[[[1e30, 0.0], [np.nan, 0.0], [0.0, np.nan]]]])
    y = kernels.grid_sample(np.full_like(x, np.inf), far, *settings)
    assert np.isnan(y[..., 1:]).all()
    _dx, dgrid = kernels.grid_sample_backward(np.ones((1, 1, 1, 2)), x, far[:, :, 1:], *settings)
    assert not dgrid.any()
    if settings[1] == "zeros":
        assert y[..., 0] == 0


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_points_in_pixels(settings, isa, rng):
    """As with -1 and 1 at the centres of the outer pixels, and exact at pixels."""
    x, grid, dy = arrays(rng, (2, 3, 4, 5), (3, 7), "float64")
    grid[..., 0], grid[..., 1] = ((grid[..., 0] + 1) * 2), ((grid[..., 1] + 1) * 1.5)
    scaled = grid / np.array([2, 1.5]) - 1
    found = kernels.grid_sample_backward(dy, x, grid, *settings, in_pixels=True)
    if settings[2]:
        np.testing.assert_allclose(
            kernels.grid_sample(x, grid, *settings, True),
            kernels.grid_sample(x, scaled, *settings),
            atol=1e-12,
        )
        dx, dgrid = kernels.grid_sample_backward(dy, x, scaled, *settings)
        np.testing.assert_allclose(found[0], dx, atol=1e-12)
        np.testing.assert_allclose(found[1], dgrid / np.array([2, 1.5]), atol=1e-12)
    rows, columns = np.meshgrid(np.arange(5.0), np.arange(4.0))
    at_pixels = np.repeat(np.stack([rows, columns], -1)[None], 2, 0)
    np.testing.assert_array_equal(kernels.grid_sample(x, at_pixels, *settings, True), x)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_the_same_bits_on_any_team(mode, threads, isa, rng):
    x, grid, dy = arrays(rng, (3, 5, 40, 30), (50, 20), "float32")
    for image in orders(x)[:2]:
        found = []
        for team in (1, 2):
            threads(team)
            back = kernels.grid_sample_backward(dy, image, grid, mode)
            found.append((kernels.grid_sample(image, grid, mode), *back))
        for one, two in zip(*found, strict=True):
            np.testing.assert_array_equal(one, two)


def test_empty_arrays():
    x = np.ones((0, 2, 3, 3))
    assert kernels.grid_sample(x, np.ones((0, 4, 5, 2))).shape == (0, 2, 4, 5)
    x = np.ones((2, 0, 3, 3))
    grid = np.ones((2, 4, 5, 2))
    assert kernels.grid_sample(x, grid).shape == (2, 0, 4, 5)
    dx, dgrid = kernels.grid_sample_backward(np.ones((2, 0, 4, 5)), x, grid)
    assert dx.shape == x.shape
    assert not dgrid.any()
    x = np.ones((2, 3, 3, 3))
    y = kernels.grid_sample(x, grid[:, :0])
    assert y.shape == (2, 3, 0, 5)
    dx, dgrid = kernels.grid_sample_backward(y, x, grid[:, :0])
    assert not dx.any()
    assert dgrid.shape == (2, 0, 5, 2)
