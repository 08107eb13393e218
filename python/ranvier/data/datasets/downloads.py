"""Data sets of images that are downloaded, or read from a folder: MNIST and Fashion-MNIST.

MNIST's format IDX is a magic number, the dimensions and the values, all big-endian:

    offset 0   two zero bytes, a type code, the number of dimensions
    offset 4   one big-endian uint32 per dimension
    then       the values in C order

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits", file format section.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.data.datasets.samples import unpacked
from ranvier.extension import optional
from ranvier.tensors.reading import open_file, path_of, reading

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = [
    "FASHION_MNIST_CLASSES", "MNIST_CLASSES", "load_fashion_mnist", "load_mnist", "read_idx",
]  # fmt: skip

_GZIP_MAGIC = b"\x1f\x8b"
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: str | os.PathLike[str]) -> npt.NDArray[Any]:
    """Read one IDX file, gzipped or not (found by its first bytes, not by its name).

    Returns: An array of the file's shape and type, in the machine's byte order.

    Raises FileNotFoundError: no such file.
    Raises ValueError: the file is not an IDX file, is cut off, damaged, or longer than its header says.

    >>> import tempfile, pathlib
    >>> from ranvier.data.datasets import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path).tolist()
    [7, 2, 1]
    """
    path = path_of("read_idx", "path", path)
    with reading("read_idx", path):
        return _array(path)


def _array(path: Path) -> npt.NDArray[Any]:
    """The array of an IDX file, as `read_idx`."""
    content = _content(path)
    if len(content) < 4:
        raise ValueError(f"[read_idx] '{path}' holds {len(content)} bytes; an IDX header has at least 4")
    zero, code, ndim = struct.unpack_from(">HBB", content)
    if zero != 0 or code not in _TYPES:
        raise ValueError(
            f"[read_idx] '{path}' begins with bytes {content[:4].hex(' ')}; an IDX file begins with 00 00, "
            f"a type code (one of {', '.join(f'{c:02x}' for c in _TYPES)}) and the number of dimensions"
        )
    start = 4 + 4 * ndim
    if len(content) < start:
        raise ValueError(f"[read_idx] '{path}' is cut off inside its header of {start} bytes")
    shape = struct.unpack_from(f">{ndim}I", content, 4)
    dtype = np.dtype(_TYPES[code])
    expected = math.prod(shape) * dtype.itemsize  # Python integers do not overflow
    held = len(content) - start
    if held != expected:
        fault = "is cut off" if held < expected else "is too long"
        raise ValueError(
            f"[read_idx] '{path}' {fault}: its header promises {expected} bytes of shape "
            f"{shape}, it holds {held}"
        )
    try:
        values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    except ValueError as error:  # too many dimensions for NumPy, or a size beyond its index type with a 0
        raise ValueError(f"[read_idx] '{path}' has a header of shape {shape}: {error}") from None
    return values.astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    with open_file(path, "read_idx") as stream:
        if stream.read(2) != _GZIP_MAGIC:
            stream.seek(0)
            return stream.read()
    try:
        return unpacked(path)
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(f"[read_idx] '{path}' is a damaged or cut off gzip file: {error}") from None


@dataclass(frozen=True)
class Source:
    """A set of files under one address, with the md5 of each as served."""

    url: str
    md5: dict[str, str]


SOURCES: dict[str, Source] = {
    "mnist": Source(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        {
            "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
            "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
            "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
        },
    ),
    "fashion_mnist": Source(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        {
            "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
            "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
            "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
        },
    ),
}


def cache_folder(name: str) -> Path:
    """The folder for downloads of data set `name`: in RANVIER_DATA, else in the user's cache folder."""
    base = os.environ.get("RANVIER_DATA")
    if base:
        return Path(base) / name
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "ranvier" / name


