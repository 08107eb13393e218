"""Transforms of whole arrays before training: one-hot labels, standard scores, a range of [0, 1].

The two classes learn their numbers with `fit` and are saved beside a model, so that whoever loads it
can prepare new samples in the same way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Normalize", "Standardize", "normalise", "one_hot", "standardise"]

Array = npt.NDArray[Any]


def one_hot(
    labels: npt.ArrayLike, num_classes: int | None = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Rows of zeros with a one at the label: `y[..., c] = 1 if labels[...] == c else 0`.

    Args:
        labels: integers of any shape, 0 to num_classes - 1.
        num_classes: the length of the new last axis; the largest label + 1 if not given.
        dtype: of the result.

    Raises:
        TypeError: labels are not integers.
        ValueError: a label is negative or not below `num_classes`.

    >>> from ranvier.data import one_hot
    >>> one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    given = np.asarray(labels)
    if given.dtype.kind not in "iu" and given.size:
        raise TypeError(f"[one_hot] got labels of dtype {given.dtype}; expected integers")
    if num_classes is None:
        num_classes = int(given.max()) + 1 if given.size else 0
    if given.size and not (given.min() >= 0 and given.max() < num_classes):
        wrong = given.min() if given.min() < 0 else given.max()
        raise ValueError(f"[one_hot] got label {wrong}; expected labels in 0..{num_classes - 1}")
    rows = np.zeros((given.size, num_classes), dtype)
    rows[np.arange(given.size), given.ravel().astype(np.intp)] = 1
    return rows.reshape(*given.shape, num_classes)


class _Affine:
    """y = (x - shift) / scale per feature, where the features are all axes but the first.

    float32 stays float32; everything else is computed and returned in float64.
    """

    def __init__(self) -> None:
        self._shift: npt.NDArray[np.float64] | None = None
        self._scale: npt.NDArray[np.float64] | None = None

    def fit(self, x: npt.ArrayLike) -> _Affine:
        raise NotImplementedError

    def transform(self, x: npt.ArrayLike) -> Array:
        """`(x - shift) / scale` with the numbers learnt by `fit`; a new array of the shape of `x`."""
        values, shift, scale = self._checked(x, "transform")
        result: Array = (values - shift) / scale
        return result

    def inverse_transform(self, y: npt.ArrayLike) -> Array:
        """`y * scale + shift`: what `transform` would turn into `y`."""
        values, shift, scale = self._checked(y, "inverse_transform")
        result: Array = values * scale + shift
        return result

    def fit_transform(self, x: npt.ArrayLike) -> Array:
        """`fit(x)`, then `transform(x)`."""
        return self.fit(x).transform(x)

    __call__ = transform

    def _checked(self, x: npt.ArrayLike, method: str) -> tuple[Array, Array, Array]:
        if self._shift is None or self._scale is None:
            raise ValueError(f"[{type(self).__name__}.{method}] not fitted yet; expected a call of fit first")
        values = _floats(x, type(self).__name__)
        if self._shift.ndim and values.shape[1:] != self._shift.shape:
            raise ValueError(
                f"[{type(self).__name__}.{method}] got samples of shape {values.shape[1:]}, fitted on "
                f"{self._shift.shape}"
            )
        return values, self._shift.astype(values.dtype), self._scale.astype(values.dtype)


def _floats(x: npt.ArrayLike, name: str) -> Array:
    values = np.asarray(x)
    if values.dtype.kind not in "fiub":
        raise TypeError(f"[{name}] got values of dtype {values.dtype}; expected numbers")
    return values if values.dtype == np.float32 else values.astype(np.float64)


def _samples(x: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    values = _floats(x, name).astype(np.float64)
    if values.ndim == 0 or len(values) == 0:
        raise ValueError(f"[{name}.fit] got values of shape {values.shape}; expected at least one sample")
    return values


def _filled(scale: Array) -> Array:
    """A feature that is constant has no scale: it is shifted only."""
    return np.where(scale == 0, 1.0, scale)


class Standardize(_Affine):
    """Standard scores, `y = (x - mean) / std`, per feature over the samples (axis 0).

    `std` is the population's (`ddof=0`), as in scikit-learn; a constant feature is only shifted.

    Args:
        mean, std: numbers or arrays of one sample's shape that are known already; without them call `fit`.

    Raises:
        ValueError: not fitted, no samples, or samples of another shape than those fitted.
        TypeError: values that are no numbers.

    >>> import numpy as np
    >>> from ranvier.data import Standardize
    >>> train, test = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[5.0, 6.0]])
    >>> scores = Standardize().fit(train)
    >>> scores.transform(train).tolist(), scores.transform(test).tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[3.0, 1.0]])
    """

    def __init__(self, mean: npt.ArrayLike | None = None, std: npt.ArrayLike | None = None) -> None:
        super().__init__()
        if (mean is None) != (std is None):
            raise ValueError("[Standardize] got one of mean and std; expected both or neither")
        if mean is not None and std is not None:
            self._shift = np.asarray(mean, np.float64)
            self._scale = _filled(np.asarray(std, np.float64))

    @property
    def mean(self) -> npt.NDArray[np.float64] | None:
        return self._shift

    @property
    def std(self) -> npt.NDArray[np.float64] | None:
        return self._scale

    def fit(self, x: npt.ArrayLike) -> Standardize:
        """Learn mean and standard deviation of each feature of `x`, (n, ...); returns self."""
        values = _samples(x, "Standardize")
        self._shift, self._scale = values.mean(axis=0), _filled(values.std(axis=0))
        return self

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as numbers and lists."""
        if self._shift is None or self._scale is None:
            return {"mean": None, "std": None}
        return {"mean": self._shift.tolist(), "std": self._scale.tolist()}


