"""Images read at points of a grid, and windows put back into images."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.nn.functional as F
from ranvier.onnx.operators.shapes import padded
from ranvier.onnx.registry import operator
from ranvier.onnx.values import array_of, in_float, ints, shape_of

_MODES = {
    "linear": "bilinear",
    "bilinear": "bilinear",
    "nearest": "nearest",
    "cubic": "bicubic",
    "bicubic": "bicubic",
}


@operator("GridSample", since=16)
def grid_sample(
    x: Any, grid: Any, *, mode: str = "linear", padding_mode: str = "zeros", align_corners: int = 0
) -> Any:
    if mode not in _MODES or len(shape_of(x)) != 4:
        raise ValueError(
            f"[onnx GridSample] got mode {mode!r} and a value of shape {shape_of(x)}; expected 'linear', "
            "'nearest' or 'cubic' and images (N, C, H, W)"
        )
    settings = (_MODES[mode], padding_mode, bool(align_corners))
    return in_float(lambda x, g: F.grid_sample(x, g, *settings), x, grid)


@operator("AffineGrid", since=20)
def affine_grid(theta: Any, size: Any, *, align_corners: int = 0) -> Any:
    if len(array_of(size)) != 4:
        raise ValueError(f"[onnx AffineGrid] got size {ints(size)}; expected (N, C, H, W)")
    return in_float(lambda t: F.affine_grid(t, ints(size), bool(align_corners)), theta)


@operator("Col2Im", since=18)
def col2im(
    x: Any, size: Any, block: Any, *, dilations: Any = None, pads: Any = None, strides: Any = None
) -> Any:
    """fold without padding; then the pads are cut off."""
    outer, kernel = ints(size), ints(block)
    if len(outer) != 2 or len(kernel) != 2:
        raise ValueError(f"[onnx Col2Im] got an image of shape {outer}; expected two dimensions")
    before, after = (tuple(pads[:2]), tuple(pads[2:])) if pads else ((0, 0), (0, 0))
    whole = tuple(np.add(np.add(outer, before), after).tolist())
    settings = (kernel, tuple(dilations or (1, 1)), 0, tuple(strides or (1, 1)))
    y = in_float(lambda x: F.fold(x, whole, *settings), x)
    return padded(y, (0, 0, *(-p for p in before), 0, 0, *(-p for p in after)))
