"""Arrays as PNG pictures in data URIs."""

from __future__ import annotations

import base64
import struct
import zlib

import numpy as np

from ranvier.autograd.memory import Array

__all__ = ["as_pixels", "data_uri", "png"]

THUMBNAIL = 96  # pixels


def as_pixels(x: Array) -> Array | None:
    """Samples as images (n, height, width, 1 or 3) of uint8, with the smallest value black; None for rows.

    Images larger than a thumbnail are subsampled.
    """
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim != 4 or x.shape[1] not in (1, 3):
        return None
    every = -(-max(x.shape[2:]) // THUMBNAIL)
    x = x[:, :, ::every, ::every]
    x = np.nan_to_num(x.transpose(0, 2, 3, 1).astype(np.float64))
    low, high = x.min(initial=0), x.max(initial=0)
    return np.rint((x - low) * (255 / ((high - low) or 1))).astype(np.uint8)


def png(pixels: Array) -> bytes:
    """A picture (height, width, 1 or 3) of uint8 as a PNG file (ISO/IEC 15948), its rows unfiltered."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each begins with 0, for no filter
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 0 if channels == 1 else 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


def data_uri(pixels: Array) -> str:
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()
