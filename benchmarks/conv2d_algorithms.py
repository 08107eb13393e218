"""Measures what each algorithm of conv2d gains on layers of networks: the time of a call without it over that
with it.

python -m benchmarks.conv2d_algorithms            prints the table
python -m benchmarks.conv2d_algorithms --write    puts it into docs/benchmarks/conv2d_algorithms.md

One thread, processor time, so that other programs on the machine matter little. Calls with and without the
algorithm alternate; a number is the median of the ratios of 21 rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
from ranvier import _core
from support.layouts import in_layout

from benchmarks import marked
from benchmarks.peers.process import ROOT

# The algorithm, what is computed, the layer: n, c, h, w to k, r x s, stride, padding, groups
ROWS = """
depthwise   forward  MobileNetV2                4 144 56 56   144  3 3  1 1  144
depthwise   dx       MobileNetV2, stride 2      4 144 56 56   144  3 3  2 1  144
depthwise   dw       EfficientNet               4 240 28 28   240  5 5  1 2  240
depthwise   forward  ConvNeXt                   2 96 56 56     96  7 7  1 3  96
depthwise   dw       ResNeXt                    4 128 28 28   128  3 3  1 1  32
winograd    forward  ResNet-50, 56x56           4 64 56 56     64  3 3  1 1  1
winograd    dx       ResNet-50, 14x14           4 256 14 14   256  3 3  1 1  1
winograd    forward  ResNet-20                  32 64 8 8      64  3 3  1 1  1
winograd    dx       MNIST, second layer        64 32 26 26    64  3 3  1 0  1
pixels      forward  colours                    8 3 256 256     3  1 1  1 0  1
pixels      dx       colours to gray            8 3 256 256     1  1 1  1 0  1
pixels      forward  4 to 8 channels            8 4 64 64       8  1 1  1 0  1
pixels      dw       4 to 8 channels            8 4 64 64       8  1 1  1 0  1
pixels      dw       16 to 3 channels           8 16 64 64      3  1 1  1 0  1
pointwise   forward  ResNet-50, 56x56           4 64 56 56    256  1 1  1 0  1
pointwise   dx       ResNet-50, 7x7             4 512 7 7    2048  1 1  1 0  1
pointwise   dw       ResNet-50, 14x14           4 1024 14 14  256  1 1  1 0  1
pointwise   forward  U-Net, last layer          1 64 256 256    2  1 1  1 0  1
spread      dx       ResNet-50, shortcut        4 512 28 28  1024  1 1  2 0  1
spread      dx       ResNet-50, last shortcut   4 1024 14 14 2048  1 1  2 0  1
spread      dx       ResNet-20, shortcut        32 16 32 32    32  1 1  2 0  1
planes      forward  LeNet-5, first layer       32 1 28 28      6  5 5  1 2  1
planes      dw       LeNet-5, first layer       32 1 28 28      6  5 5  1 2  1
planes      dx       U-Net of 8 channels        1 8 128 128     8  3 3  1 1  1
planes      forward  blur                       8 1 256 256     1  5 5  1 2  1
planes      forward  RegNet, groups of 8        4 64 56 56     64  3 3  1 1  8
columns     dx       ResNet-18, 4x4, one image  1 256 4 4     256  3 3  1 1  1
columns     dx       ResNet-18, 8x8 to 4x4      1 128 8 8     256  3 3  2 1  1
columns     dx       pix2pix, 4x4 to 2x2        1 512 4 4     512  4 4  2 1  1
columns     dx       LeNet-5, 5x5 to 1x1, one   1 16 5 5      120  5 5  1 0  1
scattered   dx       LeNet-5, second layer      32 6 14 14     16  5 5  1 0  1
scattered   dx       CIFAR-10 tutorial          4 6 14 14      16  5 5  1 0  1
dots        forward  SRCNN, last layer          1 32 128 128    1  5 5  1 2  1
dots        forward  DnCNN, last layer          1 64 128 128    1  3 3  1 1  1
grouped     forward  ResNeXt, 28x28             4 128 28 28   128  3 3  1 1  32
grouped     dx       ResNeXt, 56x56             2 128 56 56   128  3 3  1 1  32
exchanged   dw       DnCNN, last layer          1 64 128 128    1  3 3  1 1  1
exchanged   dw       U-Net, last layer          1 64 256 256    2  1 1  1 0  1
exchanged   dw       style transfer, last layer 1 32 256 256    3  9 9  1 4  1
"""
LEVELS = ("x86-64-v4", "x86-64-v3")
PAGE = ROOT / "docs" / "benchmarks" / "conv2d_algorithms.md"


def call(what: str, shape: list[int]) -> Callable[[], object]:
    n, c, h, w, k, r, s, stride, padding, groups = shape
    rng = np.random.default_rng(0)
    x = in_layout(rng.standard_normal((n, c, h, w), dtype=np.float32), "channels_last")
    weight = rng.standard_normal((k, c // groups, r, s), dtype=np.float32)
    y = _core.conv2d(x, weight, None, stride, padding, 1, groups)
    if what == "forward":
        return lambda: _core.conv2d(x, weight, None, stride, padding, 1, groups)
    dx = what == "dx"
    return lambda: _core.conv2d_backward(y, x, weight, stride, padding, 1, groups, dx, not dx, not dx)


def seconds(f: Callable[[], object], count: int) -> float:
    start = time.thread_time()
    for _ in range(count):
        f()
    return (time.thread_time() - start) / count


def earned(algorithm: str, f: Callable[[], object], rounds: int = 21) -> tuple[float, float]:
    """The median ratio, and the call's seconds."""

    def without(count: int) -> float:
        _core.allow_conv_algorithm(algorithm, False)
        try:
            return seconds(f, count)
        finally:
            _core.allow_conv_algorithm(algorithm, True)

    seconds(f, 1), without(1)
    count = max(1, int(2e-3 / min(seconds(f, 1) for _ in range(3))))
    pairs = [(seconds(f, count), without(count)) for _ in range(rounds)]
    return statistics.median(b / a for a, b in pairs), statistics.median(a for a, _ in pairs)


def measure() -> Iterator[str]:
    yield "| algorithm | computes | layer | shape | x86-64-v4 | x86-64-v3 |"
    yield "|---|---|---|---|---|---|"
    for row in ROWS.strip().splitlines():
        algorithm, what, name = row[:12].strip(), row[12:21].strip(), row[21:48].strip()
        shape = [int(size) for size in row[48:].split()]
        n, c, h, w, k, r, s, stride, _, groups = shape
        text = f"{n},{c},{h},{w} to {k}, {r}x{s}"
        text += (f", stride {stride}" if stride > 1 else "") + (f", {groups} groups" if groups > 1 else "")
        found = []
        for level in LEVELS:
            _core.set_isa(level)
            ratio, time_of_call = earned(algorithm, call(what, shape))
            found.append(f"{ratio:.2f} ({time_of_call * 1e6:.0f} µs)")
        yield f"| {algorithm} | {what} | {name} | {text} | {found[0]} | {found[1]} |"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conv2d_algorithms")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE.relative_to(ROOT)}")
    write = parser.parse_args().write
    _core.set_num_threads(1)
    lines = list(measure())
    print("\n".join(lines))
    if write:
        marked.write(PAGE, "python -m benchmarks.conv2d_algorithms", lines)


if __name__ == "__main__":
    main()
