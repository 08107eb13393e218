"""The machine's limits, measured with the library's threads and instruction set.

``python -m benchmarks.machine`` prints it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from ranvier import _core

# vendor, family, model // 16
GENERATIONS = {
    ("AuthenticAMD", 25, 0): "Zen 3",
    ("AuthenticAMD", 25, 1): "Zen 4",
    ("AuthenticAMD", 26, 0): "Zen 5",
    ("GenuineIntel", 6, 8): "Sapphire Rapids",
    ("GenuineIntel", 6, 12): "Emerald Rapids",
}
FMA_REPEATS = 200_000  # about 1 ms
_FALLBACK_SIZES = {"L2": 1 << 20, "L3": 32 << 20}


def cpu_model() -> str:
    """The model's name with its generation, by which docs/machines.md lists it."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    facts = {name.strip(): value.strip() for name, _, value in lines}
    family, model = int(facts.get("cpu family", 0)), int(facts.get("model", 0))
    generation = GENERATIONS.get((facts.get("vendor_id"), family, model // 16))
    return facts.get("model name", "unknown CPU") + (f" ({generation})" if generation else "")


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Sets the library's number of threads for a block of code."""
    before = _core.get_num_threads()
    _core.set_num_threads(count)
    try:
        yield
    finally:
        _core.set_num_threads(before)


def thread_counts() -> list[int]:
    """One thread, and the library's default number."""
    return sorted({1, len(os.sched_getaffinity(0))})


def fma_peak(dtype: str = "float32", probes: int = 3) -> float:
    """FLOP/s of independent FMA chains in registers, on the threads set now."""
    return max(_core.probe_fma(dtype, FMA_REPEATS) for _ in range(probes))


def bandwidth(working_set: int, kind: str = "read_write", probes: int = 3) -> float:
    """Bytes/s over a buffer of this size; a byte that is read and written counts twice."""
    repeats = max(1, (32 << 20) // max(working_set, 1))
    return median(_core.probe_bandwidth(working_set, repeats, kind) for _ in range(probes))


def barrier_seconds() -> float:
    """From one barrier of an open team to the next: tells whether the cores share a cache at this moment."""
    return float(_core.probe_barrier(2000))


def cache_sizes() -> dict[str, int]:
    """Bytes of one core's L2 and of the L3, from the operating system where it says."""
    sizes = dict(_FALLBACK_SIZES)
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level, size = (index / "level").read_text().strip(), (index / "size").read_text().strip()
        except OSError:
            continue
        if f"L{level}" in sizes and size.endswith("K"):
            sizes[f"L{level}"] = int(size[:-1]) << 10
    return sizes


def working_sets(count: int) -> dict[str, int]:
    """A buffer for each level: half of the L2 caches, half of the L3, four times the L3."""
    sizes = cache_sizes()
    return {"L2": sizes["L2"] // 2 * count, "L3": sizes["L3"] // 2, "DRAM": 4 * sizes["L3"]}


def limits(count: int) -> dict[str, Any]:
    """All of the above on ``count`` threads, in FLOP/s, bytes/s and seconds."""
    with threads(count):
        return {
            "threads": count,
            "fma": {dtype: fma_peak(dtype, 9) for dtype in ("float32", "float64")},
            "bandwidth": {
                level: {kind: bandwidth(size, kind, 5) for kind in ("read", "read_write")}
                for level, size in working_sets(count).items()
            },
            "barrier": barrier_seconds(),
        }


def describe() -> dict[str, Any]:
    """The machine's description in a report: the model name of the CPU, never the host's name."""
    return {"cpu": cpu_model(), "isa": _core.isa(), "limits": [limits(count) for count in thread_counts()]}


def table(machine: dict[str, Any]) -> str:
    """The limits as a Markdown table."""
    lines = [
        "| threads | float32 GFLOP/s | float64 GFLOP/s | L2 GB/s | L3 GB/s | DRAM GB/s | barrier ns |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in machine["limits"]:
        rates = [f"{b['read'] / 1e9:.0f} / {b['read_write'] / 1e9:.0f}" for b in row["bandwidth"].values()]
        flops = [f"{rate / 1e9:.0f}" for rate in row["fma"].values()]
        barrier = f"{row['barrier'] * 1e9:.0f}" if row["threads"] > 1 else ""
        lines.append(f"| {row['threads']} | " + " | ".join([*flops, *rates, barrier]) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    found = describe()
    print(f"{found['cpu']}, {found['isa']}; bandwidth: read / read and write\n\n{table(found)}")
