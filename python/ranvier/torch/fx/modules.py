"""torch.fx: writes a Graph as Python code, and runs it: `GraphModule` by its code, `Interpreter` node by
node."""

from __future__ import annotations

import builtins
import copy
import math
import sys
import types
from operator import attrgetter
from typing import Any

import ranvier.nn as nn
from ranvier import Tensor
from ranvier.nn import Module
from ranvier.torch.fx.nodes import Graph, Names, Node, map_arg
from ranvier.torch.fx.tracing import Tracer

_NAMES = (
    "add sub mul floordiv truediv mod matmul eq ne lt gt le ge and_ or_ xor pow lshift rshift neg pos invert"
)
_TEXTS = "+ - * // / % @ == != < > <= >= & | ^ ** << >> - + ~"
_SIGNS = dict(zip(_NAMES.split(), _TEXTS.split(), strict=True))


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
        self._names.used |= {node.name for node in graph.nodes}
        self._given: dict[int, str] = {}  # id of a value -> its name in globals
        last = {used: node for node in graph.nodes for used in node.all_input_nodes}
        parameters = [root]
        lines = []
        for node in graph.nodes:
            if node.op == "placeholder":
                parameters.append(node.target + (f" = {self._text(node.args[0])}" if node.args else ""))
                if (plain := node.target.lstrip("*")) != node.name:
                    lines.append(f"    {node.name} = {plain}")
                continue
            line = self._line(node, root)
            done = [n.name for n in node.all_input_nodes if last[n] is node]
            if done and node.op != "output":
                free = f";  {' = '.join([*done, 'None'])}"
            else:
                free = ""
            lines.append(f"    {line}{free}")
        body = lines if lines else ["    pass"]
        self.src = "\n".join([f"def forward({', '.join(parameters)}):", *body, ""])

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
        name = node.target.__name__
        home = node.target.__module__
        if home == "_operator" and name in _SIGNS:
            return f"{node.name} = {f' {_SIGNS[name]} '.join(args) if args[1:] else _SIGNS[name] + args[0]}"
        if home == "_operator" and name == "getitem" and len(args) == 2:
            return f"{node.name} = {args[0]}[{self._text(node.args[1])}]"
        if node.target is getattr and len(args) == 2 and str(node.args[1]).isidentifier():
            return f"{node.name} = {args[0]}.{node.args[1]}"
        return f"{node.name} = {self._global(node.target)}({', '.join(args + named)})"

    def _text(self, a: Any) -> str:
        """The code of an argument."""
        if isinstance(a, Node):
            return a.name
        if hasattr(a, "_fields"):
            return f"{self._global(type(a))}({', '.join(map(self._text, a))})"
        if isinstance(a, tuple):
            return f"({', '.join(map(self._text, a))}{',' * (len(a) == 1)})"
        if isinstance(a, list):
            return f"[{', '.join(map(self._text, a))}]"
        if isinstance(a, dict):
            return f"{{{', '.join(f'{self._text(key)}: {self._text(x)}' for key, x in a.items())}}}"
        if isinstance(a, slice):
            return f"slice({', '.join(map(self._text, (a.start, a.stop, a.step)))})"
        is_plain = type(a) in (int, str, bool, bytes, type(None), type(...))
        if is_plain or (type(a) is float and math.isfinite(a)):
            if a is ...:
                return "..."
            return repr(a)
        return self._global(a)

    def _global(self, value: Any) -> str:
        """The name under which the code reads a value."""
        name = getattr(value, "__name__", type(value).__name__)
        home = getattr(value, "__module__", None) or ""
        if home == "builtins" and getattr(builtins, name, None) is value:
            return name
        if f"{home}.".startswith("torch."):
            try:
                found = sys.modules["torch"]
                for part in (home + "." + name).split(".")[1:]:
                    found = getattr(found, part)
                if found is value:
                    return f"{home}.{name}"
            except (AttributeError, KeyError, ImportError):
                pass
        if id(value) not in self._given:
            made = self._names.made(f"{home}.{name}" if callable(value) and home else name)
            self._given[id(value)] = made
            self.globals[made] = value
        return self._given[id(value)]


def python_code(self: Graph, root_module: str, **settings: Any) -> Code:
    return Code(self, root_module)


Graph.python_code = python_code


_USER_PRESERVED_ATTRIBUTES_KEY = "_user_preserved_attributes"


def _copy_attr(from_module: Any, to_module: Any, target: str) -> None:
    """Sets the layer or tensor that one module has at a path at the same path of another module."""
    owner, name = _owner(to_module, target)
    value = attrgetter(target)(from_module)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        owner.register_buffer(name, value)
    else:
        setattr(owner, name, value)


