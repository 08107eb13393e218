"""Tensors of the dtype of another one, and logarithmic ranges."""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.autograd import creation
from ranvier.autograd.tensor import Tensor
from ranvier.ops.elementwise.functions import pow


def new_tensor(
    x: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The data in a tensor of x's dtype.

    >>> import ranvier as rv
    >>> rv.ones(1).new_tensor([1, 2])
    tensor([1., 2.])
    """
    return creation.tensor(getattr(data, "_array", data), dtype or x.dtype, device, requires_grad)


def new_zeros(
    x: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **settings: Any
) -> Tensor:
    """Zeros of this size in x's dtype.

    >>> import ranvier as rv
    >>> rv.tensor([1, 2]).new_zeros(3)
    tensor([0, 0, 0])
    """
    dtype = dtype or x.dtype
    return creation.zeros(*size, dtype=dtype, device=device, requires_grad=requires_grad, **settings)


def new_ones(
    x: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **settings: Any
) -> Tensor:
    """Ones of this size in x's dtype."""
    dtype = dtype or x.dtype
    return creation.ones(*size, dtype=dtype, device=device, requires_grad=requires_grad, **settings)


def new_empty(
    x: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **settings: Any
) -> Tensor:
    """A tensor of this size in x's dtype, with any values."""
    dtype = dtype or x.dtype
    return creation.empty(*size, dtype=dtype, device=device, requires_grad=requires_grad, **settings)


def new_full(
    x: Tensor,
    size: Any,
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """A tensor of this size in x's dtype, filled with a number."""
    dtype = dtype or x.dtype
    return creation.full(
        size, fill_value, dtype=dtype, device=device, requires_grad=requires_grad, **settings
    )


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor without dimensions; float32 unless dtype says otherwise.

    >>> import ranvier as rv
    >>> rv.scalar_tensor(2)
    tensor(2.)
    """
    return creation.tensor(s, dtype or np.float32, device, requires_grad)


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """base^start ... base^end, `steps` numbers with a constant ratio.

    >>> import ranvier as rv
    >>> rv.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    if np.dtype(dtype or np.float32).kind in "iu":
        start, end = int(start), int(end)
    exponents = creation.linspace(start, end, steps, dtype=np.float64, device=device)
    return pow(float(base), exponents).to(dtype or np.float32)
