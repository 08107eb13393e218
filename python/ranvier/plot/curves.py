"""Curves: histories and rates, losses, activations with their derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

import ranvier.nn as nn
import ranvier.plot.figure as fig
from ranvier.autograd import enable_grad, no_grad, wrap
from ranvier.autograd.errors import own_errors
from ranvier.metrics.named import higher_is_better
from ranvier.plot.figure import Axes, Figure, Panels, Path

__all__ = ["activation", "activations", "history", "loss_functions", "lr_range_test"]


def history(
    history: Mapping[str, Sequence[float]], path: Path | None = None, *, figure: Figure | None = None
) -> Panels:
    """Draw each measured quantity over the epochs, training and validation in one panel.

    The best epoch is marked, by the validation data if there are any. A value that is not finite (training
    diverged, or an epoch was not validated) leaves a gap.

    Args:
        history: of `Trainer.fit`, or a mapping from names to lists; "val_loss" is drawn with "loss".
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes, one for each quantity.

    Raises ValueError: an empty history.

    >>> import ranvier as rv
    >>> panels = rv.plot.history({"loss": [0.9, 0.4], "val_loss": [1.0, 0.6], "accuracy": [0.5, 0.9]})
    >>> [panel.get_ylabel() for panel in panels]
    ['loss', 'accuracy']
    """
    names = list(dict.fromkeys(name.removeprefix("val_") for name in history))
    if not names:
        raise ValueError("[plot.history] got an empty history; expected at least one epoch")
    panels = fig.grid_axes("plot.history", figure, path, len(names))
    for name, panel in zip(names, panels, strict=True):
        _draw_quantity(panel, name, history)
    return fig.finish(panels, path)


def _draw_quantity(panel: Any, name: str, history: Mapping[str, Sequence[float]]) -> None:
    lines = ((name, "training", "o-", fig.BLUE), (f"val_{name}", "validation", "s--", fig.RED))
    for key, text, style, colour in lines:
        if key in history:
            values = [v if math.isfinite(v) else math.nan for v in history[key]]
            marks = 3.5 if len(values) <= 40 or sum(map(math.isfinite, values)) < 2 else 0
            panel.plot(range(1, len(values) + 1), values, style, color=colour, label=text, markersize=marks)
            watched = values
    good = [(value, epoch) for epoch, value in enumerate(watched, 1) if math.isfinite(value)]
    sign = 1 if higher_is_better(name) else -1
    if good and (sign > 0 or "loss" in name or "error" in name):
        best, epoch = max(good, key=lambda point: sign * point[0])
        panel.axvline(epoch, color=fig.GRAY, linewidth=0.8, linestyle=":", zorder=0)
        text = f"best: {best:.4g} in epoch {epoch}"
        panel.plot(
            epoch, best, "o", color="black", markersize=10, fillstyle="none", label=text, clip_on=False
        )
    elif not good:
        panel.text(0.5, 0.5, "no finite value", transform=panel.transAxes, ha="center", color=fig.GRAY)
    fig.label(panel, "", "epoch", name.replace("_", " "))
    margin = max(0.5, 0.03 * len(watched))
    panel.set_xlim(1 - margin, max(len(watched), 1) + margin)
    fig.whole_numbers(panel.xaxis)
    fig.legend(panel)


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
    ax = fig.one_axes("plot.lr_range_test", ax, path)
    ax.plot(found.rates, found.losses, color=fig.BLUE, alpha=0.35, label="loss")
    ax.plot(found.rates, found.smoothed, color=fig.BLUE, label="smoothed")
    try:
        rate = found.suggestion
        ax.axvline(rate, color=fig.GRAY, linestyle="--", label=f"suggestion {rate:.2g}")
    except ValueError:
        pass  # the loss never fell
    ax.set_xscale("log")
    fig.label(ax, "Learning-rate range test", "learning rate", "loss")
    fig.legend(ax)
    return fig.finish(ax, path)


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
        panels = fig.several_axes(name, figure, path, 1, 1)[0]
        curves = {key: (loss, target) for key, loss in losses.items()}
        _draw(panels[0], curves, np.linspace(low, high, 401), "", f"prediction (target {target:g})")
        panels[0].axvline(target, color=fig.GRAY, linewidth=0.8, linestyle=":")
        return fig.finish(panels, path)
    panels = fig.several_axes(name, figure, path, 1, 3, (fig.PANEL[0] - 0.5, fig.PANEL[1]))[0]
    of_values: dict[str, tuple[Any, float]] = {
        "squared (MSE)": (nn.MSELoss(), 0.0),
        "absolute (L1)": (nn.L1Loss(), 0.0),
        "Huber, delta 1": (nn.HuberLoss(), 0.0),
    }
    of_probabilities: dict[str, tuple[Any, float]] = {
        "cross-entropy, target 1: -ln p": (nn.BCELoss(), 1.0),
        "cross-entropy, target 0: -ln(1 - p)": (nn.BCELoss(), 0.0),
        "squared error, target 1": (nn.MSELoss(), 1.0),
    }
    of_scores: dict[str, tuple[Any, float]] = {
        "cross-entropy with logits": (nn.BCEWithLogitsLoss(), 1.0),
        "hinge: max(0, 1 - z)": (lambda z, target: (1 - z).relu().sum(), 1.0),
    }
    for panel, curves, x, title, text in (
        (panels[0], of_values, np.linspace(-3, 3, 401), "regression", "prediction - target"),
        (
            panels[1],
            of_probabilities,
            np.linspace(0.001, 0.999, 999),
            "a probability",
            "predicted probability",
        ),
        (panels[2], of_scores, np.linspace(-4, 4, 401), "a score, target 1", "predicted score (logit)"),
    ):
        _draw(panel, curves, x, title, text if curves is of_values else f"{text} of class 1")
        panel.set_ylim(-0.2, 5)
    return fig.finish(panels, path)


def _draw(panel: Any, curves: Mapping[str, tuple[Any, float]], x: Any, title: str, text: str) -> None:
    for i, (name, (loss, target)) in enumerate(curves.items()):
        with no_grad():
            values = [float(loss(wrap(np.array([p])), wrap(np.array([target])))) for p in x]
        dash, colour = DASHES[i % len(DASHES)], fig.colours(len(curves))[i]
        panel.plot(x, values, linestyle=dash, color=colour, linewidth=2, label=name)
    fig.label(panel, title, text, "loss")
    fig.legend(panel)


COMMON = ("heaviside", "sigmoid", "tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "softplus")


def activation(
    function: str | Callable[..., Any],
    low: float = -6.0,
    high: float = 6.0,
    *,
    ax: Axes | None = None,
    path: Path | None = None,
    **settings: Any,
) -> Axes:
    """Draw an activation, and dashed its derivative, which scales the gradient in the backward pass.

    Args:
        function: the name of an activation, such as "leaky_relu", or a function of a Tensor that works
            element by element.
        low, high: the range of z.
        ax, path: see :mod:`ranvier.plot`.
        settings: of the activation, such as negative_slope=0.1.

    Raises ValueError: an unknown name, low not below high, or a function of a whole row such as softmax.

    >>> import ranvier as rv
    >>> ax = rv.plot.activation("tanh")
    >>> ax.get_title(), [line.get_label() for line in ax.lines][-2:]
    ('tanh', ['f(z)', "f'(z)"])
    """
    name = "plot.activation"
    if function in ("softmax", "log_softmax", "glu"):
        raise ValueError(f"[{name}] got activation {function!r}; expected one that works element by element")
    if isinstance(function, str):
        f, settings = type(nn.activation.named(function))(**settings).double(), {}
    else:
        f = function
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"[{name}] got low = {low} and high = {high}; expected finite low < high")
    z = np.linspace(low, high, 1201)
    x = wrap(z, requires_grad=True)
    with enable_grad():
        result = f(x, **settings)
        if tuple(getattr(result, "shape", ())) != z.shape:
            raise ValueError(f"[{name}] got a function of a whole row; expected one of single elements")
        (x + result).sum().backward()  # also where f has no gradient
    y, slope = result.detach().numpy(), x.grad.numpy() - 1  # type: ignore[union-attr]
    ax = fig.one_axes(name, ax, path)
    ax.axhline(0, color=fig.GRAY, linewidth=0.8)
    ax.axvline(0, color=fig.GRAY, linewidth=0.8)
    ax.plot(z, y, color=fig.BLUE, linewidth=2, label="f(z)")
    # a derivative with a jump is drawn as two pieces
    broken = np.where(abs(np.diff(slope, prepend=slope[0])) > 0.1 * max(1, np.ptp(slope)), np.nan, slope)
    ax.plot(z, broken, "--", color=fig.RED, linewidth=1.8, label="f'(z)")
    title = function if isinstance(function, str) else getattr(function, "__name__", "f").strip("<>")
    fig.label(ax, title.replace("_", " "), "z, the weighted sum", "value")
    ax.set_xlim(low, high)
    fig.legend(ax, loc="upper left")
    return fig.finish(ax, path)


def activations(
    functions: Sequence[str | Callable[..., Any]] = COMMON,
    low: float = -4.0,
    high: float = 4.0,
    *,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw several activations with their derivatives, each in a panel, on the same scales.

    Args:
        functions: as `function` of :func:`activation`.
        low, high: the range of z.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes, one for each function.

    Raises ValueError: no function, or the errors of :func:`activation`.

    >>> import ranvier as rv
    >>> [panel.get_title() for panel in rv.plot.activations(["sigmoid", "leaky_relu"])]
    ['sigmoid', 'leaky relu']
    """
    if not functions:
        raise ValueError("[plot.activations] got no functions; expected at least one")
    columns, how = min(3, len(functions)), {"sharex": True, "sharey": True}
    panels = fig.grid_axes("plot.activations", figure, path, len(functions), 3, (3.4, 2.7), **how)
    for i, (function, panel) in enumerate(zip(functions, panels, strict=True)):
        activation(function, low, high, ax=panel)
        panel.set_ylim(-1.6, 2.6)
        if i:
            panel.get_legend().remove()
        if i % columns:
            panel.set_ylabel("")
        if i + columns < len(functions):
            panel.set_xlabel("")
        else:
            panel.tick_params(labelbottom=True)
    return fig.finish(panels, path)


own_errors(globals(), names=__all__)
