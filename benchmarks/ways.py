"""The same case on ranvier and on PyTorch, in several precisions, measured in turns.

A way is a library and a precision, such as "ranvier high" or "torch autocast". Each is a process of its own
on as many cores as it has threads, and is stopped while the others run. The code of a case is the same for
both libraries. What a case returns of its answer is compared before its times are printed.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.attention import encoder_parameters
from benchmarks.clock import one_round
from benchmarks.peers.turns import InTurns
from benchmarks.training import models, networks
from benchmarks.training.networks import NETWORKS

Answer = list[float]
OURS = ("ranvier highest", "ranvier high", "ranvier medium")
TORCH = ("torch float32", "torch medium", "torch autocast")
LONG_SECONDS = 0.6  # where a round takes longer there are fewer
COARSE = ("medium", "autocast")  # factors of eight bits


def cores(count: int) -> set[int]:
    """One processor of each core, as many as wanted where there are so many; else others besides."""
    allowed = sorted(os.sched_getaffinity(0))
    firsts, others, seen = [], [], set()
    for cpu in allowed:
        text = str(cpu)
        with suppress(OSError):
            text = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text()
        (others if text in seen else firsts).append(cpu)
        seen.add(text)
    return set((firsts + others)[:count])


def array(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).uniform(-1, 1, shape).astype(np.float32)


def some(values: Any, count: int = 500) -> Answer:
    flat = np.asarray(values, np.float64).ravel()
    return [float(x) for x in flat[:: max(1, len(flat) // count)]]


class Cases:
    """The calls that a process can be asked to prepare, and some numbers of their answers."""

    def __init__(self, library: str, precision: str) -> None:
        self.root: Any = __import__(library)
        self.ours, self.precision = library == "ranvier", precision
        self.root.set_float32_matmul_precision(precision if precision in ("high", "medium") else "highest")

    def context(self) -> Any:
        if self.precision == "autocast":
            return self.root.autocast("cpu", dtype=self.root.bfloat16)
        return nullcontext()

    def numbers(self, answer: Any) -> Any:
        answer = answer.detach()
        return answer.numpy() if self.ours else answer.float().numpy()

    def product(self, m: int, k: int, n: int, kind: str = "") -> tuple[Callable[[], Any], Answer]:
        """a @ b; "W": b is the transpose of an array, as in a linear layer; "x": a is, as in its gradient.

        The answer: the largest error over the sum of absolute products, of some rows.
        """
        a = array(k, m).T if kind == "x" else array(m, k)
        # from another seed: the rounding of a product of an array and its transpose adds up
        b = array(n, k, seed=1).T if kind == "W" else array(k, n, seed=1)
        x, y, few = self.root.from_numpy(a), self.root.from_numpy(b), min(m, 32)

        def call() -> Any:
            with self.context():
                return x @ y

        with self.root.no_grad():
            found = np.asarray(self.numbers(call())[:few], np.float64)
        exact, scale = (
            a[:few].astype(float) @ b.astype(float),
            abs(a[:few]).astype(float) @ abs(b).astype(float),
        )
        return call, [float((abs(found - exact) / scale).max())]

    def conv(self, backward: bool, *layer: int) -> tuple[Callable[[], Any], Answer]:
        """Convolutions, for ranvier only: calls of the kernels themselves."""
        from ranvier import _core

        n, c, h, w, k, r, stride, padding, groups = layer
        x, weight = array(n, c, h, w), array(k, c // groups, r, r)
        settings = {"stride": stride, "padding": padding, "groups": groups}
        y = _core.conv2d(x, weight, **settings)
        if not backward:
            return lambda: _core.conv2d(x, weight, **settings), some(y)
        dy = array(*y.shape)
        found = _core.conv2d_backward(dy, x, weight, **settings)
        answer = [v for part in found if part is not None for v in some(part / abs(part).max())]
        return lambda: _core.conv2d_backward(dy, x, weight, **settings), answer

    def attention(self, n: int, heads: int, length: int, width: int) -> tuple[Callable[[], Any], Answer]:
        leaves = [self.root.tensor(array(n, heads, length, width), requires_grad=True) for _ in range(3)]

        def call() -> Any:
            with self.context():
                y = self.root.nn.functional.scaled_dot_product_attention(*leaves)
            y.sum().backward()
            return y

        return call, some(self.numbers(call()))

    def lstm(self, n: int, steps: int, units: int) -> tuple[Callable[[], Any], Answer]:
        self.root.manual_seed(0)
        layer, x = self.root.nn.LSTM(units, units), self.root.from_numpy(array(steps, n, units))
        values = itertools.cycle(array(4 * units, units) / 16)
        with self.root.no_grad():
            for p in layer.parameters():
                p.copy_(self.root.from_numpy(np.resize(next(values), p.shape)))

        def call() -> Any:
            with self.context():
                y = layer(x)[0]
            y.sum().backward()
            return y

        return call, some(self.numbers(call()))

    def step(self, network: str, batch: int, captured: bool = True) -> tuple[Callable[[], Any], Answer]:
        """A training step; of ours captured, or called as it is. The answer: the first losses."""
        root, form = self.root, NETWORKS[network]
        arrays = networks.case(form, batch)
        images = len(form.input_shape) == 3 and not self.ours

        def to_tensor(a: np.ndarray) -> Any:
            t = root.from_numpy(a)
            return t.contiguous(memory_format=root.channels_last) if images and t.ndim == 4 else t

        def prepared(model: Any) -> Any:
            if images:
                model = model.to(memory_format=root.channels_last)
            if self.precision == "autocast":
                plain = model.forward

                def forward(x: Any) -> Any:
                    with self.context():
                        return plain(x).float()

                model.forward = forward
            return model

        own: dict[str, Any] = {"fused": True}
        if self.ours:
            own = {"to_input": np.asarray, "compiled": root.compile} if captured else {}
        steps = models.steps(root.nn, root.optim, to_tensor, form, arrays, prepared=prepared, **own)
        answer = [float(x) for x in steps.losses()]
        steps.capture()
        return steps, answer

    def predict(self, network: str, batch: int) -> tuple[Callable[[], Any], Answer]:
        form = NETWORKS[network]
        arrays = networks.case(form, batch)
        model = models.build(self.root.nn, form, arrays, self.root.from_numpy).eval()
        return self.predictions(model, [self.root.from_numpy(x) for x in arrays["x"]])

    def encoder(self, n: int, length: int) -> tuple[Callable[[], Any], Answer]:
        """Six layers of MiniLM's size: 384 wide, 12 heads, 1,536 inside."""
        nn, tensor = self.root.nn, self.root.from_numpy
        layers = [nn.TransformerEncoderLayer(384, 12, 1536, 0.0, "gelu", batch_first=True) for _ in range(6)]
        values = encoder_parameters(384, 1536).values()
        for layer in layers:
            layer.load_state_dict(dict(zip(layer.state_dict(), map(tensor, values), strict=True)))
        return self.predictions(nn.Sequential(*layers).eval(), [tensor(array(n, length, 384))])

    def predictions(self, model: Any, inputs: Sequence[Any]) -> tuple[Callable[[], Any], Answer]:
        turn, no_grad = itertools.cycle(inputs), self.root.inference_mode

        def call() -> Any:
            with no_grad(), self.context():
                return model(next(turn))

        with no_grad(), self.context():
            answer = some(self.numbers(model(inputs[0])))
        begin = perf_counter()
        for _ in range(20):  # from some calls on, a prediction is replayed
            if perf_counter() < begin + LONG_SECONDS:
                call()
        return call, answer

    def limit(self) -> tuple[Callable[[], Any], Answer]:
        """The rate of FMAs, in 1e9 operations of float32 a second."""
        from benchmarks.machine import fma_peak

        return fma_peak, [fma_peak(probes=9) / 1e9]


