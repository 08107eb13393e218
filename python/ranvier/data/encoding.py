"""One-hot rows for labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import Array, plain

__all__ = ["OneHot", "one_hot"]


def one_hot(
    labels: npt.ArrayLike, num_classes: int | None = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Rows of zeros with a one at the label: `y[..., c] = 1 if labels[...] == c else 0`.

    Args:
        labels: integers of any shape, 0 to num_classes - 1.
        num_classes: the length of the new last axis; by default the largest label + 1.
        dtype: of the result.

    Raises TypeError: labels are not integers; ValueError: a label is negative or not below `num_classes`.

    >>> from ranvier.data import one_hot
    >>> one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    given = np.asarray(plain("encoding", labels))
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


class OneHot:
    """One-hot rows for labels of any kind, numbers or words, and their inverse.

    Args:
        classes: the labels in the order of their columns; without them call `fit`, which sorts the labels.
        dtype: of the rows.

    Raises ValueError: not fitted, or an unknown label.

    >>> from ranvier.data import OneHot
    >>> rows = OneHot().fit(["cat", "dog", "ant"])
    >>> rows.transform(["dog", "ant"]).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    >>> rows.inverse_transform([[0.1, 0.7, 0.2]]).tolist()
    ['cat']
    """

    def __init__(
        self, classes: Sequence[Any] | Array | None = None, dtype: npt.DTypeLike = np.float32
    ) -> None:
        self.classes: Array | None = None if classes is None else np.asarray(classes)
        self.given = classes is not None  # a Compose does not fit what the constructor was given
        self.dtype = np.dtype(dtype)
        if self.classes is not None and (
            self.classes.ndim != 1 or len(np.unique(self.classes)) != len(self.classes)
        ):
            raise ValueError(f"[OneHot] got classes {classes!r}; expected a list of different labels")

    def fit(self, labels: npt.ArrayLike) -> OneHot:
        """Learn the classes; returns self."""
        found = np.unique(np.asarray(plain("encoding", labels)))
        if len(found) == 0:
            raise ValueError("[OneHot.fit] got no labels; expected at least one")
        self.classes, self.given = found, False
        return self

    def transform(self, labels: npt.ArrayLike) -> Array:
        """A row of zeros with a one for each label."""
        classes, given = self._fitted("transform"), np.asarray(plain("encoding", labels))
        order = np.argsort(classes)
        at = np.minimum(np.searchsorted(classes, given, sorter=order), len(classes) - 1)
        columns = order[at]
        wrong = given[classes[columns] != given]
        if wrong.size:
            raise ValueError(
                f"[OneHot.transform] got label {wrong.flat[0].item()!r}; expected one of {classes.tolist()}"
            )
        return one_hot(columns, len(classes), self.dtype)

    def inverse_transform(self, rows: npt.ArrayLike) -> Array:
        """The class of the largest entry of each row."""
        classes, given = self._fitted("inverse_transform"), np.asarray(rows)
        if given.ndim < 1 or given.shape[-1] != len(classes):
            raise ValueError(
                f"[OneHot.inverse_transform] got rows of shape {given.shape}; expected (..., {len(classes)})"
            )
        return classes[given.argmax(axis=-1)]

    def fit_transform(self, labels: npt.ArrayLike) -> Array:
        """`fit(labels)`, then `transform(labels)`."""
        return self.fit(labels).transform(labels)

    __call__ = transform

    def _fitted(self, method: str) -> Array:
        if self.classes is None:
            raise ValueError(f"[OneHot.{method}] not fitted yet; expected a call of fit first")
        return self.classes

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        classes = None if self.classes is None else self.classes.tolist()
        return {"classes": classes, "dtype": self.dtype.name}

    def __repr__(self) -> str:
        return f"OneHot(classes={None if self.classes is None else self.classes.tolist()})"
