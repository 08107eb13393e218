"""Samples of `ops/image`: convolutions, pooling, resampling, sampling at points."""

import numpy as np
from reference import conv2d as conv2d_reference
from reference import images as pad_reference

from samples.sample import call, fixed, op, refused

SINGLE, OF_HALVES = "has no halves", ("halves", "half_derivatives", "without_node", "autocast", "captured")


def products(x, w, *rest, **settings):
    """The terms of each sum of a convolution."""
    return w[0].size + 1


@op(reference=conv2d_reference.conv1d, terms=products)
def conv1d(x):
    yield call(x(2, 4, 7), x(6, 4, 3), x(6))
    yield call(x(2, 4, 7), x(6, 2, 3), x(6), stride=2, padding=1, groups=2)
    yield call(x(1, 3, 9), x(2, 3, 2), padding="same", dilation=2)
    yield call(x(0, 4, 7), x(6, 4, 3), x(6))
    yield refused(ValueError, "[conv1d] got", x(2, 4, 7), x(6, 3, 3))


@op(reference=conv2d_reference.conv2d, terms=products)
def conv2d(x):
    yield call(x(2, 4, 5, 6), x(6, 4, 3, 3), x(6))
    yield call(x(2, 4, 5, 6), x(6, 2, 3, 2), x(6), stride=(2, 1), padding=1, groups=2)
    yield call(x(1, 3, 7, 7), x(2, 3, 2, 3), padding="same", dilation=(1, 2))
    yield call(x(2, 4, 5, 5), x(4, 1, 3, 3), padding=1, groups=4)
    yield call(x(0, 4, 5, 6), x(6, 4, 1, 1))
    yield refused(ValueError, "[conv2d] got", x(2, 4, 5, 6), x(6, 3, 3, 3))


@op
def conv_transpose1d(x):
    yield call(x(2, 4, 7), x(4, 3, 3), x(3))
    yield call(x(2, 4, 7), x(4, 2, 3), x(4), stride=2, padding=1, output_padding=1, groups=2)


def transposed(x, w, bias=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    pairs = ((v, v) if np.ndim(v) == 0 else v for v in (stride, padding, output_padding, dilation))
    stride, padding, output_padding, dilation = pairs
    return conv2d_reference.conv_transpose2d(x, w, bias, stride, padding, output_padding, groups, dilation)


@op(reference=transposed, terms=lambda x, w, *rest, **settings: w[:, 0].size + 1)
def conv_transpose2d(x):
    yield call(x(2, 4, 3, 4), x(4, 3, 3, 2), x(3))
    yield call(x(2, 4, 3, 4), x(4, 2, 3, 3), stride=2, padding=1, output_padding=1, groups=2)
    stamps = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "dilation": (1, 2)}
    yield call(x(1, x.n, 3, 2), x(x.n, 5, 3, 2), x(5), **stamps)
    yield call(x(1, 5, 3, 2), x(5, x.n, 3, 2), x(x.n), **stamps)
    yield call(x(1, 2, 3, 3), x(2, 2, 2, 2), dilation=2)


def windows_1d(x):
    yield call(x(2, 4, 7), 2)
    yield call(x(2, 4, 9), 3, 2, 1)
    yield call(x(4, 7), 3, ceil_mode=True)
    yield refused(ValueError, "got", x(2, 4, 7), 9)


def windows_2d(x):
    yield call(x(2, 4, 5, 6), 2)
    yield call(x(2, 4, 6, 7), (3, 2), (2, 1), 1)
    yield call(x(1, 2, 5, 5), 2, ceil_mode=True)
    yield call(x(0, 4, 5, 6), 2)
    yield refused(ValueError, "got", x(2, 4, 5, 6), 9)


op(windows_1d, names="max_pool1d avg_pool1d")
op(windows_2d, names="max_pool2d avg_pool2d")


@op(of="nn.functional.max_pool2d")
def max_pool2d_with_indices(x):
    yield call(x(2, 4, 6, 7), 3, 2, dilation=2, return_indices=True)


@op(of="nn.functional.avg_pool2d")
def avg_pool2d_divided(x):
    yield call(x(2, 4, 6, 7), 3, 2, 1, count_include_pad=False)
    yield call(x(2, 4, 6, 7), 3, divisor_override=5)


@op
def lp_pool2d(x):
    yield call(x(2, 4, 5, 6, low=0.1), 2, 2)
    yield call(x(1, 2, 5, 6, low=0.1), 3.0, (2, 3), 1)


def adaptive_1d(x):
    yield call(x(2, 4, 7), 3)
    yield call(x(2, 4, 6), 2)


def adaptive_2d(x):
    yield call(x(2, 4, 5, 6), (2, 3))
    yield call(x(2, 4, 6, 6), 3)
    yield call(x(1, 2, 5, 7), (None, 2))


op(adaptive_1d, names="adaptive_avg_pool1d adaptive_max_pool1d")
op(adaptive_2d, names="adaptive_avg_pool2d adaptive_max_pool2d")


@op
def max_unpool1d(x):
    yield call(x(2, 4, 3), np.tile(np.array([0, 3, 5]), (2, 4, 1)), 2)


