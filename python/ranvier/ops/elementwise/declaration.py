"""What the declaration of an element-wise op says: the fields of ``Elementwise(...)`` (`op.py`).

`op.py` makes the op of it, `node.py` its Function, and `compute.py` computes it in Python.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ranvier.ops.elementwise.dtypes import as_number
from ranvier.ops.namespaces import FIRST_INPUT, RESULT, SECOND_INPUT
from ranvier.tape.function import Dtypes, Function
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor

# What an op does with integers and bools (`dtypes=` of a declaration); half floats are computed in float32.
INTEGERS_TO_FLOATS = Dtypes(integers="floats")  # it makes floats of the default dtype of them
EVERY_DTYPE = Dtypes(integers="kept")  # NumPy computes them as they are
FLOATS_ONLY = Dtypes(integers="refused")  # TypeError

PLACES = {"x": FIRST_INPUT, "a": FIRST_INPUT, "b": SECOND_INPUT, "y": RESULT}
"""Name of an operand, or of the result, in formulas -> its index among the inputs, or RESULT."""


Gradient: TypeAlias = Callable[..., Any] | int | None


class Declaration:
    """The declaration of an op y = f(x) or f(a, b).

    kernel: a function of the core, kernel(operands, settings, out), that computes floats.
    gradient: a function that computes dx by operators and functions of f (`ops/namespaces.py`); for two
        operands a pair of functions, for da and db. The names of its parameters say what it reads: f, dy, the
        operands x, or a and b, the result y; all other names are settings. It is the formula of the core's
        kernel <name>_backward; if the core has none, the formula runs instead. 0: y is constant between its
        jumps. None: y carries no gradient.
    numpy: NumPy's function. Beside a kernel it computes integers and bools, which are kept; without a kernel,
        floats. If it is a ufunc, the core runs its inner loops on integers; else the inner loops of `ufunc`,
        if given.
    dtypes: what the op does with integers and bools: EVERY_DTYPE, FLOATS_ONLY or INTEGERS_TO_FLOATS. If it is
        not given: EVERY_DTYPE if there are both a kernel and a function of NumPy, else INTEGERS_TO_FLOATS.

    of_integers(x, settings): computes the op of integers by other ops, instead of `numpy`.
    check_dtype(name, dtype, operands): raises an error for a dtype that the op does not support.
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
    """

    def __init__(
        self,
        kernel: Callable[..., Array] | None = None,
        gradient: Gradient | tuple[Gradient, Gradient] = None,
        numpy: Any = None,
        dtypes: Dtypes | None = None,
        ufunc: np.ufunc | None = None,
        of_integers: Callable[..., Tensor] | None = None,
        check_dtype: Callable[..., None] | None = None,
        formula: Any = None,
        kinks: bool = False,
        backward_kernel: str = "",
        same_slope: Callable[..., bool] | None = None,
        frees_result: bool = False,
        node: Any = None,
        with_number: Callable[[float], Function] | None = None,
        of_number: Callable[[float], Function] | None = None,
        number: Callable[[str, Any, np.dtype[Any]], Any] = as_number,
        instead: Callable[..., Array | None] | None = None,
        title: str = "",
    ) -> None:
        self.kernel = kernel
        self.gradient = gradient
        self.numpy = numpy
        self.ufunc = ufunc
        self.of_integers = of_integers
        self.check_dtype = check_dtype
        self.formula = formula
        self.kinks = kinks
        self.backward_kernel = backward_kernel
        self.same_slope = same_slope
        self.frees_result = frees_result
        self.own_node = node
        self.with_number = with_number
        self.of_number = of_number
        self.number = number
        self.instead = instead
        self.title = title
        self.name = ""
        if dtypes is not None:
            self.dtypes = dtypes
        elif kernel is None or numpy is None:
            self.dtypes = INTEGERS_TO_FLOATS
        else:
            self.dtypes = EVERY_DTYPE
        self.settings = self._settings()

    @property
    def gradients(self) -> tuple[Gradient, ...]:
        """The gradient of x, or of a and of b."""
        if isinstance(self.gradient, tuple):
            return self.gradient
        return (self.gradient,)

    @property
    def node(self) -> Any:
        """What makes the node of a call from its settings; None for an op without a gradient (`op.py`)."""
        raise NotImplementedError

    @property
    def has_gradient(self) -> bool:
        """False if no result carries a gradient."""
        gives_gradient = self.gradient is not None or self.formula is not None
        return gives_gradient or self.own_node is not None

    def _settings(self) -> tuple[str, ...]:
        """The names of the settings: the parameters of the formulas that are neither operands nor the result,
        f or dy."""
        names: list[str] = []
        for formula in (*self.gradients, self.formula):
            for name in parameters_of(formula):
                if name not in PLACES and name not in ("f", "dy", *names):
                    names.append(name)
        return tuple(names)


def parameters_of(formula: Gradient) -> tuple[str, ...]:
    """The names of a formula's parameters; none for a number or None."""
    code = getattr(formula, "__code__", None)
    if code is None:
        return ()
    return code.co_varnames[: code.co_argcount]
