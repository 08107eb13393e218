"""The base of the augmentations, and checks of their arguments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import Tensor
from ranvier.data.checks import like, raw
from ranvier.data.transforms import Compose
from ranvier.ops.making.random import fresh_key
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Augmentation", "Compose"]

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class Augmentation:
    """Base class: a subclass has `draws`, the count of random numbers for each image, and `apply`.

    >>> from ranvier import kernels
    >>> from ranvier.data import augment
    >>> class Fade(augment.Augmentation):
    ...     draws = 1
    ...     def apply(self, x, u):  # u: (N, draws), uniform in [0, 1)
    ...         return kernels.mul(x, u.astype(x.dtype).reshape(-1, 1, 1, 1))
    """

    draws = 0
    mixes_labels = False  # True: called with images and labels, returns both

    def apply(self, x: Array, u: Numbers) -> Array:
        raise NotImplementedError(f"[{type(self).__name__}] expected an apply method")

    def __call__(self, images: Tensor | npt.ArrayLike) -> Any:
        x = require_images(type(self).__name__, images)
        return like(images, self.apply(x, uniform(len(x), self.draws)))

    def options(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.options().items())
        return f"{type(self).__name__}({arguments})"


def require_images(name: str, images: Tensor | npt.ArrayLike) -> Array:
    """The array of a batch of images (N, C, H, W); `name` begins the error of another shape."""
    x = raw(images)
    if x.ndim != 4:
        raise ValueError(f"[{name}] got images of shape {x.shape}; expected (N, C, H, W)")
    return x


def uniform(n: int, count: int) -> Numbers:
    """`count` numbers in [0, 1) for each of n images."""
    return _core.random_uniform((n, count), "float64", 0.0, 1.0, fresh_key())


def whole(u: Numbers, low: npt.ArrayLike, high: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Uniform numbers as integers from low to high, both included."""
    low = np.asarray(low)
    high = np.asarray(high)
    return np.minimum(low + np.floor(u * (high - low + 1)), high).astype(np.int64)
