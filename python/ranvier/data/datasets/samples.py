"""Samples from files of any format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ranvier.autograd.memory import Array

__all__ = ["Samples"]

PathLike = str | os.PathLike[str]
TASKS = ("auto", "classification", "regression")


@dataclass(frozen=True)
class Samples:
    """Samples and their targets.

    Attributes:
        x: (n, ...) float32, or the dtype that the function was given.
        y: class numbers, int64 (n,), or values (n, ...) in the dtype of x; None if the file has no targets.
        class_names: the names of the class numbers; None if y has values.
        feature_names: the names of the columns of x, if there are any.
        scale: the divisor of the numbers of the file: 255 for the bytes of images, else 1.
        unused: the names of the other arrays of an archive.
        categories: of a table, for each column its categories, or None for numbers; None if there are none.
        rows: of a table, the numbers of the rows that are kept; None for all.
        skipped: the names of broken images that are left out.
        files: the names of the images.
        target: of a table, the name of the column of targets.

    >>> from ranvier.data.datasets import load_iris, IRIS_CLASSES, Samples
    >>> iris = Samples(*load_iris(), class_names=IRIS_CLASSES)
    >>> len(iris), iris.class_names[iris.y[100]]
    (150, 'virginica')
    """

    x: Array
    y: Array | None
    class_names: tuple[str, ...] | None = None
    feature_names: tuple[str, ...] | None = None
    scale: float = 1.0
    unused: tuple[str, ...] = ()
    categories: tuple[tuple[str, ...] | None, ...] | None = None
    rows: Array | None = None
    skipped: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    target: str | None = None

    def __len__(self) -> int:
        return len(self.x)


def targets(labels: Array, task: str, dtype: Any = np.float32) -> tuple[Array, tuple[str, ...] | None]:
    """(y, class names) of a column of labels: text and integers are classes, other numbers are values.

    Classes are numbered in sorted order. One-hot rows are classes, except with task "regression".
    """
    if labels.ndim == 2 and task != "regression" and _one_hot(labels):
        return labels.argmax(axis=1).astype(np.int64), tuple(map(str, range(labels.shape[1])))
    if labels.ndim > 1:
        return real(labels, dtype), None
    whole = labels.dtype.kind in "USb" or bool((labels == np.rint(labels)).all())
    if task == "regression" or (task == "auto" and not whole):
        return real(labels, dtype), None
    found, codes = np.unique(labels, return_inverse=True)
    kind = int if found.dtype.kind == "f" and whole else str  # Python integers have any size
    return codes.ravel().astype(np.int64), tuple(str(kind(name)) for name in found.tolist())


def _one_hot(labels: Array) -> bool:
    whole = labels.shape[1] > 1 and bool(((labels == 0) | (labels == 1)).all())
    return whole and bool((labels.sum(axis=1) == 1).all())


def first_not_finite(array: Array) -> tuple[tuple[int, ...], str]:
    """The index of the first NaN or infinity of an array, and its place as text."""
    at = tuple(int(i) for i in np.unravel_index(int((~np.isfinite(array)).argmax()), array.shape))
    if len(at) == 1:
        return at, f"row {at[0]}"
    rest = f"column {at[1]}" if len(at) == 2 else f"position ({', '.join(map(str, at[1:]))})"
    return at, f"row {at[0]}, {rest}"


def real(values: Array, dtype: Any) -> Array:
    """The values as float32 or float64; raises ValueError for a number that is too large."""
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if not np.isfinite(converted).all():
        found = values[~np.isfinite(converted)].flat[0]
        raise ValueError(f"{found:g} is more than {np.dtype(dtype)} holds, {np.finfo(dtype).max:.3g}")
    return converted


def require_task(name: str, task: str) -> None:
    if task not in TASKS:
        raise ValueError(f"[{name}] got task {task!r}; expected one of {', '.join(TASKS)}")


def require_file(name: str, path: PathLike) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"[{name}] no file '{path}'")
    return path