class Normalize(_Affine):
    """A range of [0, 1], `y = (x - low) / (high - low)`; a constant feature is only shifted.

    Args:
        low, high: numbers or arrays of one sample's shape that are known already, such as 0 and 255 for
            the bytes of an image; without them call `fit`, which takes each feature's own range.

    Raises:
        ValueError: not fitted, no samples, or samples of another shape than those fitted.
        TypeError: values that are no numbers.

    >>> from ranvier.data import Normalize
    >>> Normalize(0, 255).transform([[0, 51, 255]]).tolist()
    [[0.0, 0.2, 1.0]]
    """

    def __init__(self, low: npt.ArrayLike | None = None, high: npt.ArrayLike | None = None) -> None:
        super().__init__()
        if (low is None) != (high is None):
            raise ValueError("[Normalize] got one of low and high; expected both or neither")
        if low is not None and high is not None:
            self._set(np.asarray(low, np.float64), np.asarray(high, np.float64))

    def _set(self, low: Array, high: Array) -> None:
        self.low, self.high = low, high
        self._shift, self._scale = low, _filled(high - low)

    def fit(self, x: npt.ArrayLike) -> Normalize:
        """Learn the smallest and largest value of each feature of `x`, (n, ...); returns self."""
        values = _samples(x, "Normalize")
        self._set(values.min(axis=0), values.max(axis=0))
        return self

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as numbers and lists."""
        if self._shift is None:
            return {"low": None, "high": None}
        return {"low": self.low.tolist(), "high": self.high.tolist()}


def standardise(x: npt.ArrayLike) -> Array:
    """`Standardize().fit_transform(x)`: every feature with mean 0 and standard deviation 1.

    >>> from ranvier.data import standardise
    >>> standardise([[1.0], [3.0]]).tolist()
    [[-1.0], [1.0]]
    """
    return Standardize().fit_transform(x)


def normalise(x: npt.ArrayLike) -> Array:
    """`Normalize().fit_transform(x)`: every feature in [0, 1].

    >>> from ranvier.data import normalise
    >>> normalise([[1.0], [2.0], [3.0]]).tolist()
    [[0.0], [0.5], [1.0]]
    """
    return Normalize().fit_transform(x)


def from_config(config: dict[str, Any]) -> Standardize | Normalize:
    """The transform that a saved model's `preprocessing` names, `{"transform": "Standardize", "mean": ...}`.

    Raises:
        ValueError: a name that is not one of ours.
    """
    kinds: dict[str, type[Standardize] | type[Normalize]] = {
        "Standardize": Standardize,
        "Normalize": Normalize,
    }
    name = config.get("transform")
    if name not in kinds:
        raise ValueError(
            f"[transforms.from_config] unknown transform {name!r}; expected one of {', '.join(kinds)}"
        )
    return kinds[name](**{key: value for key, value in config.items() if key != "transform"})
