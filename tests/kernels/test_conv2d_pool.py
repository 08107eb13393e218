"""conv2d_pool, a convolution and a max-pool over windows that do not overlap in one call: it has the bits of
the two ops one after the other at every level (`check_bits`), and is close to NumPy's float64
(`check_reference`).

`where` is the offset of each maximum in its window. Planes are images whose vectors are of pixels, not
channels; a band is the rows of an image, or the images, that a thread takes at once.
"""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from ranvier import _core
from reference import conv2d as reference
from support.convolution import conv, pair, random_arrays
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import any_layout
from support.remembered import remembered  # a reference computed once for equal arguments
from support.threads import same_bits
from support.tolerance import tolerance


def separate(x, w, bias, window, activation="none", **geometry):
    z = _core.conv2d(x, w, bias, activation=activation, **geometry)
    return _core.max_pool2d(z, window, window)


convolved = remembered(reference.conv2d)


def bits(y):
    """y's bits; of a NaN only that it is one, as its sign is that of the operand the compiler named first."""
    return np.where(np.isnan(y), y.dtype.type(np.nan), y).tobytes()


def check_bits(x, w, bias, window=2, **geometry):
    """y has the bits of the separate ops, without and with a ReLU; `where` is that of pooling before the
    ReLU, and where y is positive also that of pooling after it."""
    plain, offsets = separate(x, w, bias, window, **geometry)
    y, where = _core.conv2d_pool(x, w, bias, window=window, **geometry)
    np.testing.assert_array_equal(y, plain)
    np.testing.assert_array_equal(where, offsets)
    assert bits(y) == bits(plain)
    relu, relu_offsets = separate(x, w, bias, window, "relu", **geometry)
    y, where = _core.conv2d_pool(x, w, bias, window=window, activation="relu", **geometry)
    np.testing.assert_array_equal(y, relu)
    assert bits(y) == bits(relu)
    np.testing.assert_array_equal(where, offsets)
    np.testing.assert_array_equal(where[relu > 0], relu_offsets[relu > 0])
    y, nothing = _core.conv2d_pool(x, w, bias, window=window, activation="relu", need_where=False, **geometry)
    assert nothing is None
    np.testing.assert_array_equal(y, relu)


def check_reference(x, w, bias, window=2, **geometry):
    """Against NumPy in float64, each sum within the roundings of its terms of at most 1. Sums that are almost
    equal may be ordered otherwise: the offset is right if the element there is as large as y."""
    y, where = _core.conv2d_pool(x, w, bias, window=window, activation="relu", **geometry)
    double = [None if a is None else a.astype(np.float64) for a in (x, w, bias)]
    size = pair(window)
    values = reference._windows(convolved(*double, **geometry), size)
    expected = np.maximum(values.max(-1), 0)
    error = tolerance(x.dtype, w[0].size + 1)
    np.testing.assert_allclose(y, expected, rtol=0, atol=error)
    chosen = np.take_along_axis(values, where[..., None].astype(np.int64), -1)[..., 0]
    np.testing.assert_allclose(np.maximum(chosen, 0), expected, rtol=0, atol=2 * error)


