"""Computes Resize and Upsample, and GridSample, AffineGrid and Col2Im.

Each axis is resized by a product with a matrix of weights, which NumPy makes from the sizes. Cases that
`ops.interpolate` has are computed by it.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import ranvier.nn.functional as F
import ranvier.ops as ops
from ranvier.autograd import Tensor
from ranvier.onnx.dims import same_dims
from ranvier.onnx.operators.windows import elements_along, geometry
from ranvier.onnx.patching import has_size
from ranvier.onnx.registry import operator
from ranvier.onnx.sizes import number
from ranvier.onnx.values import Array, Value, array_of, in_float, ints, on_tensors, raw, shape_of, tensor_of
from ranvier.tensors.types import Shape


class _Filter(NamedTuple):
    """Attributes of Resize: how an output element is computed from the inputs around its place."""

    mode: str
    nearest_mode: str
    cubic_coeff_a: float
    exclude_outside: bool
    antialias: bool


@operator("Upsample")
def upsample_images(x: Value, *, height_scale: float, width_scale: float, mode: str = "nearest") -> Any:
    """Version 1, in which linear interpolation is called "bilinear"."""
    scales = np.array([1, 1, height_scale, width_scale], np.float32)
    if mode == "bilinear":
        mode = "linear"
    return resize_10(x, scales, mode=mode)


@operator("Upsample", since=7)
@operator("Resize", since=10)
def resize_10(x: Value, scales: Value, *, mode: str = "nearest") -> Any:
    """Version 10. The specification leaves open which element is nearest; this is onnxruntime's choice."""
    settings = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "version 10"}
    return resize(x, None, scales, None, mode=mode, **settings)


@operator("Resize", since=11)
def resize(
    x: Value,
    roi: Value | None = None,
    scales: Value | None = None,
    sizes: Value | None = None,
    *,
    antialias: int = 0,
    axes: Any = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
    from_pytorch: int = 0,
) -> Any:
    """x resized along axes, to sizes or by scales.

    from_pytorch: `graph.py` sets it for files of PyTorch. With align_corners the coordinates then follow from
    the result's size, which is a whole number, as in PyTorch; ONNX takes scale times the size.
    """
    shape = shape_of(x)
    if axes is None:
        chosen = list(range(len(shape)))
    else:
        chosen = [a % len(shape) for a in axes]
    filter = _Filter(mode, nearest_mode, cubic_coeff_a, bool(exclude_outside), bool(antialias))
    kernel = _kernel_of(len(shape), coordinate_transformation_mode, filter)
    if sizes is not None and keep_aspect_ratio_policy == "stretch" and kernel is not None:
        wanted = ints(sizes)
        if has_size((shape, wanted)):
            return _to_sizes(x, shape, chosen, wanted, kernel)
    factors, outs = sizes_of(shape, chosen, scales, sizes, keep_aspect_ratio_policy)
    transformation = coordinate_transformation_mode
    if from_pytorch and transformation == "align_corners":
        factors = [_ratio(outs[a], shape[a]) for a in chosen]
    crops = transformation == "tf_crop_and_resize"
    if crops and roi is not None:
        window = _decimals(array_of(roi))  # the starts of all chosen axes, then their ends
    else:
        window = None
    kernel = _own_kernel(shape, outs, chosen, factors, transformation, filter)
    if kernel is not None:
        mode, align_corners = kernel
        interpolate = partial(ops.interpolate, size=outs[2:], mode=mode, align_corners=align_corners)
        return in_float(interpolate, x)

    def of_tensors(x: Tensor) -> Any:
        for i, axis in enumerate(chosen):
            n = shape[axis]
            out = outs[axis]
            factor = factors[i]
            if window is None:
                part = (0.0, 1.0)
            else:
                part = (window[i], window[i + len(chosen)])
            if out == n and factor == 1 and part == (0.0, 1.0):
                continue
            places = _coordinates(transformation, n, out, factor, part)
            weights = _weights(places, n, factor, filter)
            outside = None
            if crops:
                outside = (places < 0) | (places > n - 1)
            x = _along(x, axis, weights, outside, extrapolation_value)
        return x

    return in_float(of_tensors, x)


def _decimals(numbers: Any) -> list[float]:
    """The shortest decimal numbers that round to these float32 numbers: 0.6 for 0.6f.

    With the exact value of 0.6f, places halfway between two elements would move to one side.
    """
    return [float(str(number)) for number in numbers.reshape(-1)]


def _ratio(new: int, old: int) -> float:
    """The factor from the old size to the new one; 1 for an axis without elements."""
    if not old:
        return 1.0
    return new / old


def _factor(f: float | np.float32) -> float | np.float32:
    """A factor, as an int where it is whole: its product with a size is one, too."""
    if float(f).is_integer():
        return int(f)
    return f


