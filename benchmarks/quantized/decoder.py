"""A token of a language model of Qwen2-0.5B's sizes: ``python -m benchmarks.quantized.decoder [--write]``.

The model of benchmarks.training.decoder, in four precisions; int8 and int4 by `rv.quantize`. "captured":
`rv.compile`. llama.cpp reads a file with the same weights: F32, BF16, Q8_0, Q4_0 of all matrices.
"onnxruntime" are the products of a token alone, as in benchmarks.quantized.one_row. "limit": the time in
which the threads read the weights once. A token: the logits of one more word at a context of CONTEXT, the
mean of TOKENS in a row. One process for each library, in turns; the time is the shortest of a turn, its
median over the turns. Logits are compared with NumPy's: the errors are relative to the norm. "?": times that
spread by more than a tenth.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from benchmarks.quantized.decoder_matrices import MATRICES
from benchmarks.quantized.one_row import given
from benchmarks.quantized.rounds import BITS, PRECISIONS, Array, Comparison, main, read_seconds
from benchmarks.training import decoder
from benchmarks.training.decoder import CONTEXT, HEAD, LAYERS, TOKENS, WIDTH, WORDS, numbers


@cache
def logits() -> Array:
    """Of the last word, by NumPy."""
    x = numbers("words.weight", (WORDS, WIDTH))[decoder.words()[0]]
    angles = np.arange(CONTEXT)[:, None] * np.tile(decoder.BASE ** -(np.arange(0, HEAD, 2) / HEAD), 2)
    cos, sin = np.cos(angles), np.sin(angles)
    later = np.triu(np.full((CONTEXT, CONTEXT), -np.inf), 1)

    def norm(x: Array, name: str) -> Array:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + 1e-6) * numbers(f"{name}.weight", (WIDTH,))

    def turned(x: Array) -> Array:
        first, second = np.split(x, 2, -1)
        return x * cos + np.concatenate((-second, first), -1) * sin

    for i in range(LAYERS):

        def linear(x: Array, name: str, at: str = f"layers.{i}.") -> Array:
            n, k = MATRICES[name]
            y: Array = x @ numbers(f"{at}{name}.weight", (n, k)).T
            return y + numbers(f"{at}{name}.bias", (n,)) if name[-1] in "qkv" else y

        h = norm(x, f"layers.{i}.before")
        q, k, v = (
            linear(h, f"attention.{name}").reshape(CONTEXT, -1, HEAD).swapaxes(0, 1)
            for name in ("q", "k", "v")
        )
        k, v = (np.repeat(a, decoder.HEADS // decoder.SHARED, 0) for a in (turned(k), v))
        scores = np.exp(turned(q) @ k.swapaxes(1, 2) / np.sqrt(HEAD) + later)
        y = scores / scores.sum(-1, keepdims=True) @ v
        x = x + linear(y.swapaxes(0, 1).reshape(CONTEXT, WIDTH), "attention.out")
        h = norm(x, f"layers.{i}.after")
        gate = linear(h, "gate")
        x = x + linear(gate / (1 + np.exp(-gate)) * linear(h, "up"), "down")
    return norm(x[-1], "norm") @ numbers("words.weight", (WORDS, WIDTH)).T


def llama(case: str) -> Callable[[], Any]:
    """llama.cpp's functions, as its own programs call them."""
    import llama_cpp as cpp

    from benchmarks.quantized.gguf_file import write

    quiet = cpp.llama_log_callback(lambda level, text, data: None)
    cpp.llama_log_set(quiet, None)
    text, begin = [int(word) for word in decoder.words()[0]], CONTEXT - TOKENS
    settings = cpp.llama_context_default_params()
    settings.n_ctx = settings.n_batch = decoder.ROOM
    settings.n_threads = settings.n_threads_batch = int(os.environ["OMP_NUM_THREADS"])
    with tempfile.TemporaryDirectory() as folder:  # the file stays mapped
        write(f"{folder}/model.gguf", case.split()[0])
        path = f"{folder}/model.gguf".encode()
        model = cpp.llama_model_load_from_file(path, cpp.llama_model_default_params())
    context = cpp.llama_init_from_model(model, settings)

    def decode(tokens: list[int]) -> None:
        given = (cpp.llama_token * len(tokens))(*tokens)
        if cpp.llama_decode(context, cpp.llama_batch_get_one(given, len(tokens))):
            raise RuntimeError("llama_decode failed")

    decode(text[:begin])

    def run(log: Any = quiet) -> Any:  # the library calls it as long as it runs
        cpp.llama_memory_seq_rm(cpp.llama_get_memory(context), 0, begin, -1)
        for token in text[begin:]:
            decode([token])
        return np.ctypeslib.as_array(cpp.llama_get_logits_ith(context, -1), (WORDS,)).copy()

    return run


def products(case: str) -> Callable[[], Any]:
    """ONNX Runtime's products of TOKENS tokens."""
    from benchmarks.quantized.onnx_graphs import products

    named = {f"layers.0.{name}.weight": (shape, LAYERS) for name, shape in MATRICES.items()}
    named["words.weight"] = (WORDS, WIDTH), 1
    weights = [(numbers(name, shape), given(shape[1]), copies) for name, (shape, copies) in named.items()]
    run = products(weights, case.split()[0])
    return lambda: [run() for _ in range(TOKENS)]


def make(library: str, case: str) -> Callable[[], Any]:
    precision, way = case.split()
    if library == "ranvier":
        return decoder.step(library, f"{way} {precision}")
    return {"llama_cpp": llama, "onnxruntime": products}[library](case)


COMPARISON = Comparison(
    module="benchmarks.quantized.decoder",
    mark="decoder",
    unit=("ms a token", 1e3),
    cases=[f"{precision} {way}" for precision in PRECISIONS for way in ("captured", "eager")],
    precisions={
        "ranvier": PRECISIONS,
        "llama_cpp": PRECISIONS,
        "onnxruntime": ("float32", "int8", "int4"),
    },
    make=make,
    steps=lambda case: TOKENS,
    expected=lambda case: logits(),
    errors={"float32": 5e-3, "bfloat16": 0.05, "int8": 0.1, "int4": 0.7},
    limit=lambda case: read_seconds(decoder.parameters() * BITS[case.split()[0]] / 8),
    only_ours="eager",
    unlike="onnxruntime",
)

if __name__ == "__main__":
    main(COMPARISON, __doc__, 2.0)
