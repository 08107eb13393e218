"""torch.utils._pytree: nested tuples, lists and dicts (nodes of a tree) as values (leaves) and a form."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from typing import Any, NamedTuple, TypeAlias

from ranvier.settings import defined

PyTree = Any
IsLeaf: TypeAlias = Callable[[Any], bool] | None
"""Whether a value is a leaf although its class has children; None: by the class alone."""


Kinds: TypeAlias = type | tuple[type, ...]
"""A class or several, as isinstance takes them."""


class NodeDef(NamedTuple):
    """The functions by which the nodes of a class are taken apart and made again.

    The context is what is needed beside the children, such as the keys of a dict.
    """

    flatten_fn: Callable[[Any], tuple[Any, Any]]  # a node -> (children, context)
    unflatten_fn: Callable[[Any, Any], Any]  # (children, context) -> a node
    flatten_with_keys_fn: Callable[[Any], tuple[Any, Any]] | None = None


def _of_tuple(node: tuple[Any, ...]) -> tuple[list[Any], None]:
    return list(node), None


def _to_tuple(parts: Iterable[Any], _: None) -> tuple[Any, ...]:
    return tuple(parts)


def _of_list(node: list[Any]) -> tuple[list[Any], None]:
    return node, None


def _to_list(parts: Iterable[Any], _: None) -> list[Any]:
    return list(parts)


def _of_deque(node: deque[Any]) -> tuple[list[Any], int | None]:
    return list(node), node.maxlen


def _of_dict(node: dict[Any, Any]) -> tuple[list[Any], list[Any]]:
    return list(node.values()), list(node)


def _to_dict(parts: Iterable[Any], keys: list[Any]) -> dict[Any, Any]:
    return dict(zip(keys, parts, strict=True))


def _to_ordered(parts: Iterable[Any], keys: list[Any]) -> OrderedDict[Any, Any]:
    return OrderedDict(zip(keys, parts, strict=True))


def _of_defaultdict(node: defaultdict[Any, Any]) -> tuple[list[Any], tuple[Any, list[Any]]]:
    return list(node.values()), (node.default_factory, list(node))


def _to_defaultdict(parts: Iterable[Any], context: tuple[Any, list[Any]]) -> defaultdict[Any, Any]:
    default, keys = context
    return defaultdict(default, zip(keys, parts, strict=True))


_NODES: dict[Any, NodeDef] = {
    tuple: NodeDef(_of_tuple, _to_tuple),
    list: NodeDef(_of_list, _to_list),
    deque: NodeDef(_of_deque, deque),
    dict: NodeDef(_of_dict, _to_dict),
    OrderedDict: NodeDef(_of_dict, _to_ordered),
    defaultdict: NodeDef(_of_defaultdict, _to_defaultdict),
}


class _Item:
    """A step of the path to a value: its place in a container."""

    def __str__(self) -> str:
        return f"[{self._at!r}]"

    def get(self, container: Any) -> Any:
        return container[self._at]

    @property
    def _at(self) -> Any:
        return next(iter(vars(self).values()))


@dataclass(frozen=True)
class MappingKey(_Item):
    key: Any


@dataclass(frozen=True)
class SequenceKey(_Item):
    idx: int


@dataclass(frozen=True)
class GetAttrKey:
    """The name of a value in an object."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"

    def get(self, obj: Any) -> Any:
        return getattr(obj, self.name)


