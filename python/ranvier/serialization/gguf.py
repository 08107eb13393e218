"""GGUF files, the models of llama.cpp, read without a copy of their tensors.

A file, little endian, is "GGUF", the version, the numbers of tensors and of entries of metadata, the entries
(key, type, value), for each tensor its name, dimensions, kind and place, and then the tensors, each at a
multiple of the alignment. The dimensions begin with that whose numbers follow each other: a matrix of shape
(n, k) has (k, n).

Source: the specification of the format, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ranvier.autograd import Tensor, wrap
from ranvier.ops.matrix.quantized_blocks import BLOCK, BLOCK_BYTES, QuantizedBlocks
from ranvier.serialization.files import array_in, memory_of
from ranvier.serialization.foreign_files import BEGIN, FileError, recognised
from ranvier.serialization.work import PER_BYTE, Work
from ranvier.tensors.mapped_files import MappedFile
from ranvier.tensors.memory import BF16, MOST_ELEMENTS
from ranvier.tensors.reading import open_file, reading

MOST_WORK = 2**29
"""Bytes of memory that the metadata and the table of tensors may take, however large the file is."""

_KINDS = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 9: "Q8_1", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32",
    27: "I64", 28: "F64", 29: "IQ1_M", 30: "BF16", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4", 40: "NVFP4",
    41: "Q1_0",
}  # fmt: skip
_DTYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("f4"), "F16": np.dtype("f2"), "BF16": BF16, "F64": np.dtype("f8"),
    "I8": np.dtype("i1"), "I16": np.dtype("i2"), "I32": np.dtype("i4"), "I64": np.dtype("i8"),
}  # fmt: skip
_BLOCKS = {"Q8_0": BLOCK_BYTES["q8_0"], "Q4_0": BLOCK_BYTES["q4_0"]}

# the types of metadata: those of numbers, and the others
_NUMBERS = {
    0: "u1", 1: "i1", 2: "u2", 3: "i2", 4: "u4", 5: "i4", 6: "f4", 7: "u1", 10: "u8", 11: "i8", 12: "f8",
}  # fmt: skip
_BOOL = 7
_STRING = 8
_ARRAY = 9
_DEEPEST = 8  # arrays inside of arrays: `value` calls itself for each level

_Tensors = dict[str, Tensor | QuantizedBlocks]


class GGUFFile(Mapping[str, Tensor | QuantizedBlocks]):
    """The tensors of a GGUF file by their names, in its order; a file that `load_gguf` has read.

    Attributes:
        metadata: the entries of the file by their keys: numbers, bools, strings, and lists of these.
        kinds: of each tensor the kind under its name in the specification, such as "F32" or "Q4_K".
    """

    def __init__(self, path: str, metadata: dict[str, Any], kinds: dict[str, str], tensors: _Tensors) -> None:
        self.metadata = metadata
        self.kinds = kinds
        self._path = path
        self._tensors = tensors

    def __getitem__(self, name: str) -> Tensor | QuantizedBlocks:
        """The tensor. Raises KeyError: no such name. Raises ValueError: it is of a kind that is not read."""
        kind = self.kinds[name]
        if name not in self._tensors:
            raise FileError(
                f"[load_gguf] got '{self._path}', whose tensor {name!r} is of kind {kind}; expected "
                f"{', '.join(_DTYPES)}, {' or '.join(_BLOCKS)}: llama-quantize --pure writes such files"
            )
        return self._tensors[name]

    def __contains__(self, name: object) -> bool:
        return name in self.kinds

    def __iter__(self) -> Iterator[str]:
        return iter(self.kinds)

    def __len__(self) -> int:
        return len(self.kinds)

    def __repr__(self) -> str:
        return f"GGUFFile({self._path!r}, {len(self)} tensors, {len(self.metadata)} entries of metadata)"


def load_gguf(path: str | os.PathLike[str]) -> GGUFFile:
    """The tensors of a GGUF file, as llama.cpp has them, by their names, and its metadata.

    Tensors of kind F32, F16, BF16, F64, I8, I16, I32 and I64 are Tensors; those of Q8_0 and Q4_0 are
    `QuantizedBlocks`, whose `dequantize()` gives a Tensor of float32. Other kinds are refused when such a
    tensor is asked for: the metadata and the other tensors can be read. A file above 16 MB is mapped, as by
    `rv.load`: values are read at their first use, and a change of them copies their page.

    Args:
        path: of a file of version 2 or 3, little endian.

    Returns: a mapping from names to tensors, with `metadata`, a dict, and `kinds`, the kind of each tensor.

    Raises FileNotFoundError: no such file.
    Raises ValueError: no GGUF file, one that is big endian or of another version, cut off or damaged.

    >>> import struct
    >>> import ranvier as rv
    >>> head = struct.pack("<4sIQQ", b"GGUF", 3, 1, 0)
    >>> table = struct.pack("<Q1sIQIQ", 1, b"x", 1, 2, 0, 0)  # one dimension of 2 numbers, F32, at place 0
    >>> with open("x.gguf", "wb") as file:
    ...     _ = file.write((head + table).ljust(64, b"\\0") + struct.pack("<2f", 0.5, 2.0))
    >>> rv.load_gguf("x.gguf")["x"]
    tensor([0.5000, 2.0000])
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"[load_gguf] got path {path!r}; expected the path of a file")
    with open_file(path, "load_gguf") as stream, reading("load_gguf", path, FileError):
        try:
            return _opened(stream, path)
        except FileError as error:
            raise FileError(f"[load_gguf] got '{path}', which {error}") from None


