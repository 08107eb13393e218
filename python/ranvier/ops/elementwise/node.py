"""Makes the class of Functions (nodes of the tape) of an element-wise op from its declaration (`row.py`).

The texts of `forward` and `backward` are composed from the declaration and compiled (`generated.py`). So each
class has methods that call its own kernels directly; methods of a common base class would have to
look them up at each call. `row` is the declaration.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from inspect import Parameter
from typing import Any

import numpy as np

import ranvier.ops.elementwise.compute as compute
import ranvier.ops.namespaces as namespaces
from ranvier.ops.elementwise.declaration import PLACES, Declaration, parameters_of
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.generated import made
from ranvier.ops.gradient_rules import diagonal, recomputed
from ranvier.ops.namespaces import KERNELS, TENSORS, formula_of, written_once
from ranvier.tape.function import OWN, Dtypes, Function, in_dtypes
from ranvier.tape.higher_order import on_arrays
from ranvier.tensors.recording import host


def node_of(row: Declaration) -> Any:
    """The class of nodes of a declaration; None if its results carry no gradient."""
    if row.gradient is row.formula is None:
        return None
    operands = "ab" if len(row.gradients) > 1 else "x"
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
        methods["dtypes"] = Dtypes("forward") if "y" in saves else OWN
    title = row.title or "".join(map(str.capitalize, row.name.split("_")))
    kind = type(title, (Function,), methods)
    if row.kinks:
        diagonal(kind, kinks=True)
    elif row.gradient is None:
        numbers = row.settings
        recomputed("x", kinds=(kind,))(
            in_dtypes()(lambda node, x: row.formula(x, *(getattr(node, name) for name in numbers)))
        )
    else:
        written_once(**saves)(kind)
    return kind


def _gradient(row: Declaration, gradient: Any, operands: str, i: int) -> tuple[str, list[str]]:
    """(the text of a gradient in backward, the names of the operands and results that it reads).

    operands: "x" or "ab". i: the index of the operand whose gradient it is. A formula becomes a kernel of the
    namespaces KERNELS and TENSORS (ops/namespaces.py) under the name that the text calls.
    """
    shape = "dy.shape" if operands == "x" else f"self.shapes[{i}]"
    if isinstance(gradient, int):
        return f"f.zeros_of({shape}, dy)", []
    if gradient:
        read = [name for name in parameters_of(gradient) if name in PLACES]
    else:
        read = ["x"]
    name = row.backward_kernel or f"{row.name}_backward" + f"_of_{operands[i]}" * (operands != "x")
    if gradient is not None and not row.backward_kernel:
        # The steps of the formula run in float32 for half floats, and the result is rounded once.
        once = in_dtypes()(gradient)
        formula_of(name)(once)
        if row.kernel is None:
            setattr(KERNELS, name, partial(host, _by_numpy, gradient))
        elif not hasattr(KERNELS, name):
            setattr(KERNELS, name, _on_arrays(once))
    arguments = ", ".join(["dy", *(f"self.{part}" for part in (*read, *row.settings))])
    call = f"f.{name}({arguments})"
    return (call if operands == "x" else f"f.sum_to({call}, {shape})"), read


def _on_arrays(formula: Any) -> Any:
    """A function of arrays that takes the place of a kernel. formula: a function of the namespace TENSORS and
    of Tensors."""
    nothing: Any = None
    return lambda *arrays: on_arrays(lambda node, *xs: formula(TENSORS, *xs), nothing, *arrays)


def _by_numpy(gradient: Any, dy: Array, *saved: Array) -> Array:
    """A gradient by NumPy, for an op whose values NumPy computes. np takes the place of f, as the functions
    of f have NumPy's names."""
    with np.errstate(all="ignore"):
        return np.asarray(gradient(np, dy, *saved), dy.dtype)


def _methods(row: Declaration, operands: str, saves: dict[str, int], gradients: list[str]) -> dict[str, Any]:
    """The methods of a class of nodes, compiled from text.

    saves: names of saved arrays (as in `written_once`). gradients: the texts from `_gradient`.
    """
    names = ", ".join(operands)
    settings = row.settings
    if row.kernel is None:
        y = f"host(floats, name, function, {names})"
    else:
        y = f"kernel({', '.join([*operands, *(f'self.{name}' for name in settings)])}, out)"
    forward = [f"self.{name} = {name}" for name in operands if name in saves]
    if operands != "x":
        forward.append("self.shapes = (a.shape, b.shape)")
    forward += [f"self.y = y = {y}", "return y"] if "y" in saves else [f"return {y}"]
    backward = [f"return {gradients[0]}"]
    if operands != "x":
        of_a, of_b = (f"({part} if self.needs[{i}] else None)" for i, part in enumerate(gradients))
        backward = [f"return {of_a}, {of_b}"]
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
    if (same := row.same_slope) is not None:
        methods["reads_old"] = property(lambda node: not same(*(getattr(node, name) for name in settings)))
    if (formula := row.formula) is not None:
        methods["formula"] = lambda node, x: formula(
            as_tensor(row.name, x), *(getattr(node, name) for name in settings)
        )
    return methods


def _method(name: str, parameters: Iterable[Any], lines: list[str], scope: dict[str, Any]) -> Any:
    return made(name, ["self", *parameters], "\n".join(lines), scope)


def _default(name: str, value: Any) -> Parameter:
    return Parameter(name, Parameter.POSITIONAL_OR_KEYWORD, default=value)
