"""The conv2d kernels on raw arrays: every level's own edges, layouts, out=, epilogue, partial sums."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ranvier import _core, kernels
from support.bits import same_bits
from support.convolution import check, random_arrays
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.strategies import dtypes, repeatable


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("k", [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 24, 25, 31, 32, 33, 40, 48, 49, 56, 65, 80])
def test_output_channels(k, dtype, isa, rng):
    """One, two and three vectors of each level, a half more, and one channel more and less."""
    check(*random_arrays(rng, dtype, 1, 3, 4, 5, k, 2, 2))


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(("k", "more"), [(17, 32), (24, 32), (40, 64), (48, 64), (72, 96), (80, 96)])
@grouped("width", range(1, 20))
def test_panels_of_any_width(width, k, more, groups, isa, rng):
    """A channel has the same bits whatever others a tile has: tiles of every height and width."""
    x, w, bias = random_arrays(rng, "float32", 2, 10 * groups, 2, width, more * groups, 2, 1, groups)
    few = np.arange(more * groups).reshape(groups, more)[:, :k].ravel()
    for options in ({}, {"activation": "relu"}, {"stride": 2, "padding": (1, 2)}):
        y = kernels.conv2d(x, w, bias, groups=groups, **options)
        np.testing.assert_array_equal(
            kernels.conv2d(x, w[few], bias[few], groups=groups, **options), y[:, few]
        )
    dw, db = kernels.conv2d_backward(y, x, w, groups=groups, stride=2, padding=(1, 2))[1:]
    found = kernels.conv2d_backward(
        np.ascontiguousarray(y[:, few]), x, w[few], groups=groups, stride=2, padding=(1, 2)
    )
    np.testing.assert_array_equal(found[1], dw[few])
    np.testing.assert_array_equal(found[2], db[few])
    check(x, w[few], bias[few], groups=groups)


@pytest.mark.parametrize("k", [6, 12, 16, 24])
@grouped("c", range(7, 34))
def test_rows_of_one_tap(c, k, isa, rng):
    """Gradients to the weight in tiles of consecutive channels: every number of them, to the last of x."""
    check(*random_arrays(rng, "float32", 2, c, 5, 4, k, 3, 3), padding=1)
    check(*random_arrays(rng, "float32", 1, 2 * c, 5, 6, 2 * k, 2, 3, 2), stride=2, padding=1, groups=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("c", [1, 2, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 29, 33])
def test_input_channels(c, dtype, isa, rng):
    """The rows of a tile of the weight gradient: a tap's channels or, where they are few, several taps'."""
    check(*random_arrays(rng, dtype, 1, c, 4, 5, 3, 3, 2), padding=1)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped("k", range(1, 10))
@pytest.mark.parametrize("c", [4, 8, 15, 16, 17, 33])
def test_few_output_channels(c, k, dtype, isa, rng):
    """Sums over vectors of input channels, whole and in part: forward and, c and k exchanged, to x."""
    check(*random_arrays(rng, dtype, 1, c, 4, 5, k, 2, 3), padding=1)
    check(*random_arrays(rng, dtype, 1, k, 5, 6, c, 2, 2), stride=2)


@pytest.mark.parametrize("k", [1, 3, 8])
@pytest.mark.parametrize(("padding", "dilation"), [(0, 1), (1, 2), ((2, 1), 1), (3, 1)])
def test_few_output_channels_weight(k, padding, dilation, isa, rng):
    """The roles of x and dy exchanged, in parts and groups; more padding than taps reach is left as it is."""
    check(*random_arrays(rng, "float32", 2, 33, 13, 64, k, 3, 2), padding=padding, dilation=dilation)
    arrays = random_arrays(rng, "float64", 2, 2 * 17, 5, 9, 2 * k, 3, 2, groups=2)
    check(*arrays, padding=padding, dilation=dilation, groups=2)


@grouped("width", range(1, 27))
def test_few_output_channels_pixels(width, isa, rng):
    """Tiles of every height, also where weights and images are strided and in groups."""
    x, w, bias = random_arrays(rng, "float32", 1, 40, 2, width, 3, 2, 1)
    check(x, w, bias)
    check(x[:, ::-1], w[:, ::-1], bias[::-1])
    check(*random_arrays(rng, "float32", 1, 40, 2, width, 4, 2, 1, groups=2), groups=2)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("groups", [2, 3, 4, 5, 9, 17])
@grouped(
    ("cg", "kg"),
    [(1, 2), (1, 8), (1, 9), (2, 1), (2, 2), (1, 3), (3, 3), (2, 4), (4, 2), (4, 4), (5, 7), (8, 8), (4, 1)],
)
def test_small_groups(cg, kg, groups, dtype, isa, rng):
    """Vectors of output channels that span groups: whole ones, parts, and groups that do not fill them."""
    arrays = random_arrays(rng, dtype, 2, cg * groups, 4, 5, kg * groups, 3, 2, groups)
    check(*arrays, padding=1, groups=groups)
    x, w, bias = arrays
    check(x[:, ::-1], w[:, :, ::-1], bias[::-1], stride=2, groups=groups)


@grouped("width", range(1, 27))
def test_small_groups_pixels(width, isa, rng):
    """Tiles of every height; a pixel beside another's NaN does not see it."""
    x, w, bias = random_arrays(rng, "float32", 1, 12, 1, width, 12, 1, 1, 3)
    check(x, w, bias, groups=3)
    y = kernels.conv2d(x, w, bias, groups=3)
    x[:, 4:8, :, 0] = np.nan
    z = kernels.conv2d(x, w, bias, groups=3, activation="relu")
    assert np.isnan(z[:, 4:8, :, 0]).all()
    np.testing.assert_array_equal(z[:, :4], np.maximum(y[:, :4], 0))
    np.testing.assert_array_equal(z[..., 1:], np.maximum(y[..., 1:], 0))


