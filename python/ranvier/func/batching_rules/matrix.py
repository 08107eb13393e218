"""Batching rules of products of matrices and of linear algebra.

A factor that all slices share makes one larger product. Where each slice has a gradient by what it shares
with others (`Operand.is_repeated`), the forward is this product, too, and the gradient is one product for
each slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ranvier._core as _core
from ranvier.func.batching import Operand, batching_rule, broadcast_operands, host_rule
from ranvier.ops.matrix.cholesky import Cholesky, SolveTriangular
from ranvier.ops.matrix.exponential import MatrixExp
from ranvier.ops.matrix.factorizations import (
    Eigh,
    Lu,
    Pinv,
    Qr,
    _checked_exchanges,
    _eigenvalues_by_lapack,
    _rank,
)
from ranvier.ops.matrix.fourier import Fourier, FourierByNumPy, OverlapAdd
from ranvier.ops.matrix.inverse import Cofactors, Det, Logabsdet, Minors, Solve
from ranvier.ops.matrix.linear import Linear
from ranvier.ops.matrix.matmul import Matmul, WideMatmul
from ranvier.ops.matrix.singular import Svd, singular_values
from ranvier.ops.namespaces import (
    FIRST_INPUT,
    KERNELS,
    SECOND_INPUT,
    Operations,
    Value,
    differentiable_backward,
)
from ranvier.tape.function import OWN, Function
from ranvier.tensors.batched import BatchedArray, Level, batched_array
from ranvier.tensors.memory import HALVES, Array
from ranvier.tensors.tensor import Tensor, wrap


@differentiable_backward(x=FIRST_INPUT, weight=SECOND_INPUT)
class LinearOfSlices(Function):
    """y[i] = x[i] W[i]^T + b[i]: x (slices, m, k), W (slices, n, k), b (slices, n) or None, y (slices, m, n).
    All W[i] are one matrix, all b[i] one vector, and each has a gradient of its own."""

    dtypes = OWN

    def forward(self, x: Array, weight: Array, bias: Array | None) -> Array:
        self.x = x
        self.weight = weight
        return _core._linear(x, weight[0], None if bias is None else bias[0])

    def backward(self, dy: Value, f: Operations = KERNELS) -> Any:
        dx = None
        dw = None
        db = None
        if self.needs[0]:
            dx = f.matmul(dy, self.weight[0])
        if self.needs[1]:
            transposed = f.permute(dy, (0, 2, 1))
            dw = f.matmul(transposed, self.x)
        if self.needs[2]:
            slices, _, n = dy.shape
            db = f.reshape(f.sum_to(dy, (slices, 1, n)), (slices, n))
        return dx, dw, db


@batching_rule(Linear)
def linear_of_slices(node: Linear, x: Operand, weight: Operand, bias: Operand | None) -> Tensor:
    shares_bias = bias is None or not bias.is_batched
    if not weight.is_batched and shares_bias:
        bias_value = None if bias is None else bias.value
        return node.apply(x.value, weight.value, bias_value)
    size = x.level.size
    n, k = weight.shape
    rows = x.stacked().reshape(size, math.prod(x.shape[:-1]), k)
    if weight.is_repeated and (bias is None or bias.is_repeated):
        bias_value = None if bias is None else bias.stacked()
        y: Tensor = LinearOfSlices().apply(rows, weight.stacked(), bias_value)
    else:
        y = rows @ weight.value.transpose(-1, -2)
        if bias is not None:
            y = y + bias.stacked().unsqueeze(1)
    return y.reshape(size, *x.shape[:-1], n)


@batching_rule(Matmul, WideMatmul)
def _matmul(node: Matmul, a: Operand, b: Operand) -> Tensor:
    if a.ndim == 1 and b.ndim == 1:
        if a.value._array.dtype in HALVES:  # a product rounds once, its terms would be rounded each
            return node.apply(a.stacked().unsqueeze(1), b.stacked().unsqueeze(2)).reshape(a.level.size)
        return (a.value * b.value).sum(-1)
    if a.ndim == 1:
        return _rows_by_matrix(node, a, b)
    if b.ndim == 1:
        transposed = Operand.of(a.value.transpose(-1, -2), a)
        return _rows_by_matrix(node, b, transposed)
    ndim = max(a.ndim, b.ndim)
    return node.apply(a.aligned(ndim), b.aligned(ndim))


def _rows_by_matrix(node: Matmul, x: Operand, matrix: Operand) -> Tensor:
    """The product of a vector x (k) with one matrix (k, n), or several (..., k, n): (..., n)."""
    if matrix.ndim == 2 and not matrix.is_batched:
        return node.apply(x.value, matrix.value)
    if matrix.ndim == 2 and matrix.is_repeated:
        rows = x.stacked().unsqueeze(1)
        y: Tensor = LinearOfSlices().apply(rows, matrix.value.transpose(1, 2), None)
        return y.squeeze(1)
    row = Operand.of(x.value.unsqueeze(-2), x)
    product = node.apply(row.aligned(matrix.ndim), matrix.value)
    return product.squeeze(-2)


# Linear algebra takes stacks of matrices, whose leading dimensions broadcast.
_of_stacks = batching_rule(
    Cofactors, Det, Eigh, Logabsdet, Lu, MatrixExp, Minors, OverlapAdd, Pinv, Qr, Solve,
    SolveTriangular, Svd,
)  # fmt: skip
_of_stacks(broadcast_operands)


@batching_rule(Fourier, FourierByNumPy)
def _fourier(node: Fourier, x: Operand, window: Operand | None = None) -> Any:
    if window is None:
        return node.apply(x.value)
    if window.is_batched:
        return _fourier_of_windows(node, x, window)
    return node.apply(x.value, window.value)


def _fourier_of_windows(node: Fourier, x: Operand, window: Operand) -> Tensor:
    """The transform with a window for each slice, which the kernel does not take."""
    y: Tensor
    if node.kind == "rfft":
        factors = window.aligned(x.ndim)[..., : x.shape[-1]]  # a shorter x counts as padded with zeros
        y = node.apply(x.value * factors)
    else:  # "irfft": from (.., m, 2) to (.., n)
        y = node.apply(x.value) * window.aligned(x.ndim - 1)
    return y


@host_rule(_checked_exchanges, _rank, _eigenvalues_by_lapack, singular_values)
def _matrices_by_numpy(run: Callable[..., Array], level: Level, *operands: Any) -> Any:
    of_all = [x.value._array if isinstance(x, BatchedArray) else x for x in operands]
    return batched_array(wrap(run(*of_all)), level)


@batching_rule(Cholesky)
def _cholesky(node: Cholesky, A: Operand) -> Any:
    L = node.apply(A.value)
    node.info = batched_array(wrap(node.info), A.level)  # which cholesky_ex returns
    return L
