"""The report's pictures, as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

Record = Mapping[str, Any]

OURS, PEERS = "#d1495b", ["#30638e", "#edae49", "#00798c", "#8d96a3", "#7a5c99", "#5b8c5a", "#a0522d"]
plt.rcParams.update(
    {"svg.hashsalt": "ranvier", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
)


def save(figure: Any, path: Path) -> None:
    figure.savefig(path, format="svg", bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def bars(records: Sequence[Record], path: Path) -> None:
    """Speed of every participant in each row, ours being 1."""
    names = sorted({name for record in records for name in record["ratios"]})
    height = 0.8 / (len(names) + 1)
    figure, axes = plt.subplots(figsize=(7.5, 0.6 + 0.13 * len(records) * (len(names) + 2)))
    for i, name in enumerate(["ranvier", *names]):
        rows = [(y, r) for y, r in enumerate(records) if i == 0 or name in r["ratios"]]
        places = [y + (i - len(names) / 2) * height for y, _ in rows]
        speeds = [1 if i == 0 else 1 / r["ratios"][name] for _, r in rows]
        axes.barh(places, speeds, height, label=name, color=OURS if i == 0 else PEERS[(i - 1) % len(PEERS)])
    axes.set_yticks(range(len(records)), [f"{r['row']}, {r['threads']} thr." for r in records])
    axes.set_ylim(len(records) - 0.5, -0.5)
    axes.axvline(1, color=OURS, linewidth=0.8)
    axes.set_xlabel("speed, ranvier = 1 (longer is faster)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, frameon=False)
    save(figure, path)


def roofline(records: Sequence[Record], limits: Record, path: Path) -> None:
    """FLOP/s over FLOP per byte, under the measured roofs: ours filled, the best peer hollow."""
    figure, axes = plt.subplots(figsize=(7.5, 4))
    low, high = 0.1, 1000.0
    peak = limits["fma"]["float32"]
    for level, rates in limits["bandwidth"].items():
        rate = rates["read"]
        ridge = min(max(peak / rate, low), high)
        axes.plot([low, ridge], [low * rate / 1e9, ridge * rate / 1e9], color="#999999", linewidth=1)
        axes.annotate(level, (low * 1.1, low * 1.1 * rate / 1e9), va="bottom", color="#666666")
    axes.plot([low, high], [peak / 1e9, peak / 1e9], color="black", linewidth=1)
    axes.annotate("FMA peak", (high, peak / 1e9), ha="right", va="bottom")
    for number, record in enumerate(records, 1):
        intensity = record["flops"] / record["moved"]
        rate = record["flops"] / record["ours_seconds"] / 1e9
        axes.plot(intensity, rate, "o", color=OURS, markersize=5)
        axes.annotate(str(number), (intensity, rate), xytext=(4, -9), textcoords="offset points", fontsize=7)
        label = f"{number}  {record['row']}"
        axes.text(1.03, 1 - 0.055 * number, label, transform=axes.transAxes, fontsize=7)
        if record["ratio"]:
            axes.plot(intensity, rate / record["ratio"], "o", color=PEERS[0], markersize=5, fillstyle="none")
    axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(1, 2 * peak / 1e9))
    axes.set(xlabel="FLOP per byte moved", ylabel="GFLOP/s")
    axes.set_title(
        f"{limits['threads']} thread{'s' * (limits['threads'] > 1)}; filled: ranvier, hollow: best peer"
    )
    save(figure, path)
