"""Samples of `ops/image`: convolutions, pooling, resampling, sampling at points."""

from functools import partial

import numpy as np
from reference import conv2d as conv2d_reference
from reference import images as image_reference
from reference import pooling

from samples.index import OVERWRITTEN
from samples.sample import call, fixed, op, refused

SMOOTH = {"antialias": True}
SINGLE, OF_HALVES = "has no halves", ("halves", "half_derivatives", "without_node", "autocast", "captured")


def products(x, w, *rest, **settings):
    """The terms of each sum of a convolution."""
    return w[0].size + 1


def stamps(x, w, *rest, **settings):
    """Those of a transposed one."""
    return w[:, 0].size + 1


def any_settings(x, axes, names):
    """A number from 1 to 3 for each axis, and number of groups, at random."""
    settings = {name: tuple(x.size(1, 3) for _ in range(axes)) for name in names}
    return settings | {"groups": x.size(1, 3)}


def of_axes(axes, settings):
    """Settings of one axis are numbers."""
    return {name: v[0] if axes == 1 and isinstance(v, tuple) else v for name, v in settings.items()}


def any_convolution(x, axes):
    taps = [x.size(1, 3) for _ in range(axes)]
    settings = any_settings(x, axes, ("stride", "dilation"))
    settings["padding"] = tuple(x.size(0, 3) for _ in range(axes))
    sizes = [d * (tap - 1) + 1 + x.size(0, 15) for d, tap in zip(settings["dilation"], taps, strict=True)]
    each, groups, k = x.size(1, 19), settings["groups"], settings["groups"] * x.size(1, 19)
    images, weight = x(x.size(1, 3), groups * each, *sizes), x(k, each, *taps)
    return call(images, weight, x(k), **of_axes(axes, settings))


@op(reference=conv2d_reference.conv1d, terms=products)
def conv1d(x):
    yield call(x(2, 4, 7), x(6, 4, 3), x(6))
    yield call(x(2, 4, 7), x(6, 2, 3), x(6), stride=2, padding=1, groups=2)
    yield call(x(1, 3, 9), x(2, 3, 2), padding="same", dilation=2)
    yield call(x(2, 1, 20), x(17, 1, 5), x(17), padding=2)  # one channel: taps share a tile
    yield call(x(1, 2, 5), x(3, 2, 1), x(3), stride=3, padding=2)  # some see padding only
    yield call(x(2, x.n, 9), x(x.n, 1, 3), groups=x.n, stride=2, padding=1)  # depthwise
    yield call(x(2, x.n, 5), x(3, x.n, 1), x(3), padding="valid")
    yield call(x(2, 3, x.n), x(4, 3, 3), x(4), padding=1)
    yield call(x(0, 4, 7), x(6, 4, 3), x(6))
    yield any_convolution(x, 1)
    yield call(x(3, 5), x(4, 3, 2))
    images, weight = x(1, 3, 5), x(4, 3, 3)
    for text, settings in (
        ("stride (1, 2); expected an integer", {"stride": (1, 2)}),
        ("a kernel that reaches over 9 samples along l and a padded input of 5", {"dilation": 4}),
        ("x with 3 channels and weight for 9; expected weight of shape (K, 1, S)", {"groups": 3}),
        ("bias of shape (3,); expected (4,)", {"bias": x(3)}),
    ):
        yield refused(ValueError, f"[conv1d] got {text}", images, weight, **settings)
    yield refused(ValueError, "x of shape (1, 3, 5, 1); expected 3 dimensions", x(1, 3, 5, 1), weight)


