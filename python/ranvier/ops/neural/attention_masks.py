"""Masks of attention: checks the masks that users give, and makes those of them that the kernel takes.

`expect_on_scores` is for scaled_dot_product_attention (attention.py), `of_heads` for nn.MultiheadAttention,
`later` and `as_added` for nn/attention.py and nn/transformer.py.

A mask has bools, or numbers that are added to the scores (..., L, S), in the queries' dtype, or in float32
beside half floats. The kernel takes up to two masks that broadcast to the scores, and a flag is_causal, by
which it hides the keys after each query.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ranvier.ops.elementwise.dtypes import as_tensor
from ranvier.ops.making.creation import ones, zeros
from ranvier.ops.shape.join import cat
from ranvier.tensors.failures import DtypeError, OpError
from ranvier.tensors.memory import F32, HALVES
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DtypeLike, Shape, TensorLike

_ALONE = "scaled_dot_product_attention"
_OF_HEADS = "multihead_attention"


def later(queries: int, keys: int) -> Tensor:
    """(queries, keys): True where a key comes after the query, so that a causal mask hides it."""
    return ones(queries, keys, dtype=bool).triu(1)


def as_added(mask: Tensor, dtype: DtypeLike | None) -> Tensor:
    """A mask of bools, True where hidden, as numbers that are added to scores; any other as it is."""
    if mask._array.dtype.kind != "b":
        return mask
    return zeros(*mask.shape, dtype=dtype).masked_fill(mask, -math.inf)


def expect_on_scores(mask: Tensor, x: Tensor, shape: tuple[int, ...], is_causal: bool) -> None:
    """Raises ValueError for a mask that does not broadcast to scores of this shape, and for a mask beside
    is_causal; TypeError for its dtype. x: the queries."""
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
    """The masks for scores of all heads, which broadcast to (N, heads, L, S), and whether the kernel gets
    is_causal.

    shape: of the scores without added keys. given: (padding mask (N, S), or (S,) for one sequence; mask (L,
    S) or (N heads, L, S); is_causal). added: the number of keys behind the others that no mask hides.
    with_weights: whether the weights are a result.
    """
    padding, mask, is_causal = given
    n, heads, queries, keys = shape
    masks = []
    if padding is not None:
        shapes: list[Shape] = [(n, keys)]
        if n == 1:
            shapes.append((keys,))
        padding = _given("key_padding_mask", padding, x, *shapes)
        masks.append(padding.reshape(n, 1, 1, keys))
    if mask is not None:
        mask = _given("attn_mask", mask, x, (queries, keys), (n * heads, queries, keys))
        if mask.ndim == 3:
            mask = mask.reshape(*shape)
        masks.append(mask)
    # A causal kernel would hide the added keys. And its weights of keys after a query are 0, never NaN,
    # unlike those of a mask. In these cases is_causal becomes a mask.
    if is_causal and (added or (masks and with_weights)):
        hidden = later(queries, keys)
        is_causal = False
        if mask is None:
            masks.append(hidden)
        elif mask.dtype.kind == "b":
            masks[-1] = masks[-1].masked_fill(hidden, True)
        else:
            masks[-1] = masks[-1].masked_fill(hidden, -math.inf)
    if added:
        masks = [cat([m, m.new_zeros(*m.shape[:-1], added)], -1) for m in masks]
    return masks, is_causal


def _given(name: str, mask: TensorLike, x: Tensor, *shapes: tuple[int, ...]) -> Tensor:
    """A mask as a Tensor, which must have one of these shapes."""
    mask = as_tensor(_OF_HEADS, mask)
    _check(_OF_HEADS, name, mask, x, tuple(mask.shape) in shapes, " or ".join(map(str, shapes)))
    return mask


def _check(op: str, name: str, mask: Tensor, x: Tensor, fits: bool, expected: str) -> None:
    if not fits:
        raise OpError(f"[{op}] got {name} of shape {tuple(mask.shape)}; expected {expected}")
    own = mask._array.dtype
    wanted = x._array.dtype
    if own.kind != "b" and own != wanted and not (own == F32 and wanted in HALVES):
        raise DtypeError(f"[{op}] got {name} of dtype {own}; expected bool or {wanted}")