@pytest.mark.parametrize(
    ("shape", "k"), [((1, 6, 512, 520), 16), ((2, 3, 260, 260), 48), ((1, 2, 400, 400), 40)]
)
def test_large_results(shape, k, isa, rng):
    """Past the caches where a panel's part of a pixel is whole cache lines; else as smaller ones."""
    x, w, bias = random_arrays(rng, "float32", *shape, k, 1, 2)
    y = kernels.conv2d(x, w, bias)
    assert y.nbytes >= 16 << 20
    rows = kernels.conv2d(x[:, :, :9], w, bias)
    np.testing.assert_array_equal(y[:, :, :9], rows)
    check(x[:, :, -3:], w, bias)
    np.testing.assert_array_equal(kernels.conv2d(x, w, bias, activation="relu"), np.maximum(y, 0))


FEW_PIXELS = [  # c, h, w, k, taps, geometry
    (103, 7, 5, 60, (3, 3), {"stride": 2, "padding": 1}),
    (17, 6, 9, 64, (2, 3), {"stride": (1, 2)}),
    (16, 9, 8, 40, (2, 1), {"stride": (4, 3), "padding": (1, 0)}),
    (24, 7, 7, 50, (3, 2), {"stride": 2, "padding": 2, "dilation": (2, 3)}),
    (33, 4, 4, 129, (4, 4), {"stride": 2, "padding": 1}),
    (35, 4, 4, 64, (3, 3), {"padding": 1}),
    (16, 3, 6, 70, (2, 3), {"padding": (0, 2)}),
    (18, 6, 5, 66, (3, 2), {"dilation": (2, 1)}),
    (17, 8, 7, 65, (5, 5), {"padding": 2}),
]


@pytest.mark.parametrize(("c", "h", "w", "k", "taps", "geometry"), FEW_PIXELS)
def test_few_pixels(c, h, w, k, taps, geometry, isa, threads, rng):
    """To the input: a product and sums of its columns; pixels that no tap meets; weights of any layout."""
    x, weight, bias = random_arrays(rng, "float32", 1, c, h, w, k, *taps)
    check(x, weight, bias, **geometry)
    check(np.repeat(x, 2, 0), weight, bias, **geometry)
    dy = kernels.conv2d(x, weight, **geometry)
    same_bits(threads, lambda: kernels.conv2d_backward(dy, x, weight, **geometry)[0], (1, 2, 3, 7))
    dx = kernels.conv2d_backward(dy, x, weight, **geometry)[0]
    for layout in LAYOUTS:
        again = kernels.conv2d_backward(*(in_layout(a, layout) for a in (dy, x, weight)), **geometry)[0]
        np.testing.assert_array_equal(again, dx, err_msg=layout)


