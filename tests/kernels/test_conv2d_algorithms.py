"""What holds for every algorithm of conv2d: values, layouts, threads, needs, the ReLU, infinities."""

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import conv2d as reference
from support.convolution import NAMES, check, random_arrays
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.threads import same_bits

# Where each algorithm is chosen: n, c, h, w, k, r, s, groups; the geometry.
CHOSEN = {
    "depthwise": ((2, 17, 9, 8, 34, 3, 3, 17), {"padding": 1}),
    "spread": ((2, 20, 9, 8, 24, 1, 1, 1), {"stride": 2}),
    "columns": ((1, 24, 5, 4, 40, 5, 5, 1), {"padding": 2}),
    "scattered": ((8, 6, 14, 14, 16, 5, 5, 1), {}),
    "winograd": ((2, 64, 14, 13, 64, 3, 3, 1), {"padding": 1}),
    "pixels": ((2, 3, 9, 8, 4, 1, 1, 1), {}),
    "pointwise": ((2, 96, 7, 8, 40, 1, 1, 1), {}),
    "planes": ((2, 3, 20, 17, 6, 3, 3, 1), {"padding": 1}),
    "dots": ((2, 64, 7, 9, 2, 3, 3, 1), {"stride": 2}),
    "grouped": ((2, 20, 9, 8, 20, 3, 3, 5), {"padding": 1}),
    "exchanged": ((2, 64, 7, 9, 3, 3, 3, 1), {"padding": 1}),
}
# The others add in the order of the algorithm after them: nothing in their results shows which one ran.
OTHER_BITS = {"depthwise", "columns", "scattered", "winograd", "planes", "dots", "exchanged"}
MANY = 37  # images
SHAPES = [
    *CHOSEN.values(),
    ((2, 3, 6, 7, 6, 3, 2, 1), {}),  # direct
    ((2, 9, 6, 7, 6, 3, 2, 3), {}),
    ((2, 17, 6, 19, 17, 3, 3, 17), {"padding": 1}),  # vectors of channels
    # few pixels: a product and sums of its columns; pixels that no tap meets
    ((1, 103, 7, 5, 60, 3, 3, 1), {"stride": 2, "padding": 1}),
    ((1, 17, 6, 9, 64, 2, 3, 1), {"stride": (1, 2)}),
    ((2, 16, 9, 8, 40, 2, 1, 1), {"stride": (4, 3), "padding": (1, 0)}),
    ((1, 24, 7, 7, 50, 3, 2, 1), {"stride": 2, "padding": 2, "dilation": (2, 3)}),
    ((2, 33, 4, 4, 129, 4, 4, 1), {"stride": 2, "padding": 1}),
    ((1, 35, 4, 4, 64, 3, 3, 1), {"padding": 1}),
    ((1, 16, 3, 6, 70, 2, 3, 1), {"padding": (0, 2)}),
    ((1, 18, 6, 5, 66, 3, 2, 1), {"dilation": (2, 1)}),
    ((2, 17, 8, 7, 65, 5, 5, 1), {"padding": 2}),
    # one tap: products of matrices, or just not
    *(((2, c, h, 8, k, 1, 1, 1), {}) for c, k, h in ((16, 16, 4), (15, 40, 4), (95, 33, 7), (96, 31, 5))),
    *(((2, c, h, 8, k, 1, 1, 1), {}) for c, k, h in ((97, 35, 4), (256, 17, 5), (512, 40, 2), (520, 516, 1))),
    # one tap with a stride: pixels that it does not meet, also after the last one that it meets
    *(((2, c, 7, 10, k, 1, 1, 1), {"stride": 2}) for c, k in ((2, 3), (17, 33), (512, 16))),
    *(((2, c, 7, 10, k, 1, 1, 1), {"stride": (4, 2)}) for c, k in ((16, 16), (260, 20))),
    ((2, 34, 7, 10, 4, 1, 1, 2), {"stride": (1, 3)}),
    # gradients to few channels: rows of taps that fill vectors and not, one image and several
    *(((n, 6, 14, 14, 16, 5, 5, 1), {}) for n in (1, 5)),
    ((5, 6, 9, 8, 16, 5, 4, 1), {"padding": (0, 1)}),
    ((5, 5, 11, 10, 20, 3, 5, 1), {"dilation": (2, 1)}),
    ((5, 12, 9, 10, 24, 3, 3, 1), {"padding": 1}),
    ((5, 8, 16, 15, 16, 3, 3, 1), {"stride": 2, "padding": 1}),
    ((5, 8, 14, 17, 24, 3, 3, 1), {"stride": (2, 3)}),
    ((1, 3, 6, 6, 40, 5, 5, 1), {}),
    # planes in groups
    *(((3, c, 9, 19, k, 3, 3, g), {"padding": 1}) for c, k, g in ((16, 16, 2), (24, 12, 3), (9, 24, 3))),
    # weights larger than a cache: groups of panels are packed just before their tiles
    ((2, 256, 5, 6, 200, 3, 3, 1), {"stride": 2, "padding": 1}),
    ((2, 70, 5, 6, 210, 5, 5, 1), {"stride": 2, "padding": 2}),
    # large enough for several threads
    ((3, 17, 23, 21, 40, 3, 3, 1), {"padding": 1}),
    *(((MANY, c, 12, 13, k, 5, 3, 1), {"padding": 1}) for c, k in ((1, 6), (8, 4), (3, 12), (9, 1), (12, 3))),
    ((1, 37, 7, 7, 37, 3, 3, 37), {"padding": 1}),
    ((3, 33, 41, 30, 33, 3, 3, 33), {"padding": 1}),
    ((2, 3, 9, 9, 3, 3, 3, 3), {"padding": 1}),
]
every_shape = grouped(("shape", "geometry"), SHAPES)


