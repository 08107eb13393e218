"""Samples, targets and weights for `Trainer`: checked and converted once, before the first step."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.train.arrays import to_array
from ranvier.train.form import Form

__all__ = [
    "Prepared",
    "class_weights",
    "prepare",
    "sample_weights",
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
    form: Form,
    sample_weight: Any = None,
    class_weight: Any = None,
    whole: bool = True,
    learn: bool = False,
) -> Prepared:
    """Check and convert; `name` is the method that errors name.

    whole: these are all the data: their weights may not all be zero, as those of a batch may.
    learn: take the classes from y, if they are not known.
    """
    xs = form.samples(name, x)
    if len(xs) == 0:
        raise ValueError(f"[{name}] got no samples; expected at least one")
    ys = form.targets(name, y, xs, learn)
    _require_order(name, x, y)
    weights = None if sample_weight is None else sample_weights(name, sample_weight, len(xs), whole)
    return weighted(name, Prepared(xs, ys, weights), class_weight, form, whole)


def _require_order(name: str, x: Any, y: Any) -> None:
    """Warn of a data frame and targets with the same row labels in different orders."""
    rows: Any = getattr(x, "index", None)
    others: Any = getattr(y, "index", None)
    if not hasattr(rows, "equals") or not hasattr(others, "equals") or rows.equals(others):
        return
    if rows.is_unique and rows.isin(others).all():
        warnings.warn(
            f"[{name}] x and y have the same index in different orders, and are paired by position: "
            "y.loc[x.index] pairs them by index",
            stacklevel=4,
        )


def weighted(name: str, data: Prepared, class_weight: Any, form: Form, whole: bool = True) -> Prepared:
    """The data with each weight multiplied by that of the sample's class; 0 for the loss's `ignore_index`."""
    weights = data.weights
    if class_weight is not None:
        if form.classes is not None:
            class_weight = _by_index(name, class_weight, form.classes)
        by_class = class_weights(name, class_weight, data.y, whole)
        weights = by_class if weights is None else weights * by_class
    ignored = getattr(form.loss, "ignore_index", None)
    if weights is not None and ignored is not None and data.y.ndim == 1:
        weights = np.where(data.y == ignored, 0.0, weights)
    return Prepared(data.x, data.y, weights)


def _by_index(name: str, weights: Any, classes: Array) -> Any:
    """The weights of labels as those of their indices."""
    if not isinstance(weights, Mapping):
        if not isinstance(weights, str) and np.shape(weights) != (len(classes),):
            raise ValueError(
                f"[{name}] got class_weight of shape {np.shape(weights)}; expected one weight for each "
                f"of the {len(classes)} labels"
            )
        return weights
    index = {label: i for i, label in enumerate(classes.tolist())}
    for label in weights:
        if label not in index:
            raise ValueError(
                f"[{name}] got class_weight for label {label!r}, which does not occur; expected some of "
                f"{', '.join(map(str, classes[:20].tolist()))}"
            )
    return {index[label]: weight for label, weight in weights.items()}


def sample_weights(name: str, weights: Any, n: int, whole: bool = True) -> npt.NDArray[np.float64]:
    """One non-negative weight per sample."""
    array = to_array(name, "sample_weight", weights).astype(np.float64)
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
            f"[{name}] got class_weight with targets of shape {y.shape}; expected one label per sample: "
            "y.argmax(1) of one-hot rows"
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
