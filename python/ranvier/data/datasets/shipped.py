"""Two small data sets in the package: handwritten digits and iris flowers.

`files/SOURCES.txt` names their sources and licences.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["DIGITS_CLASSES", "IRIS_CLASSES", "IRIS_FEATURES", "load_digits", "load_iris"]

DIGITS_CLASSES: tuple[str, ...] = tuple("0123456789")
IRIS_CLASSES: tuple[str, ...] = ("setosa", "versicolor", "virginica")
IRIS_FEATURES: tuple[str, ...] = (
    "sepal length (cm)",
    "sepal width (cm)",
    "petal length (cm)",
    "petal width (cm)",
)


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
