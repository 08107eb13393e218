"""The same values in memory laid out in other ways."""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
LAYOUTS = ("strided", "transposed", "reversed", "channels_last")


def in_layout(array: np.ndarray[Any, Any], layout: str) -> np.ndarray[Any, Any]:
    """An array equal to the given one, whose memory is

    - strided: every second element of a larger block, along the last axis
    - transposed: in Fortran order
    - reversed: backwards along the last axis (a negative stride)
    - channels_last: (N, C, H, W) with C innermost, for 4-D arrays; others as they are
    - one element: no equal one, but its first everywhere, with strides of 0
    - "": as it is
    """
    if array.ndim == 0 or not layout:
        return array
    if layout == "one element":
        return np.broadcast_to(array.flat[0], array.shape) if array.size else array
    if layout == "strided":
        wide = np.full((*array.shape[:-1], 2 * array.shape[-1] + 1), 7, array.dtype)
        out = wide[..., : 2 * array.shape[-1] : 2]
    elif layout == "transposed":
        out = np.empty(array.shape, array.dtype, order="F")
    elif layout == "reversed":
        out = np.empty_like(array, order="C")[..., ::-1]
    elif layout == "channels_last" and array.ndim == 4:
        n, c, h, w = array.shape
        out = np.empty((n, h, w, c), array.dtype).transpose(0, 3, 1, 2)
    else:
        return array
    out[...] = array
    return out


def along_axes(arrays: tuple[Array, ...]) -> Iterator[tuple[Array, ...]]:
    """The arrays, one of them replaced: stored backwards along one of its axes (a negative stride), or with
    its first values along the axis repeated (a stride of 0)."""
    for index, array in enumerate(arrays):
        for axis in range(np.ndim(array) if array.dtype.kind == "f" else 0):
            first = array.take(range(min(1, array.shape[axis])), axis)
            for view in (np.flip(np.flip(array, axis).copy(), axis), np.broadcast_to(first, array.shape)):
                yield (*arrays[:index], view, *arrays[index + 1 :])


def any_layout(rng: np.random.Generator, array: Array) -> Array:
    """The same values in memory with any order of the axes, steps of 1 or 2, forwards or backwards."""
    if array.ndim == 0:
        return array
    order, steps = rng.permutation(array.ndim), rng.choice([1, 1, 2, -1, -2], array.ndim)
    memory = np.empty([array.shape[d] * abs(steps[d]) for d in order], array.dtype)
    out = memory.transpose(np.argsort(order))[tuple(slice(None, None, int(step)) for step in steps)]
    out[...] = array
    return out
