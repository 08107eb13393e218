"""CIFAR-10: 60,000 colour photos of 32x32 pixels, in ten classes, in its binary form."""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.data.datasets.download import fetch

__all__ = ["CIFAR10_CLASSES", "load_cifar10"]

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

Part = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]
_ARCHIVE, _FOLDER = "cifar-10-binary.tar.gz", "cifar-10-batches-bin"
_TRAIN, _TEST = [f"data_batch_{i}.bin" for i in range(1, 6)], ["test_batch.bin"]
_RECORD = 1 + 3 * 32 * 32  # a byte for the label, then the red, green and blue plane


def load_cifar10(data_dir: str | os.PathLike[str] | None = None) -> tuple[Part, Part]:
    """CIFAR-10's training part (50,000 images) and test part (10,000).

    The ten classes are `CIFAR10_CLASSES`. The binary form is read, because the others are pickles, which can
    run code.

    Args:
        data_dir: folder with cifar-10-binary.tar.gz, or with its files data_batch_1.bin to data_batch_5.bin
            and test_batch.bin (or their folder cifar-10-batches-bin). Without it the archive (162 MB) is
            downloaded once, as `load_mnist`'s files are.

    Returns: `(x_train, y_train), (x_test, y_test)`: x float32 (n, 3, 32, 32) in [0, 1], y int64 (n,).

    Raises FileNotFoundError: neither the archive nor all of the files are in `data_dir`.
    Raises ValueError: a file is damaged.
    Raises ConnectionError: no `data_dir` and no network; the message names the file to place and where.
    Raises ImportError: no `data_dir` and pooch is not installed.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009.

    >>> from ranvier.data.datasets import CIFAR10_CLASSES, load_cifar10
    >>> CIFAR10_CLASSES[9]
    'truck'
    >>> load_cifar10("nowhere")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    FileNotFoundError: [load_cifar10] no folder 'nowhere'; expected one with cifar-10-binary.tar.gz, ...
    """
    wanted = f"{_ARCHIVE}, or with {', '.join(_TRAIN + _TEST)}"
    folder = fetch("cifar10") if data_dir is None else Path(data_dir)
    if not folder.is_dir():
        raise FileNotFoundError(f"[load_cifar10] no folder '{folder}'; expected one with {wanted}")
    for place in (folder, folder / _FOLDER):
        paths = [place / name for name in _TRAIN + _TEST]
        if all(path.is_file() for path in paths):
            batches = [_records(path, path.read_bytes()) for path in paths]
            break
    else:
        if not (folder / _ARCHIVE).is_file():
            raise FileNotFoundError(f"[load_cifar10] nothing to read in '{folder}'; expected {wanted}")
        batches = _unpacked(folder / _ARCHIVE)
    return _part(batches[: len(_TRAIN)]), _part(batches[len(_TRAIN) :])


def _unpacked(path: Path) -> list[npt.NDArray[np.uint8]]:
    """The records of each file of the archive; nothing is written to the disk."""
    import tarfile  # slow to load

    try:
        with tarfile.open(path) as archive:
            found = []
            for name in _TRAIN + _TEST:
                member: Any = archive.extractfile(f"{_FOLDER}/{name}")
                found.append(_records(f"{path}/{name}", member.read()))
            return found
    except (tarfile.TarError, KeyError, AttributeError, EOFError, zlib.error, OSError) as error:
        raise ValueError(f"[load_cifar10] '{path}' is cut off, damaged or another archive: {error}") from None


def _records(where: object, content: bytes) -> npt.NDArray[np.uint8]:
    """(images, 3073) bytes: label and pixels."""
    if not content or len(content) % _RECORD:
        raise ValueError(
            f"[load_cifar10] '{where}' has {len(content)} bytes; expected a multiple of {_RECORD}, an image's"
        )
    records = np.frombuffer(content, np.uint8).reshape(-1, _RECORD)
    if records[:, 0].max() > 9:
        raise ValueError(f"[load_cifar10] '{where}' holds label {records[:, 0].max()}; expected 0 to 9")
    return records


def _part(batches: list[npt.NDArray[np.uint8]]) -> Part:
    records = np.concatenate(batches)
    x = records[:, 1:].reshape(-1, 3, 32, 32).astype(np.float32)
    x /= np.float32(255)
    return x, records[:, 0].astype(np.int64)
