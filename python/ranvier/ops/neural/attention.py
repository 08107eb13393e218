"""Scaled dot-product attention; also for queries, keys and values in one array, as one projection gives them.

The kernel computes scores, softmax and the product with the values together. Backward needs the weights: if
they are small, forward keeps them; else backward computes them again, part by part (`_parts`), so that a part
stays in the processor's cache. Shapes: L queries, S keys, width E of queries and keys, width D of values.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.dtypes import Array, as_tensor
from ranvier.ops.gradient_rules import recomputed
from ranvier.ops.layout import zeros
from ranvier.ops.making.random import fresh_key
from ranvier.ops.neural.attention_masks import expect_on_scores
from ranvier.ops.neural.attention_shapes import by_groups, scores_shape
from ranvier.ops.neural.dropout import Dropout, probability
from ranvier.ops.reduction.reduce import amax
from ranvier.ops.shape.reshape import expand
from ranvier.tape.function import Dtypes, Function, in_dtypes
from ranvier.tensors.memory import BF16, HALVES, keep, reshaped, unbroadcast
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import TensorLike

_NAME = "scaled_dot_product_attention"
_PART = 1 << 20  # bytes of scores in one part, so that they stay in the cache
_LEAST_ROWS = 64  # the least queries of a part: products with fewer rows are slow
# parts of causal attention: each leaves out the keys after its queries; more parts gain little
_CAUSAL_PARTS = 8
_MOST_KEPT = 1 << 26  # the most bytes of scores for which the weights are kept for backward


class _Part(NamedTuple):
    """The queries (rows) and keys, of a part of the leading dimensions, whose scores are computed
    together."""

    lead: tuple[slice, ...]
    rows: slice
    keys: slice

    def of(self, x: Any, places: slice) -> Any:
        """This part of x (..., length, width), the queries, keys, values or results; None for None. places:
        the part of the length."""
        if self is _WHOLE or x is None:
            return x
        return x[self.lead][..., places, :]

    def of_mask(self, mask: Array, ndim: int) -> Array:
        """This part of a mask, which broadcasts to scores of ndim dimensions."""
        if self is _WHOLE:
            return mask
        every = (slice(None),) * (ndim - 2 - len(self.lead))
        index = (*self.lead, *every, self.rows, self.keys)[ndim - mask.ndim :]
        return mask[tuple(slice(None) if n == 1 else i for i, n in zip(index, mask.shape, strict=True))]


_WHOLE = _Part((), slice(None), slice(None))


def _cuts(lead: list[int], most: int) -> list[tuple[slice, ...]]:
    """Divides leading dimensions of these sizes into parts of at most `most` elements, but at least one
    each."""
    cuts: list[tuple[slice, ...]] = [()]
    for axis, n in enumerate(lead):
        step = max(1, most // max(math.prod(lead[axis + 1 :]), 1))
        if step >= n > 1:
            break
        cuts = [(*cut, slice(i, i + step)) for cut in cuts for i in range(0, n, step)]
        if step > 1:
            break
    return cuts


def seen_by(scores: Tensor) -> Tensor:
    """True where causal attention lets a query (row) look at a key (column)."""
    return wrap(keep(np.tri(*scores.shape[-2:], dtype=np.bool_)))


class Attention(Function):
    """y = dropout(softmax(scale q k^T + masks)) v: q (..., L, E), k (..., S, E), v (..., S, D), y (..., L, D)

    Masks broadcast to the scores (..., L, S). In bool masks True hides a key if ``hides``; else True shows
    it, and False hides it. A query without visible keys has weights 0; ``with_weights``, if the weights are a
    result, they are NaN, as in PyTorch. Weights are stored as (..., S, L), as the kernel computes them.

    Attributes:
        kept: whether the weights of all queries are kept for backward
        weights, dropped: these weights, before and after dropout
        of_masks: whether a mask needs a gradient
    """

    dtypes = Dtypes(autocast="lower", beside=3)

    def __init__(
        self, scale: float, is_causal: bool, p: float, hides: bool, with_weights: bool = False
    ) -> None:
        self.scale = scale
        self.is_causal = is_causal
        self.p = p
        self.hides = hides
        self.with_weights = with_weights
        self.key = fresh_key() if p > 0 else None
        self.half: Any = None  # a dtype to which weights are rounded before their product with the values

    def forward(self, q: Array, k: Array, v: Array, *masks: Array) -> Any:
        self.shapes = q.shape, k.shape, v.shape
        y = self._attend(q, k, v, masks)
        if self.with_weights:
            return (y, self.dropped.swapaxes(-1, -2))
        return y

    def backward(self, dy: Array | None, dweights: Array | None = None) -> tuple[Array | None, ...]:
        lead = self.q.shape[:-2]
        pairs = zip((self.q, self.k, self.v), self.needs, strict=False)
        to = [zeros((*lead, *x.shape[-2:]), x.dtype) if needed else None for x, needed in pairs]
        if dy is None:  # the weights do not depend on v
            to[2] = None
        of_masks = self._of_masks(self._gradients(dy, dweights, to))
        shapes = zip(to, self.shapes, strict=True)
        return *(None if d is None else unbroadcast(d, shape) for d, shape in shapes), *of_masks

    def _of_masks(self, dscores: Array | None) -> tuple[Array | None, ...]:
        """The gradients of the masks, from the gradient of the scores."""
        masks = zip(self.needs[len(self.needs) - len(self.mask_shapes) :], self.mask_shapes, strict=True)
        return tuple(
            unbroadcast(dscores, shape) if needed and dscores is not None else None for needed, shape in masks
        )

    def formula(self, q: Tensor, k: Tensor, v: Tensor, *masks: Tensor) -> Any:
        scores = (q * self.scale) @ k.transpose(-1, -2)
        for mask in masks:
            is_bool = mask._array.dtype.kind == "b"
            if is_bool:
                hidden = mask if self.hides else ~mask
            else:
                hidden = None
            if hidden is None:
                scores = scores + mask
            else:
                scores = scores.masked_fill(hidden, -math.inf)
        if self.is_causal:
            scores = where(seen_by(scores), scores, -math.inf)
        hidden = scores.eq(-math.inf)
        # Queries without visible keys have weights 0, or NaN where the weights are a result.
        fills = bool(masks) and not self.with_weights
        if fills:
            scores = scores.masked_fill(amax(scores, -1, True).eq(-math.inf), 0.0)
        weights = scores.softmax(-1)
        if fills:
            weights = weights.masked_fill(hidden, 0.0)
        if self.key is not None:
            weights = Dropout(self.p, self.key).apply(weights)
        if self.with_weights:
            return (weights @ v, weights)
        return weights @ v

    def _attend(self, q: Array, k: Array, v: Array, masks: tuple[Array, ...]) -> Array:
        self.q = q
        self.k = k
        self.v = v
        self.masks = masks
        self.mask_shapes = tuple(mask.shape for mask in masks)
        self.of_masks = True in self.needs[len(self.needs) - len(masks) :]
        all_at_once = self.key is not None or self.with_weights or self.of_masks
        self.kept = all_at_once or (True in self.needs and self._scores_bytes() <= _MOST_KEPT)
        y, self.weights = self._run(_WHOLE, v if self.key is None else None, self.kept)
        self.dropped = self._drop(self.weights)
        if self.key is not None:
            y = _core.matmul(self.dropped.swapaxes(-1, -2), v, None, "none", None)
        return y

    def over(self, *inputs: Tensor) -> Any:
        """As apply(), but if the kernel can compute with bfloat16 as it is, calls without a gradient do
        so."""
        arrays = [x._array for x in inputs]
        if self.p == 0 and not self.with_weights and self._reads_halves(*arrays):
            self.dtypes = self.dtypes._replace(halves="forward")
        return self.apply(*inputs)

    def _reads_halves(self, q: Array, k: Array, v: Array, *masks: Array) -> bool:
        if not q.dtype == k.dtype == v.dtype == BF16 or any(mask.dtype.kind != "b" for mask in masks):
            return False
        return _core._attention_reads_halves(q, k, v)

    def _run(self, part: _Part, v: Array | None, keep: bool) -> tuple[Any, Any]:
        """(results, weights) of a part of the queries. v: None: only weights are computed. keep: whether
        weights are returned."""
        masks = [part.of_mask(mask, self.q.ndim) for mask in self.masks] + [None, None]
        q = part.of(self.q, part.rows)
        k = part.of(self.k, part.keys)
        where = self.is_causal, part.rows.start or 0, masks[0], masks[1], self.hides
        of_nothing = math.nan if self.with_weights and k.shape[-2] else 0.0
        return _core.attention(q, k, v, self.scale, *where, keep, self.half, of_nothing)

    def _drop(self, weights: Any) -> Any:
        """Dropout of weights or of their gradient, stored as (..., S, L). The mask of dropout depends on an
        element's place in (..., L, S)."""
        if self.key is None or weights is None:
            return weights
        return _core.dropout(weights.swapaxes(-1, -2), self.p, self.key, None).swapaxes(-1, -2)

    def _scores_bytes(self) -> int:
        return math.prod(self.q.shape[:-1]) * self.k.shape[-2] * self.q.itemsize

    def _parts(self) -> list[_Part]:
        """Divides the weights that backward computes again into parts of the leading dimensions and the
        queries.

        The scores of a part stay in the cache. Parts of causal attention leave out the keys after their
        queries.
        """
        *lead, length, _ = self.q.shape
        keys = self.k.shape[-2]
        leads: list[tuple[slice, ...]] = [()]
        if tuple(lead) == self.k.shape[:-2] == self.v.shape[:-2]:
            leads = _cuts(lead, _PART // max(length * keys * self.q.itemsize, 1))
        row = -(-math.prod(lead) // len(leads)) * keys * self.q.itemsize  # bytes of scores of a query
        step = max(_LEAST_ROWS, _PART // max(row, 1))
        if self.is_causal:
            step = min(step, max(_LEAST_ROWS, -(-length // _CAUSAL_PARTS)))
        rows = [slice(i, min(i + step, length)) for i in range(0, length, step)]
        parts = [(r, slice(0, min(r.stop, keys) if self.is_causal else keys)) for r in rows]
        return [_Part(lead, *part) for lead in leads for part in parts]

    def _gradients(self, dy: Array | None, dweights: Array | None, to: list[Array | None]) -> Array | None:
        """Adds the gradients of q, k and v to the arrays of zeros `to`, or None where they are not needed.
        Returns the gradient of the scores if a mask needs it."""
        q = self.q
        k = self.k
        v = self.v
        dq, dk, dv = to
        if dy is None or dweights is not None or self.key is not None or self.of_masks:
            return self._gradients_at_once(dy, dweights, to)
        settings = self.scale, self.is_causal
        if self.kept:
            _core.attention_backward(dy, q, k, v, self.weights, *settings, 0, False, dq, dk, dv)
            return None
        for part in self._parts():
            rows = part.rows
            keys = part.keys
            weights = self._run(part, None, True)[1]
            inputs = part.of(dy, rows), part.of(q, rows), part.of(k, keys), part.of(v, keys)
            outs = part.of(dq, rows), part.of(dk, keys), part.of(dv, keys)
            _core.attention_backward(*inputs, weights, *settings, rows.start, True, *outs)
        return None

    def _gradients_at_once(self, dy: Array | None, dweights: Array | None, to: list[Array | None]) -> Array:
        """As `_gradients`, from kept weights, for dropout, and if the weights have a gradient or the scores
        need one. Returns the gradient of the scores (..., L, S)."""
        q = self.q
        k = self.k
        v = self.v
        dw = None
        if dweights is not None:
            dw = _core.copy(dweights.swapaxes(-1, -2), False, None)
        if dy is not None:
            if to[2] is not None:  # weights^T (..., S, L) dy (..., L, D)
                _core.matmul(self.dropped, dy, None, "none", to[2])
            # v (..., S, D) dy^T (..., D, L)
            of_dy = _core.matmul(v, dy.swapaxes(-1, -2), None, "none", None)
            dw = of_dy if dw is None else _core.add(dw, of_dy, dw)
        dw = self._drop(dw)
        dscores: Array = _core.softmax_backward(dw, self.weights, -2, dw)
        scores = _core.mul(dscores, self.scale, None)
        if to[0] is not None:  # (..., L, S) k (..., S, E)
            _core.matmul(scores.swapaxes(-1, -2), k, None, "none", to[0])
        if to[1] is not None:  # (..., S, L) q (..., L, E)
            _core.matmul(scores, q, None, "none", to[1])
        return dscores.swapaxes(-1, -2)


class PackedAttention(Attention):
    """Attention for q, k and v of all heads in one array, as one projection gives them.

    qkv (N, L, 3 heads D), or (L, N, 3 heads D) unless ``batch_first``; y (N, L, heads D) or (L, N, heads D).
    """

    dtypes = Dtypes(autocast="lower", beside=1)

    def __init__(self, heads: int, batch_first: bool, *settings: Any) -> None:
        super().__init__(*settings)
        self.heads = heads
        self.batch_first = batch_first

    def forward(self, qkv: Array, *masks: Array) -> Any:
        q, k, v = self._heads(qkv)
        y = self._joined(self._attend(q, k, v, masks))
        if self.with_weights:
            return (y, self.dropped.swapaxes(-1, -2))
        return y

    def backward(self, dy: Array | None, dweights: Array | None = None) -> tuple[Array | None, ...]:
        if dy is not None:
            dy = reshaped(dy, (*dy.shape[:2], self.heads, dy.shape[2] // self.heads))
            if self.batch_first:
                dy = dy.transpose(0, 2, 1, 3)
            else:
                dy = dy.transpose(1, 2, 0, 3)
        dqkv = zeros((*self._apart(self.q).shape[:2], 3, self.heads, self.q.shape[3]), self.q.dtype)
        of_masks = self._of_masks(self._gradients(dy, dweights, list(dqkv.transpose(self._order()))))
        return reshaped(dqkv, (*dqkv.shape[:2], 3 * self.heads * self.q.shape[3])), *of_masks

    def formula(self, qkv: Tensor, *masks: Tensor) -> Any:
        lead = qkv.shape[:2]
        width = qkv.shape[2] // 3
        parts = (part.reshape(*lead, self.heads, width // self.heads) for part in qkv.split(width, 2))
        order, back = ((0, 2, 1, 3),) * 2 if self.batch_first else ((1, 2, 0, 3), (2, 0, 1, 3))
        made = super().formula(*(part.permute(order) for part in parts), *masks)
        y, *weights = made if self.with_weights else (made,)
        y = y.permute(back).reshape(*lead, width)
        if weights:
            return (y, *weights)
        return y

    def _reads_halves(self, qkv: Array, *masks: Array) -> bool:
        return qkv.dtype == BF16 and super()._reads_halves(*self._heads(qkv), *masks)

    def _heads(self, qkv: Array) -> Any:  # q, k and v, each (N, heads, L, D)
        size = qkv.shape[2] // (3 * self.heads)  # not -1, which is undefined for an empty array
        return qkv.reshape(*qkv.shape[:2], 3, self.heads, size).transpose(self._order())

    def _order(self) -> tuple[int, ...]:
        """(N, L, 3, heads, D) or (L, N, 3, heads, D) as (3, N, heads, L, D)"""
        if self.batch_first:
            return (2, 0, 3, 1, 4)
        return (2, 1, 3, 0, 4)

    def _apart(self, x: Array) -> Array:  # (N, heads, L, D) as (N, L, heads, D) or (L, N, heads, D)
        if self.batch_first:
            return x.transpose(0, 2, 1, 3)
        return x.transpose(2, 0, 1, 3)

    def _joined(self, y: Array) -> Array:
        """Results have the queries' memory order: (N, L, heads, D) or (L, N, heads, D)."""
        y = self._apart(y)
        return _merged(y if y.flags.c_contiguous else _core.copy(y, False, None))


def _merged(x: Array) -> Array:  # (A, B, C, D) as (A, B, C D)
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])


@in_dtypes(Dtypes(halves="own", autocast="lower"))
def scaled_dot_product_attention(
    query: TensorLike,
    key: TensorLike,
    value: TensorLike,
    attn_mask: TensorLike | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale query key^T + attn_mask) value: for each query the mean of the values, weighted by
    how well their keys match the query.

    query (..., L, E), key (..., S, E), value (..., S, D), y (..., L, D), all of one dtype of floats; leading
    dimensions broadcast. scale is 1 / sqrt(E) if not given.

    attn_mask broadcasts to (..., L, S): bool, True where a query may look at a key, or numbers of the inputs'
    dtype, or float32, which are added to the scores and get a gradient. is_causal: query i looks at keys
    0 ... i only. A query without visible keys gets zeros. dropout_p: weights are dropped with that
    probability, also outside of training: see :func:`dropout`. enable_gqa: each head of keys and values
    (..., heads, S, E) serves several consecutive heads of the query (grouped queries).

    Raises ValueError where the shapes do not fit, for dropout_p outside [0, 1], and for attn_mask beside
    is_causal; TypeError where the dtypes differ.
    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.1.

    >>> import ranvier as rv
    >>> from ranvier.nn import functional as F
    >>> words = rv.tensor([[4.0, 0.0], [0.0, 4.0]])  # each matches itself
    >>> F.scaled_dot_product_attention(words, words, rv.tensor([[1.0], [2.0]]))
    tensor([[1.0000],
            [2.0000]])
    >>> F.scaled_dot_product_attention(words, words, rv.tensor([[1.0], [2.0]]), is_causal=True, scale=0.0)
    tensor([[1.0000],
            [1.5000]])
    """
    query = as_tensor(_NAME, query)
    key = as_tensor(_NAME, key)
    value = as_tensor(_NAME, value)
    masks: tuple[Tensor, ...] = ()
    if attn_mask is not None:
        masks = (as_tensor(_NAME, attn_mask),)
    grouped = enable_gqa and not query.shape[-3:-2] == key.shape[-3:-2] == value.shape[-3:-2] != ()
    if grouped:
        heads = query.shape[-3:-1]
        one = query.shape[-2:-1] == (1,) and not is_causal
        query, key, value, masks = by_groups(query, key, value, masks, one)
    shape = scores_shape(query._array, key._array, value._array)
    probability(_NAME, "dropout_p", dropout_p)
    if scale is None:
        width = query._array.shape[-1]
        scale = 1 / math.sqrt(width) if width else 1.0
    for mask in masks:
        expect_on_scores(mask, query, shape, is_causal)
    if query._array.shape[:-2] != shape[:-2]:  # so that the scores have all leading dimensions
        query = expand(query, *shape[:-2], *query.shape[-2:])
    attention = Attention(scale, bool(is_causal), dropout_p, False)
    if query._array.dtype in HALVES:
        attention.half = query._array.dtype
    y = attention.over(query, key, value, *masks)
    if grouped:
        return y.reshape(*y.shape[: -3 if one else -4], *heads, y.shape[-1])
    return y


# --- for create_graph the formula is differentiated


def _arrays(node: Any) -> list[Array]:
    arrays = [node.q, node.k, node.v]
    if isinstance(node, PackedAttention):
        arrays = [_merged(_core.concatenate([node._apart(x) for x in arrays], 2))]
    return [*arrays, *node.masks]


recomputed(kinds=(Attention, PackedAttention), saved=_arrays)(lambda node, *xs: node.formula(*xs))