def fetch(name: str, folder: Path | None = None, source: Source | None = None) -> Path:
    """Download the missing files of data set `name`, check them, and return their folder.

    Raises ImportError: pooch is not installed.
    Raises ConnectionError: a download failed; the message names the files to place by hand, and where.
    Raises ValueError: a file does not have the expected checksum.
    """
    if source is None:
        source = SOURCES[name]
    if folder is None:
        folder = cache_folder(name)
    by_hand = f"place {', '.join(source.md5)} in {folder}, or give the folder that holds them as data_dir"
    text = f"[load_{name}] downloading needs pooch: pip install 'ranvier[data]'; or {by_hand}"
    pooch = optional("pooch", text)
    pooch.get_logger().setLevel("WARNING")
    for file, md5 in source.md5.items():
        try:
            pooch.retrieve(source.url + file, known_hash=f"md5:{md5}", fname=file, path=folder)
        except ValueError as error:  # pooch has deleted the file with the wrong checksum
            raise ValueError(f"[load_{name}] {source.url}{file} is not the expected file: {error}") from None
        except OSError as error:  # no network, a refused connection, an HTTP error, an unwritable folder
            raise ConnectionError(
                f"[load_{name}] could not download {source.url}{file} ({type(error).__name__}); {by_hand}"
            ) from error
    return folder


MNIST_CLASSES: tuple[str, ...] = tuple("0123456789")
FASHION_MNIST_CLASSES: tuple[str, ...] = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

Part = tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.int64]]]
Bytes = tuple[np.ndarray[Any, np.dtype[np.uint8]], np.ndarray[Any, np.dtype[np.int64]]]  # images, labels
PARTS = ("train", "t10k")


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
    FileNotFoundError: [load_mnist] no folder 'no/such/folder' with train-images-idx3-ubyte, ...
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
    FileNotFoundError: [load_fashion_mnist] no folder 'no/such/folder' with train-images-idx3-ubyte, ...
    """
    return _load("fashion_mnist", data_dir)


def _load(name: str, data_dir: str | os.PathLike[str] | None) -> tuple[Part, Part]:
    if data_dir is None:
        folder = fetch(name)
    else:
        folder = path_of(f"load_{name}", "data_dir", data_dir, "a folder")
    train, test = read_mnist(f"load_{name}", folder)
    return _scaled(*train), _scaled(*test)


def _scaled(images: npt.NDArray[np.uint8], labels: npt.NDArray[np.int64]) -> Part:
    x = images[:, None].astype(np.float32)  # (n, c, h, w)
    x /= np.float32(255)
    return x, labels


def mnist_files(folder: Path, parts: Sequence[str] = PARTS) -> dict[str, Path | None]:
    """The images and labels of each part: for each name the file, plain or gzipped; None if it is missing."""
    files: dict[str, Path | None] = {}
    for part in parts:
        for content in ("images-idx3", "labels-idx1"):
            name = f"{part}-{content}-ubyte"
            candidates = (folder / name, folder / f"{name}.gz")
            files[name] = next(filter(Path.is_file, candidates), None)
    return files


def read_mnist(name: str, folder: Path, parts: Sequence[str] = PARTS, remedy: str = "") -> list[Bytes]:
    """Images (n, 28, 28) and labels (n,) of each part; errors are those of `name`."""
    files = mnist_files(folder, parts)
    paths = [path for path in files.values() if path is not None]
    if len(paths) < len(files):
        if folder.is_dir():
            there = f"'{folder}' lacks"
        else:
            there = f"no folder '{folder}' with"
        missing = ", ".join(file for file, path in files.items() if path is None)
        raise FileNotFoundError(f"[{name}] {there} {missing}, plain or as .gz{remedy}")
    return [_part(name, *paths[i : i + 2]) for i in range(0, len(paths), 2)]


def _part(name: str, images_path: Path, labels_path: Path) -> Bytes:
    """The images and labels of two files in IDX format, checked."""
    images = read_idx(images_path)
    labels = read_idx(labels_path)
    wanted = (images_path, images, 3, "(n, 28, 28)"), (labels_path, labels, 1, "(n,)")
    for path, values, ndim, shape in wanted:
        if values.ndim != ndim or values.dtype != np.uint8:
            raise ValueError(
                f"[{name}] '{path}' holds {values.dtype} values of shape {values.shape}; "
                f"expected uint8 of shape {shape}"
            )
    if len(images) != len(labels):
        raise ValueError(
            f"[{name}] '{images_path}' holds {len(images)} images and '{labels_path}' {len(labels)} labels"
        )
    if len(labels) and labels.max() > 9:
        raise ValueError(f"[{name}] '{labels_path}' holds label {labels.max()}; expected 0 to 9")
    return images, labels.astype(np.int64)
