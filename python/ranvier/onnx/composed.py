"""Layers on dynamic axes, composed of public functions while sizes are symbols (`symbols.py`).

The library's own code of these computes shapes, windows or divisors from numbers. Each function here takes
what those of `handlers.py` take.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, Dims, is_fixed, same
from ranvier.onnx.sizes import Size
from ranvier.onnx.symbols import Original, handles, has_size

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


# --- pixels and channels
@handles("pixel_shuffle")
def _pixel_shuffle(trace: Trace, call: Original, x: Any, upscale_factor: int) -> Any:
    if is_fixed(trace.dims(x)):
        return NotImplemented
    r = upscale_factor
    call(x, r)  # checks the arguments
    *lead, c, h, w = trace.dims(x)
    apart = rv.reshape(x, (*lead, c // (r * r), r, r, h, w))
    d = len(lead)
    ordered = rv.permute(apart, (*range(d), d, d + 3, d + 1, d + 4, d + 2))
    return rv.reshape(ordered, (*lead, c // (r * r), h * r, w * r))


@handles("pixel_unshuffle")
def _pixel_unshuffle(trace: Trace, call: Original, x: Any, downscale_factor: int) -> Any:
    if is_fixed(trace.dims(x)):
        return NotImplemented
    r = downscale_factor
    call(x, r)
    *lead, c, h, w = trace.dims(x)
    apart = rv.reshape(x, (*lead, c, h // r, r, w // r, r))
    d = len(lead)
    ordered = rv.permute(apart, (*range(d), d, d + 2, d + 4, d + 1, d + 3))
    return rv.reshape(ordered, (*lead, c * r * r, h // r, w // r))


@handles("channel_shuffle")
def _channel_shuffle(trace: Trace, call: Original, x: Any, groups: int) -> Any:
    if is_fixed(trace.dims(x)):
        return NotImplemented
    call(x, groups)
    n, c, *rest = trace.dims(x)
    apart = rv.reshape(x, (n, groups, c // groups, *rest))
    ordered = rv.permute(apart, (0, 2, 1, *range(3, x.ndim + 1)))
    return rv.reshape(ordered, (n, c, *rest))


# --- sums of products
@handles("einsum")
def _einsum(trace: Trace, call: Original, equation: Any, *operands: Any) -> Any:
    """One call, whose dims are those of the letters, in place of the reshapes and products of the library."""
    is_plain = isinstance(equation, str) and "." not in equation
    if not is_plain or not all(isinstance(x, Tensor) for x in operands):
        return NotImplemented
    shapes = [trace.dims(x) for x in operands]
    has_weight = len(operands) == 2 and any(map(is_fixed, shapes))  # the library makes one MatMul of it
    if all(map(is_fixed, shapes)) or has_weight or any(x.dtype not in _SUMMED for x in operands):
        return NotImplemented
    terms, result = _terms(equation.replace(" ", ""))
    sizes = _sizes_of_letters(terms, shapes)
    if sizes is None or trace.opset < 12:
        return NotImplemented
    y = call(equation, *operands)
    dims = tuple(sizes[letter] for letter in result)
    trace.made("Einsum", {"equation": f"{','.join(terms)}->{result}"}, operands, y, dims)
    return y


_SUMMED = (rv.float32, rv.float64, rv.int32, rv.int64)
"""The dtypes that Einsum of onnxruntime has."""


def _terms(equation: str) -> tuple[list[str], str]:
    """The letters of each operand, and of the result."""
    given, arrow, result = equation.partition("->")
    if not arrow:
        counts = Counter(given.replace(",", ""))
        result = "".join(sorted(letter for letter, count in counts.items() if count == 1))
    return given.split(","), result


def _sizes_of_letters(terms: list[str], shapes: list[Dims]) -> dict[str, Dim] | None:
    """The size of each letter; None for a malformed equation, and where sizes of one letter differ."""
    sizes: dict[str, Dim] = {}
    if len(terms) != len(shapes):
        return None
    for term, dims in zip(terms, shapes, strict=True):
        if len(term) != len(dims) or len({*term}) < len(term):
            return None
        for letter, n in zip(term, dims, strict=True):
            if not same(sizes.setdefault(letter, n), n):
                return None
    return sizes


# --- pools
def _each(value: Any, axes: int) -> tuple[Any, ...]:
    """A setting for each axis of the image."""
    if isinstance(value, (tuple, list)):
        return tuple(value)
    return (value,) * axes


@handles("avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d")
def _pool_of_all(
    trace: Trace, call: Original, x: Any, kernel_size: Any, stride: Any = None, *rest: Any, **how: Any
) -> Any:
    """A window as large as the image."""
    axes = int(call.name[-2])
    sizes = trace.dims(x)[-axes:]
    if not has_size(kernel_size) or rest or how:
        return NotImplemented
    if not all(same(k, n) for k, n in zip(_each(kernel_size, axes), sizes, strict=True)):
        return NotImplemented
    places = tuple(range(-axes, 0))
    is_mean = call.name.startswith("avg")
    if is_mean:
        return rv.mean(x, places, keepdim=True)
    return rv.amax(x, places, keepdim=True)


@handles("adaptive_avg_pool1d", "adaptive_avg_pool2d", "adaptive_max_pool1d", "adaptive_max_pool2d")
def _adaptive_pool(
    trace: Trace, call: Original, x: Any, output_size: Any, return_indices: bool = False
) -> Any:
    axes = int(call.name[-2])
    outs = _each(output_size, axes)
    sizes = trace.dims(x)[-axes:]
    is_dynamic = has_size(outs) or any(
        isinstance(n, Size) and not _is_one(out) for n, out in zip(sizes, outs, strict=True)
    )
    if return_indices or not is_dynamic:
        return NotImplemented
    is_mean = "avg" in call.name
    for at, (n, out) in enumerate(zip(sizes, outs, strict=True), -axes):
        if out is None or same(n, out):
            continue
        moved = rv.movedim(x, at, -1)
        pooled = _means(moved, n, out) if is_mean else _maxima(moved, n, out)
        x = rv.movedim(pooled, -1, at)
    return x


def _is_one(n: Dim) -> bool:
    return not isinstance(n, Size) and n == 1


def _windows(n: Dim, out: Dim) -> tuple[Tensor, Tensor]:
    """Window o is [floor(o n / out), ceil((o + 1) n / out)): its elements, (out, n), and their number."""
    o = rv.arange(out)[:, None]
    first = o * n // out
    end = ((o + 1) * n + (out - 1)) // out
    at = rv.arange(n)
    return (at >= first) & (at < end), end - first


def _means(x: Tensor, n: Dim, out: Dim) -> Any:
    inside, count = _windows(n, out)
    shares = inside.to(x.dtype) / count.to(x.dtype)
    return x @ rv.permute(shares, (1, 0))


def _maxima(x: Tensor, n: Dim, out: Dim) -> Any:
    inside, _ = _windows(n, out)
    apart = rv.where(inside, rv.unsqueeze(x, -2), -math.inf)
    return rv.amax(apart, -1)


# --- norms
@handles("layer_norm")
def _layer_norm(
    trace: Trace,
    call: Original,
    x: Any,
    normalized_shape: Any,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
) -> Any:
    if not has_size(normalized_shape) or weight is not None or bias is not None:
        return NotImplemented
    places = tuple(range(-len(_each(normalized_shape, 1)), 0))
    apart = x - rv.mean(x, places, keepdim=True)
    variance = rv.mean(apart * apart, places, keepdim=True)
    return apart / rv.sqrt(variance + eps)
