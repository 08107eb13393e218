"""The signatures in `_core.pyi`, written by hand, are those of the compiled core."""

import ast
import re
from pathlib import Path

import pytest
import ranvier
from ranvier import _core

STUB = ast.parse(Path(ranvier.__file__).with_name("_core.pyi").read_text())
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
ATTRIBUTES = {node.target.id for node in STUB.body if isinstance(node, ast.AnnAssign)}


def compiled_signature(name):
    """The parameters that pybind11 writes on a docstring's first line, with its C++ types left out."""
    line = getattr(_core, name).__doc__.splitlines()[0]
    parsed = ast.parse(f"def {line}: ...")
    return parsed.body[0].args


def default_values(arguments):
    return [ast.literal_eval(default) for default in arguments.defaults]


def test_stub_and_core_have_the_same_names():
    core = {name for name in dir(_core) if not re.fullmatch("__.*__", name)} | {"__version__"}
    assert {*FUNCTIONS, *CLASSES, *ATTRIBUTES} == core


@pytest.mark.parametrize("name", CLASSES)
def test_stub_has_the_core_s_members(name):
    stub = {
        getattr(node, "name", None) or node.target.id
        for node in CLASSES[name].body
        if not isinstance(node, ast.Expr)
    }
    core = {member for member in vars(getattr(_core, name)) if not member.startswith("_") or member in stub}
    assert stub == core


@pytest.mark.parametrize("name", FUNCTIONS)
def test_stub_has_the_core_s_parameters(name):
    stub, core = FUNCTIONS[name].args, compiled_signature(name)
    stub_names = [a.arg for a in stub.posonlyargs + stub.args]
    core_names = [a.arg for a in core.posonlyargs + core.args]
    if not stub.posonlyargs:
        assert stub_names == core_names
    else:  # parameters without a name in the core: no call can give them one
        assert core_names == [f"arg{i}" for i in range(len(stub_names))]
    assert default_values(stub) == default_values(core)
