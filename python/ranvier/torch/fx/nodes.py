"""torch.fx's Node and Graph: a graph is a list of calls, and arguments of a call may be earlier nodes.

An argument is a node, a value of Python or a Tensor, or a list, tuple, dict or slice of these. A target is
what is called: a function, or the name of a method or the path of a layer.
"""

from __future__ import annotations

import builtins
import inspect
import keyword
import re
from collections.abc import Callable, Iterator
from functools import partialmethod
from typing import Any, NamedTuple, TypeAlias

from ranvier.nn import Module

# "root" is the op of a graph's `_root` alone, which stands before the first node and after the last.
OPS = frozenset({"placeholder", "get_attr", "call_function", "call_method", "call_module", "output", "root"})
Target = Callable[..., Any] | str
Arguments: TypeAlias = tuple[Any, ...]
Keywords: TypeAlias = dict[str, Any]
_READ = ("self", "torch")  # names that the code of a graph reads, so no node has them
_effects: set[Target] = set()  # what `has_side_effect` has marked


def has_side_effect(fn: Callable[..., Any]) -> Any:
    """A decorator that marks a function whose calls stay in the graph even if nothing uses their results."""
    _effects.add(fn)
    return fn


def map_aggregate(a: Any, fn: Callable[[Any], Any]) -> Any:
    """An argument in which each value x of nested lists, tuples, dicts and slices is replaced by fn(x)."""
    if isinstance(a, tuple):
        items = [map_aggregate(x, fn) for x in a]
        if hasattr(a, "_fields"):
            return type(a)(*items)
        return tuple(items)
    if isinstance(a, list):
        return [map_aggregate(x, fn) for x in a]
    if isinstance(a, dict):
        return {key: map_aggregate(x, fn) for key, x in a.items()}
    if isinstance(a, slice):
        start = map_aggregate(a.start, fn)
        stop = map_aggregate(a.stop, fn)
        step = map_aggregate(a.step, fn)
        return slice(start, stop, step)
    return fn(a)


def map_arg(a: Any, fn: Callable[[Node], Any]) -> Any:
    """An argument in which each Node n is replaced by fn(n)."""

    def mapped(x: Any) -> Any:
        if isinstance(x, Node):
            return fn(x)
        return x

    return map_aggregate(a, mapped)


def _every(user: Node) -> bool:
    return True


def _itself(node: Node) -> Node:
    return node


