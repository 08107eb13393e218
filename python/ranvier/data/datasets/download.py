"""Downloads of data sets: their addresses and checksums."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["SOURCES", "Source", "fetch"]


@dataclass(frozen=True)
class Source:
    """A set of files under one address, with the md5 of each as served."""

    url: str
    md5: dict[str, str]


SOURCES: dict[str, Source] = {
    "cifar10": Source(
        "https://www.cs.toronto.edu/~kriz/", {"cifar-10-binary.tar.gz": "c32a1d4ab5d03f1284b67883e8d87530"}
    ),
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
    source = SOURCES[name] if source is None else source
    folder = cache_folder(name) if folder is None else folder
    by_hand = f"place {', '.join(source.md5)} in {folder}, or give the folder that holds them as data_dir"
    try:
        import pooch  # type: ignore[import-untyped]
    except ImportError:
        raise ImportError(
            f"[load_{name}] downloading needs pooch: pip install 'ranvier[data]'; or {by_hand}"
        ) from None
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
