"""Eager calls of functions of sets, sums and positions, by the number of their elements, as text.

The calls are the same for ranvier and PyTorch.

`t` is the library, `F` its functional part. The other names are those of `sized_operands`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

LENGTHS = {"10": 10, "100": 100, "10,000": 10_000, "1,000,000": 1_000_000}

# by kind: the calls of all lengths
FUNCTIONS: dict[str, tuple[str, ...]] = {
    "sets": (
        "whole.unique()",
        "whole.unique(return_inverse=True)",
        "whole.unique(return_counts=True)",
        "few.unique()",
        "few.unique(return_inverse=True)",
        "x.unique()",
        "x.unique(return_inverse=True)",
        "pairs.unique(dim=0)",
        "ordered.unique_consecutive()",
        "ordered.unique_consecutive(return_inverse=True)",
        "ordered.unique_consecutive(return_counts=True)",
        "x.mode().values",
        "whole.mode().values",
        "few.mode().values",
        "rows.mode(1).values",
        "t.bincount(few)",
        "t.bincount(whole)",
        "t.histogram(x, 100)",
        "t.histogram(x, 20, range=(0.2, 0.8))",
        "t.histogram(x, edges)",
        "t.histc(x, 100)",
    ),
    "sums": (
        "t.nansum(x)",
        "t.nansum(gaps)",
        "t.nansum(rows, 1)",
        "t.nansum(rows, 0)",
        "t.trapezoid(x)",
        "t.trapezoid(x, points)",
        "t.trapezoid(rows, dim=0)",
        "g.prod().backward()",
        "g_rows.prod(1).sum().backward()",
    ),
    "elements": ("t.nan_to_num(x)", "t.nan_to_num(gaps)", "t.nan_to_num(gaps, 0.0, 1.0, -1.0)"),
    "positions and products": (
        "t.combinations(some)",
        "t.combinations(some, with_replacement=True)",
        "t.combinations(less, 3)",
        "t.tril_indices(side, side)",
        "t.triu_indices(side, side)",
        "t.triu_indices(side, side, 1)",
        "t.outer(column, column)",
        "t.kron(square, square)",
        "t.block_diag(column, square, square)",
    ),
    "windows": (
        "F.max_pool1d(signal, 2)",
        "F.max_pool1d(signal, 3, 2, 1)",
        "F.max_pool1d(signal, 3, 1)",
    ),
}


def sized_operands(t: Any, length: int) -> dict[str, Any]:
    """The operands of calls of this length, whose results or operands have about so many elements."""
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 0.9, length).astype(np.float32)
    near_one = rng.uniform(0.999, 1.001, length).astype(np.float32)
    gaps = values.copy()
    gaps[rng.integers(0, length, max(1, length // 20))] = np.nan
    gaps[rng.integers(0, length, max(1, length // 50))] = np.inf
    side = math.isqrt(length)
    corner = math.isqrt(side)
    width = max(2, side // 2 * 2)
    rows = values[: length // width * width].reshape(-1, width)
    steps = rng.uniform(0.1, 0.9, length).cumsum().astype(np.float32)
    return {
        "t": t,
        "F": t.nn.functional,
        "side": side,
        "x": t.tensor(values),
        "gaps": t.tensor(gaps),
        "points": t.tensor(steps),
        "rows": t.tensor(rows),
        "g": t.tensor(near_one, requires_grad=True),
        "g_rows": t.tensor(near_one[: rows.size].reshape(rows.shape), requires_grad=True),
        "whole": t.tensor(rng.integers(0, length, length)),
        "few": t.tensor(rng.integers(0, 50, length)),
        "ordered": t.tensor(np.sort(rng.integers(0, length // 3 + 1, length))),
        "pairs": t.tensor(rng.integers(0, side, (length // 2, 2))),
        "edges": t.tensor(np.linspace(0.1, 0.9, 65).astype(np.float32)),
        "some": t.tensor(values[: math.isqrt(2 * length)]),
        "less": t.tensor(values[: max(3, round((6 * length) ** (1 / 3)))]),
        "column": t.tensor(values[:side]),
        "square": t.tensor(values[: corner * corner].reshape(corner, corner)),
        "signal": t.tensor(np.resize(values, (1, 4, max(4, length // 4)))),
    }
