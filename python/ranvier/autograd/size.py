"""The shape that Tensor.size() gives."""

from __future__ import annotations

import math
from typing import Any


class Size(tuple[int, ...]):
    """A tuple of lengths that also counts elements, as PyTorch's.

    >>> import ranvier as rv
    >>> rv.zeros(2, 3, 4).size()[1:].numel()
    12
    """

    __slots__ = ()

    def numel(self) -> int:
        """The product of the lengths."""
        return math.prod(self)

    def __getitem__(self, key: Any) -> Any:
        found = super().__getitem__(key)
        return Size(found) if isinstance(key, slice) else found
