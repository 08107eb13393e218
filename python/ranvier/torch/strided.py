"""`torch.as_strided`, where its result is a view of the elements in their order."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul

import ranvier as rv

__all__ = ["as_strided"]


def as_strided(
    input: rv.Tensor, size: Sequence[int], stride: Sequence[int], storage_offset: int = 0
) -> rv.Tensor:
    """A view of a contiguous tensor's elements from `storage_offset` on, `stride` those of the rows of `size`.

    Raises ValueError for other strides, and for a tensor that is not contiguous.

    >>> import ranvier as rv
    >>> as_strided(rv.arange(6.0), (2, 2), (2, 1), 1)
    tensor([[1., 2.],
            [3., 4.]])
    """
    rows = [1, *accumulate(size[:0:-1], mul)][::-1] if size else []
    if list(stride) != rows or not input.is_contiguous():
        raise ValueError(
            f"[as_strided] got size {tuple(size)} and stride {tuple(stride)}; expected stride {tuple(rows)}, "
            "and a contiguous tensor"
        )
    return input.view(-1)[storage_offset : storage_offset + prod(size)].view(*size)
