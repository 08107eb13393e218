"""PyTorch's own tests of distributed calls, on this library: run by each rank of a job.

The class of tests is compiled from the source of the installed PyTorch with `torch` meaning this library.
Nothing of it is copied, and PyTorch itself is not imported.
"""

import __future__

import ast
import os
import traceback
import types
import unittest
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ranvier as rv

_DECORATORS = ("staticmethod", "classmethod")  # all others choose a backend or a number of GPUs
_CLASSES = ("DistributedTest", "Foo")
_OBJECTS = ("f = ", "f.bar = ")  # that are sent


def _tree() -> ast.Module:
    spec = find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "testing/_internal/distributed/distributed_test.py"
    return ast.parse(path.read_text())


def names() -> list[str]:
    """The tests of PyTorch's class."""
    kind = next(n for n in ast.walk(_tree()) if isinstance(n, ast.ClassDef) and n.name == "_DistTestBase")
    found = [node.name for node in kind.body if isinstance(node, ast.FunctionDef)]
    return [name for name in found if name.startswith("test_")]


class Names:
    """A module of this library, and a few names more."""

    def __init__(self, module: Any, **more: Any) -> None:
        vars(self).update(more, module=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name)


class Base(unittest.TestCase):
    """The methods of PyTorch's TestCase that unittest's lacks; the tests become methods of a subclass."""

    def runTest(self) -> None: ...

    @property
    def rank(self) -> int:
        return rv.distributed.get_rank()

    @property
    def world_size(self) -> str:
        return str(rv.distributed.get_world_size())

    def _barrier(self, *args: Any, **kwargs: Any) -> None:
        rv.distributed.barrier()

    def call_dist_op(self, title: str, is_async: bool, op: Any, *args: Any, **options: Any) -> None:
        """The call, without the profiler around it."""
        second = options.pop("secondary_op_call", None)
        for name in ("expect_event", "profile_cuda", "tensor_shapes"):
            options.pop(name, None)
        works = [op(*args, **options), *([second()] if second else ())]
        for work in works if is_async else ():
            work.wait()

    def assertEqual(self, first: Any, second: Any, msg: Any = None) -> None:
        if isinstance(first, rv.Tensor) and isinstance(second, rv.Tensor):
            assert (first.shape, first.dtype) == (second.shape, second.dtype), (first, second)
            np.testing.assert_array_equal(first.numpy(), second.numpy())
        else:
            assert first == second, (first, second)

    def assertRaisesRegex(self, kind: Any, *args: Any) -> Any:
        """An error of the standard form: the words are not PyTorch's. TimeoutError stands for their text."""
        return pytest.raises((kind, ValueError, TypeError), match=r"^\[\w+\] .+; expected .+")

    def assertGreaterAlmostEqual(self, first: float, second: float, **options: Any) -> None:
        assert first >= second - options.get("delta", 1e-7)


def case(dtype: str) -> Base:
    """The tests as methods of one object. `torch.float`, which most of them use, is this dtype."""
    tree = _tree()
    tree.body[:] = [node for node in tree.body if _is_kept(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            node.decorator_list = [d for d in node.decorator_list if getattr(d, "id", "") in _DECORATORS]
    space: dict[str, Any] = {
        "torch": Names(rv, float=getattr(rv, dtype), complex64="complex64"),
        "dist": Names(rv.distributed, get_debug_level=int, DebugLevel=types.SimpleNamespace(DETAIL=2)),
        "nn": rv.nn,
        "BACKEND": "mpi",
        "IS_FBCODE": False,
        "_get_default_group": lambda: rv.distributed.group.WORLD,
        "__name__": __name__,
    }
    flags = __future__.annotations.compiler_flag  # they name what is not here
    exec(compile(tree, "distributed_test.py", "exec", flags), space)
    space["Foo"] = globals().setdefault("Foo", space["Foo"])  # where pickle finds it
    build = space["_build_tensor"]

    def build_tensor(size: int, value: Any = None, dtype: Any = None) -> rv.Tensor:
        dtype = build.__defaults__[1] if dtype is None else dtype
        negative = value is not None and value < 0 and dtype == rv.uint8  # which uint8 refuses here
        return build(size, int(value) % 256 if negative else value, dtype)

    space["_build_tensor"] = build_tensor
    theirs = {
        name: value
        for name, value in vars(space["DistributedTest"]._DistTestBase).items()
        if name not in vars(Base) and isinstance(value, (types.FunctionType, staticmethod, classmethod))
    }
    return type("Case", (Base,), theirs)()


def _is_kept(node: ast.stmt) -> bool:
    """Imports of the standard library and NumPy, functions, the class of tests, the objects that are sent."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        modules = [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        return not any(name.split(".")[0] == "torch" for name in modules)
    if isinstance(node, ast.ClassDef):
        return node.name in _CLASSES
    if isinstance(node, ast.Assign):
        return ast.unparse(node).startswith(_OBJECTS)
    return isinstance(node, ast.FunctionDef)


def outcomes(tests: list[str]) -> Iterator[str]:
    """The error of each test ("name dtype"), or "", up to the first error: the ranks are then apart."""
    made: dict[str, Base] = {}
    for name, dtype in map(str.split, tests):
        here = made[dtype] = made.get(dtype) or case(dtype)
        os.environ.update(BACKEND="mpi", WORLD_SIZE=here.world_size)
        rv.manual_seed(0)  # as PyTorch's own run: all ranks draw the same
        try:
            getattr(here, name)()
        except BaseException as error:
            yield f"{type(error).__name__}: {error}\n" + traceback.format_exc()[-1000:]
            return
        yield ""