def drawn(rng, shape, geometry, dtype="float32"):
    """x, w, bias and dy; the settings of the call."""
    settings = {**geometry, "groups": shape[7]}
    arrays = random_arrays(rng, dtype, *shape)
    y = kernels.conv2d(*arrays, **settings)
    return *arrays, rng.uniform(-1, 1, y.shape).astype(dtype), settings


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
    """Another computes what it would."""
    differ = False
    for _ in isas:
        *arrays, settings = drawn(rng, *CHOSEN[name])
        with_it = results(*arrays, settings)
        without(name, False)
        check(*arrays[:3], **settings)
        found = results(*arrays, settings)
        without(name, True)
        differ = differ or any((a != b).any() for a, b in zip(found, with_it, strict=True))
    assert differ == (name in OTHER_BITS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_shape
def test_values_and_bits(shape, geometry, dtype, isa, threads, rng):
    """Layouts, threads, and which gradients are asked for change no bit."""
    *arrays, settings = drawn(rng, shape, geometry, dtype)
    check(*arrays[:3], **settings)
    expected = results(*arrays, settings)
    same_bits(threads, lambda: results(*arrays, settings), (1, 2, 3, 7))
    # gradients to weight and bias of many dense pixels are added in another order than those of others
    count = 2 if shape[0] == MANY or shape == CHOSEN["pixels"][0] else 4
    for layout in LAYOUTS:
        given = [in_layout(a, layout) for a in arrays]
        for a, b in zip(results(*given, settings)[:count], expected[:count], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=layout)
        out = in_layout(np.zeros_like(expected[0]), layout)
        assert kernels.conv2d(*arrays[:3], **settings, out=out) is out
        np.testing.assert_array_equal(out, expected[0], err_msg=layout)
    x, w, _, dy = arrays
    for name, whole in zip(NAMES, expected[1:], strict=True):
        needs = {f"need_{other}": other == name for other in NAMES}
        parts = kernels.conv2d_backward(dy, x, w, **settings, **needs)
        assert [p is None for p in parts] == [other != name for other in NAMES]
        np.testing.assert_array_equal(parts[NAMES.index(name)], whole, err_msg=name)


@every_shape
def test_relu(shape, geometry, isa, rng):
    """NaN passes, to all outputs that meet it (with Winograd also to others of their tiles)."""
    x, w, bias, _, settings = drawn(rng, shape, geometry)
    for value in (x[0, 0, 0, 0], np.nan):
        x[1 % len(x), 0, 0, 0] = value
        y = kernels.conv2d(x, w, bias, **settings)
        found = kernels.conv2d(x, w, bias, **settings, activation="relu")
        np.testing.assert_array_equal(found, np.maximum(y, 0))
    assert np.isnan(y).any()


@every_shape
def test_infinities_reach_what_meets_them(shape, geometry, without, isa, rng):
    """Of an image, a weight and a gradient, one each: neither padding, nor what fills vectors and rows, nor
    another group, pixel or image is multiplied with it."""
    without("winograd", False)
    x, w, bias, dy, settings = drawn(rng, shape, geometry)
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
