"""Rules of what moves values: views, copies, indices, joined and sorted tensors."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
import ranvier.autograd.copies as copies
from ranvier.autograd.graph import refuse, rule
from ranvier.autograd.memory import filled_like
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.autograd.views import through
from ranvier.ops.image.pad import pad
from ranvier.ops.image.sampling import Unpool
from ranvier.ops.layout import zeros
from ranvier.ops.reduction.reduce import ExtremeAlong, _without
from ranvier.ops.reduction.sort import Sort
from ranvier.ops.rules import Array, kept, linear, mapped, none, sum_to
from ranvier.ops.shape import index
from ranvier.ops.shape import reshape as shape
from ranvier.ops.shape.arrange import Unfold
from ranvier.ops.shape.diagonal import Diagonal
from ranvier.ops.shape.join import Concatenate, narrow
from ranvier.ops.shape.repeat import Repeat
from ranvier.ops.shape.scatter import Scatter
from ranvier.ops.shape.write import ScatterReduce

linear(index.GetItem, index.TakeRows, index.Pick, shape.Flip, Diagonal, Unfold, Repeat)


@rule(shape.Reshape)
def _reshape(node: Any, dy: Tensor) -> Tensor:
    return shape.reshape(dy, node.shape)


@rule(shape.Permute)
def _permute(node: Any, dy: Tensor) -> Tensor:
    return shape.permute(dy, np.argsort([d % dy.ndim for d in node.dims]).tolist())


@rule(shape.Expand)
def _expand(node: Any, dy: Tensor) -> Tensor:
    return sum_to(dy, node.shape)


@rule(copies.Clone)
def _clone(node: Any, dy: Tensor) -> Tensor:
    return dy


@rule(copies.Cast)
def _cast(node: Any, dy: Tensor) -> Tensor:
    return dy.to(node.source)


@rule(copies.Refused)
def _refused(node: Any, dy: Tensor) -> Any:
    return node.backward(dy)  # raises


@rule(Concatenate)
def _concatenate(node: Any, dy: Tensor) -> tuple[Tensor, ...]:
    parts, start = [], 0
    axis = node.axis % dy.ndim
    for size in node.shapes:
        if len(size) != dy.ndim:  # it was left out
            parts.append(none(size, dy))
            continue
        parts.append(narrow(dy, axis, start, size[axis]))
        start += size[axis]
    return tuple(parts)


linear(
    index.Gather,
    backward=lambda node, dy: node.backward(dy)[0],
    forward=lambda node, x: node.forward(x, node.index),
)


def _gathered(node: Any, x: Array) -> Array:
    return _core.gather(x, node.indices, node.axis, None)


linear(Sort, backward=lambda node, dy: node.backward(dy, None), forward=_gathered)
linear(
    ExtremeAlong,
    backward=lambda node, dy: node.backward(dy, None),
    forward=lambda node, x: _gathered(node, x).reshape(
        node.indices.shape if node.keepdims else _without(node.indices.shape, node.axis)
    ),
)


def _added(node: Any, x: Array) -> Array:
    """x added at the places, which may be named several times."""
    count, n = math.prod(x.shape[:-1]), x.shape[-1]
    y, lines = np.zeros((count, node.size), x.dtype), np.arange(count)[:, None]
    np.add.at(y, (lines, node.at.reshape(count, n)), x.reshape(count, n))
    return y.reshape(*x.shape[:-1], node.size)


linear(Unpool, forward=_added)


@rule(ScatterReduce)
def _scatter_reduce(node: Any, dy: Tensor) -> tuple[Tensor | None, None, Tensor | None]:
    """The gradients of extremes: dy times shares that are constant between ties."""
    if node.reduce == "prod":
        refuse(node)
    shares = node.backward(filled_like(1, dy._array))
    dx = dy * wrap(shares[0]) if node.needs[0] else None
    if not node.needs[2]:
        return dx, None, None
    read = shape.reshape(dy, dy.shape or (1,))[node.key]
    used = shares[2].reshape(node.src_shape or (1,))[tuple(map(slice, read.shape))]
    dsrc = read * wrap(np.ascontiguousarray(used))
    sizes = [n for size, own in zip(used.shape, node.src_shape, strict=False) for n in (own - size, 0)]
    dsrc = pad(dsrc, sizes[::-1]) if any(sizes) else dsrc
    return dx, None, shape.reshape(dsrc, node.src_shape)


def _parts(kind: Any, arguments: Callable[[Any, Array], list[Array]]) -> None:
    """The rule of Functions y = A a + B b. arguments: those of forward, from node and dy; zeros for a, b."""

    def apply(node: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        copy = kept(node)
        given, saved = arguments(node, dy._array), list(vars(copy).values())

        def part(i: int) -> Tensor:
            return mapped(
                node,
                dy,
                lambda d: copy.backward(d)[i],
                lambda x: kept(copy).forward(*given[:i], x, *given[i + 1 :]),  # it notes dtypes for backward
                saved,
            )

        return tuple(part(i) if needed else None for i, needed in enumerate(node.needs))

    rule(kind)(apply)


_parts(copies.SetItem, lambda node, dy: [zeros(dy.shape, dy.dtype), zeros(node.value_shape, dy.dtype)])
_parts(copies.Put, lambda node, dy: [zeros(dy.shape, dy.dtype), zeros(node.value_shape, dy.dtype)])
_parts(
    copies.Replace,
    lambda node, dy: [zeros(dy.shape, dy.dtype), through(node.chain, zeros(dy.shape, dy.dtype))],
)
_parts(Scatter, lambda node, dy: [zeros(node.shape, dy.dtype), node.index, zeros(node.src_shape, dy.dtype)])
