"""A graph as Python code."""

from __future__ import annotations

import builtins
import math
import sys
from typing import Any

from ranvier.torch.fx.nodes import Graph, Names, Node

_NAMES = (
    "add sub mul floordiv truediv mod matmul eq ne lt gt le ge and_ or_ xor pow lshift rshift neg pos invert"
)
_TEXTS = "+ - * // / % @ == != < > <= >= & | ^ ** << >> - + ~"
_SIGNS = dict(zip(_NAMES.split(), _TEXTS.split(), strict=True))


def attribute(base: str, path: str) -> str:
    """The code that reads `base.path`."""
    for name in path.split("."):
        base = f"{base}.{name}" if name.isidentifier() else f'getattr({base}, "{name}")'
    return base


class Code:
    """A graph as a function: src, and the globals that it reads."""

    def __init__(self, graph: Graph, root: str) -> None:
        self.globals: dict[str, Any] = {"torch": sys.modules.get("torch")}
        self._names = Names()
        self._names.used |= {node.name for node in graph.nodes}
        self._given: dict[int, str] = {}
        last = {used: node for node in graph.nodes for used in node.all_input_nodes}
        parameters, lines = [root], []
        for node in graph.nodes:
            if node.op == "placeholder":
                parameters.append(node.target + (f" = {self._text(node.args[0])}" if node.args else ""))
                if (plain := node.target.lstrip("*")) != node.name:
                    lines.append(f"    {node.name} = {plain}")
                continue
            line = self._line(node, root)
            done = [n.name for n in node.all_input_nodes if last[n] is node]
            free = f";  {' = '.join([*done, 'None'])}" if done and node.op != "output" else ""
            lines.append(f"    {line}{free}")
        body = lines if lines else ["    pass"]
        self.src = "\n".join([f"def forward({', '.join(parameters)}):", *body, ""])

    def _line(self, node: Node, root: str) -> str:
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
        name, home = node.target.__name__, node.target.__module__
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
        if type(a) in (int, str, bool, bytes, type(None), type(...)) or (
            type(a) is float and math.isfinite(a)
        ):
            return "..." if a is ... else repr(a)
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
