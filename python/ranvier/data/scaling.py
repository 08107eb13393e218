"""Scaling of features and images: standard scores, ranges of [0, 1], given means and deviations."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ranvier.autograd import Tensor
from ranvier.data.checks import like, raw
from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import require_dtype
from ranvier.tensors.memory import Array, plain

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["MinMaxScaler", "Normalize", "Standardize"]

Numbers = np.ndarray[Any, np.dtype[np.float64]]
Self = TypeVar("Self", bound="Affine")

PER = ("feature", "channel", "all")
CHUNK = 4096  # samples converted to float64 at once


class Affine:
    """y = (x - shift) / scale, with one shift and scale per feature, per channel, or for all values.

    float32 stays float32; everything else is computed and returned in float64.
    """

    _names: tuple[str, str]  # the names of the constructor's arguments

    def __init__(self, per: str, first: npt.ArrayLike | None, second: npt.ArrayLike | None) -> None:
        if (first is None) != (second is None):
            raise ValueError(
                f"[{type(self).__name__}] got one of {' and '.join(self._names)}; expected both or neither"
            )
        self.per = one_of(type(self).__name__, "per", per, PER)
        self._shift: Numbers | None = None
        self._scale: Numbers | None = None
        self.given = first is not None  # a Compose does not fit what the constructor was given
        if first is not None and second is not None:
            self._learn(np.asarray(first, np.float64), np.asarray(second, np.float64))

    def _learn(self, first: Numbers, second: Numbers) -> None:
        """Set shift and scale from the two arguments of the constructor, such as mean and std."""
        raise NotImplementedError

    def _measure(self, x: Array, axes: tuple[int, ...]) -> tuple[Numbers, Numbers]:
        """The two arguments of the constructor, measured from samples over these axes."""
        raise NotImplementedError

    def fit(self: Self, x: npt.ArrayLike) -> Self:
        """Learn the numbers from samples (n, ...); returns self.

        Raises:
            ValueError: no samples, or a value that is not finite; the message names the first one's feature.
            TypeError: values that are no numbers.
        """
        name = f"{type(self).__name__}.fit"
        values = _numbers(x, name)
        least_ndim = 2 if self.per == "channel" else 1
        if values.size == 0 or values.ndim < least_ndim:
            if self.per == "channel":
                wanted = "images (n, c, ...)"
            else:
                wanted = "at least one sample"
            raise ValueError(f"[{name}] got values of shape {values.shape}; expected {wanted}")
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            where = tuple(int(i) for i in np.argwhere(~np.isfinite(values))[0])
            raise ValueError(f"[{name}] got {values[where]} at {where}; expected finite numbers")
        along = 1 if self.per == "channel" else None  # the axis with a number for each of its entries
        axes = tuple(axis for axis in range(values.ndim) if axis != along)
        if self.per == "feature":
            axes = (0,)
        with np.errstate(over="ignore"):
            measured = self._measure(values, axes)
            extent = (*measured, measured[1] - measured[0])
        if not all(np.isfinite(numbers).all() for numbers in extent):
            raise ValueError(f"[{name}] got values up to {np.abs(values).max()}; expected a smaller range")
        self._learn(*measured)
        self.given = False
        return self

    def transform(self, x: npt.ArrayLike) -> Array:
        """`(x - shift) / scale` with the numbers learnt by `fit`; a new array of the shape of `x`."""
        values, shift, scale = self._checked(x, "transform")
        return (values - shift) / scale

    def inverse_transform(self, y: npt.ArrayLike) -> Array:
        """`y * scale + shift`, the inverse of `transform`."""
        values, shift, scale = self._checked(y, "inverse_transform")
        return values * scale + shift

    def fit_transform(self, x: npt.ArrayLike) -> Array:
        """`fit(x)`, then `transform(x)`."""
        return self.fit(x).transform(x)

    __call__ = transform

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as numbers and lists."""
        values = {name: getattr(self, name) for name in self._names}
        config: dict[str, Any] = {}
        for name, value in values.items():
            config[name] = None if value is None else value.tolist()
        if self.per == "feature":
            return config
        return {**config, "per": self.per}

    def __repr__(self) -> str:
        if self._shift is None:
            state = "not fitted"
        else:
            state = f"{self._shift.size} fitted"
        return f"{type(self).__name__}(per={self.per!r}, {state})"

    def _checked(self, x: npt.ArrayLike, method: str) -> tuple[Array, Array, Array]:
        """The values, and mean and deviation in their dtype."""
        name = f"{type(self).__name__}.{method}"
        if self._shift is None or self._scale is None:
            raise ValueError(f"[{name}] not fitted yet; expected a call of fit first")
        values = _numbers(x, name)
        if values.dtype != np.float32:
            values = values.astype(np.float64)
        shape = self._shift.shape
        if self.per == "channel" and shape:
            if values.ndim < 2 or values.shape[1:2] != shape:
                raise ValueError(
                    f"[{name}] got values of shape {values.shape}, fitted on {shape[0]} channels; "
                    f"expected (n, {shape[0]}, ...)"
                )
            shape = (*shape, *(1,) * (values.ndim - 2))
        elif shape and values.shape[1:] != shape:
            raise ValueError(f"[{name}] got samples of shape {values.shape[1:]}, fitted on {shape}")
        shift, scale = (part.astype(values.dtype).reshape(shape) for part in (self._shift, self._scale))
        return values, shift, scale


