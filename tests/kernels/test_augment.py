"""augment: each kernel against its reference at every level, in every layout, for every kind of pixel."""

import numpy as np
import pytest
from ranvier import _core
from reference import images as reference
from support.grouped import grouped
from support.layouts import LAYOUTS, in_layout
from support.threads import same_bits
from support.tolerance import tolerance

KEY = np.array([-5, 3])
PIXELS = ["float32", "float64", "uint8"]
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


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@grouped("shape", SIZES)
@pytest.mark.parametrize("dtype", PIXELS)
def test_move(dtype, shape, mode):
    x, place = images(shape, dtype), places(shape[0])
    for height, width in (shape[2:], (3, 11), (shape[2] + 4, 1), (0, 5)):
        for layout in ("plain", *LAYOUTS):
            y = _core.move_images(in_layout(x, layout), place, height, width, 7.0, mode)
            expected = reference.move_images(x, place, height, width, 7.0, mode)
            np.testing.assert_array_equal(y, expected)
            assert y.dtype == dtype


def test_move_far_away():
    x = images((1, 1, 3, 4))
    for far in (2**31, -(2**31)):
        place = np.array([[far, far, 0, 1]])
        np.testing.assert_array_equal(_core.move_images(x, place), np.zeros_like(x))
        for mode in ("edge", "reflect", "symmetric"):
            assert np.isin(_core.move_images(x, place, mode=mode), x).all()


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@grouped("shape", SIZES)
@pytest.mark.parametrize("dtype", PIXELS)
def test_affine(isa, dtype, shape, interpolation):
    x, matrix = images(shape, dtype), rotated(shape[0], *shape[2:])
    expected = reference.affine_images(x.astype(float) if dtype != "uint8" else x, matrix, 9.0, interpolation)
    # of bytes, a value half way between two may go either way
    off = 1 if dtype == "uint8" else tolerance(dtype, 4, 10)
    for layout in ("plain", *LAYOUTS):
        y = _core.affine_images(in_layout(x, layout), matrix, 9.0, interpolation)
        assert y.dtype == dtype
        assert np.abs(y.astype(float) - expected).max(initial=0) <= off
    if dtype == "uint8" and x.size:
        assert (y == expected).mean() > 0.95


@pytest.mark.parametrize("size", [(0, 3), (4, 70), (13, 2)])
def test_affine_to_another_size(isa, size):
    x, matrix = images((2, 3, 7, 6)), rotated(2, 7, 6)
    expected = reference.affine_images(x, matrix, 9.0, "nearest", *size)
    np.testing.assert_array_equal(_core.affine_images(x, matrix, 9.0, "nearest", *size), expected)


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


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize("dtype", PIXELS)
def test_erase(dtype, shape):
    x, n = images(shape, dtype), shape[0]
    rng = np.random.default_rng(4)
    box = np.column_stack([rng.integers(-4, 6, (n, 2)), rng.integers(-2, 9, (n, 2))])
    partner = rng.permutation(n)
    for layout in ("plain", *LAYOUTS):
        for other in (None, partner):
            y = _core.erase_images(in_layout(x, layout), box, other, 5.0)
            np.testing.assert_array_equal(
                y, reference.erase_images(x, np.maximum(box, [-9, -9, 0, 0]), other, 5)
            )


@grouped("shape", [*SIZES, (5,), (4, 10), (3, 17, 33)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_mix(isa, dtype, shape):
    x, n = images(shape, dtype), shape[0]
    partner, weight = np.random.default_rng(5).integers(0, max(n, 1), n), np.linspace(0, 1, n)
    expected = reference.mix_images(x.astype(float), partner, weight)
    for layout in ("plain", *LAYOUTS):
        y = _core.mix_images(in_layout(x, layout), partner, weight)
        np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance(dtype, 2, 5))
        assert y.dtype == dtype


@grouped("size", [0, 1, 15, 63, 64, 65, 255, 256, 257, 1000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_numbers_at_every_size(isa, dtype, size):
    expected = 0.5 + 2.0 * reference.standard_normal(size, KEY, dtype)
    # the largest radius is sqrt(-2 log(step)): 5.8 and 8.6; the angle 2 pi v is itself rounded
    y = _core.random_normal((size,), dtype, 0.5, 2.0, KEY)
    np.testing.assert_allclose(y, expected, rtol=0, atol=tolerance(dtype, 8, 2 * 8.6))


def test_layout_of_the_result():
    x = in_layout(images((2, 3, 8, 8)), "channels_last")
    for y in (
        _core.move_images(x, places(2), 5, 6),
        _core.affine_images(x, rotated(2, 8, 8)),
        _core.erase_images(x, places(2)),
        _core.mix_images(x, np.array([1, 0]), np.array([0.5, 0.5])),
    ):
        assert y.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("layout", ["plain", "channels_last"])
def test_same_bits_at_any_thread_count(threads, layout):
    x = in_layout(images((9, 3, 65, 67)), layout)
    box, partner = places(9), np.arange(9)[::-1].copy()

    def run():
        yield _core.move_images(x, places(9), 60, 70, 1.0, "reflect")
        yield _core.affine_images(x, rotated(9, 65, 67))
        yield _core.erase_images(x, box, partner)
        yield _core.mix_images(x, partner, np.linspace(0, 1, 9))

    same_bits(threads, lambda: list(run()))
