"""torch.frombuffer: the memory of another object as a tensor."""

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
