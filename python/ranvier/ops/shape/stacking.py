"""hstack, vstack, column_stack and others, which join tensors as rows or columns; tensor_split, which cuts
one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.shape.join import cat
from ranvier.ops.shape.reshape import _dim, reshape, unsqueeze
from ranvier.tensors.errors import whole
from ranvier.tensors.failures import OpError
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike


def listed(name: str, tensors: Sequence[TensorLike | Sequence[TensorLike]]) -> list[Tensor]:
    """The Tensors in the arguments of ``f(x, y)`` or ``f([x, y])``. name: the op's, for errors."""
    operands: Sequence[Any] = tensors
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        operands = tensors[0]
    return [as_tensor(name, x) for x in operands]


def atleast_1d(*tensors: TensorLike) -> Any:
    """Each tensor with at least one dimension; several give a tuple.

    >>> import ranvier as rv
    >>> rv.atleast_1d(rv.tensor(2.0))
    tensor([2.])
    """
    return _each("atleast_1d", tensors, _as_vectors)


def atleast_2d(*tensors: TensorLike) -> Any:
    """Each tensor with at least two dimensions: a vector is a row.

    >>> import ranvier as rv
    >>> rv.atleast_2d(rv.tensor([1, 2]))
    tensor([[1, 2]])
    """
    return _each("atleast_2d", tensors, _as_rows)


def atleast_3d(*tensors: TensorLike) -> Any:
    """Each tensor with at least three dimensions: (n) becomes (1, n, 1), (m, n) becomes (m, n, 1).

    >>> import ranvier as rv
    >>> rv.atleast_3d(rv.tensor([1.0]))
    tensor([[[1.]]])
    """
    return _each("atleast_3d", tensors, _as_layers)


def _each(name: str, tensors: Sequence[TensorLike], function: Callable[[Tensor], Tensor]) -> Any:
    """function(x) of one tensor; a tuple of them for several tensors, or a list."""
    changed = tuple(function(x) for x in listed(name, tensors))
    is_one_tensor = len(tensors) == 1 and not isinstance(tensors[0], (list, tuple))
    if is_one_tensor:
        return changed[0]
    return changed


def _as_layers(x: Tensor) -> Tensor:
    if x.ndim < 2:
        return reshape(x, (1, -1, 1))
    if x.ndim == 2:
        return unsqueeze(x, -1)
    return x


def _as_vectors(x: Tensor) -> Tensor:
    if x._array.ndim:
        return x
    return reshape(x, (1,))


def _as_rows(x: Tensor) -> Tensor:
    if x._array.ndim > 1:
        return x
    return reshape(x, (1, -1))


def _as_columns(x: Tensor) -> Tensor:
    if x.ndim < 2:
        return reshape(x, (-1, 1))
    return x


def hstack(tensors: Sequence[TensorLike]) -> Tensor:
    """The tensors side by side: joined along dimension 1, vectors along dimension 0.

    >>> import ranvier as rv
    >>> rv.hstack((rv.tensor([1.0]), rv.tensor([2.0, 3.0])))
    tensor([1., 2., 3.])
    """
    parts = [_as_vectors(x) for x in listed("hstack", (tensors,))]
    are_vectors = bool(parts) and parts[0].ndim == 1
    return cat(parts, 0 if are_vectors else 1)


def vstack(tensors: Sequence[TensorLike]) -> Tensor:
    """The tensors one below the other: joined along dimension 0, vectors as rows.

    >>> import ranvier as rv
    >>> rv.vstack((rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0])))
    tensor([[1., 2.],
            [3., 4.]])
    """
    return cat([_as_rows(x) for x in listed("vstack", (tensors,))], 0)


row_stack = vstack


def column_stack(tensors: Sequence[TensorLike]) -> Tensor:
    """The tensors side by side, vectors as columns.

    >>> import ranvier as rv
    >>> rv.column_stack((rv.tensor([1]), rv.tensor([2])))
    tensor([[1, 2]])
    """
    return cat([_as_columns(x) for x in listed("column_stack", (tensors,))], 1)


_MOST_PARTS = 100_000  # the most parts of `tensor_split` beyond the dimension's size; such parts are empty


def tensor_split(
    input: TensorLike,
    indices_or_sections: Any = None,
    dim: int = 0,
    *,
    indices: Any = None,
    sections: Any = None,
) -> tuple[Tensor, ...]:
    """x cut along dim into that many parts, the first ones longer by one, or before the given indices.

    >>> import ranvier as rv
    >>> rv.tensor_split(rv.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    input = as_tensor("tensor_split", input)
    at = _dim("tensor_split", dim, input.ndim)
    if input.ndim == 0:
        raise OpError("[tensor_split] got x of shape (); expected at least one dimension")
    given = [x for x in (indices_or_sections, indices, sections) if x is not None]
    if len(given) != 1:
        raise TypeError(f"[tensor_split] got {len(given)} arguments; expected one: indices or sections")
    n = input.shape[at]
    where_to = given[0]
    if isinstance(where_to, Tensor):
        where_to = where_to._read("tensor_split")
    if np.ndim(where_to) == 0:
        parts = whole("tensor_split", "sections", where_to)
        if not 1 <= parts <= max(n, _MOST_PARTS):
            raise OpError(
                f"[tensor_split] got {parts} sections for size {n}; expected 1 to {max(n, _MOST_PARTS)}"
            )
        sizes = [n // parts + (i < n % parts) for i in range(parts)]
        edges = [0, *itertools.accumulate(sizes)]
    else:
        edges = [slice(None, whole("tensor_split", "indices", i)).indices(n)[1] for i in where_to]
        edges = [0, *edges, n]
    cut, lengths = _core._narrow, itertools.pairwise(edges)
    return tuple([cut("tensor_split", input, at, min(a, n), max(b - a, 0)) for a, b in lengths])
