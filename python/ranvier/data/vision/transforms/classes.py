"""Transforms as objects: each calls a function of an image with the settings of its constructor.

Random ones draw from the stream of `rv.manual_seed`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ranvier.data.vision.transforms.functional as F
from ranvier import Tensor
from ranvier.data import Normalize as Normalization
from ranvier.data.checks import pair, sides, span
from ranvier.data.vision.images import (
    Interpolation,
    InterpolationMode,
    PerChannel,
    Size,
    mode_of,
    output_size,
    size_of,
)
from ranvier.nn import Module
from ranvier.ops.making.random import generator
from ranvier.tensors.errors import number, require_function

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

    from ranvier.data.vision.images import ImageLike
    from ranvier.tensors.memory import Array

__all__ = [
    "CenterCrop", "ColorJitter", "GaussianBlur", "Grayscale", "Lambda", "Normalize", "PILToTensor", "Pad",
    "RandomApply", "RandomCrop", "RandomGrayscale", "RandomHorizontalFlip", "RandomResizedCrop",
    "RandomRotation", "RandomVerticalFlip", "Resize", "ToPILImage", "ToTensor",
]  # fmt: skip

Range: TypeAlias = float | Sequence[float]
"""(low, high); one number means a range around the value that changes nothing."""


class Transform(Module):
    """The base class of transforms. `repr` shows the constructor's arguments. A call does not convert arrays
    to Tensors.
    """

    def __call__(self, img: Any) -> Any:
        return self.forward(img)

    def extra_repr(self) -> str:
        shown = []
        for name, value in vars(self).items():
            if not name.startswith("_") and name != "training":
                shown.append(f"{name}={getattr(value, 'value', value)}")
        return ", ".join(shown)

    def _interpolation(self, mode: Interpolation) -> InterpolationMode:
        return InterpolationMode(mode_of(type(self).__name__, mode))


class ToTensor(Transform):
    """`functional.to_tensor`: a PIL image or an array (h, w, c) as a float Tensor (c, h, w) in 0 ... 1."""

    def forward(self, pic: PILImage | Array) -> Tensor:
        return F.to_tensor(pic)


class PILToTensor(Transform):
    """`functional.pil_to_tensor`: a PIL image as a Tensor (c, h, w) of its bytes."""

    def forward(self, pic: PILImage) -> Tensor:
        return F.pil_to_tensor(pic)


class ToPILImage(Transform):
    """`functional.to_pil_image`."""

    def __init__(self, mode: str | None = None) -> None:
        super().__init__()
        self.mode = mode

    def forward(self, pic: Tensor | Array) -> PILImage:
        return F.to_pil_image(pic, self.mode)


class Normalize(Transform):
    """(x - mean) / std for each channel of a float Tensor: `rv.data.Normalize` for one image."""

    def __init__(self, mean: PerChannel, std: PerChannel, inplace: bool = False) -> None:
        super().__init__()
        self.mean = mean
        self.std = std
        self.inplace = inplace
        self._step = Normalization(mean, std)

    def forward(self, tensor: Tensor) -> Tensor:
        return F.normalized(self._step, tensor, self.inplace)


class Resize(Transform):
    """`functional.resize`. size: (height, width), or a number, which is the shorter side."""

    def __init__(
        self,
        size: Size,
        interpolation: Interpolation = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        output_size(size, 1, 1, max_size)  # This raises the errors of wrong sizes.
        self.size = size
        self.interpolation = self._interpolation(interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def forward(self, img: ImageLike) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)


class CenterCrop(Transform):
    """`functional.center_crop`."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.size = pair("CenterCrop", "size", size)

    def forward(self, img: ImageLike) -> Any:
        return F.center_crop(img, self.size)


class Pad(Transform):
    """`functional.pad`."""

    def __init__(self, padding: Size, fill: PerChannel = 0, padding_mode: str = "constant") -> None:
        super().__init__()
        if padding is not None:
            sides("Pad", padding)
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img: ImageLike) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)


