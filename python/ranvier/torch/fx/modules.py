"""torch.fx: writes a Graph as Python code, and runs it: `GraphModule` by its code, `Interpreter` node by
node."""

from __future__ import annotations

import builtins
import copy
import math
import sys
import types
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Any, NamedTuple

import ranvier.nn as nn
from ranvier import Tensor
from ranvier.nn import Module
from ranvier.torch.fx.nodes import Arguments, Graph, Keywords, Names, Node, map_arg
from ranvier.torch.fx.tracing import Tracer

# function of `operator` -> the sign that the code has for it
_BINARY_SIGNS = {
    "add": "+", "sub": "-", "mul": "*", "floordiv": "//", "truediv": "/", "mod": "%", "matmul": "@",
    "eq": "==", "ne": "!=", "lt": "<", "gt": ">", "le": "<=", "ge": ">=", "and_": "&", "or_": "|", "xor": "^",
    "pow": "**", "lshift": "<<", "rshift": ">>",
}  # fmt: skip
_UNARY_SIGNS = {"neg": "-", "pos": "+", "invert": "~"}


def attribute(base: str, path: str) -> str:
    """The code that reads `base.path`."""
    for name in path.split("."):
        if name.isidentifier():
            base = f"{base}.{name}"
        else:
            base = f'getattr({base}, "{name}")'
    return base


class Code:
    """A graph as a function `forward`. src: its Python code. globals: the names that the code reads.

    root: the name of the first parameter, by which the code reads layers and parameters ("self").
    """

    def __init__(self, graph: Graph, root: str) -> None:
        self.globals: dict[str, Any] = {"torch": sys.modules.get("torch")}
        self._names = Names()
        self._names.used |= {node.name for node in graph.nodes}  # no global gets the name of a node
        self._global_names: dict[int, str] = {}  # id of a value -> its name in globals
        last_user: dict[Node, Node] = {}
        for node in graph.nodes:
            for used in node.all_input_nodes:
                last_user[used] = node
        parameters = [root]
        lines = []
        for node in graph.nodes:
            if node.op == "placeholder":
                parameters.append(self._parameter(node))
                parameter_name = node.target.lstrip("*")
                if parameter_name != node.name:
                    lines.append(f"    {node.name} = {parameter_name}")
                continue
            line = self._line(node, root)
            # results that no later line uses are freed, as PyTorch's code does
            unused = [used.name for used in node.all_input_nodes if last_user[used] is node]
            if unused and node.op != "output":
                line += f";  {' = '.join([*unused, 'None'])}"
            lines.append(f"    {line}")
        if not lines:
            lines.append("    pass")
        self.src = "\n".join([f"def forward({', '.join(parameters)}):", *lines, ""])

    def _parameter(self, node: Node) -> str:
        """A parameter of the function: its name, and its default."""
        if not node.args:
            return str(node.target)
        return f"{node.target} = {self._text(node.args[0])}"

    def _line(self, node: Node, root: str) -> str:
        """The line of Python code for a node."""
        if node.op == "output":
            return f"return {self._text(node.args[0])}"
        if node.op == "get_attr":
            return f"{node.name} = {attribute(root, node.target)}"
        args = [self._text(a) for a in node.args]
        named = [f"{key} = {self._text(a)}" for key, a in node.kwargs.items() if key.isidentifier()]
        if node.op == "call_module":
            return f"{node.name} = {attribute(root, node.target)}({', '.join(args + named)})"
        if node.op == "call_method":
            return f"{node.name} = {attribute(args[0], node.target)}({', '.join(args[1:] + named)})"
        expression = self._operator_text(node, args)
        if expression is None:
            expression = f"{self._global(node.target)}({', '.join(args + named)})"
        return f"{node.name} = {expression}"

    def _operator_text(self, node: Node, args: list[str]) -> str | None:
        """The code of a call that Python writes with a sign, an index or a dot; None for others."""
        if node.target is getattr and len(args) == 2 and str(node.args[1]).isidentifier():
            return f"{args[0]}.{node.args[1]}"
        name = node.target.__name__
        if node.target.__module__ != "_operator":
            return None
        if name in _UNARY_SIGNS and len(args) == 1:
            return f"{_UNARY_SIGNS[name]}{args[0]}"
        if name in _BINARY_SIGNS and len(args) == 2:
            return f"{args[0]} {_BINARY_SIGNS[name]} {args[1]}"
        if name == "getitem" and len(args) == 2:
            return f"{args[0]}[{args[1]}]"
        return None

    def _text(self, a: Any) -> str:
        """The code of an argument."""
        if isinstance(a, Node):
            return a.name
        if hasattr(a, "_fields"):
            return f"{self._global(type(a))}({', '.join(map(self._text, a))})"
        if isinstance(a, tuple) and len(a) == 1:
            return f"({self._text(a[0])},)"
        if isinstance(a, tuple):
            return f"({', '.join(map(self._text, a))})"
        if isinstance(a, list):
            return f"[{', '.join(map(self._text, a))}]"
        if isinstance(a, dict):
            items = [f"{self._text(key)}: {self._text(value)}" for key, value in a.items()]
            return "{" + ", ".join(items) + "}"
        if isinstance(a, slice):
            return f"slice({self._text(a.start)}, {self._text(a.stop)}, {self._text(a.step)})"
        if a is ...:
            return "..."
        is_literal = type(a) in (int, str, bool, bytes, type(None))
        if is_literal or (type(a) is float and math.isfinite(a)):
            return repr(a)
        return self._global(a)

    def _global(self, value: object) -> str:
        """The name under which the code reads a value."""
        name = getattr(value, "__name__", type(value).__name__)
        module = getattr(value, "__module__", None) or ""
        if module == "builtins" and getattr(builtins, name, None) is value:
            return name
        path = f"{module}.{name}" if module else name
        if _is_in_torch(value, path):
            return path
        if id(value) not in self._global_names:
            global_name = self._names.made(path if callable(value) else name)
            self._global_names[id(value)] = global_name
            self.globals[global_name] = value
        return self._global_names[id(value)]


