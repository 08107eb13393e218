"""Winograd's algorithm of conv2d: where it is chosen, every edge of its tiles and blocks.

Results and gradients are compared with the direct sum of NumPy in float64, within the bound of an analysis of
Winograd's roundings (`winograd.roundings` of the terms in `winograd.magnitude`). That the algorithm was
chosen shows in the bits: they are not those of the same call with `set_winograd(False)`. A test with the
fixture `isa` runs at each ISA level (instruction set).
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import kernels
from reference import conv2d as reference, winograd
from support import convolution
from support.grouped import grouped  # parametrize, with many cases a test
from support.python import ended
from support.refused import refused
from support.threads import same_bits
from support.tolerance import rounding

RESNET = [
    (8, 64, 56),
    (8, 128, 28),
    (8, 256, 14),
    (8, 512, 7),
    (128, 64, 32),
]  # images, channels, pixels a side
IMPORT = "import ranvier as rv; print(rv.get_winograd())"


@pytest.fixture(autouse=True)
def allowed():
    before = rv.get_winograd()
    rv.set_winograd(True)
    yield
    rv.set_winograd(before)


def random_arrays(rng, shape, k, dtype="float32"):
    """x of this shape (n, c, h, w), weights (k, c, 3, 3) and a bias, from -1 to 1."""
    return convolution.random_arrays(rng, dtype, shape, (k, shape[1], 3, 3))


def directly(function, *arguments, **settings):
    """The call with the direct sum."""
    rv.set_winograd(False)
    try:
        return function(*arguments, **settings)
    finally:
        rv.set_winograd(True)


def both(function, *arguments, **settings):
    """The result with Winograd allowed, and that of the direct sum. Equal bits: Winograd was not chosen."""
    return function(*arguments, **settings), directly(function, *arguments, **settings)


def gradient(dy, x, w, padding=0):
    """dx alone."""
    return kernels.conv2d_backward(dy, x, w, padding=padding, need_dw=False, need_db=False)[0]


def bound(x, w, padding):
    """The largest error that the analysis allows each element: so many roundings of the terms of Winograd's
    sums."""
    terms = winograd.magnitude(x.astype(float), w.astype(float), padding) + 1  # the bias, at most 1
    return rounding(np.float32, winograd.roundings(x.shape[1]) + 1) * terms


def check(isas, shape, k, padding=(1, 1)):
    """Compares the result and the gradient of x, of this shape, with float64 at every ISA level.

    Returns for each level two bools: whether Winograd was chosen for the result, and for the gradient.
    """
    x, w, bias = arrays = random_arrays(np.random.default_rng(2), shape, k)
    double = [a.astype(float) for a in arrays]
    y = reference.conv2d(*double, padding=padding)
    dy = np.random.default_rng(1).uniform(-1, 1, y.shape).astype("float32")
    dx = reference.conv2d_backward(dy.astype(float), *double[:2], padding=padding)[0]
    # the gradient of x is the convolution of dy with the turned weights and a padding of 2 - padding
    flipped = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    rows, columns = (max(p - 2, 0) for p in padding)  # at each edge of dy, whose windows have only padding
    seen = dy[:, :, rows : dy.shape[2] - rows, columns : dy.shape[3] - columns]
    limits = bound(x, w, padding), bound(seen, flipped, tuple(max(2 - p, 0) for p in padding))
    chosen = []
    for isa in isas:
        runs = both(kernels.conv2d, x, w, bias, padding=padding), both(gradient, dy, x, w, padding)
        for (result, direct), exact, limit in zip(runs, (y, dx), limits, strict=True):
            assert (np.abs(result - exact) <= limit).all(), (isa, shape, k, padding)
            chosen.append(not np.array_equal(result, direct))
    return chosen


@pytest.mark.parametrize(("n", "channels", "size"), RESNET)
def test_resnet_s_layers_are_chosen(n, channels, size, rng):
    x, w, _ = random_arrays(rng, (n, channels, size, size), channels)
    y, direct = both(kernels.conv2d, x, w, padding=1)
    assert not np.array_equal(y, direct)
    dx, direct_dx = both(gradient, y, x, w, 1)
    assert not np.array_equal(dx, direct_dx)


@pytest.mark.parametrize(
    ("settings", "taps", "dtype"),
    [
        ({"stride": 2}, 3, "float32"),
        ({"stride": (1, 2)}, 3, "float32"),
        ({"dilation": 2}, 3, "float32"),
        ({"groups": 2}, 3, "float32"),
        ({}, 2, "float32"),
        ({}, 3, "float64"),
    ],
)
def test_other_convolutions_are_not(settings, taps, dtype, rng):
    x, w, bias = random_arrays(rng, (4, 64, 16, 16), 64, dtype)
    w = w[:, : 64 // settings.get("groups", 1), :taps, :taps]
    y, direct = both(kernels.conv2d, x, w, bias, **settings)
    np.testing.assert_array_equal(y, direct)


def test_nor_are_few_channels_or_pixels(rng):
    for shape, k in (((8, 3, 32, 32), 64), ((8, 64, 32, 32), 3), ((8, 4, 32, 32), 8), ((1, 256, 2, 2), 256)):
        x, w, bias = random_arrays(rng, shape, k)
        np.testing.assert_array_equal(*both(kernels.conv2d, x, w, bias, padding=1))


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 0), (0, 3), (5, 2)])
@grouped("rows", range(1, 10))
def test_every_height_and_width(rows, padding, isas):
    """Whole tiles, and those cut at the right, below and at both. Batches make small images enough work."""
    for columns in range(1, 10) if padding == (1, 1) else (1, 2, 3, 5, 8):
        height, width = rows + 2 * padding[0] - 2, columns + 2 * padding[1] - 2
        if height > 0 and width > 0:
            chosen = check(isas, (10 + 100 // (height * width), 48, rows, columns), 64, padding)
            assert all(chosen) or padding != (1, 1) or rows < 4 or columns < 4


@pytest.mark.parametrize(
    ("c", "k"), [(15, 32), (16, 31), (17, 33), (24, 47), (31, 49), (33, 16), (65, 17), (128, 32)]
)
def test_channels(c, k, isas):
    """Around the widths of vectors and panels of each level; and powers of two, whose strides are padded."""
    assert all(check(isas, (3, c, 15, 18), k))


@pytest.mark.parametrize("images", [1, 2, 3, 5, 9])
def test_blocks(images, isas):
    """Around the blocks of tiles that a thread works on at a time."""
    assert all(check(isas, (images, 32, 15, 13), 40))


def test_strided_bias_and_its_absence(isa, rng):
    x, w, bias = random_arrays(rng, (4, 32, 8, 8), 40)
    y = kernels.conv2d(x, w, bias, padding=1)
    np.testing.assert_array_equal(kernels.conv2d(x, w, np.repeat(bias, 2)[::2], padding=1), y)
    np.testing.assert_array_equal(kernels.conv2d(x, w, padding=1), kernels.conv2d(x, w, 0 * bias, padding=1))


def test_transposed_convolution(isa, rng):
    x, w, bias = random_arrays(rng, (4, 33, 9, 8), 40)
    w = w.transpose(1, 0, 2, 3).copy()  # (inputs, outputs, 3, 3)
    y, direct = both(kernels.conv_transpose2d, x, w, bias, padding=1)
    assert not np.array_equal(y, direct)
    flipped = w.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1]
    exact = reference.conv2d(*(a.astype(float) for a in (x, flipped, bias)), padding=1)
    assert (np.abs(y - exact) <= bound(x, flipped, (1, 1))).all()


@pytest.mark.parametrize(("c", "size", "k"), [(256, 4, 272), (400, 5, 180), (290, 5, 304)])
def test_one_image_and_many(c, size, k, isa, threads, rng):
    """For one image each panel of large weights is transformed just before its products: the same bits."""
    x, w, bias = random_arrays(rng, (40, c, size, size + 1), k)
    every, direct = both(kernels.conv2d, x, w, bias, padding=1)
    assert not np.array_equal(every, direct)

    def run():
        y = kernels.conv2d(x[:1], w, bias, padding=1)
        np.testing.assert_array_equal(y, every[:1])
        return y, gradient(y, x[:1], w, 1)

    same_bits(threads, run, (1, 2, 3, 4, 8))


@pytest.mark.parametrize(("shape", "k"), [((5, 24, 13, 12), 40), ((1, 64, 8, 8), 256)])
def test_threads_change_no_bit(shape, k, isa, threads, rng):
    """Many tiles, of which each thread takes some; few, of which threads take the channels."""
    x, w, bias = random_arrays(rng, shape, k)

    def run():
        y, direct = both(kernels.conv2d, x, w, bias, padding=1)
        assert not np.array_equal(y, direct)
        return y, gradient(y, x, w, 1)

    same_bits(threads, run, (1, 2, 3, 4, 7, 16))


def test_what_is_not_finite_reaches_its_tiles_only(isa, rng):
    """A tile t has the outputs 2t and 2t + 1 along an axis, which are made of the inputs 2t - 1 to 2t + 2
    with padding 1: input 5 reaches tiles 2 and 3, outputs 4 to 7. All other bits are those without it."""
    x, w, bias = random_arrays(rng, (4, 32, 12, 12), 32)
    clean = kernels.conv2d(x, w, bias, padding=1)
    for value in (np.inf, -np.inf, np.nan):
        x[1, 7, 5, 5] = value
        y, direct = both(kernels.conv2d, x, w, bias, padding=1)
        far = np.ones((12, 12), bool)
        far[4:8, 4:8] = False
        np.testing.assert_array_equal(y[1][:, far], clean[1][:, far])
        np.testing.assert_array_equal(y[[0, 2, 3]], clean[[0, 2, 3]])
        assert not np.isfinite(y[~np.isfinite(direct)]).any()


@pytest.mark.parametrize("channels", [32, 64, 256])
def test_error_is_at_most_twice_the_direct_sum_s(channels, isa, rng):
    x, w, bias = random_arrays(rng, (2, channels, 14, 14), 64)
    exact = reference.conv2d(*(a.astype(float) for a in (x, w, bias)), padding=1)
    errors = [np.sqrt(np.mean((y - exact) ** 2)) for y in both(kernels.conv2d, x, w, bias, padding=1)]
    assert errors[0] <= 2 * errors[1]


def test_reference():
    """Winograd's sums are the convolution, where nothing is rounded."""
    rng = np.random.default_rng(0)
    for h, w, padding in ((3, 3, (0, 0)), (6, 7, (1, 0)), (5, 4, (2, 3))):
        x, weight = rng.integers(-9, 9, (2, 3, h, w)) * 1.0, rng.integers(-9, 9, (4, 3, 3, 3)) * 1.0
        found = winograd.conv2d(x, weight, padding)
        np.testing.assert_array_equal(found, reference.conv2d(x, weight, padding=padding))


def run_import(setting):
    return ended("-c", IMPORT, RANVIER_WINOGRAD=setting)


@pytest.mark.slow
def test_switch():
    assert rv.get_winograd()
    rv.set_winograd(False)
    assert not rv.get_winograd()
    for wrong in ("no", 2, 1, 1.0, None):
        refused(TypeError, "[set_winograd] got enabled", rv.set_winograd, wrong)
    assert [run_import(s).stdout.strip() for s in ("0", "1", "")] == ["False", "True", "True"]
    assert "[import] got RANVIER_WINOGRAD=yes; expected 0 or 1" in run_import("yes").stderr
