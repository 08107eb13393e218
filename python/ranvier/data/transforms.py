"""Transforms of whole arrays before training, each with `transform` and `inverse_transform`, most with `fit`.

Their numbers are saved with a model (`rv.save(..., preprocessing=[...])`), so that a program that loads it
prepares new samples in the same way. `scaling` has those of numbers; labels and tables are encoded here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from ranvier.data.scaling import MinMaxScaler, Normalize, Standardize
from ranvier.tensors.failures import require_dtype
from ranvier.tensors.memory import Array, plain

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Compose", "MinMaxScaler", "Normalize", "Standardize", "TableEncoder", "one_hot"]


def one_hot(
    labels: npt.ArrayLike, num_classes: int | None = None, dtype: npt.DTypeLike = np.float32
) -> Array:
    """Rows of zeros with a one at the label: `y[..., c] = 1 if labels[...] == c else 0`.

    Args:
        labels: integers of any shape, 0 to num_classes - 1.
        num_classes: the length of the new last axis; by default the largest label + 1.
        dtype: the dtype of the result.

    Raises TypeError: labels are not integers; ValueError: a label is negative or not below `num_classes`.

    >>> import ranvier as rv
    >>> rv.data.one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    indices = np.asarray(plain("encoding", labels))
    if indices.size:
        require_dtype("one_hot", "labels", indices, "iu", "integers")
    if num_classes is None:
        num_classes = int(indices.max()) + 1 if indices.size else 0
    if indices.size and not (indices.min() >= 0 and indices.max() < num_classes):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(f"[one_hot] got label {wrong}; expected labels in 0..{num_classes - 1}")
    rows = np.zeros((indices.size, num_classes), dtype)
    rows[np.arange(indices.size), indices.ravel().astype(np.intp)] = 1
    return rows.reshape(*indices.shape, num_classes)


T = TypeVar("T")
R = TypeVar("R")

FILLS = ("mean", "median")
MISSING = (*FILLS, "drop", None)


def _unless_none(convert: Callable[[T], R], value: T | None) -> R | None:
    """convert(value); None for None, which stands for a column without categories or without indices."""
    if value is None:
        return None
    return convert(value)


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

    >>> import ranvier as rv
    >>> encoder = rv.data.TableEncoder([None, ("blue", "red")], "mean")
    >>> encoder.fit_transform([[1, 0], [rv.nan, 1], [3, rv.nan]])
    array([[1., 1., 0.],
           [2., 0., 1.],
           [3., 0., 0.]])
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
        self.categories = [_unless_none(tuple, of_column) for of_column in categories]
        self.missing = missing
        self.without = list(without)
        self.names = None if names is None else list(names)
        self.fill = None if fill is None else np.asarray(fill, np.float64)
        self.one_hot = one_hot
        indices_of_columns = indices or [None] * len(self.categories)
        self.indices = [_unless_none(_integers, column) for column in indices_of_columns]
        self.given = fill is not None  # a Compose does not fit what the constructor was given

    def fit(self, x: npt.ArrayLike) -> TableEncoder:
        """Learn the numbers for missing values; returns self."""
        values = self._rows(x, "fit").astype(np.float64)
        fill = np.zeros(len(self.categories))
        for column, categories in enumerate(self.categories):
            if categories is not None and self.is_embedded(column):
                codes, counts = np.unique(values[:, column], return_counts=True)
                kept = codes[(counts > 1) & (codes >= 0)].astype(np.int64)  # NaN is not >= 0
                indices = np.zeros(len(categories), np.int64)
                indices[kept] = 1 + np.arange(len(kept))
                self.indices[column] = indices
            if self.missing not in FILLS or categories is not None:
                continue
            numbers = values[:, column]
            numbers = numbers[~np.isnan(numbers)]
            if not len(numbers):
                raise ValueError(f"[TableEncoder.fit] got no number in {self._column(column)}; leave it out")
            fill[column] = numbers.mean() if self.missing == "mean" else np.median(numbers)
        self.fill = fill
        self.given = False
        return self

    def transform(self, x: npt.ArrayLike) -> Array:
        """(n, columns) to (n, numbers, one-hot columns and class indices), float32 for float32."""
        if self.fill is None:
            raise ValueError("[TableEncoder.transform] not fitted yet; expected a call of fit first")
        values = self._rows(x, "transform")
        blocks: list[Array] = []
        index_blocks: list[Array] = []
        for column, categories in enumerate(self.categories):
            cells = values[:, column]
            empty = np.isnan(cells)
            if self.missing not in FILLS and empty.any():
                raise ValueError(
                    f"[TableEncoder.transform] got a missing value in row {int(empty.argmax())}, "
                    f"{self._column(column)}; expected none, as in training"
                )
            if categories is None:
                blocks.append(np.where(empty, self.fill[column], cells)[:, None])
                continue
            indices = self.indices[column]
            codes = np.arange(len(categories))
            unknown = empty | (cells == -1)
            if not (unknown | np.isin(cells, codes)).all():
                raise ValueError(
                    f"[TableEncoder.transform] got a number in {self._column(column)} that is no category; "
                    f"expected 0 to {len(categories) - 1}"
                )
            if indices is None:
                blocks.append(cells[:, None] == codes)
            else:
                of_cell = indices[np.where(unknown, 0, cells).astype(np.int64)]
                index_blocks.append(np.where(unknown, 0, of_cell)[:, None])
        return np.hstack([*blocks, *index_blocks]).astype(values.dtype)

    def is_embedded(self, column: int) -> bool:
        """True if the column becomes class indices."""
        categories = self.categories[column]
        return categories is not None and self.one_hot is not None and len(categories) > self.one_hot

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
            "categories": [_unless_none(list, of_column) for of_column in self.categories],
            "missing": self.missing,
            "fill": _unless_none(np.ndarray.tolist, self.fill),
            "names": self.names,
            "without": self.without,
            "one_hot": self.one_hot,
            "indices": [_unless_none(np.ndarray.tolist, column) for column in self.indices],
        }

    def __repr__(self) -> str:
        count = sum(of_column is not None for of_column in self.categories)
        columns = f"{len(self.categories)} columns, {count} of categories"
        return f"TableEncoder({columns}, missing={self.missing!r})"

    def _rows(self, x: npt.ArrayLike, method: str) -> Array:
        values = np.asarray(plain("encoding", getattr(x, "_array", x)))
        if values.dtype.kind not in "fiub" or values.ndim != 2 or values.shape[1] != len(self.categories):
            raise ValueError(
                f"[TableEncoder.{method}] got values of dtype {values.dtype} and shape {values.shape}; "
                f"expected numbers of shape (n, {len(self.categories)})"
            )
        if values.dtype.kind == "f":
            return values
        return values.astype(np.float64)

    def _column(self, column: int) -> str:
        if self.names:
            return f"column '{self.names[column]}'"
        return f"column {column}"


