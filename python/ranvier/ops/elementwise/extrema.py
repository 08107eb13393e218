"""maximum, minimum, clamp: choices between values; NaN stays NaN, as in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.autograd.function import Function
from ranvier.autograd.tensor import Tensor, by_numpy
from ranvier.ops.elementwise.dtypes import (
    F32,
    F64,
    Array,
    as_operand,
    cast,
    is_floating,
    is_pair,
    promoted,
    require_no_gradient,
    unbroadcast,
)

__all__ = ["clamp", "clip", "maximum", "minimum"]
METHODS = [*__all__, "clamp_", "clip_"]


class Maximum(Function):
    """y = max(a, b)"""

    kernel: Any = _core.maximum
    kernel_backward: Any = _core.maximum_backward

    def forward(self, a: Array, b: Array) -> Array:
        self.a, self.b = a, b
        return self.kernel(a, b, None)

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        a, b = self.a, self.b
        da = unbroadcast(self.kernel_backward(dy, a, b, None), a.shape) if self.needs[0] else None
        db = unbroadcast(self.kernel_backward(dy, b, a, None), b.shape) if self.needs[1] else None
        return da, db


class Minimum(Maximum):
    """y = min(a, b)"""

    kernel, kernel_backward = _core.minimum, _core.minimum_backward


class Clip(Function):
    """y = min(max(x, low), high)"""

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high

    def forward(self, x: Array) -> Array:
        self.x = x
        return _core.clip(x, self.low, self.high, None)

    def backward(self, dy: Array) -> Array:
        return _core.clip_backward(dy, self.x, self.low, self.high, None)


class AtLeast(Function):
    """y = max(x, low); where they are equal, x gets the gradient"""

    compare: Any = _core.ge
    reverse: Any = _core.lt
    extremum: Any = _core.maximum

    def forward(self, x: Array, limit: Array) -> Array:
        self.x, self.limit = x, limit
        return self.extremum(limit, x, None)  # of equal zeros x, with its sign

    def backward(self, dy: Array) -> tuple[Array | None, Array | None]:
        x, limit, dx, dlimit = self.x, self.limit, None, None
        if self.needs[0]:
            dx = unbroadcast(_core.where(self.compare(x, limit, None), dy, 0, None), x.shape)
        if self.needs[1]:
            dlimit = unbroadcast(_core.where(self.reverse(x, limit, None), dy, 0, None), limit.shape)
        return dx, dlimit


class AtMost(AtLeast):
    """y = min(x, high); where they are equal, x gets the gradient"""

    compare, reverse, extremum = _core.le, _core.gt, _core.minimum


class Between(Function):
    """y = min(max(x, low), high); what gets the gradient at equal values is as in PyTorch"""

    def forward(self, x: Array, low: Array, high: Array) -> Array:
        self.arrays = x, low, high
        return _core.minimum(high, _core.maximum(low, x, None), None)

    def backward(self, dy: Array) -> tuple[Array | None, ...]:
        x, low, high = self.arrays
        found: list[Array | None] = [None, None, None]
        if self.needs[0]:
            inside = _core.where(_core.le(x, high, None), dy, 0, None)
            found[0] = _core.where(_core.ge(x, low, None), inside, 0, None)
        if self.needs[1]:
            apart = _core.where(_core.lt(low, high, None), dy, 0, None)
            found[1] = _core.where(_core.lt(x, low, None), apart, 0, None)
        if self.needs[2]:
            crossed = _core.where(_core.lt(high, low, None), dy, 0, None)
            found[2] = _core.where(_core.gt(x, high, None), dy, crossed, None)
        return tuple(
            d if d is None else unbroadcast(d, array.shape)
            for d, array in zip(found, self.arrays, strict=True)
        )


def maximum(input: Any, other: Any) -> Tensor:
    """The greater of a and b, element by element; NaN if either is. Equal values share the gradient; where
    either is NaN, both get all of it, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.maximum(rv.tensor([1.0, 5.0]), rv.tensor([3.0, 4.0]))
    tensor([3., 5.])
    """
    if is_pair(input, other):
        return Maximum().apply(input, other)
    return promoted("maximum", Maximum, np.maximum, input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of a and b, element by element; NaN if either is. Equal values share the gradient; where
    either is NaN, both get all of it, as in PyTorch.

    >>> import ranvier as rv
    >>> rv.minimum(rv.tensor([1.0, 5.0]), rv.tensor([3.0, 4.0]))
    tensor([1., 4.])
    """
    if is_pair(input, other):
        return Minimum().apply(input, other)
    return promoted("minimum", Minimum, np.minimum, input, other)


def clip(input: Any, min: Any = None, max: Any = None) -> Tensor:
    """x limited to [min, max]; None means no limit on that side. The gradient passes where min <= x <= max;
    elsewhere it goes to the limit.

    min and max are numbers, or tensors that broadcast. Raises ValueError if both are None.

    >>> import ranvier as rv
    >>> rv.clip(rv.tensor([-2.0, 0.5, 3.0]), 0, 1)
    tensor([0.0000, 0.5000, 1.0000])
    """
    if min is None and max is None:
        raise ValueError("[clip] got neither min nor max; expected at least one limit")
    input = as_operand("clip", input)
    low, high = (None if limit is None else as_operand("clip", limit) for limit in (min, max))
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        return _by_tensors(input, low, high)
    if not is_floating(input):
        floats = isinstance(low, float) or isinstance(high, float)
        if not (floats and isinstance(input, Tensor)):
            require_no_gradient("clip", input)
            return by_numpy(np.clip, getattr(input, "_array", input), low, high)
        input = input.float()
    infinity = float("inf")
    return Clip(-infinity if low is None else low, infinity if high is None else high).apply(input)


def _by_tensors(x: Any, low: Any, high: Any) -> Tensor:
    """clip with one limit or two, at least one of them a Tensor."""
    if low is None or high is None:
        kind, function, limit = (AtMost, np.minimum, high) if low is None else (AtLeast, np.maximum, low)
        return promoted("clip", kind, function, x, limit)
    dtypes = {part._array.dtype for part in (x, low, high) if isinstance(part, Tensor)}
    if len(dtypes) > 1 or not dtypes <= {F32, F64}:
        y = promoted("clip", AtMost, np.minimum, promoted("clip", AtLeast, np.maximum, x, low), high)
        if not (y.requires_grad and is_floating(y)):
            return y
        dtypes = {y.dtype}
    dtype = dtypes.pop()
    return Between().apply(*(cast(part, dtype) for part in (x, low, high)))


clamp = clip
