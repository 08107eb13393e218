"""The namespaces in which one definition of a backward runs: on arrays, on Tensors, or as text (such as C).

The backward of a Function may have a parameter `f`, a namespace, by which it calls all that it computes::

    def backward(self, dy: Value, f: Operations = KERNELS) -> Value:
        return f.mul(dy, self.y)

A name has the same arguments and the same meaning in each namespace:

- KERNELS, the kernels of the core on arrays. This is the default, with which `backward()` runs.
- TENSORS, the ops on Tensors of the same names. The backward with TENSORS is the rule of
  ``create_graph=True``; arrays that forward has saved are then read as Tensors with a history.
- namespaces of satellites, such as the one of expressions in C (`export/expressions.py`).

A kernel that fuses a whole backward, such as ``div_backward``, has no op of that name. In the other
namespaces it is a formula of ops, so that gradients of any order follow. The formula stands after the
Function: ``@formula_of("div_backward")`` for all namespaces, or ``TENSORS.softmax_backward = ...`` for
Tensors only.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, Protocol, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.layout import is_channels_last, zeros
from ranvier.tape.function import Function
from ranvier.tape.higher_order import RULES, of_input, of_output
from ranvier.tensors.memory import Array, gradient_of, in_dtype, reshaped, unbroadcast
from ranvier.tensors.tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])
FunctionClass = TypeVar("FunctionClass", bound=type[Function])

# What an array that forward has saved is, as `differentiable_backward` gets it.
FIRST_INPUT = 0
SECOND_INPUT = 1
RESULT = -1


class Value(Protocol):
    """What a backward computes with: an array (by KERNELS), a Tensor (by TENSORS), or an expression in C."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def T(self) -> Value: ...

    def __neg__(self) -> Value: ...
    def __add__(self, other: Any, /) -> Value: ...
    def __radd__(self, other: Any, /) -> Value: ...
    def __sub__(self, other: Any, /) -> Value: ...
    def __rsub__(self, other: Any, /) -> Value: ...
    def __mul__(self, other: Any, /) -> Value: ...
    def __rmul__(self, other: Any, /) -> Value: ...
    def __truediv__(self, other: Any, /) -> Value: ...
    def __rtruediv__(self, other: Any, /) -> Value: ...

    def __eq__(self, other: Any, /) -> Any: ...
    def __ne__(self, other: Any, /) -> Any: ...
    def __lt__(self, other: Any, /) -> Value: ...
    def __le__(self, other: Any, /) -> Value: ...
    def __gt__(self, other: Any, /) -> Value: ...
    def __ge__(self, other: Any, /) -> Value: ...
    def __and__(self, other: Any, /) -> Value: ...
    def __rand__(self, other: Any, /) -> Value: ...
    def __or__(self, other: Any, /) -> Value: ...
    def __ror__(self, other: Any, /) -> Value: ...
    def __getitem__(self, key: Any, /) -> Value: ...


class Operations(Protocol):
    """What a namespace offers: the functions here, each op, and each kernel of a backward, by its name."""

    def cast(self, x: Value, dtype: np.dtype[Any], /) -> Value:
        """x in another dtype."""

    def channels_last(self, x: Value, /) -> Value:
        """The same images, stored channels-last where they are an array."""

    def gradient_of(self, shape: tuple[int, ...], op: Callable[..., Value], /, *operands: Value) -> Value:
        """sum_to(op(*operands), shape)"""

    def permute(self, x: Value, dims: Sequence[int], /) -> Value:
        """x with its dimensions in another order."""

    def reshape(self, x: Value, shape: tuple[int, ...], /) -> Value:
        """The same elements in another shape."""

    def sum_to(self, dy: Value, shape: tuple[int, ...], /) -> Value:
        """The gradient of an operand of this shape that was broadcast to the shape of dy."""

    def zeros_of(self, shape: tuple[int, ...], dy: Value, /) -> Value:
        """Zeros of this shape, in the dtype and memory order of dy."""

    def __getattr__(self, name: str, /) -> Callable[..., Any]: ...
    def __setattr__(self, name: str, function: Callable[..., Any], /) -> None: ...


FORMULAS: dict[str, Callable[..., Any]] = {}
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


def _channels_last(x: Array) -> Array:
    return _core.copy(x, True, None)


