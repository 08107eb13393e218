"""Methods of Tensor that are no functions: view, view_as, reshape_as, expand_as."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd.convert import reinterpreted
from ranvier.autograd.tensor import Tensor
from ranvier.ops.shape import expand, reshape

__all__: list[str] = []
METHODS = ["expand_as", "reshape_as", "view", "view_as"]


def view(x: Any, *sizes: Any, size: Any = None, dtype: Any = None) -> Tensor:
    """:func:`reshape`; where no view is possible the elements are copied. With a dtype: the same memory read
    as that dtype, without a gradient; the last dimension changes where the dtypes' sizes differ.

    >>> import ranvier as rv
    >>> rv.tensor([1.0]).view(rv.int32)
    tensor([1065353216], dtype=ranvier.int32)
    """
    if dtype is not None or (len(sizes) == 1 and isinstance(sizes[0], (np.dtype, type))):
        return reinterpreted(x, np.dtype(sizes[0] if dtype is None else dtype))
    return reshape(x, *sizes, shape=size)


def view_as(x: Any, other: Any) -> Tensor:
    """x in the shape of other."""
    return reshape(x, other.shape)


reshape_as = view_as


def expand_as(x: Any, other: Any) -> Tensor:
    """x repeated to the shape of other."""
    return expand(x, tuple(other.shape))
