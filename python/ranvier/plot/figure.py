"""The look of every picture, in one place: figures and their sizes, colours, labels, grids.

The colours are those of Okabe and Ito (2008), which people who confuse red and green tell apart too; what a
picture says by colour it also says by a mark, a dash or a word.
"""

from __future__ import annotations

import io
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ranvier.serialization import files

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    Panels: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # of Axes

__all__ = ["require_matplotlib"]

Path: TypeAlias = str | os.PathLike[str]

BLUE, RED, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, BLACK, YELLOW = "#E69F00", "#56B4E9", "#222222", "#F0E442"
GRAY, LIGHT = "#767676", "#D9D9D9"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
MARKERS = "osD^vPX*"
RIGHT, WRONG = "#007A59", "#C24A00"  # dark enough for text on white

AMOUNTS = "viridis"  # from nothing to much
SIGNED = "RdBu_r"  # white at 0, see `around_zero`
SHARES = "Blues"  # under black or white numbers
PIXELS = "gray"

PANEL = (4.8, 3.6)  # inches: a curve with its labels
TITLE, TEXT, SMALL = 11, 9.5, 8.5  # points


def require_matplotlib(name: str) -> None:
    """Raise ImportError with the pip line if matplotlib is missing; `name` is who asks."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ImportError(f"[{name}] pictures need matplotlib: pip install 'ranvier[plot]'") from None


def new_figure(
    name: str,
    size: tuple[float, float],
    path: Path | None = None,
    layout: Literal["constrained", "compressed"] = "constrained",
) -> Figure:
    """An empty figure of `size` inches.

    Made through pyplot, so that `pyplot.show()` or a notebook shows it, only where the program uses pyplot
    and the picture is not for a file: pyplot picks a window system, and keeps figures until they are closed.
    """
    require_matplotlib(name)
    if path is None and not {"matplotlib.pyplot", "ipykernel"}.isdisjoint(sys.modules):
        from matplotlib import pyplot

        return pyplot.figure(figsize=size, layout=layout)
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout=layout)


def one_axes(name: str, ax: Axes | None, path: Path | None, size: tuple[float, float] = PANEL) -> Axes:
    """`ax`, or the Axes of a new figure."""
    if ax is None:
        return new_figure(name, size, path, "compressed").subplots()
    if not hasattr(ax, "plot"):
        raise TypeError(f"[{name}] got ax of type {type(ax).__name__}; expected a matplotlib Axes")
    return ax


def several_axes(
    name: str,
    figure: Figure | SubFigure | None,
    path: Path | None,
    rows: int,
    columns: int,
    size: tuple[float, float] = PANEL,
    **how: Any,
) -> Panels:
    """Axes (rows, columns) in `figure`, or in a new one with `size` inches for each."""
    if figure is None:
        figure = new_figure(name, (size[0] * columns, size[1] * rows), path)
    elif not hasattr(figure, "subplots"):
        raise TypeError(f"[{name}] got figure of type {type(figure).__name__}; expected a matplotlib Figure")
    panels: Panels = figure.subplots(rows, columns, squeeze=False, **how)
    return panels


def label(ax: Axes, title: str = "", x: str = "", y: str = "", grid: str | None = "both") -> None:
    """Title, axis labels, and a quiet frame: grid "both", "x" or "y" behind the data, or None."""
    ax.set_title(title, fontsize=TITLE)
    ax.set_xlabel(x, fontsize=TEXT)
    ax.set_ylabel(y, fontsize=TEXT)
    ax.tick_params(labelsize=SMALL)
    ax.grid(False)
    if grid is not None:
        ax.set_axisbelow(True)
        ax.grid(True, axis=grid, color=LIGHT, linewidth=0.6)  # type: ignore[arg-type]
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(GRAY)


def legend(ax: Axes, **how: Any) -> None:
    ax.legend(fontsize=SMALL, frameon=True, framealpha=0.85, edgecolor="none", **how)


def bare(ax: Axes) -> None:
    """No ticks and no frame: for images and diagrams. Title and axis labels stay."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def whole_numbers(axis: Any) -> None:
    """Ticks of an `ax.xaxis` or `ax.yaxis` at whole numbers only (epochs, units)."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def colour_bar(ax: Axes, image: Any, text: str = "") -> None:
    """The scale of an image's colours, at its right and as high as it is."""
    height, *width = getattr(image.get_array(), "shape", (1,))
    wide = 0.04 * height / width[0] if ax.get_aspect() == 1 and width else 0.04
    room = ax.inset_axes((1.02, 0.04, min(max(wide, 0.015), 0.08), 0.92))
    bar = ax.figure.colorbar(image, cax=room, format="%.3g")
    bar.set_label(text, fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)


def extremes(values: Any) -> tuple[float, float]:
    """The least and the largest finite value; 0 and 0 if there is none."""
    import numpy as np

    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)


def number(value: float, most: float) -> str:
    """`value` for a small cell: as many digits as count beside the largest: 3e-5 beside 1 is 0."""
    import math

    if not 1e-4 < most < 1e5:
        return f"{value:.2g}"
    places = max(0, 2 - math.floor(math.log10(most)) - (most < 1))
    return f"{round(value, places) + 0.0:.6g}"  # 0.0 makes 0 of -0


def around_zero(values: Any) -> dict[str, Any]:
    """How `imshow` and the like draw signed values: red above 0, blue below, white at 0, NaN left out."""
    most = max(map(abs, extremes(values))) or 1.0
    return {"cmap": SIGNED, "vmin": -most, "vmax": most}


def colours(count: int) -> Sequence[Any]:
    """Colours for so many classes or curves: told apart by everyone up to 8, a rainbow beyond."""
    if count <= len(COLOURS):
        return COLOURS[:count]
    from matplotlib import colormaps

    return [colormaps["turbo"](0.03 + 0.94 * i / (count - 1)) for i in range(count)]


def finish(axes: Any, path: Path | None) -> Any:
    """Save the figure that `axes` (one, or an array of them) is in, if there is a path; returns `axes`."""
    if path is not None:
        first = axes.flat[0] if hasattr(axes, "flat") else axes
        file = pathlib.Path(path)
        if not file.suffix:
            file = file.with_suffix(".png")
        content = io.BytesIO()  # written as a whole, so that a full disk leaves the old picture
        first.figure.savefig(content, format=file.suffix[1:], dpi=150)
        files.replace(file, content.getvalue())
    return axes
