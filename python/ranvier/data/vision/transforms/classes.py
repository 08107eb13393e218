"""Transforms as objects: each calls a function of an image with the settings of its constructor.

Random ones draw from the stream of `rv.manual_seed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import ranvier.data.vision.transforms.functional as F
from ranvier.data import Normalize as Normalization
from ranvier.data.checks import pair, sides, span
from ranvier.data.vision.images import InterpolationMode, mode_of, output_size, size_of
from ranvier.nn.layer import OneOp
from ranvier.ops.making.random import generator
from ranvier.tensors.errors import number, require_function

__all__ = [
    "CenterCrop", "ColorJitter", "GaussianBlur", "Grayscale", "Lambda", "Normalize", "PILToTensor", "Pad",
    "RandomApply", "RandomCrop", "RandomGrayscale", "RandomHorizontalFlip", "RandomResizedCrop",
    "RandomRotation", "RandomVerticalFlip", "Resize", "ToPILImage", "ToTensor",
]  # fmt: skip


def _factors(name: str, key: str, value: Any) -> tuple[float, float]:
    low, high = span(name, key, value, 0.0, symmetric=True)
    if isinstance(value, (tuple, list)):
        return (low, high)
    return (max(0.0, 1.0 + low), 1.0 + high)


def _above_0(name: str, key: str, value: Any) -> tuple[float, float]:
    return span(name, key, value, 0.0, above=True)


def _padding(name: str, key: str, value: Any) -> Any:
    if value is not None:
        sides(name, value)
    return value


# The function that checks a setting and gives the value that is kept, by the setting's name.
KEPT_AS: dict[str, Callable[[str, str, Any], Any]] = {
    "size": pair,
    "padding": _padding,
    "interpolation": lambda name, key, value: InterpolationMode(mode_of(name, value)),
    "p": lambda name, key, value: number(name, key, value, 0.0, 1.0),
    "degrees": lambda name, key, value: span(name, key, value, symmetric=True),
    "scale": _above_0,
    "ratio": _above_0,
    "sigma": lambda name, key, value: span(name, key, value if np.ndim(value) else (value, value)),
    "brightness": _factors,
    "contrast": _factors,
    "saturation": _factors,
    "hue": lambda name, key, value: span(name, key, value, -0.5, 0.5, symmetric=True),
    "lambd": require_function,
}


class Transform(OneOp):
    """The base class of transforms. `repr` shows the constructor's arguments.

    of: a function of an image and settings; the settings become the arguments of the constructor. A call does
    not convert arrays to Tensors.
    """

    _of: ClassVar[Callable[..., Any]]
    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The settings."""

    def __init_subclass__(cls, of: Callable[..., Any] | None = None, **how: Any) -> None:
        super().__init_subclass__(**how)
        if of is not None:
            cls._of = staticmethod(of)
            cls._declare(list(signature(of).parameters.values())[1:])

    def _set(self, settings: dict[str, Any]) -> None:
        for key, value in settings.items():
            if key in KEPT_AS:
                kept = KEPT_AS[key](type(self).__name__, key, value)
            else:
                kept = value
            setattr(self, key, kept)

    def __call__(self, img: Any) -> Any:
        return self.forward(img)

    def forward(self, img: Any) -> Any:
        return self._of(img, *[getattr(self, name) for name in self._settings])

    def extra_repr(self) -> str:
        shown = {k: v for k, v in vars(self).items() if k[0] != "_" and k != "training"}
        return ", ".join(f"{k}={getattr(v, 'value', v)}" for k, v in shown.items())


class ToTensor(Transform, of=F.to_tensor):
    """`functional.to_tensor`: a PIL image or an array (h, w, c) as a float Tensor (c, h, w) in 0 ... 1."""


class PILToTensor(Transform, of=F.pil_to_tensor):
    """`functional.pil_to_tensor`: a PIL image as a Tensor (c, h, w) of its bytes."""


class ToPILImage(Transform, of=F.to_pil_image):
    """`functional.to_pil_image`."""


class Normalize(Transform, of=F.normalize):
    """(x - mean) / std for each channel of a float Tensor: `rv.data.Normalize` for one image."""

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set(settings)
        self._step = Normalization(self.mean, self.std)

    def forward(self, tensor: Any) -> Any:
        return F.normalized(self._step, tensor, self.inplace)


class Resize(Transform, of=F.resize):
    """`functional.resize`."""

    def _set(self, settings: dict[str, Any]) -> None:
        self.size = settings.pop("size")  # a number is the shorter side
        output_size(self.size, 1, 1, settings["max_size"])
        super()._set(settings)


class CenterCrop(Transform, of=lambda img, size: F.center_crop(img, size)):
    """`functional.center_crop`."""


class Pad(Transform, of=F.pad):
    """`functional.pad`."""


