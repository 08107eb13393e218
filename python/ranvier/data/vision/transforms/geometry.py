"""Flips, crops, pads, rotations and erased boxes of one image."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.data.augment.geometry import inverse_affine
from ranvier.data.vision.images import is_pil, of_pixels, pixels, size_of
from ranvier.data.vision.transforms.resize import CODES, InterpolationMode, mode_of, resize

__all__ = [
    "affine",
    "center_crop",
    "crop",
    "erase",
    "five_crop",
    "hflip",
    "pad",
    "resized_crop",
    "rotate",
    "vflip",
]

MODES = "constant", "edge", "reflect", "symmetric"


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return img.transpose(0) if is_pil(img) else of_pixels(pixels("hflip", img)[..., ::-1])


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return img.transpose(1) if is_pil(img) else of_pixels(pixels("vflip", img)[..., ::-1, :])


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A box of the image; outside of it are zeros."""
    if is_pil(img):
        return img.crop((left, top, left + width, top + height))
    x = pixels("crop", img)
    h, w = x.shape[-2:]
    y = np.zeros((*x.shape[:-2], height, width), x.dtype)
    rows, columns = (
        slice(max(at, 0), max(min(at + n, old), 0)) for at, n, old in ((top, height, h), (left, width, w))
    )
    part = x[..., rows, columns]
    down, across = rows.start - top, columns.start - left
    y[..., down : down + part.shape[-2], across : across + part.shape[-1]] = part
    return of_pixels(y)


def pair_of(name: str, size: Any) -> tuple[int, int]:
    """(height, width) of a number or a sequence of one or two."""
    given = [size] if isinstance(size, (int, np.integer)) else list(size)
    given = given * 2 if len(given) == 1 else given
    if len(given) != 2 or any(int(n) != n or n < 1 for n in given):
        raise ValueError(f"[{name}] got size {size!r}; expected a count of pixels, or (height, width)")
    return int(given[0]), int(given[1])


def center_crop(img: Any, output_size: Any) -> Any:
    """The centre of the image; smaller images are padded with 0."""
    height, width = pair_of("center_crop", output_size)
    _, h, w = size_of("center_crop", img)
    across, down = max(width - w, 0), max(height - h, 0)
    if across or down:
        img = pad(img, (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2))
        h, w = h + down, w + across
    return crop(img, round((h - height) / 2.0), round((w - width) / 2.0), height, width)


def five_crop(img: Any, size: Any) -> tuple[Any, ...]:
    """The four corners (top left, top right, bottom left, bottom right) and the centre."""
    height, width = pair_of("five_crop", size)
    _, h, w = size_of("five_crop", img)
    if height > h or width > w:
        raise ValueError(
            f"[five_crop] got size {(height, width)} for an image of {(h, w)}; expected at most that"
        )
    corners = [(0, 0), (0, w - width), (h - height, 0), (h - height, w - width)]
    return (*(crop(img, *corner, height, width) for corner in corners), center_crop(img, (height, width)))


