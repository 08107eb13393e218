"""Runs one definition of a backward on arrays, on Tensors, or to produce text (such as C).

The backward of a Function may have a parameter `f`, a namespace, and call by it all that it computes:
``f.mul(dy, self.y)``. A name has the same arguments and meaning in each namespace:

- KERNELS, the kernels of the core on arrays. This is the default, with which `backward()` runs.
- TENSORS, the ops on Tensors of the same names. The backward with TENSORS is the rule of
``create_graph=True``;
  arrays that forward has saved are then read as Tensors with a history.
- namespaces of satellites, such as the one of expressions in C (`export/expressions.py`).

A kernel that fuses a whole backward, such as ``div_backward``, has no op of that name. In the other
namespaces it is a formula of ops, so that gradients of any order follow. The formula stands after the
Function: ``@formula_of("div_backward")`` for all namespaces, or ``TENSORS.softmax_backward = ...`` for
    Tensors only.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.layout import is_channels_last, zeros
from ranvier.tape.higher_order import RULES, of_input, of_output
from ranvier.tensors.memory import Array, gradient_of, in_dtype, reshaped, unbroadcast
from ranvier.tensors.tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])
RESULT = -1
"""The place of what forward has saved of its result."""
FORMULAS: dict[str, Any] = {}
"""Formulas of kernels by name: functions of a namespace and of the arguments of the kernel."""


def formula_of(kernel: str) -> Callable[[F], F]:
    """A decorator: the function, of f and the kernel's arguments, is this kernel in all namespaces but
    KERNELS."""

    def enter(formula: F) -> F:
        FORMULAS[kernel] = formula
        return formula

    return enter


def _zeros(shape: tuple[int, ...], dy: Array) -> Array:
    return zeros(shape, dy.dtype, is_channels_last(dy))


KERNELS: Any = ModuleType("kernels")  # a module, because Python looks up its attributes fastest
vars(KERNELS).update(
    vars(_core),
    cast=in_dtype,
    channels_last=lambda x: _core.copy(x, True, None),
    gradient_of=gradient_of,
    permute=np.ndarray.transpose,
    reshape=reshaped,
    sum_to=unbroadcast,
    zeros_of=_zeros,
)


class Ops(SimpleNamespace):
    """A namespace with the given names, the formulas, and all ops on Tensors. Formulas and ops are looked up
    at their first use, because their modules import this one."""

    def __getattr__(self, name: str) -> Any:
        formula = FORMULAS.get(name)
        if formula:
            op = partial(formula, self)
        else:
            op = getattr(sys.modules["ranvier.ops"], name)
        setattr(self, name, op)
        return op


def sum_to(dy: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The gradient of an operand of this shape that was broadcast to the shape of dy (as `unbroadcast`)."""
    if dy.shape == shape:
        return dy
    lead = dy.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and dy.shape[lead + i] != 1))
    return dy.sum(axes, keepdim=True).reshape(shape)


def _gradient_of(shape: tuple[int, ...], op: Any, *operands: Any) -> Tensor:
    """op(*operands) as the gradient of an operand of this shape."""
    dx = op(*operands)
    if dx.shape == shape:
        return dx
    return sum_to(dx, shape)


TENSORS: Any = Ops(
    add=operator.add,
    sub=operator.sub,
    mul=operator.mul,
    div=operator.truediv,
    neg=operator.neg,
    matmul=operator.matmul,
    cast=lambda x, dtype: x.to(dtype),
    channels_last=lambda x: x,  # the order in memory changes no value, so it is left as it is
    gradient_of=_gradient_of,
    sum_to=sum_to,
    zeros_of=lambda shape, dy: wrap(_zeros(shape, dy._array)),
)


def _view(kind: Any, saves: dict[str, int]) -> Any:
    """A subclass of a Function's class whose saved arrays are read as Tensors, for a backward with TENSORS.

    An instance shares its ``__dict__`` with a node. The properties of the class are found before the node's
    attributes of the same names. saves: as of `written_once`.
    """

    def of(name: str, place: int) -> property:
        def read(view: Any) -> Any:
            array = view.__dict__[name]
            if array is None:  # an input that was not given
                return None
            if place == RESULT:
                return of_output(view.node, array)
            return of_input(view.node, place, array)

        return property(read)

    properties = {name: of(name, place) for name, place in saves.items()}
    return type(kind.__name__, (kind,), {"__slots__": ("node",), **properties})


def written_once(**saves: int) -> Any:
    """A decorator for a Function whose backward takes `f`; a subclass with its own backward needs it, too.

    saves: name of an attribute = the index of the operand whose array it has, or RESULT. Other attributes
    stay as they are.
    """

    def enter(kind: Any) -> Any:
        kind.saves = saves
        view_of = _view(kind, saves)

        def seen(node: Any) -> Any:
            view = object.__new__(view_of)
            view.__dict__ = node.__dict__  # shared, because a copy takes longer
            # slots, which vars() does not have
            view.needs = node.needs
            view.node = node
            return view

        if kind.backward.__kwdefaults__:  # backward(*dys, f=...), of several results
            RULES[kind] = lambda node, *dys: kind.backward(seen(node), *dys, f=TENSORS)
        else:
            RULES[kind] = lambda node, dy: kind.backward(seen(node), dy, TENSORS)
        return kind

    return enter
