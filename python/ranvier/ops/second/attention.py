"""The rules of attention: its forward is computed again from the weights that it has saved."""

from __future__ import annotations

import math
from typing import Any

import ranvier._core as _core
from ranvier.autograd.graph import of_input, rule
from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.ops.activation.softmax import softmax
from ranvier.ops.elementwise.choice import where
from ranvier.ops.elementwise.functions import log
from ranvier.ops.layout import zeros
from ranvier.ops.matrix.matmul import matmul
from ranvier.ops.neural.attention import Attention, PackedAttention, _merged
from ranvier.ops.neural.dropout import Dropout
from ranvier.ops.reduction.reduce import sum as total
from ranvier.ops.rules import differentiated
from ranvier.ops.shape.reshape import permute, reshape, transpose


def _attended(node: Any, q: Tensor, k: Tensor, v: Tensor, masks: list[Tensor]) -> tuple[Tensor, Tensor]:
    """(y, dropped weights). masks: those with a gradient; their values do not matter.

    The weights are softmax(scores + c), where c is what the masks have added, found from the weights.
    """
    weights = wrap(node.all_weights())
    scores = matmul(q * node.scale, transpose(k, -1, -2))
    with no_grad():
        seen = total(weights, -1, keepdim=True) > 0.0
        c = where(weights > 0.0, log(weights) - scores, -math.inf)
        c = where(seen, c, 0.0)  # queries without visible keys have weights 0
    for mask in masks:
        scores = scores + mask
    found = where(seen, softmax(scores + c, -1), 0.0)
    if node.key is not None:
        found = Dropout(node.p, node.key).apply(found)
    return matmul(found, v), found


def _masks(node: Any, dy: Any, first: int, shapes: Any) -> list[Tensor]:
    """The masks as Tensors with their history, filled with 0."""
    return [of_input(node, first + i, zeros(shape, dy._array.dtype)) for i, shape in enumerate(shapes)]


@rule(Attention)
def _attention(node: Any, *dys: Tensor | None) -> tuple[Tensor | None, ...]:
    given = next(dy for dy in dys if dy is not None)
    xs = [of_input(node, i, array) for i, array in enumerate((node.q, node.k, node.v))]
    masks = _masks(node, given, 3, node.shapes[3:])

    def forward(q: Tensor, k: Tensor, v: Tensor, *masks: Tensor) -> Any:
        y, weights = _attended(
            node, q, k, v, [m for m, need in zip(masks, node.needs[3:], strict=True) if need]
        )
        return (y, weights) if node.with_weights else y

    return differentiated(node, [*xs, *masks], forward, *dys)


@rule(PackedAttention)
def _packed(node: Any, *dys: Tensor | None) -> tuple[Tensor | None, ...]:
    given = next(dy for dy in dys if dy is not None)
    parts = _core.concatenate([node._apart(x) for x in (node.q, node.k, node.v)], 2)
    qkv, masks = of_input(node, 0, _merged(parts)), _masks(node, given, 1, node.mask_shapes)
    order = (0, 2, 1, 3) if node.batch_first else (2, 0, 1, 3)  # (N, heads, L, D) to what qkv has

    def forward(qkv: Tensor, *masks: Tensor) -> Any:
        split = reshape(qkv, (*qkv.shape[:2], 3, node.heads, node.q.shape[-1]))
        heads = permute(split, (2, 0, 3, 1, 4) if node.batch_first else (2, 1, 3, 0, 4))
        needed = [m for m, need in zip(masks, node.needs[1:], strict=True) if need]
        y, weights = _attended(node, heads[0], heads[1], heads[2], needed)
        y = reshape(permute(y, order), (*qkv.shape[:2], qkv.shape[2] // 3))
        return (y, weights) if node.with_weights else y

    return differentiated(node, [qkv, *masks], forward, *dys)
