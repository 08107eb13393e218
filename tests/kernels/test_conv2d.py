"""The kernels of conv2d: results and gradients beside the reference in NumPy, in float64 (`check`), for
shapes around what the algorithms divide them into; and the same bits of a channel or an image alone and among
others.

A level is an instruction set (`isa`). A tile is the pixels and output channels that are computed in registers
at once; a panel the weights of its output channels; planes are images whose vectors are of pixels, not
channels.
"""

import functools
import itertools

import numpy as np
import pytest
from hypothesis import assume, given, strategies as st
from ranvier import _core, kernels
from support.convolution import check, conv, random_arrays
from support.grouped import grouped  # parametrize, with many cases a test
from support.strategies import dtypes, repeatable
from support.threads import same_bits

AROUND = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33)  # vectors of each level, one more and one less
SMALL = (1, 2), (1, 8), (1, 9), (2, 1), (2, 2), (1, 3), (3, 3), (2, 4), (4, 2), (4, 4), (5, 7)  # of a group
DEPTHWISE_WIDTHS = (1, 2, 5, 7, 8, 9, 15, 16, 17, 18, 19, 26, 35, 53)
VALUES = {  # which part of an algorithm, and the convolutions that reach it
    "one to five vectors of output channels": [
        conv(x=(1, 3, 4, 5), w=(k, 3, 2, 2)) for k in (*AROUND, 24, 25, 40, 48, 49, 56, 65, 80)
    ],
    "rows of one tap": [
        conv(x=(2, c, 5, 4), w=(k, c, 3, 3), padding=1)
        for c in range(7, 34)
        for k in ((6, 16) if c % 2 else (12, 24))
    ],
    "rows of one tap in groups": [
        conv(x=(1, 2 * c, 5, 6), w=(2 * k, c, 2, 3), groups=2, stride=2, padding=1)
        for c in range(7, 34)
        for k in ((12, 24) if c % 2 else (6, 16))
    ],
    "rows of several taps": [
        conv(x=(1, c, 4, 5), w=(3, c, 3, 2), padding=1) for c in (*AROUND, 6, 13, 14, 29)
    ],
    "few output channels": [
        conv(x=(1, c, 4, 5), w=(k, c, 2, 3), padding=1) for k in range(1, 10) for c in (4, 8, 15, 16, 17, 33)
    ],
    "few input channels": [
        conv(x=(1, k, 5, 6), w=(c, k, 2, 2), stride=2) for k in range(1, 10) for c in (4, 8, 15, 16, 17, 33)
    ],
    "x and dy exchanged, in parts and groups": [
        conv(x=(2, 33 * g, 13, 64), w=(k * g, 33, 3, 2), groups=g, padding=padding, dilation=dilation)
        for g, k in ((1, 1), (1, 3), (1, 8), (2, 3))
        for padding, dilation in ((0, 1), (1, 2), ((2, 1), 1), (3, 1))
    ],
    "vectors of output channels that span groups: whole ones, parts, and groups that do not fill them": [
        conv(x=(2, c * g, 4, 5), w=(k * g, c, 3, 2), groups=g, padding=1, stride=stride)
        for g, stride in ((2, 1), (3, 2), (4, 1), (5, 2), (9, 1), (17, 2))
        for c, k in (*SMALL, (8, 8), (4, 1))
    ],
    "few output channels, tiles of every height": [
        conv(x=(1, 40, 2, width), w=(k, 40 // g, 2, 1), groups=g)
        for width in range(1, 27)
        for k, g in ((3, 1), (4, 2))
    ],
    "groups of few channels, tiles of every height": [
        conv(x=(1, 12, 1, n), w=(12, 4, 1, 1), groups=3) for n in range(1, 27)
    ],
    "tiles of every height": [
        conv(x=(2, 6, 2, width), w=(k, 6, 2, 1), padding=(1, 0))
        for width in range(1, 46)
        for k in (13, 21, 24, 32)
    ],
    "tiles of every height, with a stride": [
        conv(x=(1, 9, 4, width + 2), w=(k, 9, 1, 3), stride=(1, 2))
        for width in range(1, 46)
        for k in (13, 21, 24, 32)
    ],
    "pixels in parts": [
        conv(x=(3, 2, 50, 41), w=(3, 2, 3, 3), padding=1),
        conv(x=(1, 17, 60, 31), w=(3, 17, 3, 3), stride=(1, 2)),
    ],
    "planes: groups of four and eight channels": [
        conv(x=(3, c, 6, 19), w=(k, c, 3, 3), padding=1)
        for c in (1, 2, 3, 5, 8, 9, 12, 15)
        for k in range(1, 14)
    ],
    "planes: ends of rows": [
        conv(x=(2, 3, 3, width), w=(6, 3, 2, 1))
        for width in (*range(1, 20), 31, 33, 63, 64, 65, 127, 128, 129)
    ],
    "planes: ends of rows in the padding": [
        conv(x=(2, 1, 1, width), w=(4, 1, 1, 5), padding=(0, 2)) for width in (*range(1, 20), 31, 33, 63, 65)
    ],
    "planes: padding of more and less than the taps": [
        conv(x=(2, c, 9, 11), w=(k, c, 3, 3), padding=padding, dilation=dilation)
        for c, k in ((2, 5), (3, 1))
        for padding in (0, 1, (0, 4), (5, 0), 7)
        for dilation in (1, 2, (3, 1))
    ],
    "depthwise: channels": [
        conv(x=(2, c, 5, 4), w=(c, 1, 3, 3), groups=c, padding=1) for c in (*AROUND[1:], 49)
    ],
    "depthwise: tiles inside the image, at its edges and ragged": [
        conv(x=(1, 17, 4, width), w=(17, 1, 2, taps), groups=17, stride=stride, padding=(0, taps // 2))
        for taps in range(1, 8)
        for stride in (1, 2, 3)
        for width in DEPTHWISE_WIDTHS
    ],
    "depthwise: without padding": [
        conv(x=(1, 17, 4, width), w=(17, 1, 2, taps), groups=17, stride=(1, stride))
        for taps in range(1, 8)
        for width, stride in zip(DEPTHWISE_WIDTHS, itertools.cycle((1, 2, 3)))
        if width >= taps
    ],
    "depthwise: any taps": [
        conv(x=(2, 18, 9, 31), w=(18, 1, 3, 3), groups=18, **geometry)
        for geometry in ({"dilation": 2}, {"dilation": (1, 3), "stride": 2}, {"padding": 7})
    ],
    "depthwise: wide rows in chunks, and large images": [
        conv(x=(1, 70, 4, 400), w=(70, 1, 3, 3), groups=70, padding=1),
        *(
            conv(x=(2, 33, 130, 130), w=(33, 1, 3, 3), groups=33, padding=1, stride=stride)
            for stride in (1, 2)
        ),
    ],
    "depthwise: tiles of stride 2 that begin at even and odd columns": [
        conv(x=(2, c, 5, width), w=(c, 1, 2, taps), groups=c, stride=(1, 2), padding=(0, padding))
        for taps in (3, 5)
        for padding in range(6)
        for width in (1, 2, 7, 8, 9, 16, 17, 30, 33)
        for c in (3, 8, 16, 17)
        if width + 2 * padding >= taps
    ],
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("part", VALUES)
def test_values(part, dtype, isas, rng):
    for number, case in enumerate(VALUES[part]):
        if dtype == "float32" or number % 2 == 0:  # loops of float64 are those of float32, of other widths
            arrays = random_arrays(rng, dtype, case.x, case.w)
            for _ in isas:
                check(*arrays, **case.settings)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("k", "more"), [(17, 32), (24, 32), (40, 64), (48, 64), (72, 96), (80, 96)])
@grouped("width", range(1, 20))
def test_panels_of_any_width(width, k, more, groups, isa, rng):
    """k channels of each group have the bits that they have among `more`, for tiles of every height."""
    x, w, bias = random_arrays(rng, "float32", (2, 10 * groups, 2, width), (more * groups, 10, 2, 1))
    few = np.arange(more * groups).reshape(groups, more)[:, :k].ravel()
    for options in ({}, {"activation": "relu"}, {"stride": 2, "padding": (1, 2)}):
        y = kernels.conv2d(x, w, bias, groups=groups, **options)
        y_few = kernels.conv2d(x, w[few], bias[few], groups=groups, **options)
        np.testing.assert_array_equal(y_few, y[:, few])
    _, dw, db = kernels.conv2d_backward(y, x, w, groups=groups, **options)
    _, dw_few, db_few = kernels.conv2d_backward(y_few, x, w[few], groups=groups, **options)
    np.testing.assert_array_equal(dw_few, dw[few])
    np.testing.assert_array_equal(db_few, db[few])
    check(x, w[few], bias[few], groups=groups)


@pytest.mark.parametrize(
    ("shape", "k"), [((1, 6, 512, 520), 16), ((2, 3, 260, 260), 48), ((1, 2, 400, 400), 40)]
)
def test_large_results(shape, k, isa, rng):
    """Results of 16 MiB and more are stored past the caches where a panel's part of a pixel is whole cache
    lines: with the bits of a smaller result, of the first rows."""
    x, w, bias = random_arrays(rng, "float32", shape, (k, shape[1], 1, 2))
    y = kernels.conv2d(x, w, bias)
    assert y.nbytes >= 16 << 20
    rows = kernels.conv2d(x[:, :, :9], w, bias)
    np.testing.assert_array_equal(y[:, :, :9], rows)
    check(x[:, :, -3:], w, bias)
    np.testing.assert_array_equal(kernels.conv2d(x, w, bias, activation="relu"), np.maximum(y, 0))


@st.composite
def convolutions(draw):
    """Sizes and geometry: of no, one or several images; of one group, some, or many with few channels."""
    n, h, w = (draw(st.integers(*limits)) for limits in ((0, 9), (1, 18), (1, 40)))
    groups = draw(st.sampled_from([1, 1, 2, 3, 4, 17, 40]))
    c = draw(st.integers(1, 34)) if groups < 5 else draw(st.sampled_from([1, 1, 2, 3, 4, 8]))
    k = draw(st.integers(1, 13)) if groups < 5 else draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8]))
    r, s = (draw(st.sampled_from([1, 2, 3, 4, 5, 7])) for _ in range(2))
    stride, dilation = (draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in range(2))
    padding = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    assume(dilation[0] * (r - 1) < h + 2 * padding[0] and dilation[1] * (s - 1) < w + 2 * padding[1])
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return conv(x=(n, c * groups, h, w), w=(k * groups, c, r, s), **geometry)


@repeatable
@given(convolution=convolutions(), dtype=dtypes, isa=st.sampled_from(_core.supported_isas()))
def test_any_convolution(convolution, dtype, isa):
    """The bits are the same at any number of threads, and of an image alone and in a batch."""
    x_shape, w_shape, settings = convolution
    x, weight, bias = random_arrays(np.random.default_rng(0), dtype, x_shape, w_shape)
    before, count = _core.isa(), _core.get_num_threads()
    _core.set_isa(isa)
    try:
        check(x, weight, bias, **settings)
        y = kernels.conv2d(x, weight, bias, **settings)
        same_bits(_core.set_num_threads, lambda: kernels.conv2d_backward(y, x, weight, **settings), (1, 2, 3))
        for i in range(len(x)):
            alone = kernels.conv2d(x[i : i + 1], weight, bias, **settings)
            np.testing.assert_array_equal(alone, y[i : i + 1])
    finally:
        _core.set_isa(before)
        _core.set_num_threads(count)


@grouped("width", [13, 14, 15, 16, 25, 26, 27, 28, 30, 41])
@pytest.mark.parametrize(("cg", "kg"), [(9, 16), (16, 9), (64, 10), (1, 13), (65, 16)])
@pytest.mark.parametrize("padding", [(1, 0), 1, (0, 2), (2, 3)])
def test_taps_that_share_inputs(padding, cg, kg, width, isa, threads, rng):
    """Three taps of neighbouring pixels: all widths of tiles, with and without the pixels at the edges."""
    x, w, bias = random_arrays(rng, "float32", (2, 2 * cg, 4, width), (2 * kg, cg, 3, 3))
    check(x, w, bias, padding=padding, groups=2)
    x[0, cg:, :, width // 2] = np.nan
    w[0, 0, 0, 0] = w[-1, 0, 2, 2] = np.inf
    run = functools.partial(kernels.conv2d, x, w, bias, padding=padding, groups=2, activation="relu")
    same_bits(threads, run, (1, 3))
    y = run()
    one = kernels.conv2d(x[1:], w, bias, padding=padding, groups=2, activation="relu")
    np.testing.assert_array_equal(one, y[1:])
    if width >= 16:  # a narrower one may not share them, and adds in another order
        wide = np.pad(x[1:], ((0, 0), (0, 0), (0, 0), (0, 14)))
        z = kernels.conv2d(wide, w, bias, padding=padding, groups=2, activation="relu")
        np.testing.assert_array_equal(z[..., : width - 2], y[1:, ..., : width - 2])


@pytest.mark.parametrize("taps", [3, 5])
def test_large_depthwise_results(taps, isa, rng):
    """As `test_large_results`, of depthwise convolutions and their gradients."""
    x, w, bias = random_arrays(rng, "float32", (1, 32, 362, 363), (32, 1, taps, taps))
    settings = {"padding": taps // 2, "groups": 32}
    y = kernels.conv2d(x, w, bias, activation="relu", **settings)
    assert y.nbytes >= 16 << 20
    first = kernels.conv2d(x[:, :, :9], w, bias, activation="relu", **settings)
    np.testing.assert_array_equal(y[:, :, :7], first[:, :, :7])
    dy = y[:, :, :181, :182]
    dx, _, _ = kernels.conv2d_backward(dy, x, w, stride=2, **settings)
    first, _, _ = kernels.conv2d_backward(dy[:, :, :5], x[:, :, :9], w, stride=2, **settings)
    np.testing.assert_array_equal(dx[:, :, :7], first[:, :, :7])
