"""from_dlpack and to_dlpack: Tensors on the memory of other libraries' tensors, and the reverse.

NumPy reads the memory. It has no bfloat16 in DLPack, so such a capsule is marked as uint16 first
(`recoded` in tensors/lending.py).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ranvier.ops.making.creation import from_numpy
from ranvier.tensors.failures import OpError
from ranvier.tensors.lending import BFLOAT, UINT, recoded
from ranvier.tensors.memory import BF16, bools
from ranvier.tensors.tensor import Tensor

__all__ = ["from_dlpack", "to_dlpack"]


class _Source:
    """The object that NumPy reads, around another library's tensor, or around a bare capsule of CPU
    memory.

    np.from_dlpack calls `__dlpack__`, which sets `is_bfloat16`, and may call `__dlpack_device__`.
    """

    def __init__(self, tensor: Any) -> None:
        self.tensor = tensor
        self.is_bare = type(tensor).__name__ == "PyCapsule"
        self.is_bfloat16 = False

    def __dlpack__(self, **kwargs: Any) -> Any:
        if self.is_bare:
            capsule = self.tensor
        else:
            capsule = self.tensor.__dlpack__(**kwargs)
        self.is_bfloat16 = recoded(capsule, BFLOAT, UINT)
        return capsule

    def __dlpack_device__(self) -> Any:
        if self.is_bare:
            return (1, 0)  # (kDLCPU, device 0): a capsule cannot be asked
        return self.tensor.__dlpack_device__()


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A Tensor on the memory of another library's tensor (PyTorch, JAX, NumPy ...), without a copy.

    A change of one is a change of both; gradients do not pass. The memory lives as long as one of them does.
    It is read-only if the other library says so, from a bare capsule, and with NumPy before 2.1. Bools of
    other bytes than 0 and 1 are copied.

    Args:
        ext_tensor: an object with `__dlpack__`, or the capsule that this method gives, once.

    Raises TypeError: no such object, or a dtype that Tensors do not have; ValueError: a used capsule.
    Raises BufferError: the other library refuses, as PyTorch does for tensors that require gradients; memory
    of another device; a dtype that NumPy does not have, such as float8 (but bfloat16 is taken).

    >>> import numpy as np, ranvier as rv
    >>> x = np.zeros(2)
    >>> t = rv.from_dlpack(x)
    >>> x[0] = 1.0
    >>> t
    tensor([1., 0.], dtype=torch.float64)
    """
    source = _Source(ext_tensor)
    if not source.is_bare and not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(
            f"[from_dlpack] got {type(ext_tensor).__name__}; expected a tensor of a library with __dlpack__"
        )
    try:
        array = np.from_dlpack(source)
        if array.dtype.kind == "b":
            array = bools(array.view(np.uint8))  # a copy if it has other bytes than 0 and 1
        if source.is_bfloat16:
            array = array.view(BF16)
        return from_numpy(array)
    except TypeError:
        raise
    except RuntimeError as error:
        raise BufferError(f"[from_dlpack] got a tensor that NumPy cannot read: {error}") from None
    except ValueError as error:
        raise OpError(f"[from_dlpack] got a capsule that was used before, or is none: {error}") from None


def to_dlpack(tensor: Tensor) -> Any:
    """The DLPack capsule of a Tensor, which another library's `from_dlpack` takes, once.

    Raises RuntimeError: the Tensor requires grad.
    """
    return tensor.__dlpack__()
