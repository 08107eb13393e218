"""Methods of Tensor that are no functions: view, view_as, reshape_as, expand_as, new shapes in place."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.convert import reinterpreted
from ranvier.autograd.inplace import check_leaf
from ranvier.autograd.mode import mode
from ranvier.autograd.tensor import Tensor
from ranvier.autograd.views import views_of
from ranvier.ops.shape.reshape import expand, reshape, squeeze, t, transpose, unsqueeze

__all__: list[str] = []
METHODS = ["expand_as", "reshape_as", "view", "view_as"]
IN_PLACE = {
    "squeeze_": squeeze,
    "swapaxes_": transpose,
    "t_": t,
    "transpose_": transpose,
    "unsqueeze_": unsqueeze,
}


def view(x: Any, *sizes: Any, size: Any = None, dtype: Any = None) -> Tensor:
    """:func:`reshape`; where no view is possible the elements are copied. With a dtype: the same memory read
    as that dtype, without a gradient; the last dimension changes where the dtypes' sizes differ.

    >>> import ranvier as rv
    >>> rv.tensor([1.0]).view(rv.int32)
    tensor([1065353216], dtype=ranvier.int32)
    """
    if dtype is not None or (len(sizes) == 1 and isinstance(sizes[0], (np.dtype, type))):
        return reinterpreted(x, np.dtype(sizes[0] if dtype is None else dtype))
    return reshape(x, *sizes) if size is None else reshape(x, size)


def view_as(x: Any, other: Any) -> Tensor:
    """x in the shape of other."""
    return reshape(x, other.shape)


reshape_as = view_as


def expand_as(x: Any, other: Any) -> Tensor:
    """x repeated to the shape of other."""
    return expand(x, tuple(other.shape))


def in_place(name: str, function: Any) -> Any:
    """``x.unsqueeze_(0)``: x itself gets the other shape, on the same memory, and its history the view."""

    def method(x: Tensor, *args: Any, **settings: Any) -> Tensor:
        check_leaf(x, name)
        if x._grad_fn is not None and not mode.enabled:
            better = f"x = x.{name[:-1]}(...)"
            raise RuntimeError(f"[{name}] got a Tensor with a history under no_grad(); expected {better}")
        shape, views = x.shape, views_of(x)
        result = function(x, *args, **settings)
        if (result.shape, result.stride()) == (shape, x.stride()):
            return x
        x._array = result._array
        x._view = None if x._view is None else result._view
        if result._grad_fn is not None:  # hooks stay with the shape that they were given
            x._grad_fn = result._grad_fn
        if views:  # they begin at x as it was
            before = function(x, *args, **settings) if function in (t, transpose) else reshape(x, shape)
            back = before._view[1][-1]  # type: ignore[index]
            for view in views:
                base, chain, why = view._view
                view._view = base, (back, *chain), why
        return x

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As :func:`ranvier.{name[:-1]}`, of the tensor itself."
    method.__wrapped__ = function  # type: ignore[attr-defined]
    return method
