"""Batching rules of norms, attention, embeddings, recurrent layers and distances.

The rows, images or sequences of all slices are one batch, where they share the weights. A norm with a weight
for each slice is computed without it; then the result is multiplied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd import no_grad
from ranvier.func.batching import (
    Level,
    Operand,
    batched,
    batching_rule,
    in_slices,
    kernel_rule,
    run_on_slices,
    shifted,
    value_at,
)
from ranvier.func.batching_rules.matrix import linear_of_slices
from ranvier.func.forward import RULES as FORWARD_RULES, RowAlgebra, Rows
from ranvier.ops import where
from ranvier.ops.gradient_rules import linear_rule
from ranvier.ops.matrix.linear import Linear
from ranvier.ops.neural.attention import Attention, PackedAttention
from ranvier.ops.neural.distance import CosineSimilarity, Distances, PairsOfRows, PairwiseDistance
from ranvier.ops.neural.dropout import (
    AlphaDropout,
    ChannelAlphaDropout,
    ChannelDropout,
    Dropout,
    SignalDropout,
)
from ranvier.ops.neural.embedding import Bag, Embedding
from ranvier.ops.neural.normalization import BatchNorm, GroupNorm, LayerNorm, RMSNorm, Running
from ranvier.ops.neural.recurrent import Recurrent, unrolled
from ranvier.tape.function import OWN, Function
from ranvier.tensors.batched import BatchedArray, SlicesError, level_of
from ranvier.tensors.memory import HALVES, Array
from ranvier.tensors.tensor import Tensor, wrap

# --- norms


@batching_rule(LayerNorm, RMSNorm)
def _norm_of_last_axes(node: Any, x: Operand, weight: Operand | None, bias: Operand | None = None) -> Tensor:
    parameters = [operand for operand in (weight, bias) if operand is not None]
    if not any(operand.is_batched for operand in parameters):
        values = [None if operand is None else operand.value for operand in (weight, bias)]
        if type(node) is RMSNorm:
            values = values[:1]
        return node.apply(x.value, *values)
    without = [None] if type(node) is RMSNorm else [None, None]
    y: Tensor = node.apply(x.stacked(), *without)
    if weight is not None:
        y = y * weight.aligned(x.ndim)
    if bias is not None:
        y = y + bias.aligned(x.ndim)
    return y


@batching_rule(GroupNorm)
def _group_norm(node: GroupNorm, x: Operand, weight: Operand | None, bias: Operand | None) -> Tensor:
    size = x.level.size
    images = x.stacked()
    batch = images.reshape(size * x.shape[0], *x.shape[1:])
    is_plain = not any(operand is not None and operand.is_batched for operand in (weight, bias))
    if is_plain:
        values = [None if operand is None else operand.value for operand in (weight, bias)]
        return node.apply(batch, *values).reshape(images.shape)
    y: Tensor = node.apply(batch, None, None).reshape(images.shape)
    return _by_channel(y, x, weight, bias)


def _by_channel(y: Tensor, x: Operand, weight: Operand | None, bias: Operand | None) -> Tensor:
    """y times the weight plus the bias, each with a number for each channel, dimension 1 of a slice."""
    if weight is not None:
        y = y * _channel_factor(weight, x)
    if bias is not None:
        y = y + _channel_factor(bias, x)
    return y


def _channel_factor(numbers: Operand, x: Operand) -> Tensor:
    lead = (numbers.level.size,) if numbers.is_batched else ()
    return numbers.value.reshape(*lead, 1, -1, *(1,) * (x.ndim - 2))


def _count_batch(count: np.ndarray | BatchedArray, momentum: float | None) -> None:
    """Adds one to the number of batches of each slice."""
    if momentum is None:
        raise SlicesError(
            "[batch_norm] got momentum None, and training, in vmap; expected a number, since the numbers of "
            "batches of the slices may differ"
        )
    if type(count) is not BatchedArray:
        raise SlicesError(
            "[batch_norm] got a num_batches_tracked that all slices of vmap share, and training; expected "
            "one for each slice"
        )
    with no_grad():
        count.value.add_(1)


@batching_rule(BatchNorm)
def _batch_norm(node: BatchNorm, x: Operand, weight: Operand | None, bias: Operand | None) -> Tensor:
    size = x.level.size
    n, c = x.shape[:2]
    is_shared = not any(operand is not None and operand.is_batched for operand in (weight, bias))
    statistics: Any = node.running
    has_own_statistics = any(level_of(array) is x.level for array in statistics)
    if not node.training and is_shared and not has_own_statistics:
        values = [None if operand is None else operand.value for operand in (weight, bias)]
        batch = x.value.reshape(size * n, *x.shape[1:])
        return node.apply(batch, *values).reshape(x.value.shape)
    *averages, count = statistics
    running: list[np.ndarray | None] = []
    for array in averages:
        if array is None:
            running.append(None)
        elif level_of(array) is x.level:  # a view, which forward changes
            running.append(array.value._array.reshape(size * c))
        elif node.training:
            raise SlicesError(
                "[batch_norm] got running statistics that all slices of vmap share, and training; expected "
                "eval(), track_running_stats=False, or statistics that are sliced"
            )
        else:
            running.append(np.tile(array, size))
    if node.training and count is not None:
        _count_batch(count, node.momentum)
    # The channels of all slices, each with statistics of its own, are the channels of one batch.
    channels = x.stacked().transpose(0, 1).reshape(n, size * c, *x.shape[2:])
    node.running = Running(*running)
    y: Tensor = node.apply(channels, None, None)
    y = y.reshape(n, size, c, *x.shape[2:]).transpose(0, 1)
    return _by_channel(y, x, weight, bias)


# --- embeddings


class EmbeddingOfSlices(Function):
    """y[i] = the rows of weight[i] (rows, width) at index[i], for weight (slices, rows, width) and index
    (slices, ...)."""

    dtypes = OWN

    def __init__(self, embedding: Embedding) -> None:
        self.padding_idx = embedding.padding_idx
        self.scale_grad_by_freq = embedding.scale_grad_by_freq
        self.is_apart = embedding.is_apart  # as of Embedding

    def forward(self, weight: Array, index: Array) -> Array:
        self.size, self.rows = weight.shape[:2]
        lead = (self.size, *(1,) * (index.ndim - 1))
        self.index = index + np.arange(self.size).reshape(lead) * self.rows
        is_one_matrix = weight.strides[0] == 0
        if is_one_matrix or not _core.inside(index, 0, self.rows - 1):  # then the kernel raises an error
            return _core.embedding(index, weight[0], None)
        return _core.embedding(self.index, weight.reshape(self.size * self.rows, -1), None)

    def backward(self, dy: Array) -> Any:
        rows = self.size * self.rows
        dw = _core.embedding_backward(dy, self.index, rows, None, self.scale_grad_by_freq, None)
        dw = dw.reshape(self.size, self.rows, dy.shape[-1])
        if self.padding_idx is not None:
            dw[:, self.padding_idx] = 0
        return dw, None


def _rows(node: EmbeddingOfSlices, weight: Array) -> Array:
    """The linear function whose transpose is backward, for the second gradient."""
    if node.padding_idx is not None:
        weight = weight.copy()
        weight[:, node.padding_idx] = 0
    rows = weight.reshape(node.size * node.rows, -1)
    if node.scale_grad_by_freq:
        ones = np.ones((*node.index.shape, 1), weight.dtype)
        counts = _core.embedding_backward(ones, node.index, len(rows), None, False, None)
        rows = rows / np.maximum(counts, 1)
    return _core.embedding(node.index, rows, None)


def _gradient(node: EmbeddingOfSlices, dy: Array) -> Array:
    return node.backward(dy)[0]


linear_rule(EmbeddingOfSlices, backward=_gradient, forward=_rows)


def _push_embedding(name: str, algebra: RowAlgebra, node: EmbeddingOfSlices, t: Tensor, _: Rows) -> Tensor:
    """The forward rule: rows t (rows, slices, rows of a weight, width) are picked as those of the weight."""
    flat = t.reshape(t.shape[0], node.size * node.rows, t.shape[-1])
    return flat[:, wrap(node.index)]


FORWARD_RULES[EmbeddingOfSlices] = _push_embedding


@batching_rule(Embedding)
def _embedding(node: Embedding, weight: Operand, index: Operand) -> Any:
    if not weight.is_batched:
        return node.apply(weight.value, index.value)
    return EmbeddingOfSlices(node).apply(weight.value, index.stacked())


@batching_rule(Bag)
def _bag(
    node: Bag, weight: Operand, scale: Operand | None, index: Operand, offsets: Operand | None
) -> Tensor:
    """The bags of all slices are one list of bags; rows of other weights have places after each other."""
    _, has_last_offset, padding = node.settings
    rows, width = weight.shape
    size = weight.level.size
    places = index.stacked()
    is_counted = not weight.is_batched and node.scale_grad_by_freq  # rows are counted in each slice
    if not _core.inside(places._array, 0, rows - 1):
        table = weight.value._array.reshape(-1, width)[:rows]
        _core.embedding_bag(places._array.reshape(1, -1), table, None, None, "sum", False, None)  # raises
    if is_counted:
        operands = [weight, scale, index, offsets]
        inputs = [None if operand is None else operand.tensor() for operand in operands]
        return run_on_slices(node, inputs, weight.level)
    values = weight.value
    if weight.is_batched:
        first = np.arange(size).reshape(-1, *(1,) * index.ndim) * rows
        numbered = places + wrap(first)
        if padding is not None:  # one row stands for the padding of all slices
            numbered = where(places.eq(padding), padding, numbered)
        places = numbered
        values = values.reshape(size * rows, width)
    scales = None
    if scale is not None:
        scales = scale.stacked().reshape(size * scale.shape[0], *scale.shape[1:])
    flat = places.reshape(size * index.shape[0], *index.shape[1:])
    if offsets is None:
        return node.apply(values, scales, flat, None).reshape(size, index.shape[0], width)
    mode, *_ = node.settings
    node.settings = [mode, False, padding]
    starts = offsets.stacked() + wrap(np.arange(size)[:, None] * index.shape[0])
    y = node.apply(values, scales, flat, starts.reshape(-1)).reshape(size, offsets.shape[0], width)
    if has_last_offset:  # that is no bag, but the end of the last one
        return y[:, :-1]
    return y


# --- attention


def _draws_for_all_slices(node: Attention) -> bool:
    """False if dropout gives all slices the same numbers. Different ones need one key, as what is drawn
    depends on the place of an element; the node gets it."""
    if type(node.key) is BatchedArray:
        node.key = node.key.value._array[0]
        return True
    return node.key is None


@kernel_rule("_attention_reads_halves")
def _reads_halves(kernel: Any, level: Level, *arrays: Any) -> bool:
    """No: in the batch of all slices bfloat16 is computed in float32."""
    return False


@batching_rule(Attention)
def _attention(node: Attention, q: Operand, k: Operand, v: Operand, *masks: Operand) -> Any:
    if not _draws_for_all_slices(node):
        return _with_same_dropout(node, q, k, v, *masks)
    ndim = max(operand.ndim for operand in (q, k, v))
    values = []
    for operand in (q, k, v):
        value = operand.stacked()
        if operand.ndim < ndim:
            value = value.reshape(len(value), *(1,) * (ndim - operand.ndim), *operand.shape)
        values.append(value)
    return node.apply(*values, *[mask.aligned(ndim) for mask in masks])


def _with_same_dropout(node: Attention, *operands: Operand) -> Any:
    """Attention with one key of dropout for all slices: by its formula, in which the rule of Dropout gives
    each slice the same numbers. Half floats, which the kernel computes in float32, run slice by slice."""
    level = operands[0].level
    tensors = [operand.tensor() for operand in operands]
    if any(x._array.dtype in HALVES for x in tensors):
        return run_on_slices(node, tensors, level)
    result = in_slices(level, node.formula, *tensors)
    if isinstance(result, tuple):
        return tuple([value_at(part, level) for part in result])
    return value_at(result, level)


@batching_rule(PackedAttention)
def _packed_attention(node: PackedAttention, qkv: Operand, *masks: Operand) -> Any:
    if not _draws_for_all_slices(node):
        return _with_same_dropout(node, qkv, *masks)
    size = qkv.level.size
    first, second, width = qkv.shape
    values = qkv.stacked()
    n = first if node.batch_first else second
    folded_masks = [_fold_mask(mask, n) for mask in masks]
    if node.batch_first:
        y = node.apply(values.reshape(size * first, second, width), *folded_masks)
        to_slices = _first_by_slice
    else:
        y = node.apply(values.transpose(0, 1).reshape(first, size * second, width), *folded_masks)
        to_slices = _second_by_slice
    if isinstance(y, tuple):
        y, weights = y
        return to_slices(y, size), _first_by_slice(weights, size)
    return to_slices(y, size)


def _first_by_slice(y: Tensor, size: int) -> Tensor:
    """(slices n, ...) as (slices, n, ...)."""
    return y.reshape(size, y.shape[0] // size, *y.shape[1:])


def _second_by_slice(y: Tensor, size: int) -> Tensor:
    """(m, slices n, ...) as (slices, m, n, ...)."""
    return y.reshape(y.shape[0], size, y.shape[1] // size, *y.shape[2:]).transpose(0, 1)


def _fold_mask(mask: Operand, n: int) -> Tensor:
    """A mask that broadcasts to the scores (n, heads, l, s) of a slice, for those of all slices in one
    batch."""
    size = mask.level.size
    missing = 4 - mask.ndim
    shape = (*(1,) * missing, *mask.shape)
    if not mask.is_batched and shape[0] == 1:
        return mask.value
    of_slices = mask.stacked().reshape(size, *shape).expand(size, n, *shape[1:])
    return of_slices.reshape(size * n, *shape[1:])


# --- recurrent layers


@batching_rule(Recurrent)
def _recurrent(node: Recurrent, *operands: Operand | None) -> Any:
    x, h0, c0, *weights = operands
    level = next(operand.level for operand in operands if operand is not None)
    has_own_weights = any(operand is not None and operand.is_batched for operand in weights)
    if x is None or node.sizes is not None:
        inputs = [None if operand is None else operand.tensor() for operand in operands]
        return run_on_slices(node, inputs, level)
    size = level.size
    steps, n, width = x.shape
    sequences = x.stacked().transpose(0, 1).reshape(steps, size * n, width)
    states: list[Tensor | None] = []
    for state in (h0, c0):
        if state is None:
            states.append(None)
        else:
            states.append(state.stacked().reshape(size * n, *state.shape[1:]))
    if has_own_weights:
        y, *last_states = _by_own_weights(node, level, sequences, states, weights)
    else:
        values = [None if operand is None else operand.value for operand in weights]
        y, *last_states = node.apply(sequences, *states, *values)
    return _second_by_slice(y, size), *[_first_by_slice(state, size) for state in last_states]


def _by_own_weights(
    node: Recurrent,
    level: Level,
    sequences: Tensor,
    states: Sequence[Tensor | None],
    weights: Sequence[Operand | None],
) -> tuple[Tensor, ...]:
    """A recurrent layer with weights for each slice, step by step. sequences: (steps, slices n, inputs)."""
    w_ih, w_hh, b_ih, b_hh = weights
    if w_hh is None:
        raise RuntimeError("[recurrent] got no weight of the states; expected one")
    steps, rows, _ = sequences.shape
    n = rows // level.size
    hidden = w_hh.shape[1]

    def product(x: Tensor, weight: Operand, bias: Operand | None) -> Tensor:
        """W x + b for x (slices, ..., width)."""
        return linear_of_slices(Linear(), Operand(batched(x, level), level), weight, bias)

    def project_state(h: Tensor) -> Tensor:
        by_slices = h.reshape(level.size, h.shape[0] // level.size, hidden)
        return product(by_slices, w_hh, b_hh).reshape(h.shape[0], -1)

    projected = sequences
    if w_ih is not None:
        by_slices = sequences.reshape(steps, level.size, n, sequences.shape[2]).transpose(0, 1)
        projected = product(by_slices, w_ih, b_ih).transpose(0, 1).reshape(steps, rows, -1)
    node.x = sequences._array  # of which `unrolled` reads the dtype
    h0, c0 = states
    return unrolled(node, projected, h0, c0, hidden, project_state)


# --- distances


@batching_rule(CosineSimilarity, PairwiseDistance)
def _along_dimension(node: CosineSimilarity, x1: Operand, x2: Operand) -> Any:
    dim, *settings = node.settings
    node.settings = (shifted(dim, x1.ndim), *settings)
    return node.apply(x1.stacked(), x2.stacked())


@batching_rule(Distances)
def _distances(node: Distances, x1: Operand, x2: Operand) -> Any:
    return node.apply(x1.stacked(), x2.stacked())


@batching_rule(PairsOfRows)
def _pairs_of_rows(node: PairsOfRows, x: Operand) -> Any:
    i, j = np.triu_indices(x.shape[0], 1)
    differences = x.value[:, i] - x.value[:, j]
    return differences.norm(node.p, -1)


# --- dropout


@batching_rule(Dropout, ChannelDropout, SignalDropout, AlphaDropout, ChannelAlphaDropout)
def _dropout(node: Any, x: Operand) -> Any:
    """With a key for each slice one call draws for all slices, since what is drawn depends on the place of an
    element. With one key, what is drawn for a slice is the same for all."""
    if type(node.key) is not BatchedArray:
        return _same_dropout(node, x)
    node.key = node.key.value._array[0]
    values = x.stacked()
    has_channels = isinstance(node, (ChannelDropout, ChannelAlphaDropout))
    is_one_signal = isinstance(node, SignalDropout) and x.ndim == 2
    if not has_channels or is_one_signal:
        return node.apply(values)
    samples = values.reshape(x.level.size * x.shape[0], *x.shape[1:])
    return node.apply(samples).reshape(values.shape)


def _same_dropout(node: Any, x: Operand) -> Tensor:
    ones = wrap(np.ones(x.shape, x.value._array.dtype))
    if isinstance(node, AlphaDropout):
        of_one = node.apply(ones)
        is_kept = of_one.ne(node.dropped)
        y: Tensor = where(is_kept, x.value * node.a + node.b, node.dropped)
        return y
    scale = node.apply(ones)
    return (x.value * scale).masked_fill(scale.eq(0.0), 0.0)
