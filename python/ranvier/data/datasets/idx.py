"""Reader of IDX files, the format of MNIST: a magic number, the dimensions, the values, all big-endian.

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
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["read_idx"]

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
    path = Path(path)
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
    found = len(content) - start
    if found != expected:
        fault = "is cut off" if found < expected else "is too long"
        raise ValueError(
            f"[read_idx] '{path}' {fault}: its header promises {expected} bytes of shape "
            f"{shape}, it holds {found}"
        )
    try:
        values = np.frombuffer(content, dtype, offset=start).reshape(shape)
    except ValueError as error:  # too many dimensions for NumPy, or a size beyond its index type with a 0
        raise ValueError(f"[read_idx] '{path}' has a header of shape {shape}: {error}") from None
    return values.astype(dtype.newbyteorder("="))


def _content(path: Path) -> bytes:
    with open(path, "rb") as stream:
        packed = stream.read(2) == _GZIP_MAGIC
        stream.seek(0)
        if not packed:
            return stream.read()
        try:
            with gzip.GzipFile(fileobj=stream) as unpacked:
                return unpacked.read()
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(f"[read_idx] '{path}' is a damaged or cut off gzip file: {error}") from None
