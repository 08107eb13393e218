"""Activations and their derivatives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ranvier import derivative
from ranvier.autograd import no_grad, wrap
from ranvier.ops.activation.slope import activation_named
from ranvier.plot.colours import BLUE, GRAY, RED
from ranvier.plot.figure import finish, grid_axes, label, legend, one_axes
from ranvier.plot.types import Axes, Figure, Panels, Path

__all__ = ["activation", "activations"]

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
        function: a name that :func:`ranvier.derivative` knows, or a function of a Tensor that works element
            by element.
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
    f = activation_named(name, function) if isinstance(function, str) else function
    if not -np.inf < low < high < np.inf:
        raise ValueError(f"[{name}] got low = {low} and high = {high}; expected finite low < high")
    z = np.linspace(low, high, 1201)
    with no_grad():
        y = f(wrap(z), **settings)._array
    slope = derivative(function, z, **settings)._array
    ax = one_axes(name, ax, path)
    ax.axhline(0, color=GRAY, linewidth=0.8)
    ax.axvline(0, color=GRAY, linewidth=0.8)
    ax.plot(z, y, color=BLUE, linewidth=2, label="f(z)")
    # a derivative with a jump is drawn as two pieces
    broken = np.where(abs(np.diff(slope, prepend=slope[0])) > 0.1 * max(1, np.ptp(slope)), np.nan, slope)
    ax.plot(z, broken, "--", color=RED, linewidth=1.8, label="f'(z)")
    title = function if isinstance(function, str) else getattr(function, "__name__", "f").strip("<>")
    label(ax, title.replace("_", " "), "z, the weighted sum", "value")
    ax.set_xlim(low, high)
    legend(ax, loc="upper left")
    return finish(ax, path)


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
    panels = grid_axes("plot.activations", figure, path, len(functions), 3, (3.4, 2.7), **how)
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
    return finish(panels, path)
