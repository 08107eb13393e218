"""Products with matrices of 8 and 4 bits, and their rows (`ops/matrix/quantized.py`), in ONNX's operators.

A runtime computes what depends on constants alone when it loads a file: transposes, and integers of 4 bits.
The inputs of QuantizedLinear are (x, panels, scale, bias), those of QuantizedRows (panels, scale, index), and
their setting "settings" is (format, n, k) of a matrix (n, k).
"""

from __future__ import annotations

import numpy as np

from ranvier.onnx.registry import writes
from ranvier.onnx.traced_call import TracedCall
from ranvier.ops.matrix.quantized_weight import GROUP, unpacked

_MOST_TERMS = (2**31 - 1) // (127 * 128)  # whose sum int32 holds
_LEAST = np.float32(2.0**-110)  # the greatest number of a row counts as this much: 127 / it is finite


def _matrix(call: TracedCall, panels: int) -> tuple[str, str]:
    """The codes and the scales of a matrix (n, k), whose panels are at a place among the inputs.

    int8: codes (n, k) of uint8, 128 stands for 0; scales (n,). q8_0: codes (n, groups, 32) of int8. q4_0:
    bytes (n, groups, 16), byte i with the codes i and i + 16, 8 stands for 0. Their scales (n, groups, 1) are
    of float16.
    """
    kind, n, k = call.get("settings")
    codes, scales = unpacked(kind, n, k, call.get("panels").array)
    if kind == "q8_0":
        codes = (codes ^ 128).view(np.int8)
    elif kind == "q4_0":
        codes = codes[..., :16] | codes[..., 16:] << 4
    named = call.calls[0].inputs[panels]
    name = f"{named.name if named and named.name else 'quantized'}.".removesuffix("panels.")
    stored = call.graph.weight(f"{name}weight", np.ascontiguousarray(codes))
    if scales is None:
        return stored, call.input(panels + 1)
    return stored, call.graph.weight(f"{name}scale", np.ascontiguousarray(scales[..., None]))


def _floats(call: TracedCall, x: str) -> str:
    return call.graph.cast(x, np.float32)


def _whole(call: TracedCall, codes: str) -> str:
    """The integers of groups (..., 32), with a sign."""
    if call.get("settings")[0] == "q8_0":
        return codes
    low = call.node("Mod", codes, call.graph.constant(np.uint8(16)))
    high = call.node("BitShift", codes, call.graph.constant(np.uint8(4)), direction="RIGHT")
    dtype = np.int8 if call.graph.opset > 13 else np.int32  # which Sub takes
    joined = call.graph.cast(call.node("Concat", low, high, axis=-1), dtype)
    return call.node("Sub", joined, call.graph.constant(dtype(8)))


@writes("QuantizedRows")
def rows(call: TracedCall) -> str:
    kind, _, k = call.get("settings")
    index = call.index(2)
    codes, scales = (call.node("Gather", x, index, axis=0) for x in _matrix(call, 0))
    if kind == "int8":
        values = call.node("Sub", _floats(call, codes), call.graph.constant(np.float32(128)))
        return call.node("Mul", values, call.node("Unsqueeze", scales, call.graph.ints(-1)))
    y = call.node("Mul", _floats(call, _whole(call, codes)), _floats(call, scales))
    y = call.graph.reshape(y, *[0] * call.ndim(2), -(-k // GROUP) * GROUP)  # 0 keeps a size
    if k % GROUP:
        return call.node("Slice", y, call.graph.ints(0), call.graph.ints(k), call.graph.ints(-1))
    return y


@writes("QuantizedLinear")
def linear(call: TracedCall) -> str:
    product = _by_rows if call.get("settings")[0] == "int8" else _by_groups
    y = product(call, *_matrix(call, 1))
    if call.has(3):
        return call.node("Add", y, call.input(3))
    return y


def _integers(call: TracedCall, x: str) -> tuple[str, str]:
    """The integers of -127 ... 127, as floats, and the scale of each row of x. One with NaN or infinity has
    NaN among its integers, also where a runtime's ReduceMax leaves NaN out."""
    top = call.graph.constant(np.float32(127))
    most = call.node("ReduceMax", call.node("Abs", x), call.graph.ints(-1), keepdims=1)
    most = call.node("Max", most, call.graph.constant(_LEAST))
    return call.node("Round", call.node("Mul", x, call.node("Div", top, most))), call.node("Div", most, top)


def _fault(call: TracedCall, whole: str) -> str:
    """0 for each row of integers, NaN for one with NaN, which products of few bits would lose."""
    return call.node("Mul", call.node("ReduceSum", whole, call.graph.ints(-1), keepdims=1), call.scalar(0))


def _by_rows(call: TracedCall, codes: str, scales: str) -> str:
    """Exact sums of products of bytes, both without a sign: of two kinds, runtimes saturate some of them on
    processors without VNNI."""
    k = call.size(0, -1)
    if k > _MOST_TERMS:
        raise call.refuse(f"sums of {k} products have no counterpart, at most {_MOST_TERMS}")
    whole, scale = _integers(call, call.input(0))
    scale = call.node("Add", scale, _fault(call, whole))
    zero = call.graph.constant(np.uint8(128))
    whole = call.graph.cast(call.node("Add", whole, call.scalar(128)), np.uint8)
    sums = call.node("MatMulInteger", whole, call.node("Transpose", codes, perm=[1, 0]), zero, zero)
    # one scale after the other: onnxruntime fuses their product with MatMulInteger, and then drops a bias
    return call.node("Mul", call.node("Mul", _floats(call, sums), scale), scales)


def _by_groups(call: TracedCall, codes: str, scales: str) -> str:
    """The product of rounded values of x and the values of the matrix: its terms are those of the integers.

    onnxruntime makes MatMulNBits of DequantizeLinear and MatMul. Its integers of x are the same.
    """
    kind, n, k = call.get("settings")
    x = call.input(0)
    groups = -(-k // GROUP)
    lead = [0] * (call.ndim() - 1)
    if k % GROUP:
        x = call.node("Pad", x, call.graph.ints(*[0] * (2 * call.ndim() - 1), groups * GROUP - k))
    whole, scale = _integers(call, call.graph.reshape(x, *lead, groups, GROUP))
    x = call.graph.reshape(call.node("Mul", whole, scale), *lead, groups * GROUP)
    values = _whole(call, codes)
    steps = _floats(call, scales)
    if call.graph.opset < 21:  # no blocks of DequantizeLinear
        values = call.graph.reshape(call.node("Mul", _floats(call, values), steps), n, groups * GROUP)
        return call.node("MatMul", x, call.node("Transpose", values, perm=[1, 0]))
    values = call.node("Transpose", call.graph.reshape(values, n, groups * GROUP), perm=[1, 0])
    if kind == "q4_0":
        values = call.node("Cast", values, to=call.graph.onnx.TensorProto.INT4)
    steps = call.node("Transpose", call.graph.reshape(steps, n, groups), perm=[1, 0])
    y = call.node("MatMul", x, call.node("DequantizeLinear", values, steps, axis=0, block_size=GROUP))
    return call.node("Add", y, _fault(call, call.node("ReduceSum", whole, call.graph.ints(-1), keepdims=0)))
