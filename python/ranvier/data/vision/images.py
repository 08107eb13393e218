"""What an image is: a PIL image or a Tensor (..., c, h, w)."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.autograd.memory import Array

__all__ = ["InterpolationMode"]  # what functional has of it


def is_pil(image: Any) -> bool:
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(image, module.Image)


def pixels(name: str, image: Any, ndim: int = 3) -> Array:
    """The array of a Tensor of at least `ndim` dimensions.

    Raises:
        TypeError: anything else than a Tensor.
        ValueError: too few dimensions.
        RuntimeError: a Tensor that requires grad; in a step of `rv.compile`.
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


def size_of(name: str, image: Any) -> tuple[int, int, int]:
    """(channels, height, width)."""
    if is_pil(image):
        return len(image.getbands()), image.height, image.width
    *more, h, w = pixels(name, image, 2).shape
    return more[-1] if more else 1, h, w


def of_pixels(y: Array) -> Tensor:
    return wrap(np.ascontiguousarray(y))


def floats(x: Array) -> Array:
    """The numbers to compute with: float32, or float64 of float64."""
    return x.astype(np.float64 if x.dtype == np.float64 else np.float32, copy=False)


def rounded(y: Array, dtype: Any) -> Tensor:
    """Computed numbers as an image of a dtype; whole numbers are rounded, and limited to its range."""
    if dtype.kind != "f":
        y = np.rint(y)
    if dtype.kind in "iu":
        y = y.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return of_pixels(y.astype(dtype, copy=False))


class InterpolationMode(Enum):
    """How numbers between pixels are found."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"


# pillow's numbers
CODES = {"nearest": 0, "nearest-exact": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def mode_of(name: str, interpolation: Any) -> str:
    """The name of an InterpolationMode, a name, or a number of pillow."""
    if isinstance(interpolation, InterpolationMode):
        return str(interpolation.value)
    for mode, code in CODES.items():
        if interpolation == mode or (not isinstance(interpolation, str) and interpolation == code):
            return mode
    raise ValueError(f"[{name}] got interpolation {interpolation!r}; expected one of {', '.join(CODES)}")
