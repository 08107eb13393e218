"""Functions on images that few networks use: fold and unfold, channel_shuffle, pixel_shuffle and
pixel_unshuffle, local_response_norm, max_unpool, affine_grid and grid_sample.

Most are composed of reshape, pad, index and scatter ops, which give the gradients; grid_sample has a kernel.
Sizes in shapes: n images of c channels, h rows and w columns; r and s: rows and columns of a window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.arithmetic import add, div, mul
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.elementwise.functions import pow, square
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.image.grid_points import _places_of, cubic, limited, pixels, read_at
from ranvier.ops.image.pooling import avg_pool1d
from ranvier.ops.image.resample import pad
from ranvier.ops.making.creation import zeros
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.shape.index import gather, index_array
from ranvier.ops.shape.reshape import permute, reshape, transpose, unsqueeze
from ranvier.ops.shape.scatter import scatter, scatter_add
from ranvier.tape.function import Dtypes, Function, in_dtypes, watched
from ranvier.tensors.errors import index, whole
from ranvier.tensors.failures import OpError, failure, misfit
from ranvier.tensors.memory import keep
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import ShapeLike, TensorLike


def _two(name: str, setting: str, value: ShapeLike, least: int) -> tuple[int, int]:
    """The value of a setting of the op `name` as two whole numbers, for rows and columns."""
    pair = _for_axes(value, 2)
    sizes = [index(v) for v in pair if hasattr(v, "__index__")]
    if not len(pair) == len(sizes) == 2 or not all(least <= size < 2**31 for size in sizes):
        raise OpError(f"[{name}] got {setting} {value!r}; expected one or two whole numbers >= {least}")
    return sizes[0], sizes[1]


class _Windows(NamedTuple):
    """The places that windows read: flat positions (r s, oh ow) in the padded image, the rows and columns of
    that image, and its padding. oh, ow: the numbers of windows along rows and columns."""

    positions: Array
    size: tuple[int, int]
    padding: tuple[int, int]


def _windows(
    name: str,
    size: tuple[int, int],
    kernel_size: ShapeLike,
    dilation: ShapeLike,
    padding: ShapeLike,
    stride: ShapeLike,
) -> _Windows:
    """The places that windows read. size: rows and columns of the image without padding."""
    r, s = _two(name, "kernel_size", kernel_size, 1)
    dh, dw = _two(name, "dilation", dilation, 1)
    ph, pw = _two(name, "padding", padding, 0)
    sh, sw = _two(name, "stride", stride, 1)
    h = size[0] + 2 * ph
    w = size[1] + 2 * pw
    oh = (h - dh * (r - 1) - 1) // sh + 1
    ow = (w - dw * (s - 1) - 1) // sw + 1
    if oh < 1 or ow < 1:
        raise OpError(f"[{name}] got windows of {r} x {s} for images of {h} x {w}; expected smaller windows")
    rows = np.arange(r)[:, None] * dh + np.arange(oh) * sh  # (r, oh)
    columns = np.arange(s)[:, None] * dw + np.arange(ow) * sw  # (s, ow)
    positions = rows[:, None, :, None] * w + columns[None, :, None, :]  # (r, s, oh, ow)
    return _Windows(positions.reshape(r * s, oh * ow), (h, w), (ph, pw))


def _for_channels(positions: Array, n: int, c: int) -> Array:
    """The positions (r s, oh ow) repeated for each image and channel: (n, c, r s oh ow).

    They depend on sizes only, so a compiled step may keep them as constants.
    """
    repeated = np.broadcast_to(positions.reshape(1, 1, -1), (n, c, positions.size))
    return keep(np.ascontiguousarray(repeated))


def unfold(
    input: TensorLike,
    kernel_size: ShapeLike,
    dilation: ShapeLike = 1,
    padding: ShapeLike = 0,
    stride: ShapeLike = 1,
) -> Tensor:
    """The windows of images as columns: (n, c, h, w) -> (n, c r s, number of windows).

    >>> import ranvier as rv
    >>> rv.nn.functional.unfold(rv.ones(1, 2, 4, 4), 3).shape
    (1, 18, 4)
    """
    input = as_tensor("unfold", input)
    if input.ndim == 3:
        return unfold(unsqueeze(input, 0), kernel_size, dilation, padding, stride)[0]
    if input.ndim != 4:
        raise misfit("unfold", {"x": input.shape}, "(n, c, h, w) or (c, h, w)")
    n, c = input.shape[:2]
    image = (input.shape[2], input.shape[3])
    windows = _windows("unfold", image, kernel_size, dilation, padding, stride)
    ph, pw = windows.padding
    if ph or pw:
        input = pad(input, (pw, pw, ph, ph))
    pixels_in_rows = reshape(input, (n, c, math.prod(windows.size)))
    taps, count = windows.positions.shape
    values = gather(pixels_in_rows, 2, _for_channels(windows.positions, n, c))
    return reshape(values, (n, c * taps, count))


def fold(
    input: TensorLike,
    output_size: ShapeLike,
    kernel_size: ShapeLike,
    dilation: ShapeLike = 1,
    padding: ShapeLike = 0,
    stride: ShapeLike = 1,
) -> Tensor:
    """The sum of windows, put back into images: (n, c r s, number of windows) -> (n, c, h, w).

    >>> import ranvier as rv
    >>> rv.nn.functional.fold(rv.ones(1, 4, 1), (2, 2), 2).shape
    (1, 1, 2, 2)
    """
    input = as_tensor("fold", input)
    if input.ndim == 2:
        return fold(unsqueeze(input, 0), output_size, kernel_size, dilation, padding, stride)[0]
    h, w = _two("fold", "output_size", output_size, 1)
    windows = _windows("fold", (h, w), kernel_size, dilation, padding, stride)
    taps, count = windows.positions.shape
    if input.ndim != 3 or input.shape[1] % taps or input.shape[2] != count:
        raise misfit("fold", {"x": input.shape}, f"(n, c * {taps}, {count}) for this size")
    n = input.shape[0]
    c = input.shape[1] // taps
    ph, pw = windows.padding
    values = reshape(input, (n, c, taps * count))
    sums = zeros(n, c, math.prod(windows.size), dtype=input.dtype)
    sums = scatter_add(sums, 2, _for_channels(windows.positions, n, c), values)
    return reshape(sums, (n, c, *windows.size))[:, :, ph : ph + h, pw : pw + w]


def channel_shuffle(input: TensorLike, groups: int) -> Tensor:
    """x (N, C, ...) with its channels in another order: the first of each group, then the second of each ...

    >>> import ranvier as rv
    >>> rv.nn.functional.channel_shuffle(rv.arange(4).reshape(1, 4, 1), 2).flatten()
    tensor([0, 2, 1, 3])
    """
    input = as_tensor("channel_shuffle", input)
    groups = whole("channel_shuffle", "groups", groups)
    if input.ndim < 3 or groups < 1 or input.shape[1] % groups:
        raise OpError(
            f"[channel_shuffle] got x of shape {input.shape} and {groups} groups; expected (N, C, ...) with "
            "a multiple of groups as C"
        )
    n, c, *rest = input.shape
    apart = reshape(input, (n, groups, c // groups, *rest))
    order = (0, 2, 1, *range(3, apart.ndim))  # (n, c / groups, groups, ...)
    return reshape(permute(apart, order), (n, c, *rest))


def pixel_shuffle(input: TensorLike, upscale_factor: int) -> Tensor:
    """(..., c r^2, h, w) -> (..., c, h r, w r): channels become pixels (Shi et al. 2016).

    >>> import ranvier as rv
    >>> rv.nn.functional.pixel_shuffle(rv.ones(1, 8, 2, 2), 2).shape
    (1, 2, 4, 4)
    """
    input = as_tensor("pixel_shuffle", input)
    r = whole("pixel_shuffle", "upscale_factor", upscale_factor)
    if input.ndim < 3 or r < 1 or input.shape[-3] % (r * r):
        raise OpError(
            f"[pixel_shuffle] got x of shape {input.shape} and upscale_factor {r}; expected "
            "(..., c r^2, h, w)"
        )
    if r == 1:
        return input.clone()
    *lead, c, h, w = input.shape
    c //= r * r
    y = reshape(input, (*lead, c, r, r, h, w))
    d = len(lead)
    order = (*range(d), d, d + 3, d + 1, d + 4, d + 2)  # (..., c, h, r, w, r)
    return reshape(permute(y, order), (*lead, c, h * r, w * r))


def pixel_unshuffle(input: TensorLike, downscale_factor: int) -> Tensor:
    """(..., c, h r, w r) -> (..., c r^2, h, w): the inverse of :func:`pixel_shuffle`.

    >>> import ranvier as rv
    >>> rv.nn.functional.pixel_unshuffle(rv.ones(1, 2, 4, 4), 2).shape
    (1, 8, 2, 2)
    """
    input = as_tensor("pixel_unshuffle", input)
    r = whole("pixel_unshuffle", "downscale_factor", downscale_factor)
    if input.ndim < 3 or r < 1 or input.shape[-1] % r or input.shape[-2] % r:
        raise OpError(
            f"[pixel_unshuffle] got x of shape {input.shape} and downscale_factor {r}; "
            "expected (..., c, h r, w r)"
        )
    if r == 1:
        return input.clone()
    *lead, c, h, w = input.shape
    y = reshape(input, (*lead, c, h // r, r, w // r, r))
    d = len(lead)
    order = (*range(d), d, d + 2, d + 4, d + 1, d + 3)  # (..., c, r, r, h / r, w / r)
    return reshape(permute(y, order), (*lead, c * r * r, h // r, w // r))


def local_response_norm(
    input: TensorLike, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha mean)^beta, with the mean of the squares of `size` neighbouring channels (Krizhevsky
    2012).

    x (n, c, ...); channels beyond the first and the last count as 0.

    >>> import ranvier as rv
    >>> rv.nn.functional.local_response_norm(rv.ones(1, 3, 2, 2), 2, alpha=1.0)[0, :, 0, 0]
    tensor([0.7378, 0.5946, 0.5946])
    """
    input = as_tensor("local_response_norm", input)
    # As in PyTorch, autocast computes this in float32 for images, but not for sequences (n, c, l).
    if input.ndim == 3:
        dtypes = Dtypes()
    else:
        dtypes = Dtypes(autocast="float32")
    return in_dtypes(dtypes)(_response_norm)(input, size, alpha, beta, k)


