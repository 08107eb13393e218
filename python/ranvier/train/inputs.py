"""Samples, targets and weights for `Trainer`: checked and converted once, before the first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import plain

__all__ = [
    "Prepared",
    "class_weights",
    "prepare",
    "same_columns",
    "sample_weights",
    "samples",
    "targets",
    "weighted",
]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Prepared:
    """Samples, targets and, if there are any, weights: arrays of equal length."""

    x: Array
    y: Array
    weights: Array | None

    def part(self, start: int, stop: int) -> Prepared:
        """Samples start to stop - 1."""
        weights = None if self.weights is None else self.weights[start:stop]
        return Prepared(self.x[start:stop], self.y[start:stop], weights)

    @property
    def arrays(self) -> tuple[Array, ...]:
        return (self.x, self.y) if self.weights is None else (self.x, self.y, self.weights)


def prepare(
    name: str,
    x: Any,
    y: Any,
    dtype: np.dtype[Any],
    link: str | None,
    sample_weight: Any = None,
    class_weight: Any = None,
    whole: bool = True,
) -> Prepared:
    """Check and convert; `name` is the method that errors name, `dtype` the model's.

    whole: these are all the data: their weights may not all be zero, as those of a batch may.
    """
    xs = samples(name, x, dtype)
    if len(xs) == 0:
        raise ValueError(f"[{name}] got no samples; expected at least one")
    ys = targets(name, y, len(xs), dtype, link)
    weights = None if sample_weight is None else sample_weights(name, sample_weight, len(xs), whole)
    return weighted(name, Prepared(xs, ys, weights), class_weight, whole)


def weighted(name: str, data: Prepared, class_weight: Any, whole: bool = True) -> Prepared:
    """The data with each weight multiplied by that of the sample's class."""
    if class_weight is None:
        return data
    by_class = class_weights(name, class_weight, data.y, whole)
    return Prepared(data.x, data.y, by_class if data.weights is None else data.weights * by_class)


def _array(name: str, argument: str, value: Any) -> Array:
    raw = getattr(value, "_array", value)
    if raw is value and hasattr(raw, "detach"):  # a tensor of torch
        raw = raw.detach()
    try:
        array = np.asarray(plain(name, raw))
    except ValueError as error:  # lists of unequal length
        raise ValueError(f"[{name}] got {argument} that is no array: {error}") from None
    if array.dtype.kind not in "fiub":
        raise TypeError(f"[{name}] got {argument} of dtype {array.dtype}; expected numbers")
    if array.ndim == 0:
        raise ValueError(f"[{name}] got {argument} that is a number; expected one entry per sample")
    return array


def samples(name: str, x: Any, dtype: np.dtype[Any]) -> Array:
    """`x` as an array; floats in the model's dtype, so that no batch has to be converted. Integers stay."""
    array = _array(name, "x", x)
    return _converted(array, dtype) if array.dtype.kind == "f" else np.ascontiguousarray(array)


def same_columns(name: str, x: Any, expected: list[str] | None) -> list[str] | None:
    """The names of a data frame's columns, None for what has none.

    Raises:
        ValueError: they are not the expected ones, in their order.
    """
    columns = getattr(x, "columns", None)
    if columns is None or not hasattr(x, "__array__"):
        return None
    found = [str(column) for column in columns]
    if expected is not None and found != expected:
        raise ValueError(
            f"[{name}] got the columns {', '.join(found)}; expected {', '.join(expected)}, as fit was given "
            "them"
        )
    return found


def targets(name: str, y: Any, n: int, dtype: np.dtype[Any], link: str | None) -> Array:
    """`y` as an array of n targets: class indices as they are, everything else in the model's dtype."""
    array = _array(name, "y", y)
    if len(array) != n:
        raise ValueError(f"[{name}] got {n} samples in x and {len(array)} targets in y; expected as many")
    indices = link == "softmax" and array.dtype.kind in "iu"
    return np.ascontiguousarray(array) if indices else _converted(array, dtype)


def _converted(array: Array, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):  # what is too large is found, with its place, by `require_finite`
        return np.ascontiguousarray(array, dtype)


def sample_weights(name: str, weights: Any, n: int, whole: bool = True) -> npt.NDArray[np.float64]:
    """One non-negative weight per sample."""
    array = _array(name, "sample_weight", weights).astype(np.float64)
    if array.shape != (n,):
        raise ValueError(f"[{name}] got sample_weight of shape {array.shape}; expected ({n},)")
    if not (np.isfinite(array).all() and (array >= 0).all() and (array.sum() > 0 or not whole)):
        raise ValueError(f"[{name}] got a sample_weight below 0, not finite, or all zeros")
    return array


def class_weights(name: str, weights: Any, y: Array, whole: bool = True) -> npt.NDArray[np.float64]:
    """The weight of each sample's class.

    `weights` is a mapping from label to weight (1 for labels that it lacks), a sequence with one weight per
    class, or "balanced": n / (classes * count of the class), as in scikit-learn.
    """
    labels = y.reshape(len(y), -1)
    if labels.shape[1] != 1 or not np.array_equal(labels, np.rint(labels)):
        raise ValueError(
            f"[{name}] got class_weight with targets of shape {y.shape}; expected one label per sample"
        )
    found, codes, counts = np.unique(labels.astype(np.int64), return_inverse=True, return_counts=True)
    if isinstance(weights, str):
        if weights != "balanced":
            raise ValueError(
                f"[{name}] got class_weight {weights!r}; expected 'balanced', a mapping or a sequence"
            )
        per_class = len(y) / (len(found) * counts)
    elif isinstance(weights, Mapping):
        absent = [label for label in weights if label not in found]
        if absent and whole:
            raise ValueError(
                f"[{name}] got class_weight for label {absent[0]!r}, which does not occur; expected some of "
                f"{', '.join(map(str, found[:20].tolist()))}"
            )
        per_class = np.array([weights.get(int(label), 1.0) for label in found], np.float64)
    else:
        given = np.asarray(weights, np.float64)
        if given.ndim != 1 or found[0] < 0 or found[-1] >= len(given):
            raise ValueError(
                f"[{name}] got class_weight of shape {given.shape}; expected one weight for each label "
                f"0 to {found[-1]}"
            )
        per_class = given[found]
    return sample_weights(name, per_class[codes.ravel()], len(y), whole)
