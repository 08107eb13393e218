"""A text encoder of MiniLM's sizes: ``python -m benchmarks.quantized.encoder [--write]``.

6 layers, 384 wide, 12 heads, 1536 inside, GELU, layer norm after each sum; random weights, given vectors of
words, batch x length of them. ranvier: nn.TransformerEncoder, captured; int8 by `rv.quantize`, a scale for
each output. ONNX Runtime: a graph of its own operators (Attention, SkipLayerNormalization, BiasGelu); int8 by
`quantize_dynamic` with a scale for each column. OpenVINO: the same graph; int8 are weights by output channel,
with groups of 128 activations as int8 at run time. One process for each library, in turns; the time is the
shortest of a turn, its median over the turns. Answers are compared with NumPy's: the errors are relative to
the norm. "limit": the arithmetic at the peak of float32, that of products by int8 weights at four times that.
"?": times that spread by more than a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.quantized.encoder_problem import EPS, HEADS, INNER, LAYERS, WIDTH, given, parameters
from benchmarks.quantized.rounds import Array, Comparison, main

SIZES = ((1, 16), (1, 128), (16, 128))


def ranvier(case: str) -> Callable[[], Any]:
    import ranvier as rv
    from ranvier import nn

    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, INNER, 0.0, "gelu", EPS, batch_first=True)
    model = nn.TransformerEncoder(layer, LAYERS).eval()
    state = {name: rv.tensor(x) for i in range(LAYERS) for name, x in parameters(i).items()}
    model.load_state_dict(state)
    fast = rv.compile(rv.quantize(model, "int8", group=None) if case.startswith("int8") else model)
    x = rv.tensor(given(case))

    def run() -> Any:
        with rv.no_grad():
            return fast(x).numpy()

    return run


@cache
def answers(batch_length: str) -> Array:
    """By NumPy, in float64."""
    x: Array = given(f"float32 {batch_length}").astype(np.float64)
    erf = np.frompyfunc(math.erf, 1, 1)

    def linear(x: Array, w: Array, b: Array) -> Array:
        return x @ w.T + b

    def norm(x: Array, w: Array, b: Array) -> Array:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPS) * w + b

    def heads(x: Array) -> Array:
        return x.reshape(*x.shape[:-1], HEADS, -1).swapaxes(1, 2)

    for i in range(LAYERS):
        in_w, out_w, w1, w2, in_b, out_b, b1, b2, *norms = parameters(i).values()
        q, k, v = (heads(part) for part in np.split(linear(x, in_w, in_b), 3, -1))
        scores = np.exp(q @ k.swapaxes(2, 3) / np.sqrt(WIDTH // HEADS))
        y = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(x.shape)
        x = norm(x + linear(y, out_w, out_b), *norms[:2])
        y = linear(x, w1, b1)
        y = y * (1 + erf(y / np.sqrt(2)).astype(np.float64)) / 2
        x = norm(x + linear(y, w2, b2), *norms[2:])
    return x


def limit(case: str) -> float:
    from benchmarks import machine

    batch, length = map(int, case.split()[1].split("x"))
    linear = 2 * WIDTH * (4 * WIDTH + 2 * INNER)
    attention = 4 * length * WIDTH
    faster = 4 if case.startswith("int8") else 1
    return LAYERS * batch * length * (linear / faster + attention) / machine.fma_peak()


def make(library: str, case: str) -> Callable[[], Any]:
    if library == "ranvier":
        return ranvier(case)
    from benchmarks.quantized import onnx_encoder

    return getattr(onnx_encoder, library)(case)


COMPARISON = Comparison(
    module="benchmarks.quantized.encoder",
    mark="encoder",
    unit=("ms", 1e3),
    cases=[f"{precision} {b}x{length}" for b, length in SIZES for precision in ("float32", "int8")],
    precisions=dict.fromkeys(("ranvier", "onnxruntime", "openvino"), ("float32", "int8")),
    make=make,
    steps=lambda case: 1,
    expected=lambda case: answers(case.split()[1]),
    errors={"float32": 1e-5, "int8": 0.1},
    limit=limit,
)

if __name__ == "__main__":
    main(COMPARISON, __doc__, 1.0)
