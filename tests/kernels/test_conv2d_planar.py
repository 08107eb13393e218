"""conv2d with few channels: vectors of pixels, planes with zeros between the rows."""

import numpy as np
import pytest
from ranvier import kernels
from support.convolution import check, random_arrays
from support.grouped import grouped
from support.layouts import in_layout
from support.threads import same_bits
from support.tolerance import tolerance


@pytest.mark.parametrize("layout", ["contiguous", "channels_last", "sliced"])
def test_bands(layout, isa, threads, rng):
    """An image larger than a block: the same bits for any number of threads and in every layout."""
    x, w, bias = random_arrays(rng, "float32", 2, 3, 75, 130, 6, 3, 3)
    y = kernels.conv2d(x, w, bias, padding=1)
    check(x, w, bias, padding=1)
    if layout != "sliced":
        x = in_layout(x, layout)
    else:
        wide = np.zeros((2, 75, 131, 5), np.float32)
        wide[:, :, :130, 1:4] = x.transpose(0, 2, 3, 1)
        x = wide[:, :, :130, 1:4].transpose(0, 3, 1, 2)

    def run():
        z = kernels.conv2d(x, w, bias, padding=1)
        np.testing.assert_array_equal(z, y)
        return z, *kernels.conv2d_backward(y, x, w, padding=1)

    same_bits(threads, run)


@pytest.mark.parametrize("k", [1, 3, 6, 8, 11])
def test_out_inside_a_larger_array(k, isa, rng):
    """Stores of whole vectors leave the pixels between the rows, and other channels, alone."""
    x, w, bias = random_arrays(rng, "float32", 2, 3, 9, 21, k, 3, 3)
    y = kernels.conv2d(x, w, bias)
    for columns, channels in ((25, k), (19, k + 2), (19, k)):
        whole = np.full((4, 7, columns, channels), 7, np.float32)
        out = whole[1:3, :, :19, :k].transpose(0, 3, 1, 2)
        kernels.conv2d(x, w, bias, out=out)
        np.testing.assert_array_equal(out, y)
        whole[1:3, :, :19, :k] = 7
        assert (whole == 7).all()


def into_every_second_column(x, w, bias, **geometry):
    """The result through a y whose rows have gaps, which only the general stores can write."""
    y = kernels.conv2d(x, w, bias, **geometry)
    n, k, p, q = y.shape
    out = np.zeros((n, p, q, 2, k), np.float32)[:, :, :, 0].transpose(0, 3, 1, 2)
    return y, kernels.conv2d(x, w, bias, out=out, **geometry)


@grouped("width", [1, 3, 7, 8, 13, 15, 16, 17, 24, 25, 31, 32, 33, 48, 63, 64, 65, 96, 130])
def test_rows_that_share_loads(width, isa, rng):
    """One output channel: sums of several rows at a time have the bits of sums of one."""
    for height, taps, c, padding in ((5, 3, 1, 1), (8, 3, 2, 0), (9, 5, 3, 2), (20, 3, 8, 1), (67, 5, 9, 2)):
        x, w, bias = random_arrays(rng, "float32", 2, c, height, width + 4, 1, taps, min(taps, 3))
        for activation in ("none", "relu"):
            y, z = into_every_second_column(x, w, bias, padding=padding, activation=activation)
            np.testing.assert_array_equal(y, z)
        check(x, w, bias, padding=padding)


