"""torch.utils._pytree: the values in nested tuples, lists and dicts."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from typing import Any, NamedTuple

PyTree = Any
# a class of nodes: what gives its children and the rest, what makes it of those
_NODES: dict[Any, tuple[Callable[[Any], tuple[Any, Any]], Callable[[Any, Any], Any]]] = {
    tuple: (lambda x: (list(x), None), lambda parts, _: tuple(parts)),
    list: (lambda x: (x, None), lambda parts, _: list(parts)),
    deque: (lambda x: (list(x), x.maxlen), deque),
    dict: (lambda x: (list(x.values()), list(x)), lambda parts, keys: dict(zip(keys, parts, strict=True))),
    OrderedDict: (
        lambda x: (list(x.values()), list(x)),
        lambda parts, keys: OrderedDict(zip(keys, parts, strict=True)),
    ),
    defaultdict: (
        lambda x: (list(x.values()), (x.default_factory, list(x))),
        lambda parts, rest: defaultdict(rest[0], zip(rest[1], parts, strict=True)),
    ),
}


class MappingKey(NamedTuple):
    """The place of a value in a dict, in the path to it."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


def flatten_dict(x: Any) -> tuple[list[tuple[MappingKey, Any]], list[Any]]:
    """The places and values of a dict, and its keys."""
    return [(MappingKey(key), value) for key, value in x.items()], list(x)


class TreeSpec:
    """The form of a tree without its values."""

    def __init__(self, type: Any = None, context: Any = None, children_specs: Any = ()) -> None:
        self.type, self.context, self.children_specs = type, context, list(children_specs)
        self.num_leaves: int = 1 if type is None else sum(c.num_leaves for c in self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def unflatten(self, leaves: Any) -> Any:
        return tree_unflatten(leaves, self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeSpec) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.type, self.num_leaves))

    def __repr__(self) -> str:
        return (
            "*"
            if self.is_leaf()
            else f"TreeSpec({self.type.__name__}, {self.context}, {self.children_specs})"
        )


LeafSpec = TreeSpec


class NodeDef(NamedTuple):
    """What makes the objects of a class nodes."""

    flatten_fn: Callable[[Any], tuple[Any, Any]]
    unflatten_fn: Callable[[Any, Any], Any]


for _kind, _functions in _NODES.items():
    _NODES[_kind] = NodeDef(*_functions)
SUPPORTED_NODES = _NODES


def register_pytree_node(cls: type, flatten_fn: Any, unflatten_fn: Any, **settings: Any) -> None:
    """Makes the objects of a class nodes: flatten_fn gives the children and the rest."""
    _NODES[cls] = NodeDef(flatten_fn, unflatten_fn)


_register_pytree_node = register_pytree_node


def flatten_named(x: Any) -> tuple[list[Any], type]:
    """A named tuple as its parts and its class."""
    return list(x), type(x)


def unflatten_named(parts: Any, kind: type) -> Any:
    """The named tuple of this class again."""
    return kind(*parts)


_NODES[namedtuple] = NodeDef(flatten_named, unflatten_named)


def _is_named(x: Any) -> bool:
    return isinstance(x, tuple) and hasattr(x, "_fields") and hasattr(x, "_make")


def _get_node_type(tree: Any) -> Any:
    return namedtuple if _is_named(tree) else type(tree)


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list[Any], TreeSpec]:
    """The values in order, and the form.

    >>> leaves, spec = tree_flatten({"a": [1, (2,)], "b": 3})
    >>> leaves, tree_unflatten([4, 5, 6], spec)
    ([1, 2, 3], {'a': [4, (5,)], 'b': 6})
    """
    kind = type(tree)
    if (is_leaf is not None and is_leaf(tree)) or not (kind in _NODES or _is_named(tree)):
        return [tree], TreeSpec()
    children, context = (list(tree), None) if kind not in _NODES else _NODES[kind][0](tree)
    leaves: list[Any] = []
    specs = []
    for child in children:
        values, spec = tree_flatten(child, is_leaf)
        leaves += values
        specs.append(spec)
    return leaves, TreeSpec(kind, context, specs)


def tree_unflatten(leaves: Any, treespec: TreeSpec) -> Any:
    """The tree of this form with these values."""
    values = list(leaves)
    if len(values) != treespec.num_leaves:
        raise ValueError(f"[tree_unflatten] got {len(values)} values; expected {treespec.num_leaves}")
    if treespec.is_leaf():
        return values[0]
    children, at = [], 0
    for spec in treespec.children_specs:
        children.append(tree_unflatten(values[at : at + spec.num_leaves], spec))
        at += spec.num_leaves
    kind = treespec.type
    return kind._make(children) if kind not in _NODES else _NODES[kind][1](children, treespec.context)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list[Any]:
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Any, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """func of each value, and of those at its place in the other trees, as a tree of the same form."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [tree_leaves(rest, is_leaf) for rest in rests]
    return tree_unflatten([func(*values) for values in zip(leaves, *others, strict=True)], spec)


def tree_map_only(kind: Any, func: Any, tree: Any = None, is_leaf: Any = None) -> Any:
    """func of the values of a class, or of those for which `kind` is true; the others as they are."""
    if not isinstance(kind, (type, tuple)):
        return tree_map(lambda x: func(x) if kind(x) else x, tree, is_leaf=is_leaf)
    return tree_map(lambda x: func(x) if isinstance(x, kind) else x, tree, is_leaf=is_leaf)


def tree_all(pred: Any, tree: Any, is_leaf: Any = None) -> bool:
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Any, tree: Any, is_leaf: Any = None) -> bool:
    return any(map(pred, tree_leaves(tree, is_leaf)))