@op(reference=conv2d_reference.conv2d, terms=products)
def conv2d(x):
    yield call(x(2, 4, 5, 6), x(6, 4, 3, 3), x(6))
    yield call(x(2, 4, 5, 6), x(6, 2, 3, 2), x(6), stride=(2, 1), padding=1, groups=2)
    yield call(x(1, 3, 7, 7), x(2, 3, 2, 3), padding="same", dilation=(1, 2))
    yield call(x(2, 4, 5, 5), x(4, 1, 3, 3), padding=1, groups=4)
    yield call(x(2, 1, 6, 7), x(17, 1, 3, 3), x(17), padding=1)  # one channel: taps share a tile
    yield call(x(2, 5, 4, 4), x(10, 1, 3, 3), x(10), groups=5)  # two outputs for each input channel
    yield call(x(1, 2, 5, 5), x(3, 2, 1, 1), x(3), stride=3, padding=2)  # some see padding only
    yield call(x(1, 3, 4, 4), x(9, 3, 7, 7), x(9), padding=3)  # no pixel has all taps
    yield call(x(2, x.n, 5, 6), x(x.n, 1, 3, 3), x(x.n), stride=2, padding=1, groups=x.n)
    yield call(x(1, x.n, 3, 4), x(3, x.n, 2, 3), x(3), padding=1)
    yield call(x(1, 3, 3, x.n), x(5, 3, 3, 3), x(5), padding=1)
    yield call(x(1, 3, 3, 4), x(x.n, 3, 3, 2), x(x.n))
    yield call(x(2, 4, 9, 8), x(8, 4, 3, 2), x(8), stride=(2, 3), padding=(2, 0))
    yield call(x(2, 4, 9, 8), x(8, 1, 3, 2), stride=2, padding=(2, 0), dilation=2, groups=4)
    yield call(x(0, 4, 5, 6), x(6, 4, 1, 1))
    yield any_convolution(x, 2)
    yield call(x(3, 5, 6), x(4, 3, 2, 2))
    images, weight = x(1, 3, 5, 5), x(4, 3, 3, 3)
    for text, settings in (
        ("stride 0; expected at least 1 and at most", {"stride": 0}),
        ("stride (1, 2, 3); expected an integer or a pair", {"stride": (1, 2, 3)}),
        ("padding -1; expected at least 0", {"padding": -1}),
        ("padding 'full'; expected 'same', 'valid', an integer", {"padding": "full"}),
        ("padding 'same' and stride 2; expected stride 1", {"padding": "same", "stride": 2}),
        ("dilation 1099511627776; expected at least 1 and at most 2147483647", {"dilation": 2**40}),
        ("a kernel that reaches over 9 pixels along h and a padded input of 5; expected", {"dilation": 4}),
        ("x with 3 channels and groups 2; expected channels divisible", {"groups": 2}),
        ("x with 3 channels and weight for 9; expected weight of shape (K, 1, R, S)", {"groups": 3}),
        ("groups 0; expected at least 1", {"groups": 0}),
        ("bias of shape (3,); expected (4,)", {"bias": x(3)}),
    ):
        yield refused(ValueError, f"[conv2d] got {text}", images, weight, **settings)
    for text, shape, of_weight in (
        ("x of shape (5, 5); expected 4 dimensions (n, c, h, w)", (5, 5), (4, 3, 3, 3)),
        ("weight of shape (4, 3, 3); expected 4 dimensions", (1, 3, 5, 5), (4, 3, 3)),
        ("x with 3 channels and weight for 4; expected weight of shape ", (1, 3, 5, 5), (4, 4, 3, 3)),
        ("weight of shape (4, 3, 0, 3); expected a kernel of at least", (1, 3, 5, 5), (4, 3, 0, 3)),
        ("a kernel that reaches over 3 pixels along w and a padded input of 2", (1, 3, 5, 2), (4, 3, 3, 3)),
    ):
        yield refused(ValueError, f"[conv2d] got {text}", x(*shape), x(*of_weight))
    yield refused(
        TypeError, "[conv2d] got stride 1.5; expected an integer or a pair", images, weight, stride=1.5
    )
    yield refused(
        TypeError, "[conv2d] got x of dtype int64; expected float", x.integers(0, 9, 1, 3, 5, 5), weight
    )


