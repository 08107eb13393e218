"""What holds for every algorithm of conv2d: layouts, threads, single gradients, the ReLU, and without it."""

import numpy as np
import pytest
from ranvier import _core, kernels
from support.bits import same_bits
from support.convolution import NAMES, check, random_arrays
from support.layouts import LAYOUTS, in_layout

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
SHAPES = {
    **CHOSEN,
    "direct": ((2, 3, 6, 7, 6, 3, 2, 1), {}),
    "direct in groups": ((2, 9, 6, 7, 6, 3, 2, 3), {}),
    "vectors of channels": ((2, 17, 6, 19, 17, 3, 3, 17), {"padding": 1}),
}
every_shape = pytest.mark.parametrize(("shape", "geometry"), SHAPES.values(), ids=SHAPES)


def drawn(rng, shape, geometry):
    """x, w, bias and dy; the settings of the call."""
    settings = {**geometry, "groups": shape[7]}
    arrays = random_arrays(rng, "float32", *shape)
    y = kernels.conv2d(*arrays, **settings)
    return *arrays, rng.uniform(-1, 1, y.shape).astype("float32"), settings


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


@every_shape
def test_layouts_change_no_bit(shape, geometry, isa, rng):
    *arrays, settings = drawn(rng, shape, geometry)
    expected = results(*arrays, settings)
    # the gradients to weight and bias of dense pixels are added in another order than those of others
    count = 2 if shape == CHOSEN["pixels"][0] else 4
    for layout in LAYOUTS:
        given = [in_layout(a, layout) for a in arrays]
        for a, b in zip(results(*given, settings)[:count], expected[:count], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=layout)
        out = in_layout(np.zeros_like(expected[0]), layout)
        assert kernels.conv2d(*arrays[:3], **settings, out=out) is out
        np.testing.assert_array_equal(out, expected[0], err_msg=layout)


@every_shape
def test_only_what_is_needed(shape, geometry, isa, rng):
    x, w, _, dy, settings = drawn(rng, shape, geometry)
    whole = kernels.conv2d_backward(dy, x, w, **settings)
    for i, name in enumerate(NAMES):
        needs = {f"need_{other}": other == name for other in NAMES}
        parts = kernels.conv2d_backward(dy, x, w, **settings, **needs)
        assert [p is None for p in parts] == [j != i for j in range(3)]
        np.testing.assert_array_equal(parts[i], whole[i], err_msg=name)


@every_shape
def test_relu(shape, geometry, isa, rng):
    """NaN passes, to all outputs that meet it (with Winograd also to others of their tiles)."""
    x, w, bias, _, settings = drawn(rng, shape, geometry)
    y = kernels.conv2d(x, w, bias, **settings)
    found = kernels.conv2d(x, w, bias, **settings, activation="relu")
    np.testing.assert_array_equal(found, np.maximum(y, 0))
    x[1 % len(x), 0, 0, 0] = np.nan
    y = kernels.conv2d(x, w, bias, **settings)
    assert np.isnan(y).any()
    found = kernels.conv2d(x, w, bias, **settings, activation="relu")
    np.testing.assert_array_equal(found, np.maximum(y, 0))


TEAMS = [  # large enough for several threads
    ((3, 17, 23, 21, 40, 3, 3, 1), {"padding": 1}),
    ((37, 1, 12, 13, 6, 5, 3, 1), {"padding": 1}),
    ((37, 8, 12, 13, 4, 5, 3, 1), {"padding": 1}),
    ((37, 3, 12, 13, 12, 5, 3, 1), {"padding": 1}),
    ((37, 9, 12, 13, 1, 5, 3, 1), {"padding": 1}),
    ((37, 12, 12, 13, 3, 5, 3, 1), {"padding": 1}),
    ((1, 37, 7, 7, 37, 3, 3, 37), {"padding": 1}),
    ((3, 33, 41, 30, 33, 3, 3, 33), {"padding": 1}),
    ((2, 3, 9, 9, 3, 3, 3, 3), {"padding": 1}),
]


@pytest.mark.parametrize(("shape", "geometry"), TEAMS, ids=str)
def test_threads_change_no_bit(shape, geometry, isa, threads, rng):
    *arrays, settings = drawn(rng, shape, geometry)
    same_bits(threads, lambda: results(*arrays, settings), (1, 2, 3, 7, 16))
