"""Boxes that cover parts of images, and mixtures of images with their labels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.data.augment.base as base
from ranvier.data.checks import like, raw, span
from ranvier.data.transforms import one_hot
from ranvier.ops.making import random
from ranvier.tensors.errors import number
from ranvier.tensors.memory import Array

__all__ = ["CutMix", "Mixup", "RandomErasing"]


class RandomErasing(base.Augmentation):
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
    draws = 2 * TRIES + 3  # TRIES areas, TRIES ratios, the row and column of the box, whether it is covered

    def __init__(
        self,
        p: float = 0.5,
        scale: tuple[float, float] = (0.02, 0.33),
        ratio: tuple[float, float] = (0.3, 3.3),
        value: float = 0.0,
    ) -> None:
        self.p = number("RandomErasing", "p", p, 0.0, 1.0)
        self.scale = span("RandomErasing", "scale", scale, 0.0, 1.0)
        self.ratio = span("RandomErasing", "ratio", ratio, 0.0, above=True)
        self.value = float(value)

    def apply(self, x: Array, u: base.Numbers) -> Array:
        h, w = x.shape[2:]
        area = h * w * (self.scale[0] + u[:, : self.TRIES] * (self.scale[1] - self.scale[0]))
        low, high = map(math.log, self.ratio)
        ratio = np.exp(low + u[:, self.TRIES : 2 * self.TRIES] * (high - low))
        heights = np.rint(np.sqrt(area * ratio))
        widths = np.rint(np.sqrt(area / ratio))
        fits = (heights < h) & (widths < w)
        first = np.arange(len(x)), fits.argmax(axis=1)
        covered = fits[first] & (u[:, -1] < self.p)
        box = np.zeros((len(x), 4), np.int64)
        box[:, 2], box[:, 3] = heights[first] * covered, widths[first] * covered
        box[:, :2] = base.whole(u[:, -3:-1], 0, np.array([h, w]) - box[:, 2:])
        return _core.erase_images(x, box, None, self.value)


class _Mixing:
    """Draws another image and a share for each image; labels become shares of classes."""

    mixes_labels = True

    def __init__(self, alpha: float = 1.0, num_classes: int | None = None, p: float = 1.0) -> None:
        self._name = type(self).__name__
        if not (alpha > 0 and np.isfinite(alpha)):
            raise ValueError(f"[{self._name}] got alpha {alpha!r}; expected a number above 0")
        self.alpha = float(alpha)
        self.num_classes = num_classes
        self.p = number(self._name, "p", p, 0.0, 1.0)

    def mixed(self, x: Array, partner: Array, share: base.Numbers) -> tuple[Array, base.Numbers]:
        """The mixed images, and the share of the original in each."""
        raise NotImplementedError

    def __call__(self, images: Any, labels: Any) -> tuple[Any, Any]:
        x = base.require_images(self._name, images)
        y = raw(labels)
        if len(x) != len(y):
            raise ValueError(f"[{self._name}] got {len(x)} images and {len(y)} labels; expected as many")
        classes = self._classes(y, x.dtype)
        draws = random.generator()
        n = len(x)
        share = np.where(draws.random(n) < self.p, draws.beta(self.alpha, self.alpha, n), 1.0)
        partner = draws.permutation(n)
        mixed, share = self.mixed(x, partner, share)
        return like(images, mixed), like(labels, _core.mix_images(classes, partner, share))

    def _classes(self, y: Array, dtype: np.dtype[Any]) -> Array:
        """A row of shares for each sample; rows of floats are returned unchanged."""
        if y.dtype.kind == "f" and y.ndim == 2:
            return y
        if y.dtype.kind not in "iu" or y.ndim != 1:
            raise TypeError(
                f"[{self._name}] got labels of dtype {y.dtype} and shape {y.shape}; expected class numbers "
                "(N,) or shares (N, classes)"
            )
        if self.num_classes is None:
            raise ValueError(f"[{self._name}] got class numbers as labels; expected num_classes to be given")
        label_dtype = dtype if dtype.kind == "f" else np.float32
        return one_hot(y, self.num_classes, label_dtype)

    def __repr__(self) -> str:
        return f"{self._name}(alpha={self.alpha!r}, num_classes={self.num_classes!r}, p={self.p!r})"


class Mixup(_Mixing):
    """x = s x_i + (1 - s) x_j and y = s y_i + (1 - s) y_j: each image mixed with another of its batch.

    Args:
        alpha: s is drawn from Beta(alpha, alpha) for each image.
        num_classes: the number of classes, if labels are class numbers.
        p: the share of images to mix.

    Takes and returns images and labels; labels become shares of classes (N, num_classes), as
    `nn.CrossEntropyLoss` takes them.

    Raises TypeError, ValueError: labels that are neither class numbers nor shares, or no num_classes.

    Source: H. Zhang et al., "mixup: Beyond empirical risk minimization", 2018.

    >>> import numpy as np
    >>> from ranvier.data import augment
    >>> x, y = augment.Mixup(alpha=0.2, num_classes=3)(np.ones((4, 1, 8, 8)), np.array([0, 1, 2, 1]))
    >>> y.shape, y.sum(1).round(6).tolist()
    ((4, 3), [1.0, 1.0, 1.0, 1.0])
    """

    def mixed(self, x: Array, partner: Array, share: base.Numbers) -> tuple[Array, base.Numbers]:
        return _core.mix_images(x, partner, share), share


class CutMix(_Mixing):
    """A box of each image comes from another of its batch; labels are mixed by area.

    Args: as for Mixup; the box has the share 1 - s of the image's area, before it is cut at the edges.

    Source: S. Yun et al., "CutMix: Regularization strategy to train strong classifiers with localizable
    features", 2019.

    >>> import numpy as np
    >>> from ranvier.data import augment
    >>> x, y = augment.CutMix(num_classes=2)(np.ones((4, 1, 8, 8), np.uint8), np.array([0, 1, 0, 1]))
    >>> x.dtype.name, y.shape
    ('uint8', (4, 2))
    """

    def mixed(self, x: Array, partner: Array, share: base.Numbers) -> tuple[Array, base.Numbers]:
        sizes = np.array(x.shape[2:])
        middle = base.whole(base.uniform(len(x), 2), 0, np.maximum(sizes - 1, 0))
        half = np.floor(sizes * np.sqrt(1 - share)[:, None] / 2).astype(np.int64)
        first = np.maximum(middle - half, 0)
        last = np.minimum(middle + half, sizes)
        kept = 1 - (last - first).prod(axis=1) / max(sizes.prod(), 1)
        box = np.column_stack([first, last - first])
        return _core.erase_images(x, box, partner), kept
