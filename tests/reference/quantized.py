"""Matrices of 8 and 4 bits in plain NumPy: their codes, their layout in memory, and products of integers.

A matrix (n, k) is integers (n, k) and scales; an element is about integer * scale. `kind` is the format:
"int8" has one float32 scale a row, scales (n,); "q8_0" and "q4_0" have one float16 scale for each group of 32
elements of a row, scales (n, ceil(k / 32)). In memory an integer is stored as a code, a number without sign.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
GROUP = 32  # elements of a row that share a scale in q8_0 and q4_0
PANEL = 16  # rows that are stored together
ZERO = {"int8": 128, "q8_0": 128, "q4_0": 8}  # the code of 0


def quantize(w: Array, kind: str) -> tuple[Array, Array]:
    """The integers and scales of floats, element by element."""
    if kind == "int8":
        return _quantize_rows(w)
    n, k = w.shape
    integers = np.zeros((n, k), np.int64)
    scale = np.zeros((n, -(-k // GROUP)), np.float32)
    for i in range(n):
        for g in range(scale.shape[1]):
            columns = slice(GROUP * g, GROUP * (g + 1))
            group = w[i, columns]
            greatest = group[np.argmax(abs(group))]
            if kind == "q8_0":
                scale[i, g] = np.float16(abs(greatest) / np.float32(127))
                integers[i, columns] = _rounded(group, scale[i, g])
                continue
            # q4_0: the greatest magnitude becomes -8, since codes reach from -8 to 7
            scale[i, g] = np.float16(greatest / np.float32(-8))
            if scale[i, g] != 0:
                codes = np.floor(group / scale[i, g] + np.float32(8.5)).clip(0, 15)
                integers[i, columns] = codes - 8
    return integers, scale.astype(np.float16)


def _quantize_rows(w: Array) -> tuple[Array, Array]:
    """int8: in every row the greatest magnitude becomes 127."""
    n, k = w.shape
    scale = np.zeros(n, np.float32)
    integers = np.zeros((n, k), np.int64)
    for i, row in enumerate(w):
        scale[i] = max(abs(row), default=0) / np.float32(127)
        integers[i] = _rounded(row, scale[i])
    return integers, scale


def _rounded(x: Array, scale: np.float32) -> Array:
    """The integers from -127 to 127 that are nearest to x / scale; 0 for a scale of 0."""
    if scale == 0:
        return np.zeros(len(x), np.int64)
    return np.rint(x / scale).clip(-127, 127).astype(np.int64)


def values(integers: Array, scale: Array, kind: str) -> Array:
    """The matrix as float32."""
    if kind == "int8":
        steps = scale[:, None]
    else:
        steps = np.repeat(scale.astype(np.float32), GROUP, 1)
    return integers.astype(np.float32) * steps[:, : integers.shape[1]]


def panels(integers: Array, scale: Array, kind: str) -> Array:
    """The bytes of cpp/kernels/quantized/quantized.h, byte by byte: (panels, bytes of a panel).

    A panel is 16 rows, group after group (int8: one group, whose length is the next multiple of 4). A group
    is the 16 scales (not for int8), then four codes of every row, the next four of every row, and so on. q4_0
    has two codes a byte: of elements 0 to 15 in the low bits, of elements 16 to 31 in the high bits.
    """
    n, k = integers.shape
    group_size = GROUP
    if kind == "int8":
        group_size = max(-(-k // 4) * 4, 4)
    groups = -(-k // group_size)
    all_panels = []
    for first in range(0, n, PANEL):
        panel = bytearray()
        for g in range(groups):
            group = integers[first : first + PANEL, g * group_size : (g + 1) * group_size]
            rows, columns = group.shape
            code = np.full((PANEL, group_size), ZERO[kind], np.uint8)
            code[:rows, :columns] = group + ZERO[kind]
            if kind != "int8":
                steps = np.zeros(PANEL, np.float16)
                steps[:rows] = scale[first : first + PANEL, g]
                panel += steps.tobytes()
            if kind == "q4_0":
                code = code[:, :16] | code[:, 16:] << 4
            for begin in range(0, code.shape[1], 4):
                panel += code[:, begin : begin + 4].tobytes()
        all_panels.append(np.frombuffer(bytes(panel), np.uint8))
    bytes_of_a_panel = len(all_panels[0]) if all_panels else 0
    return np.array(all_panels, np.uint8).reshape(-(-n // PANEL), bytes_of_a_panel)


def product(x: Array, integers: Array, scale: Array, kind: str) -> tuple[Array, Array]:
    """x w^T in float64 of exact sums of integers; and the sum of the magnitudes of its terms.

    Rows of x become integers, too: in each group the greatest magnitude is 127. A tolerance is relative to
    the second result.
    """
    k = integers.shape[1]
    y = np.zeros((len(x), len(integers)))
    magnitudes = np.zeros((len(x), len(integers)))
    group_size = k if kind == "int8" else GROUP
    for g, begin in enumerate(range(0, k, group_size or 1)):
        group = x[:, begin : begin + group_size]
        w = integers[:, begin : begin + group_size]
        greatest = abs(group).max(1, initial=0)
        inverse = np.divide(np.float32(127), greatest, out=np.zeros_like(greatest), where=greatest > 0)
        x_integers = np.rint(group * inverse[:, None]).astype(np.int64)
        x_steps = (greatest / np.float32(127)).astype(np.float64)
        w_steps = scale if kind == "int8" else scale[:, g]
        term = (x_integers @ w.T) * x_steps[:, None] * w_steps.astype(np.float64)
        y += term
        magnitudes += abs(term)
    return y, magnitudes
