"""The gradients of conv2d_pool on raw arrays: edges of tiles and blocks, layouts, geometries, zeros."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranvier import _core
from reference import conv2d as reference
from support.convolution import pair
from support.grouped import grouped
from support.layouts import LAYOUTS, any_layout, in_layout
from support.remembered import remembered
from support.threads import same_bits
from support.tolerance import tolerance

NAMES = ("dx", "dw", "db")
backward = remembered(reference.conv2d_pool_backward)


def random_case(rng, n, c, h, w, k, taps, window=2, stride=1, padding=0, dilation=1, nonzero=0.5):
    """dy, where, x, w and the call's settings; a part of dy is not zero."""
    taps, window, stride, padding, dilation = map(pair, (taps, window, stride, padding, dilation))
    size = [
        ((extent + 2 * p - d * (t - 1) - 1) // s + 1) // m
        for extent, t, m, s, p, d in zip((h, w), taps, window, stride, padding, dilation, strict=True)
    ]
    dy = rng.uniform(-1, 1, (n, k, *size)).astype(np.float32)
    dy[rng.uniform(size=dy.shape) >= nonzero] = 0
    where = rng.integers(0, window[0] * window[1], dy.shape).astype(np.uint8)
    x = rng.uniform(-1, 1, (n, c, h, w)).astype(np.float32)
    weight = rng.uniform(-1, 1, (k, c, *taps)).astype(np.float32)
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "window": window}
    return (dy, where, x, weight), geometry


def check(arrays, geometry, saved=None):
    """Against the reference in float64. An element of dx meets each output channel and tap once."""
    dy, where, x, w = arrays
    found = _core.conv2d_pool_backward(*arrays, **geometry, saved=saved)
    double = [dy.astype(np.float64), where, x.astype(np.float64), w.astype(np.float64)]
    wanted = backward(*double, **geometry, saved=saved)
    pixels = dy.size // max(dy.shape[1], 1)
    terms = (w.size // max(w.shape[1], 1), pixels, pixels)
    for name, a, b, count in zip(NAMES, found, wanted, terms, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(np.float32, count), err_msg=name)
    return found


PATCHES = [((r, 3 if r == 3 else 5), 2) for r in (2, 3, 4, 5, 7)] + [((3, 3), 3), ((3, 3), (2, 3))]
# n, c, h, w, k, taps; window, stride, padding, dilation, nonzero where they are not 2, 1, 0, 1 and a half
VALUES = {
    "networks": [
        (*sizes, nonzero)
        for nonzero in (0, 0.5, 1)
        for sizes in (
            *((2, 1, 28, 28, 32, 3, 2, 1, 0, 1), (2, 32, 13, 13, 64, 3, 2, 1, 0, 1)),
            *((2, 3, 32, 32, 64, 3, 2, 1, 1, 1), (2, 1, 28, 28, 6, 5, 2, 1, 2, 1)),
            *((2, 6, 14, 14, 16, 5, 2, 1, 0, 1), (1, 64, 16, 16, 128, 3, 2, 1, 1, 1)),
            (1, 64, 16, 16, 40, 3, 3, 1, 1, 1),
        )
    ],
    "rows of taps with gaps between pixels and without, in one block and more": [
        (2, c, 7, 9, 5, taps, 2, 1, 1)
        for c in (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 50, 64, 65)
        for taps in (1, 3, (2, 5))
    ],
    "output channels": [
        (n, c, 6, 8, k, 3)
        for k in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 34, 65, 129)
        for n, c in ((2, 5), (1, 32))
    ],
    "vectors of pixels, whole and in part; lists of every length": [
        (1, 3, 3, 2 * width + 3, 3, (2, 3), 2, 1, 0, 1, 1) for width in range(1, 37)
    ],
    "windows": [
        sizes
        for a, b in ((1, 1), (2, 2), (3, 3), (4, 4), (1, 2), (2, 1), (3, 2), (5, 1), (16, 16), (1, 256))
        for sizes in ((1, 3, 2 * a + 3, b + 3, 9, 3, (a, b)), (2, 17, a + 1, b + 1, 20, 3, (a, b), 1, 1))
    ],
    "geometry": [
        (2, c, 13, 14, 6, 3, 2, *geometry)
        for c in (1, 3, 16, 20, 40)
        for geometry in ((2, 0, 1), (1, 2, 2), ((1, 2), (3, 0), (2, 1)), ((2, 1), (0, 4), (1, 3)), (3, 5, 2))
    ],
    "rows of more taps than a tile holds, and more rows": [
        (1, c, 14, 33, 4, taps)
        for taps in ((1, 11), (11, 1), (4, 4), (7, 7), (2, 30))
        for c in (1, 2, 16, 40)
    ],
    "all patches of a window in registers or not; bands of a few pooled rows": [
        (2, c, taps[0] + 5, 61, k, taps, window, 1, 1)
        for taps, window in PATCHES
        for k in (1, 31, 33)
        for c in (8, 9, 16, 33)
    ],
    "nothing": [(0, 3, 5, 5, 4, 3), (2, 0, 5, 5, 4, 3), (2, 3, 5, 5, 0, 3)],
}


