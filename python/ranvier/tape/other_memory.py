"""The methods resize_ and set_, which give a Tensor other memory: of another size, or of another tensor.

They are not recorded on the tape. Backward raises an error if a Function has saved the old memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode
from ranvier.observe import refuse
from ranvier.tape.inplace import check_leaf
from ranvier.tensors.data import shape_of
from ranvier.tensors.deepcopy_pickle import memory_of
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import is_batched
from ranvier.tensors.storage import UntypedStorage
from ranvier.tensors.tensor import Tensor, set_data
from ranvier.tensors.views import count_change, sharing

if TYPE_CHECKING:
    from ranvier.tensors.memory import Array
    from ranvier.tensors.types import ShapeLike


def resize_(x: Tensor, *size: ShapeLike, memory_format: str | None = None) -> Tensor:
    """Gives x another shape in place: its elements in their order, then zeros.

    size: one sequence of sizes, or several sizes.

    Raises RuntimeError for a tensor that requires gradients, or shares its memory with another Tensor, and
    ValueError for a memory_format other than the contiguous one.
    """
    if memory_format not in (None, "contiguous_format", "preserve_format"):
        raise OpError(
            f"[resize_] got memory_format {memory_format!r}; expected none: use "
            "contiguous(memory_format=...) of the result"
        )
    shape = shape_of(size, "resize_")
    if x._requires_grad:
        raise RuntimeError("[resize_] got a tensor that requires gradients; expected one that does not")
    if shape == x.shape:
        return x
    refuse("resize_", "make the tensor before the step")
    if x._view is not None or sharing(x):
        raise RuntimeError("[resize_] got a tensor that shares its memory; expected clone() of it")
    array = np.zeros(shape, x._array.dtype)
    elements = x._array.reshape(-1)
    count = min(array.size, elements.size)
    array.reshape(-1)[:count] = elements[:count]
    set_data(x, array)
    return x


def resize_as_(x: Tensor, the_template: Tensor, memory_format: str | None = None) -> Tensor:
    """The shape of another tensor, in place: see :func:`resize_`."""
    if not isinstance(the_template, Tensor):
        raise TypeError(f"[resize_as_] got {type(the_template).__name__}; expected a Tensor")
    return resize_(x, the_template.shape, memory_format=memory_format)


def set_(
    x: Tensor,
    source: Tensor | UntypedStorage | None = None,
    storage_offset: int = 0,
    size: ShapeLike | None = None,
    stride: Sequence[int] | None = None,
) -> Tensor:
    """Gives x the memory of a Tensor or storage, in place. Views of x keep their memory.

    With a size, x gets the elements from the offset on; without a source, it has no elements.

    Raises RuntimeError for Tensors that require gradients, except leaves under no_grad(), and for another
    dtype; ValueError for elements beyond the memory.
    """
    check_leaf(x, "set_")
    if mode.enabled and (x._requires_grad or getattr(source, "_requires_grad", False)):
        raise RuntimeError("[set_] got Tensors that require gradients; expected no_grad(), or detach()")
    refuse("set_", "use copy_, or make the tensor before the step")
    source = getattr(source, "_untyped_storage", source)
    dtype = x._array.dtype
    array: Any = np.empty(0, dtype)
    if source is not None:
        array = getattr(source, "_array", None)
    if is_batched(array) or is_batched(x._array):
        raise RuntimeError("[set_] got a Tensor that differs from slice to slice of vmap; expected copy_()")
    if isinstance(source, Tensor):
        if array.dtype != dtype:
            raise RuntimeError(f"[set_] got {array.dtype} for a tensor of {dtype}; expected that")
        source._cell.unwatched = True
        source._cell.aliased = True
        if size is not None:
            array = memory_of(array).array
            storage_offset = storage_offset + source.storage_offset()
    elif isinstance(source, UntypedStorage):
        if size is None:
            size = (array.size // dtype.itemsize - storage_offset,)
    elif source is not None:
        raise TypeError(f"[set_] got {type(source).__name__}; expected a Tensor or a storage")
    if size is not None:
        array = _elements_of(array, dtype, size, stride, storage_offset)
    count_change(x)  # so that backward raises if a Function has saved the old memory
    cell = _core._Cell()
    cell.changes = x._cell.changes
    cell.unwatched = True
    cell.aliased = isinstance(source, Tensor)
    x._array = array
    x._view = None
    x._cell = cell
    return x


def _elements_of(
    memory: Array, dtype: np.dtype[Any], size: ShapeLike, stride: Sequence[int] | None, offset: int
) -> Array:
    """An array of this size on the memory of another; stride and offset count elements.

    Raises OpError if the memory does not have these elements.
    """
    steps = None  # in bytes; None: the elements follow each other
    if stride is not None:
        steps = [n * dtype.itemsize for n in stride]
    try:
        if memory.size == 0 and 0 not in np.atleast_1d(size):
            raise ValueError("NumPy takes memory of no bytes for one of any length")
        return np.ndarray(size, dtype, memory, offset * dtype.itemsize, steps)
    except (ValueError, TypeError) as error:
        raise OpError(
            f"[set_] got size {size}, stride {stride} and offset {offset}; expected elements of the memory "
            "of the source"
        ) from error
