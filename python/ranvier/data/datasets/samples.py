"""Samples, as all readers of files return them, and the two small data sets in the package: digits and iris.

`files/SOURCES.txt` names the sources and licences of these.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.tensors.memory import Array
from ranvier.tensors.reading import require_file_of_bytes

if TYPE_CHECKING:
    import numpy.typing as npt

    from ranvier.tensors.types import DtypeLike

__all__ = ["DIGITS_CLASSES", "IRIS_CLASSES", "IRIS_FEATURES", "Samples", "load_digits", "load_iris"]

PathLike = str | os.PathLike[str]
TASKS = ("auto", "classification", "regression")


class Samples:
    """Samples and their targets.

    Attributes:
        x: (n, ...) float32, or the dtype that the function was given.
        y: class numbers, int64 (n,), or values (n, ...) in the dtype of x; None if the file has no targets.
        class_names: the names of the class numbers; None if y has values.
        feature_names: the names of the columns of x, if there are any.
        scale: the divisor of the numbers of the file: 255 for the bytes of images, else 1.
        unused: the names of the other arrays of an archive.
        categories: for each column of a table its categories, or None for numbers; None if there are none.
        rows: the indices of the rows of a table that are kept; None for all.
        dropped: how many rows of a table are left out because of missing values (missing="drop").
        skipped: the names of broken images that are left out.
        files: the names of the images.
        target: the name of a table's column of targets.

    >>> from ranvier.data.datasets import load_iris, IRIS_CLASSES, Samples
    >>> iris = Samples(*load_iris(), class_names=IRIS_CLASSES)
    >>> len(iris), iris.class_names[iris.y[100]]
    (150, 'virginica')
    """

    def __init__(
        self,
        x: Array,
        y: Array | None,
        class_names: tuple[str, ...] | None = None,
        feature_names: tuple[str, ...] | None = None,
        scale: float = 1.0,
        unused: tuple[str, ...] = (),
        categories: tuple[tuple[str, ...] | None, ...] | None = None,
        rows: Array | None = None,
        dropped: int = 0,
        skipped: tuple[str, ...] = (),
        files: tuple[str, ...] = (),
        target: str | None = None,
    ) -> None:
        self.x = x
        self.y = y
        self.class_names = class_names
        self.feature_names = feature_names
        self.scale = scale
        self.unused = unused
        self.categories = categories
        self.rows = rows
        self.dropped = dropped
        self.skipped = skipped
        self.files = files
        self.target = target

    def __len__(self) -> int:
        return len(self.x)

    def with_changes(self, **attributes: Any) -> Samples:
        """The same samples with other values of some attributes.

        >>> from ranvier.data.datasets import load_iris, Samples
        >>> Samples(*load_iris()).with_changes(y=None).y is None
        True
        """
        return Samples(**{**vars(self), **attributes})


def targets(labels: Array, task: str, dtype: DtypeLike = np.float32) -> tuple[Array, tuple[str, ...] | None]:
    """(y, class names) of a column of labels: text and integers are classes, other numbers are values.

    Classes are numbered in sorted order. One-hot rows are classes, except with task "regression".
    """
    if labels.ndim > 1:
        binary = labels.ndim == 2 and labels.shape[1] > 1 and bool(((labels == 0) | (labels == 1)).all())
        if binary and task != "regression" and (labels.sum(axis=1) == 1).all():
            return labels.argmax(axis=1).astype(np.int64), tuple(map(str, range(labels.shape[1])))
        return real(labels, dtype), None
    whole = labels.dtype.kind in "USb" or bool((labels == np.rint(labels)).all())
    if task == "regression" or (task == "auto" and not whole):
        return real(labels, dtype), None
    classes, codes = np.unique(labels, return_inverse=True)
    kind = int if classes.dtype.kind == "f" and whole else str  # Python integers have any size
    return codes.ravel().astype(np.int64), tuple(str(kind(name)) for name in classes.tolist())


def real(values: Array, dtype: DtypeLike | None) -> Array:
    """The values as float32 or float64; raises ValueError for a number that is too large."""
    with np.errstate(over="ignore"):
        converted = values.astype(dtype)
    if not np.isfinite(converted).all():
        too_large = values[~np.isfinite(converted)].flat[0]
        raise ValueError(f"{too_large:g} is more than {np.dtype(dtype)} holds, {np.finfo(dtype).max:.3g}")
    return converted


def is_frame(source: Any) -> bool:
    """True for a data frame of pandas, polars or Arrow."""
    return hasattr(source, "columns") and (hasattr(source, "iloc") or hasattr(source, "to_pandas"))


def path_of(name: str, path: PathLike) -> Path:
    """Raises TypeError for what is no path, such as an open file or a data frame."""
    try:
        return Path(path)
    except TypeError:
        raise TypeError(
            f"[{name}] got {type(path).__name__}; expected the path of a file or folder: fit(), Trainer and "
            "TensorDataset take arrays and data frames"
        ) from None


def require_file(name: str, path: PathLike) -> Path:
    file = path_of(name, path)
    if not file.is_file():
        url = "://" in str(path)
        if file.exists() and not file.is_dir():
            require_file_of_bytes(file, name)
        raise FileNotFoundError(f"[{name}] no file '{path}'{'; expected a path: download it first' * url}")
    return file


def require_unpacked(path: PathLike, size: int, times: int = 100) -> None:
    """Raise ValueError for a packed file that becomes far larger than others do: more than 4 MiB and `times`
    its bytes."""
    packed = os.path.getsize(path)
    if size > 2**22 + times * packed:
        raise ValueError(
            f"it has {packed} bytes, and more than {size} when it is unpacked; unpack it yourself"
        )


def unpacked(path: PathLike) -> bytes:
    """The content of a file that gzip packed."""
    import gzip

    parts = []
    size = 0
    with gzip.open(path, "rb") as stream:
        part = stream.read(2**22)
        while part:
            parts.append(part)
            size += len(part)
            require_unpacked(path, size)
            part = stream.read(2**22)
    return b"".join(parts)


DIGITS_CLASSES: tuple[str, ...] = tuple("0123456789")
IRIS_CLASSES: tuple[str, ...] = ("setosa", "versicolor", "virginica")
IRIS_FEATURES: tuple[str, ...] = (
    "sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)",
)  # fmt: skip


def _read(name: str) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    with np.load(Path(__file__).with_name("files") / name) as archive:
        return archive["x"], archive["y"]


def load_digits() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """The 1,797 handwritten digits of the UCI optical recognition set, 8x8 pixels each.

    A pixel is the number of set dots in a 4x4 block of the scanned digit, divided by 16.

    Returns: `x`, float32 (1797, 1, 8, 8) in [0, 1], and `y`, int64 (1797,), the digit 0 to 9.

    Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
    Repository, 1998, https://doi.org/10.24432/C50P49 (CC BY 4.0).

    >>> from ranvier.data.datasets import load_digits
    >>> x, y = load_digits()
    >>> x.shape, y[:5].tolist()
    ((1797, 1, 8, 8), [0, 1, 2, 3, 4])
    """
    x, y = _read("digits.npz")
    x = x.astype(np.float32, order="C")  # the file has pixel after pixel, which the wheel packs better
    return (x / np.float32(16)).reshape(-1, 1, 8, 8), y.astype(np.int64)


def load_iris() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Fisher's 150 iris flowers: four lengths in cm (`IRIS_FEATURES`), three species (`IRIS_CLASSES`).

    Returns: `x`, float32 (150, 4), and `y`, int64 (150,), in order of species: 50 of each.

    Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems", Annals of Eugenics 7(2),
    1936; UCI Machine Learning Repository, https://doi.org/10.24432/C56C76 (CC BY 4.0).

    >>> import numpy as np
    >>> from ranvier.data.datasets import load_iris
    >>> x, y = load_iris()
    >>> x[0].tolist() == np.float32([5.1, 3.5, 1.4, 0.2]).tolist(), np.bincount(y).tolist()
    (True, [50, 50, 50])
    """
    tenths, y = _read("iris.npz")  # the lengths in millimetres
    return (tenths / 10).astype(np.float32), y.astype(np.int64)
