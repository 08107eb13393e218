"""Grids of images, and image files."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, no_grad, wrap
from ranvier.data.datasets.images import pillow
from ranvier.data.vision.images import pixels
from ranvier.serialization.files import replace
from ranvier.tensors.memory import Array

__all__ = ["make_grid", "save_image"]


def make_grid(
    tensor: Tensor | Sequence[Tensor],
    nrow: int = 8,
    padding: int = 2,
    normalize: bool = False,
    value_range: tuple[float, float] | None = None,
    scale_each: bool = False,
    pad_value: float = 0.0,
    range: tuple[float, float] | None = None,
) -> Tensor:
    """Images side by side as one image (c, H, W), as torchvision's.

    Args:
        tensor: images (n, c, h, w), (c, h, w) or (h, w), or a list of equal images; one channel
            becomes three.
        nrow: the number of images in a row.
        padding: pixels around each image, of value `pad_value`.
        normalize: scale to 0 ... 1, from `value_range` (also named `range`) or the smallest and largest
            number; with `scale_each` for each image.

    Raises ValueError: other shapes, no images, or nrow or padding that are no counts.

    >>> import ranvier as rv
    >>> from ranvier.data.vision import utils
    >>> utils.make_grid(rv.zeros(5, 1, 4, 4), nrow=3).shape
    (3, 14, 20)
    """
    x = _batch(tensor)
    if nrow < 1 or padding < 0:
        raise ValueError(f"[make_grid] got nrow {nrow} and padding {padding}; expected counts of pixels")
    if normalize:
        limits = value_range if value_range is not None else range
        if scale_each:
            x = np.stack([_scaled(image, limits) for image in x])
        else:
            x = _scaled(x, limits)
    if len(x) == 1:
        return wrap(np.array(x[0]))
    n, c, h, w = x.shape
    columns = min(nrow, n)
    rows = -(-n // columns)
    h = h + padding
    w = w + padding
    grid = np.full((c, h * rows + padding, w * columns + padding), pad_value, x.dtype)
    for number, image in enumerate(x):
        top = number // columns * h + padding
        left = number % columns * w + padding
        grid[:, top : top + h - padding, left : left + w - padding] = image
    return wrap(grid)


def _batch(tensor: Tensor | Sequence[Tensor]) -> Array:
    """(n, c, h, w) with one channel as three."""
    with no_grad():
        if isinstance(tensor, (list, tuple)):
            if not tensor:
                raise ValueError("[make_grid] got no images; expected at least one")
            x = np.stack([pixels("make_grid", image.detach(), 2) for image in tensor])
        else:
            if isinstance(tensor, Tensor):
                tensor = tensor.detach()
            x = pixels("make_grid", tensor, 2)
    if x.ndim == 2:
        x = x[None]
    if x.ndim == 3:
        x = x[None]
    if x.ndim != 4 or not len(x):
        raise ValueError(f"[make_grid] got shape {x.shape}; expected (n, c, h, w) with at least one image")
    if x.shape[1] == 1:
        return np.repeat(x, 3, axis=1)
    return x


def _scaled(x: Array, limits: tuple[float, float] | None) -> Array:
    if x.dtype.kind != "f":
        raise TypeError(f"[make_grid] got images of dtype {x.dtype}; expected floats with normalize=True")
    low, high = (float(x.min()), float(x.max())) if limits is None else limits
    return (x.clip(low, high) - x.dtype.type(low)) / x.dtype.type(max(high - low, 1e-5))


def save_image(
    tensor: Tensor | Sequence[Tensor],
    fp: str | os.PathLike[str] | Any,
    format: str | None = None,
    **options: Any,
) -> None:
    """Write images of numbers in 0 ... 1 as an image file, several as a grid (`make_grid`).

    Args:
        options: those of `make_grid`.
        fp: a path, whose ending is the format, or a file opened for writing, with `format`.

    Raises ImportError: pillow is not installed.
    """
    image = pillow("save_image")
    grid = make_grid(tensor, **options)._array
    levels = (grid * 255 + 0.5).clip(0, 255).astype(np.uint8)
    picture = image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0)))
    if not isinstance(fp, (str, os.PathLike)):
        return picture.save(fp, format=format)
    content: Any = io.BytesIO()
    content.name = os.fspath(fp)  # Pillow takes the format from the ending of the name.
    picture.save(content, format=format)
    replace(fp, content.getbuffer())
