"""Flips, crops, pads and rotations of one image."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier.kernels as kernels
from ranvier.data.augment.geometry import inverse_affine
from ranvier.data.vision.images import (
    CODES,
    InterpolationMode,
    is_pil,
    mode_of,
    of_pixels,
    pixels,
    resize,
    size_of,
)

__all__ = [
    "center_crop", "crop", "hflip", "pad", "resized_crop", "rotate", "vflip",
]  # fmt: skip

MODES = "constant", "edge", "reflect", "symmetric"


def hflip(img: Any) -> Any:
    """Left and right exchanged."""
    return img.transpose(0) if is_pil(img) else of_pixels(pixels("hflip", img, 2)[..., ::-1])


def vflip(img: Any) -> Any:
    """Top and bottom exchanged."""
    return img.transpose(1) if is_pil(img) else of_pixels(pixels("vflip", img, 2)[..., ::-1, :])


def crop(img: Any, top: int, left: int, height: int, width: int) -> Any:
    """A box of the image (..., h, w); outside of it are zeros."""
    if height < 0 or width < 0:
        raise ValueError(f"[crop] got height {height} and width {width}; expected at least 0")
    if is_pil(img):
        return img.crop((left, top, left + width, top + height))
    x = pixels("crop", img, 2)
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
    both = [size] if isinstance(size, (int, np.integer)) else list(size)
    both = both * 2 if len(both) == 1 else both
    if len(both) != 2 or any(int(n) != n or n < 1 for n in both):
        raise ValueError(f"[{name}] got size {size!r}; expected a count of pixels, or (height, width)")
    return int(both[0]), int(both[1])


def center_crop(img: Any, output_size: Any) -> Any:
    """The centre of the image; smaller images are padded with 0."""
    height, width = pair_of("center_crop", output_size)
    _, h, w = size_of("center_crop", img)
    across, down = max(width - w, 0), max(height - h, 0)
    if across or down:
        img = pad(img, (across // 2, down // 2, (across + 1) // 2, (down + 1) // 2))
        h, w = h + down, w + across
    return crop(img, round((h - height) / 2.0), round((w - width) / 2.0), height, width)


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
    widths = [int(n) for n in (padding if np.ndim(padding) else [padding])]
    if len(widths) not in (1, 2, 4) or min(widths) < 0:
        raise ValueError(f"[pad] got padding {padding!r}; expected 1, 2 or 4 counts of pixels")
    left, top, right, bottom = widths * (4 // len(widths))
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
        y = np.pad(x, widths, mode=padding_mode)  # type: ignore[call-overload]
        out = Image.fromarray(y)
        if out.mode != img.mode:  # CMYK, P ..., of whose pixels NumPy sees bytes
            out = Image.frombytes(img.mode, out.size, y.tobytes())
        if img.palette is not None:
            out.putpalette(img.getpalette(img.palette.mode), img.palette.mode)
        out.info = dict(img.info)
        return out
    x = pixels("pad", img, 2)
    widths = [(0, 0)] * (x.ndim - 2) + [(top, bottom), (left, right)]
    if padding_mode != "constant":
        return of_pixels(np.pad(x, widths, mode=padding_mode))  # type: ignore[call-overload]
    y = np.empty([n + sum(around) for n, around in zip(x.shape, widths, strict=True)], x.dtype)
    fills = np.asarray(fill, x.dtype)
    y[...] = fills.reshape(-1, 1, 1) if fills.size > 1 else fills.reshape(())
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
    fills = tuple(fill) if img.mode == "F" else tuple(int(number) for number in fill)
    if len(fills) not in (1, bands):
        raise ValueError(f"[fill] got {len(fills)} numbers for {bands} channels; expected as many")
    fills = fills * (bands // len(fills))
    return fills if bands > 1 else fills[0]


def rotate(
    img: Any,
    angle: float,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Any = None,
    fill: Any = None,
) -> Any:
    """The image rotated counter-clockwise by an angle in degrees, about `center` (x, y) or its middle.

    Args:
        expand: the result is as large as the rotated image needs if that is about the middle.
        fill: the value of new pixels, or one for each channel. With "bilinear" a pixel at the border that
            lies inside by the share s is s v + (1 - s) fill with v interpolated to 0s, as torchvision has it.

    Raises ValueError: "bicubic" for a Tensor; another count of fills than of channels.
    """
    mode = mode_of("rotate", interpolation)
    if is_pil(img):
        return img.rotate(angle, CODES[mode], expand, center=center, fillcolor=colour(img, fill))
    x = pixels("rotate", img)
    c, h, w = x.shape[-3:]
    if mode not in ("nearest", "bilinear"):
        raise ValueError(
            f"[rotate] got interpolation {mode!r} for a Tensor; expected nearest or bilinear, or a PIL image"
        )
    fills = np.asarray(0 if fill is None else fill, np.float64).reshape(-1, 1, 1)
    whole = x.dtype.kind in "iu" and np.iinfo(x.dtype)
    if len(fills) not in (1, c) or (whole and not (whole.min <= fills.min() <= fills.max() <= whole.max)):
        raise ValueError(
            f"[rotate] got fill {fill!r} for {c} channels of {x.dtype}; expected one number for all or each, "
            "of the dtype's range"
        )
    at = (w / 2, h / 2) if center is None else tuple(center)
    none, one = np.zeros(1), np.ones(1)
    with np.errstate(all="ignore"):
        middle = tuple(np.subtract(at, (w / 2, h / 2))) if len(at) == 2 else (np.nan, np.nan)
        matrix = inverse_affine(x, -angle * one, (none, none), one, [none, none], middle)
        finite = np.isfinite(matrix.astype(np.float32)).all()
    if not finite:
        raise ValueError(
            f"[rotate] got center {center!r} and angle {angle}; expected (x, y) and finite numbers"
        )
    rows, columns = _expanded(matrix, h, w) if expand else (h, w)
    images = x.reshape(math.prod(x.shape[:-3]), c, h, w)
    if mode == "nearest":
        y = _nearest(images, matrix, rows, columns, fills)
    else:
        y = _bilinear(images, matrix, rows, columns, None if fill is None else fills)
    return of_pixels(y.reshape(*x.shape[:-2], rows, columns))


def _expanded(matrix: Any, h: int, w: int) -> tuple[int, int]:
    """Height and width of the box around the turned image, in float32 and to 1e-4 as in torchvision."""
    corners = np.array([[sx * w / 2, sy * h / 2, 1.0] for sx in (-1, 1) for sy in (-1, 1)], np.float32)
    places = corners @ matrix.reshape(2, 3).T.astype(np.float32)
    sides = (side + np.array([w / 2, h / 2], np.float32) for side in (places.max(0), places.min(0)))
    high, low = (np.trunc(side / 1e-4) * 1e-4 for side in sides)
    columns, rows = (np.ceil(high) - np.floor(low)).astype(int).tolist()
    return rows, columns


def _nearest(images: Any, matrix: Any, rows: int, columns: int, fills: Any) -> Any:
    """With coordinates in [-1, 1] as `grid_sample` has them: places half way between pixels round alike."""
    h, w = images.shape[2:]
    kind = np.float64 if images.dtype == np.float64 else np.float32
    grid = np.ones((rows, columns, 3), kind)
    grid[..., 0] = np.arange(columns) - (columns - 1) / 2
    grid[..., 1] = np.arange(rows)[:, None] - (rows - 1) / 2
    scaled = matrix.reshape(2, 3).astype(kind).T / np.array([max(w, 1) / 2, max(h, 1) / 2], kind)
    across, down = kernels.matmul(grid.reshape(-1, 3), scaled).T.reshape(2, rows, columns) + kind(1)
    j, i = (np.rint(at * kind(n / 2) - kind(0.5)) for at, n in ((across, w), (down, h)))
    inside = (i >= 0) & (i < h) & (j >= 0) & (j < w)
    at = np.where(inside, i * w + j, 0).astype(np.int64)
    y = images.reshape(*images.shape[:2], h * w).take(at, 2)
    fills = fills if images.dtype.kind == "f" else np.rint(fills)
    return np.where(inside, y, fills.astype(y.dtype))


def _bilinear(images: Any, matrix: Any, rows: int, columns: int, fills: Any) -> Any:
    h, w = images.shape[2:]
    m = matrix.reshape(2, 3).copy()
    m[:, 2] += np.array([w - 1, h - 1]) / 2 - m[:, :2] @ (np.array([columns - 1, rows - 1]) / 2)
    places = np.repeat(m.reshape(1, 6), len(images), 0)
    real = images if images.dtype in (np.float32, np.float64) else images.astype(np.float32)
    if fills is not None:
        real = np.append(real, np.ones_like(real[:, :1]), 1)
    y = kernels.affine_images(real, places, height=rows, width=columns)
    if fills is not None:
        y, share = y[:, :-1], y[:, -1:]
        y = y * share + (1 - share) * fills.astype(y.dtype)
    return (y if images.dtype.kind == "f" else np.rint(y)).astype(images.dtype, copy=False)