@op
def max_unpool2d(x):
    yield call(x(1, 2, 2, 2), np.tile(np.array([[0, 3], [8, 15]]), (1, 2, 1, 1)), 2)


@op
def interpolate(x):
    yield call(x(2, 3, 4, 5), scale_factor=2.0)
    yield call(x(2, 3, 4, 5), size=(7, 3), mode="bilinear", align_corners=True)
    yield call(x(2, 3, 4, 5), size=(6, 8), mode="bicubic", align_corners=False)
    yield call(x(2, 3, 5), size=7, mode="linear")
    yield call(x(1, 2, 8, 8), size=(3, 5), mode="bilinear", antialias=True).without(SINGLE, *OF_HALVES)
    yield refused(ValueError, "[interpolate] got", x(2, 3, 4, 5))


def any_frame(x):
    """A mode, an array and sizes around its last axes that the mode takes; below 0 they cut."""
    mode, axes = ("constant", "reflect", "replicate", "circular")[x.size(0, 3)], x.size(1, 2)
    array, sizes = x(*(x.size(2, 20) for _ in range(axes + 2))), []
    for n in reversed(array.shape[-axes:]):
        most = {"reflect": n - 1, "circular": (n + 1) // 2}.get(mode, 30)
        sizes += [x.size(-((n - 1) // 2), most), x.size(-((n - 1) // 2), most)]
    return array, tuple(sizes), mode


def padded(x, pad, mode="constant", value=0.0):
    return pad_reference.pad(x, pad, mode, value)


@op(reference=padded, exact=True, terms=lambda x, pad, **settings: int(np.prod([abs(n) + 2 for n in pad])))
def pad(x):
    yield call(x(2, 3, 5, 6), (1, 2, 0, 3), value=-1.5)
    yield call(x(2, 3, 5, 6), (-1, 2, 1, -2))
    yield call(x(3), (2, 2), value=7.0)
    yield call(x(2, 3, 4, 5, 2), (0, 0, 1, 1, -1, 1, 0, 2, 1, 0))
    yield call(x(2, 3, 5, 18), (3, 2, 1, 4), mode="reflect")
    yield call(x(3, 4, 5), (1, -2, -1, 3), mode="reflect")
    yield call(x(2, 3, 4, 5), (7, 2, 9, 0), mode="replicate")
    yield call(x(3, 6), (2, 8), mode="replicate")
    yield call(x(2, 3, 4, 5), (-5, 6, 3, -4), mode="replicate")  # all of x is cropped
    yield call(x(2, 17, 5), (4, -7), mode="reflect")
    yield call(x(2, 3, 4, 5), (5, 2, 0, 4), mode="circular")
    yield call(x(2, 3, 20), (-3, 17), mode="circular")
    yield call(x(0, 3, 4), (1, 2))
    array, sizes, mode = any_frame(x)
    yield call(array, sizes, mode=mode)
    yield refused(ValueError, "[pad] got", x(2, 3, 4, 5), (9, 9, 0, 0), mode="reflect")


@op
def affine_grid(x):
    yield call(x(2, 2, 3), (2, 3, 4, 5), align_corners=False)
    yield call(x(1, 3, 4), (1, 1, 2, 3, 2), align_corners=True)


@op
def grid_sample(x):
    yield call(x(2, 3, 4, 5), x(2, 3, 2, 2, low=-0.9, high=0.9), align_corners=False)
    yield call(x(2, 3, 4, 5), x(2, 3, 2, 2, low=1.1, high=1.9), "bilinear", "border", True)
    yield call(x(1, 2, 3, 3, 3), x(1, 2, 2, 2, 3, low=-0.9, high=0.9), align_corners=True)


@op(of="nn.functional.grid_sample", inner=1.0)
def grid_sample_bicubic(x):
    yield call(x(2, 3, 4, 5), x(2, 3, 2, 2, low=-0.8, high=0.85), mode="bicubic", align_corners=False)


@op(of="nn.functional.grid_sample")
def grid_sample_nearest(x):
    points = fixed(x(2, 3, 2, 2, low=-0.9, high=0.9))  # their gradient is 0
    yield call(x(2, 3, 4, 5), points, mode="nearest", align_corners=False)


@op
def unfold(x):
    yield call(x(2, 3, 5, 6), 3)
    yield call(x(2, 3, 5, 6), (3, 2), dilation=2, padding=1, stride=(1, 2))


@op
def fold(x):
    yield call(x(2, 12, 9), (4, 5), (2, 3))
    yield call(x(2, 18, 9), 7, 3, dilation=2, padding=1, stride=2)


@op
def local_response_norm(x):
    yield call(x(2, 4, 5), 2, 0.1)
    yield call(x(2, 4, 3, 3), 3, alpha=0.5, beta=0.5, k=2.0)


@op(exact=True)
def pixel_shuffle(x):
    yield call(x(2, 8, 2, 3), 2)
    yield call(x(4, 3, 3), 2)


@op(exact=True)
def pixel_unshuffle(x):
    yield call(x(2, 2, 4, 6), 2)
