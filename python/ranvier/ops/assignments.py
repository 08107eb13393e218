"""Assignments as operations that make new tensors, for file formats in which no value changes (ONNX, C).

``x[key] = value`` is a join of the parts around the region that the key names; with a mask, a choice; with
arrays of indices, a scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ranvier.ops.elementwise.choice import where
from ranvier.ops.shape.index import index_select
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.scatter import scatter
from ranvier.tape.calls import FORMULAS
from ranvier.tensors.failures import failure
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor, wrap

_ALL = slice(None)


def put(node: Any, x: Tensor, value: Any) -> Tensor:
    """The formula of Put: the value in the shape of x, whose elements it replaces."""
    return _apart(x, _filled(x, _as_value(x, value)))


def setitem(node: Any, x: Tensor, value: Any) -> Tensor:
    """The formula of Setitem: x with x[key] = value."""
    return _apart(x, _assigned(x, node.key, _as_value(x, value)))


def _apart(x: Tensor, y: Tensor) -> Tensor:
    """y in memory of its own: x is written next, of which y may be a view."""
    if y is x or y._cell is x._cell:
        return y.clone()
    return y


def _assigned(x: Tensor, key: Any, value: Tensor) -> Tensor:
    parts = _parts(key, x.ndim)
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    if not arrays:
        return _with_region(x, parts, value)
    basic: list[Any] = []  # the parts that are no arrays; slices of whole axes in place of arrays
    for part in _per_axis(parts):
        if isinstance(part, np.ndarray):
            basic.append(_ALL)
        else:
            basic.append(part)
    if any(part is None for part in basic):
        _refuse("None beside arrays", "an index of arrays, numbers and slices")
    if all(part == _ALL for part in basic):
        return _with_elements(x, parts, value)
    region = x[tuple(basic)]
    inner: list[Any] = []  # the parts that are left in x[basic], whose slices have been taken
    for part in parts:
        if isinstance(part, slice):
            inner.append(_ALL)
        elif not _is_number(part):
            inner.append(part)
    return _with_region(x, basic, _with_elements(region, inner, value))


def _refuse(got: str, expected: str) -> NoReturn:
    raise failure(ValueError, "setitem", f"{got}, which has no counterpart in a file", expected)


def _as_value(x: Tensor, value: Any) -> Tensor:
    """The value as a tensor of x's dtype."""
    if isinstance(value, Tensor):
        tensor = value
    else:
        tensor = wrap(keep(np.asarray(value)))
    if tensor.dtype == x.dtype:
        return tensor
    return tensor.to(x.dtype)


def _parts(key: Any, ndim: int) -> list[Any]:
    """The parts of a key, with slices in place of an ellipsis and for the axes that it leaves out."""
    parts = list(key) if isinstance(key, tuple) else [key]
    axes = sum(_axes_of(part) for part in parts)
    missing = [_ALL] * (ndim - axes)
    for at, part in enumerate(parts):
        if part is Ellipsis:
            return parts[:at] + missing + parts[at + 1 :]
    return parts + missing


def _axes_of(part: Any) -> int:
    """How many axes of x a part of a key stands for."""
    if part is None or part is Ellipsis:
        return 0
    is_mask = isinstance(part, np.ndarray) and part.dtype == np.bool_
    if is_mask:
        return part.ndim
    return 1


def _per_axis(parts: Sequence[Any]) -> list[Any]:
    """The parts, with a mask once for each of its axes."""
    found: list[Any] = []
    for part in parts:
        times = 1 if part is None else _axes_of(part)
        found += [part] * times
    return found


# --- slices and numbers
def _with_region(x: Tensor, parts: Sequence[Any], value: Tensor) -> Tensor:
    """x with a value in the region that slices and numbers name; None in them is a new axis of the value."""
    axes = [part for part in parts if part is not None]
    of_value = [part for part in parts if not _is_number(part)]  # those that the value has an axis for
    while value.ndim > len(of_value):
        if value.shape[0] != 1:
            _refuse(f"a value of shape {tuple(value.shape)}", "one that broadcasts to the region")
        value = value.squeeze(0)
    lead = value.ndim - len(of_value)  # the axis of the value for the first of these parts
    for place in range(len(of_value) - 1, -1, -1):
        if of_value[place] is None and place + lead >= 0:
            value = value.squeeze(place + lead)
    slices = [part for part in of_value if part is not None]
    missing = len(slices) - value.ndim
    if missing:
        front = (None,) * missing + (Ellipsis,)
        value = value[front]
    for place, part in enumerate(axes):
        if _is_number(part):
            value = value.unsqueeze(place)
    return _joined(x, list(map(_as_slice, axes)), 0, value)


def _as_slice(part: Any) -> slice:
    """A slice, or a number as the slice of one element: that at -1 ends at the end of the axis."""
    if isinstance(part, slice):
        return part
    number = int(part)
    if number == -1:
        return slice(-1, None)
    return slice(number, number + 1)


def _is_number(part: Any) -> bool:
    return isinstance(part, (int, np.integer)) and not isinstance(part, bool)


def _joined(x: Tensor, slices: list[slice], axis: int, value: Tensor) -> Tensor:
    """x with a value of its rank in a region. The axes before `axis` are whole."""
    while axis < x.ndim and slices[axis] == _ALL:
        axis += 1
    if axis == x.ndim:
        return _filled(x, value)
    if slices[axis].step not in (None, 1):
        return _every(x, slices, axis, value)
    start, stop = _bounds(slices[axis], x.shape[axis])
    region = _joined(_sliced(x, axis, start, stop), slices, axis + 1, value)
    parts = [region]
    if start not in (0, None):
        parts.insert(0, _sliced(x, axis, None, start))
    if stop is not None:
        parts.append(_sliced(x, axis, stop, None))
    if len(parts) > 1:
        return cat(parts, axis)
    return parts[0]


