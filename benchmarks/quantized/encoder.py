"""A text encoder of MiniLM's sizes: ``python -m benchmarks.quantized.encoder [--write]``.

6 layers, 384 wide, 12 heads, 1536 inside, GELU, layer norm after each sum; random weights, given vectors of
words, batch x length of them. ranvier: captured; int8 by `rv.quantize`. ONNX Runtime: a graph of its own
operators for such models (Attention, SkipLayerNormalization, BiasGelu); int8 by `quantize_dynamic` with a
scale for each column. OpenVINO: the same graph; int8 are weights by output channel, with groups of 128
activations as int8 at run time. One process for each library, in turns; the time is the shortest of a turn,
its median over the turns. Answers are compared with NumPy's: the errors are relative to the norm. "limit":
the arithmetic at the peak of float32, that of products by int8 weights at four times that. "?": times that
spread by more than a tenth.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.quantized.rounds import Array, Comparison, main
from benchmarks.training.decoder import numbers

LAYERS, WIDTH, HEADS, INNER, EPS = 6, 384, 12, 1536, 1e-12
SIZES = ((1, 16), (1, 128), (16, 128))


def model() -> Any:
    import ranvier as rv
    from ranvier import nn

    F = nn.functional

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.up, self.down = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
            self.first, self.second = nn.LayerNorm(WIDTH, EPS), nn.LayerNorm(WIDTH, EPS)

        def forward(self, x: Any) -> Any:
            shape = (*x.shape[:-1], HEADS, WIDTH // HEADS)
            q, k, v = (f(x).view(shape).transpose(1, 2) for f in (self.query, self.key, self.value))
            y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            x = self.first(x + self.out(y))
            return self.second(x + self.down(F.gelu(self.up(x))))

    made = nn.Sequential(*(Layer() for _ in range(LAYERS)))
    made.load_state_dict({name: rv.tensor(numbers(name, w.shape)) for name, w in made.state_dict().items()})
    return made.eval()


def given(case: str) -> Array:
    batch, length = map(int, case.split()[1].split("x"))
    return np.random.default_rng(length).standard_normal((batch, length, WIDTH), np.float32)


def ranvier(case: str) -> Callable[[], Any]:
    import ranvier as rv

    precision, x, made = case.split()[0], rv.tensor(given(case)), model()
    if precision != "float32":
        made = rv.quantize(made, precision)
    fast = rv.compile(made)

    def run() -> Any:
        with rv.no_grad():
            return fast(x).numpy()

    return run


@cache
def answers(batch_length: str) -> Array:
    """By NumPy, in float64."""
    x: Array = given(f"float32 {batch_length}").astype(np.float64)
    erf = np.frompyfunc(math.erf, 1, 1)

    def value(name: str, *shape: int) -> Array:
        return numbers(name, shape).astype(np.float64)

    def linear(x: Array, name: str, n: int) -> Array:
        return x @ value(f"{name}.weight", n, x.shape[-1]).T + value(f"{name}.bias", n)

    def norm(x: Array, name: str) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + EPS)
        return x * value(f"{name}.weight", WIDTH) + value(f"{name}.bias", WIDTH)

    def heads(x: Array) -> Array:
        return x.reshape(*x.shape[:-1], HEADS, -1).swapaxes(1, 2)

    for i in range(LAYERS):
        q, k, v = (heads(linear(x, f"{i}.{name}", WIDTH)) for name in ("query", "key", "value"))
        scores = np.exp(q @ k.swapaxes(2, 3) / np.sqrt(WIDTH // HEADS))
        y = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(x.shape)
        x = norm(x + linear(y, f"{i}.out", WIDTH), f"{i}.first")
        y = linear(x, f"{i}.up", INNER)
        y = y * (1 + erf(y / np.sqrt(2)).astype(np.float64)) / 2
        x = norm(x + linear(y, f"{i}.down", WIDTH), f"{i}.second")
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
