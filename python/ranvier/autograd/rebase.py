"""The history of Tensors that share memory, after one of them was changed in place on the tape.

A tensor that shares its memory with no other takes the memory of the result, so that what earlier Functions
saved stays right. Otherwise the memory is written, and backward raises if it was saved. Then, as in PyTorch,
the base of a changed view gets a new history, in which the view's elements come from the result, and the
history of each view of the base starts at the new one.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.copies import Refused, Replace
from ranvier.autograd.memory import copied, write
from ranvier.autograd.views import (
    FIRST,
    FLAG,
    UNWATCHED,
    before_writing,
    chained,
    change_history,
    count_change,
    refuse_leaf,
    renew,
    sharing,
    stands_alone,
    views_of,
)

Array = np.ndarray[Any, Any]
_SAME_NUMBER = frozenset({"fill_", "zero_"})  # they give all elements one value


def take_over(tensor: Any, result: Any, name: str) -> None:
    """Gives the tensor the value and the history of a result of the same shape and dtype."""
    view, cell = tensor._view, tensor._cell
    if view is not None and stands_alone(tensor):
        view = None
    if view is None and not cell[FLAG] & UNWATCHED and (len(cell) == FIRST or not sharing(tensor)):
        _exchange(tensor, result)
        return
    if view is not None:
        if view[2]:
            raise RuntimeError(f"[{name}] got {view[2]}")
        if view[0]._cell is not cell:
            raise RuntimeError(
                f"[{name}] got a view of a tensor that has other memory since (`.data = ...`); expected a "
                "view of its present memory: make the view again, or clone() it"
            )
        if view[0]._grad_fn is None and view[0]._requires_grad:
            refuse_leaf(name, "a view of a leaf Variable")
    before_writing(tensor, name, None if name in _SAME_NUMBER else tensor._array)
    _keep_saved(result._grad_fn, tensor)
    if view is not None:
        _skip_hooks(tensor, result._grad_fn, view)
    write(tensor._array, result._array)
    count_change(tensor)
    if view is None:
        base = tensor
        change_history(base, result._grad_fn)
    else:
        base, chain, _ = view
        replaced = _node(Replace(chain, base._array), (base._grad_fn, result._grad_fn))
        change_history(base, replaced)
    for other in views_of(base):
        _, chain, why = other._view
        maker = _node(Refused(why), (base._grad_fn,)) if why else chained(chain, base._grad_fn)
        change_history(other, maker)
    renew(tensor, without=base)


def _exchange(tensor: Any, result: Any) -> None:
    """Gives the tensor the memory of the result."""
    if result._view is not None:
        result = result.clone()
    maker, cell = result._grad_fn, result._cell
    if maker.versions and maker.versions[0] is cell:  # the count continues
        cell[0] = changes = tensor._cell[0] + 1
        maker.changes = (changes, *maker.changes[1:])
    tensor._array, tensor._cell = result._array, cell
    if tensor._grad_fn is not None and tensor._grad_fn.hooks:
        change_history(tensor, maker)
    else:
        tensor._grad_fn, tensor._requires_grad = maker, True


def _keep_saved(node: Any, tensor: Any, depth: int = 3) -> None:
    """Copies what the operation itself has saved of the memory that will now be written."""
    if depth == 0 or not hasattr(node, "versions") or node is tensor._grad_fn:
        return
    if not any(cell is tensor._cell for cell in node.versions):
        for edge in node.edges:
            _keep_saved(edge, tensor, depth - 1)
        return
    if node.changes != tuple([cell[0] for cell in node.versions]):
        return  # an older Function: its memory has changed before
    saved, array = vars(node), tensor._array
    for name, value in saved.items():
        if isinstance(value, np.ndarray):
            saved[name] = _kept(value, array)
        elif type(value) in (tuple, list):
            saved[name] = type(value)(_kept(v, array) if isinstance(v, np.ndarray) else v for v in value)
    node.changes = tuple([cell[0] + (cell is tensor._cell) for cell in node.versions])  # with this change


def _kept(value: Array, array: Array) -> Array:
    return copied(value) if np.may_share_memory(value, array) else value


def _skip_hooks(tensor: Any, maker: Any, view: tuple[Any, ...]) -> None:
    """Lets the gradients of a change bypass the hooks of a view and of the views that it is made from.

    These hooks get the gradients of earlier uses only.
    """
    base, chain, _ = view
    node = old = tensor._grad_fn
    if old is None or maker.edges[0] is not old:
        return
    for _ in chain:
        if node.hooks:
            maker.edges = (chained(chain, base._grad_fn), *maker.edges[1:])
            return
        node = node.edges[0]
        if node is None or not node.edges:
            return


def _node(function: Any, edges: tuple[Any, ...]) -> Any:
    """A Function as a node of the tape, without a call of forward."""
    function.recorded, function.released, function.hooks = True, False, None
    function.edges, function.needs = edges, tuple(edge is not None for edge in edges)
    function.versions, function.changes = (), ()
    return function
