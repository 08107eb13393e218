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
        self,
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        non_blocking: bool = False,
        copy: bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        """The tensor in another dtype; the only device is the CPU. Casts between floats are differentiable.

        Accepts ``to(dtype)``, ``to("cpu")``, ``to("cpu", dtype)``, ``to(other_tensor)`` and the keywords, and
        after these non_blocking, which changes nothing here, and copy. memory_format: see :meth:`contiguous`.
        Raises ValueError for another device, TypeError for more arguments.

        >>> import ranvier as rv
        >>> rv.tensor([1.7, -1.7]).to(rv.int64)
        tensor([ 1, -1])
        """
        flags = [arg for arg in args if isinstance(arg, bool)]
        if len(flags) > 2:
            raise TypeError(f"[to] got {args}; expected a dtype, a device, non_blocking and copy")
        copy = flags[1] if len(flags) == 2 else copy
        for arg in args:
            if hasattr(arg, "_array"):
                dtype = arg.dtype
            elif isinstance(arg, str) and arg.partition(":")[0] in ("cpu", "cuda", "mps", "xpu", "meta"):
                device = arg
            elif arg is not None and not isinstance(arg, bool):
                dtype = arg
        if device is not None:
            check_device(device)
        return self._cast("to", dtype, memory_format, copy)

    def _cast(self, name: str, dtype: Any, memory_format: Any, copy: bool = False) -> Tensor:
        from ranvier.autograd.copies import Cast

        wanted = self._array.dtype if dtype is None else np.dtype(dtype)
        wanted = wanted if wanted.isnative else wanted.newbyteorder("=")
        y: Any = self if wanted == self._array.dtype else Cast(wanted).apply(self)
        if memory_format is not None:
            y = y._laid_out(name, memory_format)
        return y.clone() if copy and y is self else y

    def _laid_out(self, name: str, memory_format: Any) -> Tensor:
        """The tensor in a memory format: itself where it already is."""
        from ranvier.autograd.copies import Clone

        array = self._array
        if memory_format == "preserve_format":
            return self  # type: ignore[return-value]
        if memory_format == "contiguous_format":
            y: Any = self if array.flags.c_contiguous else Clone("C").apply(self)
            return y
        if memory_format != "channels_last" or array.ndim != 4:
            raise ValueError(
                f"[{name}] got memory_format {memory_format!r} for {array.ndim} dimensions; expected "
                "contiguous_format, preserve_format, or channels_last for 4 dimensions"
            )
        if array.transpose(0, 2, 3, 1).flags.c_contiguous:
            return self  # type: ignore[return-value]
        return Clone("channels_last").apply(self)

    def clone(self, *, memory_format: Any = None) -> Tensor:
        """A copy in its own memory, on the tape; memory_format: see :meth:`contiguous`."""
        from ranvier.autograd.copies import Clone

        y: Any = self if memory_format is None else self._laid_out("clone", memory_format)
        return Clone().apply(self) if y is self else y

    def contiguous(self, memory_format: Any = None) -> Tensor:
        """The tensor in C order: itself where it already is.

        memory_format: ``ranvier.channels_last`` for images (N, C, H, W) whose channels lie side by side in
        memory, ``contiguous_format`` for C order, ``preserve_format`` for the order that it has. Raises
        ValueError for another, and for channels_last unless there are 4 dimensions.
        """
        return self._laid_out("contiguous", memory_format or "contiguous_format")

    def cpu(self) -> Tensor:
        return self  # type: ignore[return-value]

    def float(self, memory_format: Any = None) -> Tensor:
        return self._cast("float", np.float32, memory_format)

    def double(self, memory_format: Any = None) -> Tensor:
        return self._cast("double", np.float64, memory_format)

    def long(self, memory_format: Any = None) -> Tensor:
        return self._cast("long", np.int64, memory_format)

    def int(self, memory_format: Any = None) -> Tensor:
        return self._cast("int", np.int32, memory_format)

    def bool(self, memory_format: Any = None) -> Tensor:
        return self._cast("bool", np.bool_, memory_format)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(other.dtype)

    def type(self, dtype: Any = None) -> Any:
        """The dtype's name, or the tensor in that dtype."""
        return str(self._array.dtype) if dtype is None else self.to(dtype)