def _opened(stream: BinaryIO, path: str | os.PathLike[str]) -> GGUFFile:
    begin = stream.read(BEGIN)
    if begin[:4] != b"GGUF":
        kind = recognised(begin, path) or f"begins {begin[:4]!r}"
        raise FileError(f"{kind}; expected a GGUF file")
    memory, size = memory_of(stream)
    return _read(_Header(memory, size), str(path))


class _Header:
    """Reads a file from its beginning. It takes no more memory than the length of the file allows."""

    def __init__(self, memory: MappedFile | bytes, size: int) -> None:
        self.memory = memory
        self.size = size
        self.place = 4
        self.work = Work(min(PER_BYTE * size, MOST_WORK))

    def take(self, count: int) -> bytes:
        """So many bytes, after which the next ones follow."""
        start = self.place
        self.place = self.place + count
        if self.place > self.size:
            raise FileError(f"ends at byte {self.size}; expected {count} bytes from byte {start} on")
        self.work.charge(count)
        return self.memory[start : self.place]

    def unsigned(self, size: int) -> int:
        return int.from_bytes(self.take(size), "little")

    def string(self) -> str:
        start, raw = self.place, self.take(self.unsigned(8))
        self.work.charge(64 + 4 * len(raw))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise FileError(f"has the string {raw[:40]!r} at byte {start}; expected UTF-8") from None

    def new_name(self, names: Mapping[str, Any], what: str) -> str:
        name = self.string()
        if name in names:
            raise FileError(f"has the {what} {name[:80]!r} twice; expected names that differ")
        return name

    def numbers(self, kind: int, count: int) -> list[Any]:
        start, dtype = self.place, np.dtype(_NUMBERS[kind])
        raw = self.take(count * dtype.itemsize)
        self.work.charge(40 * count)  # a Python object, and its place in a list
        values = np.frombuffer(raw, dtype)
        if kind == _BOOL:
            if values.max(initial=0) > 1:
                raise FileError(f"has a bool of {values.max()} at byte {start}; expected 0 or 1")
            values = values.astype(bool)
        return list(values.tolist())

    def value(self, kind: int, depth: int = 0) -> Any:
        """A value of metadata of this type; depth: how many arrays it is in."""
        if kind in _NUMBERS:
            return self.numbers(kind, 1)[0]
        if kind == _STRING:
            return self.string()
        if kind != _ARRAY or depth == _DEEPEST:
            if kind == _ARRAY:
                what = f"arrays inside of {depth} others"
            else:
                what = f"a value of type {kind}"
            raise FileError(
                f"has {what} at byte {self.place}; expected the types 0 to 12, 8 arrays deep at most"
            )
        kind, count = self.unsigned(4), self.unsigned(8)
        if kind in _NUMBERS:
            return self.numbers(kind, count)
        self.work.charge(64)
        return [self.value(kind, depth + 1) for _ in range(count)]


