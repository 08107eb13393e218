"""The methods of Functions of one tensor, element by element: a class names its two kernels.

Closures, not methods of a base class, which would look the kernels up at each call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ranvier.ops.elementwise.dtypes import Array

Kernel = Callable[..., Array]


def of_input(kernel: Kernel, kernel_backward: Kernel) -> Any:
    """forward and backward of y = f(x) with a gradient computed from x."""

    def forward(self: Any, x: Array) -> Array:
        self.x = x
        return kernel(x)

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.x)

    return forward, backward


def of_output(kernel: Kernel, kernel_backward: Kernel) -> Any:
    """forward and backward of y = f(x) with a gradient computed from y."""

    def forward(self: Any, x: Array) -> Array:
        self.y = y = kernel(x)
        return y

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.y)

    return forward, backward


def with_setting(kernel: Kernel, kernel_backward: Kernel) -> Any:
    """__init__, forward and backward of y = f(x, setting) with a gradient computed from x."""

    def __init__(self: Any, setting: float) -> None:
        self.setting = setting

    def forward(self: Any, x: Array) -> Array:
        self.x = x
        return kernel(x, self.setting)

    def backward(self: Any, dy: Array) -> Array:
        return kernel_backward(dy, self.x, self.setting)

    return __init__, forward, backward
