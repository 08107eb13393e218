"""The report's pictures, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, log2
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, NullFormatter

from benchmarks.summary import geometric_mean

Record = Mapping[str, Any]

OURS, SLOWER, FASTER, MEMORY = "#30638e", "#d1495b", "#9cc5a1", "#8d96a3"
PEERS = ["#30638e", "#edae49", "#00798c", "#8d96a3", "#7a5c99", "#a0522d", "#e07a5f", "#222222"]
RATIOS = (0.25, 0.5, 0.7, 1, 1.5, 2, 4, 8, 16, 32, 64, 128)
MOST_LABELS = 60  # rows with a label in a roofline
plt.rcParams.update(
    {
        "svg.hashsalt": "ranvier",
        "svg.fonttype": "none",  # text stays text: small files, searchable
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
)


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def ratio_axis(axes: Any, lowest: float, highest: float) -> None:
    """A logarithmic axis of ratios that includes 1."""
    low, high = min(lowest, 0.8) / 1.1, max(highest, 1.25) * 1.1
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    ticks = RATIOS if high < 16 * low else [tick for tick in RATIOS if tick not in (0.7, 1.5)]
    axes.set_xticks([tick for tick in ticks if low <= tick <= high])
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axvline(1, color="black", linewidth=0.8)


def bars(records: Sequence[Record], path: Path) -> None:
    """Left: our speed over each peer's, a bar to the best one. Right: the share of the machine's limit."""
    names = sorted({name for record in records for name in record["ratios"]})
    height = 1.0 + 0.17 * len(records)
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(9, height), sharey=True, gridspec_kw={"width_ratios": [3, 1], "wspace": 0.05}
    )
    every = [ratio for record in records for ratio in record["ratios"].values()] or [1.0]
    for y, record in enumerate(records):
        if record["ratio"] is not None:
            color = FASTER if record["ratio"] >= 1 else SLOWER
            left.barh(y, record["ratio"] - 1, 0.7, left=1, color=color)
        else:
            left.annotate("no peer", (1, y), xytext=(3, -3), textcoords="offset points", color="#888888")
        if record["fraction"] is not None:
            right.barh(
                y,
                100 * record["fraction"],
                0.7,
                color=OURS if record["limited_by"] == "FMA peak" else "#8d96a3",
            )
    ratio_axis(left, min(every), max(every))
    left.set_yticks(range(len(records)), [f"{r['row']}, {r['threads']} thr." for r in records], fontsize=7)
    left.set_ylim(len(records) - 0.4, -0.6)
    left.set_xlabel("speed over the peer's (right of 1: ranvier is faster)")
    right.axvline(100, color="black", linewidth=0.8)
    right.set_xlim(0, max(110, *(105 * (r["fraction"] or 0) for r in records)))
    right.set_xlabel("% of the limit (FMAs: blue)")
    for i, name in enumerate(names):
        points = [(r["ratios"][name], y) for y, r in enumerate(records) if name in r["ratios"]]
        left.scatter(*zip(*points, strict=True), 14, PEERS[i % len(PEERS)], label=name, zorder=3)
    if names:
        anchor = (0.5, 1 + 0.1 / height)
        left.legend(loc="lower center", bbox_to_anchor=anchor, ncols=4, frameon=False, fontsize=7)
    save(figure, path)


def roofline(records: Sequence[Record], limits: Record, path: Path) -> None:
    """FLOP/s over FLOP per byte, under the measured roofs: ours filled, the best peer hollow."""
    dtype = records[0].get("dtype", "float32")
    figure, axes = plt.subplots(figsize=(7.5, max(4.0, 0.13 * min(len(records), MOST_LABELS))))
    low, high = 0.1, 1000.0
    peak = limits["fma"][dtype]
    for level, rates in limits["bandwidth"].items():
        rate = rates["read"]
        ridge = min(max(peak / rate, low), high)
        axes.plot([low, ridge], [low * rate / 1e9, ridge * rate / 1e9], color="#999999", linewidth=1)
        axes.annotate(level, (low * 1.1, low * 1.1 * rate / 1e9), va="bottom", color="#666666")
    axes.plot([low, high], [peak / 1e9, peak / 1e9], color="black", linewidth=1)
    axes.annotate("FMA peak", (high, peak / 1e9), ha="right", va="bottom")
    bottom = figure.get_size_inches()[1]
    for number, record in enumerate(records, 1):
        intensity = record["flops"] / record["moved"]
        rate = record["flops"] / record["ours_seconds"] / 1e9
        axes.plot(intensity, rate, "o", color=OURS, markersize=5)
        axes.annotate(str(number), (intensity, rate), xytext=(4, -9), textcoords="offset points", fontsize=7)
        if number <= MOST_LABELS:
            place = 1 - 0.14 * number / bottom
            axes.text(1.03, place, f"{number}  {record['row']}", transform=axes.transAxes, fontsize=7)
        if record["ratio"]:
            axes.plot(intensity, rate / record["ratio"], "o", color=SLOWER, markersize=5, fillstyle="none")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(1, 2 * peak / 1e9))
    axes.set(xlabel="FLOP per byte moved", ylabel="GFLOP/s")
    count = limits["threads"]
    axes.set_title(f"{count} thread{'s' * (count > 1)}, {dtype}; filled: ranvier, hollow: best peer")
    save(figure, path)


def spread(groups: Mapping[str, Sequence[Record]], path: Path, columns: int = 1) -> None:
    """Each group's ratios to the best peer as dots on a line, the geometric mean as a bar across it."""
    named = [(name, [r["ratio"] for r in rows if r["ratio"] is not None]) for name, rows in groups.items()]
    named = [(name, ratios) for name, ratios in named if ratios]
    each = ceil(len(named) / columns)
    figure, panels = plt.subplots(1, columns, figsize=(9, 0.8 + 0.2 * each), squeeze=False)
    every = [ratio for _, ratios in named for ratio in ratios]
    for column, axes in enumerate(panels[0]):
        part = named[column * each : (column + 1) * each]
        for y, (_, ratios) in enumerate(part):
            colors = [OURS if ratio >= 1 else SLOWER for ratio in ratios]
            axes.scatter(ratios, [y] * len(ratios), 14, colors, alpha=0.45, linewidths=0)
            middle = geometric_mean(ratios)
            axes.plot([middle, middle], [y - 0.35, y + 0.35], color="black", linewidth=1.5)
        ratio_axis(axes, min(every), max(every))
        axes.set_yticks(range(len(part)), [name for name, _ in part], fontsize=7)
        axes.set_ylim(each - 0.4, -0.6)
        axes.grid(axis="y", color="#eeeeee")
        axes.set_axisbelow(True)
        axes.set_xlabel("speed over the best peer's")
    figure.tight_layout()
    save(figure, path)


