"""Scaled dot-product attention in plain NumPy: every query takes a weighted mean of the values.

How much of each value a query takes depends on how well the query matches that value's key:

    y = softmax(scale q k^T + mask) v,    scale = 1 / sqrt(E)

A dot product of E random numbers has a variance of E; the scale brings that back to 1, so that the softmax is
not saturated from the start (Vaswani et al., "Attention Is All You Need", 2017, section 3.2.1).
"""

import math
from typing import Any

import numpy as np
from reference.dropout import dropout
from reference.matmul import matmul, matmul_backward
from reference.softmax import softmax_backward

Array = np.ndarray[Any, Any]


def causal_mask(queries: int, keys: int) -> Array:
    """0 for the keys up to the query's own place, else -inf."""
    return np.where(np.tri(queries, keys) > 0, 0.0, -np.inf)


def weights(q: Array, k: Array, mask: Array | None = None, scale: float | None = None) -> Array:
    """How much each query takes of each value: q (..., L, E), k (..., S, E) -> (..., L, S), rows of sum 1.

    mask: True for the keys that a query may use, or numbers that are added to the scores. A query without
    any key gets zeros.
    """
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = scale * matmul(q, np.swapaxes(k, -1, -2))
    if mask is not None:
        if mask.dtype.kind == "b":
            scores = np.where(mask, scores, -np.inf)
        else:
            scores = scores + mask
    top = scores.max(-1, keepdims=True, initial=-np.inf)
    e = np.exp(scores - np.where(top == -np.inf, 0, top))
    total = e.sum(-1, keepdims=True)
    return e / np.where(total == 0, 1, total)


def attention(q, k, v, mask=None, scale=None, p=0.0, key=None):
    """y (..., L, D) for v (..., S, D); with a key (of dropout.py), a weight is dropped with probability p."""
    w = weights(q, k, mask, scale)
    if key is not None:
        w = dropout(w, p, key)
    return matmul(w, v)


def attention_backward(dy, q, k, v, mask=None, scale=None, p=0.0, key=None):
    """The gradients of q, k, v and of a mask of numbers: the forward's steps, from the last to the first."""
    w = weights(q, k, mask, scale)
    if key is None:
        dw, dv = matmul_backward(dy, w, v)
    else:
        dw, dv = matmul_backward(dy, dropout(w, p, key), v)
        dw = dropout(dw, p, key)
    dscores = softmax_backward(dw, w)
    dmask = None
    if mask is not None and mask.dtype.kind == "f":
        dmask = dscores.sum(tuple(range(dscores.ndim - mask.ndim)))
        dmask = dmask.sum(tuple(d for d, n in enumerate(mask.shape) if n == 1), keepdims=True)
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    dq, dkt = matmul_backward(scale * dscores, q, np.swapaxes(k, -1, -2))
    return dq, np.swapaxes(dkt, -1, -2), dv, dmask


def attention_cached(q, k, v, keys, values, lengths, max_length, scale, advance):
    """Sequence by sequence: y, and the cache after the new keys and values were written at its lengths.

    keys: (n, heads, e, room for max_length and more); values: (n, heads, room, d).
    """
    keys = keys.copy()
    values = values.copy()
    y = np.empty((*q.shape[:3], v.shape[3]))
    for i, first in enumerate(lengths):
        end = first + q.shape[2]
        assert end <= max_length
        keys[i, :, :, first:end] = np.swapaxes(k[i], -1, -2)
        values[i, :, first:end] = v[i]
        mask = causal_mask(end, end)[first:]
        keys_until_now = np.swapaxes(keys[i, :, :, :end], -1, -2)
        y[i] = attention(q[i], keys_until_now, values[i, :, :end], mask, scale)
    return y, keys, values, lengths + advance * q.shape[2]