class TreeSpec:
    """The form of a tree without its leaves. type, context: the class of the root, and what is needed beside
    the parts to make it again; None for a leaf."""

    def __init__(self, type: Any = None, context: Any = None, children_specs: Any = ()) -> None:
        self.type = type
        self.context = context
        self.children_specs = list(children_specs)
        self.num_leaves: int = sum(child.num_leaves for child in self.children_specs)
        if type is None:
            self.num_leaves = 1
        self.num_nodes: int = 1 + sum(child.num_nodes for child in self.children_specs)
        self.num_children = len(self.children_specs)

    def is_leaf(self) -> bool:
        return self.type is None

    def unflatten(self, leaves: Any) -> Any:
        return tree_unflatten(leaves, self)

    def children(self) -> list[TreeSpec]:
        return list(self.children_specs)

    def child(self, index: int) -> TreeSpec:
        return self.children()[index]

    def flatten_up_to(self, tree: Any) -> list[Any]:
        """The parts of another tree at the places of this form's leaves; they may be trees themselves.

        >>> tree_structure((0, [0])).flatten_up_to(((1, 2), [3]))
        [(1, 2), 3]
        """
        if self.is_leaf():
            return [tree]
        parts = tree_flatten(tree, lambda x: x is not tree)[0]
        if _get_node_type(tree) is not self.type or len(parts) != self.num_children:
            raise ValueError(f"[flatten_up_to] got a {type(tree).__name__}; expected the form {self}")
        if isinstance(tree, dict):
            if isinstance(self.context, tuple):  # of a defaultdict: (factory, keys)
                keys = self.context[1]
            else:
                keys = self.context
            if tree.keys() != set(keys):
                raise ValueError(f"[flatten_up_to] got the keys {list(tree)}; expected {keys}")
            parts = [tree[key] for key in keys]
        flat: list[Any] = []
        for part, spec in zip(parts, self.children_specs, strict=True):
            flat += spec.flatten_up_to(part)
        return flat

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TreeSpec) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash((self.type, self.num_leaves))

    def __repr__(self) -> str:
        if self.is_leaf():
            return "*"
        return f"TreeSpec({self.type.__name__}, {self.context}, {self.children_specs})"


LeafSpec = treespec_leaf = TreeSpec
PyTreeSpec = TreeSpec
Context = Any
KeyEntry = Any
KeyPath = tuple[Any, ...]
FlattenFunc = FlattenFn = ToDumpableContextFn = FromDumpableContextFn = Callable[[Any], Any]
UnflattenFunc = UnflattenFn = Callable[[Any, Any], Any]


def treespec_tuple(iterable: Iterable[TreeSpec] = ()) -> TreeSpec:
    return TreeSpec(tuple, None, iterable)


def treespec_dict(mapping: Any = (), **specs: TreeSpec) -> TreeSpec:
    whole = dict(mapping, **specs)
    return TreeSpec(dict, list(whole), whole.values())


SUPPORTED_NODES = _NODES


def register_pytree_node(cls: type, flatten_fn: Any, unflatten_fn: Any, **settings: Any) -> None:
    """Makes the objects of a class nodes; flatten_fn returns the children and the context."""
    _NODES[cls] = NodeDef(flatten_fn, unflatten_fn, settings.get("flatten_with_keys_fn"))
    defined()  # compiled steps, which may have looked up the class, are recorded anew


_register_pytree_node = _private_register_pytree_node = register_pytree_node


def _deregister_pytree_node(cls: type) -> None:
    _NODES.pop(cls)
    defined()


def register_dataclass(
    cls: type, *, field_names: Any = None, drop_field_names: Any = (), serialized_type_name: Any = None
) -> None:
    """Makes the objects of a dataclass nodes, of the fields that their constructor takes."""
    names = field_names
    if not names:
        names = [f.name for f in fields(cls) if f.init and f.name not in drop_field_names]

    def flatten(obj: Any) -> tuple[list[Any], Any]:
        there = [name for name in names if getattr(obj, name) is not None]
        none = [name for name in names if name not in there]
        return [getattr(obj, name) for name in there], [there, none]

    def unflatten(parts: Any, context: Any) -> Any:
        return cls(**dict(zip(context[0], parts, strict=True)), **dict.fromkeys(context[1]))

    def with_keys(obj: Any) -> tuple[list[Any], Any]:
        parts, context = flatten(obj)
        return list(zip(map(GetAttrKey, context[0]), parts, strict=True)), context

    register_pytree_node(cls, flatten, unflatten, flatten_with_keys_fn=with_keys)


def register_constant(cls: type) -> None:
    """Makes the objects of a class part of the form: they have no values."""

    def flatten(constant: Any) -> tuple[list[Any], Any]:
        return [], constant

    def unflatten(parts: Iterable[Any], constant: Any) -> Any:
        return constant

    register_pytree_node(cls, flatten, unflatten, flatten_with_keys_fn=flatten)


