"""Kernels of images and boxes: padded, resized, sampled at points of a grid, moved, turned, erased and mixed;
boxes without overlap (nms). They are compared with the reference in NumPy in float64: exactly where values
are only moved, else within the roundings of their few terms; gradients within those of a sum over all points.
A test with the fixture `isa` runs at each ISA level (instruction set).
"""

from itertools import product

import numpy as np
import pytest
from ranvier import _core, kernels
from reference import images as reference
from support.grouped import grouped  # parametrize, with many cases a test
from support.layouts import LAYOUTS, in_layout
from support.threads import same_bits
from support.tolerance import tolerance

MODES = ("constant", "reflect", "replicate", "circular")


def test_padding_has_nothing_but_x_s_values(isa):
    """Signs of zero, NaN and infinities are moved as they are."""
    x = np.array([[[-0.0, np.nan, np.inf, -0.0]]], np.float32)
    for mode in MODES:
        y = kernels.pad(x, (2, 2), mode)
        np.testing.assert_array_equal(y[..., 2:6].view("int32"), x.view("int32"))
    np.testing.assert_array_equal(
        kernels.pad(x, (0, 1), "replicate")[..., -1:].view("int32"), x[..., -1:].view("int32")
    )


def test_all_is_cropped_or_frame():
    x = np.ones((2, 3), np.float32)
    assert kernels.pad(x, (-1, -2)).shape == (2, 0)
    np.testing.assert_array_equal(kernels.pad(x, (-4, 3), value=2.0), np.full((2, 2), 2, np.float32))
    np.testing.assert_array_equal(kernels.pad(x[:, :0], (1, 1), value=2.0), np.full((2, 2), 2, np.float32))
    np.testing.assert_array_equal(kernels.pad(x[0, 0, ...], (), value=2.0), x[0, 0])


def test_nearest_copies(isa):
    """Signs of zero and NaN are moved as they are."""
    x = np.array([[[-0.0, np.nan]]], np.float32)
    y = kernels.interpolate(x, 4)
    np.testing.assert_array_equal(y.view("int32"), np.repeat(x, 2, -1).view("int32"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("channels", [2, 40, 3000])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "nearest"])
def test_rows_in_blocks(rng, isa, dtype, channels, mode):
    """A row of many channels is made a few pixels at a time: the values are those of fewer channels."""
    x = in_layout(rng.standard_normal((1, channels, 3, 31)).astype(dtype), "channels_last")
    y = kernels.interpolate(x, (5, 53), None, mode)
    dx = kernels.interpolate_backward(y, x.shape, None, mode)
    for c in (0, channels - 1):
        one = kernels.interpolate(x[:, c : c + 1], (5, 53), None, mode)
        limit = tolerance(dtype, 16, 16.0)
        np.testing.assert_allclose(y[:, c : c + 1], one, rtol=0, atol=limit)
        back = kernels.interpolate_backward(one, one.shape[:2] + x.shape[2:], None, mode)
        np.testing.assert_allclose(dx[:, c : c + 1], back, rtol=0, atol=limit)


@pytest.mark.parametrize("channels", [16, 32])
@pytest.mark.parametrize("corners", [False, True])
def test_large_results(rng, isa, threads, channels, corners):
    """Results of 16 MB and more are stored past the caches: the values are those of the images one by one."""
    x = in_layout(rng.standard_normal((9, channels, 90, 91)).astype(np.float32), "channels_last")
    size = (179, 181)  # with aligned corners every second row and column is a copy
    for count in (1, 2):
        threads(count)
        y = kernels.interpolate(x, size, None, "bilinear", corners)
        assert y.nbytes >= 16 << 20
        for image in range(0, 9, 4):
            one = kernels.interpolate(x[image : image + 1], size, None, "bilinear", corners)
            np.testing.assert_array_equal(y[image], one[0])


