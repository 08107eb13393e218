"""Write the stub `_core.pyi` from the compiled module's own signatures: python write_stub.py MODULE STUB.

A function's docstring begins with its signature. The types are those that the parameters in
cpp/bindings/binder/params.h name. A class's docstring has the signatures of what Python calls by a slot.
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


def function(text, indent=""):
    """`name(parameters) -> type`, the first line of a function's text, as a definition."""
    line = re.sub(r"\(self: [\w.]+", "(self", text.splitlines()[0])
    ast.parse(f"def {line}: ...")  # SyntaxError: a C++ type that has no Python name
    return f"{indent}def {line}: ...\n"


def members(cls):
    for line in (cls.__doc__ or "").splitlines():  # of what is no method with a text of its own
        yield function(line, "    ")
    for name, value in vars(cls).items():
        is_attribute = inspect.isgetsetdescriptor(value) or inspect.ismemberdescriptor(value)
        if is_attribute and not name.startswith("__"):
            yield f"    {name}: {value.__doc__}\n"
        elif (getattr(value, "__doc__", "") or "").startswith(f"{name}(self: "):
            yield function(value.__doc__, "    ")
        elif name == "dtype":  # of a class of NumPy's scalars
            yield "    dtype: Any\n"
        elif name == "__call__" and not cls.__doc__:
            yield "    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...\n"


def stub(module):
    names = [name for name in vars(module) if not name.startswith("__")]
    values = {name: getattr(module, name) for name in names}
    classes = [
        f"class {n}:\n{''.join(members(v)) or '    ...' + chr(10)}\n"
        for n, v in values.items()
        if inspect.isclass(v)
    ]
    functions = [function(v.__doc__) for v in values.values() if not inspect.isclass(v)]
    return HEADER + "\n" + "".join(functions) + "\n" + "\n".join(classes)


if __name__ == "__main__":
    Path(sys.argv[2]).write_text(stub(load(sys.argv[1])))