def _is_in_torch(value: object, path: str) -> bool:
    """Whether `torch` has the value under this path."""
    root, *names = path.split(".")
    if root != "torch" or not names or "torch" not in sys.modules:
        return False
    found: Any = sys.modules["torch"]
    try:
        for name in names:
            found = getattr(found, name)
    except (AttributeError, KeyError, ImportError):
        return False
    return found is value


def python_code(self: Graph, root_module: str, **settings: Any) -> Code:
    return Code(self, root_module)


Graph.python_code = python_code


# a key of `GraphModule.meta` that libraries import from PyTorch's module
_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"


class _Place(NamedTuple):
    """Where a value is: its module, and its name there."""

    module: Any
    name: str


def _copy_attr(from_module: Module, to_module: Module, target: str) -> None:
    """Sets the layer or tensor that one module has at a path at the same path of another module."""
    place = _make_place(to_module, target)
    value = attrgetter(target)(from_module)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        place.module.register_buffer(place.name, value)
    else:
        setattr(place.module, place.name, value)


def _make_place(module: Module, target: str) -> _Place:
    """The place of a path below a module. Missing modules on the way are made."""
    *path, name = target.split(".")
    for child in path:
        if not hasattr(module, child):
            setattr(module, child, nn.Module())
        module = getattr(module, child)
    return _Place(module, name)


class _CodeOnlyModule(nn.Module):
    """A module with these attributes, from which a copied GraphModule takes its layers."""

    def __init__(self, body: dict[str, Any]) -> None:
        super().__init__()
        self.__dict__ = body


# PyTorch's qualified name of the class that each GraphModule has for itself; libraries recognise it by this
# name
_QUALNAME = "GraphModule.__new__.<locals>.GraphModuleImpl"


class GraphModule(nn.Module):
    """A module whose forward runs a graph. It has the layers and parameters of root that the graph names.

    Each instance has a class of its own, on which `recompile` sets `forward`.

    >>> import ranvier as rv
    >>> class Twice(nn.Module):
    ...     def forward(self, x):
    ...         return x + x
    >>> module = symbolic_trace(Twice())
    >>> module(rv.ones(1)), [node.name for node in module.graph.nodes]
    (tensor([2.]), ['x', 'add', 'output'])
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> GraphModule:
        class_of_one = types.new_class(cls.__name__, (_shared_class(cls),), {}, _mark_as_class_of_one)
        class_of_one.__module__ = __name__
        class_of_one.__qualname__ = _QUALNAME
        return super().__new__(class_of_one)

    def __init__(
        self, root: Module | Mapping[str, Any], graph: Graph, class_name: str = "GraphModule"
    ) -> None:
        super().__init__()
        type(self).__name__ = class_name
        paths = [node.target for node in graph.nodes if node.op in ("get_attr", "call_module")]
        paths = [*dict.fromkeys(paths)]  # each once, in order
        if isinstance(root, nn.Module):
            self.training = root.training
            for path in paths:
                _copy_attr(root, self, path)
        else:
            for path in sorted(paths, key=_depth):  # "a" before "a.b"
                self.add_submodule(path, root[path])
        self.graph = graph
        self._tracer_cls = None
        # a local class cannot be pickled
        if graph._tracer_cls and "<locals>" not in graph._tracer_cls.__qualname__:
            self._tracer_cls = graph._tracer_cls
        self.meta: dict[str, Any] = {}

    @property
    def graph(self) -> Graph:
        return self._graph

    @graph.setter
    def graph(self, g: Graph) -> None:
        self._graph = g
        g.owning_module = self
        self.recompile()

    def recompile(self) -> Any:
        """Makes the code of the graph forward; needed after changes of the graph."""
        made = self._graph.python_code("self")
        self._code = made.src
        exec(compile(made.src, "<graph>", "exec"), made.globals)
        type(self).forward = made.globals["forward"]  # type: ignore[method-assign]
        return made

    @property
    def code(self) -> str:
        return self._code

    def print_readable(self, print_output: bool = True, **settings: Any) -> str:
        if print_output:
            print(self._code)
        return self._code

    def add_submodule(self, target: str, m: Module) -> bool:
        """Gives it a layer, or a value, at a path."""
        place = _make_place(self, target)
        setattr(place.module, place.name, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        owner, _, name = target.rpartition(".")
        delattr(self.get_submodule(owner), name)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Deletes layers that the graph does not call."""
        used = [node.target for node in self._graph.nodes if node.op in ("call_module", "get_attr")]
        for path in [name for name, _ in self.named_modules() if name]:
            is_used = any(_is_within(name, path) or _is_within(path, name) for name in used)
            if not is_used and path in dict(self.named_modules()):  # else its parent was deleted
                self.delete_submodule(path)

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphModule:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        body: Any = _CodeOnlyModule(copy.deepcopy(self.__dict__, memo))
        GraphModule.__init__(made, body, body._graph, type(self).__name__)
        made.meta = body.meta
        made.training = self.training
        return made

    def __reduce__(self) -> Any:
        return _made_again, (_shared_class(type(self)), type(self).__name__), dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.graph = self._graph


