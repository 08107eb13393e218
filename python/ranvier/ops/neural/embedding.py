"""embedding: rows of a table picked by number; one_hot: numbers as rows of zeros with a single one."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.grad_mode import no_grad
from ranvier.observe import computed, is_recording, value_read
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import F64, I64, Array, as_tensor
from ranvier.ops.gradient_rules import linear_rule, recomputed
from ranvier.ops.layout import zeros
from ranvier.ops.reduction.norms import norm
from ranvier.ops.shape.index import selected
from ranvier.ops.shape.reshape import reshape
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.errors import flag, index, number, renamed, whole
from ranvier.tensors.failures import OpError, misfit, require_dtype
from ranvier.tensors.memory import all_slices, copied, filled_like, in_dtype, is_batched, keep, plain, write
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike


class Embedding(Function):
    # half floats are computed as they are, but in float32 where a gradient is needed
    dtypes = Dtypes(halves="forward")

    def __init__(self, padding_idx: int | None, scale_grad_by_freq: bool) -> None:
        self.padding_idx = padding_idx
        self.scale_grad_by_freq = scale_grad_by_freq
        # True if backward is not the derivative of forward; forward mode reads it (func/derivatives.py).
        self.is_apart = padding_idx is not None or scale_grad_by_freq

    def forward(self, weight: Array, index: Array) -> Array:
        self.index, self.rows = index, weight.shape[0]
        return _core.embedding(index, weight, None)

    def backward(self, dy: Array) -> tuple[Array, None]:
        arguments = self.rows, self.padding_idx, self.scale_grad_by_freq
        return _core.embedding_backward(dy, self.index, *arguments, None), None


def _rows(node: Any, weight: Array) -> Array:
    """The linear function whose transpose is backward, for the second gradient: the rows of the weight at the
    indices, 0 for padding_idx, and divided by the counts with scale_grad_by_freq."""
    if node.padding_idx is not None:
        weight = copied(weight)
        write(weight[node.padding_idx], 0)
    if node.scale_grad_by_freq:
        rows = filled_like(1, np.empty((*node.index.shape, 1), weight.dtype))
        counts = _core.embedding_backward(rows, node.index, node.rows, None, False, None)
        weight = _core.div(weight, _core.maximum(counts, 1.0, None), None)
    return _core.embedding(node.index, weight, None)


linear_rule(Embedding, backward=lambda node, dy: node.backward(dy)[0], forward=_rows)


class Bag(Function):
    """The sum, mean or maximum of the rows of each bag: see `embedding_bag` in rare.py."""

    derived = frees_result = True

    def __init__(self, *settings: Any) -> None:
        *self.settings, self.scale_grad_by_freq = settings  # mode, include_last_offset, padding_idx
        self.is_apart = self.scale_grad_by_freq  # as of Embedding

    def forward(self, weight: Array, scale: Array | None, index: Array, offsets: Array | None) -> Array:
        self.weight = weight
        self.scale = scale
        self.index = index
        self.offsets = offsets
        self.y = _core.embedding_bag(index, weight, offsets, scale, *self.settings)
        return self.y

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        arguments = self.index, self.weight, self.offsets, self.scale, *self.settings, self.scale_grad_by_freq
        return *_core.embedding_bag_backward(dy, self.y, *arguments, *self.needs[:2]), None, None

    def rows(self) -> tuple[Array, Array, Array]:
        """For the picked rows that count, n in all: their places in the flat index (n,), their bags (n,), and
        the factors with which they are summed in the bag, (n, 1) or (n, width)."""
        mode, _, padding = self.settings
        count = len(self.y)
        if self.offsets is None:
            bags = np.repeat(np.arange(count), self.index.shape[1])
        else:
            value_read("embedding_bag's gradient of a gradient", self.offsets)
            ends = np.append(self.offsets, self.index.size)[1 : count + 1]
            bags = np.repeat(np.arange(count), ends - self.offsets[:count])
        # -1, which no index is: no row is padding
        kept = np.flatnonzero(self.index.reshape(-1)[: len(bags)] != (-1 if padding is None else padding))
        bags = bags[kept]
        shares = np.ones((len(bags), 1), self.y.dtype)
        if mode == "max":
            shares = (self.weight[self.index.reshape(-1)[kept]] == self.y[bags]).astype(self.y.dtype)
        if mode != "sum":
            totals = np.zeros((count, shares.shape[1]), self.y.dtype)
            np.add.at(totals, bags, shares)
            shares /= np.maximum(totals[bags], 1)
        return kept, bags, shares


@recomputed("weight", "scale", kinds=(Bag,))
def _bag(node: Any, weight: Tensor, scale: Tensor | None) -> Tensor:
    """Bag by other ops: the picked rows times their factors, summed in the bags."""
    kept, bags, shares = node.rows()
    rows = Embedding(None, node.scale_grad_by_freq).apply(weight, wrap(node.index.reshape(-1)[kept]))
    rows = rows * wrap(shares)
    if scale is not None:
        rows = rows * scale.reshape(-1)[wrap(kept)].unsqueeze(1)
    return wrap(zeros(node.y.shape, rows._array.dtype)).index_add(0, wrap(bags), rows)


def embedding(
    input: TensorLike,
    weight: TensorLike,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """y[..., :] = weight[x[...], :]

    input: integers of any shape in 0 ... num_embeddings - 1; weight: (num_embeddings, embedding_dim), floats,
    or integers and bools, which have no gradient; y: (*input.shape, embedding_dim), in the dtype of weight.
    padding_idx: a row that gets no gradient; a negative one counts from the end. scale_grad_by_freq: the
    gradient of a row is divided by how often the input has it. The gradient is dense, also with sparse=True.
    max_norm: rows of the input whose norm_type-norm n is greater are first multiplied by
    max_norm / (n + 1e-7), in weight itself and without a gradient.

    Raises IndexError where an index is out of range, TypeError for other dtypes, ValueError for other shapes.
    Source: Bengio et al., "A Neural Probabilistic Language Model" (2003).

    >>> import ranvier as rv
    >>> rv.nn.functional.embedding(rv.tensor([2, 0]), rv.tensor([[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]))
    tensor([[4., 5.],
            [0., 1.]])
    """
    input = as_tensor("embedding", input)
    weight = as_tensor("embedding", weight)
    if sparse is not False:
        flag("embedding", "sparse", sparse)
    if weight.ndim != 2:
        raise misfit("embedding", {"weight": weight.shape}, "2 dimensions (num_embeddings, embedding_dim)")
    if padding_idx is not None:
        padding_idx = padding_row(padding_idx, weight.shape[0])
    if max_norm is not None:
        renormalise(weight, input, number("embedding", "max_norm", max_norm), norm_type)
    if scale_grad_by_freq is not False:
        scale_grad_by_freq = flag("embedding", "scale_grad_by_freq", scale_grad_by_freq)
    if weight._array.dtype.kind in "biu":
        return _rows_of_integers(input, weight)
    return Embedding(padding_idx, scale_grad_by_freq).apply(weight, input)


def _rows_of_integers(input: Tensor, weight: Tensor) -> Tensor:
    """`embedding` of a table of integers or bools."""
    try:
        rows = selected(weight, 0, reshape(input, -1), True)
    except Exception as error:
        raise renamed(error, "embedding") from None
    return reshape(rows, (*input.shape, weight.shape[1]))


def renormalise(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    """Shortens the rows of the index that are longer than max_norm, in place."""
    with no_grad():
        rows = Embedding(None, False).apply(weight, index)  # raises for an index out of range
        weight[index.long()] = _shortened(rows, max_norm, norm_type)  # an index of uint8 would be a mask


@in_dtypes()
def _shortened(rows: Tensor, max_norm: float, norm_type: float) -> Tensor:
    length = norm(rows, norm_type, -1, True)
    return where(length > max_norm, rows * (max_norm / (length + 1e-7)), rows)


def padding_row(padding_idx: Any, rows: int, name: str = "embedding") -> int:
    """The row that padding_idx names; negative ones count from the end."""
    try:
        row = index(padding_idx)
    except (TypeError, RuntimeError):
        row = None
    if row is None or isinstance(padding_idx, bool):
        raise TypeError(f"[{name}] got padding_idx {padding_idx!r}; expected a whole number or None")
    if not -rows <= row < rows:
        raise OpError(f"[{name}] got padding_idx {row} for {rows} embeddings; expected {-rows} to {rows - 1}")
    return row % rows


def one_hot(input: TensorLike, num_classes: int = -1) -> Tensor:
    """y (*x.shape, num_classes) of int64: y[..., c] = 1 where x = c, else 0.

    num_classes: -1 means the greatest class + 1. Raises TypeError for classes that are not integers,
    ValueError for classes outside 0 ... num_classes - 1.

    >>> import ranvier as rv
    >>> rv.nn.functional.one_hot(rv.tensor([0, 2]), 3)
    tensor([[1, 0, 0],
            [0, 0, 1]])
    """
    classes: Any
    if isinstance(input, Tensor):
        classes = input._array
    else:
        classes = np.asarray(plain("one_hot", input))
    require_dtype("one_hot", "classes", classes, "iu", "integers")
    num_classes = whole("one_hot", "num_classes", num_classes)
    if num_classes < -1:
        raise OpError(f"[one_hot] got num_classes {num_classes}; expected at least 0, or -1")
    if num_classes == -1:
        if classes.size == 0:
            raise OpError("[one_hot] got no classes; expected num_classes to be given")
        value_read("one_hot without num_classes", classes)
        num_classes = int(all_slices(classes).max()) + 1
    # The core reads int64. Numbers of uint64 from 2^63 on are negative there, and so out of range.
    if classes.dtype == np.uint64:
        places = classes.view(np.int64)
    else:
        places = classes
    if classes.size and not _core.inside(places, 0, num_classes - 1):
        given = all_slices(classes)
        raise OpError(
            f"[one_hot] got classes from {given.min()} to {given.max()}; expected 0 to {num_classes - 1}"
        )
    if is_batched(classes):
        slices: Tensor = one_hot(classes.value, num_classes)
        return wrap(classes.of_slices(slices))
    if is_recording():
        columns = keep(np.arange(num_classes, dtype=F64))
        made = wrap(in_dtype(_core.eq(in_dtype(classes[..., None], F64), columns, None), I64))
        return computed("one_hot", (input,), made, classes=num_classes)
    y = np.zeros((*classes.shape, num_classes), np.int64)
    # the flat place of each 1: where its row begins, plus the class; 1 in place of 0, which is no step
    y.put(np.arange(0, y.size, num_classes or 1) + places.reshape(-1), 1)
    return wrap(y)
