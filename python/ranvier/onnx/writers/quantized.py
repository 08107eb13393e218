"""Products with matrices of 8 and 4 bits, and their rows (`ops/matrix/quantized.py`), in ONNX's operators.

A runtime computes what depends on constants alone when it loads a file: transposes, and integers of 4 bits.
"""

from __future__ import annotations

import numpy as np

from ranvier.onnx.registry import writes
from ranvier.onnx.site import Site
from ranvier.ops.matrix.quantized_weight import GROUP, unpacked

_MOST_TERMS = (2**31 - 1) // (127 * 128)  # whose sum int32 holds
_LEAST = np.float32(2.0**-110)  # the greatest number of a row counts as this much: 127 / it is finite


def _matrix(s: Site, panels: int) -> tuple[str, str]:
    """The codes and the scales of a matrix (n, k), whose panels are at a place among the inputs.

    int8: codes (n, k) of uint8, 128 stands for 0; scales (n,). q8_0: codes (n, groups, 32) of int8. q4_0:
    bytes (n, groups, 16), byte i with the codes i and i + 16, 8 stands for 0. Their scales (n, groups, 1) are
    of float16.
    """
    kind, n, k = s.get("settings")
    codes, scales = unpacked(kind, n, k, s.get("panels").array)
    if kind == "q8_0":
        codes = (codes ^ 128).view(np.int8)
    elif kind == "q4_0":
        codes = codes[..., :16] | codes[..., 16:] << 4
    named = s.calls[0].inputs[panels]
    name = f"{named.name if named and named.name else 'quantized'}.".removesuffix("panels.")
    stored = s.w.weight(f"{name}weight", np.ascontiguousarray(codes))
    if scales is None:
        return stored, s.input(panels + 1)
    return stored, s.w.weight(f"{name}scale", np.ascontiguousarray(scales[..., None]))


def _floats(s: Site, x: str) -> str:
    return s.w.cast(x, np.float32)


def _whole(s: Site, codes: str) -> str:
    """The integers of groups (..., 32), with a sign."""
    if s.get("settings")[0] == "q8_0":
        return codes
    low = s.node("Mod", codes, s.w.constant(np.uint8(16)))
    high = s.node("BitShift", codes, s.w.constant(np.uint8(4)), direction="RIGHT")
    dtype = np.int8 if s.w.opset > 13 else np.int32  # which Sub takes
    joined = s.w.cast(s.node("Concat", low, high, axis=-1), dtype)
    return s.node("Sub", joined, s.w.constant(dtype(8)))


@writes("QuantizedRows")
def rows(s: Site) -> str:
    kind, _, k = s.get("settings")
    index = s.index(2)
    codes, scales = (s.node("Gather", x, index, axis=0) for x in _matrix(s, 0))
    if kind == "int8":
        values = s.node("Sub", _floats(s, codes), s.w.constant(np.float32(128)))
        return s.node("Mul", values, s.node("Unsqueeze", scales, s.w.ints(-1)))
    y = s.node("Mul", _floats(s, _whole(s, codes)), _floats(s, scales))
    y = s.w.reshape(y, *[0] * s.ndim(2), -(-k // GROUP) * GROUP)  # 0 keeps a size
    if k % GROUP:
        return s.node("Slice", y, s.w.ints(0), s.w.ints(k), s.w.ints(-1))
    return y


@writes("QuantizedLinear")
def linear(s: Site) -> str:
    product = _by_rows if s.get("settings")[0] == "int8" else _by_groups
    y = product(s, *_matrix(s, 1))
    if s.has(3):
        return s.node("Add", y, s.input(3))
    return y


def _integers(s: Site, x: str) -> tuple[str, str]:
    """The integers of -127 ... 127, as floats, and the scale of each row of x. One with NaN or infinity has
    NaN among its integers, also where a runtime's ReduceMax leaves NaN out."""
    top = s.w.constant(np.float32(127))
    most = s.node("ReduceMax", s.node("Abs", x), s.w.ints(-1), keepdims=1)
    most = s.node("Max", most, s.w.constant(_LEAST))
    return s.node("Round", s.node("Mul", x, s.node("Div", top, most))), s.node("Div", most, top)


def _fault(s: Site, whole: str) -> str:
    """0 for each row of integers, NaN for one with NaN, which products of few bits would lose."""
    return s.node("Mul", s.node("ReduceSum", whole, s.w.ints(-1), keepdims=1), s.scalar(0))


def _by_rows(s: Site, codes: str, scales: str) -> str:
    """Exact sums of products of bytes, both without a sign: of two kinds, runtimes saturate some of them on
    processors without VNNI."""
    k = s.size(0, -1)
    if k > _MOST_TERMS:
        raise s.refuse(f"sums of {k} products have no counterpart, at most {_MOST_TERMS}")
    whole, scale = _integers(s, s.input(0))
    scale = s.node("Add", scale, _fault(s, whole))
    zero = s.w.constant(np.uint8(128))
    whole = s.w.cast(s.node("Add", whole, s.scalar(128)), np.uint8)
    sums = s.node("MatMulInteger", whole, s.node("Transpose", codes, perm=[1, 0]), zero, zero)
    # one scale after the other: onnxruntime fuses their product with MatMulInteger, and then drops a bias
    return s.node("Mul", s.node("Mul", _floats(s, sums), scale), scales)


def _by_groups(s: Site, codes: str, scales: str) -> str:
    """The product of rounded values of x and the values of the matrix: its terms are those of the integers.

    onnxruntime makes MatMulNBits of DequantizeLinear and MatMul. Its integers of x are the same.
    """
    kind, n, k = s.get("settings")
    x = s.input(0)
    groups = -(-k // GROUP)
    lead = [0] * (s.ndim() - 1)
    if k % GROUP:
        x = s.node("Pad", x, s.w.ints(*[0] * (2 * s.ndim() - 1), groups * GROUP - k))
    whole, scale = _integers(s, s.w.reshape(x, *lead, groups, GROUP))
    x = s.w.reshape(s.node("Mul", whole, scale), *lead, groups * GROUP)
    values = _whole(s, codes)
    steps = _floats(s, scales)
    if s.w.opset < 21:  # no blocks of DequantizeLinear
        values = s.w.reshape(s.node("Mul", _floats(s, values), steps), n, groups * GROUP)
        return s.node("MatMul", x, s.node("Transpose", values, perm=[1, 0]))
    values = s.node("Transpose", s.w.reshape(values, n, groups * GROUP), perm=[1, 0])
    if kind == "q4_0":
        values = s.node("Cast", values, to=s.w.onnx.TensorProto.INT4)
    steps = s.node("Transpose", s.w.reshape(steps, n, groups), perm=[1, 0])
    y = s.node("MatMul", x, s.node("DequantizeLinear", values, steps, axis=0, block_size=GROUP))
    return s.node("Add", y, _fault(s, s.node("ReduceSum", whole, s.w.ints(-1), keepdims=0)))
