"""conv1d, conv2d, conv_transpose1d and conv_transpose2d: cross-correlations, as in all neural networks.

The core has a kernel for each, and one for each backward. forward saves x and the weight. The kernels of one
dimension are those of two dimensions, on images of one row. A transposed convolution, with
which decoders enlarge images, computes what a convolution computes as the gradient of its input. So each of
its three passes (forward, and the gradients of x and w) is one of the three passes of a convolution.

For create_graph: a convolution y = c(x, w) is linear in x and in w. Its gradients dx(dy, w) and dw(dy, x) are
linear in their arguments, too. The gradients of each of these three functions are given by the other two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.gradient_rules import by_rule
from ranvier.ops.layout import AtMaxima
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    SECOND_INPUT,
    TENSORS,
    Operations,
    Value,
    differentiable_backward,
)
from ranvier.ops.reduction.reduce import sum as total
from ranvier.tape.function import Dtypes, Function, TakesHalves
from ranvier.tape.higher_order import of_input, rule
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Shape, TensorLike

Gradients = tuple[Value | None, ...]
Pair = int | tuple[int, int]
Length = int | tuple[int]


class Convolution(Function):
    """The base class of conv1d, conv2d and the transposed convolutions, which differ in their kernels."""

    # saved: x for the second gradient alone, w for the first gradient alone
    reads: ClassVar = {"x": 1, "w": 0}
    # half floats are computed as they are; in a block of autocast all inputs become its half float
    dtypes = Dtypes(halves="own", autocast="lower")
    dimensions: int  # the number of dimensions of a batch; a single image or signal has one less
    kernel: Callable[..., Array]  # the kernel of forward
    gradients: str  # the name of the kernel of backward
    # the kernel of a backward that gets AtMaxima; None if the convolution has none
    kernel_at_maxima: Callable[..., tuple[Array | None, ...]] | None

    def __init__(self, *geometry: Any) -> None:
        # the settings of the kernel in its order: stride, padding, dilation, groups; of transposed
        # convolutions stride, padding, output_padding, groups, dilation
        self.geometry = geometry

    def forward(self, x: Array, w: Array, bias: Array | None) -> Array:
        self.single = x.ndim == self.dimensions - 1
        self.x = x
        self.w = w
        if not self.single:
            return self.kernel(x, w, bias, *self.geometry)
        y = self.kernel(x[None], w, bias, *self.geometry)
        return y[0]

    def backward(self, dy: Value | AtMaxima, f: Operations = KERNELS) -> Gradients:
        if isinstance(dy, AtMaxima):
            return self._backward_at_maxima(dy)
        # a kernel of the core, or for create_graph `_gradients` below, which has its name in TENSORS
        gradients = getattr(f, self.gradients)
        if not self.single:
            return gradients(dy, self.x, self.w, *self.geometry, *self.needs)
        dx, dw, db = gradients(dy[None], self.x[None], self.w, *self.geometry, *self.needs)
        return _without_batch(dx), dw, db

    def _backward_at_maxima(self, dy: AtMaxima) -> Gradients:
        """backward for a gradient dy that is 0 except at the maxima of a pool (ops/layout.py). The kernel for
        it sums over the maxima only; it has no float64, and one group."""
        # Only conv1d and conv2d set takes_deferred, so geometry has their order.
        stride, padding, dilation, groups = self.geometry
        if dy.dy.dtype == "float64" or groups != 1:
            return self.backward(dy.array())
        settings = (stride, padding, dilation, dy.windows, *self.needs)
        kernel: Any = self.kernel_at_maxima
        if not self.single:
            return kernel(dy.dy, dy.where, self.x, self.w, *settings)
        dx, dw, db = kernel(dy.dy, dy.where, self.x[None], self.w, *settings)
        return _without_batch(dx), dw, db


def _without_batch(dx: Value | None) -> Value | None:
    """The gradient of a single image, from that of a batch of one."""
    if dx is None:
        return None
    return dx[0]


def _convolution(
    name: str, dimensions: int, kernel: Callable[..., Array], at_maxima: Callable[..., Any] | None = None
) -> type[Convolution]:
    """Makes the Function of a convolution. For create_graph its gradients are nodes of the class `_Gradient`.

    dimensions: of a batch. kernel, at_maxima: kernels, the latter for a gradient at the maxima of a pool, or
        None.
    """
    # The tape reads takes_deferred: a pool may then hand its gradient on as an AtMaxima.
    gradients = f"{kernel.__name__}_backward"
    members = {
        "kernel": kernel,
        "gradients": gradients,
        "dimensions": dimensions,
        "takes_deferred": at_maxima is not None,
        "kernel_at_maxima": at_maxima,
    }
    function = differentiable_backward(x=FIRST_INPUT, w=SECOND_INPUT)(type(name, (Convolution,), members))
    setattr(TENSORS, gradients, partial(_gradients, function))
    return function


class _Gradient(TakesHalves):
    """The gradient of a convolution for x, dx(dy, w), or for w, dw(dy, x), itself a node of the tape.

    place: 0: the gradient of x; 1: the gradient of w. convolution: its class. geometry: its settings. shape:
    of the gradient.
    """

    backward = by_rule

    def __init__(
        self, place: int, convolution: type[Convolution], geometry: Sequence[Any], shape: Shape
    ) -> None:
        self.place = place
        self.convolution = convolution
        self.geometry = geometry
        self.shape = shape

    def forward(self, dy: Array, other: Array) -> Array:
        self.dy = dy
        self.other = other
        kernel = getattr(_core, self.convolution.gradients)
        unknown = _shaped(self.shape, dy)
        # the last three arguments: which of the gradients of x, w and bias are computed
        if self.place == 0:
            dx, _, _ = kernel(dy, unknown, other, *self.geometry, True, False, False)
            return dx
        _, dw, _ = kernel(dy, other, unknown, *self.geometry, False, True, False)
        return dw


def _shaped(shape: Shape, array: Array) -> Array:
    """An array of zeros of this shape in the memory of one element, for an argument of which a kernel reads
    only the shape."""
    return np.broadcast_to(keep(np.zeros((), array.dtype)), shape)


@rule(_Gradient)
def _gradient_rule(node: _Gradient, g: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of dy and of the other operand of a `_Gradient`, from g, that of its result."""
    dy = of_input(node, 0, node.dy)
    other = of_input(node, 1, node.other)
    ddy = None
    dother = None
    if node.needs[0]:
        convolution = node.convolution(*node.geometry)
        if node.place == 0:
            ddy = convolution.apply(g, other, None)
        else:
            ddy = convolution.apply(other, g, None)
    if node.needs[1]:
        other_gradient = _Gradient(1 - node.place, node.convolution, node.geometry, other.shape)
        dother = other_gradient.apply(dy, g)
    return ddy, dother


