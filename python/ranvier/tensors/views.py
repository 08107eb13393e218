"""Views: which Tensors share one memory, and their history when one of them is changed in place.

All Tensors of one memory hold the same ``_cell``, an object of the core (`Cell` in
cpp/bindings/tensors/cell.h) with these attributes:
- changes: how often the memory was changed in place. Nodes of the tape compare it before they use what they
  have saved.
- changed_last: the array through which it was changed last, or None.
- links: a list of weak references to Tensors that share the memory, or None if there never was another one.
- borrowed: whether the memory is the array of a caller, an argument of a module, which must not change.
- unwatched: whether NumPy or ``.data`` can change the memory; such changes are not counted.
- aliased: whether Tensors with other cells have the same memory, made by ``.data``.
- inference: whether it was made under ``inference_mode()``.
- call: the number of the innermost call of vmap within which it was made (tensors/batched.py); 0: none.

A Tensor made by a view Function has (base, chain, why) in ``_view``. The base is the Tensor that is no view
itself, and the chain is a tuple of the Functions that lead from the base to the view. ``why`` is "", or the
reason why the view cannot be changed in place on the tape; in that case the base is a weak reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import mode
from ranvier.observe import current, observers
from ranvier.tensors.memory import Array, copied

if TYPE_CHECKING:
    from ranvier.tensors.protocols import TensorSlots

UNDER_NO_GRAD = (
    "a view made under no_grad(), of memory that is changed in place while gradients are recorded; "
    "expected both under no_grad(), or neither: clone() it"
)
ONE_OF_SEVERAL = (
    "one of several views that one call made (unbind, split, chunk, iteration), of memory that is changed in "
    "place while gradients are recorded; expected a view of its own (select, narrow, an index), or clone()"
)

# The core makes most views, and sets these texts as `why` in their `_view`.
_core._set_reasons(UNDER_NO_GRAD, ONE_OF_SEVERAL)

share = _core._share  # (tensor, other): notes that a new Tensor has the memory of another, but not its tape
sharing = _core._sharing  # the other Tensors that share the memory of this one
hides_base = _core._hides_base  # True if only views keep the base of a view
# Makes a view an ordinary Tensor, if no other Tensor has its memory except a base that only views keep.
# Returns whether it did.
stands_alone = _core._stands_alone


def bump(tensor: TensorSlots) -> None:
    """Records a change in place: call it after writing to the memory of ``tensor._array``."""
    count_change(tensor)
    if tensor._cell.links:
        renew(tensor)


def count_change(tensor: TensorSlots) -> None:
    """Counts a change in place, without a new history for views: for a caller that gives them one itself."""
    cell = tensor._cell
    cell.changes += 1
    if observers:
        recording = current()
        if recording is not None:
            recording.changes(tensor)
    array = tensor._array
    if cell.changed_last is None:
        cell.changed_last = array
    elif cell.changed_last is not array:  # several views were changed: remember the memory they share
        while isinstance(array.base, np.ndarray):
            array = array.base
        cell.changed_last = array


def renew(tensor: TensorSlots, without: TensorSlots | None = None) -> None:
    """Gives the views of a changed memory, except the views of the base `without`, new nodes without hooks.

    The gradients stay the same. As in PyTorch, the hooks of a view get only the gradients of uses before the
    change.
    """
    for view in (tensor, *sharing(tensor)):
        if view._view is None:
            continue
        base, chain, why = view._view
        if why or base is without:
            continue
        if not base._requires_grad and view._grad_fn is None:
            continue
        edge = base._grad_fn
        if edge is None and base._requires_grad:  # a leaf is its own node
            edge = base
        change_history(view, chained(chain, edge))


def begin_gradients(leaf: TensorSlots) -> None:
    """Called when a leaf begins to require gradients: gives a history to its views that are older than the
    last change of the leaf.

    As in PyTorch, the other views get one at the next change.
    """
    for view in views_of(leaf):
        _, chain, why = view._view
        if not why and chain[-1].changes != (leaf._cell.changes,):
            change_history(view, chained(chain, leaf))


def change_history(tensor: TensorSlots, maker: Any) -> None:
    """Gives a tensor another maker. The tensor's hook of ``retain_grad`` moves to the new maker, other hooks
    stay at the old one."""
    old = tensor._grad_fn
    if old is not None and old.hooks:
        for key, hook in list(old.hooks.items()):
            retained = getattr(hook, "tensor", None)  # a weak reference; only that of retain_grad has one
            if retained is not None and retained() is tensor:
                maker.hooks = {**(maker.hooks or {}), key: old.hooks.pop(key)}
    tensor._grad_fn = maker
    tensor._requires_grad = True


def views_of(base: TensorSlots) -> list[TensorSlots]:
    """The views of a base that are alive."""
    if not base._cell.links:
        return []
    return [view for view in sharing(base) if view._view is not None and base_of(view) is base]


def base_of(view: TensorSlots) -> TensorSlots | None:
    """The base of a view; None if it is gone."""
    base, _, why = view._view
    found: TensorSlots | None = base() if why else base
    return found


def view_of_several(tensor: TensorSlots, view: TensorSlots, why: str) -> None:
    """Notes that a new Tensor of the same memory, one of several that a Function made, is a view that cannot
    be changed in place on the tape. nn/hooks.py calls it; the core does the same for unbind, split ..."""
    share(tensor, view)
    if tensor._view is None:
        base = ref(tensor)
    else:
        base, _, refused = tensor._view
        if not refused:
            base = ref(base)
    view._view = (base, (), why)


def is_shared(tensor: TensorSlots) -> bool:
    """True if other Tensors that are alive may have the memory."""
    cell = tensor._cell
    view = tensor._view
    if cell.aliased or (view is not None and base_of(tensor) is not None):
        return True
    return bool(cell.links) and bool(sharing(tensor))


def through(chain: tuple[Any, ...], array: Array) -> Array:
    """The view of an array that the chain of Functions gives. Copies of the Functions are run."""
    for function in chain:
        array = again(function, None).forward(array)
    return array


def as_node(function: Any, *edges: Any) -> Any:
    """A Function as a node of the tape, without a call of forward."""
    function.released = False
    function.hooks = None
    function.edges = edges
    function.needs = tuple([edge is not None for edge in edges])
    function.versions = ()
    function.changes = ()
    return function


def again(function: Any, edge: Any) -> Any:
    """A copy of a view Function, as a node of the tape that passes its gradient to `edge`."""
    node = object.__new__(type(function))
    node.__dict__.update(function.__dict__)
    return as_node(node, edge)


def chained(chain: tuple[Any, ...], edge: Any) -> Any:
    """Copies the Functions of a chain as new nodes of the tape, the first of which passes its gradient to
    `edge` (of the base); returns the last node, the maker of the view."""
    for function in chain:
        edge = again(function, edge)
    return edge


def before_writing(tensor: TensorSlots, name: str, places: Array | None) -> None:
    """Refuses to write different values to one place; copies a borrowed array first.

    places: the array to be written, or None if every element gets the same number.
    """
    if tensor._view is not None and mode.enabled:
        base = base_of(tensor)
        _, _, why = tensor._view
        if base is not None and base._requires_grad:
            if why:
                raise RuntimeError(f"[{name}] got {why}")
            if base._grad_fn is None and base._cell is tensor._cell:
                refuse_leaf(name, "a view of a leaf Variable")
    if places is not None and overlaps(places):
        refuse_overlap(name, places.shape)
    if tensor._cell.borrowed:
        own_memory(tensor)


def overlaps(array: Array) -> bool:
    """True if several elements are at one place in memory, as in an expanded array and in windows that
    overlap."""
    if array.flags.c_contiguous or array.size == 0:
        return False
    reach = 0  # the distance from the first to the last element along the dimensions so far
    are_apart = True  # each step along a dimension leads beyond the dimensions with smaller steps
    for stride, size in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if size > 1 and stride == 0:
            return True
        if size > 1 and stride <= reach:
            are_apart = False
        reach += stride * (size - 1)
    return not are_apart and _counted(array) < array.size


def _counted(array: Array) -> int:
    """The number of different places in memory of the elements of an array."""
    return len(np.unique(place_numbers(array)))


def place_numbers(array: Array) -> Array:
    """The place in memory of each element of an array: its distance from the first one, in bytes."""
    places = np.zeros(array.shape, np.int64)
    for axis, (stride, size) in enumerate(zip(array.strides, array.shape, strict=True)):
        steps = np.arange(size) * stride
        places += steps.reshape(-1, *[1] * (array.ndim - axis - 1))
    return places


def refuse_overlap(name: str, shape: tuple[int, ...]) -> None:
    raise RuntimeError(
        f"[{name}] got a tensor of shape {shape} with several elements at one place in memory "
        "(expanded); expected one place for each: clone() it"
    )


def refuse_leaf(name: str, what: str) -> None:
    raise RuntimeError(f"[{name}] {what} that requires grad is being used in an in-place operation.")


def own_memory(tensor: TensorSlots) -> None:
    """Copies borrowed memory, so that all Tensors which share it are on the copy."""
    cell = tensor._cell
    cell.borrowed = False
    tensors = [tensor, *sharing(tensor)]
    base = None if tensor._view is None else base_of(tensor)
    if base is not None and all(base is not other for other in tensors):
        tensors.append(base)
    if len(tensors) == 1:
        tensor._array = copied(tensor._array)
        return
    ranges = [bounds(other._array) for other in tensors]
    low = min(start for start, _ in ranges)
    high = max(end for _, end in ranges)
    # One new memory from the lowest to the highest address: each tensor keeps its offset and strides in it.
    memory = np.empty(high - low, np.uint8)
    for other, (start, end) in zip(tensors, ranges, strict=True):
        array = other._array
        offset = array.ctypes.data - low if end > start else 0
        moved: Array = np.ndarray(array.shape, array.dtype, memory, offset, array.strides)
        moved[...] = array
        other._array = moved


def bounds(array: Array) -> tuple[int, int]:
    """The addresses where the memory of an array begins and ends."""
    start = array.ctypes.data
    end = start
    for size, stride in zip(array.shape, array.strides, strict=True):
        start += min(stride * (size - 1), 0)
        end += max(stride * (size - 1), 0)
    if array.size:
        end += array.itemsize  # of the last element
    return start, end