class Grayscale(Transform, of=F.to_grayscale):
    """`functional.to_grayscale`."""


class Lambda(Transform, of=lambda img, lambd: lambd(img)):
    """A function as a transform."""


def _applied(img: Any, transforms: Any, p: float = 0.5) -> Any:
    for step in transforms if generator().random() < p else ():
        img = step(img)
    return img


def _gray(img: Any) -> Any:
    return F.to_grayscale(img, size_of("RandomGrayscale", img)[0])


class RandomApply(Transform, of=_applied):
    """All of the transforms, with probability p."""


class RandomHorizontalFlip(Transform, of=lambda img, p=0.5: _applied(img, [F.hflip], p)):
    """Left and right exchanged, with probability p."""


class RandomVerticalFlip(Transform, of=lambda img, p=0.5: _applied(img, [F.vflip], p)):
    """Top and bottom exchanged, with probability p."""


class RandomGrayscale(Transform, of=lambda img, p=0.1: _applied(img, [_gray], p)):
    """Gray, in as many channels as before, with probability p."""


def _cropped(
    img: Any,
    size: Any,
    padding: Any = None,
    pad_if_needed: bool = False,
    fill: Any = 0,
    padding_mode: str = "constant",
) -> Any:
    if padding is not None:
        img = F.pad(img, padding, fill, padding_mode)
    height, width = size
    _, h, w = size_of("RandomCrop", img)
    if pad_if_needed and (w < width or h < height):
        img = F.pad(img, (max(width - w, 0), max(height - h, 0)), fill, padding_mode)
        _, h, w = size_of("RandomCrop", img)
    if h < height or w < width:
        raise ValueError(f"[RandomCrop] got an image of {(h, w)}; expected at least {size}")
    return F.crop(img, *_corner(h - height, w - width), height, width)


def _corner(down: int, across: int) -> tuple[int, int]:
    """A random (top, left), each from 0 to the argument."""
    draw = generator()
    return int(draw.integers(down + 1)), int(draw.integers(across + 1))


class RandomCrop(Transform, of=_cropped):
    """A box of `size` at a random place, after `functional.pad`.

    With `pad_if_needed`, smaller images are padded on both sides to the size.

    Raises ValueError: images smaller than the box.
    """


def _resized_part(
    img: Any,
    size: Any,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    interpolation: Any = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Any:
    _, h, w = size_of("RandomResizedCrop", img)
    return F.resized_crop(img, *_part(h, w, scale, ratio), size, interpolation, antialias)


def _part(
    h: int, w: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """A random box (top, left, height, width) with area and shape in these ranges.

    The first of ten draws that fits in the image (h, w); otherwise a box in its centre.
    """
    draw = generator()
    for _ in range(10):
        area = h * w * draw.uniform(*scale)
        quotient = math.exp(draw.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width = round(math.sqrt(area * quotient))
        height = round(math.sqrt(area / quotient))
        if 0 < width <= w and 0 < height <= h:
            return *_corner(h - height, w - width), height, width
    low, high = ratio
    width = min(w, round(h * high))
    height = min(h, round(w / low))
    return (h - height) // 2, (w - width) // 2, height, width


class RandomResizedCrop(Transform, of=_resized_part):
    """A box of random area and shape, resized to `size`.

    Args:
        scale: the range of its area, as a share of the image's area.
        ratio: the range of width over height, uniform on a logarithmic scale.

    Source: C. Szegedy et al., "Going deeper with convolutions", 2015.
    """


def _turned(
    img: Any,
    degrees: Any,
    interpolation: Any = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Any = None,
    fill: Any = 0,
) -> Any:
    return F.rotate(img, generator().uniform(*degrees), interpolation, expand, center, fill)


class RandomRotation(Transform, of=_turned):
    """`functional.rotate` by a random angle of the range `degrees`; one number means (-degrees, degrees)."""


def _jittered(img: Any, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> Any:
    draw = generator()
    steps = [
        (F.adjust_brightness, brightness, 1.0),
        (F.adjust_contrast, contrast, 1.0),
        (F.adjust_saturation, saturation, 1.0),
        (F.adjust_hue, hue, 0.0),
    ]
    for i in draw.permutation(4):
        step, (low, high), same = steps[i]
        if (low, high) != (same, same):
            img = step(img, draw.uniform(low, high))
    return img


class ColorJitter(Transform, of=_jittered):
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    Args: each a range of factors, or a number v for max(0, 1 - v) to 1 + v; of hue -v to v, at most 0.5.
    """


def _blurred(img: Any, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> Any:
    return F.gaussian_blur(img, kernel_size, generator().uniform(*sigma))


class GaussianBlur(Transform, of=_blurred):
    """`functional.gaussian_blur` with a random deviation of the range sigma."""
