"""What a file of samples holds, whatever its format."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Samples"]

Array = npt.NDArray[Any]
PathLike = str | os.PathLike[str]
TASKS = ("auto", "classification", "regression")


@dataclass(frozen=True)
class Samples:
    """Samples and their targets.

    Attributes:
        x: (n, ...) float32.
        y: class numbers, int64 (n,), or values, float32 (n, ...); None if the file has no targets.
        class_names: what the class numbers stand for; None if y holds values.
        feature_names: the names of the columns of x, if they have any.
        scale: what the numbers of the file were divided by: 255 for the bytes of images, else 1.

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

    def __len__(self) -> int:
        return len(self.x)


def targets(labels: Array, task: str) -> tuple[Array, tuple[str, ...] | None]:
    """(y, class names) of a column of labels: text and whole numbers are classes, other numbers are values.

    Classes are numbered in the order of their values, numbers by size.
    """
    whole = labels.dtype.kind in "USb" or bool((labels == np.rint(labels)).all())
    if task == "regression" or (task == "auto" and not whole):
        return labels.astype(np.float32), None
    found, codes = np.unique(labels, return_inverse=True)
    if found.dtype.kind == "f" and whole:
        found = found.astype(np.int64)
    return codes.ravel().astype(np.int64), tuple(str(name) for name in found.tolist())


def require_task(name: str, task: str) -> None:
    if task not in TASKS:
        raise ValueError(f"[{name}] got task {task!r}; expected one of {', '.join(TASKS)}")


def require_file(name: str, path: PathLike) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"[{name}] no file '{path}'")
    return path