def _integers(column: Sequence[int]) -> Array:
    return np.asarray(column, np.int64)


class Compose:
    """Several transforms, one after another; a plain function among them has nothing to fit and no inverse.

    With one that mixes labels (`augment.Mixup`), a call takes and returns images and labels.

    Raises:
        TypeError: a step that is neither; `inverse_transform` or `config` with a plain function among the
            steps.

    >>> import numpy as np
    >>> from ranvier.data import Compose, MinMaxScaler, Standardize
    >>> steps = Compose([MinMaxScaler(0, 255), Standardize()])
    >>> y = steps.fit_transform([[0.0], [255.0]])
    >>> y.tolist(), steps.inverse_transform(y).tolist()
    ([[-1.0], [1.0]], [[0.0], [255.0]])
    """

    def __init__(self, transforms: Sequence[Any]) -> None:
        self.transforms = list(transforms)
        for step in self.transforms:
            if not (hasattr(step, "transform") or callable(step)):
                raise TypeError(
                    f"[Compose] got a step of type {type(step).__name__}; expected a transform or a function"
                )

    @property
    def mixes_labels(self) -> bool:
        return any(getattr(step, "mixes_labels", False) for step in self.transforms)

    def __call__(self, x: Any, *labels: Any) -> Any:
        if self.mixes_labels and len(labels) != 1:
            raise ValueError("[Compose] got images without labels to mix; expected (images, labels)")
        for step in self.transforms:
            if getattr(step, "mixes_labels", False):
                x, *labels = step(x, *labels)
            else:
                x = _applied(step, x)
        if labels:
            return (x, *labels)
        return x

    transform = __call__

    def fit(self, x: npt.ArrayLike) -> Compose:
        """Fit each step to what the steps before it make of `x`; returns self.

        A step whose numbers were given to its constructor, such as `MinMaxScaler(0, 255)`, keeps them.
        """
        self.fit_transform(x)
        return self

    def fit_transform(self, x: Any) -> Any:
        """`fit(x)`, then `transform(x)`."""
        for step in self.transforms:
            if hasattr(step, "fit") and not getattr(step, "given", False):
                step.fit(x)
            x = _applied(step, x)
        return x

    def inverse_transform(self, y: Any) -> Any:
        """The steps' inverses, the last one first."""
        for step in reversed(self.transforms):
            if not hasattr(step, "inverse_transform"):
                raise TypeError(f"[Compose.inverse_transform] got a step without inverse: {_name(step)}")
            y = step.inverse_transform(y)
        return y

    def config(self) -> dict[str, Any]:
        """The steps' configs, by name."""
        for step in self.transforms:
            if not hasattr(step, "config"):
                raise TypeError(f"[Compose.config] got a step that cannot be saved: {_name(step)}")
        return {"steps": [{"transform": type(step).__name__, **step.config()} for step in self.transforms]}

    def __repr__(self) -> str:
        return f"Compose([{', '.join(map(repr, self.transforms))}])"


def _applied(step: Any, x: Any) -> Any:
    if callable(step):
        return step(x)
    return step.transform(x)


def _name(step: Any) -> str:
    return getattr(step, "__name__", type(step).__name__)


def from_config(config: dict[str, Any]) -> Any:
    """The transform of a saved model's `preprocessing`, `{"transform": "Standardize", "mean": ...}`.

    Raises ValueError: the name is none of this module's transforms.

    >>> import ranvier as rv
    >>> rv.data.transforms.from_config({"transform": "MinMaxScaler", "low": 0, "high": 16})([8.0]).tolist()
    [0.5]
    """
    classes = {cls.__name__: cls for cls in (Standardize, MinMaxScaler, Normalize, TableEncoder)}
    if not isinstance(config, dict):  # a file may have anything
        raise ValueError(
            f"[from_config] got {type(config).__name__}; expected a dict of a transform's config"
        )
    name = config.get("transform")
    arguments = {key: value for key, value in config.items() if key != "transform"}
    if name == "Compose":
        return Compose([from_config(step) for step in arguments["steps"]])
    if name not in classes:
        raise ValueError(
            f"[transforms.from_config] unknown transform {name!r}; "
            f"expected one of {', '.join(classes)}, Compose"
        )
    return classes[name](**arguments)
