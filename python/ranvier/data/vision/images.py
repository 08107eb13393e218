"""Functions of an image, a PIL image or a Tensor (..., c, h, w): flips, crops, pads, resizing, rotations."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np

import ranvier.kernels as kernels
from ranvier.autograd import Tensor, wrap
from ranvier.data.augment.geometry import MODES, inverse_affine
from ranvier.data.checks import pair, sides
from ranvier.nn.functional import grid_sample, interpolate
from ranvier.tensors.errors import one_of
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    ImageLike: TypeAlias = Tensor | PILImage
    """An image: a Tensor (..., c, h, w), or an image of pillow, which is imported only by those who use it.
    Functions of an image return the same type that they are given; for type checkers it is Any."""

__all__ = [  # the functions that `functional` has from here
    "InterpolationMode", "center_crop", "crop", "hflip", "pad", "resize", "resized_crop", "rotate", "vflip",
]  # fmt: skip


def is_pil(image: object) -> TypeGuard[PILImage]:
    """True for an image of pillow, which is not imported for the test."""
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def pixels(name: str, image: object, ndim: int = 3) -> Array:
    """The array of a Tensor of at least `ndim` dimensions; `name` begins the errors.

    Raises:
        TypeError: anything else than a Tensor.
        ValueError: too few dimensions.
        RuntimeError: a Tensor that requires grad; a call in a step that `rv.compile` records, since a replay
            would not compute with new pixels.
    """
    if is_pil(image):
        raise TypeError(f"[{name}] got a PIL image; expected a Tensor: ToTensor() makes one")
    if not isinstance(image, Tensor):
        raise TypeError(
            f"[{name}] got {type(image).__name__}; expected a PIL image or a Tensor: "
            "ToTensor() and ToPILImage() make them of arrays"
        )
    if image.requires_grad:
        raise RuntimeError(f"[{name}] got a Tensor that requires grad; expected images: use detach()")
    if image.ndim < ndim:
        axes = "c, h, w" if ndim == 3 else "h, w"
        raise ValueError(f"[{name}] got a Tensor of shape {image.shape}; expected (..., {axes})")
    return image._read(f"transforms.{name}")


def size_of(name: str, image: ImageLike) -> tuple[int, int, int]:
    """(channels, height, width)."""
    if is_pil(image):
        return len(image.getbands()), image.height, image.width
    *more, h, w = pixels(name, image, 2).shape
    channels = more[-1] if more else 1
    return channels, h, w


def of_pixels(y: Array) -> Tensor:
    """The array as a Tensor in C order."""
    return wrap(np.ascontiguousarray(y))


def floats(x: Array) -> Array:
    """The numbers to compute with: float32, or float64 of float64."""
    if x.dtype == np.float64:
        return x
    return x.astype(np.float32, copy=False)


def rounded(y: Array, dtype: np.dtype[Any]) -> Tensor:
    """Computed numbers as an image of a dtype; whole numbers are rounded, and limited to its range."""
    if dtype.kind != "f":
        y = np.rint(y)
    if dtype.kind in "iu":
        y = y.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return of_pixels(y.astype(dtype, copy=False))


class InterpolationMode(Enum):
    """The ways of interpolation, with torchvision's names."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


Size: TypeAlias = int | Sequence[int]
"""One number of pixels for both sides, or (height, width)."""
PerChannel: TypeAlias = float | Sequence[float]
"""One number for all channels, or one for each."""
Interpolation: TypeAlias = InterpolationMode | str | int
"""An InterpolationMode, its name, or pillow's number of it."""

# the numbers that pillow has for the ways of interpolation
CODES = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def mode_of(name: str, interpolation: Interpolation) -> str:
    """The name of an InterpolationMode, a name, or a number of pillow."""
    if isinstance(interpolation, InterpolationMode):
        return str(interpolation.value)
    for mode, code in CODES.items():
        if interpolation == mode or (not isinstance(interpolation, str) and interpolation == code):
            return mode
    raise ValueError(f"[{name}] got interpolation {interpolation!r}; expected one of {', '.join(CODES)}")


def hflip(img: ImageLike) -> Any:
    """Left and right exchanged."""
    if is_pil(img):
        from PIL import Image

        return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return of_pixels(pixels("hflip", img, 2)[..., ::-1])


def vflip(img: ImageLike) -> Any:
    """Top and bottom exchanged."""
    if is_pil(img):
        from PIL import Image

        return img.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return of_pixels(pixels("vflip", img, 2)[..., ::-1, :])


def crop(img: ImageLike, top: int, left: int, height: int, width: int) -> Any:
    """A box of the image (..., h, w); outside of it are zeros."""
    if height < 0 or width < 0:
        raise ValueError(f"[crop] got height {height} and width {width}; expected at least 0")
    if is_pil(img):
        return img.crop((left, top, left + width, top + height))
    _, h, w = size_of("crop", img)
    around = [max(n, 0) for n in (-left, -top, left + width - w, top + height - h)]
    if any(around):
        x = pad(img, around)._array
    else:
        x = pixels("crop", img, 2)
    top = max(top, 0)
    left = max(left, 0)
    return of_pixels(x[..., top : top + height, left : left + width])