# settings of grid_sample: mode, padding_mode, align_corners
SETTINGS = list(product(("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (False, True)))
# shapes of images, and of the points at which they are sampled
SHAPES = [((2, 3, 4, 5), (3, 7)), ((1, 17, 3, 2), (1, 65)), ((2, 2, 1, 6), (5, 1)), ((1, 1, 1, 1), (2, 2))]


def arrays(rng, shape, points, dtype):
    x = rng.uniform(-1, 1, shape).astype(dtype)
    grid = rng.uniform(-1.6, 1.6, (shape[0], *points, 2)).astype(dtype)
    return x, grid, rng.uniform(-1, 1, (*shape[:2], *points)).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "points"), SHAPES)
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_samples_and_their_gradients(settings, shape, points, dtype, isa, rng):
    """Beside the reference, in any memory order; each gradient alone has the bits that it has with the
    other."""
    x, grid, dy = arrays(rng, shape, points, dtype)
    wide = [a.astype(np.float64) for a in (dy, x, grid)]
    expected = reference.grid_sample(*wide[1:], *settings)
    dx, dgrid = reference.grid_sample_backward(*wide, *settings)
    rounded = tolerance(dtype, 16, 16)  # the error of places, in pixels
    for layout in ("", "channels_last", "strided"):
        image = in_layout(x, layout)
        y = kernels.grid_sample(image, grid, *settings)
        np.testing.assert_allclose(y, expected, rtol=0, atol=rounded)
        found = kernels.grid_sample_backward(dy, image, grid, *settings)
        np.testing.assert_allclose(found[0], dx, rtol=0, atol=rounded * dy[0, 0].size)
        np.testing.assert_allclose(found[1], dgrid, rtol=0, atol=1e-6 + 16 * rounded * shape[1])
        assert found[0].dtype == found[1].dtype == y.dtype == dtype
        one = kernels.grid_sample_backward(dy, image, grid, *settings, True, False)
        other = kernels.grid_sample_backward(dy, image, grid, *settings, False, True)
        np.testing.assert_array_equal(one[0], found[0])
        np.testing.assert_array_equal(other[1], found[1])
        assert one[1] is None
        assert other[0] is None


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_places_at_and_beyond_the_edge(settings, isa):
    """Pixels outside do not count, also where those at the edge are not finite; NaN stays NaN."""
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    line = np.array([-30.0, -2.5, -1.0, -0.75, 0.0, 0.75, 1.0, 1.25, 1.75, 30.0])
    grid = np.stack(np.meshgrid(line, line), -1)[None]
    expected = reference.grid_sample(x, grid, *settings)
    np.testing.assert_allclose(kernels.grid_sample(x, grid, *settings), expected, rtol=0, atol=1e-12)
    far = np.array([[[[1e30, 0.0], [np.nan, 0.0], [0.0, np.nan]]]])
    y = kernels.grid_sample(np.full_like(x, np.inf), far, *settings)
    assert np.isnan(y[..., 1:]).all()
    _dx, dgrid = kernels.grid_sample_backward(np.ones((1, 1, 1, 2)), x, far[:, :, 1:], *settings)
    assert not dgrid.any()
    if settings[1] == "zeros":
        assert y[..., 0] == 0


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_points_in_pixels(settings, isa, rng):
    """As with -1 and 1 at the centres of the outer pixels, and exact at pixels."""
    x, grid, dy = arrays(rng, (2, 3, 4, 5), (3, 7), "float64")
    grid[..., 0], grid[..., 1] = ((grid[..., 0] + 1) * 2), ((grid[..., 1] + 1) * 1.5)
    scaled = grid / np.array([2, 1.5]) - 1
    found = kernels.grid_sample_backward(dy, x, grid, *settings, in_pixels=True)
    if settings[2]:
        np.testing.assert_allclose(
            kernels.grid_sample(x, grid, *settings, True),
            kernels.grid_sample(x, scaled, *settings),
            atol=1e-12,
        )
        dx, dgrid = kernels.grid_sample_backward(dy, x, scaled, *settings)
        np.testing.assert_allclose(found[0], dx, atol=1e-12)
        np.testing.assert_allclose(found[1], dgrid / np.array([2, 1.5]), atol=1e-12)
    rows, columns = np.meshgrid(np.arange(5.0), np.arange(4.0))
    at_pixels = np.repeat(np.stack([rows, columns], -1)[None], 2, 0)
    np.testing.assert_array_equal(kernels.grid_sample(x, at_pixels, *settings, True), x)


def boxes(rng, n, dtype, spread=4.0):
    corner = rng.uniform(0, spread, (n, 2))
    return np.concatenate([corner, corner + rng.uniform(0, 2, (n, 2))], 1).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 70])