class Grayscale(Transform):
    """`functional.to_grayscale`."""

    def __init__(self, num_output_channels: int = 1) -> None:
        super().__init__()
        self.num_output_channels = num_output_channels

    def forward(self, img: ImageLike) -> Any:
        return F.to_grayscale(img, self.num_output_channels)


class Lambda(Transform):
    """A function as a transform."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        super().__init__()
        self.lambd = require_function("Lambda", "lambd", lambd)

    def forward(self, img: Any) -> Any:
        return self.lambd(img)


def _happens(p: float) -> bool:
    """True with probability p."""
    return bool(generator().random() < p)


class RandomApply(Transform):
    """All of the transforms, with probability p."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        super().__init__()
        self.transforms = transforms
        self.p = number("RandomApply", "p", p, 0.0, 1.0)

    def forward(self, img: ImageLike) -> Any:
        if _happens(self.p):
            for transform in self.transforms:
                img = transform(img)
        return img


class RandomHorizontalFlip(Transform):
    """Left and right exchanged, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = number("RandomHorizontalFlip", "p", p, 0.0, 1.0)

    def forward(self, img: ImageLike) -> Any:
        if _happens(self.p):
            return F.hflip(img)
        return img


class RandomVerticalFlip(Transform):
    """Top and bottom exchanged, with probability p."""

    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = number("RandomVerticalFlip", "p", p, 0.0, 1.0)

    def forward(self, img: ImageLike) -> Any:
        if _happens(self.p):
            return F.vflip(img)
        return img


class RandomGrayscale(Transform):
    """Gray, in as many channels as before, with probability p."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__()
        self.p = number("RandomGrayscale", "p", p, 0.0, 1.0)

    def forward(self, img: ImageLike) -> Any:
        if not _happens(self.p):
            return img
        channels, _, _ = size_of("RandomGrayscale", img)
        return F.to_grayscale(img, channels)


def _random_corner(down: int, across: int) -> tuple[int, int]:
    """A random (top, left), each from 0 to the argument."""
    random = generator()
    return int(random.integers(down + 1)), int(random.integers(across + 1))


class RandomCrop(Transform):
    """A box of `size` at a random place, after `functional.pad`.

    With `pad_if_needed`, smaller images are padded on both sides to the size.

    Raises ValueError: images smaller than the box.
    """

    def __init__(
        self,
        size: Size,
        padding: Size | None = None,
        pad_if_needed: bool = False,
        fill: PerChannel = 0,
        padding_mode: str = "constant",
    ) -> None:
        super().__init__()
        self.size = pair("RandomCrop", "size", size)
        if padding is not None:
            sides("RandomCrop", padding)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img: ImageLike) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        height, width = self.size
        _, h, w = size_of("RandomCrop", img)
        if self.pad_if_needed and (w < width or h < height):
            missing = (max(width - w, 0), max(height - h, 0))
            img = F.pad(img, missing, self.fill, self.padding_mode)
            _, h, w = size_of("RandomCrop", img)
        if h < height or w < width:
            raise ValueError(f"[RandomCrop] got an image of {(h, w)}; expected at least {self.size}")
        top, left = _random_corner(h - height, w - width)
        return F.crop(img, top, left, height, width)


