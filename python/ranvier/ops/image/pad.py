"""pad: values around a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor, by_numpy
from ranvier.ops.elementwise.dtypes import as_number, as_tensor
from ranvier.ops.rules import linear

__all__ = ["pad"]


class Pad(Function):
    def __init__(self, sizes: Any, mode: str, value: float) -> None:
        self.sizes, self.mode, self.value = sizes, mode, value

    def forward(self, x: Any) -> Any:
        return _core.pad(x, self.sizes, self.mode, self.value)

    def backward(self, dy: Any) -> Any:
        return _core.pad_backward(dy, self.sizes, self.mode)


linear(Pad, forward=lambda node, x: _core.pad(x, node.sizes, node.mode, 0.0))


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """x with values added around it: pad = (before, after) of the last dimension, then of the one before it,
    and so on. Negative sizes crop.

    mode 'constant' (any shape): the added elements are value, 0 where it is None. The others repeat x's own
    values, in the last dimension of (N, C, L) or the last two of (N, C, H, W), with or without N: 'reflect'
    mirrors at the edge, which is not repeated (sizes below the axis), 'replicate' repeats the edge,
    'circular' continues at the other side (sizes up to the axis). The gradient of a value is the sum over its
    copies. x is float32 or float64, in its memory order, or of whole numbers or bool.

    Raises ValueError where sizes, shape and mode do not fit together.

    >>> import ranvier as rv
    >>> rv.pad(rv.tensor([[1.0, 2.0, 3.0]]), (1, 2), value=9.0)
    tensor([[9., 1., 2., 3., 9., 9.]])
    >>> rv.pad(rv.tensor([[1.0, 2.0, 3.0]]), (1, 2), "reflect")
    tensor([[2., 1., 2., 3., 2., 1.]])
    """
    input = as_tensor("pad", input)
    value = 0.0 if value is None else value
    if mode == "constant" and input._array.dtype.kind in "biu":
        return by_numpy(_pad_integers, input._array, pad, value)
    if input._array.dtype.kind in "biu":
        return by_numpy(_picked, input._array, pad, mode)
    return Pad(pad, mode, value).apply(input)


def _picked(x: Any, sizes: Any, mode: str) -> Any:
    """Labels and masks in the modes that repeat values: the padded indices are picked."""
    _core.pad(np.broadcast_to(np.float32(0), x.shape), sizes, mode)  # the checks
    for k in range(len(sizes) // 2):
        axis = x.ndim - 1 - k
        line = np.arange(x.shape[axis], dtype=np.float64).reshape(1, 1, -1)
        places = _core.pad(line, sizes[2 * k : 2 * k + 2], mode).reshape(-1)
        x = np.take(x, places.astype(np.int64), axis)
    return x


def _pad_integers(x: Any, sizes: Any, value: Any) -> Any:
    """Labels and masks in mode "constant", by NumPy: they have no gradient."""
    frame = _core.pad(np.broadcast_to(np.float32(0), x.shape), sizes, "constant", value)  # checks
    y = np.full(frame.shape, as_number("pad", value, x.dtype), x.dtype)
    to, of = [slice(None)] * x.ndim, [slice(None)] * x.ndim
    for k in range(len(sizes) // 2):
        axis, before = x.ndim - 1 - k, sizes[2 * k]
        kept = slice(max(-before, 0), x.shape[axis] + min(sizes[2 * k + 1], 0))
        of[axis] = kept
        start = max(before, 0)
        to[axis] = slice(start, start + max(kept.stop - kept.start, 0))
    y[tuple(to)] = x[tuple(of)]
    return y
