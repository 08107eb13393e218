"""Properties and comparisons of Tensors, computed outside the tape."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import ranvier._core as _core
from ranvier.observe import computed, refuse, value_read
from ranvier.tensors.failures import OpError
from ranvier.tensors.memory import array_from, plain, require_numbers
from ranvier.tensors.recording import host
from ranvier.tensors.tensor import Tensor, wrap
from ranvier.tensors.types import Array, DtypeLike, TensorLike

__all__ = ["allclose", "equal", "is_complex", "is_floating_point", "is_tensor", "isfinite", "isinf", "isnan"]
__all__ += ["numel"]


def _raw(name: str, x: TensorLike) -> np.ndarray[Any, Any]:
    """x as an array. name: the function's, for errors."""
    if isinstance(x, Tensor):
        return x._array
    x = plain(name, x)
    try:
        return np.asarray(x)
    except ValueError:
        raise OpError(f"[{name}] got lists of unequal lengths; expected a regular nested list") from None


def is_tensor(obj: Any) -> bool:
    """True for a Tensor.

    >>> import ranvier as rv
    >>> rv.is_tensor(rv.ones(1)), rv.is_tensor([1.0])
    (True, False)
    """
    return isinstance(obj, Tensor)


def is_floating_point(input: TensorLike) -> bool:
    """True if the elements are floating-point numbers.

    >>> import ranvier as rv
    >>> rv.is_floating_point(rv.ones(1)), rv.is_floating_point(rv.arange(2))
    (True, False)
    """
    return _raw("is_floating_point", input).dtype.kind == "f"


def is_complex(input: TensorLike) -> bool:
    """False: no Tensor has complex numbers.

    >>> import ranvier as rv
    >>> rv.is_complex(rv.ones(1))
    False
    """
    return _raw("is_complex", input).dtype.kind == "c"


def conj(input: Tensor) -> Tensor:
    """The tensor itself: its numbers are real."""
    if not isinstance(input, Tensor):
        raise TypeError(f"[conj] got {type(input).__name__}; expected a Tensor")
    return input


def to_dense(input: Tensor, dtype: DtypeLike | None = None, *, masked_grad: bool | None = None) -> Tensor:
    """The tensor itself, or in another dtype: all tensors are dense."""
    if dtype is None:
        return input
    return input.to(dtype)


def numel(input: TensorLike) -> int:
    """The number of elements."""
    return _raw("numel", input).size


def _is(name: str, x: TensorLike, numpy: Callable[..., Array], kernel: Callable[[Array], Array]) -> Tensor:
    """A test of each element, by a kernel for float32 and float64, else by NumPy."""
    array = _raw(name, x)
    require_numbers(name, array.dtype)
    if array.dtype.char in "fd":
        y = kernel(array)
    else:
        y = array_from(host(numpy, array))
    return computed(name, (x,), wrap(y))


def _array_isnan(array: Array) -> Array:
    return _core.ne(array, array, None)


def _array_isinf(array: Array) -> Array:
    return _core.eq(_core.abs(array, None), math.inf, None)


def _array_isfinite(array: Array) -> Array:
    return _core.lt(_core.abs(array, None), math.inf, None)


def isnan(input: TensorLike) -> Tensor:
    """True for the elements that are NaN.

    >>> import ranvier as rv
    >>> rv.isnan(rv.tensor([1.0, float("nan")]))
    tensor([False,  True])
    """
    return _is("isnan", input, np.isnan, _array_isnan)


def isinf(input: TensorLike) -> Tensor:
    """True for the elements that are infinite.

    >>> import ranvier as rv
    >>> rv.isinf(rv.tensor([1.0, -float("inf")]))
    tensor([False,  True])
    """
    return _is("isinf", input, np.isinf, _array_isinf)


def isfinite(input: TensorLike) -> Tensor:
    """True for the elements that are neither NaN nor infinite.

    >>> import ranvier as rv
    >>> rv.isfinite(rv.tensor([1.0, 1e39]))
    tensor([ True, False])
    """
    return _is("isfinite", input, np.isfinite, _array_isfinite)


def _are_near(a: Array, b: Array, rtol: float, atol: float) -> bool:
    """True if a and b have the same shape and dtype of floats and are close, and b is finite. False means
    nothing: NumPy then compares again."""
    alike = a.shape == b.shape and a.dtype == b.dtype and a.dtype.char in "fd"
    if not alike or {type(rtol), type(atol)} != {float} or not _core.inside(b, *_FINITE[b.dtype.char]):
        return False
    room = _core.sub(_core.add(_core.mul(_core.abs(b), rtol), atol), _core.abs(_core.sub(a, b)))
    return _core.inside(room, 0.0, math.inf)


_FINITE = {kind: (float(np.finfo(kind).min), float(np.finfo(kind).max)) for kind in "fd"}


def allclose(
    input: TensorLike, other: TensorLike, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> bool:
    """True if abs(input - other) <= atol + rtol abs(other) everywhere.

    >>> import ranvier as rv
    >>> rv.allclose(rv.ones(2), rv.ones(2) + 1e-7)
    True
    """
    if not (rtol >= 0 and atol >= 0):
        raise OpError(f"[allclose] got rtol {rtol} and atol {atol}; expected numbers >= 0")
    for x in (input, other):
        value_read("allclose", x)
    a = _raw("allclose", input)
    b = _raw("allclose", other)
    if _are_near(a, b, rtol, atol):
        return True
    try:
        return bool(np.allclose(a, b, rtol, atol, equal_nan))
    except ValueError as error:
        shapes = f"shapes {np.shape(a)} and {np.shape(b)}"
        raise OpError(f"[allclose] got {shapes}; expected shapes that broadcast") from error


def is_inference(input: Tensor) -> bool:
    """True if the tensor was made in :class:`inference_mode`.

    >>> import ranvier as rv
    >>> rv.ones(2).is_inference()
    False
    """
    refuse("is_inference()", "ask outside the step")
    return input._cell.inference


def equal(input: TensorLike, other: TensorLike) -> bool:
    """True if shapes and all elements are equal."""
    for x in (input, other):
        value_read("equal", x)
    a = _raw("equal", input)
    b = _raw("equal", other)
    return a.shape == b.shape and b"\0" not in (a == b).tobytes()
