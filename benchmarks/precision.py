"""The gain of products of bfloat16 on this CPU: python -m benchmarks.precision [threads].

The time of products, convolutions, attention, recurrent layers and captured training steps with the precision
"highest", with "medium", and their ratio; of products also the rate over the limit of float32. Each time is
the least of many rounds in which the two take turns: processor time on one thread, wall time on several.
"""

import itertools
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import ranvier as rv
from ranvier import _core, nn

from benchmarks.machine import fma_peak

SECONDS = 2.0  # of each row
PRODUCTS = [(256, 256, 256), (512, 512, 512), (1024, 1024, 1024), (128, 784, 128), (256, 784, 1024)]
ATTENTION = [(8, 4, 64, 32), (4, 4, 128, 64), (2, 4, 512, 64), (1, 4, 1024, 64)]  # n, heads, length, width
RECURRENT = [(32, 50, 128), (64, 30, 256)]  # sequences, steps, units
CONVOLUTIONS = [(64, 32, 16, 64), (64, 64, 16, 64), (8, 128, 28, 128), (8, 256, 14, 256)]  # n, c, h, k


def array(*shape: int) -> Any:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def step(model: Any, x: Any, classes: int = 10) -> Callable[[], Any]:
    optimizer, y = rv.optim.Adam(model.parameters(), 1e-3), rv.tensor(np.arange(len(x)) % classes)

    def run(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    compiled = rv.compile(run)
    return lambda: compiled(x, y)


def mlp(*sizes: int) -> Any:
    pairs = itertools.pairwise(sizes)
    return nn.Sequential(*[layer for a, b in pairs for layer in (nn.Linear(a, b), nn.ReLU())][:-1])


def vgg() -> Any:
    widths = ((3, 32), (32, 32), (32, 64), (64, 64))
    layers: list[Any] = []
    for i, (a, b) in enumerate(widths):
        layers += [nn.Conv2d(a, b, 3, padding=1), nn.ReLU(), *[nn.MaxPool2d(2)] * (i % 2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4096, 128), nn.ReLU(), nn.Linear(128, 10))


def rows() -> Iterator[tuple[str, Callable[[], Any], int]]:
    """Name, call, and its products, where they are known."""
    for m, k, n in PRODUCTS:
        a, b, out = array(m, k), array(n, k).T, np.empty((m, n), np.float32)
        yield f"{m}x{k}x{n}", lambda a=a, b=b, out=out: _core.matmul(a, b, None, "none", out), m * k * n
    for n, c, h, k in CONVOLUTIONS:
        x, w = array(n, h, h, c).transpose(0, 3, 1, 2), array(k, c, 3, 3)
        dy = array(n, h, h, k).transpose(0, 3, 1, 2)
        name = f"{n},{c},{h},{h} to {k}, 3x3"
        yield name, lambda x=x, w=w: _core.conv2d(x, w, padding=1), 0
        yield f"{name}, backward", lambda x=x, w=w, dy=dy: _core.conv2d_backward(dy, x, w, padding=1), 0
    for n, heads, length, width in ATTENTION:
        q, k, v, dy = (array(n, heads, length, width) for _ in range(4))
        weights, to = _core.attention(q, k, None, 0.1, keep=True)[1], [np.empty_like(q) for _ in range(3)]
        name = f"attention of {n}x{heads}, {length} of {width}"
        yield name, lambda q=q, k=k, v=v: _core.attention(q, k, v, 0.1), 0
        given = (dy, q, k, v, weights, 0.1, False, 0, False, *to)
        yield f"{name}, backward", lambda given=given: _core.attention_backward(*given), 0
    for n, steps, units in RECURRENT:
        x, lstm = rv.tensor(array(steps, n, units)), nn.LSTM(units, units)
        yield f"LSTM of {units}, {n} x {steps} steps", lambda x=x, lstm=lstm: lstm(x)[0].sum().backward(), 0
    for sizes, batch in (((784, 128, 64, 10), 128), ((784, 1024, 1024, 10), 256)):
        name = f"step of {'-'.join(map(str, sizes))}, batch {batch}"
        yield name, step(mlp(*sizes), rv.tensor(array(batch, sizes[0]))), 0
    yield "step of VGG-like, batch 64", step(vgg(), rv.tensor(array(64, 3, 32, 32))), 0


def least(call: Callable[[], Any], clock: Callable[[], float]) -> dict[str, float]:
    """The least time with each precision, after some calls that record a step."""
    times = {"highest": np.inf, "medium": np.inf}
    for precision in times:
        rv.set_float32_matmul_precision(precision)
        for _ in range(12):
            call()
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        for precision in times:
            rv.set_float32_matmul_precision(precision)
            call()
            begin = clock()
            call()
            times[precision] = min(times[precision], clock() - begin)
    rv.set_float32_matmul_precision("highest")
    return times


def main() -> None:
    threads = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    rv.set_num_threads(threads)
    print(f"{threads} threads; products of bfloat16: {_core.has_bfloat16()}")
    clock = time.process_time if threads == 1 else time.perf_counter
    peak = fma_peak()
    for name, call, products in rows():
        highest, medium = least(call, clock).values()
        rate = f"  {2 * products / medium / peak:.2f} of the limit of float32" if products else ""
        print(
            f"{name:45} {1e3 * highest:8.3f} ms {1e3 * medium:8.3f} ms {highest / medium:5.2f}{rate}",
            flush=True,
        )


if __name__ == "__main__":
    main()
