"""Random transforms of one image. They draw from `rv.manual_seed`'s stream."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import ranvier.data.vision.transforms.functional as F
from ranvier.autograd.random import generator
from ranvier.data.augment.base import probability, span
from ranvier.data.vision.images import InterpolationMode, mode_of, size_of
from ranvier.data.vision.transforms.fixed import Transform
from ranvier.data.vision.transforms.geometry import pair_of

__all__ = [
    "ColorJitter", "GaussianBlur", "RandomApply", "RandomCrop", "RandomGrayscale", "RandomHorizontalFlip",
    "RandomResizedCrop", "RandomRotation", "RandomVerticalFlip",
]  # fmt: skip


class _WithProbability(Transform):
    def __init__(self, p: float = 0.5) -> None:
        super().__init__()
        self.p = probability(type(self).__name__, p)

    def drawn(self) -> bool:
        return bool(generator().random() < self.p)


def _boxes(
    draw: np.random.Generator, area: int, scale: tuple[float, float], ratio: tuple[float, float]
) -> Iterator[tuple[int, int]]:
    """Ten random pairs of sides: their product is a share `scale` of the area, their quotient in `ratio`."""
    for _ in range(10):
        part = area * draw.uniform(*scale)
        quotient = math.exp(draw.uniform(math.log(ratio[0]), math.log(ratio[1])))
        yield round(math.sqrt(part * quotient)), round(math.sqrt(part / quotient))


class RandomHorizontalFlip(_WithProbability):
    """Left and right exchanged, with probability p."""

    def forward(self, img: Any) -> Any:
        return F.hflip(img) if self.drawn() else img


class RandomVerticalFlip(_WithProbability):
    """Top and bottom exchanged, with probability p."""

    def forward(self, img: Any) -> Any:
        return F.vflip(img) if self.drawn() else img


class RandomGrayscale(_WithProbability):
    """Gray, in as many channels as before, with probability p."""

    def __init__(self, p: float = 0.1) -> None:
        super().__init__(p)

    def forward(self, img: Any) -> Any:
        return F.to_grayscale(img, size_of("RandomGrayscale", img)[0]) if self.drawn() else img


class RandomApply(_WithProbability):
    """All of the transforms, with probability p."""

    def __init__(self, transforms: Sequence[Any], p: float = 0.5) -> None:
        super().__init__(p)
        self.transforms = list(transforms)

    def forward(self, img: Any) -> Any:
        for step in self.transforms if self.drawn() else ():
            img = step(img)
        return img


@dataclass(eq=False, repr=False)
class RandomCrop(Transform):
    """A box of `size` at a random place, after `functional.pad`.

    With `pad_if_needed`, smaller images are padded on both sides to the size.

    Raises ValueError: images smaller than the box.
    """

    size: Any
    padding: Any = None
    pad_if_needed: bool = False
    fill: Any = 0
    padding_mode: str = "constant"

    def __post_init__(self) -> None:
        self.size = pair_of("RandomCrop", self.size)

    def forward(self, img: Any) -> Any:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        height, width = self.size
        _, h, w = size_of("RandomCrop", img)
        if self.pad_if_needed and (w < width or h < height):
            img = F.pad(img, (max(width - w, 0), max(height - h, 0)), self.fill, self.padding_mode)
            _, h, w = size_of("RandomCrop", img)
        if h < height or w < width:
            raise ValueError(f"[RandomCrop] got an image of {(h, w)}; expected at least {self.size}")
        draw = generator()
        top, left = int(draw.integers(h - height + 1)), int(draw.integers(w - width + 1))
        return F.crop(img, top, left, height, width)


@dataclass(eq=False, repr=False)
class RandomResizedCrop(Transform):
    """A box of random area and shape, resized to `size`.

    Args:
        scale: the range of its area, as a share of the image's area.
        ratio: the range of width over height, uniform on a logarithmic scale.

    Source: C. Szegedy et al., "Going deeper with convolutions", 2015.
    """

    size: Any
    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: Any = InterpolationMode.BILINEAR
    antialias: bool | None = True

    def __post_init__(self) -> None:
        name, scale, ratio = "RandomResizedCrop", self.scale, self.ratio
        self.size = pair_of(name, self.size)
        self.scale, self.ratio = span(name, "scale", scale), span(name, "ratio", ratio)
        if min(self.scale[0], self.ratio[0]) <= 0:
            raise ValueError(f"[{name}] got scale {scale!r} and ratio {ratio!r}; expected numbers above 0")
        mode_of(name, self.interpolation)

    def forward(self, img: Any) -> Any:
        _, h, w = size_of("RandomResizedCrop", img)
        return F.resized_crop(img, *self.box(h, w), self.size, self.interpolation, self.antialias)

    def box(self, h: int, w: int) -> tuple[int, int, int, int]:
        """(top, left, height, width): the first of ten that fits, else the centre."""
        draw = generator()
        for width, height in _boxes(draw, h * w, self.scale, self.ratio):
            if 0 < width <= w and 0 < height <= h:
                return int(draw.integers(h - height + 1)), int(draw.integers(w - width + 1)), height, width
        low, high = self.ratio
        width = min(w, round(h * high))
        height = min(h, round(w / low))
        return (h - height) // 2, (w - width) // 2, height, width


@dataclass(eq=False, repr=False)
class RandomRotation(Transform):
    """`functional.rotate` by a random angle of the range `degrees`; one number means (-degrees, degrees)."""

    degrees: Any
    interpolation: Any = InterpolationMode.NEAREST
    expand: bool = False
    center: Any = None
    fill: Any = 0

    def __post_init__(self) -> None:
        self.degrees = span("RandomRotation", "degrees", self.degrees, symmetric=True)
        mode_of("RandomRotation", self.interpolation)

    def forward(self, img: Any) -> Any:
        angle = generator().uniform(*self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)


class ColorJitter(Transform):
    """Brightness, contrast, saturation and hue changed by random amounts, in random order.

    Args: each a range of factors, or a number v for max(0, 1 - v) to 1 + v; of hue -v to v, at most 0.5.
    """

    def __init__(self, brightness: Any = 0, contrast: Any = 0, saturation: Any = 0, hue: Any = 0) -> None:
        super().__init__()
        self.brightness = self._range("brightness", brightness)
        self.contrast = self._range("contrast", contrast)
        self.saturation = self._range("saturation", saturation)
        self.hue = span("ColorJitter", "hue", hue, symmetric=True)
        if max(map(abs, self.hue)) > 0.5:
            raise ValueError(f"[ColorJitter] got hue {hue!r}; expected -0.5 to 0.5")

    @staticmethod
    def _range(name: str, value: Any) -> tuple[float, float]:
        if isinstance(value, (int, float)):
            if value < 0:
                raise ValueError(f"[ColorJitter] got {name} {value!r}; expected at least 0")
            return max(0.0, 1.0 - value), 1.0 + value
        low, high = span("ColorJitter", name, value)
        if low < 0:
            raise ValueError(f"[ColorJitter] got {name} {value!r}; expected factors of at least 0")
        return low, high

    def forward(self, img: Any) -> Any:
        draw = generator()
        steps = [
            (F.adjust_brightness, self.brightness, 1.0),
            (F.adjust_contrast, self.contrast, 1.0),
            (F.adjust_saturation, self.saturation, 1.0),
            (F.adjust_hue, self.hue, 0.0),
        ]
        for number in draw.permutation(4):
            step, (low, high), same = steps[number]
            if (low, high) != (same, same):
                img = step(img, draw.uniform(low, high))
        return img


class GaussianBlur(Transform):
    """`functional.gaussian_blur` with a random deviation of the range sigma."""

    def __init__(self, kernel_size: Any, sigma: Any = (0.1, 2.0)) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        both = (sigma, sigma) if isinstance(sigma, (int, float)) else sigma
        self.sigma = span("GaussianBlur", "sigma", both)

    def forward(self, img: Any) -> Any:
        return F.gaussian_blur(img, self.kernel_size, generator().uniform(*self.sigma))
