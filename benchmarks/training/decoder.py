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

import importlib
from collections.abc import Callable, Sequence
from typing import Any
from zlib import crc32

import numpy as np

from benchmarks.peers.turns import InTurns, answer, arguments, medians

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
            self.head = nn.Linear(WIDTH, WORDS, bias=False)
            self.head.weight = self.words.weight
            speeds = BASE ** -(np.arange(0, HEAD, 2, dtype=np.float32) / HEAD)
            self.register_buffer("speeds", root.from_numpy(speeds), persistent=False)

        def forward(self, text: Any, places: Any, caches: Any, fixed: bool = False) -> Any:
            x = self.words(text)
            angles = places[:, None] * root.cat((self.speeds, self.speeds)).float()
            cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
            mask = root.arange(ROOM) <= places[:, None] if fixed else None
            for layer, cache in zip(self.layers, caches, strict=True):
                x = layer(x, places, cos, sin, cache, mask)
            return self.head(self.norm(x[:, -1]))

    with root.device("meta") if library == "torch" else root.no_grad():
        model = Model()
    return model


def numbers(name: str, shape: Sequence[int]) -> np.ndarray[Any, Any]:
    """A parameter's values, which depend on its name and shape alone."""
    x = np.random.default_rng(crc32(name.encode())).standard_normal(shape, np.float32)
    if len(shape) == 2:
        return x / np.float32(np.sqrt(shape[-1]))
    return x / 10 if name.endswith("bias") else 1 + x / 10


def filled(model: Any, library: str, precision: str) -> Any:
    """The model with the same numbers in each library; int8 and int4: `rv.quantize`."""
    root: Any = importlib.import_module(library)
    dtype = getattr(root, "float32" if precision.startswith("int") else precision)
    state = {}
    for name, w in model.state_dict().items():
        if name != "head.weight":
            state[name] = root.from_numpy(numbers(name, w.shape)).to(dtype)
    state["head.weight"] = state["words.weight"]
    model.load_state_dict(state, assign=True)
    model = model.to(dtype).eval()
    return root.quantize(model, precision) if precision.startswith("int") else model


def words() -> np.ndarray[Any, Any]:
    """A text, (1, CONTEXT)."""
    return np.random.default_rng(1).integers(0, WORDS, (1, CONTEXT))


def step(library: str, case: str) -> Callable[[], Any]:
    """A call writes TOKENS tokens, each given, and gives the last logits."""
    root: Any = importlib.import_module(library)
    way, precision = case.split()
    model = filled(model_of(library), library, precision)
    text = root.from_numpy(words())
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
    answer(lambda case: step(library, case), 4, lambda _: TOKENS)


def parameters() -> int:
    """Those of matrices, the words' vectors once."""
    layer = WIDTH * (2 * WIDTH + 2 * SHARED * HEAD + 3 * INNER)
    return LAYERS * layer + WORDS * WIDTH


def limit(threads: int, dtype: str) -> float:
    """Seconds to read the weights once."""
    from benchmarks import machine  # not above: it loads ranvier, which other libraries' processes must not

    size = {"float32": 4, "bfloat16": 2}[dtype] * parameters()
    with machine.threads(threads):
        return size / machine.bandwidth(4 * machine.cache_sizes()["L3"], "read", 1)


def main() -> None:
    settings = arguments(__doc__, LIBRARIES, 2.0)
    if settings.worker:
        return work(settings.worker)
    names = settings.libraries
    print(f"| ms a token | threads | {' | '.join(names)} | limit | limit / ours |")
    print("|---|" + "---|" * (len(names) + 3))
    for threads in settings.threads:
        processes = [InTurns("benchmarks.training.decoder", name, threads) for name in names]
        for case in (name for name in CASES if settings.part in name):
            dtype = case.split()[1]
            times = medians(processes, case, settings, rtol=0, atol=ERRORS[dtype])
            least = limit(threads, dtype)
            row = " | ".join(f"{1e3 * seconds:.1f}" for seconds in (*times, least))
            print(f"| {case} | {threads} | {row} | {least / times[0]:.2f} |", flush=True)
        for process in processes:
            process.close()


if __name__ == "__main__":
    main()
