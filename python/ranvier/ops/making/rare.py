"""Functions that make tensors and that few programs use: new_zeros and others, result_type, logspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.ops.elementwise.dtypes import as_operand, result_dtype
from ranvier.ops.elementwise.functions import pow
from ranvier.ops.making import creation
from ranvier.tensors.devices import CPU
from ranvier.tensors.dtypes import default, dtype as DType
from ranvier.tensors.memory import fill_number
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import DeviceLike, DtypeLike, TensorLike


def new_tensor(
    x: Tensor,
    data: Any,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """The data in a tensor of x's dtype.

    >>> import ranvier as rv
    >>> rv.ones(1).new_tensor([1, 2])
    tensor([1., 2.])
    """
    return creation.tensor(getattr(data, "_array", data), dtype or x.dtype, device or CPU, requires_grad)


def new_zeros(
    x: Tensor,
    *size: Any,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """Zeros of this size in x's dtype.

    >>> import ranvier as rv
    >>> rv.tensor([1, 2]).new_zeros(3)
    tensor([0, 0, 0])
    """
    return _like(x, creation.zeros, size, dtype, device, requires_grad, settings)


def new_ones(
    x: Tensor,
    *size: Any,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """Ones of this size in x's dtype.

    >>> import ranvier as rv
    >>> rv.tensor([1, 2]).new_ones(3)
    tensor([1, 1, 1])
    """
    return _like(x, creation.ones, size, dtype, device, requires_grad, settings)


def new_empty(
    x: Tensor,
    *size: Any,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """A tensor of this size in x's dtype, with any values.

    >>> import ranvier as rv
    >>> rv.tensor([1, 2]).new_empty(0)
    tensor([])
    """
    return _like(x, creation.empty, size, dtype, device, requires_grad, settings)


def new_full(
    x: Tensor,
    *size: Any,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
    requires_grad: bool = False,
    **settings: Any,
) -> Tensor:
    """A tensor of this size in x's dtype, filled with a number.

    >>> import ranvier as rv
    >>> rv.tensor([1, 2]).new_full((3,), 7)
    tensor([7, 7, 7])
    """
    return _like(x, creation.full, size, dtype, device, requires_grad, settings)


def _like(
    x: Tensor,
    function: Callable[..., Tensor],
    size: tuple[Any, ...],
    dtype: DtypeLike | None,
    device: DeviceLike | None,
    requires_grad: bool,
    settings: dict[str, Any],
) -> Tensor:
    """A tensor by zeros, ones ... with x's dtype by default."""
    return function(
        *size, dtype=dtype or x.dtype, device=device or CPU, requires_grad=requires_grad, **settings
    )


def result_type(tensor: Any, other: TensorLike) -> DType:
    """The dtype of an operation on two tensors or numbers.

    >>> import ranvier as rv
    >>> rv.result_type(rv.arange(2), 0.5)
    torch.float32
    """
    return DType(result_dtype(as_operand("result_type", tensor), as_operand("result_type", other)))


def scalar_tensor(
    s: Any, *, dtype: DtypeLike | None = None, device: DeviceLike | None = None, requires_grad: bool = False
) -> Tensor:
    """A tensor without dimensions; the default dtype unless dtype says otherwise.

    >>> import ranvier as rv
    >>> rv.scalar_tensor(2)
    tensor(2.)
    """
    kind = np.dtype(dtype or default.dtype)
    if isinstance(s, float):
        s = fill_number("scalar_tensor", s, kind)
    return creation.tensor(s, kind, device, requires_grad)


def logspace(
    start: float,
    end: float,
    steps: int,
    base: float = 10.0,
    *,
    dtype: DtypeLike | None = None,
    device: DeviceLike | None = None,
) -> Tensor:
    """base^start ... base^end, `steps` numbers with a constant ratio.

    >>> import ranvier as rv
    >>> rv.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    if np.dtype(dtype or default.dtype).kind in "iu":
        start = int(start)
        end = int(end)
    exponents = creation.linspace(start, end, steps, dtype=np.float64, device=CPU)
    return creation.as_tensor(pow(float(base), exponents), dtype or default.dtype, device)
