"""Transforms as functions of an image, without random numbers.

Here are conversions of PIL images, Tensors and dtypes, brightness, contrast and colours. Flips, crops, pads
and rotations are in `images`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import Tensor, wrap
from ranvier.data import Normalize
from ranvier.data.checks import pair
from ranvier.data.datasets.images import pillow
from ranvier.data.vision.images import *
from ranvier.data.vision.images import floats, is_pil, of_pixels, pixels, rounded
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL.Image import Image as PILImage

    from ranvier.data.vision.images import ImageLike, PerChannel, Size
    from ranvier.tensors.types import DtypeLike


def to_tensor(pic: PILImage | Array) -> Tensor:
    """A PIL image or an array (h, w) or (h, w, c) as a Tensor (c, h, w); bytes are divided by 255.

    Images of mode I;16 are uint16 (torchvision makes those above 32767 negative).

    Raises TypeError: anything else; ValueError: another number of dimensions.

    >>> import numpy as np
    >>> from ranvier.data.vision.transforms import functional
    >>> functional.to_tensor(np.array([[0, 255]], np.uint8))
    tensor([[[0., 1.]]])
    """
    if isinstance(pic, np.ndarray) and pic.ndim not in (2, 3):
        raise ValueError(f"[to_tensor] got an array of shape {pic.shape}; expected (h, w) or (h, w, c)")
    x = _channels_first("to_tensor", pic)
    if x.dtype == np.bool_ and is_pil(pic):
        return of_pixels(x.astype(np.float32))
    if x.dtype != np.uint8:
        return wrap(np.array(x, order="C"))
    y = x.astype(np.float32, order="C")
    y /= np.float32(255)
    return wrap(y)


def pil_to_tensor(pic: PILImage) -> Tensor:
    """A PIL image as a Tensor (c, h, w) of its numbers: uint8, uint16 of mode I;16, bool of mode 1 ..."""
    if not is_pil(pic):
        raise TypeError(f"[pil_to_tensor] got {type(pic).__name__}; expected a PIL image")
    return wrap(np.array(_channels_first("pil_to_tensor", pic), order="C"))


def _channels_first(name: str, pic: PILImage | Array) -> Array:
    if not (isinstance(pic, np.ndarray) or is_pil(pic)):
        raise TypeError(f"[{name}] got {type(pic).__name__}; expected a PIL image or an array")
    x = np.asarray(pic)
    if x.dtype == np.bool_:
        x = x.view(np.uint8) != 0  # pillow's true is 255
    if x.ndim == 2:
        return x[None]
    return x.transpose(2, 0, 1)


def to_pil_image(pic: Tensor | Array, mode: str | None = None) -> PILImage:
    """A Tensor (c, h, w) or (h, w), or an array (h, w, c) or (h, w), as a PIL image; floats are times 255.

    Raises TypeError, ValueError: dtypes and numbers of channels that no mode of pillow has.
    """
    image = pillow("to_pil_image")
    if isinstance(pic, Tensor):
        x = pixels("to_pil_image", pic, 2)
        if x.ndim == 2:
            x = x[None]
        if x.ndim != 3:
            raise ValueError(f"[to_pil_image] got a Tensor of shape {pic.shape}; expected (c, h, w)")
        if x.dtype.kind == "f" and mode != "F":
            x = (x * x.dtype.type(255)).astype(np.uint8)
        x = x.transpose(1, 2, 0)
    elif isinstance(pic, np.ndarray) and pic.ndim in (2, 3):
        x = pic if pic.ndim == 3 else pic[..., None]
    else:
        raise TypeError(f"[to_pil_image] got {type(pic).__name__}; expected a Tensor (c, h, w) or an array")
    channels = x.shape[2]
    codes = {"uint8": "L", "int16": "I;16", "uint16": "I;16", "int32": "I", "float32": "F"}
    modes = {1: (codes.get(x.dtype.name),), 2: ("LA",), 3: ("RGB", "YCbCr", "HSV")}
    modes[4] = ("RGBA", "CMYK", "RGBX")
    allowed = modes.get(channels, ())
    if not allowed or None in allowed or (channels > 1 and x.dtype != np.uint8):
        raise TypeError(
            f"[to_pil_image] got {channels} channels of dtype {x.dtype}; expected 1 to 4 channels of "
            f"uint8, or one of {', '.join(codes)}"
        )
    if mode is not None and mode not in allowed:
        raise ValueError(
            f"[to_pil_image] got mode {mode!r} for {channels} channels of {x.dtype}; expected one of "
            f"{allowed}"
        )
    if channels == 1:
        x = x[..., 0]
    picture = image.fromarray(np.ascontiguousarray(x))
    if mode is None or picture.mode == mode:
        return picture
    return image.frombytes(mode, picture.size, picture.tobytes())


def convert_image_dtype(image: Tensor, dtype: DtypeLike = np.float32) -> Tensor:
    """Numbers in the range of another dtype: 0 ... 1 for floats, 0 ... the largest number for integers."""
    x, to = pixels("convert_image_dtype", image, 0), np.dtype(dtype)
    if x.dtype == to:
        return image
    if x.dtype.kind == "f" and to.kind == "f":
        return wrap(x.astype(to))
    if x.dtype.kind == "f":
        if to.itemsize >= x.dtype.itemsize:
            raise RuntimeError(f"[convert_image_dtype] {x.dtype} cannot hold all numbers of {to}")
        # torchvision's factor, by which 1.0 becomes the largest number
        return wrap((x * x.dtype.type(np.iinfo(to).max + 1.0 - 1e-3)).astype(to))
    if to.kind == "f":
        return wrap(x.astype(to) / to.type(np.iinfo(x.dtype).max))
    largest = int(np.iinfo(x.dtype).max)
    most = int(np.iinfo(to).max)
    if largest > most:
        return wrap((x // ((largest + 1) // (most + 1))).astype(to))
    return wrap(x.astype(to) * to.type((most + 1) // (largest + 1)))


def normalize(tensor: Tensor, mean: PerChannel, std: PerChannel, inplace: bool = False) -> Tensor:
    """(x - mean) / std for each channel of floats (..., c, h, w): see `rv.data.Normalize`."""
    return normalized(Normalize(mean, std), tensor, inplace)


def normalized(step: Normalize, tensor: Tensor, inplace: bool) -> Tensor:
    pixels("normalize", tensor)
    y: Tensor = step(tensor)
    if inplace:
        return tensor.copy_(y)
    return y


LUMA = 0.2989, 0.587, 0.114


def adjust_brightness(img: ImageLike, brightness_factor: float) -> Any:
    """The image times a factor: 0 is black, 1 unchanged."""
    return _adjusted("adjust_brightness", img, brightness_factor, "Brightness", lambda x: 0.0)


def adjust_contrast(img: ImageLike, contrast_factor: float) -> Any:
    """The image's difference from its mean gray, times a factor: 0 is gray, 1 unchanged."""
    return _adjusted("adjust_contrast", img, contrast_factor, "Contrast", _mean_gray)