VALUES = {  # which part of the kernel, and the calls that reach it
    "one and two vectors of output channels, and several panels": [
        conv(x=(2, 3, 7, 8), w=(k, 3, 2, 2), window=2)
        for k in (1, 3, 4, 5, 8, 9, 15, 16, 17, 31, 32, 33, 49, 70)
    ],
    "few output channels, which are sums over vectors of input channels": [
        conv(x=(2, c, 7, 6), w=(k, c, 2, 3), window=2, padding=1)
        for k in range(1, 6)
        for c in (8, 15, 17, 33)
    ],
    "windows": [
        conv(x=(2, c, 19, 17), w=(20, c, 3, 3), window=window, padding=1)
        for window in (1, 2, 3, 4, (1, 2), (2, 1), (2, 3), (3, 2), (1, 5), (7, 2), (16, 16))
        for c in (1, 3, 40)
    ],
    "rows and columns left over, tiles of every height": [
        conv(x=(1, 2, size, 37 - size), w=(17, 2, 3, 3), window=window, padding=window - 2)
        for size in range(4, 34)
        for window in (2, 3)
    ],
    "rows left over, which count where conv2d picks its kernel": [
        conv(x=(4, c, pixels + 2, pixels + 2), w=(64, c, 3, 3), window=2)
        for c in (16, 24, 32, 48, 64, 96, 128)
        for pixels in (2, 3, 5)
    ],
    "windows that leave less than planes need": [
        conv(x=(1, c, h, w), w=(k, c, 1, 4), window=window, padding=(0, 5), dilation=(1, 4))
        for c, k, window in ((2, 1, (2, 1)), (3, 2, (1, 3)), (8, 1, (3, 1)), (2, 1, (2, 2)))
        for h, w in ((3, 6), (7, 7), (9, 5))
    ],
    "each algorithm": [
        conv(x=(2, c, 9, 10), w=(k, c, 3, 3), window=window)
        for c, k in ((1, 5), (3, 33), (3, 20), (40, 3), (64, 64))
        for window in (2, 3)
    ],
}


@grouped("part", VALUES)
def test_values(part, isas, rng):
    """With a bias and without, in any layout."""
    for case in VALUES[part]:
        arrays = random_arrays(rng, "float32", case.x, case.w)
        turned = [any_layout(rng, a) for a in arrays]
        for _ in isas:
            check_bits(*arrays, **case.settings)
            check_bits(*arrays[:2], None, **case.settings)
            check_reference(*arrays, **case.settings)
            expected = _core.conv2d_pool(*arrays, **case.settings)
            found = _core.conv2d_pool(*turned, **case.settings)
            for got, want in zip(found, expected, strict=True):
                np.testing.assert_array_equal(got, want)


@grouped("images", [1, 2, 5, 23, 64])
@pytest.mark.parametrize("size", [3, 4, 7, 12])
def test_bands(images, size, isa, threads, rng):
    """Several images in a band, one, and parts of one; however the bands are shared out."""
    arrays = random_arrays(rng, "float32", (images, 3, size, size), (40, 3, 3, 3))
    for count in (1, 2, 3, 4):
        threads(count)
        check_bits(*arrays, padding=1)


@grouped("window", [1, 2, 3, (2, 3), (3, 2), (4, 2), (5, 1)])
@pytest.mark.parametrize("size", [(7, 9), (10, 8), (20, 21), (32, 32)])
def test_winograd(size, window, isas, threads, rng):
    """Windows that are tiles, and windows that go through a buffer; whole images and bands of them."""
    arrays = random_arrays(rng, "float32", (3, 64, *size), (67, 64, 3, 3))
    for _ in isas:
        for count in (1, 2, 3):
            threads(count)
            check_bits(*arrays, window, padding=1)
        y, _ = _core.conv2d_pool(*arrays, window=window, padding=1)
        check_reference(*arrays, window, padding=1)
        _core.set_winograd(False)
        direct, _ = _core.conv2d_pool(*arrays, window=window, padding=1)
        _core.set_winograd(True)
        assert (y != direct).any()


def test_weights_larger_than_a_cache(isa, threads, rng):
    """Groups of panels and blocks of images."""
    arrays = random_arrays(rng, "float32", (20, 128, 12, 12), (200, 128, 4, 4))
    for count in (1, 3):
        threads(count)
        check_bits(*arrays, padding=2)


