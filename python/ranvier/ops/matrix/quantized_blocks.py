"""A matrix of few bits a number, as files store it: blocks of 32 numbers with one scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.tensors.errors import one_of
from ranvier.tensors.failures import failure, misfit
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, wrap

BLOCK = 32
"""Numbers of a block, which follow each other in a row."""

BLOCK_BYTES = {"q8_0": 34, "q4_0": 18}
"""The bytes of a block: its scale in float16, then 32 integers of 8 or of 4 bits."""


class QuantizedBlocks:
    """The weight of a linear layer, of shape (n, k), in blocks of 32 numbers of a row.

    Each number is an integer times the scale of its block. The kinds are those of GGUF files: a block of
    "q8_0" has 32 bytes with signs; one of "q4_0" has 16 bytes, byte i with the integers i and i + 16 in its
    low and high four bits, plus 8. A weight of three dimensions holds several matrices.

    Args:
        kind: "q8_0" or "q4_0".
        shape: (n, k); k is a multiple of 32.
        blocks: bytes of shape (n, k / 32, 34), for "q4_0" (n, k / 32, 18). They are not copied.

    Raises TypeError: blocks that are no bytes.
    Raises ValueError: another kind, or blocks of another shape.

    >>> import numpy as np
    >>> block = np.concatenate([np.array([0.5], np.float16).view(np.uint8), np.arange(32, dtype=np.uint8)])
    >>> weight = QuantizedBlocks("q8_0", (1, 32), block.reshape(1, 1, 34))
    >>> weight, weight.dequantize()[0, -1]
    (QuantizedBlocks(q8_0, shape=(1, 32)), tensor(15.5000))
    """

    def __init__(self, kind: str, shape: tuple[int, ...], blocks: Array) -> None:
        one_of("QuantizedBlocks", "kind", kind, BLOCK_BYTES)
        if not isinstance(blocks, np.ndarray) or blocks.dtype != np.uint8:
            got = f"blocks of {getattr(blocks, 'dtype', type(blocks).__name__)}"
            raise failure(TypeError, "QuantizedBlocks", got, "an array of uint8")
        shape = tuple(shape)
        if not shape or shape[-1] % BLOCK:
            raise misfit("QuantizedBlocks", {"a weight": shape}, f"(n, k) with k a multiple of {BLOCK}")
        expected = (*shape[:-1], shape[-1] // BLOCK, BLOCK_BYTES[kind])
        if blocks.shape != expected:
            raise misfit("QuantizedBlocks", {"blocks": blocks.shape}, str(expected))
        self.kind = kind
        self.shape = shape
        self.blocks = blocks

    def __repr__(self) -> str:
        return f"QuantizedBlocks({self.kind}, shape={self.shape})"

    def dequantize(self) -> Tensor:
        """The numbers in float32, which holds the product of an integer and a scale without rounding."""
        blocks = np.ascontiguousarray(self.blocks)
        scales = blocks[..., :2].view(np.float16)
        packed = blocks[..., 2:]
        integers: Any = packed.view(np.int8)
        if self.kind == "q4_0":
            integers = np.concatenate([packed & 15, packed >> 4], -1).astype(np.int8) - np.int8(8)
        with np.errstate(invalid="ignore"):  # scales that are infinite or NaN
            return wrap((integers * scales.astype(np.float32)).reshape(self.shape))
