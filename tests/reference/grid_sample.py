"""Images read between their pixels, point by point."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def place(point: float, size: int, align_corners: bool) -> float:
    return (point + 1) * (size - 1) / 2 if align_corners else ((point + 1) * size - 1) / 2


def limited(p: float, size: int, padding: str, align_corners: bool) -> float:
    if padding == "zeros":
        return p
    if padding == "reflection":
        low, high = (0, size - 1) if align_corners else (-0.5, size - 0.5)
        if high == low:
            return 0.0
        while not low <= p <= high:  # back at one edge after the other
            p = 2 * low - p if p < low else 2 * high - p
    return min(max(p, 0), size - 1)


def keys(d: float) -> float:
    a, d = -0.75, abs(d)
    if d <= 1:
        return (a + 2) * d**3 - (a + 3) * d**2 + 1
    return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0


def taps(point: float, size: int, mode: str, padding: str, align_corners: bool) -> list[tuple[int, float]]:
    """The pixels along one axis, and their weights."""
    p = place(point, size, align_corners)
    if mode == "bicubic":
        low = int(np.floor(p))
        at = [(limited(k, size, padding, align_corners), keys(p - k)) for k in range(low - 1, low + 3)]
    else:
        p = limited(p, size, padding, align_corners)
        low = int(np.floor(p))
        at = [(np.rint(p), 1.0)] if mode == "nearest" else [(low, low + 1 - p), (low + 1, p - low)]
    return [(int(k), weight) for k, weight in at if 0 <= k < size]


def grid_sample(
    x: Array, grid: Array, mode: str = "bilinear", padding_mode: str = "zeros", align_corners: bool = False
) -> Array:
    y = np.zeros((*x.shape[:2], *grid.shape[1:3]))
    for n, p, q in np.ndindex(grid.shape[:3]):
        along = zip(grid[n, p, q], x.shape[:1:-1], strict=True)
        columns, rows = (taps(v, size, mode, padding_mode, align_corners) for v, size in along)
        for i, of_row in rows:
            for j, of_column in columns:
                y[n, :, p, q] += of_row * of_column * x[n, :, i, j]
    return y


def grid_sample_backward(dy: Array, x: Array, grid: Array, *settings: Any) -> tuple[Array, Array]:
    """By x, y of whose single pixels; by the grid, small steps."""
    dx, dgrid, step = np.zeros(x.shape), np.zeros(grid.shape), 1e-6
    for i, j in np.ndindex(x.shape[2:]):
        one = np.zeros(x.shape)
        one[:, :, i, j] = 1
        dx[:, :, i, j] = (dy * grid_sample(one, grid, *settings)).sum((2, 3))
    for d in (0, 1):
        change = np.zeros(2)
        change[d] = step
        ends = [grid_sample(x, grid + sign * change, *settings) for sign in (1, -1)]
        dgrid[..., d] = (dy * (ends[0] - ends[1])).sum(1) / (2 * step)
    return dx, dgrid
