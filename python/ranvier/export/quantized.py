"""Products with matrices of 8 and 4 bits, and their rows, by the sums of integers of the library.

A Linear of 64 to 32 features that was quantized to int8 becomes, for one row,

    linear_quantized(x, w_0_weight, w_0_scale, w_0_bias, ram + 0, (int8_t *)(ram + 32), ram + 48, 1, 64, 32,
        8, 64, 1);

with the numbers of the row in int8 and their scales in `ram` behind the result. The inputs of QuantizedLinear
are (x, panels, scale, bias), those of QuantizedRows (panels, scale, index).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.operations import Rule, Site, rule
from ranvier.ops.matrix.quantized_weight import GROUP, unpacked

_MOST_TERMS = 2**15  # of one sum of integers: more are several in the library


class _Matrix(NamedTuple):
    """A matrix (outputs, features) of few bits.

    weight: its codes in int8, one of 8 bits or two of 4 bits in a byte. scale: a number for each `group`
    codes of a row.
    """

    weight: Value
    scale: Value
    bits: int
    group: int


def _matrix(s: Site, panels: int) -> _Matrix:
    """The matrix of a call; panels: the place of its bytes among the inputs, before that of its scales."""
    storage, n, k = s.get("settings")  # "int8", "q8_0" or "q4_0"; rows and columns
    bits = 4 if storage == "q4_0" else 8
    group = k if storage == "int8" else GROUP
    array = s.call.inputs[panels]
    key = id(array)
    if key not in s.memory.matrices:
        codes, scales = unpacked(storage, n, k, array)
        codes = codes.reshape(n, -1)[:, :k]
        if bits == 4:
            codes = np.pad(codes, [(0, 0), (0, k % 2)])
            codes = codes[:, ::2] | codes[:, 1::2] << 4  # the first of two in the low bits
        else:
            codes = codes ^ 128  # with a sign
        name = s.memory.names.get(key, "panels").removesuffix("panels")
        weight = s.memory.constant(codes.view(np.int8), f"{name}weight")
        if scales is None:
            scale = s.input(panels + 1)
        else:
            scale = s.memory.constant(scales, f"{name}scale")
        s.memory.matrices[key] = weight, scale
    weight, scale = s.memory.matrices[key]
    return _Matrix(weight, scale, bits, group)


def _linear(s: Site) -> Value:
    storage, n, k = s.get("settings")
    if storage == "int8" and k > _MOST_TERMS:
        raise s.refuse(f"sums of {k} products are not supported, at most {_MOST_TERMS}")
    x = s.input(0)
    bias = s.inputs[3]
    weight, scale, bits, group = _matrix(s, panels=1)
    rows = x.size // k
    groups = -(-k // group)  # k / group, rounded up
    s.routine.multiplications += rows * n * k
    y = s.routine.new((*x.shape[:-1], n))
    codes_of_row = s.routine.new((k,), "int8_t")
    scales_of_row = s.routine.new((groups,))
    sizes = rows, k, n, bits, group, storage == "int8"
    args = x, weight, scale, bias, y, codes_of_row, scales_of_row, *sizes
    s.routine.call("linear_quantized", *args, writes=[y, codes_of_row, scales_of_row])
    return y


def _rows(s: Site) -> Value:
    weight, scale, bits, group = _matrix(s, panels=0)
    _, n, k = s.get("settings")
    index = s.input(2)
    args = weight, scale, index, ..., index.size, n, k, bits, group
    return s.routine.made("embedding_quantized", *args, shape=(*index.shape, k))


rule("QuantizedLinear")(Rule(_linear))
rule("QuantizedRows")(Rule(_rows))
