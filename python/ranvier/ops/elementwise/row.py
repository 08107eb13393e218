"""The declaration of an element-wise op: ``@elementwise(...)`` above its public function.

It names the kernel, the formulas of the gradients, the settings, and how other dtypes are converted. The
following is made from the declaration: the public function, the op of the core that answers most calls, the
Python code for all other calls (`compute.py`), the node of the tape (`node.py`), derivatives of any order,
forward mode, and the formulas for ONNX and C.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.compute import DIVIDES, compute
from ranvier.ops.elementwise.dtypes import Array, as_number
from ranvier.ops.elementwise.node import node_of, settings_of
from ranvier.ops.generated import made
from ranvier.ops.gradient_rules import replaced
from ranvier.tape.function import Dtypes, Function
from ranvier.tape.inplace import written
from ranvier.tensors.tensor import Tensor

F = TypeVar("F", bound=Callable[..., Any])
FLOATS = Dtypes(integers="floats")
KEPT = Dtypes()
REFUSED = Dtypes(integers="refused")
ROWS: dict[str, elementwise] = {}
"""The declarations by the names of their ops."""


@dataclass(eq=False)
class elementwise:
    """The declaration of an op y = f(x) or f(a, b), a decorator of its public function.

    The body of the function is its docstring. Its parameters are the operands, then the settings; with
    ``inplace`` or ``out`` among them it can change x, or write to another tensor.

    kernel: a function of the core, kernel(operands, settings, out), that computes floats.
    gradient: a function that computes dx by operators and functions of f (`ops/namespaces.py`); for two
        operands a pair of functions, for da and db. The names of its parameters say what it reads: f, dy, the
        operands x, or a and b, the result y; all other names are settings. It is the formula of the core's
        kernel <name>_backward; if the core has none, the formula runs instead. 0: y is constant between its
        jumps. None: y carries no gradient.
    numpy: NumPy's function. Beside a kernel it computes integers and bools, which are kept; without a kernel,
        floats. If it is a ufunc, the core runs its inner loops on integers; else the inner loops of `ufunc`,
        if given.
    dtypes: KEPT: NumPy's function computes all dtypes as they are. REFUSED: the op takes floats only.
        Otherwise integers become floats, unless there are both a kernel and a function of NumPy.

    of_integers(x, settings): computes the op of integers by other ops, instead of `numpy`.
    check_settings(settings), check_dtype(name, dtype, operands): raise an error for settings, or a dtype,
        that the op does not support.
    formula: a function that computes y by operators and methods of Tensor, from x and the settings. Exports
        run it if their format has no such function. Without `gradient`, the kernel <name>_backward computes
        first derivatives, and those of higher order follow from the formula.
    kinks: whether the slope of y changes at kinks only. Second gradients are then 0, and <name>_backward also
        computes first gradients.
    backward_kernel: the name of a kernel of f that computes dx from dy and what `gradient` reads.
    same_slope(settings): whether the slope computed from y is the same as that computed from x. An op in
        place, which writes y over x, then needs no copy of x.
    frees_result: see Function. PyTorch saves the operands of the op, while the gradient here reads y.
    node: makes a Function that is defined elsewhere. with_number, of_number: make those of f(x, 2.0) and
    f(2.0, x). number(name, x, dtype): what `numpy` gets in place of a number.
    instead(*operands): what a recorded step computes by kernels instead of `numpy`, or None.
    title: the name of the class of nodes, if the op has two declarations.

    >>> import ranvier as rv
    >>> @elementwise(numpy=lambda x: x**3, gradient=lambda f, dy, x: dy * (3.0 * x * x))
    ... def cube(input): "The third power."
    >>> cube(rv.tensor([2.0]))
    tensor([8.])
    """

    kernel: Any = None
    gradient: Any = None
    numpy: Any = None
    dtypes: Any = None
    ufunc: Any = None
    of_integers: Callable[..., Tensor] | None = None
    check_settings: Callable[..., object] | None = None
    check_dtype: Callable[..., None] | None = None
    formula: Any = None
    kinks: bool = False
    backward_kernel: str = ""
    same_slope: Callable[..., bool] | None = None
    frees_result: bool = False
    node: Any = None
    with_number: Callable[[float], Function] | None = None
    of_number: Callable[[float], Function] | None = None
    number: Callable[[str, Any, np.dtype[Any]], Any] = as_number
    instead: Callable[..., Array | None] | None = None
    name: str = ""
    title: str = ""

    def __post_init__(self) -> None:
        if self.dtypes is None:
            if self.kernel is None or self.numpy is None:
                self.dtypes = FLOATS
            else:
                self.dtypes = KEPT
        self.settings = settings_of(self)

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
