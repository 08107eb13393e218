"""Tensors joined and split as rows, columns and layers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.shape.join import cat, narrow
from ranvier.ops.shape.reshape import _dim, reshape, unsqueeze


def listed(name: str, tensors: Any) -> list[Tensor]:
    if len(tensors) == 1 and isinstance(tensors[0], (list, tuple)):
        tensors = tensors[0]
    return [as_tensor(name, x) for x in tensors]


def atleast_1d(*tensors: Any) -> Any:
    """Each tensor with at least one dimension; several give a tuple.

    >>> import ranvier as rv
    >>> rv.atleast_1d(rv.tensor(2.0))
    tensor([2.])
    """
    return _atleast("atleast_1d", tensors, lambda x: reshape(x, (1,)) if x.ndim == 0 else x)


def atleast_2d(*tensors: Any) -> Any:
    """Each tensor with at least two dimensions: a vector is a row.

    >>> import ranvier as rv
    >>> rv.atleast_2d(rv.tensor([1, 2]))
    tensor([[1, 2]])
    """
    return _atleast("atleast_2d", tensors, lambda x: reshape(x, (1, -1)) if x.ndim < 2 else x)


def atleast_3d(*tensors: Any) -> Any:
    """Each tensor with at least three dimensions: (n) becomes (1, n, 1), (m, n) becomes (m, n, 1).

    >>> import ranvier as rv
    >>> rv.atleast_3d(rv.tensor([1, 2])).shape
    (1, 2, 1)
    """

    def three(x: Tensor) -> Tensor:
        if x.ndim < 2:
            return reshape(x, (1, -1, 1))
        return unsqueeze(x, -1) if x.ndim == 2 else x

    return _atleast("atleast_3d", tensors, three)


def _atleast(name: str, tensors: Any, function: Any) -> Any:
    several = len(tensors) != 1 or isinstance(tensors[0], (list, tuple))
    made = tuple(function(x) for x in listed(name, tensors))
    return made if several else made[0]


def hstack(tensors: Any) -> Tensor:
    """The tensors side by side: joined along dimension 1, vectors along dimension 0.

    >>> import ranvier as rv
    >>> rv.hstack((rv.tensor([1.0]), rv.tensor([2.0, 3.0])))
    tensor([1., 2., 3.])
    """
    parts = [atleast_1d(x) for x in listed("hstack", (tensors,))]
    return cat(parts, 0 if parts and parts[0].ndim == 1 else 1)


def vstack(tensors: Any) -> Tensor:
    """The tensors one below the other: joined along dimension 0, vectors as rows.

    >>> import ranvier as rv
    >>> rv.vstack((rv.tensor([1.0, 2.0]), rv.tensor([3.0, 4.0])))
    tensor([[1., 2.],
            [3., 4.]])
    """
    return cat([atleast_2d(x) for x in listed("vstack", (tensors,))], 0)


row_stack = vstack


def dstack(tensors: Any) -> Tensor:
    """The tensors joined along dimension 2: see :func:`atleast_3d`.

    >>> import ranvier as rv
    >>> rv.dstack((rv.tensor([1, 2]), rv.tensor([3, 4])))
    tensor([[[1, 3],
             [2, 4]]])
    """
    return cat([atleast_3d(x) for x in listed("dstack", (tensors,))], 2)


def column_stack(tensors: Any) -> Tensor:
    """The tensors side by side, vectors as columns.

    >>> import ranvier as rv
    >>> rv.column_stack((rv.tensor([1, 2]), rv.tensor([3, 4])))
    tensor([[1, 3],
            [2, 4]])
    """
    parts = listed("column_stack", (tensors,))
    return cat([reshape(x, (-1, 1)) if x.ndim < 2 else x for x in parts], 1)


def tensor_split(input: Any, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """x cut along dim into that many parts, the first ones longer by one, or before the given indices.

    >>> import ranvier as rv
    >>> rv.tensor_split(rv.arange(5), 2)
    (tensor([0, 1, 2]), tensor([3, 4]))
    """
    input = as_tensor("tensor_split", input)
    at = _dim("tensor_split", dim, input.ndim)
    if input.ndim == 0:
        raise ValueError("[tensor_split] got x of shape (); expected at least one dimension")
    n, where_to = input.shape[at], getattr(indices_or_sections, "_array", indices_or_sections)
    if np.ndim(where_to) == 0:
        parts = int(where_to)
        if parts < 1:
            raise ValueError(f"[tensor_split] got {parts} sections; expected at least 1")
        sizes = [n // parts + (i < n % parts) for i in range(parts)]
        edges = [0, *itertools.accumulate(sizes)]
    else:
        edges = [slice(None, int(i)).indices(n)[1] for i in where_to]
        edges = [0, *edges, n]
    return tuple(narrow(input, at, min(a, n), max(b - a, 0)) for a, b in itertools.pairwise(edges))


def _cut(name: str, x: Any, where_to: Any, dim: int, least: int) -> tuple[Tensor, ...]:
    x = as_tensor(name, x)
    if x.ndim < least:
        raise ValueError(f"[{name}] got x of shape {x.shape}; expected at least {least} dimensions")
    sections = getattr(where_to, "_array", where_to)
    if np.asarray(sections).dtype.kind not in "iu":
        raise TypeError(f"[{name}] got {where_to!r}; expected a whole number, or indices")
    if np.ndim(sections) == 0 and (int(sections) < 1 or x.shape[dim] % int(sections)):
        raise ValueError(
            f"[{name}] got {int(sections)} sections for size {x.shape[dim]}; expected a divisor of it"
        )
    return tensor_split(x, where_to, dim)


def hsplit(input: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x cut along dimension 1 (a vector along dimension 0): see :func:`tensor_split`.

    >>> import ranvier as rv
    >>> rv.hsplit(rv.tensor([1, 2, 3, 4]), 2)
    (tensor([1, 2]), tensor([3, 4]))
    """
    input = as_tensor("hsplit", input)
    return _cut("hsplit", input, indices_or_sections, 0 if input.ndim == 1 else 1, 1)


def vsplit(input: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x cut along dimension 0: see :func:`tensor_split`.

    >>> import ranvier as rv
    >>> rv.vsplit(rv.tensor([[1, 2], [3, 4]]), 2)
    (tensor([[1, 2]]), tensor([[3, 4]]))
    """
    return _cut("vsplit", input, indices_or_sections, 0, 2)


def dsplit(input: Any, indices_or_sections: Any) -> tuple[Tensor, ...]:
    """x cut along dimension 2: see :func:`tensor_split`.

    >>> import ranvier as rv
    >>> [part.shape for part in rv.dsplit(rv.ones(1, 2, 4), 2)]
    [(1, 2, 2), (1, 2, 2)]
    """
    return _cut("dsplit", input, indices_or_sections, 2, 3)
