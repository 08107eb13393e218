"""MNIST, 70,000 handwritten digits, and Fashion-MNIST, 70,000 pieces of clothing: four IDX files each."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ranvier.data.datasets.download import fetch
from ranvier.data.datasets.idx import read_idx

__all__ = ["FASHION_MNIST_CLASSES", "MNIST_CLASSES", "load_fashion_mnist", "load_mnist"]

MNIST_CLASSES: tuple[str, ...] = tuple("0123456789")
FASHION_MNIST_CLASSES: tuple[str, ...] = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)

Part = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
_PARTS = ("train", "t10k")


def load_mnist(data_dir: str | os.PathLike[str] | None = None) -> tuple[Part, Part]:
    """MNIST's training part (60,000 images) and test part (10,000).

    Args:
        data_dir: folder with the files train-images-idx3-ubyte, train-labels-idx1-ubyte,
            t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each gzipped (.gz) or not. Without it the
            files are downloaded once (with pooch, which compares checksums) to the user's cache folder, or to
            the folder in the environment variable RANVIER_DATA.

    Returns: `(x_train, y_train), (x_test, y_test)`: x float32 (n, 1, 28, 28) in [0, 1], y int64 (n,).

    Raises FileNotFoundError: a file is missing in `data_dir`; the message names it.
    Raises ValueError: a file is damaged, or images and labels do not belong together.
    Raises ConnectionError: no `data_dir` and no network; the message names the files to place and where.
    Raises ImportError: no `data_dir` and pooch is not installed.

    Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", 1998.

    >>> from ranvier.data.datasets import load_mnist
    >>> load_mnist("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: [load_mnist] no folder 'no/such/folder'; expected one with the four files ...
    """
    return _load("mnist", data_dir)


def load_fashion_mnist(data_dir: str | os.PathLike[str] | None = None) -> tuple[Part, Part]:
    """Fashion-MNIST's training part (60,000 images) and test part (10,000).

    The ten classes are `FASHION_MNIST_CLASSES`. Arguments, results and errors are those of `load_mnist`. The
    files have the same names, so each set needs its own folder.

    Source: H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a novel image dataset for benchmarking machine
    learning algorithms", 2017 (MIT licence).

    >>> from ranvier.data.datasets import FASHION_MNIST_CLASSES, load_fashion_mnist
    >>> FASHION_MNIST_CLASSES[9]
    'Ankle boot'
    >>> load_fashion_mnist("no/such/folder")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: [load_fashion_mnist] no folder 'no/such/folder'; expected one with the four files ...
    """
    return _load("fashion_mnist", data_dir)


def _load(name: str, data_dir: str | os.PathLike[str] | None) -> tuple[Part, Part]:
    if data_dir is None:
        folder = fetch(name)
    else:
        folder = Path(data_dir)
        if not folder.is_dir():
            raise FileNotFoundError(
                f"[load_{name}] no folder '{folder}'; expected one with the four files {', '.join(_names())}"
            )
    paths = _find(name, folder)
    return _part(name, *paths[:2]), _part(name, *paths[2:])


def _names() -> list[str]:
    return [f"{part}-{kind}-ubyte" for part in _PARTS for kind in ("images-idx3", "labels-idx1")]


def _find(name: str, folder: Path) -> list[Path]:
    """The four files in the order of `_names()`; the error names all missing ones."""
    places = {file: (folder / file, folder / f"{file}.gz") for file in _names()}
    found = {file: next(filter(Path.is_file, paths), None) for file, paths in places.items()}
    missing = [file for file, path in found.items() if path is None]
    if missing:
        raise FileNotFoundError(
            f"[load_{name}] '{folder}' lacks {', '.join(missing)}; expected the four files "
            f"{', '.join(_names())}, each plain or as .gz"
        )
    return [path for path in found.values() if path is not None]


def _part(name: str, images_path: Path, labels_path: Path) -> Part:
    images, labels = read_idx(images_path), read_idx(labels_path)
    if images.ndim != 3 or images.dtype != np.uint8:
        raise ValueError(
            f"[load_{name}] '{images_path}' holds {images.dtype} values of shape {images.shape}; "
            "expected uint8 of shape (n, 28, 28)"
        )
    if labels.ndim != 1 or labels.dtype != np.uint8:
        raise ValueError(
            f"[load_{name}] '{labels_path}' holds {labels.dtype} values of shape {labels.shape}; "
            "expected uint8 of shape (n,)"
        )
    if len(images) != len(labels):
        raise ValueError(
            f"[load_{name}] '{images_path}' holds {len(images)} images and "
            f"'{labels_path}' {len(labels)} labels"
        )
    if len(labels) and labels.max() > 9:
        raise ValueError(f"[load_{name}] '{labels_path}' holds label {labels.max()}; expected 0 to 9")
    x = images[:, None].astype(np.float32)  # (n, 1, 28, 28)
    x /= np.float32(255)
    return x, labels.astype(np.int64)
