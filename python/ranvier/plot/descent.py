"""Descents: their paths on the curve or the contours of the function, and their values by step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

import ranvier.plot.figure as fig
from ranvier.autograd import no_grad, wrap
from ranvier.autograd.errors import own_errors
from ranvier.autograd.memory import Array
from ranvier.plot.figure import Axes, Figure, Panels, Path

__all__ = ["descent", "learning_rates", "optimizer_race"]

GRID, LEVELS = 90, 14


def descent(f: Callable[..., Any], descent: Any, *, ax: Axes | None = None, path: Path | None = None) -> Axes:
    """Draw the path of a descent: on the contours of f for two numbers, on its curve for one.

    The points of a random search are dots. f is called at every point of a grid, and last at the end of the
    path.

    Args:
        f: the function of a vector. `low` and `high` of a Surface give the part of the plane to show; for
            other functions, it is the part around the path.
        descent: a Path of `rv.explore`, or its points, (n, 1) or (n, 2).
        ax, path: see :mod:`ranvier.plot`.

    Raises ValueError: points of more than two numbers, or no finite point.

    >>> from ranvier import explore, plot
    >>> found = explore.gradient_descent(explore.surfaces.bowl, (-2, 2), lr=0.1, steps=30)
    >>> plot.descent(explore.surfaces.bowl, found).get_title()
    'gradient descent: 21.5 to 1.38e-05 in 30 steps'
    """
    points = _points("plot.descent", descent)
    flat = points.shape[1] == 2
    ax = fig.one_axes("plot.descent", ax, path, (fig.PANEL[0] + 0.5 * flat, fig.PANEL[1] + 0.2))
    first, last = _value(f, points[0]), _value(f, points[-1])
    if flat:
        fig.colour_bar(ax, _draw_contours(ax, f, [points]), "f(w)")
    else:
        points = _draw_curve(ax, f, points)
    name = getattr(descent, "name", "") or "descent"
    if getattr(descent, "linked", True):
        _draw_path(ax, points, fig.RED, "o", "steps")
        ax.plot(*points[0], "s", color=fig.BLACK, markersize=7, label="start", zorder=5)
        star, text = points[-1], "end"
        title = f"{name}: {first:.3g} to {last:.3g} in {len(points) - 1} steps"
    else:
        ax.plot(*points.T, ".", color=fig.GRAY, markersize=4, label="guesses", zorder=2)
        star, text = [*descent.best, descent.best_value][:2], "best"  # (w, f(w)), or two weights
        title = f"{name}: best {descent.best_value:.3g} of {len(points)} guesses"
    ax.plot(*star, "*", color=fig.RED, markeredgecolor="black", markersize=13, label=text, zorder=6)
    fig.label(ax, title, "first weight" if flat else "w", "second weight" if flat else "f(w)", grid=None)
    fig.legend(ax)
    return fig.finish(ax, path)


def optimizer_race(
    f: Callable[..., Any], paths: Mapping[Any, Any], *, figure: Figure | None = None, path: Path | None = None
) -> Panels:
    """Draw the paths of several optimizers on the contours of f, and their values by step.

    Args:
        f: the function of two numbers, as in :func:`descent`.
        paths: name -> Path, the result of `rv.explore.compare_optimizers`.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of the two Axes.

    Raises ValueError: no path, or points of another number of coordinates than two.

    >>> from ranvier import explore, plot
    >>> race = explore.compare_optimizers(explore.surfaces.valley, steps=20)
    >>> [panel.get_xlabel() for panel in plot.optimizer_race(explore.surfaces.valley, race)]
    ['first weight', 'step']
    """
    name = "plot.optimizer_race"
    _require_paths(name, paths)
    points = {key: _points(name, one_path, (2,)) for key, one_path in paths.items()}
    least = min(float(np.nanmin(one_path.values)) for one_path in paths.values())
    least = float(np.fmin(least, getattr(paths, "minimum", np.nan)))
    left, right = panels = fig.several_axes(
        name, figure, path, 1, 2, (fig.PANEL[0] + 0.3, fig.PANEL[1] + 0.5)
    )[0]
    _draw_contours(left, f, list(points.values()))
    for i, (key, one_path) in enumerate(paths.items()):
        colour, mark = fig.colours(len(paths))[i], fig.MARKERS[i % len(fig.MARKERS)]
        _draw_path(left, points[key], colour, mark, str(key))
        above = one_path.values - least
        every = max(1, len(above) // 10)
        right.plot(above, color=colour, marker=mark, markevery=(i, every), markersize=4, label=str(key))
        left.plot(*points[key][-1], "*", color=colour, markeredgecolor="black", markersize=13, zorder=6)
    left.plot(*next(iter(points.values()))[0], "s", color=fig.BLACK, markersize=7, label="start", zorder=5)
    for i, minimum in enumerate(getattr(f, "minima", ())):
        text = "" if i else "minimum"
        left.plot(*minimum, "X", color="white", markeredgecolor=fig.BLACK, markersize=8, label=text, zorder=4)
    fig.label(left, "paths; a star is the end", "first weight", "second weight", grid=None)
    fig.legend(left)
    right.set_yscale("log", nonpositive="clip")
    start = float(next(iter(paths.values())).values[0]) - least
    if start > 0:  # lines that are closer to the minimum leave the panel
        right.set_ylim(bottom=max(right.get_ylim()[0], 1e-7 * start))
    fig.label(right, "value by step", "step", "f(w) above its minimum")
    fig.whole_numbers(right.xaxis)
    fig.legend(right)
    return fig.finish(panels, path)


def learning_rates(
    paths: Mapping[Any, Any],
    f: Callable[..., Any] | None = None,
    *,
    figure: Figure | None = None,
    path: Path | None = None,
) -> Panels:
    """Draw a panel for each learning rate: the values by step, or the path on the contours of f.

    Args:
        paths: rate -> Path, the result of `rv.explore.compare_learning_rates`; the verdicts are in the
            titles.
        f: the function of two numbers, for its contours; without it, the values are drawn.
        figure, path: see :mod:`ranvier.plot`.

    Returns: Array of Axes, one for each rate.

    Raises ValueError: no path, or with f points of another number of coordinates than two.

    >>> from ranvier import explore, plot
    >>> found = explore.compare_learning_rates(explore.surfaces.bowl, (-2, 2), (0.01, 0.1), steps=30)
    >>> [panel.get_title() for panel in plot.learning_rates(found)]
    ['rate 0.01: slow', 'rate 0.1: good']
    """
    name = "plot.learning_rates"
    _require_paths(name, paths)
    columns = len(paths) if len(paths) < 4 else 2 if len(paths) == 4 else 3
    how = {"sharex": True, "sharey": True}
    panels = fig.grid_axes(name, figure, path, len(paths), columns, (3.6, 2.9), **how)
    kept = [p for p in paths.values() if getattr(p, "verdict", "") != "diverged"] or list(paths.values())
    held = [] if f is None else [_points(name, p, (2,)) for p in kept]
    words = ("step", "f(w)") if f is None else ("first weight", "second weight")
    for i, ((rate, one_path), panel) in enumerate(zip(paths.items(), panels, strict=True)):
        if f is None:
            _draw_values(panel, one_path, [float(np.nanmin(p.values)) for p in paths.values()])
        else:
            _draw_contours(panel, f, held)
            points = _points(name, one_path, (2,))
            _draw_path(panel, points, fig.RED, "o", "steps")
            panel.plot(*points[0], "s", color=fig.BLACK, markersize=6, zorder=5)
        text = f"rate {rate:g}" if isinstance(rate, float | int) else str(rate)
        verdict = getattr(one_path, "verdict", "")
        bottom, left = i + columns >= len(paths), i % columns == 0
        title = f"{text}: {verdict}" if verdict else text
        fig.label(panel, title, words[0] * bottom, words[1] * left, grid="both" if f is None else None)
        panel.tick_params(labelbottom=bottom)
    return fig.finish(panels, path)


def _draw_values(panel: Any, one_path: Any, least: list[float]) -> None:
    """The values by step; a path far above its start leaves the panel."""
    panel.plot(one_path.values, color=fig.BLUE, linewidth=1.8)
    whole = (float(one_path.values[0]) - min(least)) or 1.0
    panel.set_ylim(min(least) - 0.06 * whole, min(least) + 1.5 * whole)


def _require_paths(name: str, paths: Any) -> None:
    if not isinstance(paths, Mapping) or not paths or not all(hasattr(p, "values") for p in paths.values()):
        raise ValueError(f"[{name}] got {type(paths).__name__}; expected at least one name -> Path")


def _points(name: str, descent: Any, dimensions: tuple[int, ...] = (1, 2)) -> Array:
    """The finite points of a path, (n, 1) or (n, 2)."""
    points = fig.array_of(name, "points", getattr(descent, "points", descent)).astype(np.float64)
    if points.ndim != 2 or points.shape[1] not in dimensions:
        allowed = " or ".join(f"(n, {d})" for d in dimensions)
        raise ValueError(f"[{name}] got points of shape {points.shape}; expected {allowed}")
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        raise ValueError(f"[{name}] got no finite point; expected at least one")
    return points


def _value(f: Callable[..., Any], point: Array) -> float:
    with no_grad():
        return float(f(wrap(point)))


def _box(f: Callable[..., Any], points: Array) -> tuple[Array, Array]:
    """The part of the plane that f names, else the points with a margin."""
    if hasattr(f, "low") and hasattr(f, "high"):
        return np.asarray(f.low, float), np.asarray(f.high, float)
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.25 * np.maximum(high - low, 0.2 * (high - low).max() or 1.0)
    return low - margin, high + margin


def _draw_contours(ax: Any, f: Callable[..., Any], paths: list[Array]) -> Any:
    """Contours with levels at equal steps of the cube root, so that they are closer where f is low."""
    from matplotlib.colors import LinearSegmentedColormap

    low, high = _box(f, np.concatenate(paths))
    across, up = (np.linspace(low[i], high[i], GRID) for i in (0, 1))
    values = np.array([[_value(f, np.array([a, b])) for a in across] for b in up])
    _value(f, paths[-1][-1])
    finite = values[np.isfinite(values)]
    levels = finite.min() + np.ptp(finite) * np.linspace(0, 1, LEVELS) ** 3
    gray = LinearSegmentedColormap.from_list("pale", ["#FFFFFF", "#C9D6E2"])
    filled = ax.contourf(across, up, values, levels, cmap=gray)
    ax.contour(across, up, values, levels, colors=fig.GRAY, linewidths=0.5, alpha=0.7)
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    return filled


def _draw_curve(ax: Any, f: Callable[..., Any], points: Array) -> Array:
    """Draws the curve of f; returns the points as (w, f(w))."""
    low, high = _box(f, points)
    along = np.linspace(low[0], high[0], 400)
    ax.plot(along, [_value(f, np.array([w])) for w in along], color=fig.BLUE, linewidth=1.8, label="f")
    return np.stack([points[:, 0], [_value(f, point) for point in points]], axis=1)


def _draw_path(ax: Any, points: Array, colour: str, mark: str, text: str) -> None:
    size = 4 if len(points) <= 60 else 2.5
    how: dict[str, Any] = {"marker": mark, "markersize": size, "linewidth": 1.5, "zorder": 3}
    ax.plot(*points.T, color=colour, label=text, **how)


own_errors(globals(), names=__all__)
