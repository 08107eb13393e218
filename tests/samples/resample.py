"""Samples of other sizes of images and of reading them at points: functions of `ops/image`, then layers.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

from ranvier import nn
from reference import images as image_reference

from samples.draw import images
from samples.sample import call, fixed, op, refused

SMOOTH = {"antialias": True}


SINGLE, OF_HALVES = "has no halves", ("halves", "half_derivatives", "without_node", "autocast", "captured")


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


@op(
    reference=image_reference.resized,
    terms=lambda x, *rest, **_: 16,
    inner=1.0,
    lacks="limits C-infinity",
    apart="NaN infinity",
    anything="recompute_scale_factor scale_factor",
)  # weights rounded at 1
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
        (TypeError, "align_corners 'no'; expected", {"size": 2, "mode": "bicubic", "align_corners": "no"}),
        (TypeError, "antialias 'no'; expected", {"size": 2, "mode": "bicubic", "antialias": "no"}),
    ):
        yield refused(error, f"[interpolate] got {text}", x(2, 3, 4, 5), **settings)
    text = "[interpolate] got x of dtype int64"
    yield refused(TypeError, text, x.integers(0, 9, 1, 1, 4, 4), 2, mode="bilinear", antialias=True)


@op(lacks="rounding", autocast="lower")
def affine_grid(x):
    yield call(x(2, 2, 3), (2, 3, 4, 5), align_corners=False)
    yield call(x(1, 3, 4), (1, 1, 2, 3, 2), align_corners=True)


@op(lacks="C promotion infinity", apart="NaN infinity", autocast="float32")
def grid_sample(x):
    yield call(x(2, 3, 4, 5), x(2, 3, 2, 2, low=-0.9, high=0.9), align_corners=False)
    yield call(x(2, 3, 4, 5), x(2, 3, 2, 2, low=1.1, high=1.9), "bilinear", "border", True)
    yield call(x(1, 2, 3, 3, 3), x(1, 2, 2, 2, 3, low=-0.9, high=0.9), align_corners=True)


@op(
    of="nn.functional.grid_sample",
    inner=1.0,
    lacks="C promotion infinity",
    apart="NaN infinity",
    autocast="float32",
)
def grid_sample_bicubic(x):
    yield call(x(2, 3, 4, 5), x(2, 3, 2, 2, low=-0.8, high=0.85), mode="bicubic", align_corners=False)


@op(of="nn.functional.grid_sample", lacks="C promotion infinity", apart="NaN", autocast="float32")
def grid_sample_nearest(x):
    points = fixed(x(2, 3, 2, 2, low=-0.9, high=0.9))  # their gradient is 0
    yield call(x(2, 3, 4, 5), points, mode="nearest", align_corners=False)


@op(exact=True)
def pixel_shuffle(x):
    yield call(x(2, 8, 2, 3), 2)
    yield call(x(4, 3, 3), 2)


@op(exact=True)
def pixel_unshuffle(x):
    yield call(x(2, 2, 4, 6), 2)


@op(lacks="C-infinity")
def Upsample(x):
    yield call(nn.Upsample(scale_factor=2), images(x))
    yield call(nn.Upsample(size=(5, 11), mode="bilinear", align_corners=True), images(x))
    yield call(nn.Upsample((7, 9), mode="bilinear"), images(x))
    yield call(nn.Upsample(None, (1.5, 2), "bicubic"), images(x))


@op()
def UpsamplingNearest2d(x):
    yield call(nn.UpsamplingNearest2d(scale_factor=2), images(x))
    yield call(nn.UpsamplingNearest2d(size=8), x(2, 3, 9, 7))


@op()
def UpsamplingBilinear2d(x):
    yield call(nn.UpsamplingBilinear2d(size=(5, 9)), images(x))
    yield call(nn.UpsamplingBilinear2d(None, 3), x(2, 3, 3, 4))


@op()
def PixelShuffle(x):
    yield call(nn.PixelShuffle(2), images(x))


@op()
def PixelUnshuffle(x):
    yield call(nn.PixelUnshuffle(2), images(x))


@op(exact=True)
def channel_shuffle(x):
    yield call(x(2, 6, x.n), 3)
    yield call(x(2, 4, 3, 2), 2)
    yield refused(ValueError, "[channel_shuffle] got x of shape (2, 3, 4) and 2 groups", x(2, 3, 4), 2)


@op(exact=True)
def ChannelShuffle(x):
    yield call(nn.ChannelShuffle(2), images(x))
