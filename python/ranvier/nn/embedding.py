"""Embedding, a table with a vector for each whole number; EmbeddingBag and CategoryEmbedding."""

from __future__ import annotations

import operator
from collections.abc import Sequence

import ranvier.nn.functional as F
import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.grad_mode import no_grad
from ranvier.nn.container import ModuleList
from ranvier.nn.module import Module, Parameter
from ranvier.nn.table import LAYERS
from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import empty
from ranvier.ops.neural.embedding import padding_row
from ranvier.tensors.errors import count, number, one_of
from ranvier.tensors.failures import misfit
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import ArrayLike, DtypeLike, TensorLike

__all__ = LAYERS["embedding"]


# For automatic models (sklearn/tabular_network.py, cli/tables.py): a column with more categories than this
# gets an embedding, not one-hot columns.
ONE_HOT = 8


class _Table(Module):
    """Base of Embedding and EmbeddingBag: the table, and its settings."""

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None

    def _make(
        self,
        name: str,
        num_embeddings: int,
        embedding_dim: int,
        *,
        padding_idx: int | None,
        max_norm: float | None,
        norm_type: float,
        scale_grad_by_freq: bool,
        sparse: bool,
        table: Tensor | None,
        trained: bool,
        dtype: DtypeLike | None,
    ) -> None:
        """The constructor of both. name: of the layer, for errors. table: the values; None: new ones."""
        super().__init__()
        self.num_embeddings = count("embedding", "num_embeddings", num_embeddings, 0)
        self.embedding_dim = count("embedding", "embedding_dim", embedding_dim, 0)
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        if padding_idx is None:
            self.padding_idx = None
        else:
            self.padding_idx = padding_row(padding_idx, self.num_embeddings)
        if max_norm is None:
            self.max_norm = None
        else:
            self.max_norm = number(name, "max_norm", max_norm)
        self.norm_type = number(name, "norm_type", norm_type)
        shape = (self.num_embeddings, self.embedding_dim)
        values = empty(*shape, dtype=dtype) if table is None else table
        self.weight = Parameter(values, requires_grad=trained)
        if self.weight.shape != shape:
            raise misfit(name, {"_weight": self.weight.shape}, shape)
        if table is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        init.normal_(self.weight)
        self._fill_padding_idx_with_zero()

    def _fill_padding_idx_with_zero(self) -> None:
        """The row padding_idx becomes zero. The name is PyTorch's: subclasses with another start call it."""
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])


class Embedding(_Table):
    """y[..., :] = weight[x[...], :]: x integers of any shape, weight (num_embeddings, embedding_dim).

    weight starts standard normal; the row padding_idx starts as zero and gets no gradient. See
    :func:`ranvier.nn.functional.embedding` for the other arguments. sparse=True is accepted, but gradients
    are always dense. Raises IndexError if an x is not in 0 ... num_embeddings - 1.

    >>> import ranvier as rv
    >>> rv.nn.Embedding(1000, 16, padding_idx=0)(rv.tensor([[4, 7, 0]])).shape
    (1, 3, 16)
    """

    _shown = (
        "*num_embeddings", "*embedding_dim", "padding_idx?", "max_norm?", "norm_type?", "scale_grad_by_freq?",
    )  # fmt: skip

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        dtype: DtypeLike | None = None,
    ) -> None:
        self._make(
            "embedding",
            num_embeddings,
            embedding_dim,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            table=_weight,
            trained=not _freeze,
            dtype=dtype,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """A layer with a given table (num_embeddings, embedding_dim). freeze: the table is not trained.

        >>> import ranvier as rv
        >>> rv.nn.Embedding.from_pretrained(rv.tensor([[1.0, 2.0], [3.0, 4.0]]))(rv.tensor([1]))
        tensor([[3., 4.]])
        """
        weight = Parameter(embeddings, requires_grad=not freeze)
        rows, width = _table_shape(weight)
        layer = cls(  # by keywords, as subclasses take them
            num_embeddings=rows,
            embedding_dim=width,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            _weight=weight,
            _freeze=freeze,
        )
        layer.weight = weight
        return layer

    def forward(self, input: TensorLike) -> Tensor:
        settings = self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq
        return F.embedding(input, self.weight, *settings)


def _table_shape(weight: Tensor) -> tuple[int, int]:
    """(num_embeddings, embedding_dim) of a given table; ValueError unless it is a matrix."""
    if weight.ndim != 2:
        raise misfit(
            "embedding", {"embeddings": weight.shape}, "2 dimensions (num_embeddings, embedding_dim)"
        )
    rows, width = weight.shape
    return rows, width


class EmbeddingBag(_Table):
    """The sum, mean or maximum of the vectors of each bag: see :func:`ranvier.nn.functional.embedding_bag`.

    weight starts standard normal, the row padding_idx as zero. Gradients are dense, also with sparse=True.

    >>> import ranvier as rv
    >>> rv.nn.EmbeddingBag(10, 3, mode="sum")(rv.tensor([[1, 2], [4, 9]])).shape
    (2, 3)
    """

    _shown = (
        "*num_embeddings", "*embedding_dim", "max_norm?", "norm_type?", "scale_grad_by_freq?", "mode",
        "padding_idx?",
    )  # fmt: skip

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        dtype: DtypeLike | None = None,
    ) -> None:
        one_of("EmbeddingBag", "mode", mode, ("sum", "mean", "max"))
        self._make(
            "EmbeddingBag",
            num_embeddings,
            embedding_dim,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=bool(scale_grad_by_freq),
            sparse=sparse,
            table=_weight,
            trained=True,
            dtype=dtype,
        )
        self.mode = mode
        self.include_last_offset = bool(include_last_offset)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: ArrayLike,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """A layer with a given table (num_embeddings, embedding_dim). freeze: the table is not trained."""
        weight = Parameter(embeddings, requires_grad=not freeze)
        rows, width = _table_shape(weight)
        settings = (max_norm, norm_type, scale_grad_by_freq, mode, sparse)
        layer = cls(rows, width, *settings, weight, include_last_offset, padding_idx)
        layer.weight = weight
        return layer

    def forward(
        self,
        input: TensorLike,
        offsets: TensorLike | None = None,
        per_sample_weights: TensorLike | None = None,
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )


