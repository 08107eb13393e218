"""Splits the key of x[key] into a part that gives a view and a part with arrays, by PyTorch's rules.

Integers, slices, None and Ellipsis are applied first and give a view of x. Then arrays of integers pick
elements along their axes of the view; the arrays broadcast to one shape. A mask stands for the indices of the
places where it is true. The picked dimensions replace the axes of the arrays if these axes are neighbours,
otherwise they come first. An integer (or a tensor of integers without dimensions) is no array: x[0, :, i] is
x[0][:, i], while NumPy puts the picked dimensions first.

`numbers_first` is for writes to places (tape); `picks_of` of tensors/picks.py, for gathers (ops/shape), uses
`split`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.observe import observers, value_read
from ranvier.tensors.failures import OpIndexError, put_name
from ranvier.tensors.memory import Array, all_slices, is_batched, keep

if TYPE_CHECKING:
    from ranvier.tensors.types import Key


def tuple_of(key: Any) -> Any:
    """The key, as a tuple if it is a sequence that PyTorch reads as one: of fewer than 32 parts, among them a
    Tensor, array, sequence, slice, None or Ellipsis. Other sequences are an index array."""
    if isinstance(key, (tuple, np.ndarray)) or hasattr(key, "_cell") or not _is_sequence(key):
        return key
    parts = tuple(key) if len(key) < 32 else ()
    is_tuple = any(p is None or p is ... or isinstance(p, slice) or _is_sequence(p) for p in parts)
    if is_tuple:
        return parts
    return key


def _is_sequence(part: object) -> bool:  # True of Tensors and arrays, too
    return hasattr(type(part), "__getitem__") and not isinstance(part, (np.generic, dict))


def raw_index(key: Key) -> Any:
    """The key with arrays in place of Tensors and of sequences in a tuple.

    A Tensor of uint8 is a mask, as in PyTorch.
    """
    key = tuple_of(key)
    if isinstance(key, tuple):
        return tuple(map(_raw, key))
    return _raw(key)


def _raw(part: Any) -> Any:
    """One part of a key with an array in place of a Tensor or a sequence."""
    array = getattr(part, "_array", part)
    if array is not part:
        if array.dtype == np.uint8:
            return array != 0
        return array
    if isinstance(part, (np.ndarray, str, bytes)) or not _is_sequence(part):
        return part
    items = list(part)
    if all(type(i) in _PLAIN for i in items):
        return keep(_array_of(items))
    for item in items:
        value_read("an index of Tensors in a list", item)
    return _array_of(_numbers(items))


_PLAIN = frozenset((int, bool))


def _numbers(item: Any) -> Any:
    """Nested lists with numbers for Tensors of one element, and arrays for others."""
    if isinstance(item, (list, tuple)):
        return [_numbers(i) for i in item]
    array = getattr(item, "_array", item)
    if array is not item and array.size == 1:
        return array.item()
    return array


def _array_of(items: list[Any]) -> Array:
    """The index array of a list; an empty one has integers."""
    try:
        array = np.asarray(items)
    except ValueError as error:
        raise OpIndexError(
            "[getitem] got lists of unequal lengths in an index; expected a regular nested list"
        ) from error
    if array.size:
        return array
    return array.astype(np.int64)


def numbers_first(key: Key, shape: tuple[int, ...]) -> tuple[Any, ...]:
    """The key as a sequence of keys for NumPy: the first gives a view of x, the second picks from this view.

    >>> import numpy as np
    >>> numbers_first((0, slice(None), np.array([1, 2])), (2, 3, 4))
    ((0, slice(None, None, None), slice(None, None, None)), (slice(None, None, None), array([1, 2])))
    """
    parts = key if isinstance(key, tuple) else (key,)
    if not any(isinstance(part, np.ndarray) for part in parts) or len(parts) == 1:
        return (key,)
    basic, arrays, axes, _ = split(key, shape)
    if not axes:
        return ((*basic, Ellipsis),)
    picks: list[Any] = [slice(None)] * (axes[-1] + 1)
    for axis, index in zip(axes, arrays, strict=True):
        picks[axis] = index
    return basic, tuple(picks)


def index_error(name: str, key: Key, shape: tuple[int, ...], error: IndexError) -> IndexError:
    """The error to raise for NumPy's error about a key: in the standard format, if possible with the
    index."""
    try:
        basic, arrays, axes, _ = split(raw_index(key), shape)
        sizes = np.broadcast_to(0, shape)[basic].shape
        for index, size in zip(arrays, [sizes[axis] for axis in axes], strict=True):
            check_range(index, size)
    except IndexError as better:
        return put_name(better, name)
    return IndexError(f"[{name}] got a key for a tensor of shape {shape}: {error}; expected one that fits")


def split(
    key: Key, shape: tuple[int, ...]
) -> tuple[tuple[Any, ...], list[Array], tuple[int, ...], Array | None]:
    """(the part of the key that gives a view, the index arrays, the axis of the view for each, the last
    mask)."""
    basic: list[Any] = []
    arrays: list[Array] = []
    axes: list[int] = []
    mask = None
    source = 0  # the next dimension of x
    axis = 0  # the next dimension of the view
    for part in _parts(key, shape):
        if part is None or isinstance(part, slice):
            basic.append(part)
            if part is not None:
                source += 1
            axis += 1
        elif isinstance(part, int):
            if not -shape[source] <= part < shape[source]:
                raise _out_of_range(part, shape[source])
            basic.append(part)
            source += 1
        else:
            is_mask = part.dtype.kind == "b"
            if is_mask:
                mask = part
            for index in _indices(part, shape[source : source + part.ndim]):
                if is_mask and part.ndim == 0:
                    basic.append(None)  # a mask of one number picks along a new axis
                else:
                    basic.append(slice(None))
                arrays.append(index)
                axes.append(axis)
                axis += 1
            source += _consumed(part)
    return tuple(basic), arrays, tuple(axes), mask


def _parts(key: Key, shape: tuple[int, ...]) -> list[Any]:
    """The parts of a key, with ints for numbers of any class, and slices in place of Ellipsis and for missing
    dimensions."""
    raw_parts = key if isinstance(key, tuple) else (key,)
    parts = [_part(part) for part in raw_parts]
    left = len(shape) - sum(map(_consumed, parts))
    if left < 0 or sum(part is ... for part in parts) > 1:
        raise OpIndexError(
            f"[getitem] got an index of {len(shape) - left} dimensions for x of shape {shape}; "
            "expected at most as many, and at most one Ellipsis"
        )
    at = next((i for i, part in enumerate(parts) if part is ...), len(parts))
    return [*parts[:at], *[slice(None)] * left, *parts[at + 1 :]]


def _part(part: object) -> Any:
    if part is None or part is ... or isinstance(part, slice):
        return part
    if isinstance(part, (bool, np.bool_)):
        part = np.asarray(part)
    elif isinstance(part, (int, np.integer)):
        return int(part)
    if not isinstance(part, np.ndarray) or part.dtype.kind not in "biu":
        if isinstance(part, np.ndarray):
            kind = part.dtype
        else:
            kind = type(part).__name__
        raise OpIndexError(f"[getitem] got an index of {kind}; expected integers, bools, slices, None or ...")
    if is_batched(part):
        if part.dtype.kind == "b":
            raise RuntimeError(
                "[vmap] got a mask as an index, which picks as many elements as are True; expected where or "
                "masked_fill, whose results have one shape for all slices"
            )
        return part  # also a number, which picks another element of each slice
    if part.ndim == 0 and part.dtype.kind in "iu":
        if observers:
            value_read("an index of one number", part)
        return int(part)
    if observers and part.dtype.kind == "b":
        value_read("an index by a mask", part)
    return part


def _consumed(part: object) -> int:
    """The number of dimensions of x that a part of the key is for."""
    if part is None or part is ...:
        return 0
    if isinstance(part, np.ndarray) and part.dtype.kind == "b":
        return part.ndim
    return 1


def _indices(part: Array, sizes: tuple[int, ...]) -> tuple[Array, ...]:
    """The index arrays of a part of the key: itself if it has integers, else the places where a mask is true.

    sizes: of the dimensions of x under the mask. A mask without dimensions picks along a new axis of size 1.
    """
    if part.dtype.kind != "b":
        return (part,)
    if part.ndim == 0:
        return (np.zeros(int(part), np.int64),)
    if part.shape != sizes:
        raise OpIndexError(
            f"[getitem] got a mask of shape {part.shape} for dimensions {sizes}; expected equal shapes"
        )
    return tuple(map(keep, np.nonzero(part)))


def check_range(index: Array, size: int) -> None:
    """Raises IndexError for an index array with a number that an axis of this size does not have."""
    numbers = all_slices(index)
    if numbers.size == 0:
        return
    low = int(numbers.min())
    high = int(numbers.max())
    if high >= size:
        raise _out_of_range(high, size)
    if low < -size:
        raise _out_of_range(low, size)


def _out_of_range(index: int, size: int) -> IndexError:
    return IndexError(
        f"[getitem] got index {index} for an axis of length {size}; expected {-size} to {size - 1}"
    )
