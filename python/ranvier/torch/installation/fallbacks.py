"""Whether the code that asks for a name of PyTorch goes on without it.

`try: from torch.x import y` with `except ImportError: y = None` says what to do where y is missing. There a
name that this library leaves out raises, so that the program takes the way that it has. Elsewhere such a name
is a stand-in (`absent.py`), since libraries import many names that they rarely use.

The source of the asking module says so. A `try` counts if a handler for the error does not raise in turn. A
`try` that imports `torch` itself waits for a missing PyTorch, and does not count.
"""

from __future__ import annotations

import ast
import linecache
import os
import sys
from functools import cache
from types import FrameType
from typing import Any

_HERE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_IMPORT_ERRORS = frozenset({"ImportError", "ModuleNotFoundError", "Exception", "BaseException"})
_ATTRIBUTE_ERRORS = frozenset({"AttributeError"})


def is_awaited(name: str, imports: bool = False) -> bool:
    """True if the code that asks for a name has a way to go on without it.

    name: the last part of its path.
    imports: Python asks for it as a module.
    """
    asker = _asker()
    return asker is not None and _goes_on(asker.f_code.co_filename, asker.f_lineno, name, imports)


def _asker() -> FrameType | None:
    """The frame that asks: the first outside this folder and Python's import system."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_inner(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


@cache
def _is_inner(file: str) -> bool:
    is_import = file.startswith("<frozen importlib") or file.endswith(f"importlib{os.sep}__init__.py")
    return is_import or file.startswith(_HERE)


@cache  # libraries ask for a type at each call: isinstance(x, torch.SymInt)
def _goes_on(file: str, line: int, name: str, imports: bool) -> bool:
    """True if a `try` around this line has a handler for the error of a missing name that goes on."""
    block = _try_around(file, line)
    if block is None or any(map(_imports_torch, block.body)):
        return False
    if imports:
        errors = _IMPORT_ERRORS
    else:
        errors = _errors(block, line, name)
    for handler in block.handlers:
        if _names(handler) & errors:
            return not any(isinstance(statement, ast.Raise) for statement in handler.body)
    return False


def _try_around(file: str, line: int) -> ast.Try | None:
    """The `try` whose body runs this line; None if there is none, or if a function that it makes has it."""
    nodes = _nodes(file)
    block: ast.Try | None = _innermost([node for node in nodes if isinstance(node, ast.Try)], line)
    function = _innermost([node for node in nodes if not isinstance(node, ast.Try)], line)
    if block is None or (function is not None and function.lineno > block.lineno):
        return None
    return block


def _errors(block: ast.Try, line: int, name: str) -> frozenset[str]:
    """What a `try` has to catch so that it goes on where a name is missing that this line asks for.

    Nothing, for code that looks up any name, such as pydoc.locate.
    """
    nodes_of_line: list[ast.AST] = []
    for statement in block.body:
        nodes_of_line += [node for node in ast.walk(statement) if _is_at(node, line)]
    if any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in nodes_of_line):
        return _IMPORT_ERRORS
    if any(_spells(node, name) for node in nodes_of_line):
        return _ATTRIBUTE_ERRORS
    return frozenset()


@cache
def _nodes(file: str) -> list[Any]:
    """The `try` statements and functions of a source file; none where there is no source."""
    try:
        tree = ast.parse("".join(linecache.getlines(file)))
    except (SyntaxError, ValueError):
        return []
    classes = (ast.Try, ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
    return [node for node in ast.walk(tree) if isinstance(node, classes)]


def _innermost(nodes: list[Any], line: int) -> Any:
    """The last of these nodes whose body has the line; None if there is none."""
    around = [node for node in nodes if _holds(_body(node), line)]
    return max(around, key=lambda node: node.lineno, default=None)


def _body(node: Any) -> list[Any]:
    if isinstance(node, ast.Lambda):
        return [node.body]
    return node.body


def _holds(body: list[Any], line: int) -> bool:
    return body[0].lineno <= line <= body[-1].end_lineno


def _imports_torch(statement: ast.stmt) -> bool:
    """True for `import torch`, which fails where PyTorch is missing."""
    return isinstance(statement, ast.Import) and any(name.name == "torch" for name in statement.names)


def _is_at(node: ast.AST, line: int) -> bool:
    return isinstance(node, (ast.stmt, ast.expr)) and _holds([node], line)


def _spells(node: ast.AST, name: str) -> bool:
    """True for `torch.name` and the text "name", as in `getattr(torch, "name")`."""
    is_attribute = isinstance(node, ast.Attribute) and node.attr == name
    return is_attribute or (isinstance(node, ast.Constant) and node.value == name)


def _names(handler: ast.ExceptHandler) -> set[str]:
    """The names of the exceptions that a handler catches."""
    if handler.type is None:
        return {"BaseException"}
    if isinstance(handler.type, ast.Tuple):
        exceptions = handler.type.elts
    else:
        exceptions = [handler.type]
    return {exception.id for exception in exceptions if isinstance(exception, ast.Name)}
