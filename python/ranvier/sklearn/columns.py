"""Columns of a table as numbers for a network: scaling, missing values, categories."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.nn.embedding import ONE_HOT
from ranvier.train.arrays import is_missing

__all__ = ["Columns", "is_category"]

Array = npt.NDArray[Any]


def is_category(column: Any) -> bool:
    """Whether a column of a data frame has strings, categories or booleans; objects may also be numbers."""
    kind = getattr(column, "dtype", None)
    name = str(kind).lower()
    if name == "object":
        values = np.asarray(column, object).ravel().tolist()
        return any(isinstance(v, bool) or not (is_missing(v) or isinstance(v, Real)) for v in values)
    return name == "str" or name.startswith(
        ("bool", "categor", "string", "large_string", "enum", "dictionary")
    )


class Columns:
    """Prepares tables as the one that it was made from.

    Numbers: (x - median) / (upper - lower quartile), or for a column whose quartiles are equal
    2 (x - median) / (max - min), then x / sqrt(1 + (x / 3)^2), which keeps outliers within -3 and 3. A
    missing number becomes 0. A column that had some in the training data gets a second one that says so.

    Categories: up to 8 classes become a column of zeros and ones each, two classes one column; more classes
    become an index for an embedding. What the training data do not have is a class too, as are missing
    values.

    Args:
        table: (n, columns), numbers; categories as codes, which are -1 where missing.
        categorical: for each column, whether it is one of categories.

    Attributes:
        numbers, plain: the columns of numbers and of zeros and ones that `apply` makes first.
        categories: the number of classes of each further column, with one for what is unknown.

    Source: Holzmüller, Grinsztajn and Steinwart, "Better by default" (2024).
    """

    def __init__(self, table: Array, categorical: Array) -> None:
        self.categorical = categorical
        x = table[:, ~categorical].astype(np.float64)
        self._has_missing = np.isnan(x).any(axis=0)
        known = np.where(np.isnan(x).all(axis=0), 0.0, x)
        self._median = np.nanmedian(known, axis=0)
        low, high = np.nanpercentile(known, [25, 75], axis=0) if x.size else (x[0], x[0])
        spread = np.nanmax(known, axis=0) - np.nanmin(known, axis=0)
        width = np.where(high > low, high - low, spread / 2)
        self._factor = np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)
        self.classes = [np.unique(column[column >= 0]) for column in table[:, categorical].T]
        large = [len(found) > ONE_HOT for found in self.classes]
        self.numbers = x.shape[1]
        self.plain = int(self._has_missing.sum()) + sum(
            1 if len(found) == 2 else len(found)
            for found, many in zip(self.classes, large, strict=True)
            if not many
        )
        self.categories = [len(found) + 1 for found, many in zip(self.classes, large, strict=True) if many]

    def apply(self, table: Array) -> npt.NDArray[np.float32]:
        """The columns for the network, (n, numbers + plain + len(categories))."""
        x = table[:, ~self.categorical].astype(np.float64)
        missing = np.isnan(x)
        scaled = (np.where(missing, self._median, x) - self._median) * self._factor
        scaled /= np.sqrt(1 + (scaled / 3) ** 2)
        plain, indices = [missing[:, self._has_missing]], []
        for column, found in zip(table[:, self.categorical].T, self.classes, strict=True):
            same = column[:, None] == found
            if len(found) > ONE_HOT:
                indices.append(np.where(same.any(axis=1), same.argmax(axis=1) + 1, 0)[:, None])
            elif len(found) == 2:
                plain.append((same * [-1, 1]).sum(axis=1, keepdims=True))
            else:
                plain.append(same)
        return np.concatenate([scaled, *plain, *indices], axis=1).astype(np.float32)
