"""Matrices of 8 or 4 bits: made from floats, and as the core's kernels read them.

A number is stored as a code, a whole number without a sign, times a scale.
`cpp/kernels/quantized/quantized.h` describes the layout: a panel is 16 rows of the matrix, stored together;
in it, a quad is 4 neighbours along k of one row. What is read row by row alone, as an Embedding, has panels
of one row. `quantized_linear` and `quantized_embedding` (quantized.py) compute with these matrices.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.matrix.quantized_blocks import QuantizedBlocks
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike

KINDS = ("int8", "q8_0", "q4_0")
GROUP = 32
PANEL = 16
_AT_ONCE = 1 << 22  # elements that are quantized at a time, so that their copies stay small
_MOST = 65504.0  # the greatest float16, the dtype of a group's scale


class QuantizedWeight(NamedTuple):
    """A matrix (n, k) of 8 or 4 bits.

    kind: "int8", whose rows have a scale each; "q8_0" and "q4_0", of 8 and 4 bits, whose groups of 32 along k
    have one of float16 (GGUF's types of these names). panels: uint8 (ceil(n / 16), bytes), or (n, bytes) of
    panels of one row; scale: float32 (n,) of "int8", else None.
    """

    kind: str
    shape: tuple[int, int]
    panels: Tensor
    scale: Tensor | None

    def dequantize(self) -> Tensor:
        """The values as float32 (n, k)."""
        scale = None
        if self.scale is not None:
            scale = self.scale._array
        return wrap(_core.quantized_rows(self.panels._array, scale, None, self.kind, *self.shape))

    def in_panels(self, rows: int) -> QuantizedWeight:
        """The same codes and scales in panels of this many rows: 16, for products, or 1, for an Embedding."""
        panels = self.panels._array
        n, k = self.shape
        if panels.shape == panels_shape(self.kind, n, k, rows):
            return self
        codes, scales = unpacked(self.kind, n, k, panels)
        if scales is None:
            flat = codes
        else:
            flat = codes.reshape(n, codes.shape[1] * GROUP)
        made = packed(self.kind, flat, scales, rows)
        return QuantizedWeight(self.kind, self.shape, wrap(made), self.scale)

    def numel(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        if self.scale is None:
            return self.panels.nbytes
        return self.panels.nbytes + self.scale.nbytes


def panels_shape(kind: str, n: int, k: int, rows: int = PANEL) -> tuple[int, int]:
    """The shape of the panels of a matrix (n, k), and so the bytes of one: k codes of each of its rows, with
    the scales of groups."""
    if kind == "int8":
        row_bytes = _multiple(k, 4)  # whole quads
    else:
        code_bytes = GROUP
        if kind == "q4_0":  # two codes in a byte
            code_bytes = GROUP // 2
        scale_bytes = 2  # float16
        row_bytes = _count(k, GROUP) * (scale_bytes + code_bytes)
    return _count(n, rows), rows * row_bytes


def _count(n: int, size: int) -> int:
    """How many pieces of this size hold n elements: n / size, rounded up."""
    return -(-n // size)


def _multiple(n: int, size: int) -> int:
    """n, rounded up to a multiple of size."""
    return _count(n, size) * size


def of_blocks(blocks: QuantizedBlocks, rows_of_panel: int = PANEL) -> QuantizedWeight:
    """The matrix of a GGUF file, with the same codes and scales, in panels."""
    if len(blocks.shape) != 2:
        raise misfit("quantize", {"a weight": blocks.shape}, "2 dimensions (n, k)")
    n, k = blocks.shape
    panels = np.empty(panels_shape(blocks.kind, n, k, rows_of_panel), np.uint8)
    rows = max(PANEL, _AT_ONCE // max(k, 1) // PANEL * PANEL)
    for begin in range(0, n, rows):
        part = np.ascontiguousarray(blocks.blocks[begin : begin + rows])
        scales = part[..., :2].view(np.float16)[..., 0]
        codes = part[..., 2:]
        if not np.isfinite(scales).all():  # products would be infinite where 0 times the scale is NaN
            raise OpError("[quantize] got a scale that is NaN or infinite; expected finite numbers")
        # eight bits with a sign, plus 128; four bits have 8 added already
        if blocks.kind == "q8_0":
            codes = codes ^ 128
        else:
            codes = np.concatenate([codes & 15, codes >> 4], -1)
        made = packed(blocks.kind, codes.reshape(len(part), k), scales, rows_of_panel)
        panels[begin // rows_of_panel : (begin + rows) // rows_of_panel] = made
    return QuantizedWeight(blocks.kind, (n, k), wrap(panels), None)


def quantized(weight: TensorLike, kind: str, rows_of_panel: int = PANEL) -> QuantizedWeight:
    """A matrix of floats in 8 or 4 bits. The error of an element is at most half a step of its scale.

    int8: scale = max |row| / 127, code = round(w / scale). q8_0: the same for each group of 32, by the scale
    rounded to float16: a group of numbers below 4e-6 becomes 0. q4_0: scale = -m / 8, rounded to float16, for
    the number m of a group that is greatest in size; code = floor(w / scale + 8.5) in 0 ... 15, of value code
    - 8: numbers below 2e-7 become 0. Raises ValueError for NaN, infinity and numbers above 65504.
    """
    array = np.asarray(getattr(weight, "_array", weight))
    if array.ndim != 2:
        raise misfit("quantize", {"a weight": array.shape}, "2 dimensions (n, k)")
    n, k = array.shape
    panels = np.empty(panels_shape(kind, n, k, rows_of_panel), np.uint8)
    scale = None
    if kind == "int8":
        scale = np.empty(n, np.float32)
    rows = max(PANEL, _AT_ONCE // max(k, 1) // PANEL * PANEL)
    for begin in range(0, n, rows):
        part = array[begin : begin + rows].astype(np.float32)
        if not np.isfinite(part).all():
            raise OpError("[quantize] got a weight with NaN or infinity; expected finite numbers")
        if scale is None:
            codes, scales = _by_groups(part, kind)
        else:
            codes, scales = _by_rows(part)
            scale[begin : begin + rows] = scales
        made = packed(kind, codes, scales, rows_of_panel)
        panels[begin // rows_of_panel : (begin + rows) // rows_of_panel] = made
    if scale is None:
        return QuantizedWeight(kind, (n, k), wrap(panels), None)
    return QuantizedWeight(kind, (n, k), wrap(panels), wrap(scale))


def _divided(x: Array, by: Array) -> Array:
    """x / by, 0 where by is 0."""
    return np.divide(x, by, out=np.zeros_like(x), where=by != 0)


def _as_stored(scale: Array) -> Array:
    """The scales as float16 holds them."""
    return scale.astype(np.float16).astype(np.float32)


def _by_rows(x: Array) -> tuple[Array, Array]:
    """The codes (n, k) of "int8", with 128 added, and the scale of each row."""
    scale = np.abs(x).max(1, initial=0) / np.float32(127)
    return _eight_bits(x, scale[:, None]), scale


def _eight_bits(x: Array, scale: Array) -> Array:
    """x / scale as whole numbers from -127 to 127, with 128 added: codes have no sign."""
    return np.rint(_divided(x, scale)).clip(-127, 127) + np.float32(128)


def _by_groups(x: Array, kind: str) -> tuple[Array, Array]:
    """The codes of "q8_0" or "q4_0", (n, k up to a multiple of 32), and the scales (n, groups)."""
    n, k = x.shape
    groups = np.zeros((n, _count(k, GROUP), GROUP), np.float32)
    groups.reshape(n, -1)[:, :k] = x
    sizes = np.abs(groups)
    if sizes.max(initial=0) > _MOST:
        raise OpError(
            f"[quantize] got weights up to {sizes.max():g}; expected at most {_MOST:g} for scales of float16"
        )
    if kind == "q8_0":
        scale = _as_stored(sizes.max(2) / np.float32(127))
        codes = _eight_bits(groups, scale[..., None])
    else:
        greatest = np.take_along_axis(groups, sizes.argmax(2)[..., None], 2)[..., 0]
        scale = _as_stored(greatest / np.float32(-8))
        codes = np.floor(_divided(groups, scale[..., None]) + np.float32(8.5)).clip(0, 15)
    return codes.reshape(n, -1), scale


def packed(kind: str, codes: Array, scales: Array | None, rows: int = PANEL) -> Array:
    """Panels of this many rows, of codes (n, k) and, for groups, their scales (n, groups)."""
    n, k = codes.shape
    zero = 128  # the code of the value 0
    if kind == "q4_0":
        zero = 8
    padded = np.full((_multiple(n, rows), _multiple(k, 4)), zero, np.uint8)
    padded[:n, :k] = codes
    count = len(padded) // rows
    # a quad is moved as one number of 4 bytes
    in_row = padded.shape[1] // 4
    quads = np.ascontiguousarray(padded.view(np.uint32).reshape(count, rows, in_row).transpose(0, 2, 1))
    if kind == "int8":
        return quads.view(np.uint8).reshape(count, 4 * in_row * rows)
    groups = k // GROUP
    lines = quads.reshape(count, groups, GROUP // 4, rows)
    if kind == "q4_0":  # the first half of a group in the low four bits, the second in the high ones
        lines = lines[:, :, : GROUP // 8] | lines[:, :, GROUP // 8 :] << 4
    row_scales = np.zeros((len(padded), groups), np.float16)
    row_scales[:n] = scales
    panel_scales = np.ascontiguousarray(row_scales.reshape(count, rows, groups).transpose(0, 2, 1))
    # a panel is a sequence of groups; a group has the scales of all rows, then the codes of all rows
    code_bytes = 4 * rows * lines.shape[2]
    panels = np.empty((count, groups, 2 * rows + code_bytes), np.uint8)
    panels[:, :, : 2 * rows] = panel_scales.view(np.uint8)
    panels[:, :, 2 * rows :] = np.ascontiguousarray(lines).view(np.uint8).reshape(count, groups, code_bytes)
    return panels.reshape(count, groups * panels.shape[2])


def unpacked(kind: str, n: int, k: int, panels: Array) -> tuple[Array, Array | None]:
    """What `packed` got: codes, (n, k) of int8, else (n, groups, 32); and for groups their scales."""
    count = len(panels)
    rows = PANEL
    if panels.shape == panels_shape(kind, n, k, rows=1):
        rows = 1
    if kind == "int8":
        quads = panels.reshape(count, _count(k, 4), rows, 4).transpose(0, 2, 1, 3)
        return quads.reshape(count * rows, _multiple(k, 4))[:n, :k], None
    groups = _count(k, GROUP)
    _, group_bytes = panels_shape(kind, rows, GROUP, rows)
    in_groups = panels.reshape(count, groups, group_bytes)
    scales = np.ascontiguousarray(in_groups[:, :, : 2 * rows]).view(np.float16).transpose(0, 2, 1)
    quads_of_row = (group_bytes - 2 * rows) // (4 * rows)
    quads = in_groups[:, :, 2 * rows :].reshape(count, groups, quads_of_row, rows, 4)
    if kind == "q4_0":
        quads = np.concatenate([quads & 15, quads >> 4], 2)
    codes = quads.transpose(0, 3, 1, 2, 4).reshape(count * rows, groups, GROUP)
    return codes[:n], scales.reshape(count * rows, groups)[:n]