def _owner(module: Module, target: str) -> tuple[Any, str]:
    """The module that has the last name of a path, and this name. Missing modules on the way are made."""
    *path, name = target.split(".")
    for part in path:
        if not hasattr(module, part):
            setattr(module, part, nn.Module())
        module = getattr(module, part)
    return module, name


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
        base = next(kind for kind in cls.__mro__ if not vars(kind).get("_is_of_one", False))
        own = types.new_class(cls.__name__, (base,), {}, lambda body: body.update(_is_of_one=True))
        own.__module__ = __name__
        own.__qualname__ = _QUALNAME
        return super().__new__(own)

    def __init__(self, root: Any, graph: Graph, class_name: str = "GraphModule") -> None:
        super().__init__()
        type(self).__name__ = class_name
        named = [node.target for node in graph.nodes if node.op in ("get_attr", "call_module")]
        if isinstance(root, nn.Module):
            self.training = root.training
            for target in dict.fromkeys(named):
                _copy_attr(root, self, target)
        else:
            for target in sorted(dict.fromkeys(named), key=lambda path: path.count(".")):
                self.add_submodule(target, root[target])
        self.graph = graph
        self._tracer_cls = None
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

    code = property(lambda self: self._code)

    def print_readable(self, print_output: bool = True, **settings: Any) -> str:
        if print_output:
            print(self._code)
        return self._code

    def add_submodule(self, target: str, m: Module) -> bool:
        """Gives it a layer, or a value, at a path."""
        owner, name = _owner(self, target)
        setattr(owner, name, m)
        return True

    def delete_submodule(self, target: str) -> bool:
        owner, _, name = target.rpartition(".")
        delattr(self.get_submodule(owner), name)
        return True

    def delete_all_unused_submodules(self) -> None:
        """Deletes layers that the graph does not call."""
        used = [f"{node.target}." for node in self._graph.nodes if node.op in ("call_module", "get_attr")]
        for path in [name for name, _ in self.named_modules() if name]:
            needed = any(name.startswith(f"{path}.") or f"{path}.".startswith(name) for name in used)
            if not needed and path in dict(self.named_modules()):
                self.delete_submodule(path)

    def __deepcopy__(self, memo: Any) -> GraphModule:
        made = type(self).__new__(type(self))
        memo[id(self)] = made
        body: Any = _CodeOnlyModule(copy.deepcopy(self.__dict__, memo))
        GraphModule.__init__(made, body, body._graph, type(self).__name__)
        made.meta = body.meta
        made.training = self.training
        return made

    def __reduce__(self) -> Any:
        base = next(kind for kind in type(self).__mro__ if not vars(kind).get("_is_of_one", False))
        return _made_again, (base, type(self).__name__), dict(self.__dict__)

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.graph = self._graph


def _made_again(kind: Any, name: str) -> GraphModule:
    made = kind.__new__(kind)
    type(made).__name__ = name
    return made


def symbolic_trace(root: Any, concrete_args: dict[str, Any] | None = None) -> GraphModule:
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
    if isinstance(root, nn.Module):
        name = type(root).__name__
    else:
        name = root.__name__
    return GraphModule(tracer.root, graph, name)


class Interpreter:
    """Runs a graph node by node; subclasses change what a kind of nodes does."""

    def __init__(self, module: Any, garbage_collect_values: bool = True, graph: Graph | None = None) -> None:
        self.module = module
        self.graph = graph or module.graph
        self.env: dict[Node, Any] = {}

    def run(self, *args: Any, initial_env: dict[Node, Any] | None = None, **settings: Any) -> Any:
        """The result for these arguments."""
        self.env, self._given = dict(initial_env or {}), iter(args)
        for node in self.graph.nodes:
            if node not in self.env:
                self.env[node] = self.run_node(node)
            if node.op == "output":
                return self.env[node]
        return None

    def run_node(self, n: Node) -> Any:
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return getattr(self, n.op)(n.target, args, kwargs)

    def fetch_args_kwargs_from_env(self, n: Node) -> tuple[Any, Any]:
        return map_arg((n.args, n.kwargs), lambda used: self.env[used])

    def fetch_attr(self, target: str) -> Any:
        return attrgetter(target)(self.module)

    def placeholder(self, target: str, args: Any, kwargs: dict[str, Any]) -> Any:
        if target.startswith("*"):
            return list(self._given)
        return next(self._given, *args)

    def get_attr(self, target: str, args: Any, kwargs: dict[str, Any]) -> Any:
        return self.fetch_attr(target)

    def call_function(self, target: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        return target(*args, **kwargs)

    def call_method(self, target: str, args: Any, kwargs: dict[str, Any]) -> Any:
        return getattr(args[0], target)(*args[1:], **kwargs)

    def call_module(self, target: str, args: Any, kwargs: dict[str, Any]) -> Any:
        return self.fetch_attr(target)(*args, **kwargs)

    def output(self, target: str, args: Any, kwargs: dict[str, Any]) -> Any:
        return args[0]
