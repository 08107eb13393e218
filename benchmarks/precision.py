"""Measures what precisions of products gain on this CPU: python -m benchmarks.precision [--quick] [part ...]

One run prints, beside PyTorch's float32, "medium" and autocast: products, training steps, an encoder. Then
"high" and "medium" over float32 for every product and convolution of the benchmarks, for attention and
recurrent layers, and for products of few rows. Then the accuracy that networks reach with each precision over
five seeds. Parts: torch, rows, few, accuracy. RANVIER_PEER_TORCH names the Python that has PyTorch. Times are
in ms, the least (and the median) of rounds in which all take turns, each in a process of its own; of few rows
in us, in one process.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np
import ranvier as rv

from benchmarks import machine
from benchmarks.kernels.bench_conv2d import DEPTHWISE, LAYERS, MORE
from benchmarks.kernels.bench_matmul import LINEAR, SHAPES
from benchmarks.peers.process import ROOT
from benchmarks.ways import OURS, TORCH, Ways, name_of, until

LINES = [  # threads, case
    (1, ("product", 1024, 1024, 1024)),
    (2, ("product", 1024, 1024, 1024)),
    (2, ("step", "784-1024-1024-10", 256)),
    (1, ("encoder", 16, 128)),
    (1, ("encoder", 1, 16)),
    (1, ("encoder", 1, 128)),
    (2, ("step", "vgg", 64)),
]
ATTENTION = [(8, 4, 64, 32), (4, 4, 128, 64), (2, 4, 512, 64), (1, 4, 1024, 64)]  # n, heads, length, width
RECURRENT = [(32, 50, 128), (64, 30, 256)]  # sequences, steps, units
MNIST = ROOT.parent / "shared" / "data" / "mnist"
SEEDS = 5
FEW_SECONDS = 0.0005  # the length of a sample
FEW, SIDES = (1, 2, 4, 8, 16), (256, 512, 1024, 2048, 4096)


def beside_torch(rounds: int, end: float) -> None:
    """A table of all ways; the last column is torch's fastest over ours, of float32 and of all."""
    names = [*OURS, *TORCH]
    print(f"\n{'':34}" + "".join(f"{name.split()[0][:7] + ' ' + name.split()[1]:>20}" for name in names))
    for threads in sorted({threads for threads, _ in LINES}):
        ways = Ways(names, threads, rounds)
        print(f"{threads} threads, FMA {ways.answer(OURS[0], 'limit')[0]:.0f} GFLOP/s")
        for case in until((case for count, case in LINES if count == threads), end):
            found = ways.run(*case)
            cells = [
                f"{1e3 * found[n][0]:9.3f} ({1e3 * found[n][1]:7.3f})" if n in found else "" for n in names
            ]
            print(f"{name_of(case):34}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
        ways.close()


def cases() -> Iterator[tuple[Any, ...]]:
    """Every product and convolution of the benchmarks, and what has products inside."""
    yield from (("product", *shape) for shape in SHAPES)
    yield from (("product", *shape, "W") for shape in LINEAR)
    yield from (("product", n, m, k, "x") for m, k, n in LINEAR)
    layers = dict.fromkeys([*LAYERS, *MORE, *DEPTHWISE])
    yield from (("conv", backward, *layer) for backward in (False, True) for layer in layers)
    yield from (("attention", *sizes) for sizes in ATTENTION)
    yield from (("lstm", *sizes) for sizes in RECURRENT)
    yield from (("step", name, batch) for name, batch in (("mlp", 128), ("cnn", 128)))


def rows(threads: int, rounds: int, end: float) -> None:
    """Ratios of float32's time to that of "high" and "medium": the lowest is what must not fall below 1."""
    print(f"\n{threads} threads{'':36} float32 ms   high  medium   (ratios of the least times, of medians)")
    ways, ratios = Ways(OURS, threads, rounds), {name: {} for name in OURS[1:]}
    for case in until(cases(), end):
        found = ways.run(*case)
        base, line = found[OURS[0]], ""
        for name in (name for name in ratios if name in found):
            least, middle = (b / t for b, t in zip(base, found[name], strict=True))
            ratios[name][name_of(case)] = max(least, middle)  # what noise does not explain
            line += f"  {least:5.2f} ({middle:5.2f})"
        print(f"{name_of(case):46}{1e3 * base[0]:9.3f}{line}", flush=True)
    ways.close()
    summary(ratios)


def summary(ratios: dict[str, dict[str, float]]) -> None:
    for name, each in ratios.items() if any(ratios.values()) else ():
        lowest = sorted(each, key=each.__getitem__)[:5]
        below = sum(ratio < 0.97 for ratio in each.values())
        mean = np.exp(np.mean(np.log(list(each.values()))))
        print(f"{name}: mean {mean:.2f}, {below} of {len(each)} below .97")
        print("   lowest: " + "; ".join(f"{row} {each[row]:.2f}" for row in lowest))


def few(threads: int, rounds: int, end: float) -> None:
    """Products of few rows by a matrix that is not packed: float32's time over those of "high", "medium"."""
    ratios: dict[str, dict[str, float]] = {"high": {}, "medium": {}}
    kinds = ["highest", *ratios]
    for kind in ("W", "b"):  # as the weight of a linear layer is stored, or by rows
        print(f"\n{threads} threads, n k, {kind}: float32 us, high, medium; of {FEW} rows")
        for n, k in until(itertools.product(SIDES, SIDES), end):
            b = rv.randn(n, k).numpy().T if kind == "W" else rv.randn(k, n).numpy()
            line = ""
            for m in FEW:
                a = rv.randn(m, k).numpy()
                least = dict.fromkeys(kinds, float("inf"))
                for _, name in itertools.product(range(rounds), kinds):
                    with rv.config.float32_matmul_precision(name):
                        least[name] = min(least[name], sample(a, b))
                for name, found in ratios.items():
                    found[f"{m}x{k}x{n} {kind}"] = least["highest"] / least[name]
                times = [1e6 * least["highest"]] + [least["highest"] / least[name] for name in ratios]
                line += "{:9.1f} {:4.2f} {:4.2f}".format(*times)
            print(f"{n:5}{k:5}{line}", flush=True)
    summary(ratios)


def sample(a: Any, b: Any) -> float:
    """Seconds of a call."""
    start = perf_counter()
    rv.kernels.matmul(a, b)
    calls = max(1, round(FEW_SECONDS / (perf_counter() - start)))
    start = perf_counter()
    for _ in range(calls):
        rv.kernels.matmul(a, b)
    return (perf_counter() - start) / calls


def images() -> tuple[str, Any, Any, Any, Any]:
    """MNIST where it is there, else scikit-learn's digits: name, samples and classes of training and test."""
    if MNIST.is_dir():

        def read(name: str, skip: int) -> Any:
            return np.frombuffer(gzip.decompress((MNIST / f"{name}.gz").read_bytes()), np.uint8)[skip:]

        x = [read(f"{part}-images-idx3-ubyte", 16).reshape(-1, 784) for part in ("train", "t10k")]
        y = [read(f"{part}-labels-idx1-ubyte", 8).astype(np.int64) for part in ("train", "t10k")]
        scaled = [(part / np.float32(255)).astype(np.float32) for part in x]
        return "MNIST", scaled[0], y[0], scaled[1], y[1]
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    x = np.ascontiguousarray(x / 16, np.float32)
    return "digits", x[:1300], y[:1300], x[1300:], y[1300:]


def fitted(seed: int, hidden: int, epochs: int, *data: Any) -> float:
    """The accuracy of a network of two hidden layers after some epochs of Adam."""
    x, y, test, classes = data
    rv.manual_seed(seed)
    widths = (x.shape[1], hidden, hidden // 2, int(y.max()) + 1)
    layers = [layer for a, b in itertools.pairwise(widths) for layer in (rv.nn.Linear(a, b), rv.nn.ReLU())]
    model = rv.nn.Sequential(*layers[:-1])
    trainer = rv.Trainer(model, rv.nn.CrossEntropyLoss(), rv.optim.Adam(model.parameters(), 1e-3))
    trainer.fit(x, y, epochs=epochs, batch_size=64, verbose=False)
    model.eval()
    with rv.no_grad():
        return float((model(rv.from_numpy(test)).numpy().argmax(1) == classes).mean())


def tables() -> Iterator[tuple[str, Any, Any, Any, Any]]:
    from benchmarks.estimators.problems import CLASSES

    for name in ("digits", "breast_cancer", "make_classification", "make_hastie_10_2"):
        x, y = CLASSES[name]()
        order = np.random.default_rng(0).permutation(len(x))
        x = ((x - x.mean(0)) / (x.std(0) + 1e-9)).astype(np.float32)[order]
        y, train = np.unique(y, return_inverse=True)[1].astype(np.int64)[order], len(x) * 4 // 5
        yield name, x[:train], y[:train], x[train:], y[train:]


def accuracy(quick: bool, end: float) -> None:
    """Means and standard deviations over the seeds, with each precision."""
    print(f"\naccuracy over {SEEDS} seeds{'':16}" + "".join(f"{name.split()[1]:>20}" for name in OURS))
    name, x, y, *test = images()
    problems = [(name, x[: 10000 if quick else None], y[: 10000 if quick else None], *test)]
    try:
        problems += list(tables())
    except ImportError as error:
        print(f"without the tables: {error}")
    for name, *data in problems:
        if perf_counter() > end:
            print(f"not measured, as the time is over: {name}")
            continue
        epochs, hidden = (2 if quick else 5) if name == "MNIST" else 20, 512  # "high" is float32 below 256
        cells = []
        for way in OURS:
            rv.set_float32_matmul_precision(way.split()[1])
            found = [fitted(seed, hidden, epochs, *data) for seed in range(SEEDS)]
            cells.append(f"{np.mean(found):.4f} +- {np.std(found, ddof=1):.4f}")
        rv.set_float32_matmul_precision("highest")
        print(f"{name:38}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("parts", nargs="*", default=[], help="torch, rows, few, accuracy; else all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, one thread, smaller data")
    parser.add_argument("--threads", type=int, nargs="*", help="of the rows: 1 2")
    parser.add_argument(
        "--limit", type=float, default=float("inf"), help="seconds, after which rows are left out"
    )
    arguments = parser.parse_args()
    end = perf_counter() + arguments.limit
    parts, quick = arguments.parts or ["torch", "rows", "few", "accuracy"], arguments.quick
    print(f"{machine.cpu_model()}, {rv._core.isa()}, bfloat16 {rv._core.has_bfloat16()}")
    if "torch" in parts:
        beside_torch(5 if quick else 15, end)
    if "rows" in parts:
        for threads in arguments.threads or ([1] if quick else [1, 2]):
            rows(threads, 3 if quick else 9, end)
    if "few" in parts:
        for threads in arguments.threads or [1, 2]:
            with machine.threads(threads):
                few(threads, 3 if quick else 7, end)
    if "accuracy" in parts:
        accuracy(quick, end)


if __name__ == "__main__":
    main()
