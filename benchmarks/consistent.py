"""Measures what rv.set_consistent(True) costs on this CPU, kernel by kernel: python -m benchmarks.consistent.

The time of each call with the setting on, divided by that with it off: processor time of one thread,
the least of several rounds in which the two take turns. 1.03 is 3 % longer.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import _core

ROUNDS, SECONDS = 9, 0.004


def calls() -> dict[str, Callable[[], Any]]:
    rng = np.random.default_rng(0)

    def array(*shape: int) -> Any:
        return rng.uniform(-1, 1, shape).astype(np.float32)

    def images(n: int, c: int, h: int) -> Any:
        return array(n, h, h, c).transpose(0, 3, 1, 2)

    x, rows, out = array(100_000), array(256, 1000), np.empty(100_000, np.float32)
    found: dict[str, Callable[[], Any]] = {}
    for m, k, n in ((512, 512, 512), (64, 784, 128), (32, 20, 32), (1, 1000, 1000)):
        a = array(m, k)
        found[f"matmul {m}x{k}x{n}"] = partial(_core.matmul, a, array(k, n))
        found[f"matmul {m}x{k}x{n}, b transposed"] = partial(_core.matmul, a, array(n, k).T)
    for c, h, k in ((1, 28, 5), (16, 28, 3), (64, 28, 3), (64, 28, 1)):
        y, w = images(4, c, h), array(max(c, 8), c, k, k)
        found[f"conv2d {c} channels, {k}x{k}"] = partial(_core.conv2d, y, w, padding=k // 2)
    y, w = images(4, 64, 28), array(64, 1, 3, 3)
    found["conv2d depthwise 3x3"] = lambda: _core.conv2d(y, w, padding=1, groups=64)
    found["max_pool2d"] = lambda: _core.max_pool2d(y, 2)
    found["avg_pool2d"] = lambda: _core.avg_pool2d(y, 2)
    for name in ("relu", "exp", "tanh", "sigmoid", "gelu", "erf", "log1p", "sin"):
        found[name] = partial(getattr(_core, name), x, out=out)
    found["add"] = lambda: _core.add(x, x, out=out)
    found["sum over all"] = lambda: _core.sum(x)
    found["sum over rows"] = lambda: _core.sum(rows, 1)
    found["sum over columns"] = lambda: _core.sum(rows, 0)
    found["softmax"] = lambda: _core.softmax(rows)
    found["log_softmax"] = lambda: _core.log_softmax(rows)
    found["layer_norm"] = lambda: _core.layer_norm(rows, (1000,))
    found["batch_norm"] = lambda: _core.batch_norm(y)
    found["cumsum"] = lambda: _core.cumsum(rows, 1)
    found["mse"] = lambda: _core.mse(x, out)
    return found


def seconds(call: Callable[[], Any], times: int) -> float:
    start = time.thread_time()
    for _ in range(times):
        call()
    return (time.thread_time() - start) / times


def main() -> None:
    rv.set_num_threads(1)
    print(f"{'':36}{'off, us':>10}{'on / off':>10}")
    for name, call in calls().items():
        best = {}
        times = max(1, int(SECONDS / max(seconds(call, 3), 1e-7)))
        for _ in range(ROUNDS):
            for on in (False, True):
                rv.set_consistent(on)
                best[on] = min(best.get(on, np.inf), seconds(call, times))
        print(f"{name:36}{best[False] * 1e6:10.1f}{best[True] / best[False]:10.2f}")
    rv.set_consistent(False)


if __name__ == "__main__":
    main()
