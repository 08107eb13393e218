"""Makes the class of Functions (nodes of the tape) of an element-wise op from its declaration (`row.py`).

The texts of `forward` and `backward` are composed from the declaration and compiled (`generated.py`). So each
class has methods that call its own kernels directly; methods of a common base class would have to
look them up at each call. `row` is the declaration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from inspect import Parameter
from typing import Any

import numpy as np

import ranvier.ops.elementwise.compute as compute
import ranvier.ops.namespaces as namespaces
from ranvier.ops.elementwise.declaration import PLACES, Declaration, Gradient, parameters_of
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.generated import made
from ranvier.ops.gradient_rules import diagonal, recomputed
from ranvier.ops.namespaces import KERNELS, TENSORS, differentiable_backward, formula_of
from ranvier.tape.function import OWN, Dtypes, Function, in_dtypes
from ranvier.tape.higher_order import on_arrays
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike


def node_of(row: Declaration) -> Any:
    """The class of nodes of a declaration; None if its results carry no gradient."""
    if row.gradient is row.formula is None:
        return None
    operands = "x"
    if len(row.gradients) > 1:
        operands = "ab"
    gradients = [_gradient(row, gradient, operands, i) for i, gradient in enumerate(row.gradients)]
    calls = [call for call, _ in gradients]
    read = [name for _, names in gradients for name in names]
    saves = {name: PLACES[name] for name in read}
    methods: dict[str, Any] = {"of_element": operands == "x", "frees_result": row.frees_result}
    if operands != "x":  # the saved arrays that only one gradient reads (`Function.reads`)
        methods["reads"] = {
            name: i for i, (_, names) in enumerate(gradients) for name in names if read.count(name) == 1
        }
    methods |= {"saves": saves, "dtypes": row.dtypes, **_methods(row, operands, saves, calls)}
    if row.kernel is not None and operands == "x":
        # The gradient from a y that is rounded to half floats would be inexact. If backward reads y, a call
        # with a gradient is computed in float32.
        methods["dtypes"] = OWN
        if "y" in saves:
            methods["dtypes"] = Dtypes(halves="forward")
    title = row.title or "".join(map(str.capitalize, row.name.split("_")))
    function = type(title, (Function,), methods)
    if row.kinks:
        diagonal(function, kinks=True)
    elif row.gradient is None:
        recomputed("x", kinds=(function,))(in_dtypes()(_formula_of_node(row)))
    else:
        differentiable_backward(**saves)(function)
    return function


def _formula_of_node(row: Declaration) -> Callable[[Any, Tensor], Tensor]:
    """The formula of a declaration as a function of a node, which has the settings, and x."""

    def formula(node: Any, x: Tensor) -> Tensor:
        settings = [getattr(node, name) for name in row.settings]
        return row.formula(x, *settings)

    return formula


def _gradient(row: Declaration, gradient: Gradient, operands: str, i: int) -> tuple[str, list[str]]:
    """(the text of a gradient in backward, the names of the operands and results that it reads).

    operands: "x" or "ab". i: the index of the operand whose gradient it is. A formula becomes a kernel of the
    namespaces KERNELS and TENSORS (ops/namespaces.py) under the name that the text calls.
    """
    shape = "dy.shape"
    if operands == "ab":
        shape = f"self.shapes[{i}]"
    if isinstance(gradient, int):
        return f"f.zeros_of({shape}, dy)", []
    if gradient:
        read = [name for name in parameters_of(gradient) if name in PLACES]
    else:
        read = ["x"]
    if row.backward_kernel:
        name = row.backward_kernel
    elif operands == "x":
        name = f"{row.name}_backward"
    else:
        name = f"{row.name}_backward_of_{operands[i]}"
    if gradient is not None and not row.backward_kernel:
        # The steps of the formula run in float32 for half floats, and the result is rounded once.
        once = in_dtypes()(gradient)
        formula_of(name)(once)
        if row.kernel is None:
            setattr(KERNELS, name, partial(host, _by_numpy, gradient))
        elif not hasattr(KERNELS, name):
            setattr(KERNELS, name, _on_arrays(once))
    attributes = [f"self.{attribute}" for attribute in (*read, *row.settings)]
    arguments = ", ".join(["dy", *attributes])
    call = f"f.{name}({arguments})"
    if operands == "x":
        return call, read
    return f"f.sum_to({call}, {shape})", read


def _on_arrays(formula: Callable[..., Any]) -> Callable[..., Array]:
    """A function of arrays that takes the place of a kernel. formula: a function of the namespace TENSORS and
    of Tensors."""
    no_node: Any = None

    def of_tensors(node: None, *tensors: Tensor) -> Tensor:
        return formula(TENSORS, *tensors)

    def of_arrays(*arrays: Array) -> Array:
        return on_arrays(of_tensors, no_node, *arrays)

    return of_arrays


def _by_numpy(gradient: Callable[..., Any], dy: Array, *saved: Array) -> Array:
    """A gradient by NumPy, for an op whose values NumPy computes. np takes the place of f, as the functions
    of f have NumPy's names."""
    with np.errstate(all="ignore"):
        return np.asarray(gradient(np, dy, *saved), dy.dtype)


def _methods(row: Declaration, operands: str, saves: dict[str, int], gradients: list[str]) -> dict[str, Any]:
    """The methods of a class of nodes, compiled from text.

    saves: names of saved arrays (as in `differentiable_backward`). gradients: the texts from `_gradient`.
    """
    names = ", ".join(operands)
    settings = row.settings
    if row.kernel is None:
        y = f"host(floats, name, function, {names})"
    else:
        arguments = ", ".join([*operands, *[f"self.{name}" for name in settings], "out"])
        y = f"kernel({arguments})"
    forward = [f"self.{name} = {name}" for name in operands if name in saves]
    if operands != "x":
        forward.append("self.shapes = (a.shape, b.shape)")
    if "y" in saves:
        forward += [f"self.y = y = {y}", "return y"]
    else:
        forward.append(f"return {y}")
    if operands == "x":
        backward = [f"return {gradients[0]}"]
    else:
        da, db = gradients
        backward = [f"return ({da} if self.needs[0] else None), ({db} if self.needs[1] else None)"]
    scope = {**vars(namespaces), "kernel": row.kernel, "host": host, "floats": compute.floats}
    scope |= {"name": row.name, "function": row.numpy}
    methods = {
        "forward": _method("forward", [*operands, _default("out", None)], forward, scope),
        "backward": _method("backward", ["dy", _default("f", KERNELS)], backward, scope),
        "reads_old": operands == "x" and "x" in saves,  # an op in place copies x first
    }
    if settings:
        lines = [f"self.{name} = {name}" for name in settings]
        methods["__init__"] = _method("__init__", settings, lines, scope)
    if row.same_slope is not None:
        methods["reads_old"] = property(_reads_old(row.same_slope, settings))
    if row.formula is not None:
        formula_of_node = _formula_of_node(row)

        def formula(node: Any, x: TensorLike) -> Tensor:
            return formula_of_node(node, as_tensor(row.name, x))

        methods["formula"] = formula
    return methods


def _reads_old(same_slope: Callable[..., bool], settings: Sequence[str]) -> Callable[[Any], bool]:
    """`Function.reads_old` of a node, from its settings."""

    def reads_old(node: Any) -> bool:
        return not same_slope(*[getattr(node, name) for name in settings])

    return reads_old


def _method(name: str, parameters: Iterable[Any], lines: list[str], scope: dict[str, Any]) -> Any:
    return made(name, ["self", *parameters], "\n".join(lines), scope)


def _default(name: str, value: Any) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=value)
