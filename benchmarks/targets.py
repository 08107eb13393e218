"""The targets as data: a choice of rows, a measure of them, and the wanted figure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import summary

Record = Mapping[str, Any]

MATMULS = {
    *("10x128x32", "32x784x128", "64x64x64", "128x128x128", "128x784x128", "256x256x256", "512x512x512"),
    *("1024x1024x1024", "2048x2048x2048", "64x4096x4096", "1x1024x1024", "3136x576x64"),
}
LAYERS = {
    "32,1,28,28 to 32, 3x3, stride 1, pad 0, groups 1",
    "32,32,13,13 to 64, 3x3, stride 1, pad 0, groups 1",
    "8,64,56,56 to 64, 3x3, stride 1, pad 1, groups 1",
    "8,128,28,28 to 128, 3x3, stride 1, pad 1, groups 1",
    "8,256,14,14 to 256, 3x3, stride 1, pad 1, groups 1",
    "8,512,7,7 to 512, 3x3, stride 1, pad 1, groups 1",
    "8,64,56,56 to 256, 1x1, stride 1, pad 0, groups 1",
    "8,1024,14,14 to 256, 1x1, stride 1, pad 0, groups 1",
    "8,3,224,224 to 64, 7x7, stride 2, pad 3, groups 1",
    "8,96,56,56 to 96, 3x3, stride 1, pad 1, groups 96",
    "128,64,32,32 to 64, 3x3, stride 1, pad 1, groups 1",
}
OTHERS = re.compile(
    r"max_pool2d(_backward)? (32x32x26x26|8x64x112x112) (nchw|channels_last)$"
    r"|(activation|elementwise) (relu|sigmoid|tanh|exp|gelu)( forward| out)? (1048576|1024x1024)$"
    r"|loss cross_entropy gradient (32x10|128x1000|4096x1000)$"
    r"|softmax softmax forward 4096x1000$"
    r"|batch_norm(_backward)? 32x64x32x32 (nchw|channels_last)$"
)
# those of them that are bound by memory
COPYING = re.compile(r"max_pool2d|(activation|elementwise) relu|batch_norm|softmax softmax")
# captured steps and predictions: how many times as fast as the best peer
STEPS = {
    "tabular, batch 32": 5.0,
    "mlp, batch 32": 3.0,
    "mlp, batch 128": 2.0,
    "cnn, batch 32": 4.0,
    "cnn, batch 128": 4.0,
}
PREDICTIONS = {"mlp, batch 1": 1.2, "mlp, batch 32": 1.2, "cnn, batch 1": 1.2, "cnn, batch 32": 1.2}
PRODUCTS = "numpy|torch"
# why targets are not met; docs/design/matmul.md and docs/benchmarks/conv2d_algorithms.md have the rows
CAUSES = {
    "step": "most of the step is matrix products, at which the peers are as fast",
    "stores": "a 1x1 convolution to 256 channels waits for the stores of its result",
    "groups": "groups of 8 inputs have few products for each row of a tile",
    "spread": "a row or two, by as much as runs of the same code differ",
    "par": "all libraries are near the same limit",
    "cache": "64x4096x4096 and 1x1024x1024 on two threads: the matrix comes from the last cache",
    "large": "cause not known: tiles alone reach 98 %, whole products do not",
    "one row": "1x784x128: a row has the bits that it has in a batch, so its sums have a fixed order",
}


@dataclass(frozen=True)
class Target:
    """One line of the table of targets."""

    what: str
    chosen: Callable[[Record], bool]
    measure: str  # "lowest ratio", "mean ratio" or "lowest share of the limit"
    wanted: float
    peers: str = ""  # count only these peers, a regular expression
    cause: str = "cause not known"  # why it is not met, as far as it was looked for

    def figures(self, records: Sequence[Record]) -> list[float]:
        if self.measure == "lowest share of the limit":
            return [r["fraction"] for r in records if self.chosen(r) and r["fraction"] is not None]
        named = [
            [ratio for name, ratio in r["ratios"].items() if re.match(self.peers, name)]
            for r in records
            if self.chosen(r)
        ]
        return [min(ratios) for ratios in named if ratios]

    def reached(self, records: Sequence[Record]) -> float | None:
        figures = self.figures(records)
        if not figures:
            return None
        return summary.geometric_mean(figures) if self.measure == "mean ratio" else min(figures)


def of(op: str, isa: str, dtype: str = "float32", rows: set[str] | None = None) -> Callable[[Record], bool]:
    """True if a record is one of the op's, at the level, in the dtype, and (where given) one of the rows."""

    def chosen(r: Record) -> bool:
        return (r["op"], r["isa"], r["dtype"]) == (op, isa, dtype) and (rows is None or r["row"] in rows)

    return chosen


def large(record: Record) -> bool:
    sizes = re.fullmatch(r"(\d+)x(\d+)x(\d+)", record["row"])
    return sizes is not None and min(map(int, sizes.groups())) >= 512