class Node:
    """A call in a graph.

    users: the nodes that use its result. The nodes of a graph are a doubly linked ring.
    """

    def __init__(
        self,
        graph: Graph,
        name: str,
        op: str,
        target: Any,  # a Target; which of the two follows from op
        args: Arguments,
        kwargs: Keywords,
        return_type: type | None = None,
    ) -> None:
        self.graph = graph
        self.name = name
        self.op = op
        self.target = target
        self.type = return_type
        self.users: dict[Node, None] = {}
        self._inputs: dict[Node, None] = {}
        self.meta: dict[str, Any] = {}  # this and the next are for programs; nothing here reads them
        self.stack_trace: str | None = None
        self._prev = self
        self._next = self
        self._erased = False  # an erased node keeps its neighbours, so that an iteration at it goes on
        self._args = args
        self._kwargs = kwargs
        self._set_arguments(args, kwargs)

    def _set_arguments(self, args: Arguments, kwargs: Keywords) -> None:
        """Sets the arguments, and updates the users of the nodes in them."""
        for node in self._inputs:
            node.users.pop(self, None)
        self._inputs = {}
        self._args = map_arg(tuple(args), self._add_input)
        self._kwargs = map_arg(dict(kwargs), self._add_input)

    def _add_input(self, node: Node) -> Node:
        """Notes that this node uses another, which is returned."""
        self._inputs[node] = None
        node.users[self] = None
        return node

    @property
    def args(self) -> tuple[Any, ...]:
        return self._args

    @args.setter
    def args(self, args: Arguments) -> None:
        self._set_arguments(args, self._kwargs)

    @property
    def kwargs(self) -> dict[str, Any]:
        return self._kwargs

    @kwargs.setter
    def kwargs(self, kwargs: Keywords) -> None:
        self._set_arguments(self._args, kwargs)

    @property
    def prev(self) -> Node:
        return self._prev

    @property
    def next(self) -> Node:
        return self._next

    @property
    def all_input_nodes(self) -> list[Node]:
        return list(self._inputs)

    def __repr__(self) -> str:
        return self.name

    def _unlink(self) -> None:
        self._prev._next = self._next
        self._next._prev = self._prev

    def prepend(self, x: Node) -> None:
        """Moves x before this node."""
        if x is self:
            return
        x._unlink()
        x._prev = self._prev
        x._next = self
        self._prev._next = x
        self._prev = x

    def append(self, x: Node) -> None:
        """Moves x after this node."""
        self._next.prepend(x)

    def update_arg(self, idx: int, arg: Any) -> None:
        self.args = (*self.args[:idx], arg, *self.args[idx + 1 :])

    def insert_arg(self, idx: int, arg: Any) -> None:
        self.args = (*self.args[:idx], arg, *self.args[idx:])

    def update_kwarg(self, key: str, arg: Any) -> None:
        self.kwargs = {**self.kwargs, key: arg}

    def replace_input_with(self, old_input: Node, new_input: Node) -> None:
        """Replaces one node by another in the arguments of this node."""

        def replaced(node: Node) -> Node:
            if node is old_input:
                return new_input
            return node

        args, kwargs = map_arg((self._args, self._kwargs), replaced)
        self._set_arguments(args, kwargs)

    def replace_all_uses_with(
        self,
        replace_with: Node,
        delete_user_cb: Callable[[Node], bool] = _every,
        *,
        propagate_meta: bool = False,
    ) -> list[Node]:
        """Replaces this node by another in the arguments of its users; returns the changed users."""
        if propagate_meta:
            replace_with.meta.update(self.meta)
        changed = [user for user in self.users if delete_user_cb(user)]
        for user in changed:
            user.replace_input_with(self, replace_with)
        return changed

    def is_impure(self, impure_random: bool = True) -> bool:
        """True if the node stays in the graph though nothing uses its result."""
        if self.op == "call_module" and self.graph.owning_module is not None:  # programs set `_is_impure`
            return getattr(self.graph.owning_module.get_submodule(self.target), "_is_impure", False)
        if self.op in ("placeholder", "output"):
            return True
        if self.op != "call_function":
            return False
        return self.target in _effects or getattr(self.target, "__name__", "").startswith("_assert")

    def format_node(self) -> str:
        """A line of `print(graph)`."""
        if self.op == "output":
            return f"return {self.args[0]!r}"
        left = f"%{self.name} : [num_users={len(self.users)}]"
        if self.op == "placeholder":
            default = f"(default={self.args[0]!r})" if self.args else ""
            return f"{left} = placeholder[target={self.target}]{default}"
        target = self.target if isinstance(self.target, str) else qualified(self.target)
        head = f"{left} = {self.op}[target={target}]"
        if self.op == "get_attr":
            return head
        args, kwargs = map_arg((self.args, self.kwargs), _NodeName)
        return f"{head}(args = {args!r}, kwargs = {kwargs!r})"


def qualified(function: Callable[..., Any]) -> str:
    """The path of a function, in texts."""
    module = function.__module__.lstrip("_")
    name = getattr(function, "__qualname__", function.__name__)
    return f"{module}.{name}"


class _NodeName:
    """The name of a node, in a text or a pickle."""

    def __init__(self, node: Node) -> None:
        self.name = node.name

    def __repr__(self) -> str:
        return f"%{self.name}"


class _Nodes:
    """The nodes of a graph in order. Nodes may be added and erased during an iteration."""

    def __init__(self, graph: Graph, backwards: bool = False) -> None:
        self.graph = graph
        self.backwards = backwards

    def __iter__(self) -> Iterator[Node]:
        root = self.graph._root
        node = self._after(root)
        while node is not root:
            if not node._erased:
                yield node
            node = self._after(node)

    def _after(self, node: Node) -> Node:
        if self.backwards:
            return node._prev
        return node._next

    def __reversed__(self) -> Iterator[Node]:
        return iter(_Nodes(self.graph, not self.backwards))

    def __len__(self) -> int:
        return sum(1 for _ in self)


