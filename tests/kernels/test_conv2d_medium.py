"""Convolutions of float32 with `set_float32_matmul_precision("medium")`, whose factors are rounded to
bfloat16.

Results and gradients are compared with the reference in NumPy, in float64: once of rounded factors, within
the roundings of float32's sums, and once of exact factors, within the 2^-7 that the rounding of two factors
can change. With Winograd's algorithm it is the transformed factors that are rounded. The fixtures `medium`,
which sets the precision, and `directly`, without Winograd, are in support/bfloat16.py.
"""

from functools import partial

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from ranvier import kernels
from reference import conv2d as reference, winograd
from support.bfloat16 import bfloat16, directly, medium, needs_bfloat16  # noqa: F401
from support.convolution import conv
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import in_layout
from support.threads import same_bits

CASES = {
    "one image": conv(x=(1, 16, 9, 11), w=(16, 16, 3, 3), padding=1),
    "an odd number of images": conv(x=(3, 32, 8, 8), w=(48, 32, 3, 3), padding=1),
    "ragged outputs": conv(x=(2, 20, 7, 9), w=(37, 20, 3, 3)),
    "stride 2": conv(x=(4, 18, 12, 13), w=(20, 18, 3, 3), stride=2, padding=1),
    "one tap": conv(x=(4, 64, 6, 6), w=(96, 64, 1, 1)),
    "one tap, stride 2": conv(x=(4, 64, 7, 7), w=(33, 64, 1, 1), stride=2),
    "groups": conv(x=(2, 64, 9, 9), w=(64, 32, 3, 3), padding=1, groups=2),
    "groups of 16": conv(x=(2, 64, 20, 20), w=(64, 16, 3, 3), padding=1, groups=4),
    "large taps": conv(x=(2, 16, 15, 15), w=(17, 16, 5, 5), padding=2),
    "many channels": conv(x=(2, 1024, 3, 3), w=(64, 1024, 3, 3), padding=1),
    "many pixels": conv(x=(5, 32, 31, 33), w=(32, 32, 3, 3), padding=1),
}


def normal(rng, *shapes):
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


last = partial(in_layout, layout="channels_last")


def check(got, function, a, b, products, rounds=True):
    """got against function(a, b), sums of so many products. rounds: whether the kernel rounds the factors
    here; then the result is closer to the sums of rounded factors than to the exact ones."""
    exact = function(a.astype(float), b.astype(float))
    absolute = function(np.abs(a.astype(float)), np.abs(b.astype(float)))
    rounded = function(bfloat16(a), bfloat16(b)) if rounds else exact
    sums = (products + 2) * 2.0**-23 * (1 + 2.0**-7) * absolute
    assert (np.abs(got - rounded) <= sums).all()
    assert (np.abs(got - exact) <= sums + (2.0**-7 + 2.0**-16) * absolute).all()
    if rounds:
        assert np.abs(got - exact).max() > 4 * np.abs(got - rounded).max()


