"""The declaration of an element-wise op: ``@elementwise(...)`` above its public function.

It names the kernel, the formulas of the gradients, the settings, and how other dtypes are converted. The
following is made from the declaration: the public function, the op of the core that answers most calls, the
Python code for all other calls (`compute.py`), the node of the tape (`node.py`), derivatives of any order,
forward mode, and the formulas for ONNX and C.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.compute import DIVIDES, compute
from ranvier.ops.elementwise.declaration import (
    EVERY_DTYPE as EVERY_DTYPE,
    FLOATS_ONLY as FLOATS_ONLY,
    Declaration,
)
from ranvier.ops.elementwise.node import node_of
from ranvier.ops.generated import made
from ranvier.ops.gradient_rules import replaced
from ranvier.tape.inplace import written
from ranvier.tensors.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
ROWS: dict[str, elementwise] = {}
"""The declarations by the names of their ops."""


class elementwise(Declaration):
    """The declaration of an op y = f(x) or f(a, b), a decorator of its public function.

    The body of the function is its docstring. Its parameters are the operands, then the settings; with
    ``inplace`` or ``out`` among them it can change x, or write to another tensor. The fields are those of
    `Declaration` (declaration.py).

    >>> import ranvier as rv
    >>> @elementwise(numpy=lambda x: x**3, gradient=lambda f, dy, x: dy * (3.0 * x * x))
    ... def cube(input): "The third power."
    >>> cube(rv.tensor([2.0]))
    tensor([8.])
    """

    def op(self, name: str) -> Callable[..., Tensor]:
        """Makes the op of the core with this name. Called directly for a public function that does more than
        call the op."""
        self.name = name
        self.node = self.node or node_of(self)
        ROWS.setdefault(name, self)
        in_python = partial(compute, self)
        if self.settings:
            return _core._by_kernel(in_python, self.kernel, self.node, 1, True, None, -1, False, name)
        kernels = self.kernel, self.loops(), self.node is None, name in DIVIDES
        return _core._elementwise(in_python, *kernels, self.node, self.with_number, self.of_number, name)

    def loops(self) -> Any:
        """The ufunc whose inner loops the core runs on dtypes for which there is no kernel; or None."""
        keeps = self.dtypes.integers == "kept"
        if isinstance(self.numpy, np.ufunc) and keeps:
            return self.numpy
        return self.ufunc

    def __call__(self, function: F) -> F:
        """Makes the public function. It is compiled from a text with the function's own parameters, since a
        call with *args takes as long as a small op."""
        name = function.__name__
        parameters = inspect.signature(function).parameters
        scope: dict[str, Any] = {"op": self.op(name), "node": self.node, "check": self.check_settings}
        scope |= {"Tensor": Tensor, "replaced": replaced, "written": written}
        scope |= {"__name__": function.__module__, "__file__": function.__code__.co_filename}
        given = ", ".join(p for p in parameters if p not in ("inplace", "out"))
        x, _, settings = given.partition(", ")
        if self.check_settings is not None:
            lines = [f"check({settings})"]
        else:
            lines = []
        if "inplace" in parameters:
            floats = f"isinstance({x}, Tensor) and {x}._array.dtype.kind == 'f'"
            y = f"node({settings}) if {floats} else op({given})"  # a Function can write its result over x
            lines.append(f"if inplace is not False: return replaced({name!r}, {x}, {y}, inplace)")
        if "out" in parameters:
            lines.append(f"if out is not None: return written({name!r}, out, op({given}))")
        lines.append(f"return op({given})")
        public = made(name, parameters.values(), "\n".join(lines), scope, "Tensor")
        public.__code__ = public.__code__.replace(co_firstlineno=function.__code__.co_firstlineno)
        public.__doc__ = function.__doc__
        # doctest does not find a compiled function by itself.
        function.__globals__.setdefault("__test__", {})[name] = public
        return public
