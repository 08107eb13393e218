"""`_core.pyi`, which cmake/write_stub.py generates, describes the core that is loaded."""

import ast
import pickle
import re
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import ranvier
from ranvier import _core
from support.imported import imported

SCRIPT = Path(__file__).parents[2] / "cmake" / "write_stub.py"
TEXT = Path(ranvier.__file__).with_name("_core.pyi").read_text()
STUB = ast.parse(TEXT)
NAMES = {node.name for node in STUB.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_every_name_of_the_core_has_an_entry():
    assert {name for name in dir(_core) if not re.fullmatch("__.*__", name)} == NAMES
    assert len(NAMES) > 200


@pytest.mark.parametrize("name", [n.name for n in STUB.body if isinstance(n, ast.ClassDef)])
def test_every_member_of_a_class_has_an_entry(name):
    node = next(n for n in STUB.body if isinstance(n, ast.ClassDef) and n.name == name)
    stub = {getattr(n, "name", None) or n.target.id for n in node.body if not isinstance(n, ast.Expr)}
    core = {member for member in vars(getattr(_core, name)) if not member.startswith("_") or member in stub}
    assert stub == core


def test_stub_is_of_this_build():
    assert imported(SCRIPT).stub(_core) == TEXT


def test_types_and_defaults_of_a_function():
    assert "def softmax(x: Array, axis: int = -1, out: Array | None = None) -> Array: ...\n" in TEXT
    assert "def add(a: Number, b: Number, out: Array | None = None) -> Array: ...\n" in TEXT
    functions = [node for node in STUB.body if isinstance(node, ast.FunctionDef)]
    for argument in chain.from_iterable(function.args.args for function in functions):
        assert argument.annotation is not None
        assert ast.unparse(argument.annotation) != "object"


@pytest.mark.parametrize(
    ("positional", "keywords", "message"),
    [
        ((1, 2, 3, 4, 5, 6, 7, 8), {}, "[softmax] got 8 arguments; expected 3 at most"),
        ((1,), {"dim": 0}, "[softmax] got an argument 'dim'; expected only those that it has"),
        ((1, -1), {"axis": 0}, "[softmax] got axis twice; expected it once"),
        ((), {"axis": 0}, "[softmax] got no x; expected it"),
    ],
)
def test_arguments_that_a_function_has_not(positional, keywords, message):
    with pytest.raises(TypeError) as error:
        _core.softmax(*positional, **keywords)
    assert str(error.value) == message


def test_keywords_are_compared_by_their_text():
    x = np.ones((2, 3), np.float32)
    made = {"".join(("ax", "is")): 0}  # a string that is not interned
    assert np.array_equal(_core.softmax(x, **made), np.full((2, 3), 0.5, np.float32))


def test_a_function_is_pickled_by_its_name():
    assert pickle.loads(pickle.dumps(_core.softmax)) is _core.softmax