def _numbers(x: npt.ArrayLike, name: str) -> Array:
    values = np.asarray(plain("scaling", getattr(x, "_array", x)))
    if values.dtype.kind == "O" and hasattr(x, "to_numpy"):
        with suppress(TypeError, ValueError):  # columns of Arrow in pandas
            values = x.to_numpy(dtype=np.float64, na_value=np.nan)
    require_dtype(name, "values", values, "biuf", "numbers")
    return values


def _chunks(x: Array) -> Iterator[Numbers]:
    return (x[start : start + CHUNK].astype(np.float64) for start in range(0, len(x), CHUNK))


def beyond_float32(size: Numbers, spread: Numbers) -> npt.NDArray[np.bool_]:
    """True if float32 rounds numbers of this size by more than 1e-4 of their deviation."""
    return (size * 2.0**-24 > 1e-4 * spread) & (spread > 0)


def _filled(scale: Numbers) -> Numbers:
    """1 in place of 0: a constant feature is shifted only."""
    return np.where(scale == 0, 1.0, scale)


class Standardize(Affine):
    """Standard scores, `y = (x - mean) / std`, over the samples (axis 0).

    `std` is the population's (`ddof=0`), as in scikit-learn's StandardScaler. A constant feature is only
    shifted, even if its mean was rounded.

    Args:
        mean, std: known numbers, one for all or one per feature or channel; without them call `fit`.
        per: "feature" (each column, each pixel), "channel" (axis 1 of images: one mean for all pixels of a
            channel) or "all" (one mean for everything).

    Raises ValueError: not fitted, no samples, or samples of another shape than those fitted.
    Raises TypeError: values that are no numbers.

    >>> import numpy as np
    >>> from ranvier.data import Standardize
    >>> train, test = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[5.0, 6.0]])
    >>> scores = Standardize().fit(train)
    >>> scores.transform(train).tolist(), scores.transform(test).tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[3.0, 1.0]])
    >>> Standardize(per="channel").fit(np.ones((5, 3, 8, 8))).mean
    array([1., 1., 1.])
    """

    _names = ("mean", "std")

    def __init__(
        self, mean: npt.ArrayLike | None = None, std: npt.ArrayLike | None = None, per: str = "feature"
    ) -> None:
        super().__init__(per, mean, std)

    @property
    def mean(self) -> Numbers | None:
        return self._shift

    @property
    def std(self) -> Numbers | None:
        return self._scale

    def _learn(self, first: Numbers, second: Numbers) -> None:
        self._shift, self._scale = first, _filled(second)

    def _measure(self, x: Array, axes: tuple[int, ...]) -> tuple[Numbers, Numbers]:
        kept = x.mean(axis=axes, dtype=np.float64, keepdims=True)
        # the rounding error of the mean is the mean of the differences from it
        kept += sum((chunk - kept).sum(axis=axes, keepdims=True) for chunk in _chunks(x)) * kept.size / x.size
        squares = sum(np.square(chunk - kept).sum(axis=axes) for chunk in _chunks(x))
        mean = kept.squeeze(axes)
        constant = x.min(axis=axes) == x.max(axis=axes)
        return mean, np.where(constant, 0.0, np.sqrt(squares * mean.size / x.size))


