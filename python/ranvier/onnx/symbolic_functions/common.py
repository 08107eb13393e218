"""What the handlers have in common: how they read their arguments, and how they record a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

import ranvier as rv
from ranvier.autograd import Tensor
from ranvier.onnx.dims import Dim, Dims, is_fixed
from ranvier.onnx.patching import Original
from ranvier.onnx.sizes import Real, SymbolicNumber, number

if TYPE_CHECKING:
    from ranvier.onnx.tracing import Trace

SizesLike: TypeAlias = Dim | Sequence[Dim]
"""Sizes as an argument of a function that takes ``f(2, 3)`` and ``f((2, 3))``."""


# --- arguments
def listed(sizes: tuple[SizesLike, ...], named: SizesLike | None = None) -> tuple[Any, ...]:
    """The sizes in ``f(2, 3)``, ``f((2, 3))`` or ``f(size=(2, 3))``."""
    if named is not None:
        sizes = (named,)
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        return tuple(sizes[0])
    return sizes


def for_each_axis(value: Any, axes: int) -> tuple[Any, ...]:
    """A setting for each axis of the image."""
    if isinstance(value, (tuple, list)):
        return tuple(value)
    return (value,) * axes


def axis_from_front(dim: int, ndim: int) -> int:
    return dim % max(ndim, 1)


def is_dynamic(trace: Trace, x: Any) -> bool:
    """True for a Tensor whose shape depends on a dynamic axis."""
    return isinstance(x, Tensor) and not is_fixed(trace.dims(x))


# --- results
def recorded(
    trace: Trace,
    y: Tensor,
    kind: str,
    dims: Dims | None,
    operands: tuple[Tensor, ...] = (),
    **settings: Any,
) -> Tensor:
    """y, recorded as the result of a call of this kind; dims: its shape, None where a rule gives it."""
    trace.made(kind, settings, operands, y, dims)
    return y


def recorded_reshape(trace: Trace, y: Tensor, x: Tensor, dims: Dims) -> Tensor:
    """y, recorded as x in another shape."""
    return _recorded_once(trace, y, "Reshape", x, dims)


def recorded_expand(trace: Trace, y: Tensor, x: Tensor, dims: Dims) -> Tensor:
    """y, recorded as x repeated along axes."""
    return _recorded_once(trace, y, "Expand", x, dims)


def _recorded_once(trace: Trace, y: Tensor, kind: str, x: Tensor, dims: Dims) -> Tensor:
    if y is x or trace.find(y._array) is not None:  # the tensor itself: nothing to record
        return y
    return recorded(trace, y, kind, dims, (x,))


def call_on(trace: Trace, function: Callable[..., Tensor], *args: Any, **settings: Any) -> Tensor:
    """The result of a public function in the present run; nothing is recorded."""
    original = Original("", getattr(function, "__wrapped__", function), False)
    result: Tensor = original(*args, **settings)
    return result


def as_number(trace: Trace, value: SymbolicNumber, dtype: np.dtype[Any]) -> Tensor:
    """A size as a tensor of shape (), in int64; a number with a fraction in a dtype."""
    if not isinstance(value, Real):
        dtype = np.dtype(np.int64)
    y = call_on(trace, rv.as_tensor, np.array(number(value), dtype))
    return recorded(trace, y, "SizeNumber", (), value=value)


def section(x: Tensor, dim: int, start: Dim | None, stop: Dim | None) -> Tensor:
    """x[..., start:stop, ...] along one axis."""
    before = (slice(None),) * axis_from_front(dim, x.ndim)
    key = (*before, slice(start, stop))
    return x[key]