def flatten_named(x: tuple[Any, ...]) -> tuple[list[Any], type]:
    """A named tuple as its parts and its class."""
    return list(x), type(x)


def unflatten_named(parts: Iterable[Any], kind: type) -> Any:
    return kind(*parts)


_NODES[namedtuple] = NodeDef(flatten_named, unflatten_named)


def is_namedtuple_class(cls: type) -> bool:
    parts = isinstance(cls, type) and issubclass(cls, tuple) and getattr(cls, "_fields", None)
    return isinstance(parts, tuple) and callable(getattr(cls, "_make", None))


def is_namedtuple_instance(obj: Any) -> bool:
    return is_namedtuple_class(type(obj))


def is_namedtuple(obj: Any) -> bool:
    """True if an object is a named tuple, or a class of them."""
    if isinstance(obj, type):
        return is_namedtuple_class(obj)
    return is_namedtuple_class(type(obj))


def is_structseq_class(cls: type) -> bool:
    """True if a class is one of C's named tuples, as `time.struct_time`."""
    return isinstance(cls, type) and cls.__bases__ == (tuple,) and hasattr(cls, "n_unnamed_fields")


def is_structseq(obj: Any) -> bool:
    if isinstance(obj, type):
        return is_structseq_class(obj)
    return is_structseq_class(type(obj))


_is_named = _is_namedtuple_instance = is_namedtuple_instance


def _get_node_type(tree: Any) -> Any:
    if _is_named(tree):
        return namedtuple
    return type(tree)


def tree_is_leaf(tree: Any, is_leaf: IsLeaf = None) -> bool:
    if is_leaf is not None and is_leaf(tree):
        return True
    return _get_node_type(tree) not in _NODES


_is_leaf = tree_is_leaf


def tree_flatten(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[Any], TreeSpec]:
    """The values in order, and the form.

    >>> leaves, spec = tree_flatten({"a": [1, (2,)], "b": 3})
    >>> leaves, tree_unflatten([4, 5, 6], spec)
    ([1, 2, 3], {'a': [4, (5,)], 'b': 6})
    """
    if tree_is_leaf(tree, is_leaf):
        return [tree], TreeSpec()
    kind = _get_node_type(tree)
    children, context = _NODES[kind].flatten_fn(tree)
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
    children = []
    at = 0
    for spec in treespec.children_specs:
        children.append(tree_unflatten(values[at : at + spec.num_leaves], spec))
        at += spec.num_leaves
    return _NODES[treespec.type].unflatten_fn(children, treespec.context)


def tree_leaves(tree: Any, is_leaf: IsLeaf = None) -> list[Any]:
    return tree_flatten(tree, is_leaf)[0]


