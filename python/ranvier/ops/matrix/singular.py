"""Singular values: their decomposition, and the spectral and the nuclear norm of matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.autograd.function import Function
from ranvier.autograd.graph import on_arrays, rule_of
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.dtypes import Array, is_floating
from ranvier.ops.reduction.reduce import amax, amin
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.reshape import permute, reshape


def decomposed(name: str, function: Callable[..., Any], A: Array, setting: Any) -> tuple[Array, ...]:
    """What a function of NumPy makes of matrices. Raises ValueError where it finds no result."""
    try:
        return tuple(function(A, setting))
    except np.linalg.LinAlgError as error:
        raise ValueError(f"[{name}] got a matrix without a result; expected finite values") from error


class Svd(Function):
    """U, S, Vh with U diag(S) Vh = A (..., m, n)"""

    by_numpy = True

    def __init__(self, name: str, full: bool = False) -> None:
        self.name, self.full = name, full

    def forward(self, A: Array) -> tuple[Array, ...]:
        self.made = decomposed(self.name, np.linalg.svd, A, self.full)
        return self.made

    def backward(self, *dys: Array | None) -> Any:
        return on_arrays(rule_of(self), self, *dys)


def singular_norm(A: Tensor, ord: Any, rows: int, columns: int, keepdim: bool) -> Tensor:
    """The norm of the matrices in dimensions rows and columns; ord is 2, -2 or "nuc"."""
    if not is_floating(A):
        raise TypeError(f"[matrix_norm] got A of dtype {A.dtype}; expected float32 or float64")
    if ord != "nuc" and 0 in (A.shape[rows], A.shape[columns]):
        shape = A.shape[rows], A.shape[columns]
        raise ValueError(f"[matrix_norm] got matrices of shape {shape}; expected an element")
    rest = [d for d in range(A.ndim) if d not in (rows, columns)]
    _, values, _ = Svd("matrix_norm").apply(permute(A, (*rest, rows, columns)))
    y: Tensor = total(values, -1) if ord == "nuc" else (amax if ord > 0 else amin)(values, -1)
    if keepdim:
        y = reshape(y, tuple(1 if d in (rows, columns) else n for d, n in enumerate(A.shape)))
    return y