@needs_bfloat16
@pytest.mark.parametrize("layout", ["first", "last"])
@grouped("name", CASES)
def test_forward_and_gradients(name, layout, medium, directly, rng):  # noqa: F811
    """y, dx and dw by `check`, with how many products each of their sums has; db is a sum of dy alone, in
    float32."""
    x_shape, w_shape, settings = CASES[name]
    n, (k, channels, r, _), groups = x_shape[0], w_shape, settings.get("groups", 1)
    x, w = normal(rng, x_shape, w_shape)
    stored = last if layout == "last" else np.ascontiguousarray
    y = kernels.conv2d(stored(x), w, **settings)
    # AMX leaves the short sums of one tap with a stride in float32
    rounds = r > 1 or settings.get("stride", 1) == 1 or _core.bfloat16() == 1
    check(y, lambda x, w: reference.conv2d(x, w, **settings), x, w, channels * r * r, rounds)
    (dy,) = normal(rng, y.shape)
    dx, dw, db = kernels.conv2d_backward(stored(dy), stored(x), w, **settings)

    def gradient_of_x(dy, w):
        return reference.conv2d_backward(dy, x.astype(float), w, **settings)[0]

    def gradient_of_w(dy, x):
        return reference.conv2d_backward(dy, x, w.astype(float), **settings)[1]

    check(dx, gradient_of_x, dy, w, k // groups * r * r, k % 2 == 0 and rounds)
    pixels = n * y.shape[2] * y.shape[3]
    check(dw, gradient_of_w, dy, x, pixels, n > 1)
    np.testing.assert_allclose(db, dy.sum((0, 2, 3), np.float64), rtol=0, atol=pixels * 2.0**-22)


WINOGRAD = [  # the shape of x, and output channels
    *(((2, 48, 14, 14), 32), ((1, 64, 9, 11), 48), ((3, 50, 16, 13), 70), ((8, 128, 7, 7), 256)),
    ((2, 32, 16, 15), 32),
]


@needs_bfloat16
@grouped(("shape", "k"), WINOGRAD)
def test_winograd(shape, k, medium, threads, rng):  # noqa: F811
    """Its transformed factors are rounded: an error of 2^-7 of the terms that its sums have (`magnitude`),
    and in the mean less than 3 times that of the direct sum. An image has the bits that it has alone."""
    x, weight, bias = normal(rng, shape, (k, shape[1], 3, 3), (k,))
    same_bits(threads, lambda: kernels.conv2d(last(x), weight, bias, padding=1))
    y = kernels.conv2d(last(x), weight, bias, padding=1)
    exact = reference.conv2d(x.astype(float), weight.astype(float), bias.astype(float), padding=1)
    terms = winograd.magnitude(x.astype(float), weight.astype(float), (1, 1)) + np.abs(bias)[:, None, None]
    assert (np.abs(y - exact) <= 2.0**-7 * (1 + 2.0**-6) * terms).all()
    rv.set_winograd(False)
    direct = kernels.conv2d(last(x), weight, bias, padding=1)
    rv.set_winograd(True)
    assert np.array_equal(y, direct) == (_core.bfloat16() > 1)  # tiles take less time for the direct sum
    assert np.square(y - exact).mean() < 3 * np.square(direct - exact).mean()
    np.testing.assert_array_equal(kernels.conv2d(last(x[:1]), weight, bias, padding=1), y[:1])


GRADIENTS = [  # the shape of x, output channels, padding: large enough for the cost models
    ((6, 64, 15, 14), 64, (1, 1)),
    ((9, 33, 17, 16), 48, (0, 1)),
    ((8, 21, 21, 19), 96, (1, 0)),
    ((18, 130, 9, 12), 34, (2, 1)),
    ((1, 64, 40, 41), 48, (1, 3)),
    ((1, 128, 36, 35), 128, (1, 1)),
]
every_gradient = grouped(("shape", "k", "padding"), GRADIENTS)


def gradient_case(rng, shape, k, padding):
    """x, weight and dy."""
    n, c, *size = shape
    result = [extent + 2 * pad - 2 for extent, pad in zip(size, padding, strict=True)]
    return normal(rng, shape, (k, c, 3, 3), (n, k, *result))


def check_weight_gradient(dw, db, x, dy, padding):
    """Within the roundings of float32 of the sums of rounded transformed factors, and 2^-7 of the exact
    sums."""
    exact = winograd.weight_gradient(x.astype(float), dy.astype(float), padding)
    terms = winograd.weight_magnitude(x.astype(float), dy.astype(float), padding)
    rounded = winograd.weight_gradient(x, dy, padding, bfloat16)
    sums = (dy[:, 0].size / 4 + 20) * 2.0**-23 * (1 + 2.0**-7) * terms
    assert (np.abs(dw - rounded) <= sums).all()
    assert (np.abs(dw - exact) <= 2.0**-7 * (1 + 2.0**-6) * terms).all()
    np.testing.assert_allclose(db, dy.sum((0, 2, 3), np.float64), rtol=0, atol=dy[:, 0].size * 2.0**-22)


@needs_bfloat16
@every_gradient
def test_weight_gradient_by_winograd(shape, k, padding, medium, threads, rng):  # noqa: F811
    """The reference by Winograd's sums is that of the direct ones, too."""
    x, weight, dy = gradient_case(rng, shape, k, padding)
    run = partial(kernels.conv2d_backward, dy, last(x), weight, padding=padding, need_dx=False)
    same_bits(threads, run, (1, 2, 3, 5))
    _, dw, db = run()
    check_weight_gradient(dw, db, x, dy, padding)
    _, exact, _ = reference.conv2d_backward(*(a.astype(float) for a in (dy, x, weight)), padding=padding)
    found = winograd.weight_gradient(x.astype(float), dy.astype(float), padding)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-10)