def _mark_as_class_of_one(body: dict[str, Any]) -> None:
    """Marks the class that a GraphModule has for itself, by an attribute that `_shared_class` reads."""
    body["_is_of_one"] = True


def _shared_class(cls: type) -> Any:
    """The class from which such a class derives: GraphModule, or a program's class below it."""
    while vars(cls).get("_is_of_one", False):
        cls = cls.__mro__[1]
    return cls


def _depth(path: str) -> int:
    return path.count(".")


def _is_within(path: str, outer: str) -> bool:
    """Whether a path is another or leads to something below it: "a.b" is within "a"."""
    return f"{path}.".startswith(f"{outer}.")


def _made_again(cls: Any, name: str) -> GraphModule:
    """The GraphModule of a pickle, without its state."""
    made = cls.__new__(cls)
    type(made).__name__ = name
    return made


def symbolic_trace(
    root: Module | Callable[..., Any], concrete_args: dict[str, Any] | None = None
) -> GraphModule:
    """A module that runs the graph of the calls of a module or function.

    >>> print(symbolic_trace(lambda x, y: (x * y).tanh()).code)
    def forward(self, x, y):
        mul = x * y;  x = y = None
        tanh = mul.tanh();  mul = None
        return tanh
    <BLANKLINE>
    """
    tracer = Tracer()
    graph = tracer.trace(root, concrete_args)
    named = type(root) if isinstance(root, nn.Module) else root
    return GraphModule(tracer.root, graph, named.__name__)


class Interpreter:
    """Runs a graph node by node.

    `run` calls the method that has the name of a node's op: placeholder, get_attr, call_function,
    call_method, call_module, output. Subclasses change what these do.
    """

    def __init__(
        self,
        module: Any,  # a GraphModule, or a Module if graph is given
        garbage_collect_values: bool = True,  # no effect: `env` has all results until the next run
        graph: Graph | None = None,
    ) -> None:
        self.module = module
        self.graph = graph or module.graph
        self.env: dict[Node, Any] = {}  # node -> its result

    def run(self, *args: Any, initial_env: dict[Node, Any] | None = None, **settings: Any) -> Any:
        """The result for these arguments."""
        self.env = dict(initial_env or {})
        self._args = iter(args)  # those that no placeholder has taken yet
        for node in self.graph.nodes:
            if node not in self.env:
                self.env[node] = self.run_node(node)
            if node.op == "output":
                return self.env[node]
        return None

    def run_node(self, n: Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return getattr(self, n.op)(n.target, args, kwargs)

    def fetch_args_kwargs_from_env(self, n: Node) -> tuple[Arguments, Keywords]:
        """A node's arguments with results in place of nodes."""
        return map_arg((n.args, n.kwargs), self.env.__getitem__)

    def fetch_attr(self, target: str) -> Any:
        return attrgetter(target)(self.module)

    def placeholder(self, target: str, args: Arguments, kwargs: Keywords) -> Any:
        """The next argument of `run`. args: its default, or nothing."""
        if target.startswith("*"):
            return list(self._args)
        return next(self._args, *args)

    def get_attr(self, target: str, args: Arguments, kwargs: Keywords) -> Any:
        return self.fetch_attr(target)

    def call_function(self, target: Callable[..., Any], args: Arguments, kwargs: Keywords) -> Any:
        return target(*args, **kwargs)

    def call_method(self, target: str, args: Arguments, kwargs: Keywords) -> Any:
        owner, *others = args
        return getattr(owner, target)(*others, **kwargs)

    def call_module(self, target: str, args: Arguments, kwargs: Keywords) -> Any:
        return self.fetch_attr(target)(*args, **kwargs)

    def output(self, target: str, args: Arguments, kwargs: Keywords) -> Any:
        return args[0]
