"""Derivatives that are written once: what runs a backward on arrays, on Tensors and as text.

The backward of a Function may take a namespace `f`, by which it calls all that it computes with:

- KERNELS, the kernels of the core on arrays. This is the default, with which `backward()` runs.
- TENSORS, the ops on Tensors of the same names. It is the rule of ``create_graph=True``; what forward has
  saved is then read as Tensors with a history.
- namespaces of satellites, such as that of the expressions in C (`export/expressions.py`).

A kernel of a backward, such as ``div_backward``, is a formula of other ops on Tensors, so that gradients of
any order follow: ``TENSORS.div_backward``.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.layout import is_channels_last, zeros
from ranvier.tape.function import Function
from ranvier.tape.graph import RULES, of_input, of_output
from ranvier.tensors.memory import Array, gradient_of, in_dtype, reshaped, unbroadcast
from ranvier.tensors.tensor import Tensor, wrap

K = TypeVar("K", bound=type[Function])

RESULT = -1
"""The place of what forward has saved of its result."""


def _zeros(shape: tuple[int, ...], dy: Array) -> Array:
    return zeros(shape, dy.dtype, is_channels_last(dy))


KERNELS: Any = SimpleNamespace(
    **vars(_core)
    | {
        "cast": in_dtype,
        "channels_last": lambda x: _core.copy(x, True, None),
        "gradient_of": gradient_of,
        "permute": np.ndarray.transpose,
        "reshape": reshaped,
        "sum_to": unbroadcast,
        "zeros_of": _zeros,
    }
)


class Ops(SimpleNamespace):
    """What was given to this namespace, and the ops on Tensors."""

    ops: Any  # the package, which imports this module

    def __getattr__(self, name: str) -> Any:
        return getattr(Ops.ops, name)


def sum_to(dy: Tensor, shape: tuple[int, ...]) -> Tensor:
    """The gradient of an operand that was repeated to the shape of dy."""
    if dy.shape == shape:
        return dy
    lead = dy.ndim - len(shape)
    axes = (*range(lead), *(lead + i for i, n in enumerate(shape) if n == 1 and dy.shape[lead + i] != 1))
    return dy.sum(axes, keepdim=True).reshape(shape)


TENSORS: Any = Ops(
    add=operator.add,
    sub=operator.sub,
    mul=operator.mul,
    div=operator.truediv,
    neg=operator.neg,
    matmul=operator.matmul,
    cast=lambda x, dtype: x.to(dtype),
    channels_last=lambda x: x,  # the layout of memory is no matter of a Tensor
    gradient_of=lambda shape, op, *operands: sum_to(op(*operands), shape),
    sum_to=sum_to,
    zeros_of=lambda shape, dy: wrap(_zeros(shape, dy._array)),
)


class OnTensors:
    """A node as its backward reads it for TENSORS: what it has saved of operands and result are Tensors."""

    def __init__(self, node: Any) -> None:
        self.node = node

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.node, name)
        place = self.node.saves.get(name)
        if place is None or value is None:
            return value
        return of_output(self.node, value) if place == RESULT else of_input(self.node, place, value)


def _by_backward(node: Any, *dys: Any) -> Any:
    return type(node).backward(OnTensors(node), *dys, f=TENSORS)


def _by_gradient(node: Any, dy: Any) -> Any:
    return type(node).gradient(OnTensors(node), TENSORS, dy)


def written_once(**saves: int) -> Callable[[K], K]:
    """A decorator for a Function whose backward takes `f`, or that has its formula beside the kernel, as
    `gradient(f, dy)`. saves: of which operand an attribute has the array, or RESULT."""

    def enter(kind: K) -> K:
        kind.saves = saves  # type: ignore[attr-defined]
        RULES[kind] = _by_gradient if hasattr(kind, "gradient") else _by_backward
        return kind

    return enter