class MinMaxScaler(Affine):
    """A range of [0, 1], `y = (x - low) / (high - low)`; a constant feature is only shifted.

    Args:
        low, high: known limits, such as 0 and 255 for the bytes of an image, one for all or one per feature
            or channel; without them call `fit`, which takes the range of each.
        per: "feature", "channel" or "all", as for Standardize.

    Raises ValueError: not fitted, no samples, or samples of another shape than those fitted.
    Raises TypeError: values that are no numbers.

    >>> import ranvier as rv
    >>> rv.data.MinMaxScaler(0, 255).transform([[0, 51, 255]]).tolist()
    [[0.0, 0.2, 1.0]]
    """

    _names = ("low", "high")

    def __init__(
        self, low: npt.ArrayLike | None = None, high: npt.ArrayLike | None = None, per: str = "feature"
    ) -> None:
        self.low: Numbers | None = None
        self.high: Numbers | None = None
        super().__init__(per, low, high)

    def _learn(self, first: Numbers, second: Numbers) -> None:
        self.low = first
        self.high = second
        self._shift, self._scale = first, _filled(second - first)

    def _measure(self, x: Array, axes: tuple[int, ...]) -> tuple[Numbers, Numbers]:
        return x.min(axis=axes).astype(np.float64), x.max(axis=axes).astype(np.float64)


def _per_channel(name: str, value: npt.ArrayLike) -> npt.NDArray[np.float64]:
    try:
        numbers = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise TypeError(
            f"[Normalize] got {name} {value!r}; expected finite numbers, one per channel"
        ) from None
    if numbers.ndim > 1 or numbers.size == 0 or not np.isfinite(numbers).all():
        raise ValueError(
            f"[Normalize] got {name} {numbers.tolist()}; expected finite numbers, one per channel"
        )
    return numbers


class Normalize:
    """Images with given means and deviations, `y = (x - mean) / std` per channel, as torchvision's.

    Takes float images (..., c, h, w), an array or a Tensor, and returns the same kind. `Standardize` is for
    tables and learns its numbers from samples.

    Args:
        mean, std: a number for all channels, or one for each.

    Raises ValueError: a std of 0 or below, numbers that are not finite, or images with other channels.
    Raises TypeError: images of integers: divide bytes by 255 first.

    >>> import ranvier as rv
    >>> rv.data.Normalize(0.5, (0.5, 0.25))(rv.ones(2, 1, 1)).tolist()
    [[[1.0]], [[2.0]]]
    """

    def __init__(self, mean: npt.ArrayLike, std: npt.ArrayLike) -> None:
        self.mean = _per_channel("mean", mean)
        self.std = _per_channel("std", std)
        if not (self.std > 0).all():
            raise ValueError(f"[Normalize] got std {self.std.tolist()}; expected numbers above 0")
        if len({value.size for value in (self.mean, self.std) if value.ndim}) > 1:
            raise ValueError(
                f"[Normalize] got {self.mean.size} means and {self.std.size} deviations; "
                "expected one for each channel"
            )

    def transform(self, x: Tensor | npt.ArrayLike) -> Any:
        """`(x - mean) / std`."""
        values, mean, std = self._checked(x, "transform")
        return like(x, (values - mean) / std)

    def inverse_transform(self, y: Tensor | npt.ArrayLike) -> Any:
        """`y * std + mean`, the inverse of `transform`."""
        values, mean, std = self._checked(y, "inverse_transform")
        return like(y, values * std + mean)

    __call__ = transform

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as numbers and lists."""
        return {"mean": self.mean.tolist(), "std": self.std.tolist()}

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean.tolist()}, std={self.std.tolist()})"

    def _checked(self, x: Tensor | npt.ArrayLike, method: str) -> tuple[Array, Array, Array]:
        """The images, and mean and deviation (c, 1, 1) in their dtype."""
        values = raw(x)
        if values.dtype.kind != "f":
            raise TypeError(
                f"[Normalize.{method}] got images of dtype {values.dtype}; expected float32 or float64 "
                "(divide bytes by 255 first)"
            )
        channels = max(self.mean.size, self.std.size)
        if values.ndim < 3 or channels not in (1, values.shape[-3]):
            c = "c" if channels == 1 else channels
            wanted = f"(..., {c}, h, w)"
            raise ValueError(
                f"[Normalize.{method}] got images of shape {values.shape}; expected {wanted}. Standardize is "
                "for tables"
            )
        mean, std = (part.astype(values.dtype).reshape(-1, 1, 1) for part in (self.mean, self.std))
        return values, mean, std