def test_few_pixels_with_infinities(isa):
    """They reach the pixels of their own taps; the padding is not multiplied."""
    w = np.ones((64, 16, 3, 3), np.float32)
    w[:, :, 0, 0] = np.inf
    dy = np.ones((1, 64, 3, 3), np.float32)
    dx, _, _ = kernels.conv2d_backward(dy, np.ones((1, 16, 5, 5), np.float32), w, stride=2, padding=1)
    expected = np.zeros((5, 5), bool)
    expected[1::2, 1::2] = True
    np.testing.assert_array_equal(np.isinf(dx[0, 7]), expected)
    assert not np.isnan(dx).any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped(
    ("c", "k", "height"),
    [
        (16, 16, 4),
        (15, 40, 4),
        (95, 33, 7),
        (96, 31, 5),
        (97, 35, 4),
        (256, 17, 5),
        (512, 40, 2),
        (520, 516, 1),
    ],
)
def test_pointwise(c, k, height, dtype, isa, threads, rng):
    """Products of matrices, or just not; of images that are joined, apart and copied."""
    x, w, bias = random_arrays(rng, dtype, 2, c, height, 8, k, 1, 1)
    check(x, w, bias)
    dy = rng.uniform(-1, 1, (2, k, height, 8)).astype(dtype)
    gradients = kernels.conv2d_backward(dy, x, w)
    for layout in LAYOUTS:
        again = kernels.conv2d_backward(*(in_layout(a, layout) for a in (dy, x, w)))
        for a, b in zip(again, gradients, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=layout)
    same_bits(threads, lambda: kernels.conv2d_backward(dy[:, :, :, 1:], x[:, :, :, 1:], w))
    only = kernels.conv2d_backward(dy, x, w, need_dx=False, need_db=False)
    np.testing.assert_array_equal(only[1], gradients[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@grouped(("c", "k"), [(9, 1), (5, 2), (2, 17), (16, 4), (33, 3), (20, 20), (48, 49), (49, 48), (64, 5)])
@pytest.mark.parametrize("height", [3, 300])
def test_pointwise_layouts(c, k, height, dtype, isa, threads, rng):
    """Forward and the gradient to x, of few pixels and of many, have the same bits in each layout."""
    x, w, bias = random_arrays(rng, dtype, 2, c, height, 8, k, 1, 1)
    dy = rng.uniform(-1, 1, (2, k, height, 8)).astype(dtype)

    def run(layout):
        image, weight, gradient = (in_layout(a, layout) for a in (x, w, dy))
        y = kernels.conv2d(image, weight, bias, activation="relu")
        return y, kernels.conv2d_backward(gradient, image, weight, need_dw=False, need_db=False)[0]

    y, dx = run(LAYOUTS[0])
    matrix = w[:, :, 0, 0].astype("float64")
    expected = np.maximum(np.einsum("nchw,kc->nkhw", x, matrix) + bias[:, None, None], 0)
    bound = (c + k) * np.finfo(dtype).eps
    np.testing.assert_allclose(y, expected, rtol=0, atol=bound * (np.abs(x).max() * np.abs(w).max() * c + 1))
    np.testing.assert_allclose(
        dx, np.einsum("nkhw,kc->nchw", dy, matrix), rtol=0, atol=bound * np.abs(w).max() * k
    )
    for layout in LAYOUTS[1:]:
        for a, b in zip(run(layout), (y, dx), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=layout)
    same_bits(threads, lambda: run(LAYOUTS[0]), (1, 2, 3))


@grouped("c", [2, 3, 4, 5, 7, 8, 9])
def test_pointwise_of_few_planes(c, isa, threads, rng):
    """Planes of pixels are copied some pixels at a time: the same bits as with channels last."""
    for width in (1, 3, 4, 5, 15, 16, 17, 32, 33):
        images = random_arrays(rng, "float32", 2, c, 1, width, 4, 1, 1)
        expected = kernels.conv2d(in_layout(images[0], "channels_last"), *images[1:])
        np.testing.assert_array_equal(kernels.conv2d(*images), expected, err_msg=str(width))
        same_bits(threads, functools.partial(kernels.conv2d, *images))
    x, w, bias = random_arrays(rng, "float32", 2, c, 9, 31, 4, 1, 1)
    check(x, w, bias)


@pytest.mark.parametrize("stride", [2, (1, 3), (4, 2)])
@grouped(("c", "k", "groups"), [(2, 3, 1), (16, 16, 1), (17, 33, 1), (260, 20, 1), (512, 16, 1), (34, 4, 2)])
def test_strided_pointwise(c, k, groups, stride, isa, threads, rng):
    """Pixels that a 1x1 filter does not meet, also after the last one that it meets."""
    x, w, bias = random_arrays(rng, "float32", 2, c, 7, 10, k, 1, 1, groups=groups)
    arguments = {"stride": stride, "groups": groups}
    check(x, w, bias, **arguments)
    dy = rng.uniform(-1, 1, kernels.conv2d(x, w, **arguments).shape).astype("float32")
    for layout in LAYOUTS:
        again = kernels.conv2d_backward(*(in_layout(a, layout) for a in (dy, x, w)), **arguments)
        for a, b in zip(again, kernels.conv2d_backward(dy, x, w, **arguments), strict=True):
            np.testing.assert_array_equal(a, b, err_msg=layout)
    same_bits(threads, lambda: kernels.conv2d_backward(dy, x, w, **arguments))


@settings(repeatable)
@given(data=st.data())
def test_any_groups(data):
    """Groups of few channels, in rows that fill tiles of 8 pixels; the same bits at any number of threads."""
    n, h, w = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 6)), data.draw(st.integers(1, 40))
    groups, taps = data.draw(st.integers(2, 40)), st.sampled_from([1, 2, 3, 5, 7])
    cg, kg = data.draw(st.sampled_from([1, 1, 2, 3, 4, 8])), data.draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8]))
    r, s, stride = data.draw(taps), data.draw(taps), data.draw(st.integers(1, 3))
    padding, dilation = data.draw(st.integers(0, 3)), data.draw(st.sampled_from([1, 1, 1, 2]))
    dtype, isa = data.draw(dtypes), data.draw(st.sampled_from(_core.supported_isas()))
    if dilation * (max(r, s) - 1) >= min(h, w) + 2 * padding:
        return
    x, weight, bias = random_arrays(
        np.random.default_rng(0), dtype, n, cg * groups, h, w, kg * groups, r, s, groups
    )
    geometry = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    before, count = _core.isa(), _core.get_num_threads()
    _core.set_isa(isa)
    try:
        check(x, weight, bias, **geometry)
        dy = kernels.conv2d(x, weight, bias, **geometry)
        same_bits(
            _core.set_num_threads, lambda: kernels.conv2d_backward(dy, x, weight, **geometry), (1, 2, 3)
        )
    finally:
        _core.set_isa(before)
        _core.set_num_threads(count)