def tree_structure(tree: Any, is_leaf: IsLeaf = None) -> TreeSpec:
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """A tree of the same form with func(leaf, parts of the other trees at its place ...) for each leaf."""
    leaves, spec = tree_flatten(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return tree_unflatten([func(*values) for values in zip(leaves, *others, strict=True)], spec)


def tree_map_only(
    kind: Kinds | Callable[[Any], bool], func: Callable[..., Any], tree: Any = None, is_leaf: IsLeaf = None
) -> Any:
    """As :func:`tree_map`, for leaves of a class, or for which kind(leaf) is true; others are unchanged."""

    def changed(leaf: Any) -> Any:
        if isinstance(kind, (type, tuple)):
            chosen = isinstance(leaf, kind)
        else:
            chosen = kind(leaf)
        if chosen:
            return func(leaf)
        return leaf

    return tree_map(changed, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    return any(map(pred, tree_leaves(tree, is_leaf)))


def tree_iter(tree: Any, is_leaf: IsLeaf = None) -> Iterator[Any]:
    return iter(tree_leaves(tree, is_leaf))


def arg_tree_leaves(*args: Any, **settings: Any) -> list[Any]:
    """The values of all arguments."""
    return tree_leaves((args, settings))


def tree_map_(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """Calls func as :func:`tree_map` does, and returns the tree unchanged."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only_(
    kind: Kinds | Callable[[Any], bool], func: Callable[..., Any], tree: Any, is_leaf: IsLeaf = None
) -> Any:
    tree_map_only(kind, func, tree, is_leaf)
    return tree


def tree_all_only(kind: Kinds, pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    return all(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, kind))


def tree_any_only(kind: Kinds, pred: Callable[[Any], bool], tree: Any, is_leaf: IsLeaf = None) -> bool:
    return any(pred(x) for x in tree_leaves(tree, is_leaf) if isinstance(x, kind))


def _with_keys(tree: Any) -> list[tuple[Any, Any]]:
    """The places and the parts of a node."""
    kind = _get_node_type(tree)
    node = _NODES[kind]
    if node.flatten_with_keys_fn is not None:
        return list(node.flatten_with_keys_fn(tree)[0])
    if isinstance(tree, dict):
        return [(MappingKey(key), x) for key, x in tree.items()]
    if kind is namedtuple:
        return [(GetAttrKey(name), getattr(tree, name)) for name in tree._fields]
    if not isinstance(tree, (tuple, list, deque)):
        raise ValueError(
            f"[tree_flatten_with_path] got a {kind.__name__}; expected flatten_with_keys_fn of its node"
        )
    return [(SequenceKey(i), x) for i, x in enumerate(tree)]


def tree_leaves_with_path(tree: Any, is_leaf: IsLeaf = None) -> list[tuple[KeyPath, Any]]:
    """The values, each with the places on the way to it.

    >>> [(keystr(path), x) for path, x in tree_leaves_with_path({"a": [1, 2]})]
    [("['a'][0]", 1), ("['a'][1]", 2)]
    """
    if tree_is_leaf(tree, is_leaf):
        return [((), tree)]
    found: list[tuple[KeyPath, Any]] = []
    for key, part in _with_keys(tree):
        for path, leaf in tree_leaves_with_path(part, is_leaf):
            found.append(((key, *path), leaf))
    return found


def tree_flatten_with_path(tree: Any, is_leaf: IsLeaf = None) -> tuple[list[tuple[KeyPath, Any]], TreeSpec]:
    return tree_leaves_with_path(tree, is_leaf), tree_structure(tree, is_leaf)


def tree_map_with_path(func: Callable[..., Any], tree: Any, *rests: Any, is_leaf: IsLeaf = None) -> Any:
    """func of the path of each value and of the value, as a tree of the same form."""
    leaves, spec = tree_flatten_with_path(tree, is_leaf)
    others = [spec.flatten_up_to(rest) for rest in rests]
    return tree_unflatten([func(*pair, *rest) for pair, *rest in zip(leaves, *others, strict=True)], spec)


def keystr(kp: KeyPath) -> str:
    """A path as text."""
    return "".join(map(str, kp))


def key_get(obj: Any, kp: KeyPath) -> Any:
    """The value at a path in an object."""
    for key in kp:
        obj = key.get(obj)
    return obj


def _broadcast_to_and_flatten(tree: Any, treespec: TreeSpec, is_leaf: IsLeaf = None) -> list[Any] | None:
    """The leaves of a tree, each repeated for all leaves of treespec below it; None for another form."""
    out: list[Any] = []
    whole = tree_unflatten([0] * treespec.num_leaves, treespec)

    def repeat(leaf: Any, below: Any) -> None:
        out.extend([leaf] * len(tree_leaves(below)))

    try:
        tree_map_(repeat, tree, whole, is_leaf=is_leaf)
    except ValueError:
        return None
    return out


def _parts_with_keys(tree: Any) -> tuple[list[tuple[Any, Any]], Any]:
    return _with_keys(tree), _NODES[_get_node_type(tree)].flatten_fn(tree)[1]


for _kind, _node in list(_NODES.items()):  # _list_flatten, _list_unflatten, _list_flatten_with_keys ...
    _own = dict(zip(("flatten", "unflatten"), _node, strict=False)) | {"flatten_with_keys": _parts_with_keys}
    globals().update({f"_{_kind.__name__.lower()}_{name}": function for name, function in _own.items()})
