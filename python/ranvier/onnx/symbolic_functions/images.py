"""Handlers of interpolation, pools, and shuffles of pixels and channels.

A handler computes the result in one of three ways. Functions of `rv` are recorded call by call, through
their own handlers where they have one. `call.function` is the handled function itself, without its handler:
the calls in it are recorded. `call(...)` is the same with nothing recorded (`patching.Original`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, is_fixed, same_size, scaled
from ranvier.onnx.patching import Original, handles, has_size
from ranvier.onnx.sizes import Size, number
from ranvier.onnx.symbolic_functions.common import SizesLike, for_each_axis, is_dynamic

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


# --- interpolation
@handles("interpolate")
def _interpolate(
    trace: Trace,
    call: Original,
    x: Tensor,
    size: SizesLike | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    if antialias or not (is_dynamic(trace, x) or has_size(size)):
        return NotImplemented
    axes = x.ndim - 2
    if size is None:
        factors = for_each_axis(scale_factor, axes)
        if recompute_scale_factor or mode == "area":
            image = trace.dims(x)[2:]
            size = tuple(scaled(n, factor) for n, factor in zip(image, factors, strict=True))
            return rv.interpolate(x, size, None, mode, align_corners)
        # The Interpolate that this records gets the factors as they were given, in place of those that the
        # op computes for the present sizes (`Trace._replace_settings`).
        with trace.replaced(factors=factors):
            return call.function(x, None, scale_factor, mode, align_corners)
    sizes = for_each_axis(size, axes)
    if mode == "area" and axes == 1:
        return rv.adaptive_avg_pool1d(x, sizes)
    if mode == "area" and axes == 2:
        return rv.adaptive_avg_pool2d(x, sizes)
    # The Interpolate that this records gets the sizes in place of their present numbers.
    with trace.replaced(arguments=sizes):
        return call.function(x, tuple(map(number, sizes)), None, mode, align_corners)


# --- pixels and channels
@handles("pixel_shuffle")
def _pixel_shuffle(trace: Trace, call: Original, x: Tensor, upscale_factor: int) -> Any:
    if is_fixed(trace.dims(x)):
        return NotImplemented
    r = upscale_factor
    call(x, r)  # checks the arguments
    *lead, channels, height, width = trace.dims(x)
    left = channels // (r * r)
    divided = rv.reshape(x, (*lead, left, r, r, height, width))
    d = len(lead)
    # to (*lead, left, height, r, width, r)
    ordered = rv.permute(divided, (*range(d), d, d + 3, d + 1, d + 4, d + 2))
    return rv.reshape(ordered, (*lead, left, height * r, width * r))


@handles("pixel_unshuffle")
def _pixel_unshuffle(trace: Trace, call: Original, x: Tensor, downscale_factor: int) -> Any:
    if is_fixed(trace.dims(x)):
        return NotImplemented
    r = downscale_factor
    call(x, r)  # checks the arguments
    *lead, channels, height, width = trace.dims(x)
    rows = height // r
    columns = width // r
    divided = rv.reshape(x, (*lead, channels, rows, r, columns, r))
    d = len(lead)
    # to (*lead, channels, r, r, rows, columns)
    ordered = rv.permute(divided, (*range(d), d, d + 2, d + 4, d + 1, d + 3))
    return rv.reshape(ordered, (*lead, channels * r * r, rows, columns))


@handles("channel_shuffle")
def _channel_shuffle(trace: Trace, call: Original, x: Tensor, groups: int) -> Any:
    if is_fixed(trace.dims(x)):
        return NotImplemented
    call(x, groups)  # checks the arguments
    batch, channels, *image = trace.dims(x)
    grouped = rv.reshape(x, (batch, groups, channels // groups, *image))
    ordered = rv.permute(grouped, (0, 2, 1, *range(3, x.ndim + 1)))
    return rv.reshape(ordered, (batch, channels, *image))


# --- pools
@handles("avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d")
def _pool_over_image(
    trace: Trace,
    call: Original,
    x: Tensor,
    kernel_size: SizesLike,
    stride: SizesLike | None = None,
    *rest: Any,
    **how: Any,
) -> Any:
    """A pool whose one window is the image: the mean or the maximum over its axes."""
    axes = int(call.name[-2])
    if not has_size(kernel_size) or rest or how:
        return NotImplemented
    kernel = for_each_axis(kernel_size, axes)
    sizes = trace.dims(x)[-axes:]
    if not all(same_size(k, n) for k, n in zip(kernel, sizes, strict=True)):
        return NotImplemented
    places = tuple(range(-axes, 0))
    if call.name.startswith("avg"):
        return rv.mean(x, places, keepdim=True)
    return rv.amax(x, places, keepdim=True)


@handles("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive_pool(
    trace: Trace, call: Original, x: Tensor, output_size: SizesLike, return_indices: bool = False
) -> Any:
    axes = int(call.name[-2])
    results = for_each_axis(output_size, axes)
    sizes = trace.dims(x)[-axes:]
    if return_indices or not _needs_windows(sizes, results):
        return NotImplemented
    pool = _means if "avg" in call.name else _maxima
    for axis, (n, out) in enumerate(zip(sizes, results, strict=True), -axes):
        if out is None or same_size(n, out):
            continue
        pooled = pool(rv.movedim(x, axis, -1), n, out)
        x = rv.movedim(pooled, -1, axis)
    return x


def _needs_windows(sizes: Sequence[Dim], results: Sequence[Dim]) -> bool:
    """True if the windows of an adaptive pool depend on dynamic sizes; one window is a global pool."""
    if has_size(tuple(results)):
        return True
    return any(isinstance(n, Size) and out != 1 for n, out in zip(sizes, results, strict=True))


def _windows(n: Dim, out: Dim) -> tuple[Tensor, Tensor]:
    """The windows of an adaptive pool that makes `out` elements of n.

    Window i is [floor(i n / out), ceil((i + 1) n / out)). Returns a mask (out, n) of the elements in each
    window, and their number (out, 1).
    """
    window = rv.arange(out)[:, None]
    first = window * n // out
    end = ((window + 1) * n + (out - 1)) // out
    position = rv.arange(n)
    return (position >= first) & (position < end), end - first


def _means(x: Tensor, n: Dim, out: Dim) -> Tensor:
    inside, count = _windows(n, out)
    shares = inside.to(x.dtype) / count.to(x.dtype)
    return x @ rv.permute(shares, (1, 0))


def _maxima(x: Tensor, n: Dim, out: Dim) -> Tensor:
    inside, _ = _windows(n, out)
    elements_of_windows = rv.where(inside, rv.unsqueeze(x, -2), -math.inf)  # (..., out, n)
    return rv.amax(elements_of_windows, -1)