@needs_bfloat16
@every_gradient
def test_gradients_at_maxima_by_winograd(shape, k, padding, medium, threads, rng):  # noqa: F811
    """conv2d_pool takes dy in place of dz, the convolution's gradient, which is zero but at the maxima.
    Odd sizes, padding, parts of vectors, bands of an image; a ReLU's result with NaN; offsets in no window
    (4)."""
    x, weight, dz = gradient_case(rng, shape, k, padding)
    dy, saved = normal(rng, (*dz.shape[:2], *(size // 2 for size in dz.shape[2:])), x.shape)
    where = rng.integers(0, 5, dy.shape).astype(np.uint8)
    saved[0, :, 0, 0] = np.nan
    settings = {"padding": padding, "window": 2}
    run = partial(_core.conv2d_pool_backward, last(dy), last(where), last(x), weight, **settings)
    same_bits(threads, lambda: run(saved=last(saved)), (1, 2, 3, 5))
    dx, dw, db = run()
    np.testing.assert_array_equal(run(saved=last(saved))[0], np.where(saved <= 0, 0, dx))
    for a, b in zip(_core.conv2d_pool_backward(dy, where, x, weight, **settings), (dx, dw, db), strict=True):
        np.testing.assert_array_equal(a, b)
    values = np.where(where[..., None] == np.arange(4), dy[..., None], 0).reshape(*dy.shape, 2, 2)
    dz[...] = 0
    dz[:, :, : 2 * dy.shape[2], : 2 * dy.shape[3]] = values.swapaxes(3, 4).reshape(
        *dy.shape[:2], 2 * dy.shape[2], 2 * dy.shape[3]
    )
    np.testing.assert_allclose(db, dy.sum((0, 2, 3), np.float64), rtol=0, atol=dy[:, 0].size * 2.0**-22)
    dy = np.where(where < 4, dy, 0)
    check_weight_gradient(dw, dz.sum((0, 2, 3), np.float64), x, dz, padding)
    exact = winograd.input_gradient(dz.astype(float), weight, x.shape[2:], padding)
    back = reference.conv2d_backward(*(a.astype(float) for a in (dz, x, weight)), padding=padding)
    np.testing.assert_allclose(exact, back[0], rtol=0, atol=1e-10)
    terms = winograd.input_magnitude(dz.astype(float), weight, x.shape[2:], padding)
    assert (np.abs(dx - exact) <= 2.0**-7 * (1 + 2.0**-6) * terms).all()
    if shape != (1, 64, 40, 41):  # many tiles of few channels: float32
        assert np.abs(dx - exact).max() > 2.0**-14 * np.abs(exact).max()  # it is rounded
    assert np.square(dx - exact).mean() < 2.0**-15 * np.square(exact).mean()


@needs_bfloat16
def test_weights_of_any_strides(medium, directly, rng):  # noqa: F811
    """The same bits from weights with gaps and another order of axes."""
    x, w, bias = normal(rng, *CASES["ragged outputs"][:2], (37,))
    w = np.ascontiguousarray(w[..., :2])
    strided = np.zeros((w.shape[1], w.shape[0], 2 * w.shape[3], w.shape[2]), np.float32)
    strided = strided.transpose(1, 0, 3, 2)[..., ::2]
    strided[:] = w
    expected = kernels.conv2d(x, w, bias)
    np.testing.assert_array_equal(kernels.conv2d(x, strided, bias), expected)
    check(expected - bias[:, None, None], reference.conv2d, x, w, 20 * 6 + 1)
    (dy,) = normal(rng, (len(x), 36, *expected.shape[2:]))
    w, strided = w[:36], strided[:36]
    a, b = (kernels.conv2d_backward(dy, x, w, need_dw=False, need_db=False)[0] for w in (w, strided))
    np.testing.assert_array_equal(a, b)


@needs_bfloat16
def test_threads_and_images_alone(medium, threads, rng):  # noqa: F811
    for name in ("many pixels", "an odd number of images", "groups", "many channels"):
        x_shape, w_shape, settings = CASES[name]
        x, w, bias = normal(rng, x_shape, w_shape, w_shape[:1])
        y = kernels.conv2d(x, w, bias, **settings)
        (dy,) = normal(rng, y.shape)
        same_bits(threads, partial(kernels.conv2d, x, w, bias, **settings))
        same_bits(threads, partial(kernels.conv2d_backward, dy, x, w, **settings))
        alone = kernels.conv2d(x[1:2], w, bias, **settings)
        np.testing.assert_array_equal(alone, y[1:2])


@needs_bfloat16
def test_transposed(medium, rng):  # noqa: F811
    """As the gradient of the convolution with the same weights."""
    x, w = normal(rng, (2, 32, 6, 7), (32, 16, 3, 3))
    y = kernels.conv_transpose2d(x, w, stride=2)
    like = np.zeros((2, 16, *y.shape[2:]))
    back = lambda x, w: reference.conv2d_backward(x, like, w, stride=2)[0]  # noqa: E731
    check(y, back, x, w, 32 * 9)
