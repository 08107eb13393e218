"""Data sets: digits and iris are in the package; MNIST and Fashion-MNIST are read or downloaded;
tables, archives and images are read from files."""

import typing as _typing

import ranvier.first_use as _first_use

if _typing.TYPE_CHECKING:
    from ranvier.data.datasets.downloads import *
    from ranvier.data.datasets.files import *
    from ranvier.data.datasets.images import *
    from ranvier.data.datasets.samples import *
    from ranvier.data.datasets.tables import *

_MODULES = {
    "downloads": "FASHION_MNIST_CLASSES MNIST_CLASSES load_fashion_mnist load_mnist read_idx",
    "files": "load load_npy load_npz",
    "images": "load_images read_image",
    "samples": "DIGITS_CLASSES IRIS_CLASSES IRIS_FEATURES Samples load_digits load_iris",
    "tables": "load_csv",
}
__getattr__ = _first_use.FirstUse(__name__, _MODULES)
__dir__ = __getattr__.directory

if not _typing.TYPE_CHECKING:
    __all__ = [*__getattr__.names]
