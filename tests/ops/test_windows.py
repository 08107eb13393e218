"""Convolutions and pools: memory formats, the indices of maxima beside NumPy's windows, NaN, strides beyond
the image.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import ops
from support.layouts import in_layout

SIZES = {  # shapes of x and weight
    "conv1d": ((2, 3, 9), (4, 3, 3)),
    "conv2d": ((2, 3, 5, 6), (4, 3, 3, 3)),
    "conv_transpose1d": ((2, 3, 9), (3, 4, 3)),
    "conv_transpose2d": ((2, 3, 5, 6), (3, 4, 3, 3)),
}
every_convolution = pytest.mark.parametrize("name", SIZES)


@every_convolution
def test_images_stay_channels_last(name, rng):
    """The result is stored as the kernel of the next layer reads it in place."""
    x, w = (rng.uniform(-1, 1, shape).astype("float32") for shape in SIZES[name])
    y = getattr(ops, name)(x, w, padding=1).numpy()
    assert np.moveaxis(y, 1, -1).flags.c_contiguous


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("stride", [1, (1, 2)])
@pytest.mark.parametrize(("colors", "keeps"), [(2, True), (3, True), (4, True), (5, False)])
def test_filters_of_each_color_keep_a_picture_in_c_order(dtype, stride, colors, keeps):
    """Depthwise convolutions of a picture in C order with up to 4 colors have a result in C order, others one
    that is channels-last; the bits depend neither on the input's order nor on a compiled step."""
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


INDEXED = {
    "max_pool1d": (lambda f, x: f(x[:, :, 0], 3, 2, 1, 2, True, return_indices=True)),
    "max_pool2d": (lambda f, x: f(x, (3, 2), (2, 1), (1, 0), (1, 2), return_indices=True)),
    "adaptive_max_pool1d": (lambda f, x: f(x[:, :, 0], 3, return_indices=True)),
    "adaptive_max_pool2d": (lambda f, x: f(x, (3, 4), return_indices=True)),
}


@pytest.mark.parametrize("name", INDEXED)
def test_indices(rng, name):
    """Each index names, in its image, the value that the maximum is, in any layout; so do gradients."""
    images = rng.standard_normal((2, 5, 7, 9)).astype(np.float32)
    for layout in ("plain", "channels_last"):
        x = rv.tensor(in_layout(images, layout), requires_grad=True)
        y, indices = INDEXED[name](getattr(ops, name), x)
        where = indices.numpy().reshape(2, 5, -1)
        planes = (images if name.endswith("2d") else images[:, :, 0]).reshape(2, 5, -1)
        np.testing.assert_array_equal(
            np.take_along_axis(planes, where, -1).reshape(y.shape), y.detach().numpy()
        )
        assert indices.dtype == np.int64
        y.backward(np.ones(y.shape, np.float32))
        expected = np.zeros_like(planes)
        np.add.at(expected, (*np.ogrid[:2, :5, :1][:2], where), 1)
        got = x.grad.numpy() if name.endswith("2d") else x.grad.numpy()[:, :, 0]
        np.testing.assert_array_equal(got.reshape(planes.shape), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(2, 2, 1), (3, 1, 1), (3, 2, 1), (2, 1, 2), (3, 3, 1)]
)
def test_the_last_nan_of_a_window_is_its_maximum(rng, dtype, layout, kernel, stride, dilation):
    """As in PyTorch: index and gradient are those of the last."""
    x = rng.standard_normal((2, 5, 11, 23)).astype(dtype)
    x[rng.random(x.shape) < 0.4] = np.nan
    leaf = rv.tensor(in_layout(x, layout), requires_grad=True)
    y, where = ops.max_pool2d(leaf, kernel, stride, 0, dilation, return_indices=True)
    places = np.arange(11 * 23).reshape(11, 23)
    span = dilation * (kernel - 1) + 1
    windows, at = (
        np.lib.stride_tricks.sliding_window_view(v, (span, span), (-2, -1))[
            ..., ::stride, ::stride, ::dilation, ::dilation
        ].reshape(*v.shape[:-2], *y.shape[2:], -1)
        for v in (x, places)
    )
    last = windows.shape[-1] - 1 - np.isnan(windows[..., ::-1]).argmax(-1)
    tap = np.where(np.isnan(windows).any(-1), last, np.nan_to_num(windows, nan=-9).argmax(-1))
    want = np.take_along_axis(np.broadcast_to(at, windows.shape), tap[..., None], -1)[..., 0]
    np.testing.assert_array_equal(where.numpy(), want)
    (dx,) = rv.autograd.grad(y.sum(), leaf)
    counts = np.zeros((2 * 5, 11 * 23))
    np.add.at(counts, (np.arange(10)[:, None], want.reshape(10, -1)), 1)
    np.testing.assert_array_equal(dx.numpy().reshape(counts.shape), counts)


@pytest.mark.parametrize("pool", [ops.max_pool2d, ops.avg_pool2d])
def test_a_stride_or_dilation_without_effect_takes_no_memory(pool):
    """There is one window, or each has one element. The scratch memory once was as large as the stride."""
    x = rv.tensor(np.arange(49, dtype=np.float32).reshape(1, 1, 7, 7))
    for stride in (2**30, (2, 2**30), (2**30, 2)):
        less = tuple(min(s, 8) for s in (stride if isinstance(stride, tuple) else (stride, stride)))
        assert pool(x, 3, stride).tolist() == pool(x, 3, less).tolist()
    assert ops.max_pool2d(x, 1, 1, dilation=2**30).tolist() == x.tolist()


def test_lp_pool_of_zeros():
    x = rv.tensor([[[[0.0, 0.0, 3.0, 4.0]]]], requires_grad=True)
    y = rv.nn.functional.lp_pool2d(x, 2, (1, 2))
    y.sum().backward()
    assert y.tolist() == [[[[0, 5]]]]
    assert x.grad.tolist() == [[[[0, 0, pytest.approx(0.6), pytest.approx(0.8)]]]]


def test_lp_pool_of_the_largest():
    x = rv.tensor(abs(np.random.default_rng(0).standard_normal((2, 3, 6, 7))) + 0.1)
    found = rv.nn.functional.lp_pool2d(x, float("inf"), 3, 2)
    assert found.tolist() == ops.max_pool2d(x, 3, 2).tolist()
