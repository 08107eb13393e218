"""The op of a function of each element, from its declaration: ``Elementwise(...).op(name)``.

The declaration names the kernel, the formulas of the gradients, the settings, and how other dtypes are
converted. The following is made from it: the op of the core that answers most calls, the Python code for all
other calls (`compute.py`), the node of the tape (`node.py`), derivatives of any order, forward mode, and the
formulas for ONNX and C.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import Lock
from ranvier.ops.elementwise.compute import FAILS_AT_ZERO, compute
from ranvier.ops.elementwise.declaration import (
    EVERY_DTYPE as EVERY_DTYPE,
    FLOATS_ONLY as FLOATS_ONLY,
    Declaration,
)
from ranvier.ops.elementwise.node import node_of
from ranvier.ops.gradient_rules import replaced
from ranvier.tape.function import by_kernel
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike

_MAKING = Lock()  # while a thread makes a class of nodes

DECLARATIONS: dict[str, Elementwise] = {}
"""The declarations by the names of their ops; of several with one name (heaviside, clamp) the first."""


class Elementwise(Declaration):
    """The declaration of an op y = f(x) or f(a, b), which makes the op. The fields are those of `Declaration`
    (declaration.py).

    The public function stands below it and calls the op. The op is the variable ``_<name>_op`` of the
    function's module: `tensors/spellings.py` looks it up there, so that calls without ``out`` and ``inplace``
    go to it directly. So a function that checks or converts its arguments keeps its op under another name.

    >>> import ranvier as rv
    >>> _cube_op = Elementwise(numpy=lambda x: x**3, gradient=lambda f, dy, x: dy * (3.0 * x * x)).op("cube")
    >>> def cube(input):
    ...     return _cube_op(input)
    >>> cube(rv.tensor([2.0]))
    tensor([8.])
    """

    _node: Any = None

    @property
    def node(self) -> Any:
        """The class of nodes, made at its first use, as a program uses few of them; or `own_node`."""
        if self._node is None and self.has_gradient:
            with _MAKING:
                if self._node is None:  # no other thread has made it
                    self._node = self.own_node or node_of(self)
        return self._node

    def _make_node(self) -> Any:
        return self.node

    def op(self, name: str) -> Callable[..., Tensor]:
        """Makes the op of the core with this name."""
        self.name = name
        DECLARATIONS.setdefault(name, self)
        in_python = partial(compute, self)
        make_node = self._make_node if self.has_gradient else None
        if self.settings:  # only ops of one operand have settings
            kernel: Any = self.kernel  # may be None: then the core leaves all calls to in_python
            self.call = by_kernel(kernel, make_node=make_node, floats=True, name=name)(in_python)
            return self.call
        self.call = _core._elementwise(
            in_python,
            self.kernel,
            self.loops(),
            flat=not self.has_gradient,
            fails_at_zero=name in FAILS_AT_ZERO,  # in_python raises the error for integers divided by 0
            make_node=make_node,
            with_number=self.with_number,
            of_number=self.of_number,
            name=name,
        )
        return self.call

    def loops(self) -> np.ufunc | None:
        """The ufunc whose inner loops the core runs on dtypes for which there is no kernel; or None."""
        if isinstance(self.numpy, np.ufunc) and self.dtypes.integers == "kept":
            return self.numpy
        return self.ufunc

    def with_inplace(self, x: TensorLike, inplace: bool, *settings: Any) -> Tensor:
        """The result of the op for a public function with the argument `inplace`."""
        is_floating = isinstance(x, Tensor) and x._array.dtype.kind == "f"
        if is_floating:
            result = self.node(*settings)  # a Function can write its result over x
        else:
            result = self.call(x, *settings)
        return replaced(self.name, x, result, inplace)
