"""What an image is: a PIL image, or a Tensor (..., c, h, w)."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.autograd.memory import Array

__all__ = ["is_pil", "of_pixels", "pillow", "pixels", "size_of", "wrap"]


def pillow(name: str) -> Any:
    """The module PIL.Image."""
    try:
        import PIL.Image
    except ImportError:
        raise ImportError(f"[{name}] needs pillow: pip install 'ranvier[images]'") from None
    return PIL.Image


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
