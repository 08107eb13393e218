"""What all pictures share: figures and Axes, colours, marks and sizes; checks of arguments.

The other modules of this folder import it as `fig`. The argument `name` of its functions is the name of the
public function, such as "plot.graph", for error messages. A public function takes its Axes from `one_axes`
or `grid_axes`, draws, and returns `finish(axes, path)`.

The colours are those of Okabe and Ito (2008), which people with red-green colour blindness can distinguish.
What a picture shows by colour it also shows by a mark, a dash or a word. matplotlib is imported at the first
picture; in signatures, its classes are for type checkers.
"""

from __future__ import annotations

import io
import math
import os
import pathlib
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

import numpy as np

from ranvier.autograd import Tensor
from ranvier.extension import optional
from ranvier.serialization.files import replace
from ranvier.tensors.memory import Array
from ranvier.tensors.types import ArrayLike

__all__ = ["require_matplotlib"]

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis
    from matplotlib.figure import Figure as Figure
    from matplotlib.image import AxesImage
else:
    Axes = Axis = Figure = Any

Panels: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""An array (n,) of Axes."""

Path: TypeAlias = str | os.PathLike[str]
"""Where a picture is saved."""

MARKERS = "osD^vPX*"  # one for each of COLOURS
PANEL = (4.8, 3.6)  # width and height in inches of a curve with its labels
# sizes of fonts in points
TITLE = 11
TEXT = 9.5
SMALL = 8.5


def extremes(values: Array) -> tuple[float, float]:
    """The least and the largest finite value; 0 and 0 if there is none."""
    finite = values[np.isfinite(values)]
    if finite.size:
        return (float(finite.min()), float(finite.max()))
    return (0.0, 0.0)


def number(value: float, most: float) -> str:
    """`value` as a short text, with the digits that matter beside the largest value: 3e-5 beside 1 is 0."""
    if not 1e-4 < most < 1e5:
        return f"{value:.2g}"
    exponent = math.floor(math.log10(most))
    if most < 1:
        decimals = 1 - exponent
    else:
        decimals = max(0, 2 - exponent)
    rounded = round(value, decimals) + 0.0  # which turns -0 into 0
    return f"{rounded:.6g}"


BLUE = "#0072B2"
RED = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
ORANGE = "#E69F00"
SKY = "#56B4E9"
BLACK = "#222222"
YELLOW = "#F0E442"
GRAY = "#767676"
LIGHT = "#D9D9D9"
COLOURS = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, BLACK, YELLOW)
WRONG = "#C24A00"  # dark enough for text on white

AMOUNTS = "viridis"  # from 0 upwards
SIGNED = "RdBu"  # white at 0, see `around_zero`
SHARES = "Blues"  # under black or white numbers
PIXELS = "gray"


def around_zero(values: Array) -> dict[str, Any]:
    """Arguments of `imshow` for signed values: blue above 0, red below, white at 0, NaN empty."""
    most = max(map(abs, extremes(values))) or 1.0
    return {"cmap": SIGNED, "vmin": -most, "vmax": most}


def colours(count: int) -> Sequence[Any]:
    """Colours for `count` classes or curves: up to 8 that everyone can distinguish, a rainbow for more."""
    if count <= len(COLOURS):
        return COLOURS[:count]
    from matplotlib import colormaps

    rainbow = colormaps["turbo"]
    return [rainbow(place) for place in np.linspace(0.03, 0.97, count)]  # without its darkest ends


def require_matplotlib(name: str) -> None:
    """Raise the ImportError of `name`, with the pip command, if matplotlib is missing."""
    optional("matplotlib", f"[{name}] pictures need matplotlib: pip install 'ranvier[plot]'")


def new_figure(
    name: str,
    size: tuple[float, float],
    path: Path | None = None,
    layout: Literal["constrained", "compressed"] = "constrained",
) -> Figure:
    """An empty figure of `size` inches.

    It is made with pyplot, so that `pyplot.show()` or a notebook shows it, only if the program uses pyplot
    and the picture is not saved: pyplot selects a window system, and keeps figures until they are closed. A
    program that imports pyplot later finds the last figure there, for `pyplot.savefig`.
    """
    require_matplotlib(name)
    if path is None and not {"matplotlib.pyplot", "ipykernel"}.isdisjoint(sys.modules):
        from matplotlib import pyplot

        return pyplot.figure(figsize=size, layout=layout)
    from matplotlib import figure

    made = figure.Figure(figsize=size, layout=layout)
    if path is None:
        _make_current(made)
    return made


def _make_current(made: Figure) -> None:
    """Make this the current figure of pyplot, in place of the last one made current in this way."""
    from matplotlib._pylab_helpers import Gcf
    from matplotlib.backend_bases import FigureManagerBase

    Gcf.figs.pop(1, None)
    Gcf._set_new_active_manager(FigureManagerBase(made.canvas, 1))


def one_axes(name: str, ax: Axes | None, path: Path | None, size: tuple[float, float] = PANEL) -> Axes:
    """`ax`, or the Axes of a new figure."""
    if ax is None:
        return new_figure(name, size, path, "compressed").subplots()
    if not hasattr(ax, "plot"):
        raise TypeError(f"[{name}] got ax of type {type(ax).__name__}; expected a matplotlib Axes")
    return ax


def grid_axes(
    name: str,
    figure: Figure | None,
    path: Path | None,
    count: int,
    columns: int = 3,
    size: tuple[float, float] = PANEL,
) -> Panels:
    """`count` Axes in rows of at most `columns`, in `figure` or in a new one with `size` inches for each."""
    columns = min(columns, count)
    rows = math.ceil(count / columns)
    if figure is None:
        figure = new_figure(name, (size[0] * columns, size[1] * rows), path)
    elif not hasattr(figure, "subplots"):
        raise TypeError(f"[{name}] got figure of type {type(figure).__name__}; expected a matplotlib Figure")
    panels: Panels = figure.subplots(rows, columns, squeeze=False).reshape(-1)
    for spare in panels[count:]:
        spare.remove()
    return panels[:count]


def label(ax: Axes, title: str = "", x: str = "", y: str = "", grid: str | None = "both") -> None:
    """Title, axis labels and frame; `grid` "both", "x", "y" or None draws grid lines below the data."""
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


def legend(ax: Axes, **settings: Any) -> None:
    """A legend in the common style; settings: further arguments of `ax.legend`."""
    ax.legend(fontsize=SMALL, frameon=True, framealpha=0.85, edgecolor="none", **settings)


def bare(ax: Axes) -> None:
    """Remove ticks and frame, for images and diagrams; title and axis labels stay."""
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_visible(False)


def whole_numbers(axis: Axis) -> None:
    """Ticks of an `ax.xaxis` or `ax.yaxis` at whole numbers only (epochs, units)."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


