"""Writes TensorBoard's event files: records with checksums, each holding an Event message of protocol
buffers.

Messages are encoded here field by field; the numbers of fields are those of TensorBoard's .proto files.
"""

from __future__ import annotations

import os
import socket
import struct
import time
import zlib
from itertools import count
from typing import Any

import numpy as np

_files = count()  # the number of a file in this process, which is part of its name


def _table() -> list[int]:
    """For each byte its remainder of the polynomial of CRC-32C (0x82F63B78, lowest power first)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            lowest_bit = byte & 1
            byte >>= 1
            if lowest_bit:
                byte ^= 0x82F63B78
        table.append(byte)
    return table


_REMAINDERS = _table()


def checksum(data: bytes) -> int:
    """CRC-32C (Castagnoli).

    >>> hex(checksum(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    remainders = _REMAINDERS
    for byte in data:
        crc = crc >> 8 ^ remainders[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    """The checksum of data in the form of these files: rotated, with a constant added, as 4 bytes."""
    crc = checksum(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def number(value: int) -> bytes:
    """A whole number as a varint: seven bits a byte, the lowest first."""
    value &= 2**64 - 1
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def field(key: int, value: Any) -> bytes:
    """A field of a message, key: its number. value: bytes (also a message), a text, a whole number, or a
    float, which is written as a double; None gives no bytes.

    >>> field(2, 300), field(1, "a")
    (b'\\x10\\xac\\x02', b'\\n\\x01a')
    """
    if value is None:
        return b""
    if isinstance(value, float):
        return number(key << 3 | 1) + struct.pack("<d", value)
    if isinstance(value, (int, np.integer)):
        return number(key << 3) + number(int(value))
    data = value.encode() if isinstance(value, str) else bytes(value)
    return number(key << 3 | 2) + number(len(data)) + data


def float32(key: int, value: float) -> bytes:
    return number(key << 3 | 5) + struct.pack("<f", value)


def doubles(key: int, values: Any) -> bytes:
    return field(key, np.asarray(values, "<f8").tobytes())


def summary(tag: str, content: bytes, plugin: str | None = None, data: bytes = b"") -> bytes:
    """A Summary message of one value.

    plugin, data: the plugin of TensorBoard that shows it, and its settings.
    """
    if plugin is None:
        metadata = None
    else:
        metadata = field(1, field(1, plugin) + field(2, data))
    return field(1, field(1, tag) + content + field(9, metadata))


def scalar(tag: str, value: float) -> bytes:
    return summary(tag, float32(2, value))


def text(tag: str, value: str) -> bytes:
    shape = field(2, field(2, field(1, 1)))
    return summary(f"{tag}/text_summary", field(8, field(1, 7) + shape + field(8, value)), "text")


def histogram(tag: str, values: Any, bins: Any = "tensorflow") -> bytes:
    """The histogram of values. bins: NumPy's, or "tensorflow" for limits that grow by 10 % from 1e-12 on."""
    values = np.asarray(values, np.float64).reshape(-1)
    if not values.size:
        raise ValueError("[add_histogram] got no values; expected at least one")
    if isinstance(bins, str) and bins == "tensorflow":
        steps = 1e-12 * 1.1 ** np.arange(776)  # up to about 1e20
        bins = np.concatenate([-steps[::-1], [0.0], steps])
    counts, limits = np.histogram(values, bins)
    used = np.flatnonzero(counts)
    first, last = (used[0], used[-1] + 1) if len(used) else (0, len(counts))
    counts = counts[first:last]
    limits = limits[first : last + 1]
    of_all = [float(values.min()), float(values.max()), float(values.size)]
    of_all += [float(values.sum()), float((values**2).sum())]
    head = b"".join(field(i + 1, x) for i, x in enumerate(of_all))
    # each count belongs to the limit at its upper end; the first limit is only a lower end, so its count is 0
    return summary(tag, field(5, head + doubles(6, limits) + doubles(7, [0, *counts])))


def image(tag: str, pixels: np.ndarray[Any, Any]) -> bytes:
    """An image, written as PNG; pixels: (height, width, channels) uint8 with 1, 3 or 4 channels."""
    height, width, channels = pixels.shape
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines)), (b"IEND", b""))
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in parts:
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return summary(tag, field(4, field(1, height) + field(2, width) + field(3, channels) + field(4, png)))


def settings(
    hparam_dict: dict[str, Any], metric_dict: dict[str, Any], hparam_domain_discrete: Any = None
) -> tuple[bytes, bytes, bytes]:
    """The summaries of a run's settings and of the names of its scores, for TensorBoard's table of runs."""
    kinds = b""
    values = b""
    for name, value in hparam_dict.items():
        if isinstance(value, (bool, np.bool_)):
            kind = 2
            shown = number(4 << 3) + number(int(value))
        elif isinstance(value, (int, float, np.integer, np.floating)):
            kind = 3
            shown = field(2, float(value))
        elif isinstance(value, str):
            kind = 1
            shown = field(3, value)
        else:
            raise ValueError(f"[add_hparams] got {name} {value!r}; expected a number, a text or a bool")
        kinds += field(4, field(1, name) + field(4, kind))
        values += field(1, field(1, name) + field(2, shown))
    names = b"".join(field(5, field(1, field(2, name))) for name in metric_dict)
    exp = summary("_hparams_/experiment", b"", "hparams", field(2, kinds + names))
    start = summary("_hparams_/session_start_info", b"", "hparams", field(3, values))
    end = field(4, field(1, 1) + field(2, time.time()))
    return exp, start, summary("_hparams_/session_end_info", b"", "hparams", end)


class EventFile:
    """A file of one run, to which events are added."""

    def __init__(self, folder: str, suffix: str = "", flush_secs: float = 120) -> None:
        self.folder = folder
        self.flush_secs = flush_secs
        self._flushed = time.monotonic()
        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"
        path = os.path.join(folder, f"{name}.{next(_files)}{suffix}")
        self._file = open(path, "xb")  # noqa: SIM115
        self.add(field(3, "brain.Event:2"), None, None)  # the version, which the first event of a file has
        self.flush()

    def add(self, content: bytes, step: int | None, walltime: float | None) -> None:
        """Adds an event. walltime: the seconds since 1970; None: now."""
        seconds = time.time() if walltime is None else float(walltime)
        number = None if step is None else int(step)
        event = field(1, seconds) + field(2, number) + content
        length = struct.pack("<Q", len(event))
        self._file.write(length + _masked(length) + event + _masked(event))
        if time.monotonic() - self._flushed > self.flush_secs:
            self.flush()

    def add_summary(
        self, content: bytes, global_step: int | None = None, walltime: float | None = None
    ) -> None:
        self.add(field(5, content), global_step, walltime)

    def flush(self) -> None:
        self._flushed = time.monotonic()
        self._file.flush()

    def close(self) -> None:
        self._file.close()
