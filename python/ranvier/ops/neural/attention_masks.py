"""Masks of attention: what users give becomes what the kernel takes.

A mask is bool, or numbers that are added to the scores (..., L, S): of the queries' dtype, or float32 beside
halves. The kernel takes two that broadcast to the scores, and a causal one hides the keys after a query.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import ones
from ranvier.ops.shape.join import cat
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import F32, HALVES
from ranvier.tensors.tensor import Tensor

_ALONE, _OF_HEADS = "scaled_dot_product_attention", "multihead_attention"


def later(queries: int, keys: int) -> Tensor:
    """True where a key comes after the query: what a causal mask hides."""
    return ones(queries, keys, dtype=bool).triu(1)


def expect_on_scores(mask: Tensor, x: Tensor, shape: tuple[int, ...], is_causal: bool) -> None:
    """Raises for a mask that does not broadcast to scores of this shape, and for one beside is_causal."""
    try:
        fits = np.broadcast_shapes(mask.shape, shape) == shape
    except ValueError:
        fits = False
    _check(_ALONE, "attn_mask", mask, x, fits, f"one that broadcasts to {shape}")
    if is_causal:
        raise OpError(f"[{_ALONE}] got attn_mask and is_causal=True; expected one of them")


def of_heads(
    x: Tensor, shape: tuple[int, ...], given: tuple[Any, Any, bool], added: int, with_weights: bool
) -> tuple[list[Tensor], bool]:
    """The masks of scores of all heads (N, heads, L, S), and whether the kernel is causal besides.

    given: padding (N, S), or (S,) for one sequence; mask (L, S) or (N heads, L, S); is_causal. No mask hides
    the keys that are ``added`` behind the others.
    """
    padding, mask, is_causal = given
    n, heads, queries, keys = shape
    masks = []
    if padding is not None:
        padding = _given("key_padding_mask", padding, x, (n, keys), *([(keys,)] if n == 1 else []))
        masks.append(padding.reshape(n, 1, 1, keys))
    if mask is not None:
        mask = _given("attn_mask", mask, x, (queries, keys), (n * heads, queries, keys))
        masks.append(mask if mask.ndim == 2 else mask.reshape(*shape))
    # A causal kernel would hide the added keys, and has no weights, not even NaN, of keys after a query.
    if is_causal and (added or (masks and with_weights)):
        hidden, is_causal = later(queries, keys), False
        if mask is None:
            masks.append(hidden)
        else:
            masks[-1] = masks[-1].masked_fill(hidden, True if mask.dtype.kind == "b" else -math.inf)
    if added:
        masks = [cat([m, m.new_zeros(*m.shape[:-1], added)], -1) for m in masks]
    return masks, is_causal


def _given(name: str, mask: Any, x: Tensor, *shapes: tuple[int, ...]) -> Tensor:
    mask = as_tensor(_OF_HEADS, mask)
    _check(_OF_HEADS, name, mask, x, tuple(mask.shape) in shapes, " or ".join(map(str, shapes)))
    return mask


def _check(op: str, name: str, mask: Tensor, x: Tensor, fits: bool, expected: str) -> None:
    if not fits:
        raise OpError(f"[{op}] got {name} of shape {tuple(mask.shape)}; expected {expected}")
    own, wanted = mask._array.dtype, x._array.dtype
    if own.kind != "b" and own != wanted and not (own == F32 and wanted in HALVES):
        raise DtypeError(f"[{op}] got {name} of dtype {own}; expected bool or {wanted}")