@grouped("c", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 33, 64, 100])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7, 8, 9, 12])
def test_dense_pixels(c, k, isa, threads, rng):
    """1x1 over pixels without gaps: ends at each place of a vector, the bits of other strides."""
    for n, h, w in ((1, 1, 1), (1, 3, 5), (2, 4, 4), (3, 7, 11)):
        x, weight, bias = random_arrays(rng, "float32", n, c, h, w, k, 1, 1)
        x = in_layout(x, "channels_last")
        y, z = into_every_second_column(x, weight, bias, activation="relu")
        np.testing.assert_array_equal(y, z)
        check(x, weight, bias)
        check(x, weight.transpose(1, 0, 2, 3).copy().transpose(1, 0, 2, 3), bias)
    x[0, 0, 2, 3], x[1, c - 1, 3, 3] = np.inf, np.nan  # alone in their pixels
    bad = ~np.isfinite(kernels.conv2d(x, weight, bias)).all(1)
    expected = np.zeros(bad.shape, bool)
    expected[0, 2, 3] = expected[1, 3, 3] = True
    np.testing.assert_array_equal(bad, expected)
    same_bits(threads, lambda: kernels.conv2d(x, weight, bias), (1, 2, 3, 7))


@pytest.mark.parametrize(
    ("c", "k", "shape"),
    [(3, 4, (4, 300, 301)), (20, 1, (4, 200, 301)), (1, 8, (1, 900, 601)), (2, 9, (1, 900, 601))],
)
def test_many_dense_pixels(c, k, shape, isa, threads, rng):
    """Shares of several threads and blocks of pixels end within vectors; results of 16 MB are stored past
    the caches."""
    n, h, w = shape
    x, weight, bias = random_arrays(rng, "float32", n, c, h, w, k, 1, 1)
    x = in_layout(x, "channels_last")
    y = np.einsum("nchw,kc->nkhw", x, weight[:, :, 0, 0]) + bias[:, None, None]
    np.testing.assert_allclose(kernels.conv2d(x, weight, bias), y, rtol=0, atol=1e-5)
    dy = in_layout(y, "channels_last")
    _, dw, db = kernels.conv2d_backward(dy, x, weight)
    dw64 = np.einsum("nkhw,nchw->kc", dy.astype(np.float64), x.astype(np.float64), optimize=True)
    tolerated = 1e-6 * np.sqrt(n * h * w) * np.abs(dw64).max()
    np.testing.assert_allclose(dw[:, :, 0, 0], dw64, rtol=0, atol=tolerated)
    np.testing.assert_allclose(db, dy.sum((0, 2, 3), dtype=np.float64), rtol=0, atol=tolerated)
    same_bits(
        threads, lambda: (kernels.conv2d(x, weight, bias), *kernels.conv2d_backward(dy, x, weight)), (1, 2, 3)
    )


@grouped("c", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 8, 9, 16, 17, 32])
def test_gradient_to_weight_of_dense_pixels(c, k, isa, rng):
    """Every remainder of pixels; one gradient alone; an infinity meets its own channel only."""
    for n, h, w in ((1, 1, 1), (1, 2, 3), (2, 7, 11), (3, 13, 17)):
        x, weight, bias = (
            in_layout(a, "channels_last") if a.ndim == 4 else a
            for a in random_arrays(rng, "float32", n, c, h, w, k, 1, 1)
        )
        dy = in_layout(kernels.conv2d(x, weight, bias), "channels_last")
        _, dw, db = kernels.conv2d_backward(dy, x, weight)
        double = [a.astype(np.float64) for a in (dy, x)]
        expected = np.einsum("nkhw,nchw->kc", *double)
        np.testing.assert_allclose(
            dw[:, :, 0, 0], expected, rtol=0, atol=tolerance("float32", n * h * w, c + 1)
        )
        np.testing.assert_allclose(
            db, double[0].sum((0, 2, 3)), rtol=0, atol=tolerance("float32", n * h * w, c + 1)
        )
        alone = kernels.conv2d_backward(dy, x, weight, need_dx=False, need_dw=False)[2]
        np.testing.assert_array_equal(alone, db)
    x[1, c - 1, 4, 4] = np.inf
    dw = kernels.conv2d_backward(dy, x, weight)[1]
    assert not np.isfinite(dw[:, c - 1]).any()
    assert np.isfinite(dw[:, : c - 1]).all()
