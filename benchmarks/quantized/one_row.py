"""One row by a matrix that no cache holds: ``python -m benchmarks.quantized.one_row [--write]``.

x (1, k) by weights (n, k), through enough copies of the weights that MEMORY is read before one comes again.
ranvier: `nn.Linear`, in int8 and int4 made by `rv.quantize`; a function of all copies, captured. ONNX
Runtime: MatMul; int8 by `quantize_dynamic` with a scale for each column, int4 by MatMulNBits in blocks of 32
at accuracy level 4; a graph of all copies. "limit": the time in which the threads read the weights. One
process for each library, in turns; the time is the shortest of a turn, its median over the turns. Answers
are compared with NumPy's: the errors are relative to the norm. "?": times that spread by more than a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.quantized.rounds import BITS, PRECISIONS, Array, Comparison, main, read_seconds

SHAPES = ((151936, 896), (4864, 896), (896, 4864), (896, 896))
MEMORY = 256 << 20


def parts(case: str) -> tuple[str, int, int]:
    """Precision, n and k."""
    precision, shape = case.split()
    n, k = map(int, shape.split("x"))
    return precision, n, k


def size(case: str) -> float:
    """Bytes of a matrix."""
    precision, n, k = parts(case)
    return n * k * BITS[precision] / 8


def limit(case: str) -> float:
    return read_seconds(size(case))


def copies(case: str) -> int:
    return math.ceil(MEMORY / size(case))


@cache
def weight(n: int, k: int) -> Array:
    return np.random.default_rng(n).standard_normal((n, k), np.float32) / np.float32(np.sqrt(k))


def given(k: int) -> Array:
    return np.random.default_rng(k).standard_normal((1, k), np.float32)


def expected(case: str) -> Array:
    _, n, k = parts(case)
    return given(k) @ weight(n, k).T


def ranvier(case: str) -> Callable[[], Any]:
    import ranvier as rv
    from ranvier import nn

    precision, n, k = parts(case)

    class Copies(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(k, n, bias=False) for _ in range(copies(case)))

        def forward(self, x: Any) -> Any:
            return [layer(x) for layer in self.layers]

    model, w, x = Copies().eval(), rv.tensor(weight(n, k)), rv.tensor(given(k))
    with rv.no_grad():
        for layer in model.layers:
            layer.weight.copy_(w)
    if precision == "bfloat16":
        model, x = model.bfloat16(), x.bfloat16()
    elif precision != "float32":
        model = rv.quantize(model, precision, group=None if precision == "int8" else 32)
    fast = rv.compile(model)

    def run() -> Any:
        with rv.no_grad():
            return fast(x)[0].float().numpy()

    return run


def make(library: str, case: str) -> Callable[[], Any]:
    if library == "ranvier":
        return ranvier(case)
    from benchmarks.quantized.onnx_graphs import products

    precision, n, k = parts(case)
    return products([(weight(n, k), given(k), copies(case))], precision)


COMPARISON = Comparison(
    module="benchmarks.quantized.one_row",
    mark="one row",
    unit=("us", 1e6),
    cases=[f"{precision} {n}x{k}" for n, k in SHAPES for precision in PRECISIONS],
    precisions={"ranvier": PRECISIONS, "onnxruntime": ("float32", "int8", "int4")},
    make=make,
    steps=copies,
    expected=expected,
    errors={"float32": 1e-5, "bfloat16": 0.01, "int8": 0.03, "int4": 0.2},
    limit=limit,
)

if __name__ == "__main__":
    main(COMPARISON, __doc__, 1.0)