def sizes_of(
    shape: Shape, chosen: list[int], scales: Value | None, sizes: Value | None, policy: str
) -> tuple[list[float], tuple[int, ...]]:
    """The factor of each chosen axis, and the resulting sizes of all axes.

    policy: keep_aspect_ratio_policy; except for "stretch", sizes are bounds for one common factor.
    """
    outs = list(shape)
    if scales is not None and raw(scales).size:
        numbers = array_of(scales).reshape(-1).astype(np.float32)
        factors = _decimals(numbers)
        # the product is computed in float32, where 5 * 2.6f is 13
        wanted = [math.floor(shape[a] * _factor(f)) for a, f in zip(chosen, numbers, strict=False)]
    elif sizes is not None:
        wanted = list(ints(sizes))
        factors = [_ratio(w, shape[a]) for a, w in zip(chosen, wanted, strict=False)]
        if policy in ("not_larger", "not_smaller"):
            if policy == "not_larger":
                factor = min(factors)
            else:
                factor = max(factors)
            factors = [factor] * len(factors)
            wanted = [math.floor(shape[a] * factor + 0.5) for a in chosen]
    else:
        raise ValueError("[onnx Resize] got neither scales nor sizes")
    if len(factors) != len(chosen) or not all(math.isfinite(f) and f > 0 for f in factors):
        raise ValueError(f"[onnx Resize] got factors {factors} for {len(chosen)} axes")
    for a, w in zip(chosen, wanted, strict=True):
        outs[a] = w
    return factors, tuple(outs)


# mode and transformation -> the modes of ops.interpolate for signals and for images, and its align_corners
_KERNELS = {
    ("nearest", "asymmetric"): ("nearest", "nearest", None),
    ("linear", "half_pixel"): ("linear", "bilinear", False),
    ("linear", "align_corners"): ("linear", "bilinear", True),
    ("cubic", "half_pixel"): ("", "bicubic", False),
    ("cubic", "align_corners"): ("", "bicubic", True),
}


def _kernel_of(ndim: int, transformation: str, filter: _Filter) -> tuple[str, bool | None] | None:
    """(mode, align_corners) of ops.interpolate, or None where it has no such mode."""
    signal, image, corners = _KERNELS.get((filter.mode, transformation), ("", "", None))
    mode = {3: signal, 4: image}.get(ndim, "")
    is_special = filter.exclude_outside or filter.antialias
    if mode == "bicubic" and filter.cubic_coeff_a != -0.75:
        is_special = True
    if filter.mode == "nearest" and filter.nearest_mode != "floor":
        is_special = True
    if is_special or not mode:
        return None
    return (mode, corners)


def _own_kernel(
    shape: Any, outs: Any, chosen: list[int], factors: list[float], transformation: str, filter: _Filter
) -> tuple[str, bool | None] | None:
    """(mode, align_corners) of ops.interpolate, or None where that would compute something else."""
    if filter.nearest_mode == "version 10" and min(factors, default=1) >= 1:
        filter = filter._replace(nearest_mode="floor")
    # `ops.interpolate` gets the sizes, so the factors have to be those that it computes from them
    pairs = zip(chosen, factors, strict=True)
    is_exact = all(outs[axis] == shape[axis] * _factor(factor) for axis, factor in pairs)
    has_elements = min(number(n) for n in (*shape, *outs)) > 0
    if not is_exact or not has_elements or outs[:2] != shape[:2]:
        return None
    return _kernel_of(len(shape), transformation, filter)


def _to_sizes(
    x: Value, shape: Any, chosen: list[int], wanted: tuple[Any, ...], kernel: tuple[str, bool | None]
) -> Any:
    """x resized to the wanted sizes of the chosen axes, some of which are symbols."""
    outs = list(shape)
    for axis, n in zip(chosen, wanted, strict=True):
        outs[axis] = n
    if not same_dims(tuple(outs[:2]), tuple(shape[:2])):
        raise ValueError(
            f"[onnx Resize] got sizes {outs} for a value of shape {shape}; expected the first two"
        )
    mode, align_corners = kernel
    interpolate = partial(F.interpolate, size=tuple(outs[2:]), mode=mode, align_corners=align_corners)
    return in_float(interpolate, x)


def _coordinates(how: str, n: int, out: int, scale: float, part: tuple[float, float]) -> Any:
    """(out,): where each output element lies among n input elements, as a fractional index.

    how: coordinate_transformation_mode.
    scale: out / n.
    part: begin and end of the crop, as fractions of the axis.
    """
    o = np.arange(out, dtype=np.float64)
    if how == "tf_crop_and_resize" and out == 1:
        return o + sum(part) / 2 * (n - 1)
    if (how == "pytorch_half_pixel" and out <= 1) or (how == "align_corners" and scale * n <= 1):
        return o * 0
    if how in ("half_pixel", "pytorch_half_pixel"):
        return (o + 0.5) / scale - 0.5
    if how == "half_pixel_symmetric":
        return (o + 0.5) / scale - 0.5 + n / 2 * (1 - out / (scale * n))
    if how == "align_corners":
        return o * (n - 1) / (scale * n - 1)
    if how == "asymmetric":
        return o / scale
    if how == "tf_half_pixel_for_nn":
        return (o + 0.5) / scale
    if how == "tf_crop_and_resize":
        first, last = part
        return first * (n - 1) + o * (last - first) * (n - 1) / (out - 1)
    raise ValueError(f"[onnx Resize] got coordinate_transformation_mode {how!r}")