def adjust_saturation(img: ImageLike, saturation_factor: float) -> Any:
    """The image's difference from its gray version, times a factor: 0 is gray, 1 unchanged."""
    return _adjusted("adjust_saturation", img, saturation_factor, "Color", _gray)


def _adjusted(
    name: str, img: ImageLike, factor: float, enhancer: str, other: Callable[[Array], Array | float]
) -> Any:
    """The image mixed with another: factor times itself, and 1 - factor times other(image)."""
    if not factor >= 0:
        raise ValueError(f"[{name}] got factor {factor!r}; expected at least 0")
    if is_pil(img):
        from PIL import ImageEnhance

        return getattr(ImageEnhance, enhancer)(img).enhance(factor)
    x = _colors(name, img)
    if x.shape[-3] == 1 and enhancer == "Color":
        return img
    most = 1.0 if x.dtype.kind == "f" else float(np.iinfo(x.dtype).max)
    working = np.float64 if x.dtype == np.float64 else np.float32
    mixed = working(factor) * x.astype(working) + working(1.0 - factor) * other(x)
    return of_pixels(mixed.clip(0, most).astype(x.dtype))


def _colors(name: str, img: ImageLike) -> Array:
    x = pixels(name, img)
    if x.shape[-3] not in (1, 3):
        raise ValueError(f"[{name}] got {x.shape[-3]} channels; expected 1 or 3")
    return x


def _gray(x: Array) -> Array:
    """(..., 1, h, w) in the dtype of x."""
    if x.shape[-3] == 1:
        return x
    working = x.dtype.type if x.dtype.kind == "f" else np.float32
    red, green, blue = (working(share) * x[..., i, :, :].astype(working) for i, share in enumerate(LUMA))
    return (red + green + blue).astype(x.dtype)[..., None, :, :]


def _mean_gray(x: Array) -> Array:
    gray = _gray(x)
    if x.dtype.kind != "f":
        gray = gray.astype(np.float32)
    return gray.mean((-3, -2, -1), keepdims=True)


