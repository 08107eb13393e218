"""Adding noise to images, and covering parts of them."""

from __future__ import annotations

import math

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import Array
from ranvier.autograd.random import fresh_key
from ranvier.data.augment.base import Augmentation, Numbers, pair, probability, span, whole

__all__ = ["Cutout", "GaussianNoise", "RandomErasing"]


class GaussianNoise(Augmentation):
    """y = x + mean + sigma z with z standard normal for each pixel; `clip` limits y to [0, 1].

    Raises TypeError: images that are not float32 or float64; ValueError: sigma below 0.

    >>> import numpy as np
    >>> from ranvier.data import augment
    >>> y = augment.GaussianNoise(sigma=0.1)(np.full((2, 1, 4, 4), 0.5))
    >>> bool(y.min() >= 0 and y.max() <= 1 and y.std() > 0)
    True
    """

    def __init__(self, mean: float = 0.0, sigma: float = 0.1, clip: bool = True) -> None:
        if not sigma >= 0:
            raise ValueError(f"[GaussianNoise] got sigma {sigma!r}; expected at least 0")
        self.mean, self.sigma, self.clip = float(mean), float(sigma), bool(clip)

    def apply(self, x: Array, u: Numbers) -> Array:
        y = _core.add_noise(x, fresh_key(), self.mean, self.sigma)
        return _core.clip(y, 0.0, 1.0, y) if self.clip else y


class Cutout(Augmentation):
    """Covers a box of each image, with a random centre; the box is cut at the edges.

    Args:
        size: of the box: a number, or a pair (height, width).
        fill: the value of the box.
        p: the share of images to cover.

    Source: T. DeVries, G. Taylor, "Improved regularization of convolutional neural networks with cutout",
    2017.

    >>> import numpy as np
    >>> from ranvier.data import augment
    >>> y = augment.Cutout(2)(np.ones((1, 1, 8, 8)))
    >>> int((y == 0).sum()) in (1, 2, 4)
    True
    """

    draws = 3

    def __init__(self, size: int | tuple[int, int], fill: float = 0.0, p: float = 1.0) -> None:
        self.size = pair("Cutout", "size", size, 1)
        self.fill = float(fill)
        self.p = probability("Cutout", p)

    def apply(self, x: Array, u: Numbers) -> Array:
        box = np.empty((len(x), 4), np.int64)
        middle = whole(u[:, :2], 0, np.array(x.shape[2:]) - 1)
        box[:, :2] = middle - np.array(self.size) // 2
        box[:, 2:] = np.array(self.size) * (u[:, 2:] < self.p)
        return _core.erase_images(x, box, None, self.fill)


class RandomErasing(Augmentation):
    """Covers a box of random area, shape and place in each image, with probability p.

    Args:
        p: the share of images to cover.
        scale: the range of the box's area, as a share of the image's area.
        ratio: the range of height over width, uniform on a logarithmic scale.
        value: the value of the box.

    Source: Z. Zhong et al., "Random erasing data augmentation", 2017. As there, the first of ten random boxes
    that fits is used; if none fits, the image does not change.

    >>> import numpy as np
    >>> from ranvier.data import augment
    >>> y = augment.RandomErasing(p=1)(np.ones((4, 1, 16, 16)))
    >>> bool(((y == 0).mean((1, 2, 3)) <= 0.4).all())
    True
    """

    TRIES = 10
    draws = 2 * TRIES + 3

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        self.p = probability("RandomErasing", p)
        self.scale, self.ratio = span("RandomErasing", "scale", scale), span("RandomErasing", "ratio", ratio)
        if not (self.scale[0] >= 0 and self.scale[1] <= 1 and self.ratio[0] > 0):
            raise ValueError(
                f"[RandomErasing] got scale {scale!r} and ratio {ratio!r}; "
                "expected shares of 1 and ratios above 0"
            )
        self.value = float(value)

    def apply(self, x: Array, u: Numbers) -> Array:
        h, w = x.shape[2:]
        area = h * w * (self.scale[0] + u[:, : self.TRIES] * (self.scale[1] - self.scale[0]))
        low, high = map(math.log, self.ratio)
        ratio = np.exp(low + u[:, self.TRIES : 2 * self.TRIES] * (high - low))
        heights, widths = np.rint(np.sqrt(area * ratio)), np.rint(np.sqrt(area / ratio))
        fits = (heights < h) & (widths < w)
        first = np.arange(len(x)), fits.argmax(axis=1)
        covered = fits[first] & (u[:, -1] < self.p)
        box = np.zeros((len(x), 4), np.int64)
        box[:, 2], box[:, 3] = heights[first] * covered, widths[first] * covered
        box[:, :2] = whole(u[:, -3:-1], 0, np.array([h, w]) - box[:, 2:])
        return _core.erase_images(x, box, None, self.value)