def _nearest(places: Array, nearest_mode: str, factor: float) -> Array:
    """The index of the nearest input element for each place. Raises KeyError for another mode.

    "version 10" is this library's name for the rule of operator set 10, which depends on the factor.
    """
    if nearest_mode == "version 10":
        nearest_mode = "floor"
        if factor < 1:
            nearest_mode = "ceil"
    if nearest_mode == "floor":
        return np.floor(places)
    if nearest_mode == "ceil":
        return np.ceil(places)
    if nearest_mode == "round_prefer_floor":
        return np.ceil(places - 0.5)
    if nearest_mode == "round_prefer_ceil":
        return np.floor(places + 0.5)
    raise KeyError(nearest_mode)


def _weights(places: Array, n: int, factor: float, filter: _Filter) -> Array:
    """(out, n): the share of each of n input elements in each output element, for places (out,).

    Elements outside the input are those at its edge. With antialias, a factor below 1 makes the filter wider.
    Cubic: Keys, "Cubic convolution interpolation for digital image processing" (1981), with the parameter a.
    """
    mode = filter.mode
    a = filter.cubic_coeff_a
    if mode == "nearest":
        chosen = _nearest(places, filter.nearest_mode, factor)[:, None]
        return (np.clip(chosen, 0, n - 1) == np.arange(n)).astype(np.float64)
    if mode not in ("linear", "cubic"):
        raise ValueError(f"[onnx Resize] got mode {mode!r}")
    narrow = 1.0  # distances in the filter are this much shorter than in the input
    if filter.antialias:
        narrow = min(factor, 1.0)
    radius = 2  # of the filter
    if mode == "linear":
        radius = 1
    reach = math.ceil(radius / narrow)  # input elements on each side
    around = np.floor(places)[:, None] + np.arange(1 - reach, reach + 1)  # (out, 2 reach)
    distance = np.abs(places[:, None] - around) * narrow
    if mode == "linear":
        share = np.maximum(1 - distance, 0)
    else:
        near = ((a + 2) * distance - (a + 3)) * distance * distance + 1
        far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
        beyond_one = np.where(distance < 2, far, 0)
        share = np.where(distance <= 1, near, beyond_one)
    if filter.exclude_outside:
        share = np.where((around >= 0) & (around < n), share, 0)
    share = share / share.sum(axis=1, keepdims=True)
    weights = np.zeros((len(places), n))
    rows = np.broadcast_to(np.arange(len(places))[:, None], around.shape)
    np.add.at(weights, (rows, np.clip(around, 0, n - 1).astype(np.int64)), share)
    return weights


def _along(x: Tensor, axis: int, weights: Array, outside: Array | None, value: float) -> Tensor:
    """The product of x with weights (out, n) along an axis of n elements.

    outside: (out,) which elements of the result become `value`, or None.
    """
    last = ops.movedim(x, axis, -1)
    factors = tensor_of(weights.T.astype(x.dtype))
    y = ops.movedim(ops.matmul(last, factors), -1, axis)
    if outside is None or not outside.any():
        return y
    mask_shape = [1] * x.ndim
    mask_shape[axis] = -1
    mask = np.broadcast_to(outside.reshape(mask_shape), y.shape)
    return ops.where(tensor_of(mask), tensor_of(np.full((), value, x.dtype)), y)


@operator("GridSample", since=16)
@on_tensors
def grid_sample(
    x: Tensor, grid: Tensor, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
) -> Any:
    library_mode = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode)
    return F.grid_sample(x, grid, library_mode, padding_mode, bool(align_corners))


@operator("AffineGrid", since=20)
def affine_grid(theta: Value, size: Value, *, align_corners: int = 0) -> Any:
    grid = partial(F.affine_grid, size=ints(size), align_corners=bool(align_corners))
    return in_float(grid, theta)


@operator("Col2Im", since=18)
def col2im(
    x: Value, size: Value, block: Value, *, dilations: Any = None, pads: Any = None, strides: Any = None
) -> Any:
    """(N, C * elements of a window, windows) -> (N, C, ...): each element is added at its place."""
    image = np.zeros((1, 1, *ints(size)))
    window = geometry("Col2Im", image, ints(block), strides=strides, pads=pads, dilations=dilations)
    # the flat index of each place of the image; image.size stands for places in the padding
    places = window.padded(np.arange(image.size).reshape(image.shape), image.size)
    for axis in range(2, image.ndim):
        places = np.stack(elements_along(places, axis, window), -1)
    batch, rows, _ = shape_of(x)
    columns = np.moveaxis(places.reshape(-1, math.prod(window.kernel)), -1, 0).reshape(-1)

    def of_tensors(x: Tensor) -> Any:
        channels = rows // math.prod(window.kernel)
        zeros = tensor_of(np.zeros((batch, channels, image.size + 1), x.dtype))
        y = ops.index_add(zeros, 2, tensor_of(columns), ops.reshape(x, (batch, channels, -1)))
        return ops.reshape(y[:, :, : image.size], (batch, channels, *image.shape[2:]))

    return in_float(of_tensors, x)
