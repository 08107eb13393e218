"""Convolutions: memory formats, gradients that are not needed, dtypes that differ."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops

SIZES = {  # of x and weight
    "conv1d": ((2, 3, 9), (4, 3, 3)),
    "conv2d": ((2, 3, 5, 6), (4, 3, 3, 3)),
    "conv_transpose1d": ((2, 3, 9), (3, 4, 3)),
    "conv_transpose2d": ((2, 3, 5, 6), (3, 4, 3, 3)),
}
every_convolution = pytest.mark.parametrize("name", SIZES)


@every_convolution
def test_images_stay_channels_last(name, rng):
    """The result of one layer is what the kernel of the next reads in place."""
    x, w = (rng.uniform(-1, 1, shape).astype("float32") for shape in SIZES[name])
    y = getattr(ops, name)(x, w, padding=1).numpy()
    assert np.moveaxis(y, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, (1, 2)])
@pytest.mark.parametrize(("colors", "keeps"), [(2, True), (3, True), (4, True), (5, False)])
def test_filters_of_each_color_keep_a_picture_in_c_order(dtype, stride, colors, keeps):
    rng = np.random.default_rng(colors)
    x, w = (rng.standard_normal(s).astype(dtype) for s in ((2, colors, 9, 8), (colors, 1, 3, 3)))
    w, b = rv.from_numpy(w), rv.from_numpy(rng.standard_normal(colors).astype(dtype))
    last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    y, z = (rv.conv2d(rv.from_numpy(a), w, b, stride, 1, 1, colors) for a in (x, last))
    assert (y.is_contiguous(), z.is_contiguous()) == (keeps, False)
    many = rv.conv2d(rv.from_numpy(x[:1]).expand(3, -1, -1, -1), w, b, stride, 1, 1, colors)
    assert many.is_contiguous() == keeps
    assert (y.numpy() == z.numpy()).all()
    step = rv.compile(lambda x: rv.conv2d(x * 1.0, w, b, stride, 1, 1, colors).relu())
    for factor in (1, 2, 3, -1):
        given = rv.from_numpy(x * dtype(factor))
        expected = rv.conv2d(given, w, b, stride, 1, 1, colors).relu()
        got = step(given)
        assert got.is_contiguous() == keeps
        assert (got.numpy() == expected.numpy()).all()
