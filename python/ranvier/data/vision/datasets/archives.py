"""MNIST, Fashion-MNIST, CIFAR-10 and CIFAR-100 as torchvision stores them, downloaded if that is asked for.

CIFAR's files are pickles, of which only the arrays are read.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ranvier.autograd import wrap
from ranvier.data.datasets import FASHION_MNIST_CLASSES
from ranvier.data.datasets.downloads import PARTS, Source, fetch, mnist_files, read_mnist
from ranvier.data.vision.datasets.folder import Function, VisionDataset, as_item
from ranvier.serialization.files import replace
from ranvier.tensors.reading import path_of, reading

__all__ = ["CIFAR10", "CIFAR100", "MNIST", "FashionMNIST"]

_NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]


class _Archive(VisionDataset):
    """A training and a test part in files that may be downloaded.

    `_load` of a subclass sets `data` and `targets`, which its `__getitem__` reads.
    """

    data: Any

    def __init__(
        self,
        root: str | os.PathLike[str],
        train: bool = True,
        transform: Function = None,
        target_transform: Function = None,
        download: bool = False,
    ) -> None:
        path_of(type(self).__name__, "root", root, "a folder")
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        self._load(download)

    def _load(self, download: bool) -> None:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.data)


class MNIST(_Archive):
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

    def _load(self, download: bool) -> None:
        folder = Path(self.raw_folder)
        if download and None in mnist_files(folder).values():
            fetch(self._source, folder)
        parts = PARTS[:1] if self.train else PARTS[1:]
        [content] = read_mnist(type(self).__name__, folder, parts, "; use download=True")
        self.data, self.targets = map(wrap, content)

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

    test_data = train_data
    test_labels = train_labels

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.changed(as_item(self.data._array[index]), int(self.targets._array[index]))


class FashionMNIST(MNIST):
    """60,000 or 10,000 pieces of clothing: as MNIST, with the files in `root/FashionMNIST/raw`."""

    classes: ClassVar = list(FASHION_MNIST_CLASSES)
    _source = "fashion_mnist"


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode"),
}  # fmt: skip


class _Arrays(pickle.Unpickler):
    """Reads lists, dicts and arrays; refuses everything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}; expected arrays only")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


class CIFAR10(_Archive):
    """50,000 or 10,000 colour photos in ten classes: items are (32x32 image, class number).

    Args:
        root: the folder above `cifar-10-batches-py`.
        train: the training part; False, the test part.
        transform, target_transform: functions of the image and of the label.
        download: fetch and unpack the archive (170 MB) if files are missing (with pooch).

    Attributes: data, uint8 (n, 32, 32, 3); targets, a list; classes; class_to_idx.

    Raises FileNotFoundError: files are missing and `download` is False.
    Raises ValueError: a file has another md5 than CIFAR's, or is damaged.
    Raises ImportError: `download` without pooch.
    """

    base_folder = "cifar-10-batches-py"
    url = "https://www.cs.toronto.edu/~kriz/"
    filename = "cifar-10-python.tar.gz"
    tgz_md5 = "c58f30108f718f92721af3b95e74349a"
    train_list: ClassVar = [
        ["data_batch_1", "c99cafc152244af753f735de768cd75f"],
        ["data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"],
        ["data_batch_3", "54ebc095f3ab1f0389bbae665268c751"],
        ["data_batch_4", "634d18415352ddfa80567beed471001a"],
        ["data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"],
    ]
    test_list: ClassVar = [["test_batch", "40351d587109b95175f43aff81a1287e"]]
    meta: ClassVar = {
        "filename": "batches.meta",
        "key": "label_names",
        "md5": "5ff9c542aee3614f3951f8cda6e48888",
    }

    def _load(self, download: bool) -> None:
        folder = Path(self.root or "", self.base_folder)
        files = [*self.train_list, *self.test_list, [self.meta["filename"], self.meta["md5"]]]
        if download and not all((folder / name).is_file() for name, _ in files):
            self._download(folder, [name for name, _ in files])
        used = self.train_list if self.train else self.test_list
        batches = [self._read(folder, *file) for file in used]
        self.targets = []
        for batch in batches:
            labels = batch.get("labels", batch.get("fine_labels", ()))
            self.targets += [int(y) for y in labels]
        planes = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32)
        self.data = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        self.classes = self._read(folder, self.meta["filename"], self.meta["md5"])[self.meta["key"]]
        self.class_to_idx = {name: number for number, name in enumerate(self.classes)}

    def _read(self, folder: Path, name: str, md5: str) -> dict[str, Any]:
        """The content of a pickled file of the archive, after its checksum is compared."""
        path = folder / name
        kind = type(self).__name__
        if not path.is_file():
            raise FileNotFoundError(f"[{kind}] no file '{path}'; use download=True")
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if digest != md5:
            raise ValueError(
                f"[{kind}] '{path}' has the md5 {digest}; expected {md5}: it is damaged; "
                "remove it and use download=True"
            )
        with reading(kind, path):
            content: dict[str, Any] = _Arrays(io.BytesIO(path.read_bytes()), encoding="latin1").load()
        return content

    def _download(self, folder: Path, names: list[str]) -> None:
        fetch(type(self).__name__.lower(), folder.parent, Source(self.url, {self.filename: self.tgz_md5}))
        folder.mkdir(exist_ok=True)
        with tarfile.open(folder.parent / self.filename) as archive:
            for name in names:
                content: Any = archive.extractfile(f"{self.base_folder}/{name}")
                replace(folder / name, content.read())

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return self.changed(as_item(self.data[index]), self.targets[index])


class CIFAR100(CIFAR10):
    """As CIFAR10, with a hundred classes, in `root/cifar-100-python`."""

    base_folder = "cifar-100-python"
    filename = "cifar-100-python.tar.gz"
    tgz_md5 = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list: ClassVar = [["train", "16019d7e3df5f24257cddd939b257f8d"]]
    test_list: ClassVar = [["test", "f0ef6b0ae62326f3e7ffdfab6717acfc"]]
    meta: ClassVar = {
        "filename": "meta",
        "key": "fine_label_names",
        "md5": "7973b15100ade9c7d40fb424638fde48",
    }
