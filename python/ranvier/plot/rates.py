"""The curve of a learning-rate range test."""

from __future__ import annotations

from typing import Any

from ranvier.plot.colours import BLUE, GRAY
from ranvier.plot.figure import finish, label, legend, one_axes
from ranvier.plot.types import Axes, Path

__all__ = ["lr_range_test"]


def lr_range_test(found: Any, path: Path | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the losses of `rv.train.lr_range_test` over the rates, and the suggested rate if there is one.

    Args:
        found: the result.
        ax, path: see :mod:`ranvier.plot`.

    >>> import numpy as np, ranvier as rv
    >>> losses = np.array([1.0, 0.9, 0.5, 0.8])
    >>> found = rv.train.LRRangeTest(np.array([1e-3, 1e-2, 1e-1, 1.0]), losses, losses, True)
    >>> found.suggestion, found.plot().get_xscale()
    (0.01, 'log')
    """
    ax = one_axes("plot.lr_range_test", ax, path)
    ax.plot(found.rates, found.losses, color=BLUE, alpha=0.35, label="loss")
    ax.plot(found.rates, found.smoothed, color=BLUE, label="smoothed")
    try:
        rate = found.suggestion
        ax.axvline(rate, color=GRAY, linestyle="--", label=f"suggestion {rate:.2g}")
    except ValueError:
        pass  # the loss never fell
    ax.set_xscale("log")
    label(ax, "Learning-rate range test", "learning rate", "loss")
    legend(ax)
    return finish(ax, path)