def any_transposed(x, axes):
    taps = [x.size(1, 3) for _ in range(axes)]
    settings = any_settings(x, axes, ("stride", "dilation"))
    steps = [*zip(settings["stride"], settings["dilation"], strict=True)]
    settings["output_padding"] = tuple(x.size(0, max(pair) - 1) for pair in steps)
    settings["padding"] = tuple(
        x.size(0, min(2, d * (tap - 1) // 2)) for (_, d), tap in zip(steps, taps, strict=True)
    )
    groups, each, k = settings["groups"], x.size(1, 19), x.size(1, 19)
    sizes = [x.size(1, 9) for _ in range(axes)]
    images, weight = x(x.size(1, 3), groups * each, *sizes), x(groups * each, k, *taps)
    return call(images, weight, x(groups * k), **of_axes(axes, settings))


@op(reference=conv2d_reference.conv_transpose1d, terms=stamps)
def conv_transpose1d(x):
    yield call(x(2, 4, 7), x(4, 3, 3), x(3))
    yield call(x(2, 4, 7), x(4, 2, 3), x(4), stride=2, padding=1, output_padding=1, groups=2)
    yield call(x(2, x.n, 4), x(x.n, 2, 3), x(2), padding=1)
    yield call(x(0, 4, 7), x(4, 3, 3), x(3))
    yield any_transposed(x, 1)
    yield call(x(3, 5), x(3, 2, 2))
    yield refused(
        ValueError, "[conv_transpose1d] got x with 3 channels and weight for 4", x(1, 3, 5), x(4, 3, 3)
    )
    text = "got x of shape (5, 1, 3, 5); expected 3 dimensions (n, c, l)"
    yield refused(ValueError, text, x(5, 1, 3, 5), x(3, 4, 3))


@op(reference=conv2d_reference.conv_transpose2d, terms=stamps)
def conv_transpose2d(x):
    yield call(x(2, 4, 3, 4), x(4, 3, 3, 2), x(3))
    yield call(x(2, 4, 3, 4), x(4, 2, 3, 3), stride=2, padding=1, output_padding=1, groups=2)
    settings = {"stride": (2, 1), "padding": (1, 0), "output_padding": (1, 0), "dilation": (1, 2)}
    yield call(x(1, x.n, 3, 2), x(x.n, 5, 3, 2), x(5), **settings)
    yield call(x(1, 5, 3, 2), x(5, x.n, 3, 2), x(x.n), **settings)
    yield call(x(1, 2, 3, 3), x(2, 2, 2, 2), dilation=2)
    yield call(x(1, 17, 3, 4), x(17, 9, 4, 4), x(9), stride=2, padding=1)  # a decoder's
    yield call(x(1, 2, 3, 3), x(2, 5, 1, 1), x(5), stride=(3, 2))  # nothing lands on some pixels
    yield call(x(2, x.n, 3, 4), x(x.n, 1, 3, 3), x(x.n), stride=2, padding=1, groups=x.n)
    yield call(x(1, 3, 3, 2), x(3, x.n, 2, 2), x(x.n))
    yield call(x(1, 2, 2, x.n), x(2, 3, 2, 2), x(3), stride=2)
    yield any_transposed(x, 2)
    yield call(x(3, 4, 5), x(3, 2, 2, 2))
    images, weight = x(1, 3, 5, 5), x(3, 4, 3, 3)
    for error, text, settings in (
        (ValueError, "stride 0; expected at least 1", {"stride": 0}),
        (TypeError, "padding 'same'; expected an integer or a pair", {"padding": "same"}),
        (ValueError, "padding (1, 2, 3); expected an integer or a pair", {"padding": (1, 2, 3)}),
        (ValueError, "output_padding 1 for stride 1 and dilation 1; expected less", {"output_padding": 1}),
        (ValueError, "a size of 5 along h, from which an output of -1 would come", {"padding": 4}),
        (ValueError, "x with 3 channels and groups 2; expected channels divisible", {"groups": 2}),
        (ValueError, "bias of shape (3,); expected (4,)", {"bias": x(3)}),
    ):
        yield refused(error, f"[conv_transpose2d] got {text}", images, weight, **settings)
    yield refused(ValueError, "expected weight of shape (3, K / groups, R, S)", images, x(4, 3, 3, 3))


def any_window(x, axes, *names):
    """A window and its settings at random, and images that at least one fits into."""
    dilates = "dilation" in names
    kernel, stride, dilation = (
        tuple(x.size(1, most) for _ in range(axes)) for most in (4, 4, 3 if dilates else 1)
    )
    sizes = [d * (k - 1) + 1 + x.size(0, 20) for d, k in zip(dilation, kernel, strict=True)]
    padding = tuple(x.size(0, k // 2) for k in kernel)
    settings = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    settings = of_axes(axes, {name: v for name, v in settings.items() if name != "dilation" or dilates})
    flags = {name: bool(x.size(0, 1)) for name in names if name != "dilation"}
    return call(x(x.size(1, 3), x.size(1, 20), *sizes), **settings, **flags)


def windows_1d(*names):
    def samples(x):
        yield call(x(2, 4, 7), 2)
        yield call(x(2, 4, 9), 3, 2, 1)
        yield call(x(4, 7), 3, ceil_mode=True)
        yield call(x(2, x.n, 9), 4, 1, 2)
        yield call(x(2, 3, x.n + 1), 2, 2)
        yield any_window(x, 1, *names)
        yield refused(ValueError, "got", x(2, 4, 7), 9)

    return samples


def windows_2d(*names):
    def samples(x):
        yield call(x(2, 4, 5, 6), 2)
        yield call(x(2, 4, 6, 7), (3, 2), (2, 1), 1)
        yield call(x(1, 2, 5, 5), 2, ceil_mode=True)
        yield call(x(1, 3, 7, 8), 2, 3, 1, ceil_mode=True)
        yield call(x(2, 4, 4), 3, 1, 1)
        yield call(x(1, x.n, 5, 6), 3, 2, 1)
        yield call(x(1, 2, 3, x.n + 1), 2, 1)
        yield call(x(1, 2, 5, 2 * x.n + 3), 3, 2, 1)
        yield call(x(0, 4, 5, 6), 2)
        yield any_window(x, 2, *names)
        yield refused(ValueError, "got", x(2, 4, 5, 6), 9)

    return samples


def plane(x, *rest, **settings):
    """The most elements that a window has."""
    return x.shape[-1] * x.shape[-2]


for _axes, _windows in ((1, windows_1d), (2, windows_2d)):
    op(
        _windows("dilation", "ceil_mode"),
        names=f"max_pool{_axes}d",
        reference=partial(pooling.max_pool, _axes),
        exact=True,
        terms=plane,
    )
    op(
        _windows("ceil_mode", "count_include_pad"),
        names=f"avg_pool{_axes}d",
        reference=partial(pooling.avg_pool, _axes),
        terms=plane,
    )


@op(of="nn.functional.max_pool2d")
def max_pool2d_with_indices(x):
    yield call(x(2, 4, 6, 7), 3, 2, dilation=2, return_indices=True)
    yield call(x(2, 4, 4), 2, return_indices=True)


@op(of="nn.functional.avg_pool2d", reference=partial(pooling.avg_pool, 2), terms=plane)
def avg_pool2d_divided(x):
    yield call(x(2, 4, 6, 7), 3, 2, 1, count_include_pad=False)
    yield call(x(2, 4, 6, 7), (3, 2), (2, 3), (1, 0), True, False)
    yield call(x(2, 4, 6, 7), 3, divisor_override=5)


def power_pool(x, p, kernel_size, stride=None, ceil_mode=False):
    """The mean of a window times the size of a whole one, as PyTorch's."""
    size = np.prod(kernel_size) if isinstance(kernel_size, tuple) else kernel_size**2
    return (pooling.avg_pool(2, x**p, kernel_size, stride, ceil_mode=ceil_mode) * size) ** (1 / p)


@op(reference=power_pool, terms=plane)
def lp_pool2d(x):
    yield call(x(2, 4, 5, 6, low=0.1), 2, 2)
    yield call(x(1, 2, 5, 6, low=0.1), 3.0, (2, 3), 1)
    yield call(x(2, 3, 6, 7, low=0.1), 1, (3, 2), (2, 1))
    yield call(x(2, 3, 6, 7, low=0.5), -2, 3, 2, True)
    yield call(x(2, 3, 6, 7, low=0.1), 2, 3, 2, True)
    for p in (0, float("nan"), float("-inf"), "2", True, None):
        yield refused(ValueError, f"[lp_pool2d] got norm_type {p!r}; expected a number", x(1, 1, 4, 4), p, 2)


def adaptive_1d(x):
    yield call(x(2, 4, 7), 3)
    yield call(x(2, 4, 6), 2)
    yield call(x(2, 3, 9), 40)
    yield call(x(2, x.n, 5), 3)
    yield call(x(2, 3, x.n), 4)
    yield call(x(*(x.size(1, 30) for _ in range(3))), x.size(1, 11))


def adaptive_2d(x):
    yield call(x(2, 4, 5, 6), (2, 3))
    yield call(x(2, 4, 6, 6), 3)
    yield call(x(1, 2, 5, 7), (None, 2))
    yield call(x(1, 3, 7, 8), (13, 12))
    yield call(x(2, 4, 4), 3)
    yield call(x(1, x.n, 5, 4), (3, 2))
    yield call(x(1, 2, 5, x.n + 3), (3, x.n // 2 + 1))  # windows of uneven lengths
    yield call(x(2, x.n, 3, 5), 1)
    yield call(x(2, 9, 3, x.n), 1)
    yield call(x(0, 3, 5, 4), 1)
    yield call(x(*(x.size(1, 19) for _ in range(4))), (x.size(1, 11), x.size(1, 11)))


for _axes, _samples in ((1, adaptive_1d), (2, adaptive_2d)):
    for _name, _largest in (("avg", False), ("max", True)):
        op(
            _samples,
            names=f"adaptive_{_name}_pool{_axes}d",
            reference=partial(pooling.adaptive_pool, _axes, _largest),
            exact=_largest,
            terms=plane,
            inner=1.0,  # windows overlap
        )


@op
def max_unpool1d(x):
    yield call(x(2, 4, 3), np.tile(np.array([0, 3, 5]), (2, 4, 1)), 2)
    yield call(x(0, 1, 2), np.zeros((0, 1, 2), np.int64), 2)
    twice = call(x(1, 1, 4), np.array([[[4, 2, 4, 5]]]), 1, 2)
    yield twice.without(OVERWRITTEN, "pytorch")
    yield refused(ValueError, "[max_unpool1d] got x of shape (4, 3)", x(4, 3), np.array([[0, 3, 5]]), 2)


@op
def max_unpool2d(x):
    yield call(x(1, 2, 2), np.array([[[4, 4], [4, 2]]]), 2, 1).without(OVERWRITTEN, "pytorch")
    yield call(x(1, 2, 2, 2), np.tile(np.array([[0, 3], [8, 15]]), (1, 2, 1, 1)), 2)
    yield call(x(0, 1, 2, 2), np.zeros((0, 1, 2, 2), np.int64), 2)


def any_resize(x):
    """Images or signals and another size at random."""
    axes = x.size(1, 2)
    mode = (("nearest", "linear"), ("nearest", "bilinear", "bicubic"))[axes - 1][x.size(0, axes)]
    images = x(x.size(1, 3), x.size(1, 19), *(x.size(1, 13) for _ in range(axes)))
    corners = None if mode == "nearest" else bool(x.size(0, 1))
    if x.size(0, 1):
        return call(images, tuple(x.size(1, 29) for _ in range(axes)), mode=mode, align_corners=corners)
    if mode == "nearest":  # where others keep a size, PyTorch's gradient is not its forward's
        return call(images, scale_factor=float(x.size(1, 3)))
    factors = tuple(round(1 / n + x.size(10, 210) / 100, 2) for n in images.shape[2:])
    return call(images, scale_factor=factors, mode=mode, align_corners=corners)


@op(reference=image_reference.resized, terms=lambda x, *rest, **_: 16, inner=1.0)  # weights rounded at 1
def interpolate(x):
    yield call(x(2, 3, 4, 5), scale_factor=2.0)
    yield call(x(2, 3, 4, 5), size=(7, 3), mode="bilinear", align_corners=True)
    yield call(x(2, 3, 4, 5), size=(6, 8), mode="bicubic", align_corners=False)
    yield call(x(2, 3, 9, 8), size=(3, 11), mode="bilinear")
    yield call(x(2, 3, 9, 8), size=(7, 5), mode="bicubic", align_corners=True)
    yield call(x(2, 3, 9, 8), size=(3, 11), mode="nearest-exact")
    yield call(x(2, 3, 9, 8), size=(7, 5), mode="area")
    yield call(x(2, 3, 5), size=7, mode="linear")
    for corners in (False, True):
        settings = {"align_corners": corners} | SMOOTH
        yield call(x(1, 2, 5, 6), (3, 7), mode="bilinear", **settings).without(
            SINGLE, *OF_HALVES, "reference"
        )
        yield call(x(1, 2, 5, 6), (3, 7), mode="bicubic", **settings).without(SINGLE, *OF_HALVES, "reference")
    yield call(x(2, 3, 7), size=16)
    yield call(x(1, 2, 5, 6), scale_factor=(1.5, 0.6))
    yield call(x(2, 3, 5, 6), size=(8, 17), mode="nearest-exact")
    yield call(x(1, 3, 6, 7), scale_factor=(0.4, 1.7), mode="bilinear")
    yield call(x(1, 3, 3, 1), size=(1, 5), mode="bilinear", align_corners=True)
    yield call(x(2, 3, 6), scale_factor=2.5, mode="linear", align_corners=True)
    yield call(x(1, 2, 6, 5), scale_factor=1.6, mode="bicubic", align_corners=True)
    yield call(x(0, 2, 6, 5), scale_factor=2.0)
    for mode in ("nearest", "bilinear", "bicubic"):
        yield call(x(1, x.n, 3, 4), size=(5, 3), mode=mode)
        yield call(x(1, 2, 3, x.n + 1), size=(2, 5), mode=mode)
    yield any_resize(x)
    for error, text, settings in (
        (ValueError, "", {}),
        (ValueError, "mode 'area', x of shape", {"mode": "area", "size": 2, "align_corners": True}),
        (ValueError, "mode 'area', x of shape", {"mode": "area"}),
        (ValueError, "antialias and mode 'nearest'; expected 'bilinear' or 'bicubic'", {"size": 2} | SMOOTH),
        (ValueError, "antialias and mode 'area'", {"size": 2, "mode": "area"} | SMOOTH),
        (ValueError, "size 3 and scale_factor 2; expected one", {"size": 3, "scale_factor": 2}),
        (ValueError, "neither size and scale_factor", {"mode": "bilinear"} | SMOOTH),
        (ValueError, "an output of 0 along an axis of", {"size": 0, "mode": "bicubic"} | SMOOTH),
        (ValueError, "size", {"size": (1, 2, 3), "mode": "bicubic"} | SMOOTH),
        (TypeError, "size", {"size": 2.5, "mode": "bicubic"} | SMOOTH),
    ):
        yield refused(error, f"[interpolate] got {text}", x(2, 3, 4, 5), **settings)
    text = "[interpolate] got x of dtype int64"
    yield refused(TypeError, text, x.integers(0, 9, 1, 1, 4, 4), 2, mode="bilinear", antialias=True)


def any_frame(x):
    """A mode, an array and sizes around its last axes that the mode takes; below 0 they cut."""
    mode, axes = ("constant", "reflect", "replicate", "circular")[x.size(0, 3)], x.size(1, 2)
    array, sizes = x(*(x.size(2, 20) for _ in range(axes + 2))), []
    for n in reversed(array.shape[-axes:]):
        most = {"reflect": n - 1, "circular": (n + 1) // 2}.get(mode, 30)
        sizes += [x.size(-((n - 1) // 2), most), x.size(-((n - 1) // 2), most)]
    return array, tuple(sizes), mode


def padded(x, pad, mode="constant", value=0.0):
    return image_reference.pad(x, pad, mode, value)


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
    for mode in ("reflect", "replicate", "circular"):
        for whole in (x.integers(0, 9, 2, 3, 4, 5), x.bools(2, 3, 4, 5)):
            yield call(whole, (2, -1, 1, 3), mode=mode)
    yield call(np.arange(3), (1, 1), value=9)
    yield call(np.array([[True, False]]), (-1, 1, 0, 1), value=True)
    yield call(np.arange(2), (-3, 2), value=4).without("PyTorch does not crop more than there is", "pytorch")
    yield refused(ValueError, "[pad] got", x(2, 3, 4, 5), (9, 9, 0, 0), mode="reflect")
    for dtype, value in ((np.int64, 2**70), (np.uint8, -1), (np.int64, float("nan"))):
        text = f"[pad] got {value}; expected a number that"
        yield refused(ValueError, text, np.array([[1, 2]], dtype), (1, 1), value=value)


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
