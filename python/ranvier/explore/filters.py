"""Image kernels by name, and their convolution with an image."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np
import numpy.typing as npt

import ranvier.ops as ops
from ranvier.autograd.memory import Array

__all__ = ["KERNELS", "filter_image"]


_ROWS: dict[str, tuple[tuple[float, ...], ...]] = {
    "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "edge": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
    "vertical_edge": ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1)),  # Prewitt's
    "horizontal_edge": ((-1, -1, -1), (0, 0, 0), (1, 1, 1)),
    "sobel_x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "sobel_y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
    "laplacian": ((0, 1, 0), (1, -4, 1), (0, 1, 0)),
    "blur": ((1 / 9,) * 3,) * 3,
    "gaussian": ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "emboss": ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
}


def _fixed(rows: tuple[tuple[float, ...], ...]) -> Array:
    kernel = np.array(rows, np.float32)
    kernel.flags.writeable = False
    return kernel


KERNELS = MappingProxyType({name: _fixed(rows) for name, rows in _ROWS.items()})
"""3x3 kernels by name, read-only. Kernels for edges and derivatives add up to 0, so that they give 0 for a
constant image; the others add up to 1 and keep its brightness. Names with "vertical" or "x" respond to a
change along a row, from left to right. (R. Gonzalez and R. Woods, Digital Image Processing, chapter 3.)"""


def filter_image(image: npt.ArrayLike, kernel: str | npt.ArrayLike, *, padding: int | str = 0) -> Array:
    """Slide a kernel over an image: y[i, j] = sum over r, s of x[i + r, j + s] k[r, s].

    As in every network, the kernel is not flipped (a cross-correlation). Each channel is filtered separately.

    Args:
        image: (h, w), (channels, h, w) or (n, channels, h, w); integers become float32.
        kernel: a name in `KERNELS`, or a matrix (r, s).
        padding: the number of zeros around the image, or "same" for an output of its size (kernels of odd
            sizes).

    Returns: A NumPy array with the image's dimensions: h - r + 1 by w - s + 1 without padding.

    Raises:
        TypeError: an image that is not of numbers.
        ValueError: an unknown name, a kernel that is not a matrix or is larger than the image, or an image
            with other dimensions.

    >>> import numpy as np, ranvier as rv
    >>> image = np.repeat([[0, 0, 0, 0, 255, 255, 255, 255]], 8, axis=0)  # dark on the left
    >>> rv.explore.filter_image(image, "vertical_edge")[0]
    array([  0.,   0., 765., 765.,   0.,   0.], dtype=float32)
    >>> float(abs(rv.explore.filter_image(image, "horizontal_edge")).max())
    0.0
    """
    x = np.asarray(getattr(image, "_array", image))
    if x.dtype.kind not in "fiub":
        raise TypeError(f"[filter_image] got an image of dtype {x.dtype}; expected numbers")
    x = x if x.dtype in (np.float32, np.float64) else x.astype(np.float32)
    if isinstance(kernel, str):
        if kernel not in KERNELS:
            raise ValueError(f"[filter_image] got kernel {kernel!r}; expected one of {', '.join(KERNELS)}")
        kernel = KERNELS[kernel]
    k = np.asarray(kernel, x.dtype)
    if k.ndim != 2 or not 2 <= x.ndim <= 4:
        raise ValueError(
            f"[filter_image] got an image of shape {x.shape} and a kernel of shape {k.shape}; expected 2 to "
            "4 dimensions (n, channels, h, w) and 2"
        )
    h, w = x.shape[-2:]
    y = ops.conv2d(x.reshape(-1, 1, h, w), k[None, None], padding=padding)._array
    return np.ascontiguousarray(y).reshape(*x.shape[:-2], *y.shape[-2:])