class RandomResizedCrop(Transform):
    """A box of random area and shape, resized to `size`.

    Args:
        scale: the range of its area, as a share of the image's area.
        ratio: the range of width over height, uniform on a logarithmic scale.

    Source: C. Szegedy et al., "Going deeper with convolutions", 2015.
    """

    def __init__(
        self,
        size: Size,
        scale: tuple[float, float] = (0.08, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        interpolation: Interpolation = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        super().__init__()
        self.size = pair("RandomResizedCrop", "size", size)
        self.scale = span("RandomResizedCrop", "scale", scale, 0.0, above=True)
        self.ratio = span("RandomResizedCrop", "ratio", ratio, 0.0, above=True)
        self.interpolation = self._interpolation(interpolation)
        self.antialias = antialias

    def forward(self, img: ImageLike) -> Any:
        _, h, w = size_of("RandomResizedCrop", img)
        top, left, height, width = self._box(h, w)
        return F.resized_crop(img, top, left, height, width, self.size, self.interpolation, self.antialias)

    def _box(self, h: int, w: int) -> tuple[int, int, int, int]:
        """A random box (top, left, height, width) with area and shape in the ranges.

        The first of ten draws that fits in the image (h, w); otherwise a box in its centre.
        """
        random = generator()
        narrowest, widest = self.ratio
        for _ in range(10):
            area = h * w * random.uniform(*self.scale)
            quotient = math.exp(random.uniform(math.log(narrowest), math.log(widest)))
            width = round(math.sqrt(area * quotient))
            height = round(math.sqrt(area / quotient))
            if 0 < width <= w and 0 < height <= h:
                top, left = _random_corner(h - height, w - width)
                return top, left, height, width
        width = min(w, round(h * widest))
        height = min(h, round(w / narrowest))
        return (h - height) // 2, (w - width) // 2, height, width


class RandomRotation(Transform):
    """`functional.rotate` by a random angle of the range `degrees`; one number means (-degrees, degrees)."""

    def __init__(
        self,
        degrees: Range,
        interpolation: Interpolation = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: PerChannel = 0,
    ) -> None:
        super().__init__()
        self.degrees = span("RandomRotation", "degrees", degrees, symmetric=True)
        self.interpolation = self._interpolation(interpolation)
        self.expand = expand
        self.center = center
        self.fill = fill

    def forward(self, img: ImageLike) -> Any:
        angle = generator().uniform(*self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)


def _factors(argument: str, value: Range) -> tuple[float, float]:
    """A range of factors: (low, high), or a number v for max(0, 1 - v) to 1 + v."""
    low, high = span("ColorJitter", argument, value, 0.0, symmetric=True)
    if isinstance(value, (tuple, list)):
        return (low, high)
    return (max(0.0, 1.0 + low), 1.0 + high)


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    Args: each a range of factors, or a number v for max(0, 1 - v) to 1 + v; of hue -v to v, at most 0.5.
    """

    def __init__(
        self, brightness: Range = 0, contrast: Range = 0, saturation: Range = 0, hue: Range = 0
    ) -> None:
        super().__init__()
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)
        self.hue = span("ColorJitter", "hue", hue, -0.5, 0.5, symmetric=True)

    def forward(self, img: ImageLike) -> Any:
        random = generator()
        for step in random.permutation(4):
            if step == 0 and self.brightness != (1.0, 1.0):
                img = F.adjust_brightness(img, random.uniform(*self.brightness))
            elif step == 1 and self.contrast != (1.0, 1.0):
                img = F.adjust_contrast(img, random.uniform(*self.contrast))
            elif step == 2 and self.saturation != (1.0, 1.0):
                img = F.adjust_saturation(img, random.uniform(*self.saturation))
            elif step == 3 and self.hue != (0.0, 0.0):
                img = F.adjust_hue(img, random.uniform(*self.hue))
        return img


class GaussianBlur(Transform):
    """`functional.gaussian_blur` with a random deviation of the range sigma."""

    def __init__(self, kernel_size: Size, sigma: Range = (0.1, 2.0)) -> None:
        super().__init__()
        if np.ndim(sigma) == 0:
            sigma = (sigma, sigma)  # type: ignore[assignment]
        self.kernel_size = kernel_size
        self.sigma = span("GaussianBlur", "sigma", sigma)

    def forward(self, img: ImageLike) -> Any:
        return F.gaussian_blur(img, self.kernel_size, generator().uniform(*self.sigma))
