"""The parts of a rank in one pass, where no row of the output depends on another row of the batch.

A row of a product has the same bits in any batch. So the layers take all rows of the rank at once, and only
what is a sum over rows follows the parts and their tree: the loss, and the gradients of weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy.typing as npt

import ranvier._core as _core
import ranvier.nn as nn
from ranvier.autograd import Tensor, hooks
from ranvier.ops.activation.table import TABLE
from ranvier.ops.matrix.linear import Linear

__all__ = ["along_tree", "is_by_row", "output_of"]

Array = npt.NDArray[Any]

_PARTS = 64  # the most parts of a product that the core adds itself: its kMostParts
_CHAIN = 384  # the most rows of a part then: its kc
_DOTS = 4  # with no more rows or columns it may choose a dot product for a part, which has other bits
_BY_ELEMENT = {nn.Identity, *(getattr(nn, row.layer) for row in TABLE.values())}


def is_by_row(model: Any, loss: Any, x: Array, trained: Sequence[Any]) -> bool:
    """Whether the model is a Sequential of Linear, Flatten and activations without hooks, which takes x and
    has just these parameters to train, and the loss is one of the library that has none."""
    if not type(loss).__module__.startswith("ranvier.nn.loss") or [*loss.parameters()]:
        return False
    features, parameters = -1 if x.ndim != 2 else x.shape[1], []
    for layer in _layers(model):
        kind = type(layer)
        if layer._rv_hooks is not None or "forward" in vars(layer):
            return False
        if kind is nn.Linear and features == layer.in_features and layer.weight.dtype == x.dtype:
            features = layer.out_features
            parameters += [p for p in (layer.weight, layer.bias) if p is not None and p.requires_grad]
        elif kind is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1) and x.ndim > 1:
            features = math.prod(x.shape[1:]) if features < 0 else features
        elif kind not in _BY_ELEMENT:
            return False
    ids = [id(p) for p in parameters]
    if any(of.get(i) for of in (hooks.before_accumulation, hooks.after_accumulation) for i in ids):
        return False
    return len({*ids}) == len(ids) > 0 and {*ids} == {id(p) for p in trained}


def _layers(model: Any) -> Iterator[Any]:
    """The layers of nested Sequentials, in order; anything else is a layer."""
    if type(model) is nn.Sequential and model._rv_hooks is None and "forward" not in vars(model):
        for layer in model:
            yield from _layers(layer)
    else:
        yield model


def output_of(model: Any, x: Tensor, bounds: Sequence[tuple[int, int]], sums: dict[int, Array]) -> Tensor:
    """The output; backward writes the sums over the parts to the arrays `sums`, by the parameters' ids."""
    for layer in _layers(model):
        if type(layer) is nn.Linear:
            x = _ByParts(bounds, sums, layer).apply(x, layer.weight, layer.bias)
        else:
            x = layer(x)
    return x


class _ByParts(Linear):
    """Linear; backward gives dx alone, and writes the gradients of W and b to their arrays."""

    def __init__(self, bounds: Sequence[tuple[int, int]], sums: dict[int, Array], layer: Any) -> None:
        self.bounds = bounds
        self.into = sums.get(id(layer.weight)), sums.get(id(layer.bias))

    def backward(self, dy: Array) -> tuple[Array | None, Array | None, Array | None]:
        x, (dw, db) = self.x, self.into
        dx = _core.matmul(dy, self.weight, None, "none", None) if self.needs[0] else None
        if dw is not None:
            sizes = {b - a for a, b in self.bounds}
            even = len(sizes) == 1 and max(sizes) <= _CHAIN and 1 < len(self.bounds) <= _PARTS
            if even and min(dw.shape) > _DOTS and not _core.current_precision():
                _core.matmul(dy.T, x, None, "none", dw, None, len(self.bounds))
            else:
                self._sum(lambda a, b, out: _core.matmul(dy[a:b].T, x[a:b], None, "none", out), dw)
        if db is not None:
            self._sum(lambda a, b, out: _core.sum(dy[a:b], 0, False, out), db)
        return dx, None, None

    def _sum(self, part: Callable[[int, int, Array | None], Array], out: Array) -> None:
        along_tree([lambda out, a=a, b=b: part(a, b, out) for a, b in self.bounds], out)  # type: ignore[misc]


def along_tree(parts: Sequence[Callable[[Array | None], Array]], out: Array | None) -> Array:
    """The sum of arrays, lower + upper half; each is made by a function, the first in `out`."""
    if len(parts) == 1:
        return parts[0](out)
    half = len(parts) // 2
    lower, upper = along_tree(parts[:half], out), along_tree(parts[half:], None)
    return _core.add(lower, upper, lower)