@grouped("width", range(1, 46))
@pytest.mark.parametrize("k", [13, 24, 32])
def test_pixels(k, width, isa, rng):
    """Tiles of every height, one vector wide and two; rows of pixels end after each row of a tile."""
    x, w, bias = random_arrays(rng, "float32", 2, 6, 2, width, k, 2, 1)
    check(x, w, bias, padding=(1, 0))
    check(*random_arrays(rng, "float32", 1, 9, 4, width + 2, k, 1, 3), stride=(1, 2))


def test_pixels_in_parts(isa, rng):
    """Enough pixels that the gradient to the weight is a sum of partial sums."""
    check(*random_arrays(rng, "float32", 3, 2, 50, 41, 3, 3, 3), padding=1)
    check(*random_arrays(rng, "float32", 1, 17, 60, 31, 3, 3, 3), stride=(1, 2))


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_geometry(data):
    small = st.integers(1, 4)
    pairs = st.tuples(small, small)
    n, h, w = data.draw(st.integers(0, 3)), data.draw(st.integers(1, 12)), data.draw(st.integers(1, 12))
    groups, cg, kg = data.draw(small), data.draw(st.integers(1, 18)), data.draw(small)
    (r, s), stride, dilation = data.draw(pairs), data.draw(pairs), data.draw(pairs)
    padding = data.draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    if dilation[0] * (r - 1) >= h + 2 * padding[0] or dilation[1] * (s - 1) >= w + 2 * padding[1]:
        return
    arrays = random_arrays(
        np.random.default_rng(0), "float32", n, cg * groups, h, w, kg * groups, r, s, groups
    )
    check(*arrays, stride=stride, padding=padding, dilation=dilation, groups=groups)


