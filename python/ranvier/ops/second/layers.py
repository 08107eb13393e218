"""Rules of pooling, dropout, padding, interpolation and embedding."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.memory import copied, filled_like, write
from ranvier.autograd.recording import refuse
from ranvier.ops.image import pooling
from ranvier.ops.image.interpolate import Interpolate
from ranvier.ops.image.pad import Pad
from ranvier.ops.neural.dropout import AlphaDropout, ChannelDropout, Dropout
from ranvier.ops.neural.embedding import Embedding
from ranvier.ops.rules import Array, diagonal, linear

diagonal(Dropout, ChannelDropout, AlphaDropout)
linear(Interpolate)
linear(Pad, forward=lambda node, x: _core.pad(x, node.sizes, node.mode, 0.0))


def _rows(node: Any, weight: Array) -> Array:
    """The rows of the weight that backward adds to, by their indices."""
    if node.padding_idx is not None:
        weight = copied(weight)
        write(weight[node.padding_idx], 0)
    if node.scale_grad_by_freq:
        rows = filled_like(1, np.empty((*node.index.shape, 1), weight.dtype))
        counts = _core.embedding_backward(rows, node.index, node.rows, None, False, None)
        weight = _core.div(weight, _core.maximum(counts, 1.0, None), None)
    return _core.embedding(node.index, weight, None)


linear(Embedding, backward=lambda node, dy: node.backward(dy)[0], forward=_rows)


def _shape(node: Any, dy: Any) -> tuple[int, ...]:
    shape: tuple[int, ...] = node.shape[1:] if node.single else node.shape
    return shape


linear(pooling.AvgPool, shape=_shape)  # as in PyTorch, where x gets the gradient 0


# --- max pooling: its gradient adds dy at the maxima, whose transpose reads there


def _at_maxima(node: Any, x: Array) -> Array:
    """The elements of x at which the maxima were."""
    refuse("the second derivative of max pooling", "call the step without rv.compile")
    images = x[None] if node.single else x
    axes = images.shape[2:]
    lines = [_axis(node, d, n, node.where.shape[2 + d]) for d, n in enumerate(axes)]
    offset, places = node.where.astype(np.int64), np.zeros(node.where.shape, np.int64)
    for d in reversed(range(len(axes))):
        start, taps, dilation = lines[d]
        offset, tap = (offset, offset) if d == 0 else np.divmod(offset, taps)
        at = start.reshape(-1, *(1,) * (len(axes) - 1 - d)) + tap * dilation
        places += at * int(np.prod(axes[d + 1 :], dtype=np.int64))
    flat = images.reshape(*images.shape[:2], -1)
    y = np.take_along_axis(flat, places.reshape(*places.shape[:2], -1), -1).reshape(places.shape)
    return y[0] if node.single else y


def _axis(node: Any, d: int, n: int, out: int) -> tuple[Array, int, int]:
    """Of an axis of length n with this number of windows: their starts, length and dilation."""
    o = np.arange(out)
    if node.adaptive:
        return o * n // out, min(n // max(out, 1) + 2, n), 1  # as the core counts taps
    size, stride, padding, dilation, _ = node.arguments

    def here(setting: Any) -> int:
        return int(pooling._for_each_axis(setting, node.dimensions - 2)[d])

    return o * here(size if stride is None else stride) - here(padding), here(size), here(dilation)


linear(
    pooling.MaxPool,
    pooling.WindowedMaxPool,
    backward=lambda node, dy: pooling.MaxPool.backward(node, dy),
    forward=_at_maxima,
    shape=_shape,
)
