"""A token of a language model of Qwen2-0.5B's sizes: ``python -m benchmarks.training.decoder``.

24 layers, 896 wide, 14 heads of 64 that share 2 of keys and values, SiLU gates of 4864, RMSNorm, rotary
places, 151936 words whose vectors are the head's weights too; random weights. A token: the logits of one
more word at a context of CONTEXT, the mean of TOKENS in a row. The model is written with the names that
ranvier and PyTorch share. "eager": keys and values are joined to those before. "captured": they are written
into a cache of a fixed size; `rv.compile`, and `torch.compile`, which needs a C++ compiler. "limit": the time
in which the threads read the weights once (benchmarks.machine). One process for each library, in turns; the
time is the shortest of a turn, its median over the turns. All have the same weights; logits are compared.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.peers.turns import InTurns

LAYERS, WIDTH, HEADS, SHARED, INNER, WORDS, BASE = 24, 896, 14, 2, 4864, 151936, 1e6
CONTEXT, TOKENS, ROOM, HEAD = 64, 4, 128, WIDTH // HEADS
CASES = ("eager float32", "captured float32", "eager bfloat16", "captured bfloat16")
LIBRARIES = ("ranvier", "torch")
ERRORS = {"float32": 1e-3, "bfloat16": 0.1}  # the largest error of logits, which are about 1


def model_of(library: str) -> Any:
    """The model, of a library that has these names."""
    root: Any = importlib.import_module(library)
    nn: Any = importlib.import_module(f"{library}.nn")
    F = nn.functional

    def turned(x: Any, cos: Any, sin: Any) -> Any:
        first, second = x.chunk(2, -1)
        return x * cos + root.cat((-second, first), -1) * sin

    class Attention(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.q, self.out = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
            self.k, self.v = nn.Linear(WIDTH, SHARED * HEAD), nn.Linear(WIDTH, SHARED * HEAD)

        def forward(self, x: Any, places: Any, cos: Any, sin: Any, cache: Any, mask: Any) -> Any:
            shape = (*x.shape[:-1], -1, HEAD)
            q, k, v = (f(x).view(shape).transpose(1, 2) for f in (self.q, self.k, self.v))
            q, k = turned(q, cos, sin), turned(k, cos, sin)
            if mask is None:
                if cache:
                    k, v = root.cat((cache[0], k), 2), root.cat((cache[1], v), 2)
                cache[:] = k, v
            else:
                k, v = (kept.index_copy_(2, places, new) for kept, new in zip(cache, (k, v), strict=True))
            causal = mask is None and x.shape[1] > 1
            y = F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=True)
            return self.out(y.transpose(1, 2).reshape(x.shape))

    class Layer(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.before, self.attention = nn.RMSNorm(WIDTH, eps=1e-6), Attention()
            self.after, self.down = nn.RMSNorm(WIDTH, eps=1e-6), nn.Linear(INNER, WIDTH, bias=False)
            self.gate, self.up = (nn.Linear(WIDTH, INNER, bias=False) for _ in range(2))

        def forward(self, x: Any, *args: Any) -> Any:
            x = x + self.attention(self.before(x), *args)
            h = self.after(x)
            return x + self.down(F.silu(self.gate(h)) * self.up(h))

    class Model(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(WORDS, WIDTH)
            self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
            self.norm = nn.RMSNorm(WIDTH, eps=1e-6)
            speeds = BASE ** -(np.arange(0, HEAD, 2, dtype=np.float32) / HEAD)
            self.register_buffer("speeds", root.from_numpy(speeds), persistent=False)

        def forward(self, text: Any, places: Any, caches: Any, fixed: bool = False) -> Any:
            x = self.words(text)
            angles = places[:, None] * root.cat((self.speeds, self.speeds)).float()
            cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
            mask = root.arange(ROOM) <= places[:, None] if fixed else None
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer(x, places, cos, sin, cache, mask)
            return F.linear(self.norm(x[:, -1]), self.words.weight)

    with root.device("meta") if library == "torch" else root.no_grad():
        model = Model()
    return model


def filled(model: Any, library: str, dtype: str) -> Any:
    """The model with the same numbers in each library."""
    root: Any = importlib.import_module(library)
    rng = np.random.default_rng(0)
    state = {}
    for name, w in model.state_dict().items():
        x = rng.standard_normal(w.shape, np.float32)
        x = x / np.sqrt(w.shape[-1]) if w.ndim == 2 else 1 + x / 10
        state[name] = root.from_numpy(np.asarray(x, np.float32)).to(getattr(root, dtype))
    model.load_state_dict(state, assign=True)
    return model.to(getattr(root, dtype)).eval()


def step(library: str, case: str) -> Callable[[], Any]:
    """A call writes TOKENS tokens, each given, and gives the last logits."""
    root: Any = importlib.import_module(library)
    way, dtype = case.split()
    model = filled(model_of(library), library, dtype)
    text = root.from_numpy(np.random.default_rng(1).integers(0, WORDS, (1, CONTEXT)))
    places = root.arange(CONTEXT)
    begin = CONTEXT - TOKENS
    caches: Any = [[] for _ in range(LAYERS)]
    with root.no_grad():
        model(text[:, :begin], places[:begin], caches)
    parts = [(text[:, i : i + 1].clone(), places[i : i + 1].clone()) for i in range(begin, CONTEXT)]
    read, fixed = [tuple(cache) for cache in caches], way == "captured"
    if fixed:
        for cache, kept in zip(caches, read, strict=True):
            cache[:] = (root.zeros(1, SHARED, ROOM, HEAD, dtype=x.dtype) for x in kept)
            for room, x in zip(cache, kept, strict=True):
                room[:, :, :begin] = x

    def called(one: Any, place: Any) -> Any:
        return model(one, place, caches, fixed)

    call = root.compile(called) if fixed else called

    def run() -> Any:
        if not fixed:
            caches[:] = [list(kept) for kept in read]
        with root.no_grad():
            for one, place in parts:
                logits = call(one, place)
        return logits.float()

    return run


def work(library: str) -> None:
    """Answers questions, (case, seconds): first logits, and the shortest time of a token."""
    now, run = "", None
    for line in sys.stdin:
        case, seconds = json.loads(line)
        values = None
        if case != now:
            run = None
            gc.collect()
            now, run = case, step(library, case)
            for _ in range(4):
                values = np.asarray(run()).ravel()[:256].tolist()
        assert run is not None
        best, end = float("inf"), time.perf_counter() + seconds
        while best == float("inf") or time.perf_counter() < end:
            start = time.perf_counter()
            run()
            best = min(best, time.perf_counter() - start)
        print(json.dumps([values, best / TOKENS]), flush=True)


def limit(threads: int, dtype: str) -> float:
    """Seconds to read the weights once."""
    layer = WIDTH * (2 * WIDTH + 2 * SHARED * HEAD + 3 * INNER)
    size = {"float32": 4, "bfloat16": 2}[dtype] * (LAYERS * layer + WORDS * WIDTH)
    with machine.threads(threads):
        return size / machine.bandwidth(4 * machine.cache_sizes()["L3"], "read", 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("-k", dest="part", default="", help="only cases whose name has this in it")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn")
    parser.add_argument("--libraries", nargs="*", default=LIBRARIES)
    settings = parser.parse_args()
    if settings.worker:
        return work(settings.worker)
    names = settings.libraries
    print(f"| ms a token, {settings.threads} threads | {' | '.join(names)} | limit | limit / ours |")
    print("|---|" + "---|" * (len(names) + 2))
    processes = [InTurns("benchmarks.training.decoder", name, settings.threads) for name in names]
    for case in (name for name in CASES if settings.part in name):
        dtype = case.split()[1]
        first, *others = [process.ask(case, 0)[0] for process in processes]
        for values in others:
            np.testing.assert_allclose(values, first, rtol=0, atol=ERRORS[dtype])
        times = [
            [
                1e3 * s
                for s in (
                    *(p.ask(case, settings.seconds)[1] for p in processes),
                    limit(settings.threads, dtype),
                )
            ]
            for _ in range(settings.rounds)
        ]
        medians = [statistics.median(column) for column in zip(*times, strict=True)]
        row = " | ".join(f"{ms:.1f}" for ms in medians)
        print(f"| {case} | {row} | {medians[-1] / medians[0]:.2f} |", flush=True)
    for process in processes:
        process.close()


if __name__ == "__main__":
    main()
