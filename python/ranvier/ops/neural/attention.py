"""Scaled dot-product attention; also for queries, keys and values in one array, as one projection gives them.

The kernel `_core.attention` computes scores, softmax and the product with the values together. Backward
needs the weights: if they are small, forward saves them; else backward computes them again, part by part
(`_parts`), so that a part stays in the processor's cache. Shapes: L queries, S keys, width E of queries and
keys, width D of values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

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
# These limits concern the speed and the memory of backward.
_PART = 1 << 20  # bytes of scores in one part, so that they stay in the cache
_LEAST_ROWS = 64  # the least queries of a part: products with fewer rows are slow
_CAUSAL_PARTS = 8  # parts of causal attention, each without the keys after its queries; more gain little
_MOST_KEPT = 1 << 26  # the most bytes of scores for which the weights are kept for backward


class _Part:
    """The queries (rows) and keys, of a part of the leading dimensions, whose scores are computed
    together."""

    def __init__(self, lead: tuple[slice, ...], rows: slice, keys: slice) -> None:
        self.lead = lead
        self.rows = rows
        self.keys = keys

    def of_rows(self, x: Array | None) -> Any:
        """This part of x (..., L, width), the queries or results; None for None."""
        if self is _WHOLE or x is None:
            return x
        return x[self.lead][..., self.rows, :]

    def of_keys(self, x: Array | None) -> Any:
        """This part of x (..., S, width), the keys or values; None for None."""
        if self is _WHOLE or x is None:
            return x
        return x[self.lead][..., self.keys, :]

    def of_mask(self, mask: Array, ndim: int) -> Array:
        """This part of a mask, which broadcasts to scores of ndim dimensions."""
        if self is _WHOLE:
            return mask
        other_dims = (slice(None),) * (ndim - 2 - len(self.lead))
        of_scores = (*self.lead, *other_dims, self.rows, self.keys)
        index = list(of_scores[ndim - mask.ndim :])  # a mask may lack leading dimensions
        for axis, n in enumerate(mask.shape):
            if n == 1:  # it broadcasts
                index[axis] = slice(None)
        return mask[tuple(index)]


_WHOLE = _Part((), slice(None), slice(None))


def _cuts(lead: Sequence[int], most: int) -> list[tuple[slice, ...]]:
    """Divides leading dimensions of these sizes into parts of at most `most` elements, but at least one
    each. Each part is an index of the first dimensions."""
    cuts: list[tuple[slice, ...]] = [()]
    for axis, n in enumerate(lead):
        elements_of_one = max(math.prod(lead[axis + 1 :]), 1)
        step = max(1, most // elements_of_one)
        if step >= n > 1:  # this dimension need not be divided, and so none after it
            break
        slices = [slice(i, i + step) for i in range(0, n, step)]
        cuts = [(*cut, part) for cut in cuts for part in slices]
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

    # Half floats are computed in float32; the masks, from input 3 on, may be float32 beside them. In a block
    # of autocast all inputs become its half float.
    dtypes = Dtypes(autocast="lower", beside=3)

    def __init__(
        self, scale: float, is_causal: bool, p: float, hides: bool, with_weights: bool = False
    ) -> None:
        self.scale = scale
        self.is_causal = is_causal
        self.p = p
        self.hides = hides
        self.with_weights = with_weights
        self.key = None  # of the random numbers of dropout
        if p > 0:
            self.key = fresh_key()
        # A dtype to which weights are rounded before their product with the values: for half floats
        # scaled_dot_product_attention sets theirs before it calls `over`.
        self.half: np.dtype[Any] | None = None

    def forward(self, q: Array, k: Array, v: Array, *masks: Array) -> Any:
        self.shapes = q.shape, k.shape, v.shape
        y = self._attend(q, k, v, masks)
        if self.with_weights:
            return (y, self.dropped.swapaxes(-1, -2))
        return y

    def backward(self, dy: Array | None, dweights: Array | None = None) -> tuple[Array | None, ...]:
        lead = self.q.shape[:-2]
        to: list[Array | None] = [None, None, None]
        for i, x in enumerate((self.q, self.k, self.v)):
            if self.needs[i]:
                to[i] = zeros((*lead, *x.shape[-2:]), x.dtype)
        if dy is None:  # the weights do not depend on v
            to[2] = None
        dscores = self._gradients(dy, dweights, to)
        results: list[Array | None] = []
        for gradient, shape in zip(to, self.shapes, strict=True):
            if gradient is not None:
                gradient = unbroadcast(gradient, shape)
            results.append(gradient)
        return *results, *self._mask_gradients(dscores)

    def _mask_gradients(self, dscores: Array | None) -> tuple[Array | None, ...]:
        """The gradients of the masks, the last inputs, from the gradient of the scores."""
        needed = self.needs[len(self.needs) - len(self.mask_shapes) :]
        results: list[Array | None] = []
        for is_needed, shape in zip(needed, self.mask_shapes, strict=True):
            if is_needed and dscores is not None:
                results.append(unbroadcast(dscores, shape))
            else:
                results.append(None)
        return tuple(results)

    def formula(self, q: Tensor, k: Tensor, v: Tensor, *masks: Tensor) -> Any:
        scores = (q * self.scale) @ k.transpose(-1, -2)
        for mask in masks:
            if mask._array.dtype.kind != "b":
                scores = scores + mask
            elif self.hides:
                scores = scores.masked_fill(mask, -math.inf)
            else:
                scores = scores.masked_fill(~mask, -math.inf)
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
        # In these cases backward may be `_gradients_at_once`, which reads the weights of all queries.
        all_at_once = self.key is not None or self.with_weights or self.of_masks
        self.kept = all_at_once or (True in self.needs and self._scores_bytes() <= _MOST_KEPT)
        if self.key is None:
            y, self.weights = self._run(_WHOLE, v, self.kept)
            self.dropped = self.weights
            return y
        _, self.weights = self._run(_WHOLE, None, self.kept)
        self.dropped = self._drop(self.weights)
        return _core.matmul(self.dropped.swapaxes(-1, -2), v, None, "none", None)

    def over(self, *inputs: Tensor) -> Any:
        """As apply(), but if the kernel can compute with bfloat16 as it is, calls without a gradient do
        so."""
        arrays = [x._array for x in inputs]
        if self.p == 0 and not self.with_weights and self._reads_halves(*arrays):
            # of this node alone, not of the class
            self.dtypes = self.dtypes._replace(halves="forward")
        return self.apply(*inputs)

    def _reads_halves(self, q: Array, k: Array, v: Array, *masks: Array) -> bool:
        if not q.dtype == k.dtype == v.dtype == BF16:
            return False
        if any(mask.dtype.kind != "b" for mask in masks):
            return False
        return _core._attention_reads_halves(q, k, v)

    def _run(self, part: _Part, v: Array | None, keep: bool) -> tuple[Any, Any]:
        """(results, weights) of a part of the queries. v: None: only weights are computed. keep: whether
        weights are returned."""
        masks: list[Any] = [part.of_mask(mask, self.q.ndim) for mask in self.masks]
        masks += [None, None]  # the kernel takes two
        q = part.of_rows(self.q)
        k = part.of_keys(self.k)
        first_query = part.rows.start or 0  # a causal kernel hides the keys after first_query + row
        weights_of_nothing = 0.0  # those of a query without visible keys
        if self.with_weights and k.shape[-2]:
            weights_of_nothing = math.nan
        return _core.attention(
            q,
            k,
            v,
            self.scale,
            self.is_causal,
            first_query,
            masks[0],
            masks[1],
            self.hides,
            keep,
            self.half,
            weights_of_nothing,
        )

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
        lead = self.q.shape[:-2]
        queries = self.q.shape[-2]
        keys = self.k.shape[-2]
        leads: list[tuple[slice, ...]] = [()]
        if lead == self.k.shape[:-2] == self.v.shape[:-2]:
            bytes_of_scores = queries * keys * self.q.itemsize
            leads = _cuts(lead, _PART // max(bytes_of_scores, 1))
        matrices = math.ceil(math.prod(lead) / len(leads))  # how many matrices of scores a part has
        bytes_of_query = matrices * keys * self.q.itemsize
        step = max(_LEAST_ROWS, _PART // max(bytes_of_query, 1))
        if self.is_causal:
            step = min(step, max(_LEAST_ROWS, math.ceil(queries / _CAUSAL_PARTS)))
        parts = []
        for first in range(0, queries, step):
            last = min(first + step, queries)
            visible = keys
            if self.is_causal:
                visible = min(last, keys)
            parts.append((slice(first, last), slice(0, visible)))
        return [_Part(cut, rows, columns) for cut in leads for rows, columns in parts]

    def _gradients(self, dy: Array | None, dweights: Array | None, to: list[Array | None]) -> Array | None:
        """Adds the gradients of q, k and v to the arrays of zeros `to`, or None where they are not needed.
        Returns the gradient of the scores if a mask needs it."""
        q = self.q
        k = self.k
        v = self.v
        dq, dk, dv = to
        if dy is None or dweights is not None or self.key is not None or self.of_masks:
            return self._gradients_at_once(dy, dweights, to)
        scale = self.scale
        is_causal = self.is_causal
        if self.kept:
            # 0: the first query. False: the kernel must not write over the weights.
            _core.attention_backward(dy, q, k, v, self.weights, scale, is_causal, 0, False, dq, dk, dv)
            return None
        for part in self._parts():
            _, weights = self._run(part, None, keep=True)
            _core.attention_backward(
                part.of_rows(dy),
                part.of_rows(q),
                part.of_keys(k),
                part.of_keys(v),
                weights,
                scale,
                is_causal,
                part.rows.start,
                True,  # the kernel may write over the weights
                part.of_rows(dq),
                part.of_keys(dk),
                part.of_keys(dv),
            )
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
            if dw is None:
                dw = of_dy
            else:
                dw = _core.add(dw, of_dy, dw)
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

    dtypes = Dtypes(autocast="lower", beside=1)  # as of Attention; the masks are the inputs from 1 on

    def __init__(
        self,
        heads: int,
        batch_first: bool,
        scale: float,
        is_causal: bool,
        p: float,
        hides: bool,
        with_weights: bool = False,
    ) -> None:
        super().__init__(scale, is_causal, p, hides, with_weights)
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
        dq, dk, dv = dqkv.transpose(self._order())  # views, to which the gradients are added
        dscores = self._gradients(dy, dweights, [dq, dk, dv])
        packed = reshaped(dqkv, (*dqkv.shape[:2], 3 * self.heads * self.q.shape[3]))
        return packed, *self._mask_gradients(dscores)

    def formula(self, qkv: Tensor, *masks: Tensor) -> Any:
        lead = qkv.shape[:2]
        width = qkv.shape[2] // 3
        if self.batch_first:  # (N, L, heads, D) and (N, heads, L, D)
            order = back = (0, 2, 1, 3)
        else:  # (L, N, heads, D) and (N, heads, L, D)
            order = (1, 2, 0, 3)
            back = (2, 0, 1, 3)
        qkv_of_heads = []
        for x in qkv.split(width, 2):
            x = x.reshape(*lead, self.heads, width // self.heads)
            qkv_of_heads.append(x.permute(order))
        q, k, v = qkv_of_heads
        if self.with_weights:
            y, weights = super().formula(q, k, v, *masks)
            return (y.permute(back).reshape(*lead, width), weights)
        return super().formula(q, k, v, *masks).permute(back).reshape(*lead, width)

    def _reads_halves(self, qkv: Array, *masks: Array) -> bool:
        return qkv.dtype == BF16 and super()._reads_halves(*self._heads(qkv), *masks)

    def _heads(self, qkv: Array) -> Any:
        """q, k and v, each (N, heads, L, D): views."""
        size = qkv.shape[2] // (3 * self.heads)  # not -1, which is undefined for an empty array
        return qkv.reshape(*qkv.shape[:2], 3, self.heads, size).transpose(self._order())

    def _order(self) -> tuple[int, ...]:
        """(N, L, 3, heads, D) or (L, N, 3, heads, D) as (3, N, heads, L, D)"""
        if self.batch_first:
            return (2, 0, 3, 1, 4)
        return (2, 1, 3, 0, 4)

    def _apart(self, x: Array) -> Array:
        """(N, heads, L, D) as (N, L, heads, D) or (L, N, heads, D): a view."""
        if self.batch_first:
            return x.transpose(0, 2, 1, 3)
        return x.transpose(2, 0, 1, 3)

    def _joined(self, y: Array) -> Array:
        """Results have the queries' memory order: (N, L, heads, D) or (L, N, heads, D)."""
        y = self._apart(y)
        if not y.flags.c_contiguous:
            y = _core.copy(y, False, None)
        return _merged(y)


