"""Handles Tensors that got other memory (``x.data = ...``) after a node of the tape had saved their array.

As in PyTorch, backward then reads the new values of a tensor that a node has saved as its input, and the old
values of a saved output or view. Each memory has a ``_cell`` (`tensors/views.py`), to which all its
Tensors and the ``versions`` of nodes refer. So the cell of the old memory tells which nodes have saved it.
An entry of `replaced` leads from this cell to the new memory; `renew` puts the new array in a node before its
backward runs.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

import ranvier._core as _core
from ranvier.tensors.memory import Array
from ranvier.tensors.views import bounds

if TYPE_CHECKING:
    from ranvier.tensors.protocols import TensorSlots


class Replaced:
    """One change of a tensor's memory.

    cell: the cell of the old memory.
    start, end, shape, strides: those of the old array.
    new, new_cell: the array and the cell that the tensor has now.
    tensor, maker: weak references.
    """

    def __init__(self, tensor: TensorSlots, new: Array, new_cell: _core._Cell) -> None:
        maker = tensor._grad_fn
        array = tensor._array
        self.cell = tensor._cell
        self.tensor: Any = ref(tensor)
        self.maker: Any = None if maker is None else ref(maker)  # the node that made it; None for a leaf
        self.start, self.end = bounds(array)  # addresses
        self.shape = array.shape
        self.strides = array.strides
        self.new = new
        self.new_cell = new_cell


replaced: dict[int, Replaced] = {}  # the entries by the id of their cell
# The result of getrefcount for a cell to which only an entry refers: the entry, and getrefcount's argument.
_ALONE = 2


def note(tensor: TensorSlots, new: Array, new_cell: _core._Cell) -> None:
    """Must be called before a tensor gets other memory. new, new_cell: its new array and cell."""
    cell = tensor._cell
    for entry in list(replaced.values()):
        # An entry that led to the present memory now leads to the new memory. Otherwise each of many changes
        # would add an entry.
        if entry.new_cell is cell:
            entry.new = new
            entry.new_cell = new_cell
    # + 1: the variable `cell` refers to it, too. If there are more, a node or another tensor has the cell.
    if sys.getrefcount(cell) > _ALONE + 1:
        prune()
        replaced[id(cell)] = Replaced(tensor, new, new_cell)


def prune() -> None:
    """Drops the entries to whose cell nothing else refers: no node has saved the old memory any more."""
    for key in [key for key, entry in replaced.items() if sys.getrefcount(entry.cell) <= _ALONE]:
        del replaced[key]


def renew(node: Any) -> None:
    """Replaces the old arrays of inputs that a node has saved by the new ones.

    Raises RuntimeError if that is not possible, because the node has saved computed values, or the new array
    has another layout.
    """
    for place, edge in enumerate(node.edges, 1):  # versions[0] is that of the result
        if place >= len(node.versions):
            continue
        entry = replaced.get(id(node.versions[place]))
        if entry is None or node.through_view(place):
            continue
        changed = (entry.maker or entry.tensor)()  # the edge of an input that is the changed tensor
        if edge is not None and edge is not changed:
            continue  # The input is a view, or another tensor of the old memory.
        if node.derived:
            raise _stale(node._op_name(), entry)
        new, new_cell = _present_memory(entry)
        is_certain = _is_only_input_there(node, edge, entry)
        replacement = new if is_certain else None
        state = vars(node)
        for name, value in list(state.items()):
            state[name] = _renewed(value, entry, replacement, node._op_name())
        if is_certain:
            node.versions = (*node.versions[:place], new_cell, *node.versions[place + 1 :])


def _present_memory(entry: Replaced) -> tuple[Array, _core._Cell]:
    """The array and the cell that a tensor has now: its memory may have been replaced several times."""
    array = entry.new
    cell = entry.new_cell
    later = replaced.get(id(cell))
    while later is not None:
        array = later.new
        cell = later.new_cell
        later = replaced.get(id(cell))
    return array, cell


def _is_only_input_there(node: Any, edge: Any, entry: Replaced) -> bool:
    """True if all saved arrays on the old memory are the input of this edge. Otherwise another input or a
    view is on it, and an array there cannot be told apart."""
    if edge is None:
        return not entry.cell.links
    others = zip(node.edges, node.versions[1:], strict=False)
    return all(cell is not entry.cell or other is edge for other, cell in others)


def _renewed(value: Any, entry: Replaced, new: Array | None, name: str) -> Any:
    """A saved value, with the part of `new` at the same place if it is an array on the old memory. Raises
    RuntimeError if `new` is None, or has another layout than the old array."""
    if type(value) in (tuple, list):
        return type(value)([_renewed(part, entry, new, name) for part in value])
    if not isinstance(value, np.ndarray) or not value.size:
        return value
    start, end = bounds(value)
    if end <= entry.start or entry.end <= start:
        return value
    if new is None or new.strides != entry.strides or new.shape != entry.shape or new.dtype != value.dtype:
        raise _stale(name, entry)
    if (value.shape, value.strides) == (new.shape, new.strides):
        return new
    # value was a part of the old array: the same part of the new one, which has the same strides.
    places = new.ravel("K")[(value.ctypes.data - entry.start) // value.itemsize :]
    return np.lib.stride_tricks.as_strided(places, value.shape, value.strides)


def _stale(name: str, entry: Replaced) -> RuntimeError:
    return RuntimeError(
        f"[{name}] a variable needed for gradient computation has got other memory (`.data = ...`): an array "
        f"of shape {entry.shape}; expected backward() before that, or a change of its own memory"
    )