def colour_bar(ax: Axes, image: AxesImage, text: str = "") -> None:
    """The colour scale of an image (the result of `ax.imshow`), at its right with its height."""
    width = 0.04  # as a share of the width of the Axes
    if ax.get_aspect() == 1:  # pixels are squares: a wide image has low Axes, whose scale is narrower
        image_height, image_width = image.get_size()
        width = min(max(width * image_height / image_width, 0.015), 0.08)
    place = ax.inset_axes((1.02, 0.04, width, 0.92))
    bar = ax.figure.colorbar(image, cax=place, format="%.3g")
    bar.set_label(text, fontsize=TEXT)
    bar.ax.tick_params(labelsize=SMALL)
    bar.outline.set_visible(False)


Drawn = TypeVar("Drawn", "Axes", "Panels")


def finish(axes: Drawn, path: Path | None) -> Drawn:
    """Save the figure of `axes` (one, or an array of them) if there is a path; returns `axes`."""
    if path is None:
        return axes
    first: Any = axes.flat[0] if isinstance(axes, np.ndarray) else axes
    file = pathlib.Path(path)
    if not file.suffix:
        file = file.with_suffix(".png")
    content = io.BytesIO()  # the file is replaced at once: with a full disk the old picture remains
    first.figure.savefig(content, format=file.suffix[1:], dpi=150)
    replace(file, content.getvalue())
    return axes


def array_of(name: str, what: str, values: ArrayLike) -> Array:
    """A Tensor, array or list of numbers as an array. what: the argument's name in the error message.

    Raises TypeError: anything but booleans, integers and real numbers.
    """
    if isinstance(values, Tensor):
        array = values._array
    else:
        array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"[{name}] got {what} of {type(values).__name__}; expected numbers")
    return array


def labels_of(name: str, what: str, labels: ArrayLike, count: int | None = None) -> Array:
    """Labels (n,) of numbers, strings or booleans; a column (n, 1) becomes (n,).

    what: the argument's name in the error message. count: the number n that is required; None for any.
    """
    if isinstance(labels, Tensor):
        array = labels._array
    else:
        array = np.asarray(labels)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1 or len(array) == 0 or (count is not None and len(array) != count):
        shape = "(n,) with n at least 1" if count is None else f"({count},)"
        raise ValueError(f"[{name}] got {what} of shape {array.shape}; expected {shape}")
    return array


def class_names_of(name: str, labels: Array, class_names: Sequence[Any] | None) -> tuple[Array, list[str]]:
    """The classes and their names: the sorted labels, or 0 ... K-1 with the K names of the argument.

    Raises ValueError: a label that is none of 0 ... K-1.
    """
    classes = np.unique(labels)
    if class_names is None:
        if classes.dtype.kind == "f":
            return classes, [f"{c:g}" for c in classes]
        return classes, [str(c) for c in classes]
    names = [str(c) for c in class_names]
    numbers = labels.dtype.kind in "biuf"
    for label in classes:
        if not numbers or not 0 <= label < len(names):
            raise ValueError(
                f"[{name}] got {len(names)} class names and the label {label!r}; "
                f"expected labels 0 ... {len(names) - 1}"
            )
    return np.arange(len(names)), names


def shortened(text: str, length: int) -> str:
    """The text, without its middle if it is too long: long names often differ at the end only."""
    if len(text) <= length:
        return text
    from_start = length // 2
    from_end = length - 1 - from_start
    return f"{text[:from_start].rstrip()}…{text[-from_end:].lstrip()}"