@grouped("case", VALUES)
def test_values(case, isas, rng):
    """The bits are those of arrays in any order in memory."""
    for sizes in VALUES[case]:
        arrays, geometry = random_case(rng, *sizes)
        turned = [any_layout(rng, a) for a in arrays]
        for _ in isas:
            found = check(arrays, geometry)
            for a, b in zip(found, _core.conv2d_pool_backward(*turned, **geometry), strict=True):
                np.testing.assert_array_equal(a, b)


def placed(array, start):
    """Channels-last, its first element `start` bytes after the start of a cache line."""
    values = array.transpose(0, 2, 3, 1)
    block = np.empty(values.nbytes + 128, np.uint8)
    first = -block.ctypes.data % 64 + start
    out = block[first : first + values.nbytes].view(array.dtype).reshape(values.shape)
    out[...] = values
    return out.transpose(0, 3, 1, 2)


@pytest.mark.parametrize("c", [4, 8, 16, 32, 48])
@pytest.mark.parametrize("size", [(9, 8), (50, 41)])
def test_input_on_vectors(c, size, isa, rng):
    """An input of whole vectors is not copied: one image in a region, several, and parts."""
    arrays, geometry = random_case(rng, 5, c, *size, 33, 3)
    dy, where, x, w = arrays
    found = check((dy, where, placed(x, 0), w), geometry)
    for a, b in zip(found, _core.conv2d_pool_backward(dy, where, placed(x, 4), w, **geometry), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bands_of_a_tall_image(layout, isa, rng):
    """Few input channels and many pixels: the rows of a gradient in several bands, in every layout."""
    arrays, geometry = random_case(rng, 2, 1, 62, 62, 20, 3)
    saved = in_layout(rng.uniform(-1, 1, arrays[2].shape).astype(np.float32), layout)
    check([in_layout(a, layout) for a in arrays], geometry, saved)


@pytest.mark.parametrize("c", [1, 5, 16, 40])
def test_after_relu(c, isa, rng):
    arrays, geometry = random_case(rng, 2, c, 8, 9, 10, 3, padding=1)
    saved = np.maximum(rng.uniform(-1, 1, arrays[2].shape), 0).astype(np.float32)
    saved[0, 0, 0, 0] = np.nan
    dx, _, _ = check(arrays, geometry, saved)
    plain = _core.conv2d_pool_backward(*arrays, **geometry)[0]
    np.testing.assert_array_equal(dx, _core.relu_backward(plain, saved))  # a NaN passes there, too


@pytest.mark.parametrize("c", [1, 3, 16, 40])
def test_not_finite(c, isa, rng):
    """A gradient that is not finite reaches its own patch; one of zero keeps what is not finite out."""
    arrays, geometry = random_case(rng, 1, c, 8, 8, 4, 3, nonzero=1)
    dy, where, x, w = arrays
    where[...] = 0
    dy[0, :, 0, 0] = 0
    dy[0, 1, 2, 2] = np.inf
    x[0, :, 1, 1] = np.nan  # met by the windows (0, 0) only
    w[1] = 1
    dx, dw, db = _core.conv2d_pool_backward(dy, where, x, w, **geometry)
    hit = np.zeros((8, 8), bool)
    hit[4:7, 4:7] = True
    assert np.isinf(dx[0, :, hit]).all()
    assert np.isfinite(dx[0, :, ~hit]).all()
    assert np.isfinite(dw[[0, 2, 3]]).all()
    assert not np.isfinite(dw[1]).any()
    assert np.isinf(db[1])


@pytest.mark.parametrize(
    "shape", [(9, 1, 20, 18, 33, 3), (7, 3, 30, 30, 17, 3), (5, 40, 12, 12, 70, 3), (1, 64, 30, 26, 48, 3)]
)
def test_threads(shape, isa, threads, rng):
    """Bitwise equal at any number of threads; partial sums over images and over parts of one."""
    arrays, geometry = random_case(rng, *shape, padding=1)
    check(arrays, geometry)
    same_bits(threads, lambda: _core.conv2d_pool_backward(*arrays, **geometry), (1, 2, 3, 5))


def test_only_what_is_needed(rng):
    arrays, geometry = random_case(rng, 2, 3, 9, 9, 5, 3)
    every = _core.conv2d_pool_backward(*arrays, **geometry)
    for i, name in enumerate(NAMES):
        needs = {f"need_{other}": other == name for other in NAMES}
        one = _core.conv2d_pool_backward(*arrays, **geometry, **needs)
        np.testing.assert_array_equal(one[i], every[i])
        assert [a is None for a in one] == [j != i for j in range(3)]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_geometry(data):
    small = st.integers(1, 3)
    pairs = st.tuples(small, small)
    taps, window, stride, dilation = (data.draw(pairs) for _ in range(4))
    padding = data.draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    axes = zip(taps, window, stride, dilation, padding, strict=True)
    least = [max((m - 1) * s + d * (t - 1) + 1 - 2 * p, 1) for t, m, s, d, p in axes]
    h, w = (size + data.draw(st.integers(0, 9)) for size in least)
    n, c, k = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    check(*random_case(rng, n, c, h, w, k, taps, window, stride, padding, dilation))
