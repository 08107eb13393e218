"""The curve of a learning-rate range test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ranvier.plot.figure import new_figure, save

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["lr_range_test"]


def lr_range_test(found: Any, path: str | os.PathLike[str] | None = None) -> Figure:
    """Draw the losses of `rv.train.lr_range_test` over the rates, and the suggested rate if there is one.

    Args:
        found: its result.
        path: where to save the picture; its ending chooses the format (.png, .svg, .pdf ...).

    Returns:
        The matplotlib Figure (a notebook shows it).

    Raises:
        ImportError: matplotlib is not installed (`pip install 'ranvier[plot]'`).

    >>> import numpy as np
    >>> import ranvier as rv
    >>> losses = np.array([1.0, 0.9, 0.5, 0.8])
    >>> found = rv.train.LRRangeTest(np.array([1e-3, 1e-2, 1e-1, 1.0]), losses, losses, True)
    >>> found.suggestion, found.plot().axes[0].get_xscale()
    (0.01, 'log')
    """
    figure = new_figure("plot.lr_range_test", 1)
    panel = figure.subplots()
    panel.plot(found.rates, found.losses, alpha=0.4, label="loss")
    panel.plot(found.rates, found.smoothed, label="smoothed")
    try:
        rate = found.suggestion
        panel.axvline(rate, color="gray", linestyle="--", label=f"suggestion {rate:.2g}")
    except ValueError:
        pass  # the loss never fell: the curve says so
    panel.set_xscale("log")
    panel.set_xlabel("learning rate")
    panel.set_ylabel("loss")
    panel.grid(alpha=0.3)
    panel.legend()
    if path is not None:
        save(figure, path)
    return figure