def _gradients(
    convolution: type[Convolution], dy: Tensor, x: Tensor, w: Tensor, *settings: Any
) -> tuple[Tensor | None, ...]:
    """The gradients of x, w and the bias on the tape, with the arguments of the kernel of backward: settings
    are the geometry, then whether the gradients of x, w and the bias are needed."""
    *geometry, needs_x, needs_w, needs_bias = settings
    dx = None
    dw = None
    db = None
    if needs_x:
        dx = _Gradient(0, convolution, geometry, x.shape).apply(dy, w)
    if needs_w:
        dw = _Gradient(1, convolution, geometry, w.shape).apply(dy, x)
    if needs_bias:
        db = total(dy, (0, *range(2, dy.ndim)))  # over all but the channels
    return dx, dw, db


Conv1d = _convolution("Conv1d", 3, _core.conv1d, _core.conv1d_pool_backward)
Conv2d = _convolution("Conv2d", 4, _core.conv2d, _core.conv2d_pool_backward)
ConvTranspose1d = _convolution("ConvTranspose1d", 3, _core.conv_transpose1d)
ConvTranspose2d = _convolution("ConvTranspose2d", 4, _core.conv_transpose2d)


def conv2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Pair = 1,
    padding: Pair | str = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """y[n, k, p, q] = bias[k] + sum over c, r, s of weight[k, c, r, s] x[n, c, i, j], where
    i = p stride + r dilation - padding, j = q stride + s dilation - padding, and x is zero outside.

    x (N, C, H, W) or one image (C, H, W), weight (K, C / groups, R, S), bias (K,) or None, y (N, K, P, Q)
    with P = (H + 2 padding - dilation (R - 1) - 1) // stride + 1, and Q likewise from W and S. All have
    one float dtype. stride, padding and dilation are numbers or (rows, columns); padding may be
    'valid' (none) or 'same' (P = H; needs stride 1). With groups, output channel k sees only the input
    channels of its group; groups = C = K is depthwise. y is channels-last in memory, except for a
    depthwise convolution of an x with 2 to 4 channels in C order: then y is in C order, too.

    float32 3 x 3 kernels of stride 1 are computed by Winograd's algorithm where that is faster for the shapes
    (`set_winograd(False)` turns it off). Then an infinity or NaN in x reaches all 2 x 2 outputs of a tile,
    and equal inputs at two places of an image may give outputs with different last bits.

    If max_pool2d over windows that do not overlap follows a float32 convolution of one group, directly or
    after a ReLU, the gradients are sums over the maxima only. Then an infinity or NaN in x or weight does not
    spread through zero gradients.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016); Lavin and Gray,
    "Fast algorithms for convolutional neural networks" (2016).

    >>> import ranvier as rv
    >>> rv.conv2d(rv.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]]]), rv.tensor([[[[1.0, -1.0]]]]))
    tensor([[[[-1., -1.],
              [-1., -1.]]]])
    """
    return Conv2d(stride, padding, dilation, groups).apply(input, weight, bias)


