"""Functions that make tensors and that few programs use: new_zeros and others, result_type, logspace."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ranvier.ops.elementwise.dtypes import as_operand, result_dtype
from ranvier.ops.elementwise.functions import pow
from ranvier.ops.making import creation
from ranvier.ops.rows import document, examples
from ranvier.tensors.devices import CPU
from ranvier.tensors.dtypes import default, dtype as DType
from ranvier.tensors.memory import fill_number
from ranvier.tensors.tensor import Tensor


def new_tensor(
    x: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """The data in a tensor of x's dtype. | rv.ones(1).new_tensor([1, 2]) -> tensor([1., 2.])"""
    return creation.tensor(getattr(data, "_array", data), dtype or x.dtype, device or CPU, requires_grad)


def _new(name: str) -> Callable[..., Tensor]:
    """The method new_zeros, new_ones ...: the function zeros, ones ... with x's dtype by default."""

    def op(
        x: Tensor,
        *size: Any,
        dtype: Any = None,
        device: Any = None,
        requires_grad: bool = False,
        **settings: Any,
    ) -> Tensor:
        settings.update(dtype=dtype or x.dtype, device=device or CPU, requires_grad=requires_grad)
        return getattr(creation, name.removeprefix("new_"))(*size, **settings)

    return op


new_zeros, new_ones, new_empty, new_full = map(_new, ("new_zeros", "new_ones", "new_empty", "new_full"))
document(
    globals(),
    """
new_zeros: Zeros of this size in x's dtype. | [1, 2], 3 -> [0, 0, 0]
new_ones: Ones of this size in x's dtype. | [1, 2], 3 -> [1, 1, 1]
new_empty: A tensor of this size in x's dtype, with any values. | [1, 2], 0 -> tensor([])
new_full: A tensor of this size in x's dtype, filled with a number. | [1, 2], (3,), 7 -> [7, 7, 7]
""",
    "rv.Tensor",
)


def result_type(tensor: Any, other: Any) -> DType:
    """The dtype of an operation on two tensors or numbers.
    | rv.result_type(rv.arange(2), 0.5) -> torch.float32"""
    return DType(result_dtype(as_operand("result_type", tensor), as_operand("result_type", other)))


def scalar_tensor(s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """A tensor without dimensions; the default dtype unless dtype says otherwise.
    | rv.scalar_tensor(2) -> tensor(2.)"""
    kind = np.dtype(dtype or default.dtype)
    if isinstance(s, float):
        s = fill_number("scalar_tensor", s, kind)
    return creation.tensor(s, kind, device, requires_grad)


def logspace(
    start: float, end: float, steps: int, base: float = 10.0, *, dtype: Any = None, device: Any = None
) -> Tensor:
    """base^start ... base^end, `steps` numbers with a constant ratio.
    | rv.logspace(0, 2, 3) -> tensor([  1.,  10., 100.])"""
    if np.dtype(dtype or default.dtype).kind in "iu":
        start, end = int(start), int(end)
    exponents = creation.linspace(start, end, steps, dtype=np.float64, device=CPU)
    return creation.as_tensor(pow(float(base), exponents), dtype or default.dtype, device)


examples(globals())  # the examples in docstrings become lines that doctest runs
