"""Many small images, such as kernels or the maps of a layer, in one image."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.memory import Array
from ranvier.plot.colours import GRAY, around_zero
from ranvier.plot.figure import bare, colour_bar
from ranvier.plot.style import extremes


def mosaic(tiles: Array, columns: int) -> Array:
    """Tiles (n, h, w) in rows with one pixel between them; gaps are NaN.

    >>> mosaic(np.ones((2, 1, 2)), 2)
    array([[ 1.,  1., nan,  1.,  1.]])
    """
    n, h, w = tiles.shape
    rows = -(-n // columns)
    whole = np.full((rows * (h + 1) - 1, columns * (w + 1) - 1), np.nan)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (h + 1), i % columns * (w + 1)
        whole[top : top + h, left : left + w] = tile
    return whole


def draw_mosaic(ax: Any, tiles: Array, columns: int, **how: Any) -> Any:
    """The image of a mosaic, each tile in a thin frame."""
    from matplotlib.collections import LineCollection

    image = ax.imshow(mosaic(tiles, columns), **how)
    n, h, w = tiles.shape
    corners = np.array([[0, 0], [w, 0], [w, h], [0, h], [0, 0]]) - 0.5
    places = [np.array([i % columns * (w + 1), i // columns * (h + 1)]) for i in range(n)]
    frames = [corners + place for place in places]
    ax.add_collection(LineCollection(frames, colors=GRAY, linewidths=0.5, clip_on=False), autolim=False)
    return image


def draw_maps(ax: Any, maps: Array, columns: int, cmap: str) -> None:
    """Channels (C, height, width) in rows, on one scale, with its colour bar."""
    low, high = extremes(maps)
    how = around_zero(maps) if low < 0 else {"cmap": cmap, "vmin": 0, "vmax": high or 1}
    image = draw_mosaic(ax, maps, columns, **how)
    bare(ax)
    colour_bar(ax, image)
