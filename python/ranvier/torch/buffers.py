"""torch.frombuffer: the memory of another object as a tensor; torch.empty, torch.is_inference."""

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
    array = np.frombuffer(buffer, np.dtype(dtype), count, offset)
    tensor = rv.from_numpy(array if array.flags.writeable else array.copy())
    return tensor.requires_grad_(requires_grad)


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
    if type(dtype) is rv.dtype and not hasattr(dtype, "dtype") and size in ((0,), ([0],), ((0,),)):
        return Nothing(dtype)
    return rv.empty(*size, dtype=dtype, **settings)


def is_inference(input: Any) -> bool:
    return bool(input.is_inference())