@pytest.mark.parametrize("stride", [(1, 2), (2, 1), (3, 2)])
def test_strides_of_single_pixels(stride, isa, rng):
    """The sum reads x as an image of the pixels that it needs."""
    for k in (1, 2, 5, 40):
        arrays = random_arrays(rng, "float32", (2, 3, 9, 11), (k, 3, 1, 1))
        check_reference(*arrays, (2, 2), stride=stride)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_geometry(data):
    """Random sizes and settings, but for those that leave no window."""
    small = st.integers(1, 4)
    pairs = st.tuples(small, small)
    n, h, w = data.draw(st.integers(0, 5)), data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    c, k = data.draw(st.integers(1, 18)), data.draw(st.integers(1, 40))
    taps, stride, dilation, window = (data.draw(pairs) for _ in range(4))
    padding = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    for d, size in enumerate((h, w)):
        reach = dilation[d] * (taps[d] - 1) + 1
        if (size + 2 * padding[d] - reach) // stride[d] + 1 < window[d]:
            return
    arrays = random_arrays(np.random.default_rng(0), "float32", (n, c, h, w), (k, c, *taps))
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    if taps != (1, 1):  # a product, which is not merged with a pool
        check_bits(*arrays, window, **geometry)
    check_reference(*arrays, window, **geometry)


@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize(("c", "k"), [(1, 5), (3, 33), (40, 3), (64, 64)])
def test_equal_and_not_finite_values(c, k, window, isa, rng):
    """The first of equal maxima counts, a NaN before any number; an infinity is a number."""
    x, w, bias = (np.round(a * 2) for a in random_arrays(rng, "float32", (2, c, 14, 14), (k, c, 3, 3)))
    check_bits(x, w, bias, window)
    check_bits(np.zeros_like(x), w, bias, window)
    x[rng.random(x.shape) < 0.02] = np.nan
    x[rng.random(x.shape) < 0.02] = np.inf
    x[rng.random(x.shape) < 0.02] = -np.inf
    check_bits(x, w, bias, window, padding=1)


def test_empty(isa, rng):
    x, w, bias = random_arrays(rng, "float32", (0, 3, 6, 6), (4, 3, 3, 3))
    y, where = _core.conv2d_pool(x, w, bias)
    assert y.shape == where.shape == (0, 4, 2, 2)
    x, w, bias = random_arrays(rng, "float32", (2, 0, 6, 6), (4, 0, 3, 3))
    y, where = _core.conv2d_pool(x, w, bias)
    np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 4, 2, 2)))
    assert not where.any()


@grouped(
    ("c", "k", "height", "width"),
    [
        (c, k, height, width)
        for c, k in [(1, 6), (1, 1), (2, 4), (3, 7), (3, 12), (4, 9), (16, 6)]
        for height, width in [(10, 14), (9, 41), (34, 7), (5, 70)]
    ],
)
def test_few_channels(c, k, height, width, isa, rng):
    """Planes of pixels: several bands, ragged ends left out, vectors of windows whole and in part."""
    x, w, bias = random_arrays(rng, "float32", (2, c, height, width), (k, c, 3, 3))
    check_bits(x, w, bias, padding=1)
    check_bits(x, w, None, dilation=(1, 2))
    x[0, 0, 4, 3] = np.nan
    x[1, -1, 2, ::2] = np.inf
    check_bits(x, w, bias, padding=1)


def test_few_channels_with_infinite_weights(isa, rng):
    """They must not meet the padding."""
    x, w, bias = random_arrays(rng, "float32", (2, 2, 8, 10), (5, 2, 3, 3))
    w[1, 0, 0, 0] = np.inf
    check_bits(x, w, bias, padding=1)
    y, _ = _core.conv2d_pool(x, w, bias, window=2, padding=1)
    assert np.isfinite(y[:, [0, 2, 3, 4]]).all()


def test_few_channels_on_threads(isa, threads, rng):
    x, w, bias = random_arrays(rng, "float32", (3, 1, 60, 44), (6, 1, 5, 5))
    same_bits(threads, lambda: _core.conv2d_pool(x, w, bias, window=2, padding=2), (1, 2, 3, 7, 16))
