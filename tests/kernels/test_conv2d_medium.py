"""Convolutions of bfloat16: `set_float32_matmul_precision("medium")`, on raw arrays."""

from functools import partial

import numpy as np
import pytest
import ranvier as rv
import ranvier._core as _core
from ranvier import kernels
from reference import conv2d as reference
from reference import winograd
from support.bfloat16 import bfloat16, directly, medium, needs_bfloat16  # noqa: F401
from support.grouped import grouped
from support.layouts import in_layout
from support.threads import same_bits

# n, c, h, w, k, r, stride, padding, groups
SHAPES = {
    "one image": (1, 16, 9, 11, 16, 3, 1, 1, 1),
    "an odd number of images": (3, 32, 8, 8, 48, 3, 1, 1, 1),
    "ragged outputs": (2, 20, 7, 9, 37, 3, 1, 0, 1),
    "stride 2": (4, 18, 12, 13, 20, 3, 2, 1, 1),
    "one tap": (4, 64, 6, 6, 96, 1, 1, 0, 1),
    "one tap, stride 2": (4, 64, 7, 7, 33, 1, 2, 0, 1),
    "groups": (2, 64, 9, 9, 64, 3, 1, 1, 2),
    "groups of 16": (2, 64, 20, 20, 64, 3, 1, 1, 4),
    "large taps": (2, 16, 15, 15, 17, 5, 1, 2, 1),
    "many channels": (2, 1024, 3, 3, 64, 3, 1, 1, 1),
    "many pixels": (5, 32, 31, 33, 32, 3, 1, 1, 1),
}


