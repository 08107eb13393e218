"""`to_c_order`: gives the memory of Tensors that share it C order, so that a view of another shape is
possible.

Results of some ops are in another order, as images of convolutions, where PyTorch's are contiguous, and
programs write to them through `view`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.observe import current, leave_unrecorded, observers
from ranvier.tensors.memory import Array, copied
from ranvier.tensors.views import (
    base_of,
    hides_base,
    overlaps,
    sharing,
    through,
)

if TYPE_CHECKING:
    from ranvier.tensors.tensor import Tensor


def to_c_order(tensor: Tensor) -> bool:
    """Gives C order to the memory that a tensor shares with its base and views, as one new memory of all.

    The order is that of the tensor's base, or of the tensor itself where no program has the base. Returns
    False, and changes nothing, where it is C order already, so that the program has made another of it, and
    where something else than these tensors sees the memory: arrays of NumPy, `.data`, an argument of a
    module.
    """
    view = _a_view(tensor)
    # asked before names here refer to the base
    is_hidden = view is not None and (base_of(view) is None or hides_base(view))
    family = _family(tensor)
    hidden = base_of(view) if is_hidden else None
    no_views = [other for other in family if other._view is None]
    is_own = any(other._array.flags.c_contiguous for other in no_views if other is not hidden)
    if is_own or not _may_move(family):
        return False
    no_views.sort(key=_size, reverse=True)
    return any(_in_order_of(first, family) for first in (*no_views, tensor))


def _size(tensor: Tensor) -> int:
    return tensor._array.size


def _a_view(tensor: Tensor) -> Any:
    """The tensor, if it is a view, or a view on its memory; None if there is none."""
    if tensor._view is not None:
        return tensor
    return next((other for other in sharing(tensor) if other._view is not None), None)


def _in_order_of(first: Tensor, family: list[Any]) -> bool:
    """Gives the family of a tensor new memory, in which the tensor is in C order. Returns whether it did."""
    whole = first._array
    if whole.flags.c_contiguous or not whole.size or min(whole.strides) < 0 or overlaps(whole):
        return False
    recording: Any = current() if observers else None
    kind = None if recording is None else recording.core.kind_of(whole)
    made = copied(whole, "C")
    arrays = [_moved(other, first, made) for other in family]
    if any(array is None for array in arrays):
        return False
    if kind == "persistent":  # the memory is in the new order before the next run, which does not come here
        leave_unrecorded()
    for other, array in zip(family, arrays, strict=True):
        if kind == "argument":
            recording.moves(other, array)
        other._array = array
    first._cell.changed_last = None  # an array on the old memory; the family has one cell
    return True


def _family(tensor: Tensor) -> list[Any]:
    """The tensor, and the others on its memory."""
    family = [tensor, *sharing(tensor)]
    view = next((other for other in family if other._view is not None), None)
    base = None if view is None else base_of(view)
    if base is not None and all(base is not other for other in family):
        family.append(base)
    return family


def _may_move(family: list[Any]) -> bool:
    """True if nothing else than these tensors sees their memory, and an observer knows the new one."""
    cell = family[0]._cell
    if cell.borrowed or cell.unwatched or cell.aliased:
        return False
    if any(other._requires_grad and other._grad_fn is None for other in family):  # a trained leaf
        return False
    recording = current() if observers else None
    return not observers or (recording is not None and not recording.keeps)


def _moved(other: Tensor, first: Tensor, made: Array) -> Array | None:
    """The array of a tensor on the memory of `made`, the copy of that of `first`; None if there is none."""
    if other is first:
        return made
    view = other._view
    if view is not None and view[1] and base_of(other) is first and _is_made_by(view[1], other, first):
        return through(view[1], made)
    return _at_the_same_elements(other._array, first._array, made)


def _is_made_by(chain: tuple[Any, ...], other: Tensor, first: Tensor) -> bool:
    """True if the chain gives a view of both the old and the new order."""
    array = through(chain, first._array)
    return array.strides == other._array.strides and array.ctypes.data == other._array.ctypes.data


def _at_the_same_elements(array: Array, whole: Array, made: Array) -> Array | None:
    """The view of `made` of the elements of `whole` that the array has; both hold the same numbers in two
    orders.

    A step along a dimension of the array is a number of steps along each dimension of `whole`. None where
    they would lead beyond one of these, as along two dimensions that were joined to one.
    """
    if array.dtype.itemsize != whole.dtype.itemsize or not array.size:
        return None
    dims = [d for d in range(whole.ndim) if whole.shape[d] > 1]
    dims.sort(key=whole.strides.__getitem__, reverse=True)
    old = [whole.strides[d] for d in dims]
    new = [made.strides[d] for d in dims]
    steps = [_steps(array.ctypes.data - whole.ctypes.data, old)]  # to the array's first element
    for stride, size in zip(array.strides, array.shape, strict=True):
        if size > 1:
            steps.append(_steps(stride, old))
        else:  # no step is made along this dimension, whatever its stride
            steps.append(_steps(0, old))
    first, *along = [found for found in steps if found is not None]
    if len(along) < array.ndim:
        return None
    last = first
    for found, size in zip(along, array.shape, strict=True):
        last = [at + step * (size - 1) for at, step in zip(last, found, strict=True)]
    for place in (first, last):
        if not all(0 <= at < whole.shape[d] for at, d in zip(place, dims, strict=True)):
            return None
    strides = [_bytes(found, new) for found in along]
    memory = made.reshape(-1).view(np.uint8)
    moved: Array = np.ndarray(array.shape, array.dtype, memory, _bytes(first, new), strides)
    return moved


def _steps(count: int, strides: list[int]) -> list[int] | None:
    """So many bytes as steps of these sizes, the largest first; None if they are no whole steps, or back."""
    steps = []
    for stride in strides:
        step, count = divmod(count, stride)
        steps.append(step)
    if count or min(steps, default=0) < 0:
        return None
    return steps


def _bytes(steps: list[int], strides: list[int]) -> int:
    return sum(step * stride for step, stride in zip(steps, strides, strict=True))
