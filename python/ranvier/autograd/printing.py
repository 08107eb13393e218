"""The text of a Tensor, in PyTorch's form."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.autograd.recording import recordings, value_read

_PRECISION, _THRESHOLD, _EDGE, _WIDTH = 4, 1000, 3, 80


def text(tensor: Any) -> str:
    """``tensor([1., 2.], requires_grad=True)``"""
    if recordings:
        value_read("str() or repr()")
    array = tensor._array
    prefix = "Parameter containing:\n" if type(tensor).__name__.endswith("Parameter") else ""
    parts = []
    if array.size == 0:
        body = "[]"
        if array.shape != (0,):
            parts.append(f"size={array.shape}")
    else:
        shown = array
        if array.size > _THRESHOLD:
            for axis in range(array.ndim):  # only the shown elements decide the format
                if array.shape[axis] > 2 * _EDGE:
                    keep = [*range(_EDGE), *range(array.shape[axis] - _EDGE, array.shape[axis])]
                    shown = shown.take(keep, axis)
        body = _body(array, _Format(shown), len("tensor("), array.size > _THRESHOLD)
    if array.dtype not in (np.float32, np.int64, np.bool_):
        parts.append(f"dtype=ranvier.{array.dtype}")
    if tensor.grad_fn is not None:
        parts.append(f"grad_fn={tensor.grad_fn!r}")
    elif tensor.requires_grad:
        parts.append("requires_grad=True")
    return prefix + "tensor(" + ", ".join([body, *parts]) + ")"


class _Format:
    """The format of all elements: integers, fixed point or powers of ten, and the width."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.floating = array.dtype.kind == "f"
        self.style, self.width = "int", 1
        values = array.astype(np.float64).ravel() if self.floating else array.ravel()
        counted = values  # the values that decide the width
        if self.floating:
            counted = finite = values[np.isfinite(values) & (values != 0)]
            if finite.size:
                low, high = np.abs(finite).min(), np.abs(finite).max()
                whole = bool((finite == np.ceil(finite)).all())
                if high / low > 1000 or high > 1e8 or (not whole and low < 1e-4):
                    self.style = "e"
                elif not whole:
                    self.style = "f"
        self.width = max((len(self.number(v)) for v in counted.tolist()), default=1)

    def number(self, value: Any) -> str:
        if not self.floating:
            return str(value)
        if self.style == "int":
            return f"{value:.0f}." if math.isfinite(value) else f"{value:.0f}"
        return f"{value:.{_PRECISION}{self.style}}"

    def __call__(self, value: Any) -> str:
        return self.number(value).rjust(self.width)


def _body(array: np.ndarray[Any, Any], number: _Format, indent: int, summarise: bool) -> str:
    if array.ndim == 0:
        return number(array.item())
    n = len(array)
    cut = summarise and n > 2 * _EDGE
    rows = [*range(_EDGE), *range(n - _EDGE, n)] if cut else range(n)
    if array.ndim == 1:
        cells = [number(array[i].item()) for i in rows]
        if cut:
            cells.insert(_EDGE, " ...")
        per_line = max(1, (_WIDTH - indent) // (number.width + 2))
        lines = [", ".join(cells[i : i + per_line]) for i in range(0, len(cells), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    blocks = [_body(array[i], number, indent + 1, summarise) for i in rows]
    if cut:
        blocks.insert(_EDGE, "...")
    return "[" + ("," + "\n" * (array.ndim - 1) + " " * (indent + 1)).join(blocks) + "]"
