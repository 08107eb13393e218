"""Uniform random numbers for formulas, whose dtype a satellite may widen."""

from __future__ import annotations

from typing import Any

from ranvier.ops.making.random import rand
from ranvier.tensors.memory import F32, HALVES
from ranvier.tensors.tensor import Tensor

wide: Any = None  # float64 where seeds give PyTorch's numbers, which it computes from uniform ones of float64


def uniform_of(shape: Any, dtype: Any) -> Tensor:
    """Numbers in [0, 1) for a formula whose result has the dtype."""
    return rand(shape, dtype=wide or dtype)


def slopes(x: Tensor) -> Tensor:
    """The numbers of rrelu, in [0, 1), in float32 at least."""
    return rand(x.shape, dtype=F32 if x._array.dtype in HALVES else x.dtype)