def libraries(rows: Sequence[tuple[str, Mapping[str, float]]], names: Sequence[str], path: Path) -> None:
    """Draw a bar for each library: its time divided by ours; a library that is faster is red."""
    used = [name for name in names if any(name in ratios for _, ratios in rows)]
    height = 0.8 / len(used)
    figure, axes = plt.subplots(figsize=(9, 0.9 + 0.42 * len(rows)))
    for k, name in enumerate(used):
        bars = [
            (y + (k + 0.5) * height - 0.4, ratios[name])
            for y, (_, ratios) in enumerate(rows)
            if name in ratios
        ]
        places, values = zip(*bars, strict=True)
        colors = [PEERS[k + 1] if value >= 1 else SLOWER for value in values]
        axes.barh(places, [value - 1 for value in values], height, left=1, color=colors)
        axes.barh([0], [0], height, left=1, color=PEERS[k + 1], label=name)
        for place, value in bars:
            axes.annotate(
                f"{value:g}", (max(value, 1), place), xytext=(3, -2.5), textcoords="offset points", fontsize=6
            )
    every = [ratio for _, ratios in rows for ratio in ratios.values()]
    ratio_axis(axes, min(every), max(every))
    axes.set_yticks(range(len(rows)), [title for title, _ in rows], fontsize=8)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlabel("time of the library over ranvier's (right of 1: ranvier is faster)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=len(used), frameon=False)
    save(figure, path)


def widths(panels: Mapping[str, Mapping[tuple[int, int], float]], path: Path) -> None:
    """A map for each title: the ratio for each width and batch; blue: ours is faster, red: slower."""
    figure, axes = plt.subplots(1, len(panels), figsize=(4.6 * len(panels), 3.4), squeeze=False)
    for place, (title, ratios) in zip(axes[0], panels.items(), strict=True):
        columns, rows = (sorted({key[i] for key in ratios}) for i in (0, 1))
        image = [[log2(ratios.get((width, batch), 1)) for width in columns] for batch in rows]
        place.imshow(image, cmap="RdBu", vmin=-3, vmax=3, origin="lower", aspect="auto")
        for (width, batch), ratio in ratios.items():
            color = "white" if abs(log2(ratio)) > 1.8 else "black"
            at = columns.index(width), rows.index(batch)
            place.annotate(f"{ratio:.2g}", at, color=color, ha="center", va="center", fontsize=7)
        place.set_xticks(range(len(columns)), columns)
        place.set_yticks(range(len(rows)), rows)
        place.set(title=title, xlabel="inputs, and units of each hidden layer", ylabel="batch")
    figure.tight_layout()
    save(figure, path)
