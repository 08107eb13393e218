"""Trees: nested tuples, lists and dicts with values in them, as functions take them and return them.

``rv.func``, ``rv.grad`` and ``rv.autograd.functional`` accept trees of Tensors as arguments of a function and
as its results. They work on the flat list of the Tensors, and give derivatives in a tree like the original.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from ranvier.tensors.tensor import Tensor

Tensors: TypeAlias = tuple[Tensor, ...]

TensorTree: TypeAlias = "Tensor | tuple[TensorTree, ...] | list[TensorTree] | dict[Any, TensorTree]"
"""A Tensor, or a nested structure of tuples, lists and dicts with Tensors in it."""


def map_tree(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with ``function(value)`` in place of each value."""
    if isinstance(tree, dict):
        return {key: map_tree(function, value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        values = [map_tree(function, value) for value in tree]
        is_named_tuple = hasattr(tree, "_fields")
        if is_named_tuple:
            return type(tree)(*values)
        return type(tree)(values)
    return function(tree)


def list_values(tree: Any) -> list[Any]:
    """The values in a tree, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    values: list[Any] = []
    map_tree(values.append, tree)
    return values


def replace_values(tree: Any, values: Iterable[Any]) -> Any:
    """A tree of the same structure, with these values, in order, in place of its values."""
    remaining = iter(values)
    if isinstance(tree, Tensor):
        return next(remaining)
    return map_tree(lambda _: next(remaining), tree)
