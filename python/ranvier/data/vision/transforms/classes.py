"""Transforms as objects: functions of an image with their settings. Random ones draw from `rv.manual_seed`'s
stream."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import signature
from typing import TYPE_CHECKING, Any, ClassVar

import ranvier.data.vision.transforms.functional as F
from ranvier.autograd.errors import number, require_function
from ranvier.autograd.random import generator
from ranvier.data import Normalize as Normalization
from ranvier.data.checks import pair, sides, span
from ranvier.data.vision.images import InterpolationMode, mode_of, size_of
from ranvier.data.vision.transforms.geometry import output_size
from ranvier.nn.layer import OneOp

__all__ = [
    "CenterCrop", "ColorJitter", "GaussianBlur", "Grayscale", "Lambda", "Normalize", "PILToTensor", "Pad",
    "RandomApply", "RandomCrop", "RandomGrayscale", "RandomHorizontalFlip", "RandomResizedCrop",
    "RandomRotation", "RandomVerticalFlip", "Resize", "ToPILImage", "ToTensor",
]  # fmt: skip

BILINEAR = InterpolationMode.BILINEAR


class Transform(OneOp):
    """The base class: its text has the constructor's arguments. A call changes no array into a Tensor.

    `of`: a function of an image, whose other arguments are the constructor's; `_set` checks them.
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
        super()._set(settings)
        output_size(self.size, 1, 1, self.max_size)
        mode_of("Resize", self.interpolation)


class CenterCrop(Transform, of=lambda img, size: F.center_crop(img, size)):
    """`functional.center_crop`."""

    def _set(self, settings: dict[str, Any]) -> None:
        self.size = pair("CenterCrop", "size", settings["size"])


class Pad(Transform, of=F.pad):
    """`functional.pad`."""

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set(settings)
        sides("Pad", self.padding)


class Grayscale(Transform, of=F.to_grayscale):
    """`functional.to_grayscale`."""


class Lambda(Transform, of=lambda img, lambd: lambd(img)):
    """A function as a transform."""

    def _set(self, settings: dict[str, Any]) -> None:
        self.lambd = require_function("Lambda", "lambd", settings["lambd"])


class _WithProbability(Transform):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = number(type(self).__name__, "p", p, 0.0, 1.0)

    def forward(self, img: Any) -> Any:
        return self.changed(img) if generator().random() < self.p else img

    def changed(self, img: Any) -> Any:
        raise NotImplementedError


class RandomHorizontalFlip(_WithProbability):
    """Left and right exchanged, with probability p."""

    def changed(self, img: Any) -> Any:
        return F.hflip(img)


class RandomVerticalFlip(_WithProbability):
    """Top and bottom exchanged, with probability p."""

    def changed(self, img: Any) -> Any:
        return F.vflip(img)


class RandomGrayscale(_WithProbability):
    """Gray, in as many channels as before, with probability p."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def changed(self, img: Any) -> Any:
        return F.to_grayscale(img, size_of("RandomGrayscale", img)[0])


class RandomApply(_WithProbability):
    """All of the transforms, with probability p."""

    def __init__(self, transforms: Sequence[Any], p: float = 0.5) -> None:
        super().__init__(p)
        self.transforms = list(transforms)

    def changed(self, img: Any) -> Any:
        for step in self.transforms:
            img = step(img)
        return img


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
    """(top, left), up to these."""
    draw = generator()
    return int(draw.integers(down + 1)), int(draw.integers(across + 1))


class RandomCrop(Transform, of=_cropped):
    """A box of `size` at a random place, after `functional.pad`.

    With `pad_if_needed`, smaller images are padded on both sides to the size.

    Raises ValueError: images smaller than the box.
    """

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set(settings | {"size": pair("RandomCrop", "size", settings["size"])})


def _resized_part(
    img: Any,
    size: Any,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
    interpolation: Any = BILINEAR,
    antialias: bool | None = True,
) -> Any:
    _, h, w = size_of("RandomResizedCrop", img)
    return F.resized_crop(img, *_part(h, w, scale, ratio), size, interpolation, antialias)


def _part(
    h: int, w: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of such an area and shape: the first of ten that fits, else the centre."""
    draw = generator()
    for _ in range(10):
        area = h * w * draw.uniform(*scale)
        quotient = math.exp(draw.uniform(math.log(ratio[0]), math.log(ratio[1])))
        width, height = round(math.sqrt(area * quotient)), round(math.sqrt(area / quotient))
        if 0 < width <= w and 0 < height <= h:
            return *_corner(h - height, w - width), height, width
    low, high = ratio
    width, height = min(w, round(h * high)), min(h, round(w / low))
    return (h - height) // 2, (w - width) // 2, height, width


class RandomResizedCrop(Transform, of=_resized_part):
    """A box of random area and shape, resized to `size`.

    Args:
        scale: the range of its area, as a share of the image's area.
        ratio: the range of width over height, uniform on a logarithmic scale.

    Source: C. Szegedy et al., "Going deeper with convolutions", 2015.
    """

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set(settings)
        name, scale, ratio = "RandomResizedCrop", settings["scale"], settings["ratio"]
        self.size = pair(name, "size", settings["size"])
        self.scale, self.ratio = span(name, "scale", scale), span(name, "ratio", ratio)
        if min(self.scale[0], self.ratio[0]) <= 0:
            raise ValueError(f"[{name}] got scale {scale!r} and ratio {ratio!r}; expected numbers above 0")
        mode_of(name, self.interpolation)


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

    def _set(self, settings: dict[str, Any]) -> None:
        super()._set(settings)
        self.degrees = span("RandomRotation", "degrees", settings["degrees"], symmetric=True)
        mode_of("RandomRotation", self.interpolation)


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

    def _set(self, settings: dict[str, Any]) -> None:
        for name in ("brightness", "contrast", "saturation"):
            value = settings[name]
            low, high = span("ColorJitter", name, value, symmetric=True)
            if isinstance(value, (int, float)):
                low, high = max(0.0, 1.0 + low), 1.0 + high
            if low < 0:
                raise ValueError(f"[ColorJitter] got {name} {value!r}; expected factors of at least 0")
            setattr(self, name, (low, high))
        self.hue = span("ColorJitter", "hue", settings["hue"], symmetric=True)
        if max(map(abs, self.hue)) > 0.5:
            raise ValueError(f"[ColorJitter] got hue {settings['hue']!r}; expected -0.5 to 0.5")


def _blurred(img: Any, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> Any:
    return F.gaussian_blur(img, kernel_size, generator().uniform(*sigma))


class GaussianBlur(Transform, of=_blurred):
    """`functional.gaussian_blur` with a random deviation of the range sigma."""

    def _set(self, settings: dict[str, Any]) -> None:
        sigma = settings["sigma"]
        both = (sigma, sigma) if isinstance(sigma, (int, float)) else sigma
        super()._set(settings | {"sigma": span("GaussianBlur", "sigma", both)})
