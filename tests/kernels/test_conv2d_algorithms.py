"""Properties of every algorithm of conv2d: values and gradients beside the reference in NumPy, in float64
(`check`), and the same bits in any memory order, on any number of threads, for one gradient alone; infinities
reach what they are multiplied with and nothing else. Then algorithms of few channels, whose vectors are of
pixels. A test with the fixture `isa` runs at each ISA level (instruction set).
"""

import functools

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import conv2d as reference
from support.convolution import NAMES, check, conv, random_arrays
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import LAYOUTS, in_layout
from support.threads import same_bits
from support.tolerance import tolerance

CHOSEN = {  # by the name of an algorithm (kernels/conv2d/dispatch.cpp), a convolution for which it is chosen
    "depthwise": conv(x=(2, 17, 9, 8), w=(34, 1, 3, 3), groups=17, padding=1),
    "spread": conv(x=(2, 20, 9, 8), w=(24, 20, 1, 1), stride=2),
    "columns": conv(x=(1, 24, 5, 4), w=(40, 24, 5, 5), padding=2),
    "scattered": conv(x=(8, 5, 14, 14), w=(16, 5, 5, 3)),
    "winograd": conv(x=(2, 64, 14, 13), w=(64, 64, 3, 3), padding=1),
    "pixels": conv(x=(2, 3, 9, 8), w=(4, 3, 1, 1)),
    "pointwise": conv(x=(2, 96, 7, 8), w=(40, 96, 1, 1)),
    "planes": conv(x=(2, 3, 20, 17), w=(6, 3, 3, 3), padding=1),
    "dots": conv(x=(2, 64, 7, 9), w=(2, 64, 3, 3), stride=2),
    "grouped": conv(x=(2, 20, 9, 8), w=(20, 4, 3, 3), groups=5, padding=1),
    "exchanged": conv(x=(2, 64, 7, 9), w=(3, 64, 3, 3), padding=1),
}
# Those that add in another order than the algorithm that takes their place; of the others nothing in the
# results shows which one ran.
OTHER_BITS = {"depthwise", "columns", "scattered", "winograd", "planes", "dots", "exchanged"}
# Those that levels with vectors of 16 bytes do not choose for these convolutions.
OF_LONG_VECTORS = {"depthwise", "scattered", "planes", "exchanged"}
LEVELS_OF_16_BYTES = {"x86-64-v2", "aarch64", "generic"}
MANY = 37  # images
CASES = [
    *CHOSEN.values(),
    conv(x=(2, 3, 6, 7), w=(6, 3, 3, 2)),  # direct
    conv(x=(2, 9, 6, 7), w=(6, 3, 3, 2), groups=3),
    conv(x=(2, 17, 6, 19), w=(17, 1, 3, 3), groups=17, padding=1),  # vectors of channels
    # few pixels: a product and sums of its columns; pixels that no tap meets
    conv(x=(1, 103, 7, 5), w=(60, 103, 3, 3), stride=2, padding=1),
    conv(x=(1, 17, 6, 9), w=(64, 17, 2, 3), stride=(1, 2)),
    conv(x=(2, 16, 9, 8), w=(40, 16, 2, 1), stride=(4, 3), padding=(1, 0)),
    conv(x=(1, 24, 7, 7), w=(50, 24, 3, 2), stride=2, padding=2, dilation=(2, 3)),
    conv(x=(2, 33, 4, 4), w=(129, 33, 4, 4), stride=2, padding=1),
    conv(x=(1, 35, 4, 4), w=(64, 35, 3, 3), padding=1),
    conv(x=(1, 16, 3, 6), w=(70, 16, 2, 3), padding=(0, 2)),
    conv(x=(1, 18, 6, 5), w=(66, 18, 3, 2), dilation=(2, 1)),
    conv(x=(2, 17, 8, 7), w=(65, 17, 5, 5), padding=2),
    # one tap: products of matrices, or just not
    *(
        conv(x=(2, c, h, 8), w=(k, c, 1, 1))
        for c, k, h in ((16, 16, 4), (15, 40, 4), (95, 33, 7), (96, 31, 5))
    ),
    *(
        conv(x=(2, c, h, 8), w=(k, c, 1, 1))
        for c, k, h in ((97, 35, 4), (256, 17, 5), (512, 40, 2), (520, 516, 1))
    ),
    # one tap with a stride: pixels that it does not meet, also after the last one that it meets
    *(conv(x=(2, c, 7, 10), w=(k, c, 1, 1), stride=2) for c, k in ((2, 3), (17, 33), (512, 16))),
    *(conv(x=(2, c, 7, 10), w=(k, c, 1, 1), stride=(4, 2)) for c, k in ((16, 16), (260, 20))),
    conv(x=(2, 34, 7, 10), w=(4, 17, 1, 1), groups=2, stride=(1, 3)),
    # gradients to few channels: rows of taps that fill vectors and not, one image and several
    *(conv(x=(n, 6, 14, 14), w=(16, 6, 5, 5)) for n in (1, 5)),
    conv(x=(5, 6, 9, 8), w=(16, 6, 5, 4), padding=(0, 1)),
    conv(x=(5, 5, 11, 10), w=(20, 5, 3, 5), dilation=(2, 1)),
    conv(x=(5, 12, 9, 10), w=(24, 12, 3, 3), padding=1),
    conv(x=(5, 8, 16, 15), w=(16, 8, 3, 3), stride=2, padding=1),
    conv(x=(5, 8, 14, 17), w=(24, 8, 3, 3), stride=(2, 3)),
    conv(x=(1, 3, 6, 6), w=(40, 3, 5, 5)),
    conv(x=(2, 3, 75, 130), w=(6, 3, 3, 3), padding=1),  # planes in bands
    # planes in groups
    *(
        conv(x=(3, c, 9, 19), w=(k, c // g, 3, 3), groups=g, padding=1)
        for c, k, g in ((16, 16, 2), (24, 12, 3), (9, 24, 3))
    ),
    # weights larger than a cache: groups of panels are packed just before their tiles
    conv(x=(2, 256, 5, 6), w=(200, 256, 3, 3), stride=2, padding=1),
    conv(x=(2, 70, 5, 6), w=(210, 70, 5, 5), stride=2, padding=2),
    # large enough for several threads
    conv(x=(3, 17, 23, 21), w=(40, 17, 3, 3), padding=1),
    *(
        conv(x=(MANY, c, 12, 13), w=(k, c, 5, 3), padding=1)
        for c, k in ((1, 6), (8, 4), (3, 12), (9, 1), (12, 3))
    ),
    conv(x=(1, 37, 7, 7), w=(37, 1, 3, 3), groups=37, padding=1),
    conv(x=(3, 33, 41, 30), w=(33, 1, 3, 3), groups=33, padding=1),
    conv(x=(2, 3, 9, 9), w=(3, 1, 3, 3), groups=3, padding=1),
]
POINTWISE = [
    conv(x=(2, c, height, 8), w=(k, c, 1, 1))
    for c, k in ((9, 1), (5, 2), (2, 17), (16, 4), (33, 3), (20, 20), (48, 49), (49, 48), (64, 5))
    for height in (3, 300)
]
every_case = grouped("case", CASES)


def drawn(rng, case, dtype="float32"):
    """x, w, bias and dy; the settings of the call."""
    arrays = random_arrays(rng, dtype, case.x, case.w)
    y = kernels.conv2d(*arrays, **case.settings)
    return *arrays, rng.uniform(-1, 1, y.shape).astype(dtype), case.settings


def results(x, w, bias, dy, settings):
    return kernels.conv2d(x, w, bias, **settings), *kernels.conv2d_backward(dy, x, w, **settings)


@pytest.fixture
def without():
    """A function that turns an algorithm off, until the test ends or turns it on."""
    yield _core.allow_conv_algorithm
    for name in CHOSEN:
        _core.allow_conv_algorithm(name, True)


@pytest.mark.parametrize("name", CHOSEN)
def test_without_an_algorithm(name, without, isas, rng):
    """Another computes the result then, with other bits where it adds in another order, at each level."""
    for level in isas:
        *arrays, settings = drawn(rng, CHOSEN[name])
        with_it = results(*arrays, settings)
        without(name, False)
        check(*arrays[:3], **settings)
        found = results(*arrays, settings)
        without(name, True)
        differ = any((a != b).any() for a, b in zip(found, with_it, strict=True))
        is_chosen = level not in LEVELS_OF_16_BYTES or name not in OF_LONG_VECTORS
        assert differ == (name in OTHER_BITS and is_chosen), level


EVERY = [*CASES, *POINTWISE]


@grouped(  # every second case in float64, which has the same loops
    ("case", "dtype"),
    [*((case, "float32") for case in EVERY), *((case, "float64") for case in EVERY[::2])],
)
def test_values_and_bits(case, dtype, isas, threads, rng):
    """Layouts, threads, and which gradients are asked for change no bit."""
    *arrays, settings = drawn(rng, case, dtype)
    for _ in isas:
        check_values_and_bits(case, arrays, settings, threads)


def check_values_and_bits(case, arrays, settings, threads):
    check(*arrays[:3], **settings)
    expected = results(*arrays, settings)
    same_bits(threads, lambda: results(*arrays, settings), (1, 2, 3, 7))
    # gradients to weight and bias of many dense pixels are added in another order than those of others
    count = 2 if len(arrays[0]) == MANY or case in (CHOSEN["pixels"], *POINTWISE) else 4
    for layout in LAYOUTS:
        given = [in_layout(a, layout) for a in arrays]
        for a, b in zip(results(*given, settings)[:count], expected[:count], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=layout)
        if case not in POINTWISE:  # whose sums have the order of the algorithm that `out` allows
            out = in_layout(np.zeros_like(expected[0]), layout)
            assert kernels.conv2d(*arrays[:3], **settings, out=out) is out
            np.testing.assert_array_equal(out, expected[0], err_msg=layout)
    x, w, _, dy = arrays
    for name, whole in zip(NAMES, expected[1:], strict=True):
        needs = {f"need_{other}": other == name for other in NAMES}
        parts = kernels.conv2d_backward(dy, x, w, **settings, **needs)
        assert [p is None for p in parts] == [other != name for other in NAMES]
        np.testing.assert_array_equal(parts[NAMES.index(name)], whole, err_msg=name)


@every_case
def test_relu(case, isa, rng):
    """NaN passes, to all outputs that meet it (with Winograd also to others of their tiles)."""
    x, w, bias, _, settings = drawn(rng, case)
    for value in (x[0, 0, 0, 0], np.nan):
        x[1 % len(x), 0, 0, 0] = value
        y = kernels.conv2d(x, w, bias, **settings)
        found = kernels.conv2d(x, w, bias, **settings, activation="relu")
        np.testing.assert_array_equal(found, np.maximum(y, 0))
    assert np.isnan(y).any()


@every_case
def test_infinities_reach_what_meets_them(case, without, isa, rng):
    """An image, a weight and a gradient have one each: neither padding, nor what fills vectors and rows, nor
    another group, pixel or image is multiplied with it."""
    without("winograd", False)
    x, w, bias, dy, settings = drawn(rng, case)
    positive = [np.abs(a) + 1 for a in (x, w, dy)]
    hit = [np.zeros(a.shape) for a in (x, w, dy)]
    for a, marks in zip(positive, hit, strict=True):
        at = tuple(rng.integers(0, n) for n in a.shape)
        a[at], marks[at] = np.inf, 1
    x, w, dy = positive
    of_x, of_w, of_dy = hit
    ones = [np.ones(a.shape) for a in hit]

    def reached(first, second):
        return (first > 0) | (second > 0)

    y = kernels.conv2d(x, w, bias, **settings)
    met = reached(reference.conv2d(of_x, ones[1], **settings), reference.conv2d(ones[0], of_w, **settings))
    np.testing.assert_array_equal(np.isinf(y), met)
    back = kernels.conv2d_backward(dy, x, w, **settings)
    by_dy = reference.conv2d_backward(of_dy, *ones[:2], **settings)
    by_others = reference.conv2d_backward(ones[2], of_x, of_w, **settings)
    for name, gradient, *met in zip(NAMES, back, by_dy, (*by_others[:2], 0 * by_others[2]), strict=True):
        np.testing.assert_array_equal(np.isinf(gradient), reached(*met), err_msg=name)
    assert not any(np.isnan(a).any() for a in (y, *back))


@grouped("c", [2, 3, 4, 5, 7, 8, 9])
def test_pointwise_of_few_planes(c, isa, threads, rng):
    """Planes of pixels are copied some pixels at a time: the same bits as with channels last."""
    for width in (1, 3, 4, 5, 15, 16, 17, 32, 33):
        images = random_arrays(rng, "float32", (2, c, 1, width), (4, c, 1, 1))
        expected = kernels.conv2d(in_layout(images[0], "channels_last"), *images[1:])
        np.testing.assert_array_equal(kernels.conv2d(*images), expected, err_msg=str(width))
        same_bits(threads, functools.partial(kernels.conv2d, *images))
    x, w, bias = random_arrays(rng, "float32", (2, c, 9, 31), (4, c, 1, 1))
    check(x, w, bias)


def pairs(inputs, outputs):
    """Each number of input channels beside a third of those of outputs."""
    return [(c, k) for number, c in enumerate(inputs) for k in outputs[number % 3 :: 3]]


@pytest.mark.parametrize("k", [1, 3, 6, 8, 11])
def test_out_inside_a_larger_array(k, isa, rng):
    """Stores of whole vectors leave the pixels between the rows, and other channels, alone."""
    x, w, bias = random_arrays(rng, "float32", (2, 3, 9, 21), (k, 3, 3, 3))
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
        x, w, bias = random_arrays(rng, "float32", (2, c, height, width + 4), (1, c, taps, min(taps, 3)))
        for activation in ("none", "relu"):
            y, z = into_every_second_column(x, w, bias, padding=padding, activation=activation)
            np.testing.assert_array_equal(y, z)
        check(x, w, bias, padding=padding)


@grouped(("c", "k"), pairs([*range(1, 10), 12, 15, 16, 17, 33, 64, 100], (1, 2, 3, 4, 5, 7, 8, 9, 12)))
def test_dense_pixels(c, k, isa, threads, rng):
    """1x1 over pixels without gaps: ends at each place of a vector, the bits of other strides."""
    for n, h, w in ((1, 1, 1), (1, 3, 5), (2, 4, 4), (3, 7, 11)):
        x, weight, bias = random_arrays(rng, "float32", (n, c, h, w), (k, c, 1, 1))
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
    x, weight, bias = random_arrays(rng, "float32", (n, c, h, w), (k, c, 1, 1))
    x = in_layout(x, "channels_last")
    y = np.einsum("nchw,kc->nkhw", *(a.astype(np.float64) for a in (x, weight[:, :, 0, 0])))
    y += bias[:, None, None]
    np.testing.assert_allclose(kernels.conv2d(x, weight, bias), y, rtol=0, atol=tolerance("float32", c + 1))
    dy = in_layout(y.astype(np.float32), "channels_last")
    _, dw, db = kernels.conv2d_backward(dy, x, weight)
    dw64 = np.einsum("nkhw,nchw->kc", dy.astype(np.float64), x.astype(np.float64), optimize=True)
    # the roundings of a long sum have random signs: they grow with the root of the number of terms
    tolerated = 1e-6 * np.sqrt(n * h * w) * np.abs(dw64).max()
    np.testing.assert_allclose(dw[:, :, 0, 0], dw64, rtol=0, atol=tolerated)
    np.testing.assert_allclose(db, dy.sum((0, 2, 3), dtype=np.float64), rtol=0, atol=tolerated)
    same_bits(
        threads, lambda: (kernels.conv2d(x, weight, bias), *kernels.conv2d_backward(dy, x, weight)), (1, 2, 3)
    )


@grouped(
    ("c", "k"), pairs([*range(1, 10), 12, 15, 16, 17, 24, 31, 32, 33], (1, 2, 3, 4, 5, 8, 9, 16, 17, 32))
)
def test_gradient_to_weight_of_dense_pixels(c, k, isa, rng):
    """Every remainder of pixels; one gradient alone; an infinity meets its own channel only."""
    for n, h, w in ((1, 1, 1), (1, 2, 3), (2, 7, 11), (3, 13, 17)):
        x, weight, bias = random_arrays(rng, "float32", (n, c, h, w), (k, c, 1, 1))
        x = in_layout(x, "channels_last")
        dy = in_layout(kernels.conv2d(x, weight, bias), "channels_last")
        _, dw, db = kernels.conv2d_backward(dy, x, weight)
        double = [a.astype(np.float64) for a in (dy, x)]
        limit = tolerance("float32", n * h * w, c + 1)  # a sum over pixels of dy x, and dy is at most c + 1
        expected = np.einsum("nkhw,nchw->kc", *double)
        np.testing.assert_allclose(dw[:, :, 0, 0], expected, rtol=0, atol=limit)
        np.testing.assert_allclose(db, double[0].sum((0, 2, 3)), rtol=0, atol=limit)
        alone = kernels.conv2d_backward(dy, x, weight, need_dx=False, need_dw=False)[2]
        np.testing.assert_array_equal(alone, db)
    x[1, c - 1, 4, 4] = np.inf
    dw = kernels.conv2d_backward(dy, x, weight)[1]
    assert not np.isfinite(dw[:, c - 1]).any()
    assert np.isfinite(dw[:, : c - 1]).all()
