"""Marks, sizes and numbers of all pictures."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

MARKERS = "osD^vPX*"
PANEL = (4.8, 3.6)  # inches: a curve with its labels
TITLE, TEXT, SMALL = 11, 9.5, 8.5  # points


def extremes(values: Any) -> tuple[float, float]:
    """The least and the largest finite value; 0 and 0 if there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def number(value: float, most: float) -> str:
    """`value` for a small cell, with the digits that matter next to the largest: 3e-5 next to 1 is 0."""
    if not 1e-4 < most < 1e5:
        return f"{value:.2g}"
    places = max(0, 2 - math.floor(math.log10(most)) - (most < 1))
    return f"{round(value, places) + 0.0:.6g}"  # + 0.0 turns -0 into 0
