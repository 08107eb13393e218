"""Checkpoint files: the nested state of a run as a safetensors file with a checksum.

A model file with damaged numbers still loads, but a run that continues from one would be a different run. So
the checksum includes all arrays and the JSON.
"""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import numpy as np

import ranvier.serialization.files as files
import ranvier.serialization.tree as tree
from ranvier._core import __version__
from ranvier.serialization.files import Arrays

__all__ = ["read_checkpoint", "write_checkpoint"]


def write_checkpoint(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a nested dict of arrays, Tensors, numbers, strings and None, whole or not at all.

    Raises TypeError: something else in it.
    """
    arrays: Arrays = {}
    encoded = tree.encode(state, arrays)
    document = {"content": "checkpoint", "checksum": _checksum(encoded, arrays), "checkpoint": encoded}
    files.write(path, arrays, {"version": files.VERSION, "library": __version__, **document})


def read_checkpoint(path: str | os.PathLike[str], writer: str = "rv.Checkpoint") -> dict[str, Any]:
    """Read what `write_checkpoint` wrote for `writer`. Runs no code of the file.

    Raises FileNotFoundError: no such file.
    Raises ValueError: the file is damaged, of a newer version, or no checkpoint.
    """
    arrays, document = files.read(path)
    if document is None or document.get("content") != "checkpoint":
        raise ValueError(f"[load] '{path}' is no checkpoint; expected a file written by {writer}")
    encoded = document.get("checkpoint")
    if document.get("checksum") != _checksum(encoded, arrays):
        raise ValueError(f"[load] '{path}' is damaged: its content does not have its checksum")
    try:
        state = tree.decode(encoded, arrays)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"[load] '{path}': {error}") from None
    if not isinstance(state, dict):
        raise ValueError(f"[load] '{path}' holds no state of a run")
    return state


def _checksum(encoded: Any, arrays: Arrays) -> int:
    """CRC-32 over the JSON, and each array's name, type, shape and bytes."""
    total = zlib.crc32(json.dumps(encoded, separators=(",", ":")).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total = zlib.crc32(f"{name} {array.dtype.name} {array.shape}".encode(), total)
        native = np.ascontiguousarray(array, array.dtype.newbyteorder("="))  # as the file holds it
        total = zlib.crc32(native.reshape(-1).view(np.uint8).data, total)
    return total