class CategoryEmbedding(Module):
    """Replaces the class indices in the last columns of x by vectors, the rows of an Embedding per column.

    x (N, numbers + len(categories)): first columns of numbers, which stay as they are, then columns of class
    indices 0 ... categories[i] - 1 (floats or integers). y (N, numbers + the sum of the widths): the vectors
    of a column with c categories have min(8, (c + 1) // 2) elements. Class 0 is for missing and unknown
    categories: its vector starts as zero, the others standard normal.

    Args:
        numbers: how many columns stay as they are.
        categories: the number of classes of each further column.

    Raises ValueError: x of another width or number of dimensions; IndexError: a class index out of range.

    Source: Guo and Berkhahn, "Entity embeddings of categorical variables" (2016).

    >>> import ranvier as rv
    >>> rv.nn.CategoryEmbedding(2, [40])(rv.tensor([[0.5, -1.0, 3.0], [0.1, 2.0, 39.0]])).shape
    (2, 10)
    """

    def __init__(self, numbers: int, categories: Sequence[int] = ()) -> None:
        super().__init__()
        message = f"[CategoryEmbedding] got numbers {numbers!r} and categories {categories!r}; expected"
        try:
            if isinstance(numbers, bool) or isinstance(categories, (str, bytes)):
                raise TypeError
            self.numbers = operator.index(numbers)
            self.categories = tuple(map(operator.index, categories))
        except TypeError:
            raise TypeError(f"{message} a whole number and a sequence of whole numbers") from None
        if self.numbers < 0 or any(count < 1 for count in self.categories):
            raise ValueError(f"{message} numbers >= 0 and categories >= 1")
        tables = [Embedding(count, min(8, (count + 1) // 2)) for count in self.categories]
        with no_grad():
            for table in tables:
                init.zeros_(table.weight[0])
        self.tables = ModuleList(tables)
        self.width = self.numbers + sum(table.embedding_dim for table in tables)

    def forward(self, x: TensorLike) -> Tensor:
        x = as_tensor("CategoryEmbedding", x)
        if x.ndim != 2 or x.shape[1] != self.numbers + len(self.categories):
            expected = f"(n, {self.numbers} numbers + {len(self.categories)} class indices)"
            raise misfit("CategoryEmbedding", {"x": x.shape}, expected)
        if not self.categories:
            return x
        blocks = []  # the columns of y
        if self.numbers:
            blocks.append(_floats(x[:, : self.numbers], self.tables[0]))
        for i, table in enumerate(self.tables):
            classes = x[:, self.numbers + i].long()
            blocks.append(table(classes))
        if len(blocks) > 1:
            return ops.cat(blocks, 1)
        return blocks[0]


def _floats(numbers: Tensor, table: Embedding) -> Tensor:
    """Columns of numbers as floats: integers in the dtype of the tables."""
    if numbers.is_floating_point():
        return numbers
    return numbers.to(table.weight.dtype)
