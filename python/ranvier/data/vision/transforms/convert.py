"""Images, arrays and Tensors into each other."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.autograd.memory import Array
from ranvier.data import Normalize
from ranvier.data.vision.images import is_pil, of_pixels, pillow, pixels

__all__ = ["convert_image_dtype", "normalize", "pil_to_tensor", "to_pil_image", "to_tensor"]


def to_tensor(pic: Any) -> Tensor:
    """A PIL image or an array (h, w) or (h, w, c) as a Tensor (c, h, w); bytes are divided by 255.

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


def pil_to_tensor(pic: Any) -> Tensor:
    """A PIL image as a Tensor (c, h, w) of its numbers, uint8 for usual images."""
    if not is_pil(pic):
        raise TypeError(f"[pil_to_tensor] got {type(pic).__name__}; expected a PIL image")
    x = _channels_first("pil_to_tensor", pic)
    return wrap(np.array(x, np.uint8 if x.dtype == np.bool_ else None, order="C"))


def _channels_first(name: str, pic: Any) -> Array:
    if not (isinstance(pic, np.ndarray) or is_pil(pic)):
        raise TypeError(f"[{name}] got {type(pic).__name__}; expected a PIL image or an array")
    x = np.asarray(pic)
    if x.dtype == np.uint16:
        x = x.astype(np.int16)  # as torchvision reads images of mode I;16
    return x[None] if x.ndim == 2 else x.transpose(2, 0, 1)


def to_pil_image(pic: Any, mode: str | None = None) -> Any:
    """A Tensor (c, h, w) or (h, w), or an array (h, w, c) or (h, w), as a PIL image; floats are times 255.

    Raises TypeError, ValueError: dtypes and numbers of channels that no mode of pillow has.
    """
    image = pillow("to_pil_image")
    if isinstance(pic, Tensor):
        x = pixels("to_pil_image", pic, 2)
        x = x[None] if x.ndim == 2 else x
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
    codes = {"uint8": "L", "int16": "I;16", "int32": "I", "float32": "F"}
    modes = {
        1: (codes.get(x.dtype.name),),
        2: ("LA",),
        3: ("RGB", "YCbCr", "HSV"),
        4: ("RGBA", "CMYK", "RGBX"),
    }
    known = modes.get(channels, ())
    if not known or None in known or (channels > 1 and x.dtype != np.uint8):
        raise TypeError(
            f"[to_pil_image] got {channels} channels of dtype {x.dtype}; expected 1 to 4 channels of "
            f"uint8, or one of {', '.join(codes)}"
        )
    if mode is not None and mode not in known:
        raise ValueError(
            f"[to_pil_image] got mode {mode!r} for {channels} channels of {x.dtype}; expected one of {known}"
        )
    made = image.fromarray(np.ascontiguousarray(x[..., 0] if channels == 1 else x))
    if mode is None or made.mode == mode:
        return made
    return image.frombytes(mode, made.size, made.tobytes())


def convert_image_dtype(image: Tensor, dtype: Any = np.float32) -> Tensor:
    """Numbers in the range of another dtype: 0 ... 1 for floats, 0 ... the largest number for integers."""
    x, to = pixels("convert_image_dtype", image, 0), np.dtype(dtype)
    if x.dtype == to:
        return image
    if x.dtype.kind == "f" and to.kind == "f":
        return wrap(x.astype(to))
    if x.dtype.kind == "f":
        if to.itemsize >= x.dtype.itemsize:
            raise RuntimeError(f"[convert_image_dtype] {x.dtype} cannot hold all numbers of {to}")
        return wrap((x * x.dtype.type(np.iinfo(to).max + 1.0 - 1e-3)).astype(to))
    if to.kind == "f":
        return wrap(x.astype(to) / to.type(np.iinfo(x.dtype).max))
    largest, most = int(np.iinfo(x.dtype).max), int(np.iinfo(to).max)
    if largest > most:
        return wrap((x // ((largest + 1) // (most + 1))).astype(to))
    return wrap(x.astype(to) * to.type((most + 1) // (largest + 1)))


def normalize(tensor: Tensor, mean: Any, std: Any, inplace: bool = False) -> Tensor:
    """(x - mean) / std for each channel of floats (..., c, h, w): see `rv.data.Normalize`."""
    return normalized(Normalize(mean, std), tensor, inplace)


def normalized(step: Normalize, tensor: Tensor, inplace: bool) -> Tensor:
    pixels("normalize", tensor)
    y: Tensor = step(tensor)
    return tensor.copy_(y) if inplace else y
