"""Uniform random numbers for formulas of other distributions; a satellite may set the dtype in which they are
drawn."""

from __future__ import annotations

from typing import Any

from ranvier.ops.making.random import rand
from ranvier.tensors.memory import F32, HALVES
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, ShapeLike

# float64 if seeds have to give PyTorch's numbers (torch/functions/twister.py), which come from uniform
# numbers in float64; else None.
wide: Any = None


def uniform_of(shape: ShapeLike, dtype: DtypeLike | None) -> Tensor:
    """Numbers in [0, 1) for a formula whose result has this dtype."""
    return rand(shape, dtype=wide or dtype)


def slopes(x: Tensor) -> Tensor:
    """The random numbers of rrelu, in [0, 1), in the shape of x; for half floats in float32."""
    return rand(x.shape, dtype=F32 if x._array.dtype in HALVES else x.dtype)
