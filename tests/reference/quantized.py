"""Matrices of 8 and 4 bits in plain NumPy: their codes, their layout in memory, and products of integers.

A matrix (n, k) is integers (n, k) and scales: (n,) for int8, (n, groups of 32 along k) for q8_0 and q4_0.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
ZERO = {"int8": 128, "q8_0": 128, "q4_0": 8}  # the code of 0


def quantize(w: Array, kind: str) -> tuple[Array, Array]:
    """The integers and scales of floats, element by element."""
    n, k = w.shape
    if kind == "int8":
        scale = np.array([max(abs(row), default=0) / np.float32(127) for row in w], np.float32).reshape(n)
        return np.array([_rounded(row, s) for row, s in zip(w, scale, strict=True)]).reshape(n, k), scale
    groups = -(-k // 32)
    integers, scale = np.zeros((n, k), np.int64), np.zeros((n, groups), np.float32)
    for i in range(n):
        for g in range(groups):
            part = w[i, 32 * g : 32 * g + 32]
            greatest = part[np.argmax(abs(part))]
            scale[i, g] = abs(greatest) / np.float32(127) if kind == "q8_0" else greatest / np.float32(-8)
            if kind == "q8_0":
                integers[i, 32 * g : 32 * g + 32] = _rounded(part, scale[i, g])
            elif scale[i, g] != 0:
                codes = np.minimum(np.floor(part / scale[i, g] + np.float32(8.5)), 15)
                integers[i, 32 * g : 32 * g + 32] = codes - 8
    return integers, scale.astype(np.float16)


def _rounded(x: Array, scale: Any) -> Array:
    return np.rint(x / scale).clip(-127, 127).astype(np.int64) if scale else np.zeros(len(x), np.int64)


def values(integers: Array, scale: Array, kind: str) -> Array:
    """The matrix as float32."""
    steps = scale[:, None] if kind == "int8" else np.repeat(scale.astype(np.float32), 32, 1)
    return integers.astype(np.float32) * steps[:, : integers.shape[1]]


def panels(integers: Array, scale: Array, kind: str) -> Array:
    """The bytes of cpp/kernels/quantized/quantized.h, byte by byte."""
    n, k = integers.shape
    group = max(-(-k // 4) * 4, 4) if kind == "int8" else 32
    groups = -(-k // group)
    rows = []
    for first in range(0, n, 16):
        row = bytearray()
        for g in range(groups):
            code = np.full((16, group), ZERO[kind], np.uint8)
            part = integers[first : first + 16, g * group : (g + 1) * group]
            code[: part.shape[0], : part.shape[1]] = part + ZERO[kind]
            if kind != "int8":
                steps = np.zeros(16, np.float16)
                steps[: part.shape[0]] = scale[first : first + 16, g]
                row += steps.tobytes()
            quads = [code[:, 4 * q : 4 * q + 4].tobytes() for q in range(group // 4)]
            if kind == "q4_0":
                quads = [
                    bytes(a | b << 4 for a, b in zip(quads[q], quads[q + 4], strict=True)) for q in range(4)
                ]
            row += b"".join(quads)
        rows.append(np.frombuffer(bytes(row), np.uint8))
    return np.array(rows, np.uint8).reshape(-(-n // 16), len(rows[0]) if rows else 0)


def product(x: Array, integers: Array, scale: Array, kind: str) -> tuple[Array, Array]:
    """x w^T in float64 of exact sums of integers; and the sum of the sizes of its terms."""
    k = integers.shape[1]
    y, sizes = np.zeros((len(x), len(integers))), np.zeros((len(x), len(integers)))
    group = k if kind == "int8" else 32
    for g, begin in enumerate(range(0, k, group or 1)):
        part, w = x[:, begin : begin + group], integers[:, begin : begin + group]
        most = abs(part).max(1, initial=0)
        inverse = np.divide(np.float32(127), most, out=np.zeros_like(most), where=most > 0)
        of_x = np.rint(part * inverse[:, None]).astype(np.int64)
        steps = scale if kind == "int8" else scale[:, g]
        term = (of_x @ w.T) * (most / np.float32(127)).astype(np.float64)[:, None] * steps.astype(np.float64)
        y += term
        sizes += abs(term)
    return y, sizes
