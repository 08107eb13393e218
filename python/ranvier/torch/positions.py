"""Tensor.to_sparse: the tensor, dense as it is, that also tells where its elements are not 0."""

from __future__ import annotations

from typing import Any

import ranvier as rv
from ranvier.nn import Buffer


class Sparse(Buffer):
    """A dense tensor with the methods of sparse ones; all other operations compute with the zeros, too.

    >>> x = to_sparse(rv.tensor([[0, 5], [7, 0]]))
    >>> x.indices().tolist(), x.values().tolist(), x.shape
    ([[0, 1], [1, 0]], [5, 7], (2, 2))
    """

    is_sparse = True

    def indices(self) -> Any:
        """(ndim, count): where the elements are not 0."""
        return rv.nonzero(self).T

    def values(self) -> Any:
        """(count,): the elements that are not 0."""
        return self.to_dense()[rv.nonzero(self, as_tuple=True)]

    def to_dense(self) -> Any:
        return self.view(self.shape)

    def coalesce(self) -> Any:
        return self

    def is_coalesced(self) -> bool:
        return True

    def sparse_dim(self) -> int:
        return int(self.ndim)

    def dense_dim(self) -> int:
        return 0

    _indices, _values, to_sparse = indices, values, coalesce

    def _nnz(self) -> int:
        return len(rv.nonzero(self))


def to_sparse(x: Any, *args: Any, **settings: Any) -> Any:
    """The tensor as a `Sparse`, on its memory. With another layout or dense dimensions it is refused."""
    if args not in ((), (x.ndim,)) or settings or x.requires_grad:
        raise NotImplementedError(
            f"[to_sparse] got {args or settings or 'a tensor with gradients'}; expected no arguments: "
            "tensors are dense here, and tell where they are not 0"
        )
    return Sparse(x)


to_sparse_coo = to_sparse
