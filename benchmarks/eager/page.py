"""The page of the documentation with the times of eager calls."""

from __future__ import annotations

import statistics

from benchmarks.eager.calls import SIZES
from benchmarks.machine import cpu_model

HEAD = """# Eager calls beside PyTorch's

[Summary of all families](../benchmarks.md)

Microseconds of a call, ranvier's / PyTorch's, on one thread. The tensors have 1, 64, 64x64 and 256x256
elements of float32; calls of a network or a distribution have one size, in the column of 64. One process for
each library, in turns, minima of {rounds} rounds; {cpu}; PyTorch {torch}. The answers are compared first.
Calls with the lowest ratio come first.

{calls} calls, {rows} rows: PyTorch's time over ours is {mean:.2f} (geometric mean), {ahead} rows have 0.95 or
more, the lowest is {lowest:.2f}.

```
RANVIER_PEER_TORCH=/its/bin/python python -m benchmarks.eager --page docs/benchmarks/eager.md
```

"""


def written(table: list[tuple[str, str, str, float, float]], rounds: int, torch: str) -> str:
    """A line for each call. table: kind, call, size, our time, PyTorch's, the lowest ratio first."""
    ratios = [there / here for *_, here, there in table]
    calls: dict[str, dict[str, tuple[float, float]]] = {}
    for _, call, size, here, there in table:
        calls.setdefault(call, {})[size or "64"] = here, there
    lines = [f"| call | {' | '.join(SIZES)} | lowest ratio |", "|---" * (len(SIZES) + 2) + "|"]
    for call, cells in calls.items():
        pairs = [cells.get(size) for size in SIZES]
        row = " | ".join("" if pair is None else f"{pair[0]:.3g} / {pair[1]:.3g}" for pair in pairs)
        lines.append(f"| `{call}` | {row} | {min(there / here for here, there in cells.values()):.2f} |")
    head = HEAD.format(
        rounds=rounds,
        cpu=cpu_model(),
        torch=torch,
        calls=len(calls),
        rows=len(table),
        mean=statistics.geometric_mean(ratios),
        ahead=sum(ratio >= 0.95 for ratio in ratios),
        lowest=min(ratios),
    )
    return head + "\n".join(lines) + "\n"