def conv1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Length = 1,
    padding: Length | str = 0,
    dilation: Length = 1,
    groups: int = 1,
) -> Tensor:
    """y[n, k, q] = bias[k] + sum over c, s of weight[k, c, s] x[n, c, q stride + s dilation - padding], where
    x is zero outside.

    x (N, C, L) or one signal (C, L), weight (K, C / groups, S), bias (K,) or None, y (N, K, Q) with
    Q = (L + 2 padding - dilation (S - 1) - 1) // stride + 1; all of one float dtype. padding may be
    'valid' (none) or 'same' (Q = L, at stride 1). y is (N, Q, K) in memory.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).

    >>> import ranvier as rv
    >>> rv.conv1d(rv.tensor([[[1.0, 2.0, 4.0]]]), rv.tensor([[[-1.0, 1.0]]]))
    tensor([[[1., 2.]]])
    """
    return Conv1d(stride, padding, dilation, groups).apply(input, weight, bias)


def conv_transpose1d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Length = 1,
    padding: Length = 0,
    output_padding: Length = 0,
    groups: int = 1,
    dilation: Length = 1,
) -> Tensor:
    """y[n, k, q stride + s dilation - padding] = bias[k] + sum of x[n, c, q] weight[c, k, s]: the sum is over
    all c, q, s with this place.

    x (N, C, L) or one signal (C, L), weight (C, K / groups, S), bias (K,) or None, y (N, K, Q) with
    Q = (L - 1) stride - 2 padding + dilation (S - 1) + output_padding + 1; all of one float dtype.
    output_padding, less than stride or dilation, selects one of the lengths from which conv1d makes L.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).

    >>> import ranvier as rv
    >>> rv.conv_transpose1d(rv.tensor([[[1.0, 2.0]]]), rv.tensor([[[1.0, 10.0, 100.0]]]), stride=2)
    tensor([[[  1.,  10., 102.,  20., 200.]]])
    """
    return ConvTranspose1d(stride, padding, output_padding, groups, dilation).apply(input, weight, bias)


def conv_transpose2d(
    input: TensorLike,
    weight: TensorLike,
    bias: TensorLike | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    output_padding: Pair = 0,
    groups: int = 1,
    dilation: Pair = 1,
) -> Tensor:
    """y[n, k, i, j] = bias[k] + sum of x[n, c, p, q] weight[c, k, r, s] over every c, p, q, r, s with
    i = p stride + r dilation - padding and j = q stride + s dilation - padding.

    x (N, C, H, W) or one image (C, H, W), weight (C, K / groups, R, S), bias (K,) or None, y (N, K, P, Q),
    P = (H - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1; all of one float dtype.
    Settings are numbers or (rows, columns). output_padding, less than stride or dilation, selects one of
    the sizes from which conv2d makes H and W. y is channels-last in memory.

    Raises ValueError where shapes and settings do not fit, TypeError where the dtypes differ.
    Source: Zeiler et al., "Deconvolutional Networks" (2010); Dumoulin and Visin, "A guide to convolution
    arithmetic for deep learning" (2016).

    >>> import ranvier as rv
    >>> rv.conv_transpose2d(rv.tensor([[[[1.0, 2.0]]]]), rv.ones(1, 1, 2, 2), stride=2)
    tensor([[[[1., 1., 2., 2.],
              [1., 1., 2., 2.]]]])
    """
    return ConvTranspose2d(stride, padding, output_padding, groups, dilation).apply(input, weight, bias)
