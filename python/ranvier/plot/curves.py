"""The curves of a training run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ranvier.plot.figure import new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["history"]


def history(history: Mapping[str, Sequence[float]], path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw each measured quantity over the epochs, training and validation in one panel.

    Args:
        history: what `Trainer.fit` returned, or a mapping from names to lists; "val_loss" goes beside "loss".
        path: where to save the picture; its ending chooses the format (.png, .svg, .pdf ...).

    Returns:
        The matplotlib Figure (a notebook shows it).

    Raises:
        ImportError: matplotlib is not installed (`pip install 'ranvier[plot]'`).
        ValueError: an empty history.

    >>> import ranvier as rv
    >>> figure = rv.plot.history({"loss": [0.9, 0.4], "val_loss": [1.0, 0.6], "accuracy": [0.5, 0.9]})
    >>> [panel.get_ylabel() for panel in figure.axes]
    ['loss', 'accuracy']
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not names:
        raise ValueError("[plot.history] got an empty history; expected at least one epoch")
    figure = new_figure("plot.history", len(names))
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for name, panel in zip(names, panels, strict=True):
        for key, label, style in ((name, "training", "o-"), (f"val_{name}", "validation", "s--")):
            if key in history:
                values = history[key]
                panel.plot(range(1, len(values) + 1), values, style, label=label, markersize=3)
        panel.set_xlabel("epoch")
        panel.set_ylabel(name.replace("_", " "))
        panel.xaxis.get_major_locator().set_params(integer=True)
        panel.grid(alpha=0.3)
        panel.legend()
    if path is not None:
        save(figure, path)
    return figure