@grouped("width", [13, 14, 15, 16, 25, 26, 27, 28, 30, 41])
@pytest.mark.parametrize(("cg", "kg"), [(9, 16), (16, 9), (64, 10), (1, 13), (65, 16)])
@pytest.mark.parametrize("padding", [(1, 0), 1, (0, 2), (2, 3)])
def test_taps_that_share_inputs(padding, cg, kg, width, isa, threads, rng):
    """Three taps of neighbouring pixels: all widths of tiles, with and without the pixels at the edges."""
    x, w, bias = random_arrays(rng, "float32", 2, 2 * cg, 4, width, 2 * kg, 3, 3, groups=2)
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


def test_broadcast_images(isa, rng):
    """An image with strides of zero is read as the image that it repeats."""
    x, w, bias = random_arrays(rng, "float32", 1, 4, 5, 6, 5, 3, 3)
    many = np.broadcast_to(x, (3, 4, 5, 6))
    np.testing.assert_array_equal(kernels.conv2d(many, w, bias)[2], kernels.conv2d(x, w, bias)[0])


def test_an_output_does_not_depend_on_its_neighbours(isa, rng):
    """Bit for bit the same alone and in a batch, in a wide image and in a narrow one."""
    x, w, bias = random_arrays(rng, "float32", 3, 5, 9, 20, 7, 3, 3)
    y = kernels.conv2d(x, w, bias)
    np.testing.assert_array_equal(kernels.conv2d(x[1:2], w, bias), y[1:2])
    np.testing.assert_array_equal(kernels.conv2d(x[:, :, :, 3:9], w, bias), y[:, :, :, 3:7])
    np.testing.assert_array_equal(kernels.conv2d(x, w[:5], bias[:5]), y[:, :5])


def test_padding_is_skipped_not_multiplied(isa):
    """An infinite weight that meets only padding leaves no NaN."""
    w = np.zeros((1, 1, 3, 3), np.float32)
    w[0, 0, 0, 0] = np.inf
    y = kernels.conv2d(np.ones((1, 1, 2, 2), np.float32), w, padding=1)
    np.testing.assert_array_equal(y[0, 0], [[0, 0], [0, np.inf]])


@grouped(("c", "k", "taps"), [(256, 200, 3), (100, 515, 3), (380, 250, 2), (70, 210, 5)])
def test_weights_larger_than_a_cache(c, k, taps, isa, threads, rng):
    """Few pixels: each group of panels may be packed just before its tiles, by the thread that has them."""
    x, w, bias = random_arrays(rng, "float32", 2, c, 5, 6, k, taps, taps)
    geometry = {"stride": 2, "padding": taps // 2, "dilation": 1}
    y = kernels.conv2d(x, w, bias, **geometry)
    dy = rng.uniform(-1, 1, y.shape).astype("float32")
    check(x, w, bias, **geometry)
    permuted = np.ascontiguousarray(w.transpose(2, 3, 0, 1)).transpose(2, 3, 0, 1)  # packed by element
    np.testing.assert_array_equal(kernels.conv2d(x, permuted, bias, **geometry), y)
    same_bits(
        threads,
        lambda: (kernels.conv2d(x, w, bias, **geometry), *kernels.conv2d_backward(dy, x, w, **geometry)),
        (1, 2, 3, 7),
    )