def test_boxes_that_stay(n, dtype, isa, rng):
    for spread, threshold in ((2.0, 0.1), (6.0, 0.3), (6.0, 0.0), (1.0, 0.9)):
        x = boxes(rng, n, dtype, spread)
        kept = kernels.nms(x, threshold)
        assert kept.dtype == bool
        np.testing.assert_array_equal(kept, reference.nms(x, threshold))
        wide = np.zeros((n, 8), dtype)
        wide[:, ::2] = x
        np.testing.assert_array_equal(kernels.nms(wide[:, ::2], threshold), kept)


def test_the_threshold_itself_is_no_overlap(isa, rng):
    """Also where a threshold is no float32: 0.7 is above its nearest one, 0.1 below."""
    for _ in range(20):
        pair = boxes(rng, 2, "float32", 0.5)
        share = np.float32(reference.shared(*pair))
        for threshold in (share, np.nextafter(np.float64(share), 0), np.nextafter(np.float64(share), 1)):
            kept = kernels.nms(pair, float(threshold))
            assert kept.tolist() == [True, float(share) <= float(threshold)]
    pair = np.array([[0, 0, 10, 1], [0, 0, 7, 1], [0, 0, 1, 1]], "float32")  # 7 tenths, a tenth
    for threshold in (0.7, 0.1):
        assert kernels.nms(pair, threshold).tolist() == reference.nms(pair, threshold).tolist()


def test_boxes_without_size_and_nan_stay(isa):
    x = np.array([[1, 1, 1, 1], [1, 1, 1, 1], [np.nan, 0, 2, 2], [0, 0, 2, 2], [0, 0, 2, 2]], "float32")
    assert kernels.nms(x, 0.5).tolist() == [True, True, True, True, False]


# --- images moved, turned, erased and mixed

PIXELS = ["float32", "float64", "uint8"]
FRAMES = ("constant", "edge", "reflect", "symmetric")
SIZES = [(2, 1, 5, 7), (3, 3, 8, 8), (1, 4, 1, 1), (2, 2, 3, 70), (1, 20, 4, 5), (0, 3, 4, 4), (2, 0, 4, 4)]


def images(shape, dtype="float32"):
    rng = np.random.default_rng(1)
    x = rng.integers(0, 256, shape) if dtype == "uint8" else rng.normal(size=shape)
    return x.astype(dtype)


def places(n, reach=9):
    rng = np.random.default_rng(2)
    return np.column_stack([rng.integers(-reach, reach + 1, (n, 2)), rng.integers(0, 2, (n, 2))])


def rotated(n, h, w):
    """Matrices of small turns about the centre, and some that leave the image."""
    rng = np.random.default_rng(3)
    return rng.normal([1, 0, 0, 0, 1, 0], [0.2, 0.2, w / 4, 0.2, 0.2, h / 4], (n, 6))


def augmentations(shape, dtype):
    """Names and arguments of the kernels, which are those of the references."""
    rng, (n, _, h, w) = np.random.default_rng(4), shape
    for mode, size in product(FRAMES, ((h, w), (3, 11), (h + 4, 1), (0, 5))):
        yield "move_images", (places(n), *size, 7.0, mode)
    for interpolation in ("bilinear", "nearest"):
        yield "affine_images", (rotated(n, h, w), 9.0, interpolation)
    for size in ((0, 3), (4, 70), (13, 2)):
        yield "affine_images", (rotated(n, h, w), 9.0, "nearest", *size)
    box = np.column_stack([rng.integers(-4, 6, (n, 2)), rng.integers(0, 9, (n, 2))])
    for partner in (None, rng.permutation(n)):
        yield "erase_images", (box, partner, 5.0)
    if dtype != "uint8":
        yield "mix_images", (rng.integers(0, max(n, 1), n), np.linspace(0, 1, n))


