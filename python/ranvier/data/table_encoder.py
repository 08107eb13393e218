"""Missing values filled, and categories as one-hot columns or class indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd.memory import Array, plain

__all__ = ["TableEncoder"]

FILLS = ("mean", "median")
MISSING = (*FILLS, "drop", None)


class TableEncoder:
    """Rows of numbers and category numbers, as `load_csv(categories=True)` reads them, as rows of numbers.

    Columns of numbers keep their place; NaN becomes the mean or median of the column in `fit`. A column of
    categories becomes one column for each category: 1 for the row's category, else 0. For NaN, all of them
    are 0. Columns of more than `one_hot` categories become class indices, in the last columns, for
    `nn.CategoryEmbedding`: 0 for NaN, for -1 and for categories that occur less than twice in `fit`; 1, 2 ...
    for the others. -1 is a category that `fit` did not have; then all one-hot columns are 0.

    Args:
        categories: for each column its categories, or None for a column of numbers.
        missing: "mean" or "median"; with None or "drop" NaN is refused, and with "drop" programs that read
            tables leave such rows out.
        fill: for each column the number for NaN; without it call `fit`.
        names: of the columns, for error messages and for programs that read tables.
        without: the names of columns that were left out.
        one_hot: the most categories of a column that becomes one-hot columns; None for any number.
        indices: for each column the class index of each of its categories, or None; without them call `fit`.

    Attributes:
        embedded: the number of class indices of each of the last columns.

    Raises ValueError: not fitted, another number of columns, no number in a column, or NaN without `missing`.

    >>> import numpy as np
    >>> from ranvier.data import TableEncoder
    >>> encoder = TableEncoder([None, ("blue", "red")], "mean")
    >>> encoder.fit_transform([[1.0, 0], [np.nan, 1], [3.0, np.nan]]).tolist()
    [[1.0, 1.0, 0.0], [2.0, 0.0, 1.0], [3.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        categories: Sequence[Sequence[str] | None],
        missing: str | None = None,
        fill: Sequence[float] | None = None,
        names: Sequence[str] | None = None,
        without: Sequence[str] = (),
        one_hot: int | None = None,
        indices: Sequence[Sequence[int] | None] | None = None,
    ) -> None:
        if missing not in MISSING:
            raise ValueError(f"[TableEncoder] got missing {missing!r}; expected mean, median, drop or None")
        self.categories = [None if known is None else tuple(known) for known in categories]
        self.missing, self.names, self.without = (
            missing,
            None if names is None else list(names),
            list(without),
        )
        self.fill = None if fill is None else np.asarray(fill, np.float64)
        self.one_hot = one_hot
        self.indices = [
            None if column is None else np.asarray(column, np.int64)
            for column in indices or [None] * len(self.categories)
        ]
        self.given = fill is not None  # a Compose does not fit what the constructor was given

    def fit(self, x: npt.ArrayLike) -> TableEncoder:
        """Learn the numbers for missing values; returns self."""
        values = self._rows(x, "fit").astype(np.float64)
        fill = np.zeros(len(self.categories))
        for column, known in enumerate(self.categories):
            if known is not None and self.is_embedded(column):
                codes, counts = np.unique(values[:, column], return_counts=True)
                kept = codes[(counts > 1) & (codes >= 0)].astype(np.int64)  # NaN is not >= 0
                indices = np.zeros(len(known), np.int64)
                indices[kept] = 1 + np.arange(len(kept))
                self.indices[column] = indices
            if self.missing not in FILLS or known is not None:
                continue
            found = values[:, column]
            found = found[~np.isnan(found)]
            if not len(found):
                raise ValueError(f"[TableEncoder.fit] got no number in {self._column(column)}; expected one")
            fill[column] = found.mean() if self.missing == "mean" else np.median(found)
        self.fill, self.given = fill, False
        return self

    def transform(self, x: npt.ArrayLike) -> Array:
        """(n, columns) to (n, numbers, one-hot columns and class indices), float32 for float32."""
        if self.fill is None:
            raise ValueError("[TableEncoder.transform] not fitted yet; expected a call of fit first")
        values = self._rows(x, "transform")
        parts: list[Array] = []
        last: list[Array] = []
        for column, known in enumerate(self.categories):
            cells = values[:, column]
            empty = np.isnan(cells)
            if self.missing not in FILLS and empty.any():
                raise ValueError(
                    f"[TableEncoder.transform] got a missing value in row {int(empty.argmax())}, "
                    f"{self._column(column)}; expected none, as in training"
                )
            if known is None:
                parts.append(np.where(empty, self.fill[column], cells)[:, None])
                continue
            indices, codes = self.indices[column], np.arange(len(known))
            unknown = empty | (cells == -1)
            if not (unknown | np.isin(cells, codes)).all():
                raise ValueError(
                    f"[TableEncoder.transform] got a number in {self._column(column)} that is no category; "
                    f"expected 0 to {len(known) - 1}"
                )
            if indices is None:
                parts.append(cells[:, None] == codes)
            else:
                of_cell = indices[np.where(unknown, 0, cells).astype(np.int64)]
                last.append(np.where(unknown, 0, of_cell)[:, None])
        return np.hstack([*parts, *last]).astype(values.dtype)

    def is_embedded(self, column: int) -> bool:
        """Whether the column becomes class indices."""
        known = self.categories[column]
        return known is not None and self.one_hot is not None and len(known) > self.one_hot

    @property
    def embedded(self) -> list[int]:
        return [int(column.max(initial=0)) + 1 for column in self.indices if column is not None]

    def fit_transform(self, x: npt.ArrayLike) -> Array:
        """`fit(x)`, then `transform(x)`."""
        return self.fit(x).transform(x)

    __call__ = transform

    def config(self) -> dict[str, Any]:
        """The constructor's arguments as plain values."""
        return {
            "categories": [None if known is None else list(known) for known in self.categories],
            "missing": self.missing,
            "fill": None if self.fill is None else self.fill.tolist(),
            "names": self.names,
            "without": self.without,
            "one_hot": self.one_hot,
            "indices": [None if column is None else column.tolist() for column in self.indices],
        }

    def __repr__(self) -> str:
        kinds = sum(known is not None for known in self.categories)
        return (
            f"TableEncoder({len(self.categories)} columns, {kinds} of categories, missing={self.missing!r})"
        )

    def _rows(self, x: npt.ArrayLike, method: str) -> Array:
        values = np.asarray(plain("encoding", getattr(x, "_array", x)))
        if values.dtype.kind not in "fiub" or values.ndim != 2 or values.shape[1] != len(self.categories):
            raise ValueError(
                f"[TableEncoder.{method}] got values of dtype {values.dtype} and shape {values.shape}; "
                f"expected numbers of shape (n, {len(self.categories)})"
            )
        return values if values.dtype.kind == "f" else values.astype(np.float64)

    def _column(self, column: int) -> str:
        return f"column '{self.names[column]}'" if self.names else f"column {column}"
