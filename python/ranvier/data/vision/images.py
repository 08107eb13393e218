"""What an image is, a PIL image or a Tensor (..., c, h, w), and images at other sizes."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Any

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.autograd.memory import Array
from ranvier.nn.functional import interpolate
from ranvier.ops.image.resample import filters

__all__ = ["InterpolationMode", "resize"]  # what functional has of it


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


def resize(
    img: Any,
    size: Any,
    interpolation: Any = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Any:
    """The image at another size.

    Args:
        size: (height, width), or a number for the shorter side; the other one keeps the proportions.
        interpolation: "nearest", "bilinear", "bicubic" ...; Tensors have these three.
        max_size: the most pixels of the longer side, if `size` is a number.
        antialias: of Tensors, smooth before shrinking; PIL images always are.

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
    if mode.startswith("nearest"):
        half = 0.5 if mode == "nearest-exact" else 0.0
        rows, columns = (
            np.minimum(
                (np.arange(n, dtype=np.float32) + np.float32(half)) * (np.float32(old) / np.float32(n)),
                old - 1,
            ).astype(np.int64)
            for n, old in ((height, h), (width, w))
        )
        return of_pixels(x[..., rows[:, None], columns])
    y = x if x.dtype.kind == "f" else x.astype(np.float32)
    if antialias:
        y = filters(h, height, h / height, mode) @ y @ filters(w, width, w / width, mode).T
        y = y.astype(x.dtype if x.dtype.kind == "f" else y.dtype)
    else:
        batch = of_pixels(y.reshape(-1, 1, h, w))
        y = interpolate(batch, (height, width), mode=mode)._array.reshape(*x.shape[:-2], height, width)
    if x.dtype.kind == "f":
        return of_pixels(y)
    limits = np.iinfo(x.dtype)
    return of_pixels(np.rint(y).clip(limits.min, limits.max).astype(x.dtype))


def output_size(size: Any, h: int, w: int, max_size: int | None = None) -> tuple[int, int]:
    """Height and width of an image of (h, w) resized."""
    sizes = [size] if isinstance(size, (int, np.integer)) else list(size)
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in sizes)
    if len(sizes) not in (1, 2) or not whole:
        raise ValueError(f"[resize] got size {size!r}; expected a count of pixels, or (height, width)")
    if len(sizes) == 2:
        if max_size is not None:
            raise ValueError(
                f"[resize] got max_size {max_size!r} with size {size!r}; expected one number as size"
            )
        return int(sizes[0]), int(sizes[1])
    short, long = int(sizes[0]), int(sizes[0] * max(h, w) / min(h, w))
    if max_size is not None:
        if max_size <= short:
            raise ValueError(f"[resize] got max_size {max_size!r}; expected more than size {size!r}")
        if long > max_size:
            short, long = int(max_size * short / long), max_size
    return (short, long) if h <= w else (long, short)
