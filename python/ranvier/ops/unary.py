"""Functions of one tensor, element by element: each is a row of its kernels and its gradient.

``gradient`` is dx for create_graph, by operators and methods of Tensor, from dy and what the backward kernel
reads; ``piecewise_linear`` where the slope changes at kinks only. The rows make closures, not methods of a
base class, which would look the kernels up at each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ranvier.autograd.graph as graph
from ranvier.autograd.function import Function
from ranvier.autograd.inplace import assign, check_leaf
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import BORROWED, FLAG
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.rules import diagonal

Kernel = Callable[..., Array]
Gradient = Callable[..., Any]


def _unary(name: str, methods: dict[str, Any], gradient: Gradient, rule: Gradient) -> Any:
    kind = type(name, (Function,), methods)
    if gradient is piecewise_linear:
        diagonal(kind, kinks=True)
    else:
        graph.RULES[kind] = rule
    return kind


def piecewise_linear(dy: Tensor, x: Tensor, *settings: Any) -> Tensor:
    """Stands for the gradient of a function whose slope is constant between its kinks."""
    raise NotImplementedError


def of_input(name: str, kernel: Kernel, kernel_backward: Kernel, gradient: Gradient) -> type[Function]:
    """y = f(x) with a gradient computed from x."""

    def forward(self: Any, x: Array) -> Array:
        self.x = x
        return kernel(x)

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.x)

    def rule(node: Any, dy: Tensor) -> Tensor:
        return gradient(dy, graph.of_input(node, 0, node.x))

    return _unary(name, {"forward": forward, "backward": backward}, gradient, rule)


def of_output(name: str, kernel: Kernel, kernel_backward: Kernel, gradient: Gradient) -> type[Function]:
    """y = f(x) with a gradient computed from y."""

    def forward(self: Any, x: Array) -> Array:
        self.y = y = kernel(x)
        return y

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.y)

    def rule(node: Any, dy: Tensor) -> Tensor:
        return gradient(dy, graph.of_output(node, node.y))

    return _unary(name, {"forward": forward, "backward": backward}, gradient, rule)


def with_setting(name: str, kernel: Kernel, kernel_backward: Kernel, gradient: Gradient) -> Any:
    """y = f(x, setting), made with the setting, with a gradient computed from x."""

    def __init__(self: Any, setting: float) -> None:
        self.setting = setting

    def forward(self: Any, x: Array) -> Array:
        self.x = x
        return kernel(x, self.setting)

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.x, self.setting)

    def rule(node: Any, dy: Tensor) -> Tensor:
        return gradient(dy, graph.of_input(node, 0, node.x), node.setting)

    methods = {"__init__": __init__, "forward": forward, "backward": backward}
    return _unary(name, methods, gradient, rule)


def replaced(name: str, x: Any, y: Tensor, inplace: bool) -> Tensor:
    """y; with inplace x, after it took over the values of y. An array of the caller is never changed."""
    if not (inplace and isinstance(x, Tensor)) or x._cell[FLAG] & BORROWED:
        return y
    check_leaf(x, name)
    return assign(x, y, name)