def arrays(rng, n, c, h, w, k, r, stride, padding, groups):
    shapes = (n, c, h, w), (k, c // groups, r, r), (k,)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


last = partial(in_layout, layout="channels_last")


def check(got, function, a, b, products, rounds=True):
    """Within the roundings of float32 of the sum of rounded factors, and within 2^-7 of the exact one."""
    exact, absolute = (
        function(kind(a.astype(float)), kind(b.astype(float))) for kind in (np.positive, np.abs)
    )
    rounded = function(bfloat16(a), bfloat16(b)) if rounds else exact
    sums = (products + 2) * 2.0**-23 * (1 + 2.0**-7) * absolute
    assert (np.abs(got - rounded) <= sums).all()
    assert (np.abs(got - exact) <= sums + (2.0**-7 + 2.0**-16) * absolute).all()
    if rounds:
        assert np.abs(got - exact).max() > 4 * np.abs(got - rounded).max()


@needs_bfloat16
@pytest.mark.parametrize("layout", ["first", "last"])
@grouped("name", SHAPES)
def test_forward_and_gradients(name, layout, medium, directly, rng):  # noqa: F811
    shape = SHAPES[name]
    (n, c, _, _, k, r, stride, padding, groups) = shape
    x, w, _ = arrays(rng, *shape)
    settings = {"stride": stride, "padding": padding, "groups": groups}
    stored = last if layout == "last" else np.ascontiguousarray
    y = kernels.conv2d(stored(x), w, **settings)
    rounds = (
        r > 1 or stride == 1 or _core.bfloat16() == 1
    )  # AMX leaves these 1x1 sums, which are short, in float32
    check(y, lambda x, w: reference.conv2d(x, w, **settings), x, w, c // groups * r * r, rounds)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    dx, dw, db = kernels.conv2d_backward(stored(dy), stored(x), w, **settings)
    back = reference.conv2d_backward
    check(
        dx,
        lambda d, w: back(d, x.astype(float), w, **settings)[0],
        dy,
        w,
        k // groups * r * r,
        k % 2 == 0 and rounds,
    )
    pixels = n * y.shape[2] * y.shape[3]
    check(dw, lambda d, x: back(d, x, w.astype(float), **settings)[1], dy, x, pixels, n > 1)
    np.testing.assert_allclose(db, dy.sum((0, 2, 3), np.float64), rtol=0, atol=pixels * 2.0**-22)


@needs_bfloat16
@grouped(
    "shape",
    [(2, 48, 14, 14, 32), (1, 64, 9, 11, 48), (3, 50, 16, 13, 70), (8, 128, 7, 7, 256), (2, 32, 16, 15, 32)],
)
def test_winograd(shape, medium, threads, rng):  # noqa: F811
    """Its transformed factors are rounded: an error of 2^-7 of the terms that its sums have."""
    n, c, h, w, k = shape
    x, weight, bias = arrays(rng, n, c, h, w, k, 3, 1, 1, 1)
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


GRADIENTS = [  # n, c, h, w, k, padding: large enough for the cost models
    (6, 64, 15, 14, 64, (1, 1)),
    (9, 33, 17, 16, 48, (0, 1)),
    (8, 21, 21, 19, 96, (1, 0)),
    (18, 130, 9, 12, 34, (2, 1)),
    (1, 64, 40, 41, 48, (1, 3)),
    (1, 128, 36, 35, 128, (1, 1)),
]


def gradient_case(rng, n, c, h, w, k, padding):
    x, weight, _ = arrays(rng, n, c, h, w, k, 3, 1, 1, 1)
    p, q = (size + 2 * pad - 2 for size, pad in zip((h, w), padding, strict=True))
    return x, weight, rng.standard_normal((n, k, p, q)).astype(np.float32)


def check_weight_gradient(dw, db, x, dy, padding):
    """Within the roundings of float32 of the sums of rounded transformed factors."""
    exact = winograd.weight_gradient(x.astype(float), dy.astype(float), padding)
    terms = winograd.weight_magnitude(x.astype(float), dy.astype(float), padding)
    rounded = winograd.weight_gradient(x, dy, padding, bfloat16)
    sums = (dy[:, 0].size / 4 + 20) * 2.0**-23 * (1 + 2.0**-7) * terms
    assert (np.abs(dw - rounded) <= sums).all()
    assert (np.abs(dw - exact) <= 2.0**-7 * (1 + 2.0**-6) * terms).all()
    np.testing.assert_allclose(db, dy.sum((0, 2, 3), np.float64), rtol=0, atol=dy[:, 0].size * 2.0**-22)


@needs_bfloat16
@grouped("shape", GRADIENTS)
def test_weight_gradient_by_winograd(shape, medium, threads, rng):  # noqa: F811
    padding = shape[-1]
    x, weight, dy = gradient_case(rng, *shape)
    run = lambda: kernels.conv2d_backward(dy, last(x), weight, padding=padding, need_dx=False)  # noqa: E731
    same_bits(threads, run, (1, 2, 3, 5))
    _, dw, db = run()
    check_weight_gradient(dw, db, x, dy, padding)
    _, exact, _ = reference.conv2d_backward(*(a.astype(float) for a in (dy, x, weight)), padding=padding)
    found = winograd.weight_gradient(x.astype(float), dy.astype(float), padding)
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-10)


@needs_bfloat16
@grouped("shape", GRADIENTS)
def test_gradients_at_maxima_by_winograd(shape, medium, threads, rng):  # noqa: F811
    """Odd sizes, padding, parts of vectors, bands of an image; a ReLU's mask with NaN; offsets beyond."""
    padding = shape[-1]
    x, weight, dz = gradient_case(rng, *shape)
    dy = rng.standard_normal((*dz.shape[:2], *(size // 2 for size in dz.shape[2:]))).astype(np.float32)
    where = rng.integers(0, 5, dy.shape).astype(np.uint8)
    saved = rng.standard_normal(x.shape).astype(np.float32)
    saved[0, :, 0, 0] = np.nan
    settings = {"padding": padding, "window": 2}
    run = lambda **more: _core.conv2d_pool_backward(  # noqa: E731
        last(dy), last(where), last(x), weight, **settings, **more
    )
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
    if shape != (1, 64, 40, 41, 48, (1, 3)):  # many tiles of few channels: float32
        assert np.abs(dx - exact).max() > 2.0**-14 * np.abs(exact).max()  # it is rounded
    assert np.square(dx - exact).mean() < 2.0**-15 * np.square(exact).mean()


@needs_bfloat16
def test_weights_of_any_strides(medium, directly, rng):  # noqa: F811
    x, w, bias = arrays(rng, *SHAPES["ragged outputs"])
    w = np.ascontiguousarray(w[..., :2])
    strided = np.zeros((w.shape[1], w.shape[0], 2 * w.shape[3], w.shape[2]), np.float32)
    strided = strided.transpose(1, 0, 3, 2)[..., ::2]
    strided[:] = w
    expected = kernels.conv2d(x, w, bias)
    np.testing.assert_array_equal(kernels.conv2d(x, strided, bias), expected)
    check(expected - bias[:, None, None], reference.conv2d, x, w, 20 * 6 + 1)
    dy = rng.standard_normal((*expected.shape[:1], 36, *expected.shape[2:])).astype(np.float32)
    w, strided = w[:36], strided[:36]
    a, b = (kernels.conv2d_backward(dy, x, w, need_dw=False, need_db=False)[0] for w in (w, strided))
    np.testing.assert_array_equal(a, b)


@needs_bfloat16
def test_threads_and_images_alone(medium, threads, rng):  # noqa: F811
    for name in ("many pixels", "an odd number of images", "groups", "many channels"):
        (_, _, _, _, _, _, stride, padding, groups) = SHAPES[name]
        x, w, bias = arrays(rng, *SHAPES[name])
        settings = {"stride": stride, "padding": padding, "groups": groups}
        y = kernels.conv2d(x, w, bias, **settings)
        dy = rng.standard_normal(y.shape).astype(np.float32)
        run = lambda: (  # noqa: E731
            kernels.conv2d(x, w, bias, **settings),  # noqa: B023
            *kernels.conv2d_backward(dy, x, w, **settings),  # noqa: B023
        )
        same_bits(threads, run)
        alone = kernels.conv2d(x[1:2], w, bias, **settings)
        np.testing.assert_array_equal(alone, y[1:2])


@needs_bfloat16
def test_transposed(medium, rng):  # noqa: F811
    x = rng.standard_normal((2, 32, 6, 7)).astype(np.float32)
    w = rng.standard_normal((32, 16, 3, 3)).astype(np.float32)
    y = kernels.conv_transpose2d(x, w, stride=2)
    like = np.zeros((2, 16, *y.shape[2:]))
    back = lambda x, w: reference.conv2d_backward(x, like, w, stride=2)[0]  # noqa: E731
    check(y, back, x, w, 32 * 9)