class _InsertionPoint:
    """Sets the node before which a graph adds new nodes, until the end of a `with` block."""

    def __init__(self, graph: Graph, before: Node) -> None:
        self.graph = graph
        self.earlier = graph._insert_before
        graph._insert_before = before

    def __enter__(self) -> None:
        """It is set already, as PyTorch does without a block, too."""

    def __exit__(self, *error: object) -> None:
        self.graph._insert_before = self.earlier


class Names:
    """Makes unique names for the nodes of a graph and for the globals of its code."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.counts: dict[str, int] = {}

    def made(self, wanted: str) -> str:
        """A new name like the one that is wanted: "add", "add_1", "add_2" ..."""
        name = re.sub(r"\W+", "_", wanted) or "_unnamed"
        if name[0].isdigit():
            name = f"_{name}"
        parts = re.fullmatch(r"(\w*?)(?:_(\d+))?", name)
        assert parts is not None  # any name is a base without a number
        base, number = parts.groups()
        if number is None or name in self.used:  # a number in the wanted name stays if the name is free
            count = self.counts.get(base, 0)
        else:
            count = int(number)
        is_reserved = keyword.iskeyword(name) or hasattr(builtins, name) or name in _READ
        while name in self.used or is_reserved:
            count += 1
            is_reserved = False  # with a number it is not
            name = f"{base}_{count}"
        self.used.add(name)
        self.counts[base] = count
        return name


class _NodeRecord(NamedTuple):
    """A node in a pickle; its arguments have a _NodeName in place of each node."""

    op: str
    target: Any
    args: Arguments
    kwargs: Keywords
    name: str
    type: Any


class Graph:
    """Calls in the order in which they run.

    >>> import ranvier.torch.fx.modules  # how a Graph becomes code
    >>> graph = Graph()
    >>> x = graph.placeholder("x")
    >>> _ = graph.output(graph.call_function(max, (x, 3)))
    >>> print(graph.python_code("self").src)
    def forward(self, x):
        max_1 = max(x, 3);  x = None
        return max_1
    <BLANKLINE>
    """

    def __init__(
        self,
        owning_module: Module | None = None,
        tracer_cls: type | None = None,
        tracer_extras: dict[str, Any] | None = None,
    ) -> None:
        self._root = Node(self, "", "root", "", (), {})  # before the first node, and after the last
        self._insert_before = self._root
        self._names = Names()
        self.owning_module = owning_module
        self._tracer_cls = tracer_cls

    nodes = property(_Nodes)
    python_code: Any  # a method that `modules.py` adds

    def create_node(
        self,
        op: str,
        target: Target,
        args: Arguments | None = None,
        kwargs: Keywords | None = None,
        name: str | None = None,
        type_expr: type | None = None,
    ) -> Node:
        if op not in OPS:
            raise ValueError(f"[create_node] got op {op!r}; expected one of {sorted(OPS)}")
        unique_name = self._names.made(name or self._target_to_str(target))
        node = Node(self, unique_name, op, target, args or (), kwargs or {}, type_expr)
        self._insert_before.prepend(node)
        return node

    def _target_to_str(self, target: Target) -> str:
        """The name of a node that calls it: "layers_0", "batch_norm", "getitem" for "__getitem__"."""
        text = target if isinstance(target, str) else target.__name__
        if text.startswith("__") and text.endswith("__"):
            text = text[2:-2]
        words = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", text.replace(".", "_"))
        return words.lower()

    def placeholder(
        self, name: str, type_expr: type | None = None, default_value: object = inspect.Parameter.empty
    ) -> Node:
        """A node for a parameter of the graph's function."""
        args = () if default_value is inspect.Parameter.empty else (default_value,)
        return self.create_node("placeholder", name, args, type_expr=type_expr)

    get_attr = partialmethod(create_node, "get_attr")
    call_module = partialmethod(create_node, "call_module")
    call_method = partialmethod(create_node, "call_method")
    call_function = partialmethod(create_node, "call_function")

    def output(self, result: Any, type_expr: type | None = None) -> Node:
        return self.create_node("output", "output", (result,), type_expr=type_expr)

    def output_node(self) -> Node:
        return next(node for node in reversed(self.nodes) if node.op == "output")

    def find_nodes(self, *, op: str, target: Target | None = None, sort: bool = True) -> list[Node]:
        nodes = [node for node in self.nodes if node.op == op]
        if target is None:
            return nodes
        return [node for node in nodes if node.target == target]

    def inserting_before(self, n: Node | None = None) -> _InsertionPoint:
        """In the block new nodes are put before n, or first."""
        if n is None:
            n = self._root._next
        return _InsertionPoint(self, n)

    def inserting_after(self, n: Node | None = None) -> _InsertionPoint:
        """In the block new nodes are put after n, or last."""
        if n is None:
            return _InsertionPoint(self, self._root)
        return _InsertionPoint(self, n._next)

    def erase_node(self, to_erase: Node) -> None:
        """Takes a node out. Raises RuntimeError while others use it."""
        if to_erase.users:
            raise RuntimeError(
                f"Tried to erase Node {to_erase} but it still had {len(to_erase.users)} users in the graph: "
                f"{to_erase.users}!"
            )
        if self._insert_before is to_erase:
            self._insert_before = to_erase._next
        to_erase._unlink()
        to_erase._erased = True
        to_erase._set_arguments((), {})

    def eliminate_dead_code(self, is_impure_node: Callable[[Node], bool] | None = None) -> bool:
        """Erases nodes that nothing uses; whether there were some."""
        is_impure = is_impure_node or Node.is_impure
        has_erased = False
        for node in reversed(self.nodes):
            if not node.users and not is_impure(node):
                self.erase_node(node)
                has_erased = True
        return has_erased

    def node_copy(self, node: Node, arg_transform: Callable[[Node], Any] = _itself) -> Node:
        """Adds a copy of another graph's node.

        arg_transform: a function from a node in its arguments to one of this graph.
        """
        args, kwargs = map_arg((node.args, node.kwargs), arg_transform)
        copy = self.create_node(node.op, node.target, args, kwargs, node.name, node.type)
        copy.meta = dict(node.meta)
        return copy

    def graph_copy(self, g: Graph, val_map: dict[Node, Node], return_output_node: bool = False) -> Any:
        """Copies the nodes of g that are not in val_map (node of g -> node here); returns g's result."""
        for node in g.nodes:
            if node in val_map:
                continue
            if node.op == "output":
                value = map_arg(node.args[0], val_map.__getitem__)
                if return_output_node:
                    return (value, node)
                return value
            val_map[node] = self.node_copy(node, val_map.__getitem__)
        return None

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Graph:
        copy = Graph(tracer_cls=self._tracer_cls)
        nodes: dict[Node, Node] = {}
        result = copy.graph_copy(self, nodes, return_output_node=True)
        if result is not None:
            value, output = result
            copy.output(value).meta = dict(output.meta)
        if memo is not None:
            memo[id(self)] = copy
        return copy

    def __reduce__(self) -> Any:
        return _rebuild_graph, (self._tracer_cls, [_record(node) for node in self.nodes])

    def lint(self) -> None:
        """Raises RuntimeError where a node takes one that comes later or is of another graph."""
        seen: set[Node] = set()
        for node in self.nodes:
            for used in node.all_input_nodes:
                if used not in seen:
                    raise RuntimeError(
                        f"Argument '{used}' of Node '{node}' was used before it has been defined!"
                    )
            seen.add(node)

    def __str__(self) -> str:
        return "graph():" + "".join(f"\n    {node.format_node()}" for node in self.nodes)

    def print_tabular(self) -> None:
        """Prints a line for each node."""
        for n in self.nodes:
            print(n.op, n.name, n.target, n.args, n.kwargs, sep="  ")


def _record(node: Node) -> _NodeRecord:
    args, kwargs = map_arg((node.args, node.kwargs), _NodeName)
    return _NodeRecord(node.op, node.target, args, kwargs, node.name, node.type)


def _rebuild_graph(tracer_cls: type | None, records: list[_NodeRecord]) -> Graph:
    """The graph of a pickle, in which nodes are named."""
    graph = Graph(tracer_cls=tracer_cls)
    nodes: dict[str, Node] = {}

    def node_of_name(x: Any) -> Any:
        if isinstance(x, _NodeName):
            return nodes[x.name]
        return x

    for record in records:
        args, kwargs = map_aggregate((record.args, record.kwargs), node_of_name)
        node = graph.create_node(record.op, record.target, args, kwargs, record.name, record.type)
        nodes[record.name] = node
    return graph
