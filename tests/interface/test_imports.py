"""No import runs up the layers, and no chain of imports leads back to its first module.

Every import below python/ranvier counts: at module level, in a function, under TYPE_CHECKING, or made by
import_module. The edge goes to the named module; `from package import x` goes to the package, and to a module
`package.x` if there is one. That Python first runs the `__init__` of each parent is no edge: it does so for
every module.
"""

import ast
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import ranvier
from support.python import printed

# From the lowest layer to the highest; parts in one line do not import each other. "ranvier" is its __init__.
# Those with a star are satellites: tests/interface/test_satellites.py.
LAYERS = """
    _core
    config extension grad_mode observe settings
    tensors
    tape
    autograd
    kernels version
    ops
    fft linalg nn
    func optim serialization layer_table
    data metrics compile
    train
    ranvier
    data.vision* distributed* distributions* export* onnx* plot* sklearn*
    explore* torch*
    cli*
    __main__
"""
RANK = {part.strip("*"): rank for rank, line in enumerate(LAYERS.split("\n")) for part in line.split()}
SATELLITES = [part.strip("*") for part in LAYERS.split() if part.endswith("*")]


def sources(folder):
    """The text of each module of a package, by the module's full name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = (folder.name, *path.relative_to(folder).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def imports(modules):
    """For each module the modules, of these, that it imports."""
    edges = {}
    for name, text in modules.items():
        targets = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                targets.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}, line {node.lineno}: expected the module's full name"
                targets.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
            elif isinstance(node, ast.Call) and _called(node.func) == "import_module":
                targets.update(arg.value for arg in node.args if isinstance(arg, ast.Constant))
        edges[name] = (targets & modules.keys()) - {name}
    return edges


def _called(function):
    """The last name of what is called."""
    return getattr(function, "attr", getattr(function, "id", ""))


def circle(edges):
    """One chain of imports that leads back to its first module, or none."""
    try:
        TopologicalSorter(edges).prepare()
    except CycleError as error:
        return error.args[1][::-1]
    return []


def part(module):
    """The entry of the table: the folder or file directly below the package, or a satellite inside one."""
    inside = [name for name in SATELLITES if f"{module}.".startswith(f"ranvier.{name}.")]
    return inside[0] if inside else module.split(".")[1] if "." in module else module


def upward(edges):
    """Imports of a part in the same or a higher layer."""
    pairs = [(name, target) for name, targets in edges.items() for target in targets]
    return [(a, b) for a, b in pairs if part(a) != part(b) and RANK[part(a)] <= RANK[part(b)]]


def test_layers_of_the_package():
    edges = imports({"ranvier._core": "", **sources(Path(ranvier.__file__).parent)})
    assert {part(name) for name in edges} == RANK.keys()
    assert upward(edges) == []
    assert circle(edges) == []


@pytest.mark.parametrize(
    "statement",
    [
        "import ranvier.nn",
        "import numpy, ranvier.nn.conv as conv",
        "from ranvier import nn",
        "from ranvier.nn import conv",
        "from ranvier.nn.conv import Conv2d",
        "def f():\n    import ranvier.nn.conv",
        "if TYPE_CHECKING:\n    from ranvier.nn.conv import Conv2d",
        "importlib.import_module('ranvier.nn')",
    ],
)
def test_every_kind_of_import_is_seen(statement):
    below = {"ranvier.nn": "import ranvier.ops.conv as conv", "ranvier.nn.conv": "import ranvier.nn as nn"}
    edges = imports({"ranvier.ops.conv": statement, **below})
    assert upward(edges)
    assert circle(edges)


def test_every_module_is_reached_by_attribute() -> None:
    """No function has the name of a module beside it; `rv.compile` is both."""
    code = "import importlib, operator, pkgutil, sys, ranvier\n"
    code += "for m in pkgutil.walk_packages(ranvier.__path__, 'ranvier.', lambda name: None):\n"
    code += "    if '._' in m.name: continue\n"
    code += "    try: module = importlib.import_module(m.name)\n"
    code += "    except ImportError: continue\n"
    code += "    if operator.attrgetter(m.name.partition('.')[2])(ranvier) is not module: print(m.name)\n"
    assert printed("-W", "ignore", "-c", code) == ""
