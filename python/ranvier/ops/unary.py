"""Functions of one tensor, element by element, made of a forward and a backward kernel.

Closures, not methods of a base class, which would look the kernels up at each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ranvier.autograd.function import Function
from ranvier.autograd.inplace import assign, check_leaf
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import BORROWED, FLAG
from ranvier.ops.elementwise.dtypes import Array

Kernel = Callable[..., Array]


def of_input(name: str, kernel: Kernel, kernel_backward: Kernel) -> type[Function]:
    """y = f(x) with a gradient computed from x."""

    def forward(self: Any, x: Array) -> Array:
        self.x = x
        return kernel(x)

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.x)

    return type(name, (Function,), {"forward": forward, "backward": backward})


def of_output(name: str, kernel: Kernel, kernel_backward: Kernel) -> type[Function]:
    """y = f(x) with a gradient computed from y."""

    def forward(self: Any, x: Array) -> Array:
        self.y = y = kernel(x)
        return y

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.y)

    return type(name, (Function,), {"forward": forward, "backward": backward})


def with_setting(name: str, kernel: Kernel, kernel_backward: Kernel) -> Any:
    """y = f(x, setting), made with the setting, with a gradient computed from x."""

    def __init__(self: Any, setting: float) -> None:
        self.setting = setting

    def forward(self: Any, x: Array) -> Array:
        self.x = x
        return kernel(x, self.setting)

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.x, self.setting)

    return type(name, (Function,), {"__init__": __init__, "forward": forward, "backward": backward})


def replaced(name: str, x: Any, y: Tensor, inplace: bool) -> Tensor:
    """y; with inplace x, after it took over the values of y. An array of the caller is never changed."""
    if not (inplace and isinstance(x, Tensor)) or x._cell[FLAG] & BORROWED:
        return y
    check_leaf(x, name)
    return assign(x, y, name)