def adjust_hue(img: ImageLike, hue_factor: float) -> Any:
    """The hue moved around the circle of colours by -0.5 ... 0.5 of it."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"[adjust_hue] got hue_factor {hue_factor!r}; expected -0.5 to 0.5")
    if is_pil(img):
        return _pil_with_hue_moved(img, hue_factor)
    x = _colors("adjust_hue", img)
    if x.shape[-3] == 1:
        return img
    colours = convert_image_dtype(wrap(x), np.float32)
    hue, saturation, value = _hsv(colours._array)
    moved = (hue + np.float32(hue_factor)) % 1
    return convert_image_dtype(of_pixels(_rgb(moved, saturation, value)), x.dtype)


def _pil_with_hue_moved(img: PILImage, hue_factor: float) -> PILImage:
    """Pillow's hues are bytes, so the circle of colours has 256 steps. Gray images have no hue."""
    if img.mode in ("L", "1", "I", "F"):
        return img
    from PIL import Image

    hue, saturation, value = img.convert("HSV").split()
    moved = (np.asarray(hue, np.int64) + int(hue_factor * 255)) % 256
    moved_hue = Image.fromarray(moved.astype(np.uint8))
    return Image.merge("HSV", (moved_hue, saturation, value)).convert(img.mode)


def _hsv(x: Array) -> tuple[Array, Array, Array]:
    """Source: A. R. Smith, "Color gamut transform pairs", 1978."""
    r, g, b = (x[..., i, :, :] for i in range(3))
    most, least = x.max(-3), x.min(-3)
    spread = most - least
    one = np.float32(1)
    s = spread / np.where(spread == 0, one, most)
    rc, gc, bc = ((most - part) / np.where(spread == 0, one, spread) for part in (r, g, b))
    sector = np.where(most == r, bc - gc, np.where(most == g, 2 + rc - bc, 4 + gc - rc))
    return np.fmod(sector / np.float32(6) + 1, one), s, most


def _rgb(h: Array, s: Array, v: Array) -> Array:
    whole = np.floor(h * 6)
    f = h * 6 - whole
    p, q, t = ((v * (1 - part)).clip(0, 1) for part in (s, s * f, s * (1 - f)))
    sector = whole.astype(np.int64) % 6
    red = np.choose(sector, (v, q, p, p, t, v))
    green = np.choose(sector, (t, v, v, q, p, p))
    blue = np.choose(sector, (p, p, t, v, v, q))
    return np.stack([red, green, blue], -3)


def to_grayscale(img: ImageLike, num_output_channels: int = 1) -> Any:
    """The luma 0.299 R + 0.587 G + 0.114 B, in one channel or in three equal ones."""
    if num_output_channels not in (1, 3):
        raise ValueError(f"[to_grayscale] got num_output_channels {num_output_channels!r}; expected 1 or 3")
    if is_pil(img):
        gray = img.convert("L")
        if num_output_channels == 1:
            return gray
        from PIL import Image

        return Image.merge("RGB", (gray, gray, gray))
    y = _gray(_colors("to_grayscale", img))
    return of_pixels(np.repeat(y, num_output_channels, -3))


rgb_to_grayscale = to_grayscale


def gaussian_blur(img: ImageLike, kernel_size: Size, sigma: float | Sequence[float] | None = None) -> Any:
    """The image convolved with a Gaussian of odd size (x, y) and deviations (x, y); edges are reflected."""
    sizes = pair("gaussian_blur", "kernel_size", kernel_size)
    if any(size % 2 == 0 for size in sizes):
        raise ValueError(f"[gaussian_blur] got kernel_size {kernel_size!r}; expected one or two odd numbers")
    if sigma is None:
        sigma = [0.15 * size + 0.35 for size in sizes]
    sigmas = [float(s) for s in np.atleast_1d(sigma).tolist()]
    if len(sigmas) not in (1, 2) or min(sigmas) <= 0:
        raise ValueError(f"[gaussian_blur] got sigma {sigma!r}; expected one or two numbers above 0")
    if is_pil(img):
        return to_pil_image(gaussian_blur(pil_to_tensor(img), sizes, sigmas), img.mode)
    x = pixels("gaussian_blur", img)
    y = of_pixels(floats(x).reshape(-1, 1, *x.shape[-2:]))
    half_x, half_y = (size // 2 for size in sizes)
    across = _gauss(sizes[0], sigmas[0]).astype(y.dtype)
    down = _gauss(sizes[1], sigmas[-1]).astype(y.dtype)
    y = nn.functional.pad(y, (half_x, half_x, half_y, half_y), "reflect")
    y = nn.functional.conv2d(y, wrap(np.outer(down, across)[None, None]))
    return rounded(y._array.reshape(x.shape), x.dtype)


def _gauss(size: int, sigma: float) -> Array:
    at = np.arange(size) - size // 2
    taps = np.exp(-0.5 * (at / sigma) ** 2)
    return taps / taps.sum()
