"""Scaled dot-product attention, also of packed heads as a projection gives them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.memory import reshaped
from ranvier.autograd.random import fresh_key
from ranvier.autograd.recording import keep
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.dtypes import Array, as_tensor, unbroadcast
from ranvier.ops.layout import zeros
from ranvier.ops.repeat import repeat_interleave
from ranvier.ops.shape import expand

__all__ = ["scaled_dot_product_attention"]

_NAME = "scaled_dot_product_attention"
_MINUS_INF = float("-inf")
_FLOAT32 = np.dtype(np.float32)
_PART = 1 << 20  # bytes of scores in one part: they stay in the cache
_LEAST_ROWS = 64  # queries of a part: fewer are slow products
_CAUSAL_PARTS = 8  # more save few keys
_MOST_KEPT = 1 << 26  # bytes of scores: the weights of more are computed again for the gradients


class _Part(NamedTuple):
    """Queries and keys whose scores are computed together, of a part of the leading dimensions."""

    lead: tuple[slice, ...]
    rows: slice
    keys: slice
    whole: bool  # all of them

    def of(self, x: Any, places: slice) -> Any:
        """The part of queries, keys, values or results (..., length, width); None of None."""
        return x if self.whole or x is None else x[self.lead][..., places, :]

    def of_mask(self, mask: Array, ndim: int) -> Array:
        if self.whole:
            return mask
        every = (slice(None),) * (ndim - 2 - len(self.lead))
        index = (*self.lead, *every, self.rows, self.keys)[ndim - mask.ndim :]
        return mask[tuple(slice(None) if n == 1 else i for i, n in zip(index, mask.shape, strict=True))]


def _cuts(lead: list[int], most: int) -> list[tuple[slice, ...]]:
    """Parts of leading dimensions, of at most so many elements each, or of one."""
    cuts: list[tuple[slice, ...]] = [()]
    for axis, n in enumerate(lead):
        step = max(1, most // max(math.prod(lead[axis + 1 :]), 1))
        if step >= n > 1:
            break
        cuts = [(*cut, slice(i, i + step)) for cut in cuts for i in range(0, n, step)]
        if step > 1:
            break
    return cuts


def _add_product(a: Array, b: Array, to: Array | None, first: bool, whole: Array | None) -> Array:
    """whole, whose part `to` becomes a @ b, or what it was plus a @ b; without `to` a @ b itself."""
    if to is None or first:
        found = _core.matmul(a, b, None, "none", to)
        return found if whole is None else whole
    _core.add(to, _core.matmul(a, b, None, "none", None), to)
    assert whole is not None
    return whole


class Attention(Function):
    """y = dropout(softmax(scale q k^T + masks)) v: q (..., L, E), k (..., S, E), v (..., S, D), y (..., L, D)

    Masks broadcast to the scores (..., L, S). In bool masks True hides a key if ``hides``, else it shows it.
    """

    def __init__(
        self, scale: float, is_causal: bool, p: float, hides: bool, with_weights: bool = False
    ) -> None:
        self.scale, self.is_causal, self.p = scale, is_causal, p
        self.hides, self.with_weights = hides, with_weights
        self.key = fresh_key() if p > 0 else None

    def forward(self, q: Array, k: Array, v: Array, *masks: Array) -> Any:
        self.shapes = q.shape, k.shape, v.shape, *(mask.shape for mask in masks)
        y = self._attend(q, k, v, masks)
        return (y, self.dropped[0]) if self.with_weights else y

    def backward(self, dy: Array | None, dweights: Array | None = None) -> tuple[Array | None, ...]:
        dq, dk, dv, dscores = self._gradients(dy, dweights, self.needs[:3])
        found = [dq, dk, dv, *(dscores if needed else None for needed in self.needs[3:])]
        return tuple(
            None if d is None else unbroadcast(d, shape) for d, shape in zip(found, self.shapes, strict=True)
        )

    def _attend(self, q: Array, k: Array, v: Array, masks: tuple[Array, ...]) -> Array:
        self.q, self.k, self.v, self.masks = _core.mul(q, self.scale, None), k, v, masks
        self.parts = self._parts()
        needed = self.with_weights or True in self.needs
        self.kept = needed and (self._scores_bytes() <= _MOST_KEPT or len(self.parts) == 1)
        self.weights, self.dropped = [], []
        y = None
        if len(self.parts) > 1:
            y = zeros((*self.q.shape[:-1], v.shape[-1]), v.dtype)
        for part in self.parts:
            weights = self._softmax(part)
            dropped = weights if self.key is None else _core.dropout(weights, self.p, self.key, None)
            found = _core.matmul(dropped, part.of(v, part.keys), None, "none", part.of(y, part.rows))
            y = found if y is None else y
            if self.kept:
                self.weights.append(weights)
                self.dropped.append(dropped)
        assert y is not None
        return y

    def _scores_bytes(self) -> int:
        return math.prod(self.q.shape[:-1]) * self.k.shape[-2] * self.q.itemsize

    def _parts(self) -> list[_Part]:
        """The scores of a part stay in the cache. Causal ones leave out the keys after their queries."""
        *lead, length, _ = self.q.shape
        keys = self.k.shape[-2]
        whole = [_Part((), slice(0, length), slice(0, keys), True)]
        size = self._scores_bytes()
        if (
            self.key is not None  # dropout depends on the place among all scores
            or self.with_weights
            or True in self.needs[len(self.needs) - len(self.masks) :]
            or size == 0
            or (size <= _PART and (not self.is_causal or length <= _LEAST_ROWS))
        ):
            return whole
        leads: list[tuple[slice, ...]] = [()]
        if tuple(lead) == self.k.shape[:-2] == self.v.shape[:-2]:
            leads = _cuts(lead, _PART // max(length * keys * self.q.itemsize, 1))
        row = -(-math.prod(lead) // len(leads)) * keys * self.q.itemsize  # bytes of scores of a query
        step = max(_LEAST_ROWS, _PART // max(row, 1))
        if self.is_causal:
            step = min(step, max(_LEAST_ROWS, -(-length // _CAUSAL_PARTS)))
        starts = range(0, length, step) if length > step else (0,)
        rows = [slice(i, min(i + step, length)) for i in starts]
        if len(leads) == len(rows) == 1:
            return whole
        # The last queries, which use the most keys, come first.
        return [
            _Part(lead, r, slice(0, min(r.stop, keys) if self.is_causal else keys), False)
            for lead in leads
            for r in reversed(rows)
        ]

    def all_weights(self) -> Array:
        """The weights of all parts, (..., L, S)."""
        if self.parts[0].whole:
            return self.weights[0]
        found = zeros((*self.q.shape[:-1], self.k.shape[-2]), self.q.dtype)
        for i, part in enumerate(self.parts):
            at = part.of(found, part.rows)[..., part.keys]
            _core.copy(self.weights[i] if self.kept else self._softmax(part), False, at)
        return found

    def _softmax(self, part: _Part) -> Array:
        """softmax(q k^T + masks), in the memory of the scores, the largest array here."""
        k = part.of(self.k, part.keys)
        scores = _core.matmul(part.of(self.q, part.rows), k.swapaxes(-1, -2), None, "none", None)
        masks = [part.of_mask(mask, self.q.ndim) for mask in self.masks]
        for mask in masks:
            if mask.dtype.kind == "b":
                true, false = (_MINUS_INF, scores) if self.hides else (scores, _MINUS_INF)
                _core.where(mask, true, false, scores)
            else:
                _core.add(scores, mask, scores)
        if self.is_causal and part.keys.stop > part.rows.start:  # the keys before are seen by all queries
            near = scores[..., part.rows.start :]
            seen = keep(np.tri(*near.shape[-2:], dtype=bool))
            _core.where(seen, near, _MINUS_INF, near)
        shown = _core.ne(scores, _MINUS_INF, None) if masks else None
        weights = _core.softmax(scores, -1, scores)
        if shown is not None:  # a query without visible keys gets zeros, not 0 / 0
            _core.where(shown, weights, 0.0, weights)
        return weights

    def _gradients(
        self, dy: Array | None, dweights: Array | None, needs: tuple[bool, ...]
    ) -> tuple[Array | None, Array | None, Array | None, Array]:
        """The gradients of q, k, v where needed, and of the last part of the scores."""
        q, k, v = self.q, self.k, self.v
        several = len(self.parts) > 1
        lead = q.shape[:-2]
        dq, dk, dv = (
            zeros((*lead, *x.shape[-2:]), x.dtype) if several and needed else None
            for x, needed in zip((q, k, v), needs, strict=True)
        )
        for i, part in enumerate(self.parts):
            weights = self.weights[i] if self.kept else self._softmax(part)
            dropped = self.dropped[i] if self.kept else weights
            part_dy = part.of(dy, part.rows)
            first = not several or part.rows.stop == q.shape[-2]  # of the queries of these keys
            if part_dy is not None and needs[2]:  # weights^T (..., S, L) dy (..., L, D)
                dv = _add_product(dropped.swapaxes(-1, -2), part_dy, part.of(dv, part.keys), first, dv)
            dscores = self._of_scores(part_dy, dweights, part.of(v, part.keys), weights)
            if needs[0]:  # (..., L, S) k (..., S, E)
                dq = _add_product(dscores, part.of(k, part.keys), part.of(dq, part.rows), True, dq)
            if needs[1]:  # (..., S, L) scale q (..., L, E)
                scores = dscores.swapaxes(-1, -2)
                dk = _add_product(scores, part.of(q, part.rows), part.of(dk, part.keys), first, dk)
        if dq is not None:
            dq = _core.mul(dq, self.scale, dq)
        return dq, dk, None if dy is None else dv, dscores

    def _of_scores(self, dy: Array | None, dweights: Array | None, v: Array, weights: Array) -> Array:
        """The gradient of scores, from those of the result and the weights."""
        if dy is not None:
            dw = _core.matmul(dy, v.swapaxes(-1, -2), None, "none", None)
            if dweights is not None:
                _core.add(dw, dweights, dw)
        else:
            assert dweights is not None
            dw = dweights
        if self.key is not None:
            dw = _core.dropout(dw, self.p, self.key, None)
        return _core.softmax_backward(dw, weights, -1, None if dw is dweights else dw)


class PackedAttention(Attention):
    """The same for q, k and v of all heads in one array, as one projection gives them.

    qkv (N, L, 3 heads D), or (L, N, 3 heads D) unless ``batch_first``; y (N, L, heads D) or (L, N, heads D).
    """

    def __init__(self, heads: int, batch_first: bool, *settings: Any) -> None:
        super().__init__(*settings)
        self.heads, self.batch_first = heads, batch_first

    def forward(self, qkv: Array, *masks: Array) -> Any:
        self.mask_shapes = tuple(mask.shape for mask in masks)
        size = qkv.shape[2] // (3 * self.heads)  # not -1, which is undefined for an empty array
        parts = qkv.reshape(*qkv.shape[:2], 3, self.heads, size)
        order = (2, 0, 3, 1, 4) if self.batch_first else (2, 1, 3, 0, 4)
        q, k, v = _core.copy(parts.transpose(order), False, None)  # each (N, heads, L, D)
        y = self._joined(self._attend(q, k, v, masks))
        return (y, self.dropped[0]) if self.with_weights else y

    def backward(self, dy: Array | None, dweights: Array | None = None) -> tuple[Array | None, ...]:
        if dy is not None:
            dy = reshaped(dy, (*dy.shape[:2], self.heads, dy.shape[2] // self.heads))
            dy = dy.transpose(0, 2, 1, 3) if self.batch_first else dy.transpose(1, 2, 0, 3)
            dy = _core.copy(dy, False, None)
        dq, dk, dv, dscores = self._gradients(dy, dweights, (True,) * 3)
        parts = [self._apart(zeros(self.v.shape, self.v.dtype) if d is None else d) for d in (dq, dk, dv)]
        dqkv = _core.concatenate(parts, 2)  # (N, L, 3 heads, D)
        masks = zip(self.needs[1:], self.mask_shapes, strict=True)
        return _merged(dqkv), *(unbroadcast(dscores, shape) if needed else None for needed, shape in masks)

    def _apart(self, x: Array) -> Array:
        """(N, heads, L, D) as (N, L, heads, D) or (L, N, heads, D)"""
        return x.transpose(0, 2, 1, 3) if self.batch_first else x.transpose(2, 0, 1, 3)

    def _joined(self, x: Array) -> Array:
        return _merged(_core.copy(self._apart(x), False, None))


def _merged(x: Array) -> Array:
    """(A, B, C, D) as (A, B, C D)"""
    return x.reshape(*x.shape[:2], x.shape[2] * x.shape[3])


def scaled_dot_product_attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale query key^T + attn_mask) value: for each query the mean of the values, weighted by
    how well their keys match the query.

    query (..., L, E), key (..., S, E), value (..., S, D), y (..., L, D), all float32 or all float64; leading
    dimensions broadcast. scale is 1 / sqrt(E) if not given.

    attn_mask broadcasts to (..., L, S): bool, True where a query may look at a key, or numbers of the inputs'
    dtype, which are added to the scores and get a gradient. is_causal: query i looks at keys 0 ... i only.
    A query without visible keys gets zeros. dropout_p: weights are dropped with that probability, also
    outside of training: see :func:`dropout`. enable_gqa: each head of keys and values (..., heads, S, E)
    serves several consecutive heads of the query (grouped queries).

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
    query, key, value = (as_tensor(_NAME, x) for x in (query, key, value))
    if enable_gqa:
        key, value = _for_groups(query, key), _for_groups(query, value)
    shape = _scores_shape(query, key, value)
    if not 0 <= dropout_p <= 1:
        raise ValueError(f"[{_NAME}] got dropout_p {dropout_p}; expected a probability, 0 <= p <= 1")
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    masks = () if attn_mask is None else (as_tensor(_NAME, attn_mask),)
    for mask in masks:
        _check_mask(mask, query, shape)
        if is_causal:
            raise ValueError(f"[{_NAME}] got attn_mask and is_causal=True; expected one of them")
    if query.shape[:-2] != shape[:-2]:  # so that the scores have all leading dimensions
        query = expand(query, *shape[:-2], *query.shape[-2:])
    return Attention(scale, bool(is_causal), dropout_p, False).apply(query, key, value, *masks)


def _for_groups(query: Tensor, x: Tensor) -> Tensor:
    """Keys or values with each head repeated for the heads of the query that share it."""
    if min(query.ndim, x.ndim) < 3 or x.shape[-3] == 0 or query.shape[-3] % x.shape[-3]:
        raise ValueError(
            f"[{_NAME}] got query of shape {query.shape} and key or value of shape {x.shape} with "
            "enable_gqa; expected (..., heads, length, width), the query's heads a multiple of the others'"
        )
    return repeat_interleave(x, query.shape[-3] // x.shape[-3], -3)


def _scores_shape(q: Tensor, k: Tensor, v: Tensor) -> tuple[int, ...]:
    """(..., L, S), or raises."""
    if q.shape == k.shape == v.shape and q.ndim >= 2 and q.dtype is k.dtype is v.dtype is _FLOAT32:
        return *q.shape[:-1], q.shape[-2]  # most calls: the checks below take longer than small products
    if {q.dtype.type, k.dtype.type, v.dtype.type} not in ({np.float32}, {np.float64}):  # in any byte order
        raise TypeError(
            f"[{_NAME}] got query, key and value of dtypes {q.dtype}, {k.dtype} and {v.dtype}; expected one "
            "dtype, float32 or float64"
        )
    fits = min(q.ndim, k.ndim, v.ndim) >= 2 and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2]
    try:
        leading = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"[{_NAME}] got query of shape {q.shape}, key of shape {k.shape} and value of shape {v.shape}; "
            "expected (..., L, E), (..., S, E) and (..., S, D)"
        )
    return *leading, q.shape[-2], k.shape[-2]


def _check_mask(mask: Tensor, x: Tensor, shape: tuple[int, ...]) -> None:
    if mask.dtype.kind != "b" and mask.dtype != x.dtype:
        raise TypeError(f"[{_NAME}] got attn_mask of dtype {mask.dtype}; expected bool or {x.dtype}")
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"[{_NAME}] got attn_mask of shape {tuple(mask.shape)}; expected one that broadcasts to {shape}"
        )
