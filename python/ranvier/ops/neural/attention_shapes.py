"""Shapes of attention, for `attention.py`: checks of the arguments, and heads of queries that share keys and
values (grouped queries)."""

from __future__ import annotations

import numpy as np

from ranvier.ops.elementwise.dtypes import Array
from ranvier.ops.shape.repeat import repeat_interleave
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import F32, HALVES
from ranvier.tensors.tensor import Tensor

_NAME = "scaled_dot_product_attention"


def by_groups(
    query: Tensor, key: Tensor, value: Tensor, masks: tuple[Tensor, ...], one: bool
) -> tuple[Tensor, Tensor, Tensor, tuple[Tensor, ...]]:
    """query, key, value and masks for grouped queries: `shared` heads of keys serve `group` heads of queries
    each.

    query (..., heads, L, E) becomes (..., shared, group, L, E), and keys and values are repeated along
    `group`, as views. With `one`, a single query that is not causal, query becomes (..., shared, group, E):
    the heads of a group are computed like queries of one head, so that keys and values are read once.
    """
    query_shape = query._array.shape
    key_shape = key._array.shape
    value_shape = value._array.shape
    for x, shape in ((key, key_shape), (value, value_shape)):
        if min(len(query_shape), len(shape)) < 3 or shape[-3] == 0 or query_shape[-3] % shape[-3]:
            raise OpError(
                f"[{_NAME}] got query of shape {query.shape} and key or value of shape {x.shape} with "
                "enable_gqa; expected (..., heads, length, width), the query's heads a multiple of theirs"
            )
    heads = query_shape[-3]
    shared = key_shape[-3]
    if shared != value_shape[-3]:  # keys and values have different heads: each gets those of the query
        key = repeat_interleave(key, heads // key_shape[-3], -3)
        value = repeat_interleave(value, heads // value_shape[-3], -3)
        shared = heads
    group = heads // shared

    def repeated(x: Tensor) -> Tensor:
        return x.unsqueeze(-3).expand(*x.shape[:-2], group, *x.shape[-2:])

    def apart(x: Tensor) -> Tensor:
        """The query or a mask with the axis of heads divided into (shared, group).

        A mask (..., L, S) without heads, or with 1 for all heads, keeps its values: with three dimensions or
        more it gets one more axis of size 1, except with `one`. With `one`, L is 1 and its axis is left out,
        so that `group` takes its place; a mask without heads then has 1 there already.
        """
        shape = x._array.shape
        if len(shape) < 3 or shape[-3] != heads:
            if one or len(shape) < 3:
                return x
            return x.unsqueeze(-3)
        if one:
            return x.reshape(*shape[:-3], shared, group, shape[-1])
        return x.reshape(*shape[:-3], shared, group, *shape[-2:])

    if not one:
        key = repeated(key)
        value = repeated(value)
    return apart(query), key, value, tuple(apart(mask) for mask in masks)


def scores_shape(q: Array, k: Array, v: Array) -> tuple[int, ...]:
    """The shape (..., L, S) of the scores. Raises ValueError for shapes, TypeError for dtypes that do not
    fit."""
    of_q = q.shape
    of_k = k.shape
    of_v = v.shape
    if (
        q.dtype is k.dtype is v.dtype
        and (q.dtype is F32 or q.dtype in HALVES)
        and len(of_q) == len(of_k) == len(of_v) >= 2
        and of_q[:-2] == of_k[:-2] == of_v[:-2]
        and of_q[-1] == of_k[-1]
        and of_k[-2] == of_v[-2]
    ):  # a shortcut for most calls, since the checks below take longer than small products
        return *of_q[:-1], of_k[-2]
    # dtype.type is the same for both byte orders.
    if len({q.dtype.type, k.dtype.type, v.dtype.type}) > 1 or q.dtype.kind != "f":
        raise DtypeError(
            f"[{_NAME}] got query, key and value of dtypes {q.dtype}, {k.dtype} and {v.dtype}; expected one "
            "dtype of floats"
        )
    fits = min(q.ndim, k.ndim, v.ndim) >= 2 and of_q[-1] == of_k[-1] and of_k[-2] == of_v[-2]
    try:
        leading = np.broadcast_shapes(of_q[:-2], of_k[:-2], of_v[:-2])
    except ValueError:
        fits = False
    if not fits:
        raise OpError(
            f"[{_NAME}] got query of shape {of_q}, key of shape {of_k} and value of shape {of_v}; "
            "expected (..., L, E), (..., S, E) and (..., S, D)"
        )
    return *leading, of_q[-2], of_k[-2]
