"""Products with matrices of 8 and 4 bits, and their rows, by the sums of integers of the library."""

from __future__ import annotations

import numpy as np

from ranvier.export.instructions import Value
from ranvier.export.operations import Rule, Site, rule
from ranvier.ops.matrix.quantized_weight import GROUP, unpacked

_MOST_TERMS = 2**15  # of one sum of integers: more are several in the library


def _matrix(s: Site, panels: int) -> tuple[Value, Value, int, int]:
    """The numbers of a matrix in int8, or two in a byte, its scales, and the bits and the group of a scale;
    panels: the place of its bytes among the inputs."""
    kind, n, k = s.get("settings")
    bits = 4 if kind == "q4_0" else 8
    group = k if kind == "int8" else GROUP
    array = s.call.inputs[panels]
    key = id(array)
    if key not in s.memory.matrices:
        codes, scales = unpacked(kind, n, k, array)
        codes = codes.reshape(n, -1)[:, :k]
        if bits == 4:
            codes = np.pad(codes, [(0, 0), (0, k % 2)])
            codes = codes[:, ::2] | codes[:, 1::2] << 4
        else:
            codes = codes ^ 128  # with a sign
        name = s.memory.names.get(key, "panels").removesuffix("panels")
        whole = s.memory.constant(codes.view(np.int8), f"{name}weight")
        if scales is None:
            steps = s.input(panels + 1)
        else:
            steps = s.memory.constant(scales, f"{name}scale")
        s.memory.matrices[key] = whole, steps
    return *s.memory.matrices[key], bits, group


def _linear(s: Site) -> Value:
    kind, n, k = s.get("settings")
    if kind == "int8" and k > _MOST_TERMS:
        raise s.refuse(f"sums of {k} products are not supported, at most {_MOST_TERMS}")
    x = s.input(0)
    weight, scale, bits, group = _matrix(s, 1)
    rows = x.size // k
    s.r.multiplications += rows * n * k
    y = s.r.new((*x.shape[:-1], n))
    q = s.r.new((k,), "int8_t")
    of_x = s.r.new((-(-k // group),))
    sizes = rows, k, n, bits, group, kind == "int8"
    s.r.call("linear_quantized", x, weight, scale, s.inputs[3], y, q, of_x, *sizes, writes=[y, q, of_x])
    return y


def _rows(s: Site) -> Value:
    weight, scale, bits, group = _matrix(s, 0)
    _, n, k = s.get("settings")
    index = s.input(2)
    args = weight, scale, index, ..., index.size, n, k, bits, group
    return s.r.made("embedding_quantized", *args, shape=(*index.shape, k))


rule("QuantizedLinear")(Rule(_linear))
rule("QuantizedRows")(Rule(_rows))