def _kernels() -> Any:
    """The namespace KERNELS. It is a module, because Python looks up its attributes fastest."""
    namespace = ModuleType("kernels")
    vars(namespace).update(
        vars(_core),
        cast=in_dtype,
        channels_last=_channels_last,
        gradient_of=gradient_of,
        permute=np.ndarray.transpose,
        reshape=reshaped,
        sum_to=unbroadcast,
        zeros_of=_zeros,
    )
    return namespace


KERNELS: Operations = _kernels()


class Ops(SimpleNamespace):
    """A namespace with the given names, the formulas, and all ops on Tensors. Formulas and ops are looked up
    at their first use, because their modules import this one."""

    def __getattr__(self, name: str) -> Any:
        # A formula comes before the op of its name; a name given to the constructor or set later before both.
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
    axes = list(range(lead))
    for axis, size in enumerate(shape, lead):
        if size == 1 and dy.shape[axis] != 1:
            axes.append(axis)
    return dy.sum(tuple(axes), keepdim=True).reshape(shape)


def _gradient_of(shape: tuple[int, ...], op: Callable[..., Tensor], *operands: Tensor) -> Tensor:
    """op(*operands) as the gradient of an operand of this shape."""
    dx = op(*operands)
    if dx.shape == shape:
        return dx
    return sum_to(dx, shape)


def _cast_tensor(x: Tensor, dtype: np.dtype[Any]) -> Tensor:
    return x.to(dtype)


def _same(x: Tensor) -> Tensor:
    """x itself: the order in memory changes no value of a Tensor."""
    return x


def _zero_tensor(shape: tuple[int, ...], dy: Tensor) -> Tensor:
    return wrap(_zeros(shape, dy._array))


TENSORS: Any = Ops(
    add=operator.add,
    sub=operator.sub,
    mul=operator.mul,
    div=operator.truediv,
    neg=operator.neg,
    matmul=operator.matmul,
    cast=_cast_tensor,
    channels_last=_same,
    gradient_of=_gradient_of,
    sum_to=sum_to,
    zeros_of=_zero_tensor,
)


def _read_as_tensor(name: str, place: int) -> property:
    """The attribute of this name as a Tensor. place: the index of an input, or RESULT."""

    def read(view: Any) -> Tensor | None:
        array = view.__dict__[name]
        if array is None:  # an input that was not given
            return None
        if place == RESULT:
            return of_output(view.node, array)
        return of_input(view.node, place, array)

    return property(read)


def _view(function: type[Function], saves: dict[str, int]) -> type[Function]:
    """A subclass of a Function's class whose saved arrays are read as Tensors, for a backward with TENSORS.

    An instance shares its ``__dict__`` with a node. The properties of the class are found before the node's
    attributes of the same names. saves: name of the attribute -> what it is, as of `differentiable_backward`.
    """
    members: dict[str, Any] = {name: _read_as_tensor(name, place) for name, place in saves.items()}
    members["__slots__"] = ("node",)
    return type(function.__name__, (function,), members)


def differentiable_backward(**saves: int) -> Callable[[FunctionClass], FunctionClass]:
    """A decorator for a Function whose backward takes `f`: with ``create_graph=True`` the same backward runs
    on Tensors, so that it is differentiable. A subclass with its own backward needs the decorator, too.

    saves: the attributes in which forward saves arrays, and what these are: FIRST_INPUT, SECOND_INPUT (or the
    index of another input) or RESULT. On Tensors, backward reads them with their history. All other
    attributes are read as they are: shapes, settings, and arrays that are only compared. A saved array that
    is left out here counts as a constant: second derivatives by it are missing, without an error.
    """

    def enter(function: FunctionClass) -> FunctionClass:
        function.saves = saves  # find_rule in func/forward.py reads it, too: {} means a constant slope
        view_of: type[Function] | None = None  # made at the first use: few programs differentiate twice
        backward: Any = function.backward

        def on_tensors(node: Any) -> Any:
            nonlocal view_of
            if view_of is None:
                view_of = _view(function, saves)
            view: Any = object.__new__(view_of)
            view.__dict__ = node.__dict__  # shared, because a copy takes longer
            # slots, which vars() does not have
            view.needs = node.needs
            view.node = node
            return view

        def rule(node: Function, dy: Tensor) -> Any:
            return backward(on_tensors(node), dy, TENSORS)

        def rule_of_several_results(node: Function, *dys: Tensor | None) -> Any:
            return backward(on_tensors(node), *dys, f=TENSORS)

        if backward.__kwdefaults__:  # backward(*dys, f=...)
            RULES[function] = rule_of_several_results
        else:
            RULES[function] = rule
        return function

    return enter
