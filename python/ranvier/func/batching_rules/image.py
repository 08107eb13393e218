"""Batching rules of convolutions, pools and resampling: the images of all slices are one batch.

A convolution whose weights differ from slice to slice has a group, or several, for each slice. Where all
slices share the weights, but each has a gradient by them (`Operand.is_repeated`), only the gradient of the
weights is computed so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.func.batching import Operand, batching_rule, host_rule, kernel_rule, stacked_array
from ranvier.ops.image.conv import (
    Conv1d,
    Conv2d,
    Convolution,
    ConvTranspose1d,
    ConvTranspose2d,
)
from ranvier.ops.image.grid_points import _places_of
from ranvier.ops.image.pooling import (
    AdaptiveAvgPool1d,
    AdaptiveAvgPool2d,
    AdaptiveMaxPool1d,
    AdaptiveMaxPool2d,
    AvgPool1d,
    AvgPool2d,
    MaxPool1d,
    MaxPool2d,
    Pool,
)
from ranvier.ops.image.resample import Interpolate, Pad, _pad_integers, _picked
from ranvier.ops.image.sampling import GridSample
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    SECOND_INPUT,
    Operations,
    Value,
    differentiable_backward,
)
from ranvier.tape.function import OWN, Function
from ranvier.tensors.batched import AxisOutOfRangeError, BatchedArray, Level, batched_array
from ranvier.tensors.memory import Array
from ranvier.tensors.tensor import Tensor, wrap


def as_one_batch(x: Operand, dimensions: int) -> Tensor:
    """The images of all slices as one batch. dimensions: those of a batch; a slice may be one image."""
    if x.ndim == dimensions - 1:
        return x.value
    return x.value.reshape(x.level.size * x.shape[0], *x.shape[1:])


def by_slice(y: Tensor, x: Operand, dimensions: int) -> Tensor:
    """The result for the batch of `as_one_batch`, with a dimension for the slices."""
    if x.ndim == dimensions - 1:
        return y
    return y.reshape(x.level.size, x.shape[0], *y.shape[1:])


@batching_rule(
    AdaptiveAvgPool1d, AdaptiveAvgPool2d, AdaptiveMaxPool1d, AdaptiveMaxPool2d, AvgPool1d, AvgPool2d,
    MaxPool1d, MaxPool2d,
)  # fmt: skip
def _pool(node: Pool, x: Operand) -> Any:
    y = node.apply(as_one_batch(x, node.dimensions))
    if isinstance(y, tuple):
        return tuple([by_slice(part, x, node.dimensions) for part in y])
    return by_slice(y, x, node.dimensions)


# --- convolutions

_GROUPS = 3  # the place of the number of groups in Convolution.geometry


@batching_rule(Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d)
def _convolution(node: Convolution, x: Operand, weight: Operand, bias: Operand | None) -> Any:
    shares_bias = bias is None or not bias.is_batched
    if shares_bias and not weight.is_batched:
        y = node.apply(as_one_batch(x, node.dimensions), weight.value, None if bias is None else bias.value)
        return by_slice(y, x, node.dimensions)
    is_repeated = weight.is_repeated and (bias is None or bias.is_repeated)
    if is_repeated and x.is_batched:
        images = x.value
        if x.ndim == node.dimensions - 1:
            images = images.unsqueeze(1)
        bias_value = None if bias is None else bias.stacked()
        y = ConvolutionOfSlices(node).apply(images, weight.stacked(), bias_value)
    else:
        y = _in_groups(node, x, weight)
        if bias is not None:
            lead = (bias.level.size, 1) if bias.is_batched else ()
            y = y + bias.value.reshape(*lead, -1, *(1,) * (node.dimensions - 2))
    if x.ndim == node.dimensions - 1:
        return y.squeeze(1)
    return y


def _in_groups(node: Convolution, x: Operand, weight: Operand) -> Tensor:
    """The convolution without bias of each slice's images by its own weight: (slices, n, k, ...)."""
    size = x.level.size
    images = x.stacked()
    if x.ndim == node.dimensions - 1:
        images = images.unsqueeze(1)
    n, c = images.shape[1:3]
    channels = images.transpose(0, 1).reshape(n, size * c, *images.shape[3:])
    weights = weight.stacked()
    weights = weights.reshape(size * weights.shape[1], *weights.shape[2:])
    geometry = list(node.geometry)
    geometry[_GROUPS] = geometry[_GROUPS] * size
    y: Tensor = type(node)(*geometry).apply(channels, weights, None)
    filters = y.shape[1] // size
    return y.reshape(n, size, filters, *y.shape[2:]).transpose(0, 1)


