"""Moving, cropping, flipping and rotating images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.data.augment.base import Augmentation, Numbers, whole
from ranvier.data.checks import pair, sides, span
from ranvier.tensors.errors import number, one_of
from ranvier.tensors.memory import Array

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "CenterCrop", "RandomAffine", "RandomCrop", "RandomHorizontalFlip", "RandomRotation",
    "RandomVerticalFlip",
]  # fmt: skip

MODES = ("constant", "edge", "reflect", "symmetric")
INTERPOLATIONS = ("nearest", "bilinear")
TOP, LEFT, VERTICAL, HORIZONTAL = range(4)  # columns of a place: first row and column, flips


def _places(n: int) -> npt.NDArray[np.int64]:
    return np.zeros((n, 4), np.int64)


class _Flip(Augmentation):
    draws = 1
    _column: int

    def __init__(self, p: float = 0.5) -> None:
        self.p = number(type(self).__name__, "p", p, 0.0, 1.0)

    def apply(self, x: Array, u: Numbers) -> Array:
        place = _places(len(x))
        place[:, self._column] = u[:, 0] < self.p
        return _core.move_images(x, place)


class RandomHorizontalFlip(_Flip):
    """Flips each image, left to right, with probability p.

    >>> import ranvier as rv
    >>> rv.data.augment.RandomHorizontalFlip(p=1)(rv.tensor([[[[1.0, 2.0]]]])).tolist()
    [[[[2.0, 1.0]]]]
    """

    _column = HORIZONTAL


class RandomVerticalFlip(_Flip):
    """Flips each image, top to bottom, with probability p.

    >>> import ranvier as rv
    >>> rv.data.augment.RandomVerticalFlip(p=1)(rv.tensor([[[[1.0], [2.0]]]])).tolist()
    [[[[2.0], [1.0]]]]
    """

    _column = VERTICAL


class RandomCrop(Augmentation):
    """A window of `size` at a random place of each image.

    Args:
        size: height and width of the window: a number, or a pair.
        padding: rows and columns to add around the image first: a number for all sides, a pair for (left and
            right, top and bottom), or (left, top, right, bottom).
        pad_if_needed: pad smaller images on both sides to the size of the window.
        fill: the value of the padding, if padding_mode is "constant".
        padding_mode: "constant", "edge" (the last row or column), "reflect" or "symmetric" (the image
            flipped, without or with its edge).

    Raises ValueError: images smaller than the window.

    Source: A. Krizhevsky, I. Sutskever, G. Hinton, "ImageNet classification with deep convolutional neural
    networks", 2012.

    >>> import ranvier as rv
    >>> rv.data.augment.RandomCrop(24, padding=2)(rv.ones(3, 1, 28, 28, dtype=rv.uint8)).shape
    (3, 1, 24, 24)
    """

    draws = 2

    def __init__(
        self,
        size: int | tuple[int, int],
        padding: int | tuple[int, ...] | None = None,
        pad_if_needed: bool = False,
        fill: float = 0.0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = pair("RandomCrop", "size", size)
        if padding is None:
            padding = 0
        self.padding = sides("RandomCrop", padding)
        self.pad_if_needed = bool(pad_if_needed)
        self.fill = float(fill)
        self.padding_mode = one_of("RandomCrop", "padding_mode", padding_mode, MODES)

    def apply(self, x: Array, u: Numbers) -> Array:
        left, top, right, bottom = self.padding
        sizes = np.array(x.shape[2:])
        padded = sizes + np.array([top + bottom, left + right])
        lacking = np.maximum(np.array(self.size) - padded, 0)
        if lacking.any() and not self.pad_if_needed:
            raise ValueError(
                f"[RandomCrop] got images of {tuple(x.shape[2:])}, {tuple(padded.tolist())} with padding; "
                f"expected at least {self.size}"
            )
        first = -np.array([top, left]) - lacking
        place = _places(len(x))
        place[:, : LEFT + 1] = whole(u, first, first + padded + 2 * lacking - self.size)
        return _core.move_images(x, place, *self.size, self.fill, self.padding_mode)


class CenterCrop(Augmentation):
    """The centre of each image, to test a network that is trained on random crops.

    Smaller images are padded with 0.

    >>> import ranvier as rv
    >>> rv.data.augment.CenterCrop(1)(rv.arange(9.0).reshape(1, 1, 3, 3)).tolist()
    [[[[4.0]]]]
    """

    def __init__(self, size: int | tuple[int, int]) -> None:
        self.size = pair("CenterCrop", "size", size)

    def apply(self, x: Array, u: Numbers) -> Array:
        place = _places(len(x))
        left_out = np.array(x.shape[2:]) - self.size
        place[:, : LEFT + 1] = np.rint(left_out / 2)
        return _core.move_images(x, place, *self.size)


class RandomRotation(Augmentation):
    """Rotates each image about its centre, counterclockwise, by a uniform random angle.

    Args:
        degrees: the range of angles; one number means (-degrees, degrees).
        interpolation: "bilinear" or "nearest".
        fill: the value of new pixels.

    >>> import ranvier as rv
    >>> rv.data.augment.RandomRotation((90, 90))(rv.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])).round().tolist()
    [[[[2.0, 4.0], [1.0, 3.0]]]]
    """

    draws = 1

    def __init__(
        self, degrees: float | tuple[float, float], interpolation: str = "bilinear", fill: float = 0.0
    ) -> None:
        self.degrees = span("RandomRotation", "degrees", degrees, symmetric=True)
        self.interpolation = one_of("RandomRotation", "interpolation", interpolation, INTERPOLATIONS)
        self.fill = float(fill)

    def apply(self, x: Array, u: Numbers) -> Array:
        angle = _between(u[:, 0], self.degrees)
        zero = np.zeros(len(x))
        matrix = inverse_affine(x, -angle, (zero, zero), zero + 1, (zero, zero))
        return _core.affine_images(x, matrix, self.fill, self.interpolation)


class RandomAffine(Augmentation):
    """Rotates, moves, scales and shears each image about its centre, each by a uniform random number.

    Args:
        degrees: the range of angles, clockwise; one number means (-degrees, degrees).
        translate: the largest move as shares of width and height.
        scale: the range of factors.
        shear: the range of angles of the x axis, in degrees; with four numbers also of the y axis.
        interpolation: "bilinear" or "nearest".
        fill: the value of new pixels.

    >>> import ranvier as rv
    >>> rv.data.augment.RandomAffine(10, translate=(0.1, 0.1), scale=(0.9, 1.1))(rv.ones(2, 3, 32, 32)).shape
    (2, 3, 32, 32)
    """

    draws = 6  # the angle, moves along x and y, the scale, shears of the x and y axis

    def __init__(
        self,
        degrees: float | tuple[float, float],
        translate: tuple[float, float] | None = None,
        scale: tuple[float, float] | None = None,
        shear: float | tuple[float, ...] | None = None,
        interpolation: str = "bilinear",
        fill: float = 0.0,
    ) -> None:
        name = "RandomAffine"
        self.degrees = span(name, "degrees", degrees, symmetric=True)
        self.translate = translate
        if translate is not None and not (len(translate) == 2 and all(0 <= t <= 1 for t in translate)):
            raise ValueError(f"[{name}] got translate {translate!r}; expected two shares, 0 to 1")
        if scale is None:
            self.scale = (1.0, 1.0)
        else:
            self.scale = span(name, "scale", scale, 0.0, above=True)
        self.shear = (0.0, 0.0, 0.0, 0.0)
        if isinstance(shear, (tuple, list)) and len(shear) == 4:
            x_axis = span(name, "shear", shear[:2], symmetric=True)
            y_axis = span(name, "shear", shear[2:])
            self.shear = (*x_axis, *y_axis)
        elif shear is not None:
            x_axis = span(name, "shear", shear, symmetric=True)
            self.shear = (*x_axis, 0.0, 0.0)
        self.interpolation = one_of(name, "interpolation", interpolation, INTERPOLATIONS)
        self.fill = float(fill)

    def apply(self, x: Array, u: Numbers) -> Array:
        share = self.translate or (0.0, 0.0)
        most = [size * t for size, t in zip(x.shape[:1:-1], share, strict=True)]  # of width, of height
        moves = [np.rint(_between(u[:, i], (-move, move))) for i, move in enumerate(most, 1)]
        shears = _between(u[:, 4], self.shear[:2]), _between(u[:, 5], self.shear[2:])
        angle = _between(u[:, 0], self.degrees)
        scale = _between(u[:, 3], self.scale)
        matrix = inverse_affine(x, angle, moves, scale, shears)
        return _core.affine_images(x, matrix, self.fill, self.interpolation)


def inverse_affine(
    x: Array, degrees: Array, move: Any, scale: Array, shear: Any, middle: Any = None
) -> Array:
    """The source of each pixel of the result: the inverse of scaling, shearing, rotating and moving.

    (x', y') = C M C^-1 (x, y) with M = R(a) S(sx, sy) s: torchvision's convention, y pointing down. C moves
    the middle (x, y), by default that of the images, to 0.
    """
    # m, n: the rows of R S, whose determinant is 1, so that the inverse consists of the same numbers
    a, sx, sy = (np.deg2rad(angle) for angle in (degrees, *shear))
    m = np.cos(a - sy) / np.cos(sy), -np.cos(a - sy) * np.tan(sx) / np.cos(sy) - np.sin(a)
    n = np.sin(a - sy) / np.cos(sy), -np.sin(a - sy) * np.tan(sx) / np.cos(sy) + np.cos(a)
    inverse = n[1] / scale, -m[1] / scale, -n[0] / scale, m[0] / scale
    middle = middle or ((x.shape[3] - 1) / 2, (x.shape[2] - 1) / 2)
    dx = -middle[0] - move[0]
    dy = -middle[1] - move[1]
    columns = inverse[0], inverse[1], inverse[0] * dx + inverse[1] * dy + middle[0]
    rows = inverse[2], inverse[3], inverse[2] * dx + inverse[3] * dy + middle[1]
    return np.column_stack([*columns, *rows])


def _between(u: Array, low_high: tuple[float, ...]) -> Array:
    return low_high[0] + u * (low_high[1] - low_high[0])
