"""Gradients in memory: the order of their axes, arrays of zeros, and two gradients that are not stored as
arrays.

`AtMaxima` is the gradient of a max-pool's input, stored at the maxima only; `Parts` is that of a tensor of
which parts were taken. Both are `Deferred` (tape/deferred.py), so that they become arrays only where it is
needed.
"""

from __future__ import annotations

from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.tape.deferred import Deferred
from ranvier.tape.function import F
from ranvier.tensors.memory import F32, HALVES, Array, added, filled, in_dtype, keep, write

if TYPE_CHECKING:
    from ranvier.tape.deferred import Gradient

__all__ = ["fill_part", "filled", "is_channels_last", "zeros"]


# One zero of each dtype, which `_core.expand` repeats to an array of zeros. They are read-only: programs of
# captured steps share them. They are kept, as this module may be loaded in a step that is recorded.
_ZERO = {np.dtype(kind): keep(np.zeros((), kind)) for kind in (np.float32, np.float64)}
for _zero in _ZERO.values():
    _zero.flags.writeable = False


def is_channels_last(x: Array) -> bool:
    """True for (N, C, H, W) with C innermost in memory. False if it is in C order as well (C = 1)."""
    return x.ndim == 4 and not x.flags.c_contiguous and x.transpose(0, 2, 3, 1).flags.c_contiguous


def fill_part(part: Array, values: Array) -> None:
    """part[...] = values, of the same shape and dtype."""
    write(part, values)


def zeros(shape: tuple[int, ...], dtype: np.dtype[Any], channels_last: bool = False) -> Array:
    """A new array of zeros."""
    zero = _ZERO.get(dtype.newbyteorder("="))
    if zero is None:  # a dtype other than float32 and float64
        return filled(0, shape, dtype)
    return _core.expand(zero, shape, None, 1.0, channels_last)


def widening(adds: F) -> F:
    """A decorator for a function of arrays that adds elements: half floats are added in float32, and the
    result is rounded once."""

    @wraps(adds)
    def in_float32(*operands: Any) -> Any:
        own = next((x.dtype for x in operands if isinstance(x, np.ndarray) and x.dtype in HALVES), None)
        if own is None:
            return adds(*operands)
        wide = list(operands)
        for i, x in enumerate(operands):
            if isinstance(x, np.ndarray):
                wide[i] = in_dtype(x, F32)
        return in_dtype(adds(*wide), own)

    return in_float32  # type: ignore[return-value]


class AtMaxima(Deferred):
    """The gradient of the input of a max-pool over windows that do not overlap: dy at each window's maximum.
    `WindowedMaxPool.backward` (image/pooling.py) makes it.

    The backward of a ReLU before the pool sets dy to 0 where the maximum is not positive (`behind_relu`). The
    backward of a convolution before the ReLU reads the gradient at the maxima only
    (`_core.conv2d_pool_backward`).
    """

    __slots__ = ("dy", "pool", "where", "windows")

    def __init__(self, dy: Any, where: Any, windows: tuple[int, ...], pool: tuple[Any, ...]) -> None:
        """dy: the gradient of the pool's output. where: the offset of each maximum in its window. Both have
        the shape of the pool's output with a batch axis.

        windows: the sizes of a window. pool: (the kernels forward and backward, the shape of x, their further
        arguments, whether x is one sample without a batch axis).
        """
        self.dy = dy
        self.where = where
        self.windows = windows
        self.pool = pool

    def array(self) -> Any:
        _, backward, shape, arguments, single = self.pool
        dx = backward(self.dy, self.where, shape, *arguments)
        if single:
            return dx[0]
        return dx

    def behind_relu(self, y: Any) -> AtMaxima:
        """The gradient of x for y = relu(x), the pool's input: dy where the maximum is positive."""
        forward, _, _, arguments, single = self.pool
        if single:
            y = y[None]
        maxima = forward(y, *arguments)[0]
        return AtMaxima(_core.relu_backward(self.dy, maxima), self.where, self.windows, self.pool)


_ALL = slice(None)


class Parts(Deferred):
    """The gradient of a tensor x of which parts x[key] were taken: 0, plus the gradient of each part at its
    place.

    The gradients are added in the order in which they came. parts: (key, gradient of the part). Getitem
    (shape/index.py) makes one for each x[key]. `joins`: the tape adds several by `plus` and `added_to`, and
    makes an array of the sum before any node gets it.
    """

    __slots__ = ("channels_last", "parts", "shape")
    joins = True

    def __init__(self, key: tuple[Any, ...], dy: Array, shape: tuple[int, ...], channels_last: bool) -> None:
        self.parts = [(key, dy)]
        self.shape = shape
        self.channels_last = channels_last

    def plus(self, other: Gradient) -> Parts | None:
        if not isinstance(other, Parts) or self.shape != other.shape:
            return None
        self.parts += other.parts
        return self

    def array(self) -> Array:
        if len(self.parts) > 1 and not self.channels_last:  # joined arrays are in C order
            joined = self._joined()
            if joined is not None:
                return joined
        dx = zeros(self.shape, self.parts[0][1].dtype, self.channels_last)
        key, dy = self.parts[0]
        if Ellipsis not in key:  # with an ellipsis dx[key] is an array even if it has one element
            key = (*key, Ellipsis)
        fill_part(dx[key], dy)
        return self.added_to(dx, 1)

    def added_to(self, dx: Array, first: int = 0) -> Array:
        for key, dy in self.parts[first:]:
            if Ellipsis not in key:
                key = (*key, Ellipsis)
            part = dx[key]
            added(part, in_dtype(dy, dx.dtype), part)
        return dx

    def _joined(self) -> Array | None:
        """The gradients of the parts joined, if the parts are slices along one dimension that cover x without
        overlap; else None."""
        slices: Any = [_slice(key, dy, self.shape) for key, dy in self.parts]
        if None in [place for place, _ in slices] or len({dy.dtype for _, dy in slices}) > 1:
            return None
        slices.sort(key=lambda of: of[0])
        axis = slices[0][0][0]
        ends = [end for (_, _, end), _ in slices]
        # (axis, begin) that each part must have: of the first axis, from where the part before it ends
        follow = [(axis, begin) for begin in (0, *ends[:-1])]
        if [place[:2] for place, _ in slices] != follow or ends[-1] != self.shape[axis]:
            return None
        return _core.concatenate([dy for _, dy in slices], axis)


def _slice(key: tuple[Any, ...], dy: Array, shape: tuple[int, ...]) -> tuple[Any, Array]:
    """((dimension, begin, end), gradient of the part with all dimensions), for a part x[:, .., begin:end].

    None in place of the first if the part x[key] has another form. dy: the gradient of the part. shape: of x.
    """
    if key and key[0] is ...:
        key = (*[_ALL] * (len(shape) - len(key) + 1), *key[1:])
    axis = len(key) - 1
    if not key or axis >= len(shape) or any(k != _ALL for k in key[:-1]):
        return None, dy
    if type(key[-1]) is int:
        begin = key[-1] % shape[axis]
        return (axis, begin, begin + 1), np.expand_dims(dy, axis)
    # anything but a slice (None, an array) counts as step 0, which is refused below
    begin, end, step = key[-1].indices(shape[axis]) if type(key[-1]) is slice else (0, 0, 0)
    return ((axis, begin, max(begin, end)) if step == 1 else None), dy
