"""The page of the documentation with the times of eager calls."""

from __future__ import annotations

import statistics
from collections.abc import Iterable

from benchmarks.eager.calls import SIZES
from benchmarks.eager.functions import LENGTHS
from benchmarks.machine import cpu_model

HEAD = """# Eager calls beside PyTorch's

[Summary of all families](../benchmarks.md)

Microseconds of a call, ranvier's / PyTorch's, on one thread. The tensors have 1, 64, 64x64 and 256x256
elements of float32; calls of a network or a distribution have one size, in the column of 64. The operands or
results of the functions in the second table have 10, 100, 10,000 and 1,000,000 elements, of float32, or for
sets of int64, too. One process for each library, in turns, minima of {rounds} rounds; {cpu}; PyTorch {torch}.
The answers are compared first. Calls with the lowest ratio come first.

{calls} calls, {rows} rows: PyTorch's time over ours is {mean:.2f} (geometric mean), {ahead} rows have 0.95 or
more, the lowest is {lowest:.2f}.

```
RANVIER_PEER_TORCH=/its/bin/python python -m benchmarks.eager --page docs/benchmarks/eager.md
```

"""


Row = tuple[str, str, str, float, float]
"""Kind, call, size, our time, PyTorch's."""


def written(table: list[Row], rounds: int, torch: str) -> str:
    """The page. table: the rows, the lowest ratio first."""
    ratios = [there / here for *_, here, there in table]
    head = HEAD.format(
        rounds=rounds,
        cpu=cpu_model(),
        torch=torch,
        calls=len({call for _, call, *_ in table}),
        rows=len(table),
        mean=statistics.geometric_mean(ratios),
        ahead=sum(ratio >= 0.95 for ratio in ratios),
        lowest=min(ratios),
    )
    by_shape = [row for row in table if row[2] not in LENGTHS]
    by_length = [row for row in table if row[2] in LENGTHS]
    return head + lines_of(by_shape, SIZES) + "\n" + lines_of(by_length, LENGTHS)


def lines_of(table: list[Row], sizes: Iterable[str]) -> str:
    """A table with a line for each call, and columns for these sizes."""
    sizes = list(sizes)
    calls: dict[str, dict[str, tuple[float, float]]] = {}
    for _, call, size, here, there in table:
        calls.setdefault(call, {})[size or "64"] = here, there
    lines = [f"| call | {' | '.join(sizes)} | lowest ratio |", "|---" * (len(sizes) + 2) + "|"]
    for call, cells in calls.items():
        pairs = [cells.get(size) for size in sizes]
        row = " | ".join("" if pair is None else f"{pair[0]:.3g} / {pair[1]:.3g}" for pair in pairs)
        lines.append(f"| `{call}` | {row} | {min(there / here for here, there in cells.values()):.2f} |")
    return "\n".join(lines) + "\n"
