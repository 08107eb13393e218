"""The shape of a Tensor."""

from __future__ import annotations

import math
from typing import Any


class Size(tuple[int, ...]):
    """A tuple of lengths that also counts elements, as ``torch.Size``; its text is that of a tuple.

    >>> import ranvier as rv
    >>> x = rv.zeros(2, 3, 4)
    >>> x.shape, x.shape[1:].numel(), x.shape == (2, 3, 4)
    ((2, 3, 4), 12, True)
    """

    __slots__ = ()

    def numel(self) -> int:
        """The product of the lengths."""
        return math.prod(self)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return Size(found) if isinstance(key, slice) else found

    def __add__(self, other: Any) -> Any:
        return Size(super().__add__(tuple(other)))