def work(library: str) -> None:
    """A process: answers the questions of InTurns, one line of JSON each."""
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    __import__(library)  # while the other processes do the same
    cases, calls = None, {}
    for line in sys.stdin:
        command, *question = json.loads(line)
        reply: Any = None
        if command == "begin":
            precision, threads = question
            os.sched_setaffinity(0, cores(threads))
            cases = Cases(library, precision)
            cases.root.set_num_threads(threads)
        elif command == "prepare":
            try:
                calls[str(question)], reply = getattr(cases, question[0])(*question[1:])
            except Exception as error:
                reply = repr(error)[:200]
        elif command == "time":
            reply = one_round(calls[str(question)], "sweep")
        elif command == "forget":
            calls.pop(str(question), None)
        replies.write(json.dumps(reply) + "\n")


class Ways:
    """The processes, and the rows that they run."""

    def __init__(self, names: Iterable[str], threads: int, rounds: int) -> None:
        self.rounds, self.ways = rounds, {}
        started = {name: InTurns("benchmarks.ways", name.split()[0], threads) for name in names}
        for name, way in started.items():
            try:
                way.ask("begin", name.split()[1], threads)
            except RuntimeError:  # not installed
                way.close()
                continue
            self.ways[name] = way

    def close(self) -> None:
        for way in self.ways.values():
            way.close()

    def answer(self, name: str, *case: Any) -> Any:
        return self.ways[name].ask("prepare", *case)

    def run(self, *case: Any) -> dict[str, tuple[float, float]]:
        """The least and the median time of each way, in seconds, after a comparison of their answers."""
        right: dict[str, Answer] = {}
        for name in self.ways:
            answer = self.answer(name, *case)
            wrong = answer if isinstance(answer, str) else differs(case, name, answer, right)
            if wrong:
                print(f"{name} {name_of(case)}: {wrong}, so it is not timed", flush=True)
            else:
                right[name] = answer
        times: dict[str, list[float]] = {name: [] for name in right}
        begin = perf_counter()
        for done in range(self.rounds):
            if done >= 2 and perf_counter() > begin + self.rounds * LONG_SECONDS:
                break
            for name in right:
                times[name].append(self.ways[name].ask("time", *case))
        for name in right:
            self.ways[name].ask("forget", *case)
        return {name: (min(t), median(t)) for name, t in times.items()}


def until(cases: Iterable[Any], end: float) -> Iterator[Any]:
    """The cases that begin before perf_counter() reaches the end."""
    left = []
    for case in cases:
        if perf_counter() < end:
            yield case
        else:
            left.append(str(case))
    if left:
        print(f"not measured, as the time is over: {'; '.join(left)}")


def name_of(case: Sequence[Any]) -> str:
    kind, *sizes = case
    return f"{kind} {('x' if kind in ('product', 'encoder') else ', ').join(map(str, sizes))}"


def differs(case: Sequence[Any], name: str, answer: Answer, others: dict[str, Answer]) -> str:
    """The fault of an answer, as text: products have error bounds, others are compared with the first
    way's."""
    coarse = name.endswith(COARSE)
    if case[0] == "product":
        wrong = not answer[0] <= (2**-6.9 if coarse else 2**-19)
        return f"error {answer[0]:.2e} of the sum of absolute products" if wrong else ""
    right = np.array(next(iter(others.values()), answer))
    off, scale = abs(np.array(answer) - right).max(), abs(right).max()
    return "" if off <= scale * (0.1 if coarse else 1e-3) else f"differs by {off:.2e} of {scale:.2e}"


if __name__ == "__main__":
    work(sys.argv[2])
