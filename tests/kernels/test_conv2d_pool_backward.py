"""The gradients of conv2d_pool, a convolution followed by a max-pool over windows that do not overlap.

x (n, c, h, w), w (k, c, r, s), y, dy and `where` (n, k, p, q): `where` is the offset of each maximum in its
window. dx, dw and db are compared with the reference in NumPy, in float64; some tests compare the bits of two
calls of the kernel. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from ranvier import _core
from reference import conv2d as reference
from support.convolution import pair
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import LAYOUTS, any_layout, in_layout
from support.remembered import remembered  # a reference computed once for equal arguments
from support.threads import same_bits
from support.tolerance import tolerance

NAMES = ("dx", "dw", "db")
backward = remembered(reference.conv2d_pool_backward)


class Case(NamedTuple):
    n: int
    c: int
    size: tuple[int, int]  # h, w
    k: int
    taps: int | tuple[int, int]  # r, s; one number, here and below, is both
    window: int | tuple[int, int] = 2
    stride: int | tuple[int, int] = 1
    padding: int | tuple[int, int] = 0
    dilation: int | tuple[int, int] = 1
    nonzero: float = 0.5  # the share of dy that is not zero


def drawn(rng, case):
    """(dy, where, x, w) and the call's settings, all random numbers from -1 to 1."""
    geometry = {name: pair(getattr(case, name)) for name in ("stride", "padding", "dilation", "window")}
    taps = pair(case.taps)
    pooled = [
        ((extent + 2 * p - d * (t - 1) - 1) // s + 1) // m
        for extent, t, s, p, d, m in zip(case.size, taps, *geometry.values(), strict=True)
    ]
    dy = rng.uniform(-1, 1, (case.n, case.k, *pooled)).astype(np.float32)
    dy[rng.uniform(size=dy.shape) >= case.nonzero] = 0
    where = rng.integers(0, np.prod(geometry["window"]), dy.shape).astype(np.uint8)
    x = rng.uniform(-1, 1, (case.n, case.c, *case.size)).astype(np.float32)
    w = rng.uniform(-1, 1, (case.k, case.c, *taps)).astype(np.float32)
    return (dy, where, x, w), geometry


def check(arrays, geometry, saved=None):
    """Against the reference. saved: the result of an earlier ReLU; dx is then the gradient before that ReLU.

    The tolerance is that of a sum of so many terms of at most 1: an element of dx gets one from each output
    channel and tap at most, those of dw and db one from each pixel of dy.
    """
    dy, where, x, w = arrays
    found = _core.conv2d_pool_backward(*arrays, **geometry, saved=saved)
    double = [dy.astype(np.float64), where, x.astype(np.float64), w.astype(np.float64)]
    wanted = backward(*double, **geometry, saved=saved)
    pixels = dy.size // max(dy.shape[1], 1)
    terms = (w.size // max(w.shape[1], 1), pixels, pixels)
    for name, a, b, count in zip(NAMES, found, wanted, terms, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance(np.float32, count), err_msg=name)
    return found


VALUES = {  # which part of the kernel, and the cases that reach it
    "networks": [
        Case(n, c, size, k, taps, window, padding=padding, nonzero=nonzero)
        for nonzero in (0, 0.5, 1)
        for n, c, size, k, taps, window, padding in (
            *((2, 1, (28, 28), 32, 3, 2, 0), (2, 32, (13, 13), 64, 3, 2, 0)),
            *((2, 3, (32, 32), 64, 3, 2, 1), (2, 1, (28, 28), 6, 5, 2, 2)),
            *((2, 6, (14, 14), 16, 5, 2, 0), (1, 64, (16, 16), 128, 3, 2, 1)),
            (1, 64, (16, 16), 40, 3, 3, 1),
        )
    ],
    "rows of taps with gaps between pixels and without, in one block and more": [
        Case(n=2, c=c, size=(7, 9), k=5, taps=taps, padding=1)
        for c in (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 24, 31, 32, 33, 48, 50, 64, 65)
        for taps in (1, 3, (2, 5))
    ],
    "output channels": [
        Case(n, c, size=(6, 8), k=k, taps=3)
        for k in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 34, 65, 129)
        for n, c in ((2, 5), (1, 32))
    ],
    "vectors of pixels, whole and in part; lists of every length": [
        Case(n=1, c=3, size=(3, 2 * width + 3), k=3, taps=(2, 3), nonzero=1) for width in range(1, 37)
    ],
    "windows": [
        case
        for a, b in ((1, 1), (2, 2), (3, 3), (4, 4), (1, 2), (2, 1), (3, 2), (5, 1), (16, 16), (1, 256))
        for case in (
            Case(n=1, c=3, size=(2 * a + 3, b + 3), k=9, taps=3, window=(a, b)),
            Case(n=2, c=17, size=(a + 1, b + 1), k=20, taps=3, window=(a, b), padding=1),
        )
    ],
    "geometry": [
        Case(2, c, (13, 14), 6, 3, stride=stride, padding=padding, dilation=dilation)
        for c in (1, 3, 16, 20, 40)
        for stride, padding, dilation in (
            *((2, 0, 1), (1, 2, 2), (3, 5, 2)),
            *(((1, 2), (3, 0), (2, 1)), ((2, 1), (0, 4), (1, 3))),
        )
    ],
    "rows of more taps than a tile holds, and more rows": [
        Case(n=1, c=c, size=(14, 33), k=4, taps=taps)
        for taps in ((1, 11), (11, 1), (4, 4), (7, 7), (2, 30))
        for c in (1, 2, 16, 40)
    ],
    "all pixels that a window reads in registers or not; bands of a few pooled rows": [
        Case(n=2, c=c, size=(taps[0] + 5, 61), k=k, taps=taps, window=window, padding=1)
        for taps, window in (
            *(((2, 5), 2), ((3, 3), 2), ((4, 5), 2), ((5, 5), 2), ((7, 5), 2)),
            *(((3, 3), 3), ((3, 3), (2, 3))),
        )
        for k in (1, 31, 33)
        for c in (8, 9, 16, 33)
    ],
    "nothing": [Case(n=n, c=c, size=(5, 5), k=k, taps=3) for n, c, k in ((0, 3, 4), (2, 0, 4), (2, 3, 0))],
}


@grouped("part", VALUES)
def test_values(part, isas, rng):
    """Beside the reference; and the same bits from arrays in any order in memory."""
    for one in VALUES[part]:
        arrays, geometry = drawn(rng, one)
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
    """An input of whole vectors at the start of a cache line is not copied; one 4 bytes further is. Of both
    the same bits, where a thread's part of the work is one image, several, or a part of one."""
    arrays, geometry = drawn(rng, Case(n=5, c=c, size=size, k=33, taps=3))
    dy, where, x, w = arrays
    found = check((dy, where, placed(x, 0), w), geometry)
    for a, b in zip(found, _core.conv2d_pool_backward(dy, where, placed(x, 4), w, **geometry), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bands_of_a_tall_image(layout, isa, rng):
    """Few input channels and many pixels: the rows of a gradient in several bands, in every layout."""
    arrays, geometry = drawn(rng, Case(n=2, c=1, size=(62, 62), k=20, taps=3))
    saved = in_layout(rng.uniform(-1, 1, arrays[2].shape).astype(np.float32), layout)
    check([in_layout(a, layout) for a in arrays], geometry, saved)


@pytest.mark.parametrize("c", [1, 5, 16, 40])
def test_after_relu(c, isa, rng):
    """With `saved`, dx also has the bits of the call without it followed by relu_backward."""
    arrays, geometry = drawn(rng, Case(n=2, c=c, size=(8, 9), k=10, taps=3, padding=1))
    saved = np.maximum(rng.uniform(-1, 1, arrays[2].shape), 0).astype(np.float32)
    saved[0, 0, 0, 0] = np.nan
    dx, _, _ = check(arrays, geometry, saved)
    plain = _core.conv2d_pool_backward(*arrays, **geometry)[0]
    np.testing.assert_array_equal(dx, _core.relu_backward(plain, saved))  # a NaN passes there, too


@pytest.mark.parametrize("c", [1, 3, 16, 40])
def test_not_finite(c, isa, rng):
    """An infinite dy reaches the pixels that its window reads, and only these; where dy is 0, a NaN in x does
    not reach dw."""
    arrays, geometry = drawn(rng, Case(n=1, c=c, size=(8, 8), k=4, taps=3, nonzero=1))
    dy, where, x, w = arrays
    where[...] = 0  # the maximum is the window's first element: dy[2, 2] comes from x[4:7, 4:7]
    dy[0, :, 0, 0] = 0
    dy[0, 1, 2, 2] = np.inf
    x[0, :, 1, 1] = np.nan  # read by the windows (0, 0) only
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
    ("n", "c", "size", "k"),
    [(9, 1, (20, 18), 33), (7, 3, (30, 30), 17), (5, 40, (12, 12), 70), (1, 64, (30, 26), 48)],
)
def test_threads(n, c, size, k, isa, threads, rng):
    """Bitwise equal at any number of threads; partial sums over images and over parts of one."""
    arrays, geometry = drawn(rng, Case(n, c, size, k, taps=3, padding=1))
    check(arrays, geometry)
    same_bits(threads, lambda: _core.conv2d_pool_backward(*arrays, **geometry), (1, 2, 3, 5))


def test_only_what_is_needed(rng):
    """A call for one of dx, dw and db gives its bits as in a call for all, and None for the others."""
    arrays, geometry = drawn(rng, Case(n=2, c=3, size=(9, 9), k=5, taps=3))
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
    check(*drawn(rng, Case(n, c, (h, w), k, taps, window, stride, padding, dilation)))
