"""Embedding: a table with a vector for each number."""

from __future__ import annotations

from typing import Any

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.nn.module import Module, Parameter
from ranvier.ops.layers.embedding import padding_row, refuse

__all__ = ["Embedding"]


class Embedding(Module):
    """y[..., :] = weight[x[...], :]: x integers of any shape, weight (num_embeddings, embedding_dim).

    weight starts standard normal; the row padding_idx starts as zero and gets no gradient. See
    :func:`ranvier.nn.functional.embedding` for the other arguments; max_norm and sparse=True are not
    supported and raise ValueError. Raises IndexError for an x outside 0 ... num_embeddings - 1.

    >>> import ranvier as rv
    >>> words = rv.nn.Embedding(1000, 16, padding_idx=0)
    >>> words(rv.tensor([[4, 7, 0]])).shape
    (1, 3, 16)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if num_embeddings < 0 or embedding_dim < 0:
            raise ValueError(
                f"[embedding] got {num_embeddings} num_embeddings and {embedding_dim} embedding_dim; "
                "expected numbers >= 0"
            )
        refuse(max_norm, sparse)
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = None if padding_idx is None else padding_row(padding_idx, num_embeddings)
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self.weight = Parameter(empty(num_embeddings, embedding_dim, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                init.zeros_(self.weight[self.padding_idx])

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer of a given table (num_embeddings, embedding_dim); freeze: it is not trained.

        >>> import ranvier as rv
        >>> rv.nn.Embedding.from_pretrained(rv.tensor([[1.0, 2.0], [3.0, 4.0]]))(rv.tensor([1]))
        tensor([[3., 4.]])
        """
        weight = Parameter(embeddings, requires_grad=not freeze)
        if weight.ndim != 2:
            raise ValueError(
                f"[embedding] got embeddings of shape {weight.shape}; expected 2 dimensions (num_embeddings, "
                "embedding_dim)"
            )
        rows, width = weight.shape
        with init.skipped():
            layer = cls(
                rows, width, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, weight.dtype
            )
        layer.weight = weight
        return layer

    def forward(self, input: Any) -> Tensor:
        return ops.embedding(input, self.weight, self.padding_idx, scale_grad_by_freq=self.scale_grad_by_freq)

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            text += f", padding_idx={self.padding_idx}"
        return text + (f", scale_grad_by_freq={self.scale_grad_by_freq}" if self.scale_grad_by_freq else "")
