"""Casts and copies of a Tensor: ``to``, ``float``, ``long``, ``clone`` ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ranvier.autograd.device import device as check_device
from ranvier.autograd.operators import Operators

if TYPE_CHECKING:
    from ranvier.autograd.tensor import Tensor


class Conversions(Operators):
    """The part of Tensor that makes another Tensor of the same values."""

    __slots__ = ()

    def to(
        self, *args: Any, dtype: Any = None, device: Any = None, copy: bool = False, **ignored: Any
    ) -> Tensor:
        """The tensor in another dtype; the only device is the CPU. Casts between floats are differentiable.

        Accepts ``to(dtype)``, ``to("cpu")``, ``to("cpu", dtype)``, ``to(other_tensor)`` and the keywords.
        Raises ValueError for another device.

        >>> import ranvier as rv
        >>> rv.tensor([1.7, -1.7]).to(rv.int64)
        tensor([ 1, -1])
        """
        for arg in args:
            if hasattr(arg, "_array"):
                dtype = arg.dtype
            elif isinstance(arg, str) and arg.partition(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta"):
                device = arg
            elif isinstance(arg, bool):
                pass  # non_blocking
            elif arg is not None:
                dtype = arg
        if device is not None:
            check_device(device)
        wanted = self._array.dtype if dtype is None else np.dtype(dtype)
        if wanted == self._array.dtype:
            return self.clone() if copy else self  # type: ignore[return-value]
        from ranvier.autograd.copies import Cast

        return Cast(wanted).apply(self)

    def clone(self, **ignored: Any) -> Tensor:
        """A copy in its own memory, on the tape."""
        from ranvier.autograd.copies import Clone

        return Clone().apply(self)

    def contiguous(self, **ignored: Any) -> Tensor:
        """The tensor in C order: itself where it already is."""
        from ranvier.autograd.copies import Clone

        if self._array.flags.c_contiguous:
            return self  # type: ignore[return-value]
        return Clone("C").apply(self)

    def cpu(self) -> Tensor:
        return self  # type: ignore[return-value]

    def float(self) -> Tensor:
        return self.to(np.float32)

    def double(self) -> Tensor:
        return self.to(np.float64)

    def long(self) -> Tensor:
        return self.to(np.int64)

    def int(self) -> Tensor:
        return self.to(np.int32)

    def bool(self) -> Tensor:
        return self.to(np.bool_)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    def type(self, dtype: Any = None) -> Any:
        """The dtype's name, or the tensor in that dtype."""
        return str(self._array.dtype) if dtype is None else self.to(dtype)
