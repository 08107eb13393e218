"""Write the stub `_core.pyi` from the compiled module's own signatures: python write_stub.py MODULE STUB.

pybind11 puts a function's signature on the first line of its docstring. Its types are those that the
parameters in cpp/bindings/params.h name. A binding may say more in its text: "(array: Array, /) -> None".
"""

import ast
import importlib.machinery
import importlib.util
import inspect
import re
import sys
from pathlib import Path

HEADER = '''\
"""Signatures of the compiled core, generated from cpp/bindings; `kernels.py` says what they do."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Number = Array | float  # of the dtype of the arrays beside it
Axes = int | Sequence[int] | None  # None: all
Pair = int | Sequence[int]  # for all axes, or for h and w; of one axis for 1d

__version__: str
'''


def load(path):
    """The extension module at a path, without the package around it."""
    loader = importlib.machinery.ExtensionFileLoader("_core", path)
    spec = importlib.util.spec_from_loader("_core", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def signature(value):
    """`name(parameters) -> type`: pybind11's line, or one in the text that the binding adds to it."""
    first, *more = value.__doc__.strip().splitlines()
    name = first[: first.index("(")]
    written = [line for line in more if line.startswith("(")]
    if not written:
        return first
    of_method = first.startswith(f"{name}(self: ")
    return name + (written[0].replace("(", "(self, ", 1).replace(", )", ")") if of_method else written[0])


def function(value, indent=""):
    line = re.sub(r"\(self: [\w.]+", "(self", signature(value))
    ast.parse(f"def {line}: ...")  # SyntaxError: a C++ type that has no Python name
    return f"{indent}def {line}: ...\n"


def members(cls):
    for name, value in vars(cls).items():
        if isinstance(value, property):
            yield f"    {name}: {value.fget.__doc__.split('->')[-1].strip()}\n"
        elif inspect.isgetsetdescriptor(value) and not name.startswith("__"):
            yield f"    {name}: {value.__doc__}\n"
        elif (getattr(value, "__doc__", "") or "").startswith(f"{name}(self: "):
            yield function(value, "    ")
        elif name == "__call__":
            yield "    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...\n"


def stub(module):
    names = [name for name in vars(module) if not name.startswith("__")]
    values = {name: getattr(module, name) for name in names}
    classes = [
        f"class {n}:\n{''.join(members(v)) or '    ...' + chr(10)}\n"
        for n, v in values.items()
        if inspect.isclass(v)
    ]
    functions = [function(v) for v in values.values() if not inspect.isclass(v)]
    return HEADER + "\n" + "".join(functions) + "\n" + "\n".join(classes)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(stub(load(sys.argv[1])))
