"""The declaration of an element-wise op: ``@elementwise(...)`` above its public function.

It names the kernel, the formulas of the gradients, the settings, and how other dtypes are converted. The
following is made from the declaration: the public function, the op of the core that answers most calls, the
Python code for all other calls (`compute.py`), the node of the tape (`node.py`), derivatives of any order,
forward mode, and the formulas for ONNX and C.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.compute import FAILS_AT_ZERO, compute
from ranvier.ops.elementwise.declaration import (
    EVERY_DTYPE as EVERY_DTYPE,
    FLOATS_ONLY as FLOATS_ONLY,
    Declaration,
)
from ranvier.ops.elementwise.node import node_of
from ranvier.ops.generated import made
from ranvier.ops.gradient_rules import replaced
from ranvier.tape.function import by_kernel
from ranvier.tape.inplace import written
from ranvier.tensors.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
DECLARATIONS: dict[str, elementwise] = {}
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
        if self.node is None:
            self.node = node_of(self)
        DECLARATIONS.setdefault(name, self)
        in_python = partial(compute, self)
        if self.settings:
            kernel: Any = self.kernel  # may be None: then the core leaves all calls to in_python
            return by_kernel(kernel, self.node, floats=True, name=name)(in_python)
        return _core._elementwise(
            in_python,
            self.kernel,
            self.loops(),
            self.node is None,  # no result has a gradient
            name in FAILS_AT_ZERO,  # integers divided by 0 are left to in_python, which raises the error
            self.node,
            self.with_number,
            self.of_number,
            name,
        )

    def loops(self) -> np.ufunc | None:
        """The ufunc whose inner loops the core runs on dtypes for which there is no kernel; or None."""
        if isinstance(self.numpy, np.ufunc) and self.dtypes.integers == "kept":
            return self.numpy
        return self.ufunc

    def __call__(self, function: F) -> F:
        """Makes the public function, with the parameters of the decorated one. Its text, for ``elu``::

            check(alpha)
            if inplace is not False:
                return replaced('elu', input, node(alpha) if ... else op(input, alpha), inplace)
            return op(input, alpha)

        It is compiled, since a call with *args takes as long as a small op.
        """
        name = function.__name__
        parameters = inspect.signature(function).parameters
        scope: dict[str, Any] = {
            "op": self.op(name),
            "node": self.node,
            "check": self.check_settings,
            "Tensor": Tensor,
            "replaced": replaced,
            "written": written,
            "__name__": function.__module__,
            "__file__": function.__code__.co_filename,
        }
        text = self._text(name, [p for p in parameters if p not in ("inplace", "out")], parameters)
        public = made(name, parameters.values(), text, scope, "Tensor")
        public.__code__ = public.__code__.replace(co_firstlineno=function.__code__.co_firstlineno)
        public.__doc__ = function.__doc__
        # doctest does not find a compiled function by itself.
        function.__globals__.setdefault("__test__", {})[name] = public
        return public

    def _text(self, name: str, arguments: list[str], parameters: Collection[str]) -> str:
        """The body of the public function. arguments: those of the op, operands and settings."""
        x = arguments[0]
        settings = ", ".join(arguments[1:])
        result = f"op({', '.join(arguments)})"
        lines = []
        if self.check_settings is not None:
            lines.append(f"check({settings})")
        if "inplace" in parameters:
            # A Function can write its result over x, where x has floats.
            is_floating = f"isinstance({x}, Tensor) and {x}._array.dtype.kind == 'f'"
            replacement = f"node({settings}) if {is_floating} else {result}"
            lines.append(f"if inplace is not False: return replaced({name!r}, {x}, {replacement}, inplace)")
        if "out" in parameters:
            lines.append(f"if out is not None: return written({name!r}, out, {result})")
        lines.append(f"return {result}")
        return "\n".join(lines)
