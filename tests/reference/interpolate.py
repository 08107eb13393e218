"""interpolate: images (n, c, h, w) at other sizes.

Each output pixel is a weighted sum of a few input pixels, rows and columns apart: y = R x C^T, where row o of
the matrix R has the weights of output row o. So the gradient is dx = R^T dy C, and only R has to be defined.

Output o is at ``(o + 1/2) scale - 1/2`` in the input, if pixels are squares that cover the same image, or
at ``o (in - 1) / (out - 1)``, if the corner pixels stay where they are (align_corners).
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def weights(size: int, out: int, mode: str, scale: float | None = None, align_corners: bool = False) -> Array:
    """R (out, size) of one axis; scale: inputs for each output, size / out unless given."""
    scale = size / out if scale is None else scale
    o = np.arange(out)
    matrix = np.zeros((out, size))
    if mode in ("nearest", "nearest-exact"):
        half = np.float32(0.5 * (mode == "nearest-exact"))
        at = (o.astype(np.float32) + half) * np.float32(scale)  # as in PyTorch, whose rounding decides
        matrix[o, np.minimum(np.floor(at).astype(int), size - 1)] = 1
        return matrix
    corners = (size - 1) / (out - 1) if out > 1 else 0.0
    at = o * corners if align_corners else (o + 0.5) * scale - 0.5
    kernel, taps = (_linear, [0, 1]) if mode == "linear" else (_cubic, [-1, 0, 1, 2])
    if mode == "linear":
        at = np.maximum(at, 0)
    first = np.minimum(np.floor(at), size - 1)
    part = np.clip(at - first, 0, 1)
    for tap in taps:  # outside the image, the pixel at the edge
        inputs = np.clip(first + tap, 0, size - 1).astype(int)
        np.add.at(matrix, (o, inputs), kernel(np.abs(part - tap)))
    return matrix


def _linear(d: Array) -> Array:
    """A pixel's weight at distance d from it, 0 <= d <= 1."""
    return 1 - d


def _cubic(d: Array, a: float = -0.75) -> Array:
    """Keys' kernel at distance d from a pixel: 1 at 0, 0 at 1 and 2, smooth between."""
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, far)


def interpolate(x: Array, rows: Array, columns: Array) -> Array:
    """rows (out_h, h) and columns (out_w, w), each from `weights`."""
    return np.einsum("ph,nchw,qw->ncpq", rows, x, columns, optimize=True)


def interpolate_backward(dy: Array, rows: Array, columns: Array) -> Array:
    return np.einsum("ph,ncpq,qw->nchw", rows, dy, columns, optimize=True)
