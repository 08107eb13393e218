"""The curves of a run over its epochs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import ranvier.plot.figure as fig
from ranvier.metrics.named import direction
from ranvier.plot.figure import Figure, Panels, Path

__all__ = ["history"]


WIDE = 100  # positive values over a wider range have a logarithmic axis


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


def _draw_quantity(panel: Any, name: str, history: Mapping[str, Sequence[float]]) -> None:
    """Draw the values of a measured quantity by epoch, and mark the best one."""
    lines = ((name, "training", "o-", fig.BLUE), (f"val_{name}", "validation", "s--", fig.RED))
    for key, text, style, colour in lines:
        if key in history:
            values = []
            for value in history[key]:
                values.append(value if math.isfinite(value) else math.nan)
            if len(values) <= 40 or sum(map(math.isfinite, values)) < 2:
                marks = 3.5
            else:
                marks = 0
            panel.plot(range(1, len(values) + 1), values, style, color=colour, label=text, markersize=marks)
            watched = values
    good = [(value, epoch) for epoch, value in enumerate(watched, 1) if math.isfinite(value)]
    better = direction(name)
    if good and better is not None:
        sign = 1 if better == "max" else -1
        best, epoch = max(good, key=lambda point: sign * point[0])
        panel.axvline(epoch, color=fig.GRAY, linewidth=0.8, linestyle=":", zorder=0)
        text = f"best: {best:.4g} in epoch {epoch}"
        panel.plot(
            epoch, best, "o", color="black", markersize=10, fillstyle="none", label=text, clip_on=False
        )
    elif not good:
        panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center", color=fig.GRAY)
    shown: list[float] = []
    for key, *_ in lines:
        shown += [v for v in history.get(key, ()) if math.isfinite(v)]
    if shown and min(shown) > 0 and max(shown) > WIDE * min(shown):
        panel.set_yscale("log")
    fig.label(panel, "", "epoch", name.replace("_", " "))
    margin = max(0.5, 0.03 * len(watched))
    panel.set_xlim(1 - margin, max(len(watched), 1) + margin)
    fig.whole_numbers(panel.xaxis)
    fig.legend(panel)
