"""torch.frombuffer: the memory of another object as a tensor; torch.empty and its forms, is_inference."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier as rv


def frombuffer(
    buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False
) -> rv.Tensor:
    """A tensor on the memory of a bytearray, an array ...; of bytes, which cannot change, a copy.

    offset: in bytes. count: of elements; -1 for all that follow.
    """
    kind = np.uint16 if dtype == rv.bfloat16 else np.dtype(dtype)
    array = np.frombuffer(buffer, kind, count, offset)
    tensor = rv.from_numpy(array if array.flags.writeable else array.copy())
    return (tensor.view(dtype) if dtype == rv.bfloat16 else tensor).requires_grad_(requires_grad)


class Nothing:
    """No elements of a dtype that NumPy does not have: libraries ask for the size of one."""

    shape, ndim = rv.Size([0]), 1

    def __init__(self, dtype: rv.dtype) -> None:
        self.dtype, self.itemsize = dtype, dtype.itemsize

    def element_size(self) -> int:
        return self.itemsize

    def numel(self) -> int:
        return 0

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"[{name}] got a tensor of {self.dtype}; expected a dtype that NumPy has")


def empty(*size: Any, dtype: Any = None, **settings: Any) -> Any:
    """rv.empty; without elements also of dtypes that can be named only.

    >>> empty(0, dtype=rv.bfloat16).element_size()
    2
    """
    if type(dtype) is rv.dtype and not hasattr(dtype, "char") and size in ((0,), ([0],), ((0,),)):
        return Nothing(dtype)
    return rv.empty(*size, dtype=dtype, **settings)


def empty_strided(size: Any, stride: Any, **settings: Any) -> rv.Tensor:
    """A tensor of these sizes and steps, with any values.

    >>> empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    count = last + 1 if all(size) else 0
    grad = settings.pop("requires_grad", False)
    return rv.empty(count, **settings).as_strided(size, stride).detach().requires_grad_(grad)


def empty_permuted(size: Any, physical_layout: Any, **settings: Any) -> rv.Tensor:
    """A tensor of these sizes, with any values; physical_layout: its dimensions in the order of memory.

    >>> empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)
    """
    steps, step = [0] * len(size), 1
    for dim in reversed(physical_layout):
        steps[dim], step = step, step * max(size[dim], 1)
    return empty_strided(size, steps, **settings)


def is_inference(input: Any) -> bool:
    return bool(input.is_inference())