class _Entry(NamedTuple):
    """A tensor in the table of a file."""

    kind: str
    shape: tuple[int, ...]
    offset: int  # from the beginning of the tensors

    @property
    def nbytes(self) -> int:
        """The bytes of the tensor; 0 for a kind that is not read."""
        count = math.prod(self.shape)
        if self.kind in _BLOCKS:
            return count // BLOCK * _BLOCKS[self.kind]
        if self.kind in _DTYPES:
            return count * _DTYPES[self.kind].itemsize
        return 0


def _read(header: _Header, path: str) -> GGUFFile:
    version = header.unsigned(4)
    if version and version % 2**16 == 0:
        raise FileError("is big endian; expected a file that is little endian")
    if version not in (2, 3):
        raise FileError(f"has version {version} of the format; expected 2 or 3")
    tensors = header.unsigned(8)
    entries = header.unsigned(8)
    metadata: dict[str, Any] = {}
    for _ in range(entries):
        key = header.new_name(metadata, "key")
        metadata[key] = header.value(header.unsigned(4))
    table: dict[str, _Entry] = {}
    for _ in range(tensors):
        name = header.new_name(table, "tensor")
        table[name] = _entry(header, name)
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or alignment < 1 or alignment % 8:
        raise FileError(f"has the alignment {alignment!r:.40}; expected a multiple of 8")
    start = -(-header.place // alignment) * alignment
    _require_places(table, start, alignment, header.size)
    kinds = {name: entry.kind for name, entry in table.items()}
    read = [name for name, kind in kinds.items() if kind in _DTYPES or kind in _BLOCKS]
    made = {name: _tensor(header.memory, start, table[name]) for name in read}
    return GGUFFile(path, metadata, kinds, made)


def _entry(header: _Header, name: str) -> _Entry:
    """What the table says of a tensor, after its name."""
    header.work.charge(1000)  # of the Tensor
    ndim = header.unsigned(4)
    if ndim > 4:
        raise FileError(f"has the tensor {name[:80]!r} of {ndim} dimensions; expected at most 4")
    shape = tuple(header.unsigned(8) for _ in range(ndim))[::-1]
    number = header.unsigned(4)
    offset = header.unsigned(8)
    kind = _KINDS.get(number, f"type {number}")
    if math.prod(max(n, 1) for n in shape) > MOST_ELEMENTS:
        raise FileError(f"has the tensor {name[:80]!r} of shape {shape}; expected at most 2**40 elements")
    if kind in _BLOCKS and (not shape or shape[-1] % BLOCK):
        expected = f"rows of a multiple of {BLOCK} numbers"
        raise FileError(f"has the tensor {name[:80]!r} of {kind} and shape {shape}; expected {expected}")
    return _Entry(kind, shape, offset)


def _require_places(table: dict[str, _Entry], start: int, alignment: int, size: int) -> None:
    """Raises FileError for tensors that are not aligned, lie beyond the end of the file or overlap."""
    spans = []
    for name, entry in table.items():
        end = start + entry.offset + entry.nbytes
        if entry.offset % alignment:
            expected = f"a multiple of {alignment}"
            raise FileError(f"has the tensor {name[:80]!r} at the place {entry.offset}; expected {expected}")
        if end > size:
            raise FileError(f"ends at byte {size}; expected the tensor {name[:80]!r} up to byte {end}")
        spans.append((start + entry.offset, end, name))
    for (_, end, name), (begin, _, other) in pairwise(sorted(spans)):
        if end > begin:
            raise FileError(
                f"has the tensors {name[:80]!r} and {other[:80]!r} in the same bytes; expected places that "
                "do not overlap"
            )


def _tensor(memory: MappedFile | bytes, start: int, entry: _Entry) -> Tensor | QuantizedBlocks:
    kind = entry.kind
    shape = entry.shape
    place = start + entry.offset
    if kind in _DTYPES:
        return wrap(array_in(memory, place, shape, _DTYPES[kind]))
    blocks = (*shape[:-1], shape[-1] // BLOCK, _BLOCKS[kind])
    return QuantizedBlocks(kind.lower(), shape, array_in(memory, place, blocks, np.dtype(np.uint8)))
