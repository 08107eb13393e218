"""Rules of matrix products and convolutions.

A convolution y = c(x, w) is linear in x and in w. So are the gradients dx(dy, w) and dw(dy, x), and the
gradients of each of these three are given by the other two.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.graph import of_input, on_arrays, rule
from ranvier.autograd.memory import keep
from ranvier.autograd.tensor import Tensor
from ranvier.ops.image.conv1d import Conv1d
from ranvier.ops.image.conv2d import Conv2d, Convolution
from ranvier.ops.image.conv_transpose import ConvTranspose1d, ConvTranspose2d
from ranvier.ops.matrix.linear import Linear
from ranvier.ops.matrix.matmul import Matmul, matmul
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.rules import Array, sum_to
from ranvier.ops.shape.reshape import permute, reshape, transpose, unsqueeze

Three = tuple[Tensor | None, Tensor | None, Tensor | None]


@rule(Matmul)
def _matmul(node: Any, dy: Tensor) -> tuple[Tensor | None, Tensor | None]:
    a, b = of_input(node, 0, node.a), of_input(node, 1, node.b)
    shapes = a.shape, b.shape
    if b.ndim == 1:  # vectors as matrices of one row or column, a dimension that y lacks
        dy, b = unsqueeze(dy, -1), unsqueeze(b, -1)
    if a.ndim == 1:
        dy, a = unsqueeze(dy, -2), unsqueeze(a, 0)
    da = db = None
    if node.needs[0]:
        da = reshape(sum_to(matmul(dy, transpose(b, -1, -2)), a.shape), shapes[0])
    if node.needs[1]:
        db = reshape(sum_to(matmul(transpose(a, -1, -2), dy), b.shape), shapes[1])
    return da, db


@rule(Linear)
def _linear(node: Any, dy: Tensor) -> Three:
    x, weight = of_input(node, 0, node.x), of_input(node, 1, node.weight)
    dx = matmul(dy, weight) if node.needs[0] else None
    rows = math.prod(dy.shape[:-1])
    lines = reshape(dy, (rows, weight.shape[0]))
    dw = matmul(permute(lines, 1, 0), reshape(x, (rows, weight.shape[1]))) if node.needs[1] else None
    return dx, dw, total(lines, 0) if node.needs[2] else None


# --- convolutions of batches


class _Gradient(Function):
    """The gradient of a convolution for one of its inputs, itself a node of the tape."""

    wanted: tuple[bool, bool, bool]

    def __init__(self, kind: Any, geometry: Any, shape: tuple[int, ...]) -> None:
        self.kind, self.geometry, self.shape = kind, geometry, shape

    def computed(self, dy: Array, x: Array, w: Array) -> Array:
        found: Array = self.kind.kernel_backward(dy, x, w, *self.geometry, *self.wanted)[
            self.wanted.index(True)
        ]
        return found

    def convolved(self, x: Tensor, w: Tensor) -> Tensor:
        y: Tensor = self.kind(*self.geometry).apply(x, w, None)
        return y

    def of_x(self, dy: Tensor, w: Tensor, shape: tuple[int, ...]) -> Tensor:
        dx: Tensor = _OfX(self.kind, self.geometry, shape).apply(dy, w)
        return dx

    def of_w(self, dy: Tensor, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        dw: Tensor = _OfW(self.kind, self.geometry, shape).apply(dy, x)
        return dw


def _shaped(shape: tuple[int, ...], array: Array) -> Array:
    """An array of which the kernel reads the shape only."""
    return np.broadcast_to(keep(np.zeros((), array.dtype)), shape)


class _OfX(_Gradient):
    """dx(dy, w); shape: of x"""

    wanted = (True, False, False)

    def forward(self, dy: Array, w: Array) -> Array:
        self.dy, self.w = dy, w
        return self.computed(dy, _shaped(self.shape, dy), w)

    def backward(self, g: Array) -> Any:
        return on_arrays(_of_x, self, g)


class _OfW(_Gradient):
    """dw(dy, x); shape: of w"""

    wanted = (False, True, False)

    def forward(self, dy: Array, x: Array) -> Array:
        self.dy, self.x = dy, x
        return self.computed(dy, x, _shaped(self.shape, dy))

    def backward(self, g: Array) -> Any:
        return on_arrays(_of_w, self, g)


@rule(_OfX)
def _of_x(node: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    dy, w = of_input(node, 0, node.dy), of_input(node, 1, node.w)
    to_dy = node.convolved(g, w) if node.needs[0] else None
    return to_dy, node.of_w(dy, g, w.shape) if node.needs[1] else None


@rule(_OfW)
def _of_w(node: Any, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    dy, x = of_input(node, 0, node.dy), of_input(node, 1, node.x)
    to_dy = node.convolved(x, g) if node.needs[0] else None
    return to_dy, node.of_x(dy, g, x.shape) if node.needs[1] else None


@rule(Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d)
def _convolution(node: Convolution, dy: Tensor) -> Three:
    x = of_input(node, 0, node.x[0] if node.single else node.x)
    w, db = of_input(node, 1, node.w), None
    if node.single:
        x, dy = unsqueeze(x, 0), unsqueeze(dy, 0)
    gradient = _Gradient(type(node), node.geometry, ())
    dx = gradient.of_x(dy, w, x.shape) if node.needs[0] else None
    dw = gradient.of_w(dy, x, w.shape) if node.needs[1] else None
    if node.needs[2]:
        db = total(dy, (0, *range(2, dy.ndim)))
    return reshape(dx, x.shape[1:]) if node.single and dx is not None else dx, dw, db