def _sliced(x: Tensor, axis: int, start: int | None, stop: int | None) -> Tensor:
    key = (_ALL,) * axis + (slice(start, stop),)
    return x[key]


def _trailing(x: Tensor, count: int) -> Tensor:
    """x with so many new axes at its end."""
    key = (Ellipsis,) + (None,) * count
    return x[key]


def _filled(x: Tensor, value: Tensor) -> Tensor:
    """The value in the shape of x, whatever sizes that has."""
    return where(wrap(keep(np.asarray(True))), value, x)


def _bounds(part: slice, n: int) -> tuple[int | None, int | None]:
    """Start and stop of a slice, between which no element is twice or left out.

    Those from one end of the axis, in order, stay as they are, so that they are right for any size of it.
    """
    start = part.start
    stop = part.stop
    if start is None or stop is None:
        return start, stop
    if (start < 0) == (stop < 0) and start <= stop:
        return start, stop
    first, last, _ = part.indices(n)
    return first, max(first, last)


def _every(x: Tensor, slices: list[slice], axis: int, value: Tensor) -> Tensor:
    """As `_joined`, where the slice of this axis has steps."""
    n = x.shape[axis]
    taken = np.arange(n)[slices[axis]]
    place = np.zeros(n, np.int64)  # the row of the region for each index that is taken
    place[taken] = np.arange(len(taken))
    is_taken = np.zeros(n, bool)
    is_taken[taken] = True
    if not len(taken):
        return x
    inner = _joined(index_select(x, axis, wrap(keep(taken))), [*slices], axis + 1, value)
    spread = index_select(inner, axis, wrap(keep(place)))
    mask = is_taken.reshape((-1,) + (1,) * (x.ndim - axis - 1))
    return where(wrap(keep(mask)), spread, x)


# --- masks and arrays of indices
def _with_elements(x: Tensor, parts: Sequence[Any], value: Tensor) -> Tensor:
    """x with a value at arrays of indices or a mask; all other parts are whole axes."""
    arrays = [part for part in parts if isinstance(part, np.ndarray)]
    axes = [at for at, part in enumerate(parts) if isinstance(part, np.ndarray)]
    if any(array.dtype == np.bool_ for array in arrays):
        if len(arrays) > 1:
            _refuse("a mask beside arrays", "a mask alone")
        return _masked(x, arrays[0], axes[0], value)
    if len(arrays) == 1 and arrays[0].ndim == 1:
        return _along(x, arrays[0], axes[0], value)
    # lead: how many of the other axes come before the picked dimensions in x[parts]: those before the arrays,
    # or none if the arrays are not neighbours.
    lead = axes[0] if axes[-1] - axes[0] == len(axes) - 1 else 0
    others = [at for at in range(x.ndim) if at not in axes]
    order = [*axes, *others]
    sizes = [x.shape[at] for at in order]
    count = math.prod(sizes[: len(axes)])
    rest = sizes[len(axes) :]
    shape = np.broadcast_shapes(*[array.shape for array in arrays])
    rows = _flat_index(arrays, sizes[: len(axes)], shape)
    made = [x.shape[at] for at in others[:lead]] + list(shape) + [x.shape[at] for at in others[lead:]]
    source = value.expand(made).permute(
        *range(lead, lead + len(shape)), *range(lead), *range(lead + len(shape), len(made))
    )
    # x and the value with the picked dimensions first, as one
    flat = x.permute(*order).reshape(count, *rest)
    source = source.reshape(math.prod(shape), *rest)
    places = rows.reshape(-1, *[1] * len(rest)).expand(source.shape)
    written = scatter(flat, 0, places, source).reshape(sizes)
    return written.permute(*np.argsort(order).tolist())


def _along(x: Tensor, array: Any, axis: int, value: Tensor) -> Tensor:
    """x with a value at indices along an axis; the sizes of all other axes do not matter."""
    n = x.shape[axis]
    rows = _flat_index([array], [n], array.shape)
    count = array.size
    region = _filled(index_select(x, axis, rows), value)
    # for each index along the axis: whether it is written, and the row of the region that it gets, of several
    # the last
    is_taken = scatter(wrap(keep(np.zeros(n, np.int64))), 0, rows, wrap(keep(np.ones(count, np.int64))))
    place = scatter(wrap(keep(np.zeros(n, np.int64))), 0, rows, wrap(keep(np.arange(count))))
    mask = _trailing(is_taken.eq(1), x.ndim - axis - 1)
    return where(mask, index_select(region, axis, place), x)


def _flat_index(arrays: list[Any], sizes: list[Any], shape: tuple[int, ...]) -> Tensor:
    """The index into axes that are joined to one."""
    total: Any = None
    for array, n in zip(arrays, sizes, strict=True):
        index = wrap(array).to(np.int64)
        index = where(index < 0, index + n, index)
        total = index if total is None else total * n + index
    return total.expand(shape).reshape(-1)


def _masked(x: Tensor, mask: np.ndarray[Any, Any], axis: int, value: Tensor) -> Tensor:
    rest = x.ndim - axis - mask.ndim
    if axis or value.ndim > rest:
        if value.numel() != 1:
            text = f"a mask with values of shape {tuple(value.shape)}, whose count depends on the inputs"
            _refuse(text, "a number, or where(mask, values, x)")
        value = value.reshape(())
    chosen = _trailing(wrap(mask), rest)
    return where(chosen, value, x)


FORMULAS.update(Put=put, Setitem=setitem)