def _response_norm(input: Tensor, size: int, alpha: float, beta: float, k: float) -> Tensor:
    if input.ndim < 3 or size < 1:
        raise OpError(
            f"[local_response_norm] got x of shape {input.shape} and size {size}; expected (n, c, ...)"
        )
    if input.numel() == 0:
        return input
    n, c = input.shape[:2]
    rows = transpose(reshape(square(input), (n, c, -1)), 1, 2)  # (n, pixels, c)
    means = avg_pool1d(pad(rows, (size // 2, (size - 1) // 2)), size, 1)
    means = reshape(transpose(means, 1, 2), input.shape)
    return div(input, pow(add(mul(means, alpha), k), beta))


@in_dtypes(Dtypes(halves="own", autocast="float32"))
def max_unpool1d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The maxima at the places that they came from, 0 elsewhere.

    x and indices are results of max_pool1d. Of several values for one place the last stays, and only it gets
    a gradient.

    >>> import ranvier as rv
    >>> rv.nn.functional.max_unpool1d(rv.tensor([[2.0]]), rv.tensor([[1]]), 2)
    tensor([[0., 2.]])
    """
    return _unpooled("max_unpool1d", 1, input, indices, kernel_size, stride, padding, output_size)


@in_dtypes(Dtypes(halves="own", autocast="float32"))
def max_unpool2d(
    input: TensorLike,
    indices: TensorLike,
    kernel_size: ShapeLike,
    stride: ShapeLike | None = None,
    padding: ShapeLike = 0,
    output_size: Sequence[int] | None = None,
) -> Tensor:
    """The maxima at the places that they came from, 0 elsewhere.

    x and indices are results of max_pool2d; see :func:`max_unpool1d`.

    >>> import ranvier as rv
    >>> rv.nn.functional.max_unpool2d(rv.ones(1, 1, 1), rv.ones(1, 1, 1).long(), (1, 2))
    tensor([[[0., 1.]]])
    """
    return _unpooled("max_unpool2d", 2, input, indices, kernel_size, stride, padding, output_size)


def _unpooled(
    name: str,
    axes: int,
    input: TensorLike,
    indices: TensorLike,
    kernel_size: ShapeLike,
    stride: ShapeLike | None,
    padding: ShapeLike,
    output_size: Sequence[int] | None,
) -> Tensor:
    """max_unpool1d or max_unpool2d: pools over one axis or two."""
    x = as_tensor(name, input)
    places = index_array(name, indices)
    if places.shape != x.shape or x.ndim not in (axes + 1, axes + 2):
        raise OpError(
            f"[{name}] got x of shape {x.shape} and indices of {places.shape}; expected equal shapes"
        )
    kernels = _for_axes(kernel_size, axes)
    strides = kernels
    if stride is not None:
        strides = _for_axes(stride, axes)
    paddings = _for_axes(padding, axes)
    lead = x.shape[: x.ndim - axes]
    outs = x.shape[x.ndim - axes :]
    windows = zip(outs, kernels, strides, paddings, strict=True)
    # the size of the image for which max_pool gives `out` windows
    shape = tuple([(out - 1) * step - 2 * pad + size for out, size, step, pad in windows])
    if output_size is not None:
        sizes = tuple(output_size)[-axes:]
        if any(abs(n - m) >= step for n, m, step in zip(sizes, shape, strides, strict=True)):
            raise OpError(f"[{name}] got output_size {tuple(output_size)}; expected sizes close to {shape}")
        shape = sizes
    size = math.prod(shape)
    count = math.prod(outs)
    if places.size and (places.min() < 0 or places.max() >= size):
        raise OpError(f"[{name}] got an index outside 0 ... {size - 1}; expected indices of max_pool")
    base = zeros(*lead, size, dtype=x.dtype)
    places = places.reshape(*lead, count)
    y = watched(scatter(base, -1, places, reshape(x, (*lead, count))), indices)
    return reshape(y, (*lead, *shape))


def _for_axes(value: ShapeLike, axes: int) -> tuple[int, ...]:
    """A setting for each axis: one number stands for all of them."""
    if isinstance(value, int):
        return (value,) * axes
    return tuple(value)


def affine_grid(theta: TensorLike, size: Sequence[int], align_corners: bool | None = None) -> Tensor:
    """Coordinates for :func:`grid_sample`: theta (n, 2, 3), size (n, c, h, w) -> (n, h, w, 2), x and y
    in [-1, 1]; of volumes theta (n, 3, 4), size (n, c, d, h, w) -> (n, d, h, w, 3).

    >>> import ranvier as rv
    >>> theta = rv.tensor([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    >>> rv.nn.functional.affine_grid(theta, (1, 1, 2, 2), align_corners=True)[0, 0]
    tensor([[-1., -1.],
            [ 1., -1.]])
    """
    theta = as_tensor("affine_grid", theta)
    if not isinstance(size, (list, tuple)) or len(size) not in (4, 5):
        raise failure(
            TypeError,
            "affine_grid",
            f"size {size!r}",
            "the sizes (n, c, h, w) or (n, c, d, h, w) of the output",
        )
    n, _, *sizes = size
    axes = len(sizes)
    if theta.shape != (n, axes, axes + 1) or axes not in (2, 3) or theta.dtype.kind != "f" or min(size) < 1:
        raise OpError(
            f"[affine_grid] got theta of shape {theta.shape} and {theta.dtype}, size {tuple(size)}; "
            "expected floats (n, 2, 3) or (n, 3, 4), sizes from 1"
        )

    def coordinates(count: int) -> Array:
        """The coordinates of `count` pixels in a row."""
        if count > 1:
            points = np.linspace(-1, 1, count)
        else:
            points = np.zeros(count)
        if align_corners:
            return points
        return points * (count - 1) / max(count, 1)

    # for each pixel its coordinates, x before y, and a 1 by which theta adds its last column
    grids = np.meshgrid(*map(coordinates, sizes), np.ones(1), indexing="ij")
    base = np.stack([*grids[-2::-1], grids[-1]], -1).reshape(1, -1, axes + 1).astype(theta.dtype)
    return reshape(matmul(wrap(keep(base)), transpose(theta, 1, 2)), (n, *sizes, axes))


@in_dtypes(Dtypes(autocast="float32"))
def grid_sample(
    input: TensorLike,
    grid: TensorLike,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """x read at the points of a grid: x (n, c, h, w), grid (n, p, q, 2) of (x, y) in [-1, 1] -> (n, c, p, q).
    Of volumes x (n, c, d, h, w), grid (n, o, p, q, 3), in the first two modes.

    mode 'bilinear', 'nearest' or 'bicubic' (Keys 1981, a = -0.75). Beyond the edge padding_mode gives
    'zeros', the 'border' or its 'reflection'. With align_corners -1 and 1 are the centres of the outer
    pixels, else their outer edges (Jaderberg et al. 2015).

    >>> import ranvier as rv
    >>> image, points = rv.tensor([[[[0.0, 1.0]]]]), rv.tensor([[[[0.0, 0.0]]]])
    >>> rv.nn.functional.grid_sample(image, points, align_corners=True)
    tensor([[[[0.5000]]]])
    """
    node = GridSample(mode, padding_mode, bool(align_corners), in_pixels=False)
    input = as_tensor("grid_sample", input)
    grid = as_tensor("grid_sample", grid)
    fits = input.shape[:1] == grid.shape[:1] and grid.shape[4:] == (3,)
    if input.ndim == grid.ndim == 5 and fits and min(input.shape[2:]) > 0:
        # The kernel is for images only. Called here with an empty batch, it checks settings and dtypes.
        points = reshape(grid[:0], (0, 1, 1, 3))[..., :2]
        GridSample(mode, padding_mode, bool(align_corners), in_pixels=False).apply(input[:0, :, 0], points)
        shape = (*input.shape[:2], *grid.shape[1:4])
        if mode != "bicubic" and 0 in shape:
            return zeros(shape, dtype=input.dtype) + (input.sum() + grid.sum()) * 0
        if mode != "bicubic":
            return _weighted(node, input, grid).contiguous()
    return node.apply(input, grid)


class GridSample(Function):
    """`grid_sample` of images by the kernel. in_pixels: the points are places in pixels, not in [-1, 1]."""

    def __init__(self, mode: str, padding_mode: str, align_corners: bool, in_pixels: bool) -> None:
        self.settings = (mode, padding_mode, align_corners, in_pixels)

    def forward(self, x: Array, grid: Array) -> Array:
        self.x = x
        self.grid = grid
        return _core.grid_sample(x, grid, *self.settings)

    def backward(self, dy: Array) -> Any:
        mode, padding, align, in_pixels = self.settings
        needs_x, needs_grid = self.needs
        return _core.grid_sample_backward(
            dy, self.x, self.grid, mode, padding, align, needs_x, needs_grid, in_pixels
        )


@recomputed("x", "grid", kinds=(GridSample,))
def _weighted(node: GridSample, x: Tensor, grid: Tensor) -> Tensor:
    """grid_sample as a formula of ops, for volumes and for gradients of gradients.

    Along each axis, the k pixels around a point (`taps`, counted from the pixel before the point) have
    weights that depend on the distance of the point from that pixel (`share`). The result is the sum over all
    combinations of the axes' taps: the pixel times the product of its weights.
    """
    mode, padding_mode, align_corners, in_pixels = node.settings
    if mode == "bicubic":
        taps = keep(np.arange(-1, 3))
    elif mode == "bilinear":
        taps = keep(np.arange(2))
    else:
        taps = keep(np.arange(1))
    tap = wrap(keep(taps.astype(x.dtype)))
    # for each axis: (n, points ..., k)
    places = []
    weights = []
    for d, size in enumerate(x.shape[:1:-1]):  # columns, rows, layers
        if in_pixels:
            p = grid[..., d]
        else:
            p = pixels(grid[..., d], size, align_corners)
        if mode != "bicubic":
            p = limited(p, size, padding_mode, align_corners)
        if mode == "nearest":
            before = host(np.rint, p._array)
        else:
            before = host(np.floor, p._array)
        pixel = wrap(host(np.add, before[..., None], taps))
        if mode == "bicubic":
            pixel = limited(pixel, size, padding_mode, align_corners)
        places.append(pixel._array)
        share = unsqueeze(p - wrap(before), -1)
        if mode == "bicubic":
            weight = cubic(share, tap)
        elif mode == "bilinear":
            weight = share * (2 * tap - 1) + (1 - tap)  # 1 - share for tap 0, share for tap 1
        else:
            weight = share * 0 + 1
        weights.append(weight)
    index, inside = host(_places_of, x.dtype, len(places), *x.shape[2:], *places[::-1])
    return read_at(x, index, mul(_products(*weights), wrap(inside)))


def _products(*weights: Tensor) -> Tensor:
    """The products of the weights of all combinations of taps: (n, points ..., k^axes).

    weights: (n, points ..., k) for columns, then for rows, then for layers.
    """
    product = weights[-1]
    for weight in weights[-2::-1]:
        product = reshape(mul(unsqueeze(product, -1), unsqueeze(weight, -2)), (*weight.shape[:-1], -1))
    return product