def networks(isa: str) -> list[Target]:
    """The targets of whole networks."""
    steps, found = of("train_step", isa), []
    for row, wanted in STEPS.items():
        chosen, cause = of("train_step", isa, rows={row}), CAUSES["step"]
        found.append(Target(f"captured training step: {row}", chosen, "lowest ratio", wanted, cause=cause))

    def other(r: Record) -> bool:
        return steps(r) and r["row"] not in STEPS

    predictions = of("inference", isa, rows=set(PREDICTIONS))
    eager = of("train_step, eager", isa)
    return [
        *found,
        Target("captured training steps, other networks and batches", other, "lowest ratio", 1.0),
        Target("predictions, listed, against onnxruntime", predictions, "lowest ratio", 1.2, "onnxruntime"),
        Target("eager training steps against torch", eager, "lowest ratio", 1.0, "torch"),
    ]


def targets(isa: str) -> list[Target]:
    """All of them, for a machine whose own ISA level this is."""
    matmul, conv, backward = of("matmul", isa), of("conv2d", isa), of("conv2d_backward", isa)
    matmuls = of("matmul", isa, rows=MATMULS)
    layers, layers_back = of("conv2d", isa, rows=LAYERS), of("conv2d_backward", isa, rows=LAYERS)
    v3 = "x86-64-v3"

    def other(r: Record) -> bool:
        own = (r["isa"], r["dtype"]) == (isa, "float32")
        return own and OTHERS.match(f"{r['op']} {r['row']}") is not None

    def copying(r: Record) -> bool:
        return other(r) and COPYING.match(f"{r['op']} {r['row']}") is not None

    return [
        *networks(isa),
        Target("conv2d, listed layers", layers, "mean ratio", 1.15),
        Target("conv2d, listed layers", layers, "lowest ratio", 0.95, cause=CAUSES["stores"]),
        Target("conv2d, all layers", conv, "lowest ratio", 0.95, cause=CAUSES["groups"]),
        Target("conv2d backward, listed layers", layers_back, "mean ratio", 1.3),
        Target("conv2d backward, listed layers", layers_back, "lowest ratio", 1.0),
        Target("conv2d backward, all layers", backward, "lowest ratio", 1.0, cause=CAUSES["spread"]),
        Target("pooling, activations, softmax, loss, batch norm, listed", other, "mean ratio", 1.5),
        Target(
            "pooling, activations, softmax, loss, batch norm, listed",
            other,
            "lowest ratio",
            1.0,
            cause=CAUSES["spread"],
        ),
        Target("those bound by memory, listed", copying, "lowest share of the limit", 0.85),
        Target("matmul, listed sizes", matmuls, "mean ratio", 1.15, cause=CAUSES["par"]),
        Target("matmul, listed sizes", matmuls, "lowest ratio", 0.97, cause=CAUSES["cache"]),
        Target("matmul, all sizes", matmul, "lowest ratio", 0.97, cause=CAUSES["one row"]),
        Target(
            "matmul, m, k and n from 512",
            lambda r: matmul(r) and large(r),
            "lowest share of the limit",
            0.95,
            cause=CAUSES["large"],
        ),
        Target("matmul at x86-64-v3", of("matmul", v3), "lowest ratio", 1.0, PRODUCTS, CAUSES["one row"]),
        Target(
            "matmul at x86-64-v3, 1024x1024x1024",
            of("matmul", v3, rows={"1024x1024x1024"}),
            "lowest share of the limit",
            0.9,
            cause=CAUSES["large"],
        ),
        Target("matmul in float64", of("matmul", isa, "float64"), "lowest ratio", 1.0, PRODUCTS),
        Target("conv2d in float64", of("conv2d", isa, "float64"), "lowest ratio", 1.0, "torch"),
        Target(
            "conv2d backward in float64", of("conv2d_backward", isa, "float64"), "lowest ratio", 1.0, "torch"
        ),
    ]


def table(records: Sequence[Record], isa: str) -> list[str]:
    """The targets and the figures, as Markdown."""
    races = summary.races(records)
    counts = sorted({r["threads"] for r in races})
    head = ["target", "measure", "wanted", *(f"{n} thread{'s' * (n > 1)}" for n in counts), "rows", "met"]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for target in targets(isa):
        found = [target.reached([r for r in races if r["threads"] == n]) for n in counts]
        known = [value for value in found if value is not None]
        met = "yes" if known and min(known) >= target.wanted else f"**no**: {target.cause}"
        met = met if known else "not measured"
        cells = [target.what, target.measure, figure(target.wanted, target.measure)]
        cells += ["" if value is None else figure(value, target.measure) for value in found]
        lines.append("| " + " | ".join([*cells, str(len(target.figures(races))), met]) + " |")
    return lines


def figure(value: float, measure: str) -> str:
    return f"{value:.0%}" if measure == "lowest share of the limit" else f"{value:.2f}"