@grouped("shape", SIZES)
@pytest.mark.parametrize("dtype", PIXELS)
def test_augmented_images(isas, dtype, shape):
    """Beside the reference, in any memory order: moved and erased pixels exactly, others within the roundings
    of some sums; bytes may be 1 off, few of them are."""
    x = images(shape, dtype)
    for name, arguments in augmentations(shape, dtype):
        expected = getattr(reference, name)(x.astype(float) if dtype != "uint8" else x, *arguments)
        wide = "float32" if dtype == "uint8" else dtype
        off = {"affine_images": tolerance(wide, 4, 10), "mix_images": tolerance(wide, 2, 5)}.get(name, 0)
        if dtype == "uint8" and name == "affine_images":
            off = 1  # a value half way between two may go either way
        for _, layout in product(isas, ("plain", *LAYOUTS)):
            y = getattr(_core, name)(in_layout(x, layout), *arguments)
            assert y.dtype == dtype
            np.testing.assert_allclose(y.astype(float), expected, rtol=0, atol=off)
        if dtype == "uint8" and y.size:
            assert (y == expected).mean() > 0.95


def test_move_far_away():
    x = images((1, 1, 3, 4))
    for far in (2**31, -(2**31)):
        place = np.array([[far, far, 0, 1]])
        np.testing.assert_array_equal(_core.move_images(x, place), np.zeros_like(x))
        for mode in FRAMES[1:]:
            assert np.isin(_core.move_images(x, place, mode=mode), x).all()


def test_affine_quarter_turn_and_identity():
    x = images((2, 3, 6, 6), "float64")
    same = np.tile([1.0, 0, 0, 0, 1, 0], (2, 1))
    np.testing.assert_array_equal(_core.affine_images(x, same), x)
    quarter = np.tile([0.0, -1, 5, 1, 0, 0], (2, 1))
    np.testing.assert_array_equal(_core.affine_images(x, quarter), np.rot90(x, axes=(2, 3)))


def test_affine_nowhere():
    x = images((3, 1, 4, 4))
    matrix = np.array([[np.nan] * 6, [np.inf] * 6, [1e300, 0, -1e300, 0, 1e300, 1e18]])
    np.testing.assert_array_equal(_core.affine_images(x, matrix, 2.0), np.full_like(x, 2))


def test_erased_sizes_below_0_are_0():
    x, box = images((2, 1, 5, 7)), np.array([[1, 1, -2, 3], [-1, 2, 3, -1]])
    np.testing.assert_array_equal(_core.erase_images(x, box, None, 5.0), x)


@grouped("shape", [(5,), (4, 10), (3, 17, 33)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mixed_rows(isa, dtype, shape):
    x, n = images(shape, dtype), shape[0]
    partner, weight = np.random.default_rng(5).integers(0, n, n), np.linspace(0, 1, n)
    expected = reference.mix_images(x.astype(float), partner, weight)
    for layout in ("plain", *LAYOUTS):
        y = _core.mix_images(in_layout(x, layout), partner, weight)
        np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance(dtype, 2, 5))


def test_layout_of_augmented_images():
    x = in_layout(images((2, 3, 8, 8)), "channels_last")
    for y in (
        _core.move_images(x, places(2), 5, 6),
        _core.affine_images(x, rotated(2, 8, 8)),
        _core.erase_images(x, places(2)),
        _core.mix_images(x, np.array([1, 0]), np.array([0.5, 0.5])),
    ):
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("layout", ["plain", "channels_last"])
def test_augmented_images_have_the_same_bits_on_any_team(threads, layout):
    x = in_layout(images((9, 3, 65, 67)), layout)
    box, partner = places(9), np.arange(9)[::-1].copy()

    def run():
        yield _core.move_images(x, places(9), 60, 70, 1.0, "reflect")
        yield _core.affine_images(x, rotated(9, 65, 67))
        yield _core.erase_images(x, box, partner)
        yield _core.mix_images(x, partner, np.linspace(0, 1, 9))

    same_bits(threads, lambda: list(run()))
