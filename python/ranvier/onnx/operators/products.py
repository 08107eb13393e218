"""Products of matrices."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.ops as ops
from ranvier.onnx.registry import operator
from ranvier.onnx.values import by_numpy, in_float, is_exact, raw


@operator("MatMul")
def matmul(a: Any, b: Any) -> Any:
    if is_exact(raw(a).dtype):
        return by_numpy(np.matmul, a, b)
    return in_float(ops.matmul, a, b)


@operator("Gemm")
def gemm(
    a: Any,
    b: Any,
    c: Any = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # ONNX's names
    transB: int = 0,
    broadcast: int = 0,
) -> Any:
    """alpha a b + beta c; a and b are matrices, transposed before if the settings say so."""
    if raw(a).ndim != 2 or raw(b).ndim != 2:
        raise ValueError(f"[onnx Gemm] got shapes {raw(a).shape} and {raw(b).shape}; expected two matrices")
    if is_exact(raw(a).dtype):
        return by_numpy(
            lambda a, b, *c: _of_arrays(a.T if transA else a, b.T if transB else b, c, alpha, beta),
            a,
            b,
            *(() if c is None else (c,)),
        )

    def of_tensors(a: Any, b: Any, c: Any) -> Any:
        a = a.T if transA else a
        if transB and alpha == 1 and beta == 1 and (c is None or c.shape == (b.shape[0],)):
            return ops.linear(a, b, c)
        y = ops.matmul(a, b.T if transB else b)
        y = y if alpha == 1 else y * alpha
        return y if c is None else y + (c if beta == 1 else c * beta)

    return in_float(of_tensors, a, b, c)


def _of_arrays(a: Any, b: Any, c: Any, alpha: float, beta: float) -> Any:
    y = alpha * np.matmul(a, b) + (beta * c[0] if c else 0)
    return y.astype(a.dtype)


@operator("Einsum")
def einsum(*values: Any, equation: str) -> Any:
    if any(is_exact(raw(v).dtype) for v in values):
        return by_numpy(lambda *arrays: np.einsum(equation, *arrays), *values)
    return in_float(lambda *tensors: ops.einsum(equation.replace(" ", ""), *tensors), *values)
