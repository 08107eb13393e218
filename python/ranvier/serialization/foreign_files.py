"""Recognises, by its first bytes, a file that is no model: a web page instead of a download, for example, or
another format. Errors then say what the file is."""

from __future__ import annotations

import codecs
import os
import pickle
import re

from ranvier.tensors.reading import open_file
from ranvier.tensors.sanitize import printable

BEGIN = 512
"""Bytes by which a file is recognised."""


class FileError(ValueError, RuntimeError, pickle.UnpicklingError):
    """A file that cannot be read. PyTorch raises RuntimeError or UnpicklingError for such files."""

    def __init__(self, text: str = "") -> None:
        super().__init__(printable(text))  # The text may have names from the file.


class EndError(FileError, EOFError):
    """A file that is empty or ends too early, for which PyTorch raises EOFError."""


_AGAIN = "; the download failed, or the address was that of a page: download the file itself"
_PACKED = "; unpack it and load the file in it"
_KERAS = "; Keras and h5py read it"
_TEXTS: list[tuple[bytes, str]] = [  # a pattern at the beginning of a text, what such a file is
    (rb"(\xef\xbb\xbf)?version https://(git-lfs|hawser)", "is a pointer of Git LFS, not the file itself; "
     "'git lfs pull' in its repository, or a download of the file, gets that"),
    (rb"(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)?<(!doctype|html|head|body)[\s>]", f"is a page of HTML{_AGAIN}"),
    (rb"(\xef\xbb\xbf)?\s*<(\?xml|error>)", f"is XML{_AGAIN}"),
    (rb'\s*\{.*"weight_map"', "is the index of a model in several files; load each file that it names"),
    (rb"\((dp|lp|ip)\d*\n|c[a-z_.]+\n\w+\np\d", "holds a pickle; rv.load reads those of torch.save"),
]  # fmt: skip
_BINARY: list[tuple[bytes, str]] = [
    (rb"\x93NUMPY", "is an array of NumPy (.npy); np.load reads it"),
    (rb"\x1f\x8b", f"is compressed by gzip{_PACKED}"),
    (rb"BZh\d", f"is compressed by bzip2{_PACKED}"),
    (rb"\xfd7zXZ", f"is compressed by xz{_PACKED}"),
    (rb"\x28\xb5\x2f\xfd", f"is compressed by zstd{_PACKED}"),
    (rb"7z\xbc\xaf|Rar!", f"is an archive of 7-Zip or RAR{_PACKED}"),
    (rb"(?=(\./)?(pickle|storages|tensors|sys_info)\0).{257}ustar", "is a tar archive, the form of PyTorch's "
     "files before 0.4; in PyTorch, torch.save(torch.load(path, weights_only=False), path) writes today's"),
    (rb".{257}ustar", f"is a tar archive{_PACKED}"),
    (rb"PK", "is a zip archive, or a part of one; rv.load reads those of torch.save that are whole"),
    (rb"\x89HDF", f"is an HDF5 file{_KERAS}"),
    (rb"GGUF", "is a GGUF file, of llama.cpp; rv.load_gguf reads it"),
    (rb"....TFL3", "is a TensorFlow Lite file; expected a file of rv.save or torch.save"),
    (rb"\x08[\x01-\x1f][\x12\x1a:B]", "is an ONNX file; rv.onnx.load reads ONNX files"),
    (rb"PAR1|ARROW1|\x89PNG|\xff\xd8\xff|%PDF|GIF8|\x7fELF|OggS|RIFF",
     "is of a kind that is not read: it begins {begin!r}"),
    (rb"\x80[\x02-\x05]", "holds a pickle; rv.load reads those of torch.save"),
    (rb"\0+$", "holds only zeros: the download or the copy failed"),
]  # fmt: skip


def recognised(begin: bytes, path: object = "", plain: bool = True) -> str | None:
    """A text that says what a file with these first bytes is, and what to do; None if it may be a model.

    plain: whether text of no special kind is reported, too. For a table it is not: a table is such a text.

    >>> recognised(b"version https://git-lfs.github.com/spec/v1").partition(",")[0]
    'is a pointer of Git LFS'
    """
    if not begin and plain:
        return "is empty: the download or the program that wrote it has failed"
    if begin[4:9] == b"\0\0\0\0{":  # A safetensors file: half of the length, and the start of the header.
        return None
    text = _text(begin)
    tables = [(re.DOTALL | re.IGNORECASE, _TEXTS)]
    if plain or not text:  # The names in the first line of a table may begin as a binary file, such as PK.
        tables.append((re.DOTALL, _BINARY))
    for flags, table in tables:
        for pattern, said in table:
            if re.match(pattern, begin, flags):
                return said.format(begin=begin[:8])
    if str(path).endswith(".onnx"):
        return "is no ONNX model at its beginning, but is named so; rv.onnx.load reads ONNX files"
    if plain and text:
        return f"is text that begins {text!r}, perhaps an error of a server"
    return None


def other_kind(path: str | os.PathLike[str], *own: bytes) -> str | None:
    """A text that says what a file is, and what to do; None if it begins with one of `own` or is unknown."""
    with open_file(path) as stream:
        begin = stream.read(BEGIN)
    if begin.startswith(own):
        return None
    return recognised(begin)


def _text(begin: bytes) -> str:
    try:  # The decoder is incremental because the last letter may be cut off.
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(begin)
    except UnicodeDecodeError:
        return ""
    line = " ".join(text.split())
    if line.isprintable() and len(line) > 1:
        return line[:60]
    return ""
