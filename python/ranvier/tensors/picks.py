"""The part of a key with arrays as indices of elements: for gathers, the ops x[key], take and index_put.

`split` of tensors/keys.py divides the key.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.observe import is_recording
from ranvier.tensors.failures import OpIndexError
from ranvier.tensors.keys import check_range, split
from ranvier.tensors.memory import Array, cast, keep

if TYPE_CHECKING:
    from ranvier.tensors.types import Key


class Picks(NamedTuple):
    """The parts of a key with arrays."""

    basic: tuple[Any, ...]  # integers, slices and None, which give a view
    axes: tuple[int, ...]  # the axes of the view along which arrays pick
    rows: Array  # (picked elements,): the index of each along all these axes, joined to one number in C order
    shape: tuple[int, ...]  # the sizes of the picked dimensions
    arrays: tuple[Array, ...]  # the index array of each axis, from which rows is made


def picks_of(key: Key, shape: tuple[int, ...]) -> Picks:
    """The parts of a key for a tensor of this shape. Raises IndexError if the key does not fit."""
    if isinstance(key, np.ndarray) and key.ndim and key.dtype.kind in "iu" and shape:  # x[rows]: a shortcut
        return Picks((slice(None),) * len(shape), (0,), key.reshape(-1), key.shape, (key,))
    basic, arrays, axes, mask = split(key, shape)
    # One index array, or one mask alone, which gives an array for each of its dimensions: nothing to join.
    if len(arrays) == 1 or (mask is not None and len(arrays) == mask.ndim):
        if mask is None or mask.ndim <= 1:
            rows = arrays[0]
        else:
            rows = keep(np.flatnonzero(mask))
        return Picks(basic, axes, rows.reshape(-1), rows.shape, tuple(arrays))
    whole = basic.count(slice(None)) == len(basic)  # then the view has the shape of x
    view_shape = shape if whole else np.broadcast_to(0, shape)[basic].shape
    rows, picked = _merged(arrays, [view_shape[a] for a in axes])
    if arrays and is_recording():
        rows = _merged_by_core(arrays, [view_shape[a] for a in axes])
    return Picks(basic, axes, rows, picked, tuple(arrays))


def _merged(arrays: list[Array], sizes: list[int]) -> tuple[Array, tuple[int, ...]]:
    """The indices into several axes, joined to one index in C order, and their broadcast shape."""
    try:  # the common case in one call: no negative ones, all in range
        rows: Any = np.ravel_multi_index(arrays, sizes)
        return rows.reshape(-1), rows.shape
    except (ValueError, TypeError):
        rows = 0
    try:
        shape = np.broadcast_shapes(*(index.shape for index in arrays))
    except ValueError as error:
        shapes = ", ".join(str(index.shape) for index in arrays)
        raise OpIndexError(
            f"[getitem] got indices of shapes {shapes}; expected shapes that broadcast"
        ) from error
    for index, size in zip(arrays, sizes, strict=True):
        check_range(index, size)
        rows = rows * size + np.where(index < 0, index + size, index)
    return np.broadcast_to(rows, shape).reshape(-1), shape


def _merged_by_core(arrays: list[Array], sizes: list[int]) -> Array:
    """The joined index of `_merged`, computed by kernels, in float64, so that a replay computes it again.
    float64 is exact for it: no tensor has more than 2**40 elements."""
    rows: Array | None = None
    for index, size in zip(arrays, sizes, strict=True):
        # True here, since _merged has checked it; a replay checks again.
        _core.inside(index, -size, size - 1)
        place = cast(index, np.dtype(np.float64))
        place = _core.where(_core.lt(place, 0.0, None), _core.add(place, float(size), None), place, None)
        if rows is None:
            rows = place
        else:
            rows = _core.add(_core.mul(rows, float(size), None), place, None)
    assert rows is not None
    return cast(rows, np.dtype(np.int64)).reshape(-1)
