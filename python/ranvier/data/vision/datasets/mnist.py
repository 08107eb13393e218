"""MNIST and Fashion-MNIST as torchvision stores them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ranvier.autograd import wrap
from ranvier.data.datasets import FASHION_MNIST_CLASSES, read_idx
from ranvier.data.datasets.downloads import fetch
from ranvier.data.vision.datasets.base import Function, VisionDataset, as_item

__all__ = ["MNIST", "FashionMNIST"]

_NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
KINDS = "images-idx3", "labels-idx1"


class MNIST(VisionDataset):
    """60,000 or 10,000 handwritten digits: items are (28x28 image, digit).

    Args:
        root: the folder above `MNIST/raw`, where the four IDX files are, gzipped or not.
        train: the training part; False, the test part.
        transform, target_transform: functions of the image and of the label.
        download: fetch missing files (with pooch, which compares md5 checksums).

    Attributes: data, uint8 (n, 28, 28); targets, int64 (n,); classes; class_to_idx.

    Raises FileNotFoundError: files are missing and `download` is False. ValueError: a file is damaged.
    Raises ImportError: `download` without pooch.
    """

    classes: ClassVar = [f"{i} - {name}" for i, name in enumerate(_NAMES)]
    _source = "mnist"

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Function = None,
        target_transform: Function = None,
        download: bool = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download and not all(self._file(part, kind) for part in ("train", "t10k") for kind in KINDS):
            fetch(self._source, Path(self.raw_folder))
        part = "train" if train else "t10k"
        images, labels = (self._read(part, kind) for kind in KINDS)
        if images.ndim != 3 or labels.ndim != 1 or len(images) != len(labels) or images.dtype != np.uint8:
            raise ValueError(
                f"[{type(self).__name__}] '{self.raw_folder}' has images of shape {images.shape} and "
                f"labels of shape {labels.shape}; expected (n, 28, 28) and (n,) bytes"
            )
        self.data, self.targets = wrap(images), wrap(labels.astype(np.int64))

    @property
    def raw_folder(self) -> str:
        return os.path.join(self.root or "", type(self).__name__, "raw")

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self.classes)}

    @property
    def train_data(self) -> Any:
        return self.data

    @property
    def train_labels(self) -> Any:
        return self.targets

    test_data, test_labels = train_data, train_labels

    def _file(self, part: str, kind: str) -> Path | None:
        plain = Path(self.raw_folder, f"{part}-{kind}-ubyte")
        return next(filter(Path.is_file, (plain, Path(f"{plain}.gz"))), None)

    def _read(self, part: str, kind: str) -> Any:
        path = self._file(part, kind)
        if path is None:
            raise FileNotFoundError(
                f"[{type(self).__name__}] '{self.raw_folder}' lacks {part}-{kind}-ubyte, plain or as .gz; "
                "use download=True"
            )
        return read_idx(path)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        return self.changed(as_item(self.data._array[index]), int(self.targets._array[index]))

    def __len__(self) -> int:
        return len(self.data)


class FashionMNIST(MNIST):
    """60,000 or 10,000 pieces of clothing: as MNIST, with the files in `root/FashionMNIST/raw`."""

    classes: ClassVar = list(FASHION_MNIST_CLASSES)
    _source = "fashion_mnist"
