"""Loss functions over the prediction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import ranvier.nn as nn
from ranvier.autograd import no_grad, wrap
from ranvier.plot.colours import GRAY, colours
from ranvier.plot.figure import finish, label, legend, several_axes
from ranvier.plot.style import PANEL
from ranvier.plot.types import Figure, Panels, Path

__all__ = ["loss_functions"]

DASHES = ("-", "--", "-.", (0, (1, 1)), (0, (5, 1, 1, 1, 1, 1)))


def loss_functions(
    losses: Mapping[str, Callable[..., Any]] | None = None,
    target: float = 1.0,
    low: float = -2.0,
    high: float = 4.0,
    *,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw losses over the prediction: how much a wrong prediction costs.

    Without arguments there are three panels: losses of regression over the error; binary cross-entropy over
    the predicted probability for both targets, with the squared error, which stays small for certain but
    wrong predictions; and losses of a score (logit) with target 1.

    Args:
        losses: name -> loss, called as `loss(prediction, target)` with Tensors of one element; drawn in one
            panel.
        target: of these losses.
        low, high: the range of the predictions of these losses.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes, one for each panel.

    Raises TypeError: losses that are not a mapping; ValueError: no loss, or low not below high.

    >>> import ranvier as rv
    >>> [panel.get_xlabel() for panel in rv.plot.loss_functions()]
    ['prediction - target', 'predicted probability of class 1', 'predicted score (logit) of class 1']
    >>> rv.plot.loss_functions({"Huber": rv.nn.HuberLoss()})[0].get_xlabel()
    'prediction (target 1)'
    """
    name = "plot.loss_functions"
    if losses is not None:
        if not isinstance(losses, Mapping):
            raise TypeError(f"[{name}] got losses of type {type(losses).__name__}; expected name -> loss")
        if not losses or not low < high:
            raise ValueError(
                f"[{name}] got {len(losses)} losses, low = {low} and high = {high}; expected at least one "
                "loss and low < high"
            )
        panels = several_axes(name, figure, path, 1, 1)[0]
        curves = {key: (loss, target) for key, loss in losses.items()}
        _draw(panels[0], curves, np.linspace(low, high, 401), "", f"prediction (target {target:g})")
        panels[0].axvline(target, color=GRAY, linewidth=0.8, linestyle=":")
        return finish(panels, path)
    panels = several_axes(name, figure, path, 1, 3, (PANEL[0] - 0.5, PANEL[1]))[0]
    _draw_regression(panels[0])
    _draw_probability(panels[1])
    _draw_score(panels[2])
    return finish(panels, path)


def _draw_regression(panel: Any) -> None:
    curves = {
        "squared (MSE)": (nn.MSELoss(), 0.0),
        "absolute (L1)": (nn.L1Loss(), 0.0),
        "Huber, delta 1": (nn.HuberLoss(), 0.0),
    }
    _draw(panel, curves, np.linspace(-3, 3, 401), "regression", "prediction - target")
    panel.set_ylim(-0.2, 5)


def _draw_probability(panel: Any) -> None:
    curves = {
        "cross-entropy, target 1: -ln p": (nn.BCELoss(), 1.0),
        "cross-entropy, target 0: -ln(1 - p)": (nn.BCELoss(), 0.0),
        "squared error, target 1": (nn.MSELoss(), 1.0),
    }
    _draw(panel, curves, np.linspace(0.001, 0.999, 999), "a probability", "predicted probability of class 1")
    panel.set_ylim(-0.2, 5)


def _draw_score(panel: Any) -> None:
    curves = {
        "cross-entropy with logits": (nn.BCEWithLogitsLoss(), 1.0),
        "focal": (nn.SigmoidFocalLoss(), 1.0),
        "hinge: max(0, 1 - z)": (_hinge, 1.0),
    }
    _draw(panel, curves, np.linspace(-4, 4, 401), "a score, target 1", "predicted score (logit) of class 1")
    panel.set_ylim(-0.2, 5)


def _hinge(z: Any, target: Any) -> Any:
    return (1 - z).relu().sum()


def _draw(panel: Any, curves: Mapping[str, tuple[Any, float]], x: Any, title: str, text: str) -> None:
    for i, (name, (loss, target)) in enumerate(curves.items()):
        with no_grad():
            values = [float(loss(wrap(np.array([p])), wrap(np.array([target])))) for p in x]
        dash, colour = DASHES[i % len(DASHES)], colours(len(curves))[i]
        panel.plot(x, values, linestyle=dash, color=colour, linewidth=2, label=name)
    label(panel, title, text, "loss")
    legend(panel)