@differentiable_backward(x=FIRST_INPUT, w=SECOND_INPUT)
class ConvolutionOfSlices(Function):
    """y[i] = the convolution of the images x[i] (n, c, ...) by w[i], plus bias[i]. All w[i] are one weight,
    all bias[i] one vector, and each has a gradient of its own."""

    dtypes = OWN

    def __init__(self, convolution: Convolution) -> None:
        self.convolution = type(convolution)
        self.geometry = convolution.geometry

    def forward(self, x: Array, w: Array, bias: Array | None) -> Array:
        self.x = x
        self.w = w
        size, n = x.shape[:2]
        images = x.reshape(size * n, *x.shape[2:])
        kernel: Any = self.convolution.kernel
        y = kernel(images, w[0], None if bias is None else bias[0], *self.geometry)
        return y.reshape(size, n, *y.shape[1:])

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        size, n = self.x.shape[:2]
        channels, filters = self.x.shape[2], dy.shape[2]
        gradients = getattr(f, self.convolution.gradients)
        dx = None
        dw = None
        db = None
        if self.needs[0]:
            dy_batch = f.reshape(dy, (size * n, *dy.shape[2:]))
            x_batch = f.reshape(self.x, (size * n, *self.x.shape[2:]))
            dx, _, _ = gradients(dy_batch, x_batch, self.w[0], *self.geometry, True, False, False)
            dx = f.reshape(dx, self.x.shape)
        if self.needs[1]:
            geometry = list(self.geometry)
            geometry[_GROUPS] = geometry[_GROUPS] * size
            dy_groups = f.reshape(_slices_second(f, dy), (n, size * filters, *dy.shape[3:]))
            x_groups = f.reshape(_slices_second(f, self.x), (n, size * channels, *self.x.shape[3:]))
            w_groups = f.reshape(self.w, (size * self.w.shape[1], *self.w.shape[2:]))
            _, dw, _ = gradients(dy_groups, x_groups, w_groups, *geometry, False, True, False)
            dw = f.reshape(dw, self.w.shape)
        if self.needs[2]:
            db = f.reshape(f.sum_to(dy, (size, 1, filters, *(1,) * (dy.ndim - 3))), (size, filters))
        return dx, dw, db


def _slices_second(f: Operations, x: Value) -> Value:
    """(slices, n, ...) as (n, slices, ...)."""
    return f.permute(x, (1, 0, *range(2, x.ndim)))


# --- resampling


@batching_rule(Interpolate)
def _interpolate(node: Interpolate, x: Operand) -> Any:
    size = x.level.size
    y = node.apply(x.value.reshape(size * x.shape[0], *x.shape[1:]))
    return y.reshape(size, x.shape[0], *y.shape[1:])


@batching_rule(Pad)
def _pad(node: Pad, x: Operand) -> Any:
    if len(node.sizes) // 2 > x.ndim:
        raise AxisOutOfRangeError
    if node.mode == "constant":  # it pads the last dimensions, whatever is before them
        return node.apply(x.value)
    size = x.level.size
    y = node.apply(x.value.reshape(size * x.shape[0], *x.shape[1:]))
    return y.reshape(size, x.shape[0], *y.shape[1:])


@batching_rule(GridSample)
def _grid_sample(node: GridSample, x: Operand, grid: Operand) -> Any:
    size = x.level.size
    n = x.shape[0]
    images = x.stacked().reshape(size * n, *x.shape[1:])
    points = grid.stacked().reshape(size * n, *grid.shape[1:])
    y = node.apply(images, points)
    return y.reshape(size, n, *y.shape[1:])


@host_rule(_places_of)
def _places_of_slices(
    run: Callable[..., Any], level: Level, dtype: np.dtype[Any], axes: int, *sizes_and_places: Any
) -> tuple[Any, ...]:
    sizes = sizes_and_places[:axes]
    places = [stacked_array(p, level) for p in sizes_and_places[axes:]]
    n = places[0].shape[1]
    images = [p.reshape((level.size * n, *p.shape[2:])) for p in places]
    index, inside = run(dtype, axes, *sizes, *images)
    index = index.reshape((level.size, n, *index.shape[1:]))
    inside = inside.reshape(index.shape)
    # The pixels of each slice are counted from 0 on.
    first = np.arange(level.size).reshape((-1, *(1,) * (index.ndim - 1))) * (n * math.prod(sizes))
    return batched_array(wrap(index - first), level), batched_array(wrap(inside), level)


@host_rule(_pad_integers)
def _pad_with_number(run: Callable[..., Array], level: Level, x: BatchedArray, *settings: Any) -> Any:
    return batched_array(wrap(run(x.value._array, *settings)), level)


@host_rule(_picked)
@kernel_rule("interpolate")
def _as_one_batch(run: Callable[..., Array], level: Level, x: BatchedArray, *settings: Any) -> Any:
    n, *shape = x.shape
    y = run(x.value._array.reshape((level.size * n, *shape)), *settings)
    return batched_array(wrap(y.reshape((level.size, n, *y.shape[1:]))), level)