def center_crop(img: ImageLike, output_size: Size) -> Any:
    """The centre of the image; smaller images are padded with 0."""
    height, width = pair("center_crop", "output_size", output_size)
    _, h, w = size_of("center_crop", img)
    across = max(width - w, 0)
    down = max(height - h, 0)
    if across or down:
        img = pad(img, (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2))
        h = h + down
        w = w + across
    return crop(img, round((h - height) / 2.0), round((w - width) / 2.0), height, width)


def resized_crop(
    img: ImageLike,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Size,
    interpolation: Interpolation = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """A box of the image, resized."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def resize(
    img: ImageLike,
    size: Size,
    interpolation: Interpolation = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """The image at another size.

    Args:
        size: (height, width), or a number for the shorter side; the other one keeps the proportions.
        interpolation: "nearest", "bilinear", "bicubic" ...; Tensors have these three.
        max_size: the most pixels of the longer side, if `size` is a number.
        antialias: smooth Tensors before shrinking; PIL images always are.

    Raises ValueError: another size or interpolation.
    """
    mode = mode_of("resize", interpolation)
    _, h, w = size_of("resize", img)
    height, width = output_size(size, h, w, max_size)
    if (height, width) == (h, w):
        return img
    if is_pil(img):
        return img.resize((width, height), CODES[mode])
    if mode not in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        raise ValueError(
            f"[resize] got interpolation {mode!r} for a Tensor; expected nearest, bilinear or bicubic"
        )
    x = pixels("resize", img)
    planes = of_pixels(floats(x).reshape(-1, 1, h, w))
    # Only bilinear and bicubic, the modes that begin with "b", have antialias.
    y = interpolate(planes, (height, width), mode=mode, antialias=bool(antialias) and mode[0] == "b")
    return rounded(y._array.reshape(*x.shape[:-2], height, width), x.dtype)


def output_size(size: Size, h: int, w: int, max_size: int | None = None) -> tuple[int, int]:
    """Height and width of an image of (h, w) resized."""
    height, width = pair("resize", "size", size)
    if np.size(size) == 2:
        if max_size is not None:
            raise ValueError(
                f"[resize] got max_size {max_size!r} with size {size!r}; expected one number as size"
            )
        return height, width
    short = height
    long = int(height * max(h, w) / min(h, w))
    if max_size is not None:
        if max_size <= short:
            raise ValueError(f"[resize] got max_size {max_size!r}; expected more than size {size!r}")
        if long > max_size:
            short = int(max_size * short / long)
            long = max_size
    if h <= w:
        return (short, long)
    return (long, short)


def pad(img: ImageLike, padding: Size, fill: PerChannel = 0, padding_mode: str = "constant") -> Any:
    """The image with pixels added around it.

    Args:
        padding: a number for all sides, (left and right, top and bottom), or (left, top, right, bottom).
        fill: their value, or one for each channel, if padding_mode is "constant".
        padding_mode: "constant", "edge", "reflect" (the image flipped without its edge) or "symmetric".
    """
    mode: Any = one_of("pad", "padding_mode", padding_mode, MODES)
    left, top, right, bottom = sides("pad", padding)
    if is_pil(img):
        from PIL import Image, ImageOps

        if mode == "constant":
            return ImageOps.expand(img, (left, top, right, bottom), colour(img, fill))
        x = np.asarray(img)
        y = np.pad(x, [(top, bottom), (left, right)] + [(0, 0)] * (x.ndim - 2), mode=mode)
        out = Image.fromarray(y)
        if out.mode != img.mode:  # CMYK, P ..., of whose pixels NumPy sees bytes
            out = Image.frombytes(img.mode, out.size, y.tobytes())
        if img.palette is not None:
            colours: Any = img.getpalette(img.palette.mode)
            out.putpalette(colours, img.palette.mode)
        out.info = dict(img.info)
        return out
    x = pixels("pad", img, 2)
    widths = [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)]
    if mode != "constant":
        return of_pixels(np.pad(x, widths, mode=mode))
    y = np.empty([n + sum(around) for n, around in zip(x.shape, widths, strict=True)], x.dtype)
    fills = np.asarray(fill, x.dtype)
    y[...] = fills.reshape(-1, 1, 1) if fills.size > 1 else fills.reshape(())
    y[..., top : y.shape[-2] - bottom, left : y.shape[-1] - right] = x
    return of_pixels(y)


def colour(img: PILImage, fill: PerChannel | None) -> Any:
    """The value as pillow takes it for this image: one number for each channel."""
    bands = len(img.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, (int, float)):
        whole = fill if img.mode == "F" else int(fill)
        if bands == 1:
            return whole
        return (whole,) * bands
    if img.mode == "F":
        fills = tuple(fill)
    else:
        fills = tuple(int(number) for number in fill)
    if len(fills) not in (1, bands):
        raise ValueError(f"[fill] got {len(fills)} numbers for {bands} channels; expected as many")
    fills = fills * (bands // len(fills))
    if bands > 1:
        return fills
    return fills[0]


def rotate(
    img: ImageLike,
    angle: float,
    interpolation: Interpolation = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: PerChannel | None = None,
) -> Any:
    """The image rotated counter-clockwise by an angle in degrees, about `center` (x, y) or its middle.

    Args:
        expand: the result is so large that it holds the whole image rotated about its middle; `center` does
            not change its size.
        fill: the value of new pixels, or one for each channel. With "bilinear", a border pixel of which the
            share s lies in the image is s v + (1 - s) fill, where v is interpolated with zeros outside, as in
            torchvision.

    Raises ValueError: "bicubic" for a Tensor; another count of fills than of channels.
    """
    mode = mode_of("rotate", interpolation)
    if is_pil(img):
        from PIL import Image

        about: Any = center  # pillow takes every sequence, although its annotation says a tuple
        resampling = Image.Resampling(CODES[mode])
        return img.rotate(angle, resampling, expand, center=about, fillcolor=colour(img, fill))
    x = pixels("rotate", img)
    c, h, w = x.shape[-3:]
    if mode not in ("nearest", "bilinear"):
        raise ValueError(
            f"[rotate] got interpolation {mode!r} for a Tensor; expected nearest or bilinear, or a PIL image"
        )
    value = 0 if fill is None else fill
    fills = np.asarray(value, np.float64).reshape(-1, 1, 1)
    whole = x.dtype.kind in "iu" and np.iinfo(x.dtype)
    if len(fills) not in (1, c) or (whole and not (whole.min <= fills.min() <= fills.max() <= whole.max)):
        raise ValueError(
            f"[rotate] got fill {fill!r} for {c} channels of {x.dtype}; expected one number for all or each, "
            "of the dtype's range"
        )
    at = (w / 2, h / 2) if center is None else tuple(center)
    none = np.zeros(1)
    one = np.ones(1)
    with np.errstate(all="ignore"):
        if len(at) == 2:
            middle = tuple(np.subtract(at, (w / 2, h / 2)))
        else:
            middle = (np.nan, np.nan)
        # The angle (clockwise), movement, scale, shear and centre, as arrays for a batch of one image.
        matrix = inverse_affine(x, -angle * one, (none, none), one, [none, none], middle).reshape(2, 3)
        finite = np.isfinite(matrix.astype(np.float32)).all()
    if not finite:
        raise ValueError(
            f"[rotate] got center {center!r} and angle {angle}; expected (x, y) and finite numbers"
        )
    rows, columns = _expanded(matrix, h, w) if expand else (h, w)
    if not x.size:
        return of_pixels(np.zeros((*x.shape[:-2], rows, columns), x.dtype))
    planes = floats(x).reshape(-1, h, w)
    planes = np.append(planes, np.ones_like(planes[:1]), 0)  # rotated ones are the share of a pixel inside
    grid = _grid(matrix.astype(planes.dtype), (h, w), (rows, columns))
    moved = grid_sample(of_pixels(planes[None]), of_pixels(grid), mode, align_corners=False)._array[0]
    y = moved[:-1].reshape(*x.shape[:-2], rows, columns)
    inside = moved[-1]
    if fill is not None and mode == "nearest":
        y = np.where(inside > 0, y, fills)
    elif fill is not None:
        y = y * inside + (1 - inside) * fills.astype(y.dtype)
    return rounded(y, x.dtype)


def _expanded(matrix: Array, h: int, w: int) -> tuple[int, int]:
    """Height and width of the box around the turned image, in float32 and to 1e-4 as in torchvision."""
    x = w / 2
    y = h / 2
    corners = np.array([[-x, -y, 1.0], [-x, y, 1.0], [x, -y, 1.0], [x, y, 1.0]], np.float32)
    places = corners @ matrix.T.astype(np.float32)
    ends = (side + np.array([w / 2, h / 2], np.float32) for side in (places.max(0), places.min(0)))
    high, low = (np.trunc(side / 1e-4) * 1e-4 for side in ends)
    columns, rows = (np.ceil(high) - np.floor(low)).astype(int).tolist()
    return rows, columns


def _grid(matrix: Array, old: tuple[int, int], new: tuple[int, int]) -> Array:
    """For each pixel of the result its place (x, y) in the image, in [-1, 1]: (1, rows, columns, 2)."""
    h, w = old
    rows, columns = new
    grid = np.ones((rows, columns, 3), matrix.dtype)
    grid[..., 0] = np.arange(columns) - (columns - 1) / 2
    grid[..., 1] = np.arange(rows)[:, None] - (rows - 1) / 2
    scaled = matrix.T / np.array([w / 2, h / 2], matrix.dtype)
    return kernels.matmul(grid.reshape(-1, 3), scaled).reshape(1, rows, columns, 2)
