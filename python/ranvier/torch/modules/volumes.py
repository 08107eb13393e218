"""The functions of `nn.functional` for volumes (N, C, D, H, W), computed by the ops of images.

A layer is one image (H, W) of a volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import ranvier as rv
from ranvier import Tensor
from ranvier.tape.function import Dtypes, in_dtypes
from ranvier.tensors.failures import OpError
from ranvier.tensors.types import ShapeLike

OutputSize: TypeAlias = int | Sequence[int | None] | None
"""Depth, height and width of a result, or one number for all; None stands for the size of the input."""

Pool: TypeAlias = Callable[[Tensor], Any]


def _three(op: str, what: str, value: Any, least: int) -> tuple[int, int, int]:
    """A setting as three numbers, for depth, height and width."""
    if isinstance(value, (tuple, list)):
        sizes = tuple(value)
    else:
        sizes = (value,)
    if len(sizes) not in (1, 3) or not all(hasattr(n, "__index__") and n >= least for n in sizes):
        raise OpError(f"[{op}] got {what} {value!r}; expected one or three whole numbers from {least}")
    return sizes * (3 // len(sizes))


# Half floats are computed in float32: gradients add up over the layers of a kernel, and are rounded once.
@in_dtypes(Dtypes(autocast="lower"))
def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: ShapeLike = 1,
    padding: ShapeLike | str = 0,
    dilation: ShapeLike = 1,
    groups: int = 1,
) -> Any:
    """F.conv3d: a `conv2d` for each layer of the result. Its channels are those of all layers that the kernel
    covers.

    >>> conv3d(rv.ones(1, 1, 3, 3, 3), rv.ones(1, 1, 2, 2, 2)).shape
    (1, 1, 2, 2, 2)
    """
    input = rv.as_tensor(input)
    weight = rv.as_tensor(weight)
    x = input
    if input.ndim == 4:
        x = input.unsqueeze(0)
    if not x.ndim == weight.ndim == 5 or x.shape[1] != weight.shape[1] * groups or 0 in weight.shape[2:]:
        raise OpError(
            f"[conv3d] got x of shape {tuple(input.shape)}, weight of {tuple(weight.shape)} and {groups} "
            "groups; expected x (n, c, d, h, w), weight (out_channels, in_channels / groups, d, h, w)"
        )
    # step, gap, before: of the depth; steps, gaps, around: of height and width, for conv2d
    step, *steps = _three("conv3d", "stride", stride, 1)
    gap, *gaps = _three("conv3d", "dilation", dilation, 1)
    if isinstance(padding, str):
        before: Any = padding
        around: Any = padding
    else:
        before, *around = _three("conv3d", "padding", padding, 0)
    depth = weight.shape[2]
    reach = gap * (depth - 1)
    after = before
    if padding == "same":
        before = reach // 2
        after = reach - before
    elif isinstance(padding, str):
        before = after = 0
    if before or after:
        x = rv.pad(x, (0, 0, 0, 0, before, after))
    layers = x.unfold(2, reach + 1, step)[..., ::gap]  # (n, c, layers out, h, w, layers of the kernel)
    n, c, count, h, w, _ = layers.shape
    images = layers.permute(0, 2, 1, 5, 3, 4).reshape(n * count, c * depth, h, w)
    settings: Any = steps, around, gaps, groups
    y = rv.conv2d(images, weight.flatten(1, 2), bias, *settings)
    y = y.reshape(n, count, *y.shape[1:]).transpose(1, 2).contiguous()
    if input.ndim == 5:
        return y
    return y[0]


# As conv3d: half floats are computed in float32.
@in_dtypes(Dtypes(autocast="lower"))
def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: ShapeLike = 1,
    padding: ShapeLike = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: ShapeLike = 1,
) -> Any:
    """F.conv_transpose3d: a `conv_transpose2d` of each layer gives what it adds to each layer of the result.

    >>> conv_transpose3d(rv.ones(1, 1, 2, 2, 2), rv.ones(1, 1, 2, 2, 2)).shape
    (1, 1, 3, 3, 3)
    """
    input = rv.as_tensor(input)
    weight = rv.as_tensor(weight)
    x = input
    if input.ndim == 4:
        x = input.unsqueeze(0)
    fits = x.ndim == weight.ndim == 5 and x.shape[1] == weight.shape[0] and x.shape[1] % groups == 0
    if not fits or 0 in weight.shape[2:]:
        raise OpError(
            f"[conv_transpose3d] got x of shape {tuple(input.shape)}, weight of {tuple(weight.shape)} and "
            f"{groups} groups; expected x (n, c, d, h, w), weight (c, out_channels / groups, d, h, w)"
        )
    # the first of each setting is that of the depth, the others are for conv_transpose2d
    step, *steps = _three("conv_transpose3d", "stride", stride, 1)
    gap, *gaps = _three("conv_transpose3d", "dilation", dilation, 1)
    edge, *edges = _three("conv_transpose3d", "padding", padding, 0)
    more, *extra = _three("conv_transpose3d", "output_padding", output_padding, 0)
    if more >= max(step, gap):
        raise OpError(
            f"[conv_transpose3d] got output_padding {output_padding!r}; expected less than stride or dilation"
        )
    n, c, layers, h, w = x.shape
    out = weight.shape[1]
    depth = weight.shape[2]
    images = x.transpose(1, 2).reshape(n * layers, c, h, w)
    settings: Any = steps, edges, extra, groups, gaps
    y = rv.conv_transpose2d(images, weight.flatten(1, 2), None, *settings)
    y = y.reshape(n, layers, groups * out, depth, *y.shape[2:]).permute(0, 2, 3, 1, 4, 5)
    count = (layers - 1) * step + gap * (depth - 1) + 1  # of the result, before `edge` is cut off
    total: Any = rv.zeros(n, groups * out, count + more, *y.shape[4:], dtype=y.dtype)
    for k in range(depth):  # layer i of x adds to the layers i step + k gap
        places = rv.arange(layers) * step + k * gap
        total = total.index_add(2, places, y[:, :, k])
    total = total[:, :, edge : count + more - edge]
    if bias is not None:
        total = total + rv.as_tensor(bias).reshape(-1, 1, 1, 1)
    if input.ndim == 5:
        return total
    return total[0]


@in_dtypes(Dtypes(autocast="float32"))
def max_pool3d(
    input: Tensor,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    dilation: ShapeLike = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """F.max_pool3d: first the maxima of the windows within each layer, then the maxima over the layers of a
    window.

    >>> max_pool3d(rv.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    tensor([[[[[7.]]]]])
    """
    x = _volumes("max_pool3d", input)
    if stride in (None, [], ()):
        stride = kernel_size
    sizes = _three("max_pool3d", "kernel_size", kernel_size, 1)
    steps = _three("max_pool3d", "stride", stride, 1)
    edges = _three("max_pool3d", "padding", padding, 0)
    gaps = _three("max_pool3d", "dilation", dilation, 1)
    pool: Any = rv.max_pool2d

    def of_images(images: Tensor) -> Any:
        window = sizes[1:], steps[1:], edges[1:], gaps[1:]
        return pool(images, *window, ceil_mode, return_indices=return_indices)

    def of_layers(layers: Tensor) -> Any:
        window = (sizes[0], 1), (steps[0], 1), (edges[0], 0), (gaps[0], 1)
        return pool(layers, *window, ceil_mode, return_indices=return_indices)

    return _maxima(x, of_images, of_layers, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: OutputSize, return_indices: bool = False) -> Any:
    """F.adaptive_max_pool3d: the maxima of windows that divide volumes into output_size.

    >>> adaptive_max_pool3d(rv.arange(8.0).reshape(1, 1, 2, 2, 2), (2, 1, 1)).flatten()
    tensor([3., 7.])
    """
    x = _volumes("adaptive_max_pool3d", input)
    depth, height, width = _output("adaptive_max_pool3d", output_size, x)

    def of_images(images: Tensor) -> Any:
        return rv.adaptive_max_pool2d(images, (height, width), return_indices)

    def of_layers(layers: Tensor) -> Any:
        return rv.adaptive_max_pool2d(layers, (depth, layers.shape[-1]), return_indices)

    return _maxima(x, of_images, of_layers, return_indices)


@in_dtypes(Dtypes(autocast="own"))
def avg_pool3d(
    input: Tensor,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Any:
    """F.avg_pool3d: the means of windows, of each layer and then over the layers.

    >>> avg_pool3d(rv.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    tensor([[[[[3.5000]]]]])
    """
    x = _volumes("avg_pool3d", input)
    if stride in (None, [], ()):
        stride = kernel_size
    sizes = _three("avg_pool3d", "kernel_size", kernel_size, 1)
    steps = _three("avg_pool3d", "stride", stride, 1)
    edges = _three("avg_pool3d", "padding", padding, 0)
    pool: Any = rv.avg_pool2d
    divisor = None if divisor_override is None else 1  # 1: both steps give sums, divided at the end
    settings = ceil_mode, count_include_pad, divisor
    *lead, depth, height, width = x.shape
    y = pool(x.reshape(-1, depth, height, width), sizes[1:], steps[1:], edges[1:], *settings)
    means = pool(y.flatten(2), (sizes[0], 1), (steps[0], 1), (edges[0], 0), *settings)
    means = means.reshape(*lead, means.shape[1], *y.shape[2:])
    if divisor_override is None:
        return means
    return means / divisor_override


@in_dtypes(Dtypes(autocast="own"))
def adaptive_avg_pool3d(input: Tensor, output_size: OutputSize) -> Any:
    """F.adaptive_avg_pool3d: the means of windows that divide volumes into output_size.

    >>> adaptive_avg_pool3d(rv.arange(8.0).reshape(1, 1, 2, 2, 2), 1)
    tensor([[[[[3.5000]]]]])
    """
    x = _volumes("adaptive_avg_pool3d", input)
    sizes = _output("adaptive_avg_pool3d", output_size, x)
    *lead, depth, height, width = x.shape
    y = rv.adaptive_avg_pool2d(x.reshape(-1, depth, height, width), sizes[1:])
    means = rv.adaptive_avg_pool2d(y.flatten(2), (sizes[0], y.shape[2] * y.shape[3]))
    return means.reshape(*lead, *sizes)


def lp_pool3d(
    input: Tensor,
    norm_type: float,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    ceil_mode: bool = False,
) -> Any:
    """F.lp_pool3d: (sum of x^norm_type over a window)^(1 / norm_type).

    >>> lp_pool3d(rv.ones(1, 1, 2, 2, 2), 3, 2)
    tensor([[[[[2.]]]]])
    """
    size = math.prod(_three("lp_pool3d", "kernel_size", kernel_size, 1))
    means = avg_pool3d(rv.as_tensor(input).pow(norm_type), kernel_size, stride, 0, ceil_mode)
    return (rv.sign(means) * rv.relu(rv.abs(means))).mul(size).pow(1.0 / norm_type)


def max_unpool3d(
    input: Tensor,
    indices: Tensor,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    output_size: Sequence[int] | None = None,
) -> Any:
    """F.max_unpool3d: maxima at their places in the volume, zeros elsewhere.

    >>> y, at = max_pool3d(rv.arange(8.0).reshape(1, 1, 2, 2, 2), 2, return_indices=True)
    >>> max_unpool3d(y, at, 2).flatten()
    tensor([0., 0., 0., 0., 0., 0., 0., 7.])
    """
    x = _volumes("max_unpool3d", input)
    kernel = _three("max_unpool3d", "kernel_size", kernel_size, 1)
    if stride in (None, [], ()):
        steps = kernel
    else:
        steps = _three("max_unpool3d", "stride", stride, 1)
    edges = _three("max_unpool3d", "padding", padding, 0)
    sizes = [(n - 1) * steps[d] - 2 * edges[d] + kernel[d] for d, n in enumerate(x.shape[-3:])]
    if output_size is not None:
        wanted = list(output_size)[-3:]
        fits = len(wanted) == 3
        if fits:
            fits = all(abs(n - m) < s for n, m, s in zip(wanted, sizes, steps, strict=True))
        if not fits:
            raise OpError(f"[max_unpool3d] got output_size {output_size!r}; expected about {tuple(sizes)}")
        sizes = wanted
    places = rv.as_tensor(indices).flatten(-3)
    empty = rv.zeros(*x.shape[:-3], math.prod(sizes), dtype=x.dtype)
    return empty.scatter(-1, places, x.flatten(-3)).reshape(*x.shape[:-3], *sizes)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Any:
    """F.dropout3d: sets whole channels of (n, c, d, h, w), or of (c, d, h, w), to zero.

    >>> dropout3d(rv.ones(1, 1, 1, 1, 2), 1.0)
    tensor([[[[[0., 0.]]]]])
    """
    x = _volumes("dropout3d", input)
    if not training:
        return x
    if x.ndim == 5:
        y = rv.nn.functional.dropout2d(x, p)
    else:
        y = rv.nn.functional.dropout2d(x[None], p)[0]
    if inplace:
        return x.copy_(y)
    return y


def _volumes(op: str, input: Tensor) -> Any:
    x = rv.as_tensor(input)
    if x.ndim not in (4, 5):
        raise OpError(f"[{op}] got x of shape {tuple(x.shape)}; expected (n, c, d, h, w) or (c, d, h, w)")
    return x


def _output(op: str, output_size: OutputSize, x: Tensor) -> list[int]:
    """The three sizes of a result; None stands for the size of x."""
    if isinstance(output_size, (tuple, list)):
        sizes: tuple[Any, ...] = tuple(output_size)
    else:
        sizes = (output_size,) * 3
    whole = all(n is None or (hasattr(n, "__index__") and n >= 0) for n in sizes)
    if len(sizes) != 3 or not whole:
        raise OpError(f"[{op}] got output_size {output_size!r}; expected one or three whole numbers, or None")
    result = list(x.shape[-3:])
    for d, size in enumerate(sizes):
        if size is not None:
            result[d] = int(size)
    return result


def _maxima(x: Tensor, of_images: Pool, of_layers: Pool, with_indices: bool) -> Any:
    """The maxima of volumes: those of the images of each layer, and then those over the layers.

    with_indices: the two functions also give indices, and the result is (maxima, indices in the volume).
    """
    *lead, depth, height, width = x.shape
    images = of_images(x.reshape(-1, depth, height, width))
    if not with_indices:
        maxima = of_layers(images.flatten(2))
        return maxima.reshape(*lead, maxima.shape[1], *images.shape[2:])
    images, in_image = images
    maxima, winners = of_layers(images.flatten(2))  # of (volumes, depth, height * width of an image's maxima)
    extent = images.shape[2] * images.shape[3]
    chosen = in_image.flatten(1).gather(1, winners.flatten(1))
    layer = rv.div(winners.flatten(1), extent, rounding_mode="floor")
    shape = (*lead, maxima.shape[1], *images.shape[2:])
    return maxima.reshape(shape), (layer * (height * width) + chosen).reshape(shape)
