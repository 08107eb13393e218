"""Colours of all pictures.

They are those of Okabe and Ito (2008), which people with red-green colour blindness can distinguish. What a
picture shows by colour it also shows by a mark, a dash or a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ranvier.plot.style import extremes

BLUE, RED, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#222222", "#F0E442"
GRAY, LIGHT = "#767676", "#D9D9D9"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
RIGHT, WRONG = "#007A59", "#C24A00"  # dark enough for text on white

AMOUNTS = "viridis"  # from 0 upwards
SIGNED = "RdBu_r"  # white at 0, see `around_zero`
SHARES = "Blues"  # under black or white numbers
PIXELS = "gray"


def around_zero(values: Any) -> dict[str, Any]:
    """Arguments of `imshow` for signed values: red above 0, blue below, white at 0, NaN empty."""
    most = max(map(abs, extremes(values))) or 1.0
    return {"cmap": SIGNED, "vmin": -most, "vmax": most}


def colours(count: int) -> Sequence[Any]:
    """Colours for `count` classes or curves: up to 8 that everyone can distinguish, a rainbow for more."""
    if count <= len(COLOURS):
        return COLOURS[:count]
    from matplotlib import colormaps

    return [colormaps["turbo"](0.03 + 0.94 * i / (count - 1)) for i in range(count)]
