"""The process of one library in `ranvier bench`: ``python bench_worker.py torch 2``.

It is run by its path, so that the process of another library never loads ranvier: two thread pools in one
process slow each other down by milliseconds. It reads names of tasks and answers each with a line of JSON:
the median seconds of a call, and some numbers of the result, which the command compares between the
libraries.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

SECONDS = 0.15  # of calls in one round, after a warm-up of the same length
Task = tuple[Callable[[], Any], Callable[[], Any]]  # the timed function; numbers of its result


def matmul(library: Any) -> Task:
    """1024 x 1024 by 1024 x 1024, float32."""
    a, b = np.random.default_rng(0).uniform(-1, 1, (2, 1024, 1024)).astype(np.float32)
    if library is not np:
        a, b = library.from_numpy(a), library.from_numpy(b)
    return lambda: a @ b, lambda: np.asarray(a @ b)[:2, :2].ravel().tolist()


def conv2d(library: Any) -> Task:
    """3 x 3, 64 to 64 channels, on 8 images of 56 x 56, channels-last if the library has the choice."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (8, 56, 56, 64)).astype(np.float32).transpose(0, 3, 1, 2)
    w = rng.uniform(-1, 1, (64, 64, 3, 3)).astype(np.float32)
    image, weight = library.from_numpy(x), library.from_numpy(w)
    if hasattr(library, "channels_last"):
        weight = weight.contiguous(memory_format=library.channels_last)
    convolve = library.nn.functional.conv2d
    return (
        lambda: convolve(image, weight, padding=1),
        lambda: np.asarray(convolve(image, weight, padding=1))[0, :4, 3, 5].tolist(),
    )


def train_step(library: Any) -> Task:
    """Forward, backward and Adam of a 784-128-64-10 network on 128 samples."""
    nn, rng = library.nn, np.random.default_rng(0)
    layers = [nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 10)]
    model = nn.Sequential(*layers)
    with library.no_grad():
        for p in model.parameters():
            values = rng.uniform(-0.05, 0.05, tuple(p.shape)).astype(np.float32)
            p.copy_(library.from_numpy(values))
    x = library.from_numpy(rng.uniform(0, 1, (128, 784)).astype(np.float32))
    y = library.from_numpy(rng.integers(0, 10, 128))
    fused = {"fused": True} if library.__name__ == "torch" else {}
    optimizer, loss = library.optim.Adam(model.parameters(), **fused), nn.CrossEntropyLoss()

    def step() -> float:
        optimizer.zero_grad()
        value = loss(model(x), y)
        value.backward()
        optimizer.step()
        return float(value.item())

    return step, lambda: [step() for _ in range(3)]


TASKS = {"matmul": matmul, "conv2d": conv2d, "train_step": train_step}


def seconds_of(call: Callable[[], Any]) -> float:
    """The median of the calls of a round."""
    end = perf_counter() + SECONDS
    while perf_counter() < end:
        call()
    times: list[float] = []
    end = perf_counter() + SECONDS
    while perf_counter() < end or len(times) < 3:
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return median(times)


def main() -> None:
    replies = os.fdopen(os.dup(1), "w", buffering=1)  # apart from what a library prints
    os.dup2(2, 1)
    library: Any = importlib.import_module(sys.argv[1])
    if hasattr(library, "set_num_threads"):
        library.set_num_threads(int(sys.argv[2]))
    replies.write(json.dumps({"version": str(library.__version__)}) + "\n")
    ready: dict[str, Callable[[], Any]] = {}
    for name in map(str.strip, sys.stdin):
        reply: dict[str, Any] = {}
        if name not in ready:
            ready[name], check = TASKS[name](library)
            reply["result"] = check()
        replies.write(json.dumps({**reply, "seconds": seconds_of(ready[name])}) + "\n")


if __name__ == "__main__":
    main()
