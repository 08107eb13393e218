"""Boxes that stay, pair by pair."""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def shared(a: Array, b: Array) -> Any:
    """The share of two boxes x1, y1, x2, y2 in what both cover."""
    w, h = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = max(w, a.dtype.type(0)) * max(h, a.dtype.type(0))
    sizes = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    with np.errstate(invalid="ignore"):
        return both / (sizes[0] + sizes[1] - both)


def nms(boxes: Array, threshold: float) -> Array:
    kept: list[int] = []
    for j, box in enumerate(boxes):
        if not any(float(shared(boxes[i], box)) > threshold for i in kept):
            kept.append(j)
    return np.isin(np.arange(len(boxes)), kept)