def _merged(x: Array) -> Array:
    """(A, B, C, D) as (A, B, C D)."""
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
    heads_are_alike = query.shape[-3:-2] == key.shape[-3:-2] == value.shape[-3:-2] != ()
    grouped = enable_gqa and not heads_are_alike
    if grouped:
        heads_and_length = query.shape[-3:-1]
        one = query.shape[-2:-1] == (1,) and not is_causal  # a single query, see by_groups
        query, key, value, masks = by_groups(query, key, value, masks, one)
    shape = scores_shape(query._array, key._array, value._array)
    probability(_NAME, "dropout_p", dropout_p)
    if scale is None:
        width = query._array.shape[-1]
        scale = 1.0
        if width:
            scale = 1 / math.sqrt(width)
    for mask in masks:
        expect_on_scores(mask, query, shape, is_causal)
    if query._array.shape[:-2] != shape[:-2]:  # so that the scores have all leading dimensions
        query = expand(query, *shape[:-2], *query.shape[-2:])
    attention = Attention(scale, bool(is_causal), dropout_p, hides=False)
    if query._array.dtype in HALVES:
        attention.half = query._array.dtype
    y = attention.over(query, key, value, *masks)
    if grouped:
        # (..., shared, group, L, D), or (..., shared, group, D) of one query, as (..., heads, L, D)
        if one:
            lead = y.shape[:-3]
        else:
            lead = y.shape[:-4]
        return y.reshape(*lead, *heads_and_length, y.shape[-1])
    return y


# --- for create_graph the formula is differentiated


def _saved_inputs(node: Attention) -> list[Array]:
    inputs = [node.q, node.k, node.v]
    if isinstance(node, PackedAttention):
        inputs = [_merged(_core.concatenate([node._apart(x) for x in inputs], 2))]
    return [*inputs, *node.masks]


@recomputed(kinds=(Attention, PackedAttention), saved=_saved_inputs)
def _formula(node: Attention, *inputs: Tensor) -> Any:
    return node.formula(*inputs)
