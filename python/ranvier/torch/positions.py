"""Tensor.to_sparse and sparse_coo_tensor: `Sparse`, a dense tensor with the methods of PyTorch's sparse
ones."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier as rv
from ranvier.nn import Buffer
from ranvier.torch.dispatch import as_subclass


class Sparse(Buffer):
    """A dense tensor that has the methods of sparse tensors. All other operations treat it as a dense tensor.

    >>> x = to_sparse(rv.tensor([[0, 5], [7, 0]]))
    >>> x.indices().tolist(), x.values().tolist(), x.shape
    ([[0, 1], [1, 0]], [5, 7], (2, 2))
    """

    is_sparse = True

    # the places (dimensions, count) of the elements that it was made with, which may be 0
    _given: Any = None

    def _places(self) -> Any:
        """(dimensions, count): the places of the given elements and all that are not 0, ascending."""
        found = rv.nonzero(self).numpy().T
        if self._given is not None:
            found = np.unique(np.hstack([self._given, found[: len(self._given)]]), axis=1)
        return found

    def indices(self) -> Any:
        """(dimensions, count): where the elements are."""
        return rv.from_numpy(np.ascontiguousarray(self._places()))

    def values(self) -> Any:
        """(count, ...): the elements there."""
        return self.to_dense()[tuple(map(rv.from_numpy, self._places()))]

    def to_dense(self) -> Any:
        return self.view(self.shape)

    def coalesce(self) -> Any:
        return self

    def is_coalesced(self) -> bool:
        return True

    def sparse_dim(self) -> int:
        return int(self.ndim) if self._given is None else len(self._given)

    def dense_dim(self) -> int:
        return int(self.ndim) - self.sparse_dim()

    _indices, _values, to_sparse = indices, values, coalesce

    def _nnz(self) -> int:
        return int(self._places().shape[1])


def to_sparse(x: Any, *args: Any, **settings: Any) -> Any:
    """The tensor as a `Sparse` on the same memory.

    Raises NotImplementedError for layouts and dense dimensions.
    """
    if args not in ((), (x.ndim,)) or settings or x.requires_grad:
        raise NotImplementedError(
            f"[to_sparse] got {args or settings or 'a tensor with gradients'}; expected no arguments: "
            "tensors are dense here, and tell where they are not 0"
        )
    return Sparse(x)


to_sparse_coo = to_sparse


def sparse_coo_tensor(
    indices: Any,
    values: Any,
    size: Any = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    check_invariants: bool | None = None,
    is_coalesced: bool | None = None,
) -> Any:
    """A `Sparse` of this size with values at indices (ndim, count); values of the same place are added up.

    >>> sparse_coo_tensor([[0, 2, 2]], [1.0, 2.0, 3.0], (4,)).to_dense()
    tensor([1., 0., 5., 0.])
    >>> sparse_coo_tensor([[0, 3]], [0.0, 1.0]).indices()
    tensor([[0, 3]])
    """
    at, values = rv.as_tensor(indices), rv.as_tensor(values, dtype=dtype)
    if at.ndim != 2 or values.shape[:1] != at.shape[1:] or (at < 0).any():
        raise RuntimeError(
            f"[sparse_coo_tensor] got indices {tuple(at.shape)} of {at.dtype} for values "
            f"{tuple(values.shape)}; expected (ndim, count) whole numbers >= 0, and a value for each"
        )
    if size is None:
        size = (*(int(row.max()) + 1 if len(row) else 0 for row in at), *values.shape[1:])
    empty = rv.zeros(size, dtype=values.dtype, device=device)
    dense = empty.index_put(tuple(at), values, accumulate=True)
    made = as_subclass(dense, Sparse).requires_grad_(requires_grad or dense.requires_grad)
    made._given = np.unique(at.numpy(), axis=1)
    return made
