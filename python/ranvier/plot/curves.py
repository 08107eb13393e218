"""The curves of a training run over its epochs, with the best epoch marked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

import ranvier.plot.figure as fig
from ranvier.metrics.named import direction
from ranvier.plot.figure import Axes, Figure, Panels, Path

__all__ = ["history"]


WIDE = 100  # positive values over a wider range have a logarithmic axis
MOST_MARKS = 40  # a curve of more epochs is a line without a mark for each


def history(
    history: Mapping[str, Sequence[float]],
    path: Path | None = None,
    *,
    kept: int | None = None,
    figure: Figure | None = None,
) -> Panels:
    """Draw each measured quantity over the epochs, training and validation in one panel.

    The best epoch is marked, by the validation data if there are any. A value that is not finite (training
    diverged, or an epoch was not validated) leaves a gap. Values that fall or rise a hundredfold have a
    logarithmic axis.

    Args:
        history: the result of `Trainer.fit`, or a mapping of lists; "val_loss" is drawn with "loss".
        kept: the epoch whose weights are kept, from 1 on, which gets a line.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes, one for each quantity.

    Raises ValueError: an empty history, or a kept epoch that is not in it.

    >>> import ranvier as rv
    >>> panels = rv.plot.history({"loss": [0.9, 0.4], "val_loss": [1.0, 0.6], "accuracy": [0.5, 0.9]})
    >>> [panel.get_ylabel() for panel in panels]
    ['loss', 'accuracy']
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not names:
        raise ValueError("[plot.history] got an empty history; expected at least one epoch")
    epochs = max(map(len, history.values()))
    if kept is not None and kept not in range(1, epochs + 1):
        raise ValueError(f"[plot.history] got kept {kept!r}; expected an epoch from 1 to {epochs}")
    panels = fig.grid_axes("plot.history", figure, path, len(names))
    for name, panel in zip(names, panels, strict=True):
        if kept is not None:
            panel.axvline(kept, color=fig.GREEN, linewidth=0.8, label=f"kept: epoch {kept}", zorder=0)
        _draw_quantity(panel, name, history)
    return fig.finish(panels, path)


def _draw_quantity(panel: Axes, name: str, history: Mapping[str, Sequence[float]]) -> None:
    """Draw the values of a measured quantity by epoch, and mark the best one.

    The history has the quantity of the training (`name`), of the validation ("val_" before it), or both.
    """
    training = history.get(name)
    validation = history.get(f"val_{name}")
    watched: Sequence[float] = ()  # those that the best epoch is chosen by
    finite: list[float] = []
    if training is not None:
        _draw_curve(panel, training, "training", "o-", fig.BLUE)
        watched = training
        finite += filter(math.isfinite, training)
    if validation is not None:
        _draw_curve(panel, validation, "validation", "s--", fig.RED)
        watched = validation
        finite += filter(math.isfinite, validation)
    _mark_best(panel, name, watched)
    if finite and min(finite) > 0 and max(finite) > WIDE * min(finite):
        panel.set_yscale("log")
    fig.label(panel, "", "epoch", name.replace("_", " "))
    margin = max(0.5, 0.03 * len(watched))
    panel.set_xlim(1 - margin, max(len(watched), 1) + margin)
    fig.whole_numbers(panel.xaxis)
    fig.legend(panel)


def _draw_curve(panel: Axes, values: Sequence[float], text: str, style: str, colour: str) -> None:
    """Draw values by epoch, from 1 on; those that are not finite leave gaps."""
    heights = np.array(values, np.float64)
    heights[~np.isfinite(heights)] = math.nan
    # one value among gaps is no line, and would be invisible without its mark
    marked = len(heights) <= MOST_MARKS or np.isfinite(heights).sum() < 2
    mark_size = 3.5 if marked else 0
    epochs = range(1, len(heights) + 1)
    panel.plot(epochs, heights, style, color=colour, label=text, markersize=mark_size)


def _mark_best(panel: Axes, name: str, values: Sequence[float]) -> None:
    """Mark the first epoch with the best finite value, if it is known whether more or less is better."""
    finite = {epoch: value for epoch, value in enumerate(values, 1) if math.isfinite(value)}
    if not finite:
        panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center", color=fig.GRAY)
        return
    better = direction(name)
    if better is None:
        return
    choose = max if better == "max" else min
    epoch = choose(finite, key=finite.__getitem__)
    best = finite[epoch]
    panel.axvline(epoch, color=fig.GRAY, linewidth=0.8, linestyle=":", zorder=0)
    text = f"best: {best:.4g} in epoch {epoch}"
    panel.plot(epoch, best, "o", color="black", markersize=10, fillstyle="none", label=text, clip_on=False)
