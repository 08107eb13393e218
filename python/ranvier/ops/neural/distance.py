"""Similarity of vectors: the cosine of their angle, and the norm of their difference."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import alike, common_shape, floating, is_floating, is_number
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.reduction.norms import norm
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.shape.reshape import _dim, broadcast_to, reshape, unsqueeze
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.errors import number
from ranvier.tensors.memory import keep
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import Array, TensorLike


def _broadcast(op: str, x1: TensorLike, x2: TensorLike) -> list[Any]:
    """x1 and x2 in the shape to which they broadcast; integers and bools become floats."""
    operands = list(alike(x1, x2))
    for i, x in enumerate(operands):
        if not is_number(x):
            operands[i] = floating(x, op)
    shape = common_shape(op, *operands)
    for i, x in enumerate(operands):
        if np.shape(x) != shape:
            operands[i] = broadcast_to(x, shape)
    return operands


class CosineSimilarity(Function):
    kernel: Any = _core.cosine_similarity
    kernel_backward: Any = _core.cosine_similarity_backward

    def __init__(self, *settings: Any) -> None:
        self.settings = settings

    def forward(self, x1: Array, x2: Array) -> Array:
        self.x1 = x1
        self.x2 = x2
        return self.kernel(x1, x2, *self.settings)

    def backward(self, dy: Array) -> Any:
        arguments = (dy, self.x1, self.x2, *self.settings)
        dx1 = None
        dx2 = None
        if self.needs[0]:
            dx1 = self.kernel_backward(*arguments)
        if self.needs[1]:
            dx2 = self.kernel_backward(*arguments, True)  # True: of the second input
        return dx1, dx2

    def formula(self, x1: Tensor, x2: Tensor) -> Tensor:
        dim, eps = self.settings
        unit1 = x1 / norm(x1, 2, dim, True).clip(eps)
        unit2 = x2 / norm(x2, 2, dim, True).clip(eps)
        return total(unit1 * unit2, dim)


recomputed("x1", "x2", kinds=(CosineSimilarity,))(CosineSimilarity.formula)


@in_dtypes()
def cosine_similarity(x1: TensorLike, x2: TensorLike, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """sum(x1 x2) / (max(|x1|, eps) max(|x2|, eps)) along ``dim``: the cosine of the angle between vectors.

    x1, x2: float32 or float64 (integers are computed in float32), shapes that broadcast; the result lacks
    ``dim`` of their common shape. Raises ValueError for other shapes or no such dimension.

    >>> import ranvier as rv
    >>> rv.cosine_similarity(rv.tensor([[1.0, 0.0], [1.0, 1.0]]), rv.tensor([[2.0, 0.0]]))
    tensor([1.0000, 0.7071])
    """
    a, b = _broadcast("cosine_similarity", x1, x2)
    if a.ndim == 0:  # one element
        a = reshape(a, 1)
        b = reshape(b, 1)
        dim = _dim("cosine_similarity", dim, 0)
    return CosineSimilarity(dim, number("cosine_similarity", "eps", eps, 0)).apply(a, b)


class PairwiseDistance(CosineSimilarity):
    kernel = _core.pairwise_distance
    kernel_backward = _core.pairwise_distance_backward

    def formula(self, x1: Tensor, x2: Tensor) -> Tensor:
        dim, p, eps = self.settings
        return norm(x1 - x2 + eps, p, dim)


recomputed("x1", "x2", kinds=(PairwiseDistance,))(PairwiseDistance.formula)


class Distances(Function):
    """y[.., i, j] = the p-norm of x1[.., i, :] - x2[.., j, :] for x1 (.., m, d), x2 (.., n, d)"""

    derived = True  # backward reads arrays that forward has computed
    # half floats are computed in float32, and in a block of autocast the result is float32, too
    dtypes = Dtypes(autocast="float32")

    def __init__(self, p: float) -> None:
        self.p = p

    def forward(self, x1: Array, x2: Array | None = None) -> Array:
        self.x1 = x1
        self.x2 = x2
        self.y = _core.cdist(x1, x2, self.p)
        return self.y

    def formula(self, x1: Tensor, x2: Tensor) -> Tensor:
        return norm(unsqueeze(x1, -2) - unsqueeze(x2, -3), self.p, -1)

    def backward(self, dy: Array) -> Any:
        gradients: list[Array | None] = []
        for i, needed in enumerate(self.needs):
            gradient = None
            if needed:
                is_second = i == 1
                gradient = _core.cdist_backward(dy, self.y, self.x1, self.x2, self.p, is_second)
            gradients.append(gradient)
        return tuple(gradients)


recomputed("x1", "x2", kinds=(Distances,))(Distances.formula)


def distances(x1: Tensor, x2: Tensor, p: float) -> Tensor:
    """:func:`ranvier.cdist` for arguments that are checked."""
    if x1.dtype == x2.dtype and is_floating(x1):
        lead = x1.shape[:-2]
        if lead != x2.shape[:-2]:
            lead = np.broadcast_shapes(lead, x2.shape[:-2])
            x1 = broadcast_to(x1, (*lead, *x1.shape[-2:]))
            x2 = broadcast_to(x2, (*lead, *x2.shape[-2:]))
        return Distances(p).apply(x1, x2)
    # several dtypes, or integers: the kernel takes floats of one dtype
    return Distances(p).formula(x1, x2)


class PairsOfRows(Distances):
    """y = the p-norms of x1[i] - x1[j] for x1 (n, d) and i < j"""

    # half floats are computed in float32; autocast changes nothing
    dtypes = Dtypes()

    def formula(self, x: Tensor) -> Tensor:  # type: ignore[override]
        i, j = map(keep, np.triu_indices(x.shape[0], 1))
        return norm(x[i] - x[j], self.p, -1)


recomputed("x1", kinds=(PairsOfRows,))(PairsOfRows.formula)


@in_dtypes()
def pairwise_distance(
    x1: TensorLike, x2: TensorLike, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """(sum |x1 - x2 + eps|^p)^(1/p) along the last dimension; for p infinite the largest difference.

    x1, x2 and errors as of :func:`cosine_similarity`; ValueError for p <= 0. ``keepdim`` keeps the last
    dimension with size 1.

    >>> import ranvier as rv
    >>> rv.pairwise_distance(rv.tensor([[0.0, 0.0]]), rv.tensor([[3.0, 4.0]]))
    tensor([5.0000])
    """
    x1, x2 = _broadcast("pairwise_distance", x1, x2)
    y: Tensor = PairwiseDistance(-1, p, eps).apply(x1, x2)
    if keepdim:
        return unsqueeze(y, -1)
    return y
