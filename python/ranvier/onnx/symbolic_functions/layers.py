"""Handlers of einsum and of layer_norm, whose code in the library computes shapes from numbers."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, Dims, is_fixed, same_size
from ranvier.onnx.patching import Original, handles, has_size
from ranvier.onnx.symbolic_functions.common import SizesLike, for_each_axis, recorded

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace


# --- sums of products
@handles("einsum")
def _einsum(trace: Trace, call: Original, equation: str, *operands: Tensor) -> Any:
    """One call, whose dims are those of the letters, in place of the reshapes and products of the library."""
    is_plain = isinstance(equation, str) and "." not in equation
    if not is_plain or not all(isinstance(x, Tensor) for x in operands):
        return NotImplemented
    shapes = [trace.dims(x) for x in operands]
    if all(map(is_fixed, shapes)):
        return NotImplemented
    has_weight = len(operands) == 2 and any(map(is_fixed, shapes))
    if has_weight:  # the library makes one MatMul of it
        return NotImplemented
    if any(x.dtype not in _SUMMED for x in operands):
        return NotImplemented
    terms, result = _terms(equation.replace(" ", ""))
    sizes = _sizes_by_letter(terms, shapes)
    if sizes is None or trace.opset < 12:
        return NotImplemented
    y = call(equation, *operands)
    dims = tuple(sizes[letter] for letter in result)
    explicit = f"{','.join(terms)}->{result}"
    return recorded(trace, y, "Einsum", dims, operands, equation=explicit)


_SUMMED = (rv.float32, rv.float64, rv.int32, rv.int64)
"""The dtypes that Einsum of onnxruntime has."""


def _terms(equation: str) -> tuple[list[str], str]:
    """The letters of each operand, and of the result."""
    operands, arrow, result = equation.partition("->")
    if not arrow:  # the letters that occur once, in order
        counts = Counter(operands.replace(",", ""))
        once = [letter for letter, count in counts.items() if count == 1]
        result = "".join(sorted(once))
    return operands.split(","), result


def _sizes_by_letter(terms: list[str], shapes: list[Dims]) -> dict[str, Dim] | None:
    """The size of each letter; None for a malformed equation, and where sizes of one letter differ."""
    sizes: dict[str, Dim] = {}
    if len(terms) != len(shapes):
        return None
    for term, dims in zip(terms, shapes, strict=True):
        if len(term) != len(dims) or len({*term}) < len(term):
            return None
        for letter, n in zip(term, dims, strict=True):
            if not same_size(sizes.setdefault(letter, n), n):
                return None
    return sizes


# --- norms
@handles("layer_norm")
def _layer_norm(
    trace: Trace,
    call: Original,
    x: Tensor,
    normalized_shape: SizesLike,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    if not has_size(normalized_shape) or weight is not None or bias is not None:
        return NotImplemented
    count = len(for_each_axis(normalized_shape, 1))
    last_axes = tuple(range(-count, 0))
    centered = x - rv.mean(x, last_axes, keepdim=True)
    variance = rv.mean(centered * centered, last_axes, keepdim=True)
    return centered / rv.sqrt(variance + eps)