def resized_crop(
    img: Any,
    top: int,
    left: int,
    height: int,
    width: int,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    """A box of the image, resized."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def sides(padding: Any) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of a number, (across, down) or all four."""
    given = [int(n) for n in (padding if np.ndim(padding) else [padding])]
    if len(given) not in (1, 2, 4) or min(given) < 0:
        raise ValueError(f"[pad] got padding {padding!r}; expected 1, 2 or 4 counts of pixels")
    left, top, right, bottom = (given * (4 // len(given))) if len(given) < 4 else given
    return left, top, right, bottom


def pad(img: Any, padding: Any, fill: Any = 0, padding_mode: str = "constant") -> Any:
    """The image with pixels around it.

    Args:
        padding: a number for all sides, (left and right, top and bottom), or (left, top, right, bottom).
        fill: their value, or one for each channel, if padding_mode is "constant".
        padding_mode: "constant", "edge", "reflect" (the image flipped without its edge) or "symmetric".
    """
    if padding_mode not in MODES:
        raise ValueError(f"[pad] got padding_mode {padding_mode!r}; expected one of {', '.join(MODES)}")
    left, top, right, bottom = sides(padding)
    if is_pil(img):
        from PIL import Image, ImageOps

        if padding_mode == "constant":
            return ImageOps.expand(img, (left, top, right, bottom), colour(img, fill))
        x = np.asarray(img)
        widths = [(top, bottom), (left, right)] + [(0, 0)] * (x.ndim - 2)
        return Image.fromarray(np.pad(x, widths, mode=padding_mode))  # type: ignore[call-overload]
    x = pixels("pad", img)
    widths = [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)]
    if padding_mode != "constant":
        return of_pixels(np.pad(x, widths, mode=padding_mode))  # type: ignore[call-overload]
    y = np.empty([n + sum(around) for n, around in zip(x.shape, widths, strict=True)], x.dtype)
    y[...] = np.asarray(fill, x.dtype).reshape(-1, 1, 1)
    y[..., top : y.shape[-2] - bottom, left : y.shape[-1] - right] = x
    return of_pixels(y)


def colour(img: Any, fill: Any) -> Any:
    """The value as pillow takes it for this image: one number for each channel."""
    bands = len(img.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, (int, float)):
        whole = fill if img.mode == "F" else int(fill)
        return whole if bands == 1 else (whole,) * bands
    given = tuple(fill)
    if len(given) not in (1, bands):
        raise ValueError(f"[fill] got {len(given)} numbers for {bands} channels; expected as many")
    given = given * (bands // len(given))
    return given if bands > 1 else given[0]


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Any = None,
    fill: Any = None,
) -> Any:
    """The image rotated counter-clockwise by an angle in degrees; new pixels have the value `fill`.

    Args: `expand` (the result holds the whole image) and `center` (x, y) are for PIL images.

    Raises ValueError: another interpolation; `expand` or `center` with a Tensor.
    """
    mode = mode_of("rotate", interpolation)
    if is_pil(img):
        return img.rotate(angle, CODES[mode], expand, center=center, fillcolor=colour(img, fill))
    if expand or center is not None or mode not in ("nearest", "bilinear"):
        raise ValueError(
            f"[rotate] got interpolation {mode!r}, expand {expand!r} and center {center!r} for a Tensor; "
            "expected nearest or bilinear, False and None: rotate the PIL image"
        )
    return _moved(pixels("rotate", img), (-angle, 0, 0, 1, 0, 0), mode, fill)


def _moved(x: Any, numbers: Any, mode: str, fill: Any) -> Any:
    """A Tensor of images moved by (angle, across, down, scale, shear x, shear y)."""
    c, h, w = x.shape[-3:]
    images = x.reshape(-1, 1, h, w)
    angle, across, down, scale, *shear = (np.full(len(images), float(number)) for number in numbers)
    matrix = inverse_affine(images, angle, (across, down), scale, shear)
    fills = np.broadcast_to(np.asarray(0 if fill is None else fill, np.float64).ravel(), (c,))
    parts = [
        _core.affine_images(images[channel::c], matrix[channel::c], float(fills[channel]), mode)
        for channel in range(c)
    ]
    return of_pixels(np.concatenate(parts, 1).reshape(x.shape))


def affine(
    img: Any,
    angle: float,
    translate: Any,
    scale: float,
    shear: Any,
    interpolation: Any = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Any = None,
) -> Any:
    """The image scaled, sheared, rotated clockwise and moved, about its centre; it keeps its size.

    Args:
        angle: in degrees.
        translate: pixels to the right and down.
        scale: greater than 0.
        shear: in degrees: a number shears the rows, (rows, columns) both, and (number,) both by it.
        interpolation: "nearest" or "bilinear"; "bicubic" for PIL images.
        fill: the value of new pixels, or one for each channel.
        center: (x, y), for PIL images.

    Raises ValueError: scale <= 0, other counts of numbers, another interpolation, `center` with a Tensor.
    """
    mode = mode_of("affine", interpolation)
    shears = [shear, 0.0] if np.ndim(shear) == 0 else [*shear] * (1 + (len(shear) == 1))
    if scale <= 0 or len(translate) != 2 or len(shears) != 2:
        raise ValueError(
            f"[affine] got translate {translate!r}, scale {scale!r} and shear {shear!r}; expected (across, "
            "down), a number > 0, and one or two angles"
        )
    if is_pil(img):
        from PIL import Image

        _, h, w = size_of("affine", img)
        middle = tuple(center) if center is not None else (w * 0.5, h * 0.5)
        one = np.ones(1)
        move, angles = [one * n for n in translate], [one * n for n in shears]
        matrix = inverse_affine(one, one * angle, move, one * scale, angles, middle)
        around = colour(img, fill)
        return img.transform(
            (w, h), Image.Transform.AFFINE, matrix[0].tolist(), CODES[mode], fillcolor=around
        )
    if center is not None or mode not in ("nearest", "bilinear"):
        raise ValueError(
            f"[affine] got interpolation {mode!r} and center {center!r} for a Tensor; expected nearest or "
            "bilinear, and None: change the PIL image"
        )
    return _moved(pixels("affine", img), (angle, *translate, scale, *shears), mode, fill)


def erase(img: Any, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Any:
    """A Tensor with the box of h rows from i and w columns from j set to v, a number or one per channel."""
    x = pixels("erase", img)
    out = img if inplace else of_pixels(np.array(x))
    value = getattr(v, "_array", v)
    with_channels = np.asarray(value, x.dtype)
    if with_channels.ndim == 1:
        with_channels = with_channels.reshape(-1, 1, 1)
    out[..., i : i + h, j : j + w] = of_pixels(np.broadcast_to(with_channels, (*x.shape[:-2], h, w)))
    return out
